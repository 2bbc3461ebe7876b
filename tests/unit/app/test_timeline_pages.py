"""A timeline by the page is the whole timeline, whatever the pages and however much of the log is read at once."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from builders.incidents import alert, fired
from builders.plans import a_plan, action, gate
from builders.runs import RESPONDER, Bench

from mimrun.app.home import Home
from mimrun.app.incident.declaring import Declaration, declare
from mimrun.app.incident.pages import Place, Wanted, timeline_news, timeline_page
from mimrun.app.incident.timeline import Line, timeline
from mimrun.app.manual_work import Place as Work
from mimrun.app.manual_work import Report, report_work, write_note
from mimrun.app.runs import create_run
from mimrun.log.kinds import Kind


def everything(kind: Kind | None, source: str) -> bool:
    return True


def without_details(kind: Kind | None, source: str) -> bool:
    return kind not in (Kind.STEP_INTENT, Kind.STEP_OUTCOME, Kind.LOCK_TAKEN)


def notes_only(kind: Kind | None, source: str) -> bool:
    return source in ("note", "manual")


WANTED: dict[str, Wanted] = {"everything": everything, "no details": without_details, "notes": notes_only}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("timeline"))


@pytest.fixture(scope="module")
def incident(bench: Bench) -> str:
    """An incident of everything, in disorder: work that was entered late, alerts attached late, others' entries between."""
    dice = random.Random(7)
    with bench.home() as home:
        alerts = [alert(home) for _ in range(4)]
        name = declare(home, RESPONDER, Declaration("Nobody can pay"))
        other = declare(home, RESPONDER, Declaration("Another"))
    for number in range(60):
        with bench.home() as home:
            match dice.randrange(5):
                case 0:
                    at = home.clock() - timedelta(seconds=dice.choice([0, 1, 90, 4000]))
                    report_work(home, RESPONDER, Work(name), Report(f"work {number}", at))
                case 1:
                    fired(home, name, *dice.sample(alerts, 2))
                case 2:
                    write_note(home, RESPONDER, Work(other), "elsewhere")
                case 3 if number % 10 == 3:
                    plan = a_plan(bench.world, action("1"), gate("2"))
                    run = create_run(home, plan, RESPONDER, incident=name)
                    bench.execute(run)
                case _:
                    write_note(home, RESPONDER, Work(name), f"note {number}")
    return name


def wanted_lines(home: Home, incident: str, wanted: Wanted) -> list[Line]:
    known = {kind.value: kind for kind in Kind}
    return [line for line in timeline(home, incident) if wanted(known.get(line.kind), line.source)]


@pytest.mark.parametrize("wanted", WANTED)
@pytest.mark.parametrize("size", [1, 3, 10, 1000])
@pytest.mark.parametrize("window", [1, 2, 5, 1000])
def test_the_pages_together_are_the_timeline(
    bench: Bench, incident: str, wanted: str, size: int, window: int
) -> None:
    with bench.home() as home:
        upto, found, before = home.store.head().size, list[Line](), None
        while True:
            page = timeline_page(
                home, incident, WANTED[wanted], upto=upto, before=before, size=size, window=window
            )
            assert len(page.lines) <= size
            found += page.lines
            if page.before is None:
                break
            before = page.before
        whole = wanted_lines(home, incident, WANTED[wanted])
    assert [line.seq for line in reversed(found)] == [line.seq for line in whole]
    assert list(reversed(found)) == whole


@pytest.mark.parametrize("after", [0, 10, 40, 100])
def test_news_are_what_was_recorded_since(bench: Bench, incident: str, after: int) -> None:
    with bench.home() as home:
        upto = home.store.head().size
        news = timeline_news(home, incident, everything, after=after, upto=upto)
        own = [line for line in timeline(home, incident) if line.seq > after and line.inc]
    assert [line for line in news if line.inc] == own


def test_an_alert_is_news_when_a_rule_attaches_it(bench: Bench) -> None:
    with bench.home() as home:
        name = declare(home, RESPONDER, Declaration("The disk"))
        seq = alert(home)
        before = home.store.head().size
        fired(home, name, seq)
        upto = home.store.head().size
        assert [line.kind for line in timeline_news(home, name, everything, after=before, upto=upto)] == [
            "alert.received",
            "rule.fired",
        ]
        fired(home, name, seq)
        again = timeline_news(home, name, everything, after=upto, upto=upto + 1)
    assert [line.kind for line in again] == ["rule.fired"]


def test_nothing_is_told_that_came_later(bench: Bench, incident: str) -> None:
    with bench.home() as home:
        page = timeline_page(home, incident, everything, upto=60)
        assert max(line.seq for line in page.lines) <= 60
        assert all(line.seq <= 60 for line in timeline_news(home, incident, everything, after=5, upto=60))


@pytest.fixture
def broken(tmp_path: Path) -> Iterator[tuple[Home, str]]:
    with Bench(tmp_path).home() as home:
        name = declare(home, RESPONDER, Declaration("Nobody can pay"))
        for number in range(6):
            write_note(home, RESPONDER, Work(name), f"note {number}")
        with sqlite3.connect(home.settings.log) as database:
            for (trigger,) in database.execute(
                "select name from sqlite_master where type = 'trigger'"
            ).fetchall():
                database.execute(f"drop trigger {trigger}")
            database.execute("update entry set data = 'nonsense' where seq in (7, 8)")
        database.close()
        yield home, name


@pytest.mark.parametrize("window", [1, 2, 100])
def test_what_cannot_be_read_stands_where_it_is(broken: tuple[Home, str], window: int) -> None:
    home, name = broken
    before: Place | None = None
    seqs: list[int] = []
    while True:
        page = timeline_page(
            home, name, everything, upto=home.store.head().size, before=before, size=3, window=window
        )
        seqs += [line.seq for line in page.lines]
        if page.before is None:
            break
        before = page.before
    own = [entry.seq for entry in home.store.readable(inc=name)]
    assert sorted(seqs, reverse=True) == sorted(own, reverse=True)
    assert len(seqs) == len(set(seqs))
