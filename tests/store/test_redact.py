"""Erasure: a blob goes in the transaction that says so, with what encrypted it, and nothing else changes."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders.log_places import File, Place, Schema

from mimrun.app.home import PROJECTORS
from mimrun.errors import ErasedError, RefusedError, StoreError, TamperError
from mimrun.log.entry import Draft, LogEntry
from mimrun.log.kinds import RedactApplied, RedactProposed
from mimrun.log.merkle import Tree
from mimrun.log.redaction import Erasure, Erasures, key_of
from mimrun.log.sequenced import SequencedStore
from mimrun.log.sqlite.store import SqliteStore
from mimrun.log.store import View
from tests.store.conftest import ACTOR, note, started


def asked(entry: LogEntry) -> Draft:
    names = tuple(ref.n for ref in entry.blobs)
    return Draft(ACTOR, RedactProposed(entry=entry.seq, names=names, reason="a name"), inc=entry.inc)


def erasing(entry: LogEntry, proposal: int = 1) -> Draft:
    (ref,) = entry.blobs
    body = RedactApplied(entry=entry.seq, name=ref.n, commit=ref.commit, proposal=proposal, reason="a name")
    return Draft(ACTOR, body, inc=entry.inc)


def erase(store: SequencedStore, entry: LogEntry) -> LogEntry:
    (proposed,) = store.append([asked(entry)])
    (applied,) = store.append([erasing(entry, proposed.seq)])
    return applied


def test_what_is_erased_is_said_to_be_and_by_whom(place: Place, store: SequencedStore) -> None:
    one, two = store.append([note("one"), note("two")])
    root = store.head().root
    applied = erase(store, one)
    with pytest.raises(
        ErasedError, match=rf"'text' of log entry 2 was erased by u:7 \(entry {applied.seq}\)"
    ):
        store.blob(one, "text")
    assert store.blob(two, "text") == b"two"
    assert store.stored_blob(one.blobs[0].commit) is None
    (said,) = store.redactions()
    assert (said.seq, said.by, said.entry, said.name) == (applied.seq, "u:7", 2, "text")
    assert (said.commit, said.proposal, said.reason) == (one.blobs[0].commit, 4, "a name")
    with place.open() as other:
        assert other.entry(2) == one
        with pytest.raises(ErasedError):
            other.blob(one, "text")
    assert Tree(store.leaves(3)).root().hex() == root


def test_the_words_that_stand_in_the_files_are_gone_from_them(path: Path) -> None:
    with SqliteStore(path) as store:
        entries = store.append([note(f"{n} " + "x" * 3000, "INC-1") for n in range(8)])
        commit = bytes.fromhex(entries[3].blobs[0].commit)
        stored = store._reader.encrypted_blob(commit)
        assert stored is not None
        pieces = [stored.data[at : at + 64] for at in range(0, len(stored.data) - 64, 64)]
        assert all(any(piece in data for data in files(path)) for piece in pieces)
        erase(store, entries[3])
        assert not any(piece in data for piece in pieces for data in files(path))
    assert not any(piece in data for piece in pieces for data in files(path))


def files(path: Path) -> list[bytes]:
    return [file.read_bytes() for file in path.parent.iterdir() if file.name.startswith("log.db")]


def test_a_key_goes_with_the_last_blob_that_it_encrypts(place: Place, store: SequencedStore) -> None:
    one, two, other = store.append([note("one", "INC-1"), note("two", "INC-1"), note("three", "INC-2")])
    erase(store, one)
    assert keys(place) == ["", "INC-1", "INC-2"]
    erase(store, two)
    assert keys(place) == ["", "INC-2"]
    assert store.blob(other, "text") == b"three"


def keys(place: Place) -> list[str]:
    return [inc for (inc,) in place.execute("select inc from data_key order by inc")]


def test_an_incident_goes_on_after_its_key_was_destroyed_also_elsewhere(
    place: Place, store: SequencedStore
) -> None:
    (one,) = store.append([note("one", "INC-1")])
    with place.open() as other:
        other.append([note("two", "INC-1")])
        (three,) = other.append([note("three", "INC-1")])
        for entry in [*store.entries(inc="INC-1")]:
            erase(store, entry)
        assert keys(place) == [""]
        # This process, and the other one, still have in mind the key that was destroyed.
        (four,) = other.append([note("four", "INC-1")])
        (five,) = store.append([note("five", "INC-1")])
        for reading in (store, other):
            assert reading.blob(four, "text") == b"four"
            assert reading.blob(five, "text") == b"five"
            with pytest.raises(ErasedError):
                reading.blob(three, "text")
    assert keys(place) == ["", "INC-1"]
    assert one.inc == "INC-1"


def test_a_refused_erasure_erases_nothing(store: SequencedStore) -> None:
    (one,) = store.append([note("one")])

    def no(view: View) -> None:
        raise RefusedError("it is needed")

    with pytest.raises(RefusedError):
        store.append([erasing(one)], guard=no)
    assert store.blob(one, "text") == b"one"
    assert list(store.redactions()) == []


def test_an_erasure_of_what_is_gone_already_is_refused(store: SequencedStore) -> None:
    (one,) = store.append([note("one")])
    erase(store, one)
    size = store.head().size
    with pytest.raises(StoreError):
        store.append([started(), erasing(one)])
    assert store.head().size == size
    assert store.append([started()])[0].seq == size + 1


def test_projections_are_rebuilt_to_the_same_bytes_after_an_erasure(place: Place) -> None:
    with place.open(projectors=PROJECTORS) as store:
        one, two = store.append([note("one"), note("two")])
        erase(store, one)
        store.append([asked(two)])
        state = Erasure.decode(store.projection(Erasures.name, key_of("INC-1", 2)))
        assert (state.applied, state.proposals) == ({"text": 5}, {})
        state = Erasure.decode(store.projection(Erasures.name, key_of("INC-1", 3)))
        assert (state.proposals["text"].by, state.applied) == ("u:7", {})
        before = [[*store.projections(projector.name)] for projector in PROJECTORS]
        assert store.rebuild()
        assert before == [[*store.projections(projector.name)] for projector in PROJECTORS]


def test_a_blob_that_only_a_row_says_was_erased_is_missing(place: Place, store: SequencedStore) -> None:
    one, _ = store.append([note("one"), note("two")])
    if isinstance(place, File):
        for (name,) in place.execute("select name from sqlite_schema where type = 'trigger'"):
            place.execute(f"drop trigger {name}")
        commit = f"x'{one.blobs[0].commit}'"
    else:
        for table in ("blob", "redaction"):
            place.execute(f"alter table {table} disable trigger all")
        commit = f"'\\x{one.blobs[0].commit}'"
    place.execute(f"insert into redaction values ({commit}, 3)")
    place.execute(f'delete from blob where "commit" = {commit}')
    with pytest.raises(TamperError, match="blob 'text' of log entry 2 is missing"):
        store.blob(one, "text")
    assert list(store.redactions()) == []


@pytest.mark.needs("postgres")
@pytest.mark.parametrize(
    "statement",
    [
        "delete from blob",
        "delete from data_key",
        "update blob set data = 'x'",
        "update data_key set wrapped = 'x'",
        "truncate blob",
        'insert into redaction select "commit", 2 from blob',
        "delete from redaction",
    ],
)
def test_the_role_erases_nothing_without_an_entry_that_says_so(schema: Schema, statement: str) -> None:
    with schema.open() as store:
        store.append([note("one")])
        with schema.database.connect("test") as db, pytest.raises(Exception, match=r"append-only|denied"):
            db.execute(statement.encode())
        assert store.blob(store.entry(2), "text") == b"one"
