"""Processes, named so that nobody mistakes one for another: by host, boot, number and beginning."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Process:
    """A process on some machine.

    Arguments:
        pid: its process id, and `started` when it began, in the kernel's ticks since boot.
        boot: which boot of which machine that was, and in which namespace of process ids.
        host: the machine's name, for people; "" where it is not known.
    """

    pid: int
    started: int
    boot: str
    host: str = ""

    def is_gone(self, here: str) -> bool:
        """Whether it provably does not run any more. Of what is not in this very boot nobody here can say.

        Arguments:
            here: the boot of the process that asks.
        """
        return self.boot == here and self.started != 0 and started_at(self.pid) != self.started


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that holds a run's lease, as it has said itself.

    Arguments:
        process: which one.
        seen: up to which entry it has looked at the log.
    """

    process: Process
    seen: int

    @property
    def pid(self) -> int:
        """Its process id, on its machine."""
        return self.process.pid

    @property
    def started(self) -> int:
        """When it began, in the kernel's ticks since boot."""
        return self.process.started

    def is_here(self) -> bool:
        """Say whether it is a process of this boot of this machine."""
        return self.process.boot == boot()

    def is_running(self) -> bool:
        """Say whether the process with this number is still that one; never for one of another machine."""
        return self.is_here() and self.started != 0 and started_at(self.pid) == self.started

    def is_stopped(self) -> bool:
        """Say whether the kernel has stopped it (SIGSTOP, or a debugger)."""
        return self.is_here() and _stat(self.pid)[:1] in (["T"], ["t"])


def this_process() -> Process:
    """Give the process that asks."""
    pid = os.getpid()
    return Process(pid, started_at(pid), boot(), platform.node()[:100])


def started_at(pid: int) -> int:
    """Give when a process began, in ticks since boot; 0 where there is none (proc_pid_stat(5), field 22)."""
    fields = _stat(pid)
    return int(fields[19]) if len(fields) > 19 else 0


def boot() -> str:
    """Name this boot of this machine, and the namespace in which processes have their numbers here."""
    try:
        kernel = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{kernel}/{os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115 - it points at no path
    except OSError:
        return ""


def boot_time() -> float:
    """Give seconds that pass also while the machine is suspended, and that nobody sets (CLOCK_BOOTTIME)."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _stat(pid: int) -> list[str]:
    """Give the fields behind the name of a process, which may hold anything; the first is the state."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return []
