"""A process that appends what asks for a checkpoint, and is killed at one point of making it.

Usage: signed_and_killed.py PLACE FOLDER POINT
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from builders.log_places import open_place

from mimrun.log.checkpointing import Point
from mimrun.log.entry import Draft
from mimrun.log.kinds import KillswitchPulled
from mimrun.log.proof.signer import FileSigner
from tests.store.conftest import ACTOR


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Deadly(FileSigner):
    """Signs, unless the process is to end before."""

    point = ""

    def signed_size(self) -> int:
        if self.point == "before the signature":
            die()
        return super().signed_size()

    def sign(self, size: int, root: bytes, leaves: Iterable[bytes]) -> str:
        note = super().sign(size, root, leaves)
        if self.point == "before the note":
            die()
        return note


def told(point: Point, what: str | Exception) -> None:
    die()


def main(place: str, folder: str, point: str) -> None:
    with open_place(place) as store:
        signer = Deadly(Path(folder), store.log)
        signer.point = point
        store.sign_with(signer, told)
        store.append([Draft(ACTOR, KillswitchPulled(reason="a drill"))])
        time.sleep(30)


main(*sys.argv[1:])
