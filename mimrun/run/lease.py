"""The lease: one worker per run, held by the kernel for as long as the worker lives.

On one machine the lease is `flock` on a file: the kernel lets go of it when the process dies, however
it dies, and keeps it while the process is stopped, so a frozen worker cannot be replaced behind its
back. The file also keeps the epoch, which only grows; every entry a worker writes carries it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from mimrun.errors import LeaseError, StoreError

_LOOKS: Final = 10
_PAUSE_S: Final = 0.01
_LENGTH: Final = 200
"""Bytes of a lock file."""


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
        self._seen = 0
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
            os.pwrite(file, self._content(0), 0)
            os.fsync(file)
        except OSError as exc:
            os.close(file)
            raise StoreError(f"{self.path}: cannot be written: {exc.strerror}; nothing was started") from exc
        self._lock = threading.Lock()
        return file

    def _content(self, seen: int) -> bytes:
        """Give what the file says, always of the same length, so that it is replaced in one write."""
        pid = os.getpid()
        told = {"epoch": self.epoch, "pid": pid, "started": started_at(pid), "boot": _boot(), "seen": seen}
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
        """Say whether the lease is still ours. No I/O: the kernel keeps it until `release`.

        Where somebody has removed the file, another worker may hold a lock on a new one of its name, so
        this one counts for nothing any more.
        """
        try:
            return self._file >= 0 and os.fstat(self._file).st_nlink > 0
        except OSError:
            return False

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


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that holds a run's lease, as it says in the lock file.

    Arguments:
        pid: its process id, and `started` when it began, in the kernel's ticks since boot.
        boot: which boot of the machine that was.
        seen: up to which entry it has looked at the log.
    """

    pid: int
    started: int
    boot: str
    seen: int

    def is_running(self) -> bool:
        """Say whether the process with this number is still that one."""
        return self.boot == _boot() and self.started != 0 and started_at(self.pid) == self.started

    def is_stopped(self) -> bool:
        """Say whether the kernel has stopped it (SIGSTOP, or a debugger)."""
        return _stat(self.pid)[:1] in (["T"], ["t"])


def holder_of(folder: Path, run: str) -> Holder | None:
    """Say which process executes a run now; None where none does, or where it cannot be told."""
    if not is_held(folder, run):
        return None
    try:
        told = json.loads((folder / f"{run}.lock").read_bytes() or b"{}")
        return Holder(int(told["pid"]), int(told["started"]), str(told["boot"]), int(told["seen"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def started_at(pid: int) -> int:
    """Give when a process began, in ticks since boot; 0 where there is none (proc_pid_stat(5), field 22)."""
    fields = _stat(pid)
    return int(fields[19]) if len(fields) > 19 else 0


def _stat(pid: int) -> list[str]:
    """Give the fields behind the name of a process, which may hold anything; the first is the state."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return []


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


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
