"""The lease: one worker per run, and what every kind of lease can do.

Where the log is in PostgreSQL it is a row that is renewed, see `mimrun.log.postgres.lease`. On one
machine it is `flock` on a file: the kernel lets go of it when the process dies, however it dies, and
keeps it while the process is stopped, so a frozen worker cannot be replaced behind its back. The file also
keeps the epoch, which only grows; every entry a worker writes carries it.

A lock counts only while the file it is on is the one that stands under the run's name. So the file of a run that is
over can be removed while others reach for it, and a worker whose file somebody took away begins nothing any more.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

from mimrun.errors import LeaseError, StoreError
from mimrun.log.holder import Holder as Holder  # noqa: PLC0414 - who asks for leases finds it here
from mimrun.log.holder import Process, this_process

_LOOKS: Final = 10
_PAUSE_S: Final = 0.01
_ANEW: Final = 1000
"""So often a lock file may be removed while we are about to take it."""
_LENGTH: Final = 300
"""Bytes of a lock file."""


class Lease(Protocol):
    """The right to execute one run, until `release`, or until it is over.

    `epoch` only grows from worker to worker; what a lower one writes is refused by the log.
    """

    run: str
    epoch: int

    def held(self) -> bool:
        """Say whether something may still be begun. No I/O."""

    def note_seen(self, seq: int) -> None:
        """Let others see up to which entry this worker has looked at the log: it is alive, and knows."""

    def quarantine(self, epoch: int, begun: datetime, allowed_ms: int) -> float:
        """Give the seconds for which an intent that was left open may still be acted upon by who wrote it.

        Arguments:
            epoch: of the worker that wrote it.
            begun: when it was recorded.
            allowed_ms: how long it was given.
        """

    def release(self) -> None:
        """Let go of the lease. Calling it again does nothing."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Leases(Protocol):
    """The leases of a log's runs."""

    def take(self, run: str, *, at_least: int = 0) -> Lease:
        """Take a run's lease.

        Arguments:
            at_least: the highest epoch that the log has for this run; ours is greater.

        Raises:
            LeaseError: another process holds it.
            StoreError: it cannot be asked for.
        """

    def is_held(self, run: str) -> bool:
        """Say whether some process executes this run now."""

    def holder_of(self, run: str) -> Holder | None:
        """Say which process executes a run now; None where none does, or where it cannot be told."""


@dataclass(frozen=True, slots=True)
class FileLeases:
    """The leases of a log on one machine.

    Arguments:
        folder: where the lock files are; made when it is missing.
    """

    folder: Path

    def take(self, run: str, *, at_least: int = 0) -> Lease:
        """Take a run's lease; see `Leases.take`."""
        return FileLease(self.folder, run, at_least=at_least)

    def is_held(self, run: str) -> bool:
        """Say whether some process executes this run now."""
        return is_held(self.folder, run)

    def holder_of(self, run: str) -> Holder | None:
        """Say which process executes a run now; None where none does, or where it cannot be told."""
        return holder_of(self.folder, run)

    def forget(self, is_over: Callable[[str], bool]) -> int:
        """Remove the lock files of runs that are over; gives how many they were.

        Arguments:
            is_over: says of a run's id whether nobody will execute it any more.
        """
        runs = sorted(path.stem for path in self.folder.glob("*.lock"))
        return sum(is_over(run) and remove_lock(self.folder, run) for run in runs)


class FileLease:
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
        self._seen = 0
        self._file = self._take(at_least)

    def _open(self) -> int:
        """Give the run's lock file, locked.

        The steps, in order:

        1. Open it, and make it where it is missing.
        2. Lock it, or say who has.
        3. See that it stands under its name still: who had it before us may have removed it between the two,
           and the next would lock another one. Then begin again.
        """
        for _ in range(_ANEW):
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
            if _stands(file, self.path):
                return file
            os.close(file)
        raise StoreError(f"{self.path}: something removes it again and again; nothing was started")

    def _take(self, at_least: int) -> int:
        file = self._open()
        self.epoch = max(at_least, _read(file).get("epoch", 0)) + 1
        try:
            os.ftruncate(file, 0)
            os.pwrite(file, self._content(0), 0)
            os.fsync(file)
        except OSError as exc:
            os.close(file)
            raise StoreError(f"{self.path}: cannot be written: {exc.strerror}; nothing was started") from exc
        self._lock = threading.Lock()
        return file

    def _content(self, seen: int) -> bytes:
        """Give what the file says, always of the same length, so that it is replaced in one write."""
        me = this_process()
        told = {"epoch": self.epoch, "pid": me.pid, "started": me.started, "boot": me.boot, "seen": seen}
        return json.dumps(told).encode().ljust(_LENGTH)

    def note_seen(self, seq: int) -> None:
        """Let others see up to which entry this worker has looked at the log: it is alive, and knows."""
        with self._lock:
            if self._file >= 0 and seq != self._seen:
                self._seen = seq
                # What nobody can read makes the worker look frozen, and nothing worse.
                with contextlib.suppress(OSError):
                    os.pwrite(self._file, self._content(seq), 0)

    def held(self) -> bool:
        """Say whether the lease is still ours. Nothing is read: the kernel keeps it until `release`.

        Where somebody has taken the file away, another worker may hold a lock on a new one of its name, so
        this one counts for nothing any more.
        """
        return self._file >= 0 and _stands(self._file, self.path)

    def quarantine(self, epoch: int, begun: datetime, allowed_ms: int) -> float:
        """Nobody else is at work: the kernel gave the lease away when the process before was gone."""
        return 0.0

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


def remove_lock(folder: Path, run: str) -> bool:
    """Remove a run's lock file, where nobody holds it; says whether it was removed.

    It is removed under its own lock, so that who reaches for it at the same time sees that it is gone, and makes a new
    one. The epoch that it keeps is lost: do so only where nobody will execute the run any more.
    """
    path = folder / f"{run}.lock"
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not _stands(file, path):
            return False
        path.unlink()
    except OSError:
        return False
    finally:
        os.close(file)
    return True


def holder_of(folder: Path, run: str) -> Holder | None:
    """Say which process executes a run now; None where none does, or where it cannot be told."""
    if not is_held(folder, run):
        return None
    try:
        told = json.loads((folder / f"{run}.lock").read_bytes() or b"{}")
        return Holder(Process(int(told["pid"]), int(told["started"]), str(told["boot"])), int(told["seen"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


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


def _stands(file: int, path: Path) -> bool:
    """Say whether an open file is the one that stands at a place."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except OSError:
        return False


def _read(file: int) -> dict[str, int]:
    try:
        content = json.loads(os.pread(file, 4096, 0) or b"{}")
    except ValueError:
        return {}
    if not isinstance(content, dict):
        return {}
    return {name: value for name, value in content.items() if type(value) is int}
