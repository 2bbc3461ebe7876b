"""States that are compared with the entries: whatever was done to them alone is named, and nothing is changed."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import pytest
from builders.log_places import Place

from mimrun.errors import TamperError
from mimrun.log.entry import LogEntry
from mimrun.log.proof import refolding
from mimrun.log.sequenced import SequencedStore
from tests.store.conftest import Counter, note, started


def rows(place: Place) -> list[object]:
    return place.execute("select name, key, state from projection order by name, key")


def test_states_that_follow_from_the_entries_are_right(store: SequencedStore) -> None:
    store.append([started(), note("four", run="run-1"), started("run-2")])
    found = store.compare_states()
    assert (found.size, found.compared, found.flaws) == (4, 2, ())


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (
            "update projection set state = 'x' where key = 'run-1'",
            "state 'run-1' of count/1 is not what the log says: it is x and would be 2:0;; the last entry about it is 2",
        ),
        (
            "delete from projection where key = 'run-2'",
            "state 'run-2' of count/1 is missing; the log says 3:0;; the last entry about it is 3",
        ),
        (
            "insert into projection values ('count/1', 'run-9', 'x')",
            "state 'run-9' of count/1 is there and no entry says so; it is x",
        ),
        ("update projector set size = 9", "the projection count/1 says that it has folded 9 entries"),
        # As if an entry had been written without the projector: what it had folded then is compared.
        ("update projector set size = 2", "state 'run-2' of count/1 is there and no entry says so"),
        ("delete from projector", "state 'run-1' of count/1 is there and no entry says so"),
    ],
)
def test_a_state_that_was_changed_alone_is_named_and_left_as_it_is(
    place: Place, store: SequencedStore, damage: str, said: str
) -> None:
    store.append([started(), started("run-2")])
    place.execute(damage)
    before = rows(place)
    found = store.compare_states()
    assert found.flaws[0].startswith(said), found.flaws
    assert rows(place) == before
    if "projector" not in damage:
        assert len(found.flaws) == 1
        assert not store.rebuild()
        assert store.compare_states().flaws == ()


def test_of_two_objects_only_the_values_that_differ_are_told(place: Place) -> None:
    class Objects(Counter):
        def apply(self, state: bytes, entry: LogEntry, blobs: Mapping[str, bytes]) -> bytes:
            return b'{"last":%d,"run":"%s"}' % (entry.seq, entry.run.encode())

    with place.open(projectors=[Objects()]) as store:
        store.append([started()])
        place.execute("""update projection set state = '{"last":7,"run":"run-1"}'""")
        (flaw,) = store.compare_states().flaws
        assert "last is 7 and would be 2;" in flaw
        (other,) = store.compare_states().as_json()["others"]  # type: ignore[misc]
        assert other == {
            "projection": "count/1",
            "key": "run-1",
            "wrong": "differs",
            "stored": '{"last":7,"run":"run-1"}',
            "said": '{"last":2,"run":"run-1"}',
            "entry": 2,
        }


def test_entries_that_no_projector_has_folded_yet_are_no_difference(
    place: Place, store: SequencedStore
) -> None:
    store.append([started()])
    with place.open() as other:
        other.append([started()])
    assert store.compare_states().flaws == ()
    with place.open(projectors=[Counter("count/2")]) as newer:
        found = newer.compare_states()
        assert (found.flaws, found.unknown) == ((), ("count/1",))


def test_states_are_compared_while_others_append(
    store: SequencedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refolding, "PAGE", 1)
    store.append([started(f"run-{n}") for n in range(20)])
    done, appended = threading.Event(), threading.Event()

    def append() -> None:
        while not done.is_set():
            store.append([started("run-1"), started("run-new")])
            appended.set()

    thread = threading.Thread(target=append)
    thread.start()
    try:
        assert appended.wait(10)
        sizes = []
        for _ in range(5):
            found = store.compare_states()
            assert found.flaws == ()
            sizes.append(found.size)
    finally:
        done.set()
        thread.join()
    assert sizes[0] > 20


def test_states_that_are_put_away_meanwhile_come_out_the_same(
    place: Place, store: SequencedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refolding, "KEPT", 10)
    store.append([started(f"run-{n % 3}") for n in range(30)])
    assert store.compare_states().flaws == ()
    place.execute("update projection set state = 'x' where key = 'run-1'")
    assert len(store.compare_states().flaws) == 1


def test_very_many_differences_are_counted_and_not_all_listed(
    place: Place, store: SequencedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refolding, "MOST", 3)
    store.append([started(f"run-{n}") for n in range(8)])
    place.execute("delete from projection")
    found = store.compare_states()
    assert (len(found.flaws), found.more) == (3, 5)


def test_progress_is_told_and_an_entry_that_cannot_be_folded_is_named(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Fragile(Counter):
        broken = False

        def apply(self, state: bytes, entry: LogEntry, blobs: Mapping[str, bytes]) -> bytes:
            if self.broken and entry.seq == 3:
                raise KeyError("run")
            return super().apply(state, entry, blobs)

    projector, told = Fragile(), list[int]()
    monkeypatch.setattr(refolding, "PAGE", 2)
    with place.open(projectors=[projector]) as store:
        store.append([started(), started(), started()])
        assert store.compare_states(told.append).flaws == ()
        assert told == [2, 4]
        projector.broken = True
        with pytest.raises(TamperError, match=r"log entry 3 \(run.started\) cannot be folded into count/1"):
            store.compare_states()
