"""Signers for tests: real keys in a folder, and such as are slow, dead, or hold still at one point."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path

from mimrun.log.checkpointing import Point
from mimrun.log.entry import Actor, Draft
from mimrun.log.proof.key import KeyRing
from mimrun.log.proof.signer import FileSigner, begin_key
from mimrun.log.sequenced import SequencedStore

SYSTEM = Actor("system", "log")


class Told:
    """Collects what the store says of its checkpoints."""

    def __init__(self) -> None:
        self.notes: list[int] = []
        self.failures: list[str] = []

    def __call__(self, point: Point, what: str | Exception) -> None:
        if isinstance(what, Exception):
            self.failures.append(str(what))
        else:
            self.notes.append(point.size)


class Slow:
    """A signer that does not answer before it is let go."""

    def __init__(self, folder: Path, origin: str) -> None:
        self.signer, self.go, self.asked = FileSigner(folder, origin), threading.Event(), threading.Event()

    @property
    def vkeys(self) -> tuple[str, ...]:
        return self.signer.vkeys

    @property
    def vkey(self) -> str:
        return self.signer.vkey

    def signed_size(self) -> int:
        return self.signer.signed_size()

    def sign(self, size: int, root: bytes, leaves: Iterable[bytes]) -> str:
        self.asked.set()
        assert self.go.wait(30)
        return self.signer.sign(size, root, leaves)


def begin(store: SequencedStore, folder: Path) -> FileSigner:
    """Give the log a key, and have it signed from here on."""
    signer = FileSigner(folder, store.log)
    store.append([Draft(SYSTEM, begin_key(signer, size=store.head().size))])
    store.sign_with(signer)
    return signer


def ring(store: SequencedStore) -> KeyRing:
    """Fold the log's keys."""
    return KeyRing.fold(store.log, store.entries())
