"""A lab's folder: where all parts keep what they write."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from mimrun.lab import leftover

PREFIX: Final = "mimrun-lab-"
"""How the name of every lab's own folder begins."""


def make() -> Path:
    """Make a folder for a lab that every user of the machine can enter and only we can look around in.

    The servers' user has to get to its data; a folder in root's home or pytest's own would be closed to it.
    """
    path = Path(tempfile.mkdtemp(prefix=PREFIX))
    path.chmod(0o711)
    return path


def remove(path: Path) -> None:
    """End whatever a lab has left running, and remove its folder."""
    leftover.stop_all(path)
    shutil.rmtree(path, ignore_errors=True)


@contextmanager
def temporary() -> Iterator[Path]:
    """Give a folder for a lab that is gone afterwards, with all that runs in it."""
    path = make()
    try:
        yield path
    finally:
        remove(path)
