"""Finding and ending what is left of a lab whose starter is gone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from mimrun.errors import LabError
from mimrun.lab import control_group, postgres_server, process

DATA: Final = ("data/postmaster.pid", "*/data/postmaster.pid", "*/*/data/postmaster.pid")
"""Where a PostgreSQL server of the lab says which process it is, seen from a part's or a lab's folder."""

WORLD: Final = ("world.log", "*/world.log")
"""Where the world of a set of systemd hosts writes; it has a control group."""


def find_all(folder: Path) -> list[process.Process]:
    """Give every running process that belongs to a lab folder or to one below it.

    It is found by the part's records (number and start time), by the mark in its environment, or by
    being a PostgreSQL server whose data lies in the folder.
    """
    real = folder.resolve()
    me = os.getpid()
    found = {p.pid: p for p in [*process.marked(real), *process.written_down(real)]}
    for pattern in DATA:
        for file in real.glob(pattern):
            server = process.postmaster(file.parent)
            if server is not None:
                found[server.pid] = server
    return [p for p in found.values() if p.pid != me]


def stop_all(folder: Path, *, grace: float = 5.0) -> int:
    """End everything that a lab folder has left running. It can be called any number of times.

    Arguments:
        folder: the lab's folder, or a part's.
        grace: seconds the processes get to end in good order.

    Returns:
        How many processes were ended; those inside a systemd host, which end with it, are not counted.

    Raises:
        LabError: something would not end.
    """
    ended = 0
    # What is ended may start something else at that moment: look again, a bounded number of times.
    for _ in range(3):
        found = find_all(folder)
        if not found:
            _tidy(folder.resolve())
            return ended
        process.end(found, grace=grace)
        ended += len(found)
    left = find_all(folder)
    if left:
        numbers = " ".join(str(p.pid) for p in left)
        raise LabError(
            f"{folder}: these processes would not end: {numbers}; end them with: kill -9 {numbers}"
        )
    return ended


def _tidy(folder: Path) -> None:
    """Take away what the kernel keeps for processes that were killed."""
    for pattern in DATA:
        for file in folder.glob(pattern):
            postgres_server.remove_shared_memory(file.parent)
    for pattern in WORLD:
        for file in folder.glob(pattern):
            control_group.remove(control_group.own(file.parent))
