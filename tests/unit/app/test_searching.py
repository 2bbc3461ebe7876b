"""Searching the log: the newest first, so much at a time."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from builders.runs import RESPONDER, Bench

from mimrun.app.home import Home
from mimrun.app.incident.declaring import Declaration, declare
from mimrun.app.searching import PAGE, Sought, search_log
from mimrun.errors import InputError
from mimrun.log.entry import Blob, Draft
from mimrun.log.kinds import IncidentNote


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with Bench(tmp_path).home() as home:
        yield home


def notes(home: Home, *texts: str) -> str:
    """Declare an incident, and write notes in it."""
    incident = declare(home, RESPONDER, Declaration("Nobody can pay"))
    home.store.append(
        [
            Draft(
                RESPONDER.actor(), IncidentNote(), inc=incident, blobs=(Blob("text", text.encode(), "text"),)
            )
            for text in texts
        ]
    )
    return incident


@pytest.mark.parametrize("window", [1, 2, 3, 7, 1000])
def test_whatever_the_window_the_same_is_found(home: Home, window: int) -> None:
    notes(home, *(f"note {number}" for number in range(9)))
    found = search_log(home, Sought(text="NOTE"), window=window)
    size, seqs = home.store.head().size, list[int]()
    while True:
        seqs += [hit.entry.seq for hit in found.hits]
        if not found.before:
            break
        found = search_log(home, Sought(text="NOTE", before=found.before), window=window)
    assert seqs == [seq for seq in range(size, 0, -1) if seq in set(seqs)]
    assert len(seqs) == 9


def test_a_search_says_how_far_it_has_looked(home: Home) -> None:
    notes(home, *("other" for _ in range(30)))
    size = home.store.head().size
    found = search_log(home, Sought(text="not there"), window=2)
    assert (found.hits, found.looked_from, found.before) == ((), size + 1 - 20, size + 1 - 20)


def test_no_more_than_a_page_is_found_at_a_time(home: Home) -> None:
    notes(home, *(f"note {number}" for number in range(PAGE + 20)))
    first = search_log(home, Sought(kind="incident.note"))
    assert len(first.hits) == PAGE
    rest = search_log(home, Sought(kind="incident.note", before=first.before))
    assert [hit.sentence for hit in rest.hits][-1] == "responder noted: note 0"
    assert len(rest.hits) == 20
    assert rest.before == 0


def test_only_what_belongs_to_an_incident_is_looked_at(home: Home) -> None:
    one, other = notes(home, "here"), notes(home, "there")
    assert {
        hit.entry.inc for hit in search_log(home, Sought(incident=one)).hits if hasattr(hit.entry, "inc")
    } == {one}
    assert search_log(home, Sought(incident=one, text="there")).hits == ()
    assert len(search_log(home, Sought(incident=other[:-1], text="there")).hits) == 1


def test_what_cannot_be_read_is_not_left_out(home: Home) -> None:
    notes(home, "here")
    with sqlite3.connect(home.settings.log) as database:
        database.execute("drop trigger if exists entry_update")
        for (name,) in database.execute("select name from sqlite_master where type = 'trigger'").fetchall():
            database.execute(f"drop trigger {name}")
        database.execute("update entry set data = 'nonsense' where seq = 3")
    database.close()
    (hit,) = search_log(home, Sought(text="nowhere")).hits
    assert hit.entry.seq == 3
    assert hit.sentence.startswith("unreadable: ")


@pytest.mark.parametrize("kind", ["nope", "run", "run.", "run.created"])
def test_a_kind_is_one_or_a_group_of_them(home: Home, kind: str) -> None:
    if kind in ("run.", "run.created"):
        assert search_log(home, Sought(kind=kind)).hits == ()
        return
    with pytest.raises(InputError, match="no entry is of kind"):
        search_log(home, Sought(kind=kind))
