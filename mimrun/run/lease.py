"""The lease: one worker per run, held by the kernel for as long as the worker lives.

On one machine the lease is `flock` on a file: the kernel lets go of it when the process dies, however
it dies, and keeps it while the process is stopped, so a frozen worker cannot be replaced behind its
back. The file also keeps the epoch, which only grows; every entry a worker writes carries it.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from mimrun.errors import LeaseError, StoreError

_LOOKS: Final = 10
_PAUSE_S: Final = 0.01


class Lease:
    """The right to execute one run, until `release`.

    Arguments:
        folder: where the lock files are; made when it is missing.
        run: the run's id.
        at_least: the highest epoch that the log has for this run; ours is greater.
    """

    def __init__(self, folder: Path, run: str, *, at_least: int = 0) -> None:
        self.path = folder / f"{run}.lock"
        self.run = run
        self.epoch = 0
        self._file = self._take(at_least)

    def _take(self, at_least: int) -> int:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise StoreError(f"{self.path}: cannot be opened: {exc.strerror}") from exc
        if not _lock(file):
            holder = _read(file).get("pid")
            os.close(file)
            who = f"process {holder}" if holder else "another process"
            raise LeaseError(
                f"run {self.run} is being executed by {who}; follow it with `mimrun status {self.run} --follow`"
            )
        self.epoch = max(at_least, _read(file).get("epoch", 0)) + 1
        try:
            os.ftruncate(file, 0)
            os.pwrite(file, json.dumps({"epoch": self.epoch, "pid": os.getpid()}).encode(), 0)
            os.fsync(file)
        except OSError as exc:
            os.close(file)
            raise StoreError(f"{self.path}: cannot be written: {exc.strerror}; nothing was started") from exc
        self._lock = threading.Lock()
        return file

    def held(self) -> bool:
        """Say whether the lease is still ours. No I/O: the kernel keeps it until `release`."""
        return self._file >= 0

    def release(self) -> None:
        """Let go of the lease. Calling it again does nothing."""
        with self._lock:
            file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def is_held(folder: Path, run: str) -> bool:
    """Say whether some process executes this run now."""
    try:
        file = os.open(folder / f"{run}.lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(file)
    return False


def _lock(file: int) -> bool:
    """Take the file's lock. Somebody who only asks `is_held` has it for a moment, so we look more than once."""
    for _ in range(_LOOKS):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            time.sleep(_PAUSE_S)
        else:
            return True
    return False


def _read(file: int) -> dict[str, int]:
    try:
        content = json.loads(os.pread(file, 4096, 0) or b"{}")
    except ValueError:
        return {}
    if not isinstance(content, dict):
        return {}
    return {name: value for name, value in content.items() if type(value) is int}
