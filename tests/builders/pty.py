"""A program at a terminal of its own: what it shows, what a person types, how large the window is."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

PATIENCE_S = 30.0


class Screen:
    """A program whose terminal we hold the other end of.

    Arguments:
        argv: the program.
        columns, rows: the size of its window.
    """

    def __init__(
        self, argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], columns: int = 100, rows: int = 30
    ) -> None:
        self._ours, theirs = os.openpty()
        self._set_size(theirs, columns, rows)
        self.theirs = theirs
        self.modes = termios.tcgetattr(theirs)
        self.shown = b""
        self._at = 0
        self._process = subprocess.Popen(
            list(argv),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=cwd,
            env=dict(env),
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - one system call
        )
        self._over = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def _read(self) -> None:
        while not self._over.is_set():
            ready, _, _ = select.select([self._ours], [], [], 0.05)
            if ready:
                try:
                    self.shown += os.read(self._ours, 65536)
                except OSError:
                    return

    def write(self, text: str) -> None:
        """Type as a person would."""
        os.write(self._ours, text.encode())

    def resize(self, columns: int, rows: int) -> None:
        """Change the window; the kernel tells the program."""
        self._set_size(self._ours, columns, rows)

    def _set_size(self, descriptor: int, columns: int, rows: int) -> None:
        fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def see(self, text: str) -> None:
        """Wait until a text is shown behind what was seen last.

        Raises:
            AssertionError: it is not shown in time.
        """
        wanted, end = text.encode(), time.monotonic() + PATIENCE_S
        while (at := self.shown.find(wanted, self._at)) < 0:
            if self._process.poll() is not None:
                end = min(end, time.monotonic() + 1)  # what it said last may be on its way
            assert time.monotonic() < end, f"never saw {text!r} in {self.shown[self._at :]!r}"
            time.sleep(0.01)
        self._at = at + len(wanted)

    def end(self) -> int:
        """Wait for its end; gives its exit code."""
        return self._process.wait(PATIENCE_S)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def modes_now(self) -> list[Any]:
        """How the terminal is set."""
        return termios.tcgetattr(self.theirs)

    def hang_up(self) -> None:
        """Close the window: the kernel tells the program with SIGHUP."""
        self._over.set()
        self._reader.join()
        for descriptor in (self.theirs, self._ours):
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self.theirs = self._ours = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        if self._ours >= 0:
            self.hang_up()
