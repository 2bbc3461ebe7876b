"""A part of the lab: started and stopped by hand or by `with`; many parts are one program that runs."""

from __future__ import annotations

import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from mimrun.lab import account, keeper, leftover, process


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
