"""The lab's processes: known by number and start time, so that a number used again is never mistaken.

A part writes down each process it starts. All that the lab starts also carries the mark MIMRUN_LAB in
its environment, so that what a part's processes start in turn (a command over ssh, a server started by
a script) is found as well.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from mimrun.lab import patience

MARK: Final = "MIMRUN_LAB"
RECORDS: Final = "processes"
"""The folder, inside a part's folder, with one file per process."""

PROC: Final = Path("/proc")


@dataclass(frozen=True, slots=True)
class Process:
    """One process of this machine, since it was last booted.

    Arguments:
        pid: its number.
        started: when it started, in clock ticks after boot (proc(5), stat field 22).
        boot: which boot that was.
        stop_signal: the signal that ends it in good order.
    """

    pid: int
    started: int
    boot: str
    stop_signal: int = signal.SIGTERM

    def is_running(self) -> bool:
        """Say whether this very process is there and not just a zombie."""
        state = _state(self.pid)
        return state is not None and state == ("alive", self.started) and self.boot == boot_id()

    def send(self, number: int) -> None:
        """Send a signal, if this very process is still there."""
        if self.is_running():
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


def boot_id() -> str:
    """Give the name of this boot of the machine."""
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


def look(pid: int, *, stop_signal: int = signal.SIGTERM) -> Process | None:
    """Give the process that has this number now, or None."""
    state = _state(pid)
    return None if state is None else Process(pid, state[1], boot_id(), stop_signal)


def write_down(folder: Path, name: str, pid: int, *, stop_signal: int = signal.SIGTERM) -> Process | None:
    """Record a process that a part has started.

    Arguments:
        folder: the part's folder.
        name: what the process is, for a person who reads the folder.
        pid: its number.
        stop_signal: what ends it in good order.

    Returns:
        The process, or None when it has ended already.
    """
    process = look(pid, stop_signal=stop_signal)
    if process is not None:
        records = folder / RECORDS
        records.mkdir(parents=True, exist_ok=True)
        (records / f"{name}.json").write_text(json.dumps(asdict(process)) + "\n")
    return process


def forget(folder: Path, name: str) -> None:
    """Take a process out of the records."""
    (folder / RECORDS / f"{name}.json").unlink(missing_ok=True)


def written_down(folder: Path) -> list[Process]:
    """Give the processes that parts in and below a folder have recorded and that still run.

    Only records in folders of our own are believed: another user must not make us end a process.
    """
    found: list[Process] = []
    for top, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in {"data", "binaries"}]
        here = Path(top)
        if here.name != RECORDS or here.stat().st_uid != os.geteuid():
            continue
        for name in files:
            with suppress(ValueError, TypeError, OSError):
                process = Process(**json.loads((here / name).read_text()))
                if process.is_running():
                    found.append(process)
    return found


def marked(folder: Path) -> list[Process]:
    """Give the running processes that carry the mark of this folder or of one below it."""
    wanted = str(folder)
    found: list[Process] = []
    for pid in _pids():
        mark = _mark(pid)
        if mark == wanted or mark.startswith(wanted + "/"):
            process = look(pid)
            if process is not None and process.is_running():
                found.append(process)
    return found


def environment(folder: Path, extra: Mapping[str, str] = MappingProxyType({})) -> dict[str, str]:
    """Give the small, marked environment that parts are started with."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TZ") if name in os.environ}
    path = kept.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"
    return {**kept, "PATH": path.lstrip(":"), "LC_ALL": "C", MARK: str(folder), **extra}


def descendants(processes: Iterable[Process]) -> list[Process]:
    """Give all that these processes have started, and what those have started."""
    children: dict[int, list[int]] = {}
    for pid in _pids():
        with suppress(OSError, IndexError, ValueError):
            children.setdefault(_parent(pid), []).append(pid)
    found: list[Process] = []
    waiting = [process.pid for process in processes if process.is_running()]
    while waiting:
        for pid in children.pop(waiting.pop(), []):
            process = look(pid)
            if process is not None:
                found.append(process)
                waiting.append(pid)
    return found


def end(processes: Iterable[Process], *, grace: float = 3.0) -> list[Process]:
    """End processes and all they have started: in good order, and by force after a while.

    Arguments:
        processes: which.
        grace: seconds they get to end by themselves.

    Returns:
        Those that could not be ended (normally none).
    """
    first = [process for process in processes if process.is_running()]
    everyone = [*first, *descendants(first)]
    for process in first:
        process.send(process.stop_signal)
    patience.came_true(lambda: not any(p.is_running() for p in first), seconds=grace)
    for process in everyone:
        process.send(signal.SIGKILL)
    patience.came_true(lambda: not any(p.is_running() for p in everyone), seconds=grace)
    return [process for process in everyone if process.is_running()]


def crash(process: Process) -> float:
    """End a process and all it has started at once, as a power loss would. Returns when they are gone.

    Returns:
        The moment, by `time.monotonic()`, from which none of them could do anything any more.
    """
    # 1. Hold it, so that it starts nothing while we look.
    process.send(signal.SIGSTOP)
    everyone = [process, *descendants([process])]
    # 2. The parent first: it must not notice the death of a child and react.
    for victim in everyone:
        victim.send(signal.SIGKILL)
    moment = time.monotonic()
    patience.wait_until(
        lambda: not any(victim.is_running() for victim in everyone),
        seconds=5,
        what=f"process {process.pid} was still there after SIGKILL",
    )
    return moment


def postmaster(data: Path) -> Process | None:
    """Give the running PostgreSQL server of a data folder, or None.

    The number in its `postmaster.pid` counts only when that process works in the folder: after a crash
    the file stays, and the number may be another process's by now.
    """
    try:
        pid = int((data / "postmaster.pid").read_text().split("\n", 1)[0])
        working = (PROC / str(pid) / "cwd").readlink()
    except (OSError, ValueError):
        return None
    server = look(pid, stop_signal=signal.SIGINT)
    return server if server is not None and working == data.resolve() and server.is_running() else None


def _state(pid: int) -> tuple[str, int] | None:
    try:
        # The name in brackets may hold anything, also brackets: count from the last one.
        fields = (PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return ("dead" if fields[0] in "ZX" else "alive"), int(fields[19])


def _parent(pid: int) -> int:
    return int((PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])


def _mark(pid: int) -> str:
    try:
        variables = (PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return ""
    prefix = MARK.encode() + b"="
    return next((os.fsdecode(v[len(prefix) :]) for v in variables if v.startswith(prefix)), "")


def _pids() -> Iterator[int]:
    return (int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit())
