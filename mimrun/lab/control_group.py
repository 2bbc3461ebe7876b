"""Control groups for the systemd hosts: one per host, so that a host can be ended with all that is in it.

Source: Linux, Documentation/admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from mimrun.errors import LabError
from mimrun.lab import patience

MOUNTS: Final = Path("/proc/self/mountinfo")


def top() -> Path:
    """Give where version 2 of the control groups is mounted (alone, or beside version 1).

    Raises:
        LabError: it is not.
    """
    for line in MOUNTS.read_text().splitlines():
        fields, _, kind = line.partition(" - ")
        if kind.startswith("cgroup2 "):
            return Path(fields.split()[4])
    raise LabError(
        "systemd hosts need control groups version 2; mount them with: mount -t cgroup2 none /sys/fs/cgroup"
    )


def own(folder: Path) -> Path:
    """Give the group of a lab folder; always the same one for the same folder."""
    return top() / f"mimrun-lab-{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}"


def make(group: Path) -> Path:
    """Make a group, if it is not there."""
    group.mkdir(exist_ok=True)
    return group


def is_populated(group: Path) -> bool:
    """Say whether a process is in a group or below it."""
    with suppress(OSError):
        return "populated 1" in (group / "cgroup.events").read_text()
    return False


def kill(group: Path) -> None:
    """End everything in a group and below it at once."""
    if not is_populated(group):
        return
    with suppress(OSError):
        (group / "cgroup.kill").write_text("1")
    patience.came_true(lambda: not is_populated(group), seconds=3)


def remove(group: Path) -> None:
    """End everything in a group and remove it with all below it. It need not be there.

    systemd-nspawn makes a group of the same name in version 1's tree, where that is mounted as well.
    """
    kill(group)
    for tree in _trees():
        for place, _, _ in os.walk(tree / group.name, topdown=False):
            with suppress(OSError):
                Path(place).rmdir()


def _trees() -> list[Path]:
    lines = MOUNTS.read_text().splitlines()
    return [Path(line.split()[4]) for line in lines if line.partition(" - ")[2].startswith("cgroup")]
