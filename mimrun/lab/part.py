"""A part of the lab: started and stopped by hand or by `with`; many parts are one program that runs."""

from __future__ import annotations

import os
import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from mimrun.errors import LabError
from mimrun.lab import account, keeper, leftover, patience, process

SBIN: Final = "/usr/local/sbin:/usr/sbin:/sbin"
"""Where servers are installed that an ordinary user does not find."""


def installed(*names: str) -> str | None:
    """Give the path of the first of these programs that this machine has, or None."""
    path = os.environ.get("PATH", "/usr/bin:/bin") + ":" + SBIN
    return next((found for name in names if (found := shutil.which(name, path=path))), None)


class Part(ABC):
    """Something real that the lab starts, and stops at the end of a `with`."""

    @abstractmethod
    def start(self) -> object:
        """Start it and wait until it can be used.

        Raises:
            LabError: it does not start; what was started is stopped again.
        """

    @abstractmethod
    def stop(self) -> None:
        """Stop it. It can be called again."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class Program(Part):
    """A part that is one program of this machine.

    Arguments:
        folder: where its files are; what it prints goes to `log` there.
        name: what it is called among the processes of the folder.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self._name = name
        self._child: subprocess.Popen[bytes] | None = None

    def stop(self) -> None:
        """End the program and all that it started. Its files stay."""
        leftover.stop_all(self.folder)
        if self._child is not None:
            self._child.wait(timeout=5)
            self._child = None
        process.forget(self.folder, self._name)
        keeper.release(self.folder)

    def _launch(
        self,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        owner: account.Account | None = None,
    ) -> subprocess.Popen[bytes]:
        keeper.guard(self.folder)
        with (self.folder / "log").open("wb") as log:
            self._child = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=process.environment(self.folder, environment or {}),
                start_new_session=True,
                **(owner.identity() if owner is not None else {}),
            )
        process.write_down(self.folder, self._name, self._child.pid)
        return self._child

    def _lay_out(self, owner: account.Account, *, work: str) -> None:
        """Make the program's folder, which all can enter, and in it one that is its account's own.

        Arguments:
            owner: the account that it runs as.
            work: the name of the folder that it writes in.

        Raises:
            LabError: the account cannot get to it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder = self.folder.resolve()
        account.require_way(self.folder.parent, owner)
        self.folder.chmod(0o711)
        account.make_folder(self.folder / work, owner, mode=0o700)

    def _await(
        self, child: subprocess.Popen[bytes], ready: Callable[[], bool], *, seconds: float, where: str
    ) -> None:
        """Wait until the program can be used.

        Arguments:
            child: what was launched.
            ready: whether it can be used.
            seconds: how long that may take.
            where: where it is to answer, for the message.

        Raises:
            LabError: it ended, or did not answer in time; the message has the last that it said.
        """
        patience.wait_until(
            lambda: child.poll() is not None or ready(),
            seconds=seconds,
            what=f"{self._name} did not answer at {where}",
            why=self._said,
        )
        if child.poll() is not None:
            raise LabError(f"{self._name} ended with {child.returncode} at once: {self._said()}")

    def _said(self) -> str:
        """Give the last that the program has said."""
        return (self.folder / "log").read_text(errors="replace").strip()[-500:]
