"""Projections: updated with the append, and folded again to the same bytes."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from builders.log_places import File, Place, a_schema
from hypothesis import given, settings
from hypothesis import strategies as st

from mimrun.lab.postgres_server import Instance
from mimrun.log.entry import LogEntry
from mimrun.log.sequenced import SequencedStore
from tests.store.conftest import ACTOR, ORIGIN, Counter, note, started, ticking


def test_a_state_is_there_when_the_append_returns(store: SequencedStore) -> None:
    assert store.projection("count/1", "run-1") == b""
    store.append([started(), note("four", run="run-1"), started("run-2")])
    assert store.projection("count/1", "run-1") == b"2:0;3:4;"
    assert list(store.projections("count/1")) == [("run-1", b"2:0;3:4;"), ("run-2", b"4:0;")]


def test_keys_are_given_by_prefix_in_order(store: SequencedStore) -> None:
    store.append([started(run) for run in ("b/2", "a/1", "b/1", "b", "c")])
    assert [key for key, _ in store.projections("count/1", "b/")] == ["b/1", "b/2"]
    assert [key for key, _ in store.projections("count/1")] == ["a/1", "b", "b/1", "b/2", "c"]


@settings(max_examples=15)
@given(st.lists(st.lists(st.sampled_from(["", "r1", "r2", "r3"]), min_size=1, max_size=4), max_size=8))
def test_folding_again_gives_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory, appends: list[list[str]]
) -> None:
    place = File(tmp_path_factory.mktemp("log") / "log.db")
    place.create(ORIGIN, ACTOR, ticking())
    fold_again(place, appends)


@pytest.mark.needs("postgres")
@settings(max_examples=10)
@given(st.lists(st.lists(st.sampled_from(["", "r1", "r2", "r3"]), min_size=1, max_size=4), max_size=8))
def test_folding_again_gives_the_same_bytes_in_postgresql(server: Instance, appends: list[list[str]]) -> None:
    with a_schema(server) as schema:
        schema.create(ORIGIN, ACTOR, ticking())
        fold_again(schema, appends)


def fold_again(place: Place, appends: list[list[str]]) -> None:
    with place.open(projectors=[Counter()]) as store:
        for runs in appends:
            store.append([note("x" * len(run), run=run) for run in runs])
        before = list(store.projections("count/1"))
        assert store.rebuild()
        assert list(store.projections("count/1")) == before


@pytest.mark.parametrize(
    "damage",
    [
        "update projection set state = 'x' where key = 'run-1'",
        "delete from projection where key = 'run-1'",
        "insert into projection values ('count/1', 'run-9', 'x')",
    ],
)
def test_a_damaged_state_is_found_and_replaced(place: Place, store: SequencedStore, damage: str) -> None:
    store.append([started(), started("run-2")])
    before = list(store.projections("count/1"))
    place.execute(damage)
    assert not store.rebuild()
    assert list(store.projections("count/1")) == before
    assert store.rebuild()


def test_what_another_process_appends_without_the_projector_is_folded(
    place: Place, store: SequencedStore
) -> None:
    store.append([started()])
    with place.open() as other:
        other.append([started(), note("sixsix", run="run-1")])
    assert store.projection("count/1", "run-1") == b"2:0;3:0;4:6;"
    store.append([started()])
    assert store.projection("count/1", "run-1") == b"2:0;3:0;4:6;5:0;"
    assert store.rebuild()


def test_two_stores_with_the_same_projector_agree(place: Place, store: SequencedStore) -> None:
    with place.open(projectors=[Counter()]) as other:
        for _ in range(3):
            store.append([started()])
            other.append([started()])
        assert store.projection("count/1", "run-1") == other.projection("count/1", "run-1")
        assert store.projection("count/1", "run-1").count(b";") == 6
        assert store.rebuild()
        assert other.rebuild()


def test_a_projector_with_a_new_name_folds_the_whole_log(place: Place, store: SequencedStore) -> None:
    store.append([started(), started()])
    with place.open(projectors=[Counter("count/2")]) as newer:
        assert newer.projection("count/2", "run-1") == b"2:0;3:0;"
        assert newer.rebuild()


def test_a_projector_that_fails_keeps_the_entry_out(place: Place) -> None:
    class Broken(Counter):
        def apply(self, state: bytes, entry: LogEntry, blobs: Mapping[str, bytes]) -> bytes:
            if entry.run == "bad":
                raise ValueError("cannot fold this")
            return super().apply(state, entry, blobs)

    with place.open(projectors=[Broken()]) as store:
        with pytest.raises(ValueError, match="cannot fold this"):
            store.append([started("good"), started("bad")])
        assert store.head().size == 1
        assert store.append([started("good")])[0].seq == 2
        assert store.projection("count/1", "good") == b"2:0;"
