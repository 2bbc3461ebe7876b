"""Checkpoints that the store makes: when, of what, and that nothing that goes wrong with them harms the log."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from builders.log_places import Place

from mimrun.errors import StoreError, TamperError
from mimrun.log.chain import IncidentHead
from mimrun.log.checkpointing import EVERY
from mimrun.log.ends import Ends
from mimrun.log.entry import Draft
from mimrun.log.kinds import KillswitchPulled, Kind, LogHeads
from mimrun.log.merkle import root
from mimrun.log.proof.signer import FileSigner
from mimrun.log.proof.verify import verify
from mimrun.log.sequenced import SequencedStore
from tests.store.conftest import ACTOR, Counter, note, started
from tests.store.signers import Slow, Told, begin, ring

ROOT = Path(__file__).parents[2]


def until(there: Callable[[], bool], seconds: float = 20) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


def pulled() -> Draft:
    return Draft(ACTOR, KillswitchPulled(reason="a drill"))


def heads(store: SequencedStore) -> list[int]:
    return [entry.seq for entry in store.entries(kinds={Kind.LOG_HEADS})]


def checkpoints(store: SequencedStore) -> list[int]:
    """Check every stored checkpoint against keys, entries and incidents; give their sizes."""
    keys, entries, sizes = ring(store), list(store.entries()), []
    for stored in store.checkpoints():
        said = keys.check(stored.note).checkpoint
        assert (said.size, said.root) == (
            stored.size,
            root(entry.leaf() for entry in entries[: stored.size]),
        )
        body = entries[stored.size - 1].body
        assert isinstance(body, LogHeads)
        under = {e.inc: IncidentHead(e.iseq, e.leaf().hex()) for e in entries[: stored.size] if e.inc}
        assert (body.incidents, body.root) == (len(under), Ends(under).root)
        sizes.append(stored.size)
    return sizes


def test_a_store_that_nobody_signs_makes_no_checkpoints(store: SequencedStore) -> None:
    store.append([pulled()] * (EVERY + 1))
    assert store.checkpoint() is None
    assert (heads(store), store.latest_checkpoint()) == ([], None)


def test_what_asks_for_a_checkpoint_ends_its_transaction_with_the_heads(
    store: SequencedStore, tmp_path: Path
) -> None:
    begin(store, tmp_path)
    (entry,) = store.append([pulled()])
    assert heads(store) == [entry.seq + 1]
    said = store.entry(entry.seq + 1)
    assert (said.actor.kind, said.actor.id, said.inc) == ("system", "log", "")
    until(lambda: store.latest_checkpoint() is not None)
    assert checkpoints(store) == [entry.seq + 1]


def test_a_hundred_entries_make_one_whatever_they_say(store: SequencedStore, tmp_path: Path) -> None:
    begin(store, tmp_path)
    for number in range(EVERY - 1):
        store.append([note(f"{number}", inc=f"INC-{number % 7}")])
    assert len(heads(store)) == 1
    assert store.checkpoint()
    assert checkpoints(store)


def test_a_checkpoint_that_is_asked_for_is_there_when_the_answer_comes(
    store: SequencedStore, tmp_path: Path
) -> None:
    begin(store, tmp_path)
    store.append([note("a"), note("b", inc="INC-2")])
    first = store.checkpoint()
    assert first is not None
    assert first.size == store.head().size == heads(store)[-1]
    assert store.checkpoint() == first, "nothing is new, so nothing is added"
    assert store.head().size == first.size
    assert checkpoints(store) == [first.size]


def test_entries_that_nothing_follows_are_signed_after_a_minute(
    store: SequencedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mimrun.log.checkpointing.WITHIN_S", 0.3)
    begin(store, tmp_path)
    store.append([note("and then nothing")])
    until(lambda: store.latest_checkpoint() is not None)
    size = store.head().size
    assert checkpoints(store) == [size]
    time.sleep(0.7)
    assert store.head().size == size, "where nothing is new there is no further checkpoint"


def test_closing_signs_what_was_recorded_last(place: Place, tmp_path: Path) -> None:
    with place.open() as store:
        begin(store, tmp_path)
        store.append([note("the last word")])
    with place.open() as store:
        assert checkpoints(store) == heads(store) == [store.head().size]
        size = store.head().size
    with place.open() as store:
        store.sign_with(FileSigner(tmp_path, store.log))
        list(store.entries())
    with place.open() as store:
        assert store.head().size == size, "who only reads adds nothing"


def test_a_guard_that_refuses_leaves_no_heads_behind(store: SequencedStore, tmp_path: Path) -> None:
    begin(store, tmp_path)
    before = store.head().size

    def refuse(view: object) -> None:
        raise ValueError("not now")

    with pytest.raises(ValueError, match="not now"):
        store.append([pulled()], guard=refuse)
    assert store.head().size == before


def test_nobody_who_appends_waits_for_a_slow_signer(place: Place, tmp_path: Path) -> None:
    told = Told()
    with place.open() as store:
        begin(store, tmp_path)
        slow = Slow(tmp_path, store.log)
        store.sign_with(slow, told)
        store.append([pulled()])
        assert slow.asked.wait(10)
        begun = time.monotonic()
        for _ in range(20):
            store.append([pulled()])
        assert time.monotonic() - begun < 10
        with pytest.raises(StoreError, match=r"no checkpoint was made: .* within 0\.05 s"):
            store.checkpoint(0.05)
        begun = time.monotonic()
    assert time.monotonic() - begun < 8, "closing waits for two seconds at most"
    slow.go.set()
    until(lambda: bool(told.failures))
    assert "closed" in told.failures[0]
    with place.open() as store:
        # Its memory is ahead of what is stored, and that is no harm: the next signature goes on from there.
        store.sign_with(FileSigner(tmp_path, store.log))
        store.append([note("later")])
        assert store.checkpoint()
        assert checkpoints(store)
        assert verify(store).ok


def test_a_dead_signer_is_noted_and_asked_again_later(place: Place, tmp_path: Path) -> None:
    told = Told()
    with place.open() as store:
        signer = begin(store, tmp_path)
        store.sign_with(signer, told)
        (memory,) = tmp_path.glob("*.json")
        memory.rename(tmp_path / "gone")
        store.append([pulled()])
        until(lambda: bool(told.failures))
        assert memory.name in told.failures[0]
        store.append([pulled()])
        with pytest.raises(StoreError, match="the signer gave no signature"):
            store.checkpoint()
        (tmp_path / "gone").rename(memory)
        made = store.checkpoint()
        assert made is not None
        assert made.size == store.head().size
        assert checkpoints(store) == told.notes


def test_a_signer_that_has_seen_more_than_this_log_is_not_taken_for_a_late_one(
    place: Place, tmp_path: Path
) -> None:
    told = Told()
    with place.open() as store:
        begin(store, tmp_path)
        ahead = FileSigner(tmp_path, store.log)
        leaves = [*store.leaves(store.head().size), *[bytes(32)] * 50]
        ahead.sign(len(leaves), root(leaves), leaves)
        store.sign_with(ahead, told)
        store.append([pulled()])
        until(lambda: bool(told.failures))
        assert "it was cut, or an old copy was put in its place" in told.failures[0]
        assert store.latest_checkpoint() is None


def test_processes_that_sign_with_one_key_never_contradict_each_other(place: Place, tmp_path: Path) -> None:
    told = Told()
    with place.open() as one, place.open() as other:
        begin(one, tmp_path)
        for store in (one, other):
            store.sign_with(FileSigner(tmp_path, store.log), told)

        def work(store: SequencedStore) -> None:
            for number in range(120):
                store.append([note(f"{number}", inc=f"INC-{number % 5}"), *([pulled()] * (number % 10 == 0))])

        with ThreadPoolExecutor(2) as both:
            list(both.map(work, (one, other)))
    assert told.failures == []
    with place.open() as store:
        assert verify(store).ok
        sizes = checkpoints(store)
        assert sizes
        # A process without changes of its own leaves the last word to the other.
        assert sizes[-1] == heads(store)[-1]
        gaps = [later - earlier for earlier, later in zip(heads(store), heads(store)[1:], strict=False)]
        assert max(gaps) <= EVERY + 2


def test_very_many_incidents_do_not_make_a_checkpoint_dear(
    store: SequencedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(store, tmp_path)
    for first in range(0, 3000, 500):
        store.append([note("", inc=f"INC-{number:05d}") for number in range(first, first + 500)])
    store.checkpoint()
    hashed = 0
    original = Ends.update

    def counting(self: Ends, ends: dict[str, IncidentHead]) -> None:
        nonlocal hashed
        hashed += len(ends)
        original(self, ends)

    monkeypatch.setattr(Ends, "update", counting)
    store.append([note("", inc="INC-00007"), pulled()])
    assert hashed == 1
    store.checkpoint()
    assert checkpoints(store)[-1] == store.head().size


@pytest.mark.parametrize("point", ["before the signature", "before the note", "after the note"])
def test_killed_at_any_point_the_log_and_its_signer_still_agree(
    place: Place, tmp_path: Path, point: str
) -> None:
    with place.open() as store:
        begin(store, tmp_path)
    for _ in range(2):
        killed = subprocess.run(
            [
                sys.executable,
                str(Path(__file__).with_name("signed_and_killed.py")),
                place.address,
                tmp_path,
                point,
            ],
            env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
            check=False,
            timeout=60,
        )
        assert killed.returncode == -signal.SIGKILL
    with place.open() as store:
        assert verify(store).ok
        assert len(heads(store)) == 2
        # One is lost where it was killed before the note was stored, and only that one.
        assert len(checkpoints(store)) == (2 if point == "after the note" else 0)
        store.sign_with(FileSigner(tmp_path, store.log))
        store.append([note("it goes on")])
        made = store.checkpoint()
        assert made is not None
        assert checkpoints(store)[-1] == made.size == store.head().size


def test_a_log_that_became_shorter_under_a_process_is_not_added_to(place: Place) -> None:
    with place.open() as store:
        store.append([note("one")])
        row = (
            "size, leaf, ts, encode(frontier, 'hex')"
            if hasattr(place, "server")
            else "size, leaf, ts, hex(frontier)"
        )
        ((size, leaf, ts, frontier),) = place.execute(f"select {row} from head")
        store.append([note("two"), note("three")])
        frontier = f"'\\x{frontier}'::bytea" if hasattr(place, "server") else f"x'{frontier}'"
        place.execute(f"update head set size = {size}, leaf = '{leaf}', ts = '{ts}', frontier = {frontier}")
        with pytest.raises(
            TamperError, match="had 4 entries when this process last wrote to it, and now has 2"
        ):
            store.append([note("four")])


def test_checkpoints_follow_the_projections_of_many_threads(place: Place, tmp_path: Path) -> None:
    with place.open(projectors=[Counter()]) as store:
        begin(store, tmp_path)

        def work(run: str) -> None:
            for _ in range(40):
                store.append([started(run, inc=f"INC-{run}")])

        threads = [threading.Thread(target=work, args=(f"run-{number}",)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        store.checkpoint()
        assert store.rebuild()
        assert len(heads(store)) >= 4
        assert checkpoints(store)[-1] == store.head().size
