"""Anchors against a log that was changed by somebody who has everything but them, in both stores."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from builders.log_places import File, Place, Schema, a_schema
from builders.witness import Witness, serving

from mimrun.app.anchor.file import Anchor, WitnessPlace
from mimrun.app.anchor.places import Means, Point, give_all
from mimrun.catalog import installed_catalog
from mimrun.log.anchored import NO_NEWS, AnchorRecords, anchors_in
from mimrun.log.chain import StoredCheckpoint
from mimrun.log.entry import Draft
from mimrun.log.kinds import Kind, LogAnchored, LogKey
from mimrun.log.merkle import prove_consistency
from mimrun.log.proof.note import Checkpoint, SigningKey, read_checkpoint, read_note, read_vkey, sign_note
from mimrun.log.proof.report import Kept, Trust
from mimrun.log.proof.verify import verify
from mimrun.log.sequenced import SequencedStore
from mimrun.runbook.inventory import parse_inventory
from mimrun.secret import Masker
from tests.store.conftest import ACTOR, ORIGIN, note, ticking

KEY = SigningKey(ORIGIN, bytes([7]) * 32)
"""The log's key, which the thief has as well."""


class Stolen:
    """Signs whatever it is asked to, with the log's own key: what a thief has in the end."""

    vkeys: tuple[str, ...] = (KEY.verifying().vkey,)
    vkey = KEY.verifying().vkey

    def signed_size(self) -> int:
        return 0

    def sign(self, size: int, root: bytes, leaves: Iterable[bytes]) -> str:
        return sign_note(Checkpoint(ORIGIN, size, root).text(), [KEY])


def signed(store: SequencedStore) -> SequencedStore:
    """Announce the key, and sign with it from here on."""
    key = KEY.verifying()
    body = LogKey(keyid=key.keyid, vkey=key.vkey, from_size=store.head().size + 1)
    store.append([Draft(ACTOR, body)])
    store.sign_with(Stolen())
    return store


def checkpoint(store: SequencedStore) -> StoredCheckpoint:
    found = store.checkpoint()
    assert found is not None
    return found


def point(stored: StoredCheckpoint) -> Point:
    return Point(read_checkpoint(read_note(stored.note).text), stored.note)


def judged(store: SequencedStore, *kept: StoredCheckpoint) -> list[str]:
    report = verify(store, trust=Trust(kept=tuple(Kept("anchor-host", one.note) for one in kept)))
    return [str(flaw) for flaw in report.flaws]


def means(store: SequencedStore) -> Means:
    return Means(installed_catalog(), parse_inventory("localhost"), Masker(), store.leaves, ORIGIN)


def append(store: SequencedStore, *texts: str) -> None:
    for text in texts:
        store.append([note(text)])


def test_what_was_signed_anew_below_the_anchor_is_found_and_the_anchor_named(
    place: Place, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with place.open() as store:
        append(signed(store), "it began", "the truth", "it ended")
        anchored = checkpoint(store)
        append(store, "after")
        checkpoint(store)
        assert judged(store, anchored) == []
    # The same key, the same origin, the same number of entries; everything in it holds.
    other = _another(place, tmp_path, request)
    with other.open() as forged:
        append(signed(forged), "it began", "a lie", "it ended")
        assert checkpoint(forged).size == anchored.size
        append(forged, "after")
        checkpoint(forged)
        assert judged(forged) == []
        (found,) = judged(forged, anchored)
        assert f"the first {anchored.size} entries are not those whose checkpoint anchor-host has" in found


def test_a_log_that_was_cut_below_the_anchor_is_found_and_above_it_is_not(
    place: Place, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with place.open() as store:
        append(signed(store), "one")
        first = checkpoint(store)
        append(store, "two")
        anchored = checkpoint(store)
        assert judged(store, first, anchored) == []
    other = _another(place, tmp_path, request)
    with other.open() as short:
        append(signed(short), "one")
        checkpoint(short)
        (found,) = [flaw for flaw in judged(short, anchored) if "when anchor-host was given" in flaw]
        assert f"the log had {anchored.size} entries" in found
        # What came after the last checkpoint outside can be written anew: that is the window.
        append(short, "two, but otherwise")
        checkpoint(short)
        assert judged(short) == []


def test_a_checkpoint_of_another_key_or_one_that_was_changed_is_found(place: Place) -> None:
    with place.open() as store:
        append(signed(store), "one")
        good = checkpoint(store)
        foreign = sign_note(read_note(good.note).text, [replace(KEY, seed=bytes([9]) * 32)])
        changed = good.note.replace(f"\n{good.size}\n", f"\n{good.size - 1}\n")
        for bad in (foreign, changed):
            (found,) = judged(store, StoredCheckpoint(good.size, bad))
            assert "a checkpoint that anchor-host has is not one of this log" in found


def test_a_witness_is_proven_to_from_each_store_and_refuses_the_rewritten_one(
    place: Place, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    witness = Witness(tmp_path / "memory", {ORIGIN: [KEY.verifying().vkey]})
    with serving(witness) as url:
        anchor = Anchor("w", WitnessPlace(url, read_vkey(witness.vkey)))
        with place.open() as store:
            signed(store)
            for size in range(5):
                append(store, *(f"{size} {n}" for n in range(size * 3)))
                (given,) = give_all([anchor], point(checkpoint(store)), means(store), {"w": 0})
                assert given.done, given.reason
            seen = witness.known(ORIGIN)[0]
            leaves = list(store.leaves(seen))
            assert prove_consistency(store.leaves(seen), 5, seen) == prove_consistency(leaves, 5, seen)
        with _another(place, tmp_path, request).open() as forged:
            append(signed(forged), *(f"other {n}" for n in range(40)))
            (given,) = give_all([anchor], point(checkpoint(forged)), means(forged), {"w": 0})
            assert (given.done, given.against) == (False, True)
        assert witness.known(ORIGIN)[0] == seen


def test_the_store_folds_what_anchors_have_and_gives_the_same_when_it_is_rebuilt(place: Place) -> None:
    def told(name: str, size: int, *, done: bool) -> Draft:
        return Draft(ACTOR, LogAnchored(anchor=name, size=size, root="1" * 64, done=done, reason="x"))

    with place.open(projectors=[AnchorRecords()]) as store:
        store.append([told("a", 1, done=True), told("b", 1, done=False), told("a", 2, done=False)])
        known = anchors_in(store.projections(AnchorRecords.name))
        assert {name: (one.size, one.failures) for name, one in known.items()} == {"a": (1, 1), "b": (0, 1)}
        assert store.rebuild()
        # Its own entries are no reason to anchor again.
        news = set(Kind) - NO_NEWS
        assert [entry.kind for entry in store.entries(after=1, kinds=news)] == []


def _another(place: Place, tmp_path: Path, request: pytest.FixtureRequest) -> Place:
    """A new log of the same name, in the same kind of store."""
    other: Place
    if isinstance(place, Schema):
        context = a_schema(place.server)
        other = context.__enter__()
        request.addfinalizer(lambda: context.__exit__(None, None, None))
    else:
        other = File(tmp_path / "other.db")
    assert other.create(ORIGIN, ACTOR, ticking())
    return other
