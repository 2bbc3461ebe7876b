"""A mark that sends writers elsewhere counts only behind the entry that says so, wherever the log is."""

from __future__ import annotations

import pytest
from builders.log_places import File, Place, Schema

from mimrun.errors import StoreError, TamperError
from mimrun.log.entry import NOTHING, Draft
from mimrun.log.kinds import LogHeads, LogMoved
from mimrun.log.proof.verify import verify
from mimrun.log.sequenced import SequencedStore
from tests.store.conftest import ACTOR, Counter, note, started


def mark(place: Place, where: str = "elsewhere") -> None:
    place.execute(f"update origin set moved = '{where}'")


def word(where: str = "elsewhere") -> Draft:
    return Draft(ACTOR, LogMoved(to=where))


def heads() -> Draft:
    return Draft(ACTOR, LogHeads(incidents=1, root=NOTHING))


FORGED = {
    "nobody said so": [started()],
    "another place was named": [started(), word("another")],
    "it was said, and the log went on since": [word(), note("since")],
}


@pytest.mark.parametrize("drafts", FORGED.values(), ids=FORGED)
def test_a_mark_that_no_entry_speaks_of_is_refused_and_named(
    place: Place, store: SequencedStore, drafts: list[Draft]
) -> None:
    store.append(drafts)
    mark(place)
    for _ in range(2):
        with pytest.raises(TamperError, match="goes on at elsewhere, and its last entry does not say so"):
            store.append([note("on")])
    with pytest.raises(TamperError, match="`mimrun log rebuild` takes the mark away"):
        store.moved()
    report = verify(store)
    assert [(flaw.seq, flaw.check) for flaw in report.flaws] == [(0, "moved")], str(report)


def test_a_mark_behind_the_word_of_an_entry_counts_and_sends_writers_there(
    place: Place, store: SequencedStore
) -> None:
    store.append([started(), word()])
    mark(place)
    for _ in range(2):
        with pytest.raises(StoreError, match="it goes on at elsewhere; set MIMRUN_STORE"):
            store.append([note("on")])
    assert store.moved() == "elsewhere"
    assert verify(store).ok
    with pytest.raises(StoreError, match="it goes on at elsewhere"), place.open() as other:
        other.append([note("on")])


def test_heads_may_follow_the_word_and_nothing_else(place: Place, store: SequencedStore) -> None:
    store.append([word(), *(heads() for _ in range(9))])
    mark(place)
    assert store.moved() == "elsewhere"
    assert "moved" not in {flaw.check for flaw in verify(store).flaws}


def test_a_log_cannot_go_on_at_the_place_where_it_is(place: Place, store: SequencedStore) -> None:
    name = str(place.path) if isinstance(place, File) else place.database.name  # type: ignore[attr-defined]
    store.append([word(name)])
    mark(place, name)
    with pytest.raises(TamperError, match="its last entry does not say so"):
        store.moved()


def test_a_rebuild_takes_a_forged_mark_away_and_leaves_a_right_one(place: Place) -> None:
    as_owner = {"projectors": [Counter()]}
    if isinstance(place, Schema):
        place = Owned(place.server, place.name)
    with place.open(**as_owner) as store:
        store.append([started()])
        mark(place)
        assert not store.rebuild()
        assert store.rebuild()
        store.append([word()])
        mark(place)
        assert store.moved() == "elsewhere"


@pytest.mark.needs("postgres")
def test_a_role_that_may_only_add_cannot_take_a_mark_away(schema: Schema) -> None:
    with schema.open(projectors=[Counter()]) as store:
        store.append([started()])
        mark(schema)
        with pytest.raises(StoreError, match="permission denied"):
            store.rebuild()


class Owned(Schema):
    """A log that mimrun opens as who owns it."""

    def open(self, **named: object) -> SequencedStore:
        self.database = self.owner
        return super().open(**named)
