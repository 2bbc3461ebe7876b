"""The feed: everybody who watches hears of what is recorded, from one follower, wherever they broke off."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from builders.commands import until
from fastapi import HTTPException

from mimrun.app.home import Home
from mimrun.app.server import feed as module
from mimrun.app.server.feed import Feed, Heard, News, Wanted, news_of
from mimrun.errors import StoreError
from mimrun.log.entry import Actor, Draft
from mimrun.log.kinds import IncidentNote, IncidentOpened
from mimrun.web import events
from mimrun.web.events import Streams

ACTOR = Actor("person", "alex", "web", "password")


def write(home: Home, inc: str, count: int = 1) -> int:
    """Record something in an incident; gives the last entry."""
    drafts = [Draft(ACTOR, IncidentNote(), inc=inc) for _ in range(count)]
    return home.store.append(drafts)[-1].seq


@pytest.fixture
def inc(home: Home) -> str:
    home.store.append([Draft(ACTOR, IncidentOpened(title="x"), inc="INC-1")])
    return "INC-1"


@pytest.fixture
def feed(home: Home) -> Iterator[Feed]:
    feed = Feed(home.store)
    yield feed
    feed.close()
    until(lambda: not any(thread.name == "feed" for thread in threading.enumerate()))


def heard(feed: Feed, after: int, wanted: Wanted | None = None) -> News:
    """Wait until there is something behind an entry."""
    until(lambda: feed.head() > after)
    news = feed.since(after, wanted or Wanted())
    assert news is not None
    return news


def test_who_watches_is_rung_and_told_what_is_concerned(home: Home, feed: Feed, inc: str) -> None:
    rung = threading.Event()
    feed.watch(rung.set)
    at = feed.head()
    assert feed.since(at, Wanted()) is None
    last = write(home, inc, 3)
    assert rung.wait(10)
    assert heard(feed, at) == News(last, ("incident.note",), (), (inc,))


def test_who_watches_one_incident_is_told_of_that_alone_and_moves_on(
    home: Home, feed: Feed, inc: str
) -> None:
    feed.watch(lambda: None)
    at = feed.head()
    last = write(home, inc)
    other = heard(feed, at, Wanted(incident="INC-2"))
    assert not other
    assert other.seq == last, "what was looked at is not looked at again"
    assert heard(feed, at, Wanted(incident=inc))
    assert not heard(feed, at, Wanted(run="run-x"))


def test_who_comes_later_is_told_from_the_log_what_nobody_remembers(home: Home, feed: Feed, inc: str) -> None:
    before = write(home, inc)
    missed = write(home, inc, 5)
    feed.watch(lambda: None)
    news = feed.since(before, Wanted())
    assert news == News(missed, ("incident.note",), (), (inc,))


def test_who_is_very_far_behind_looks_at_everything_anew(
    home: Home, feed: Feed, inc: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CAUGHT_UP", 3)
    last = write(home, inc, 10)
    feed.watch(lambda: None)
    assert feed.since(1, Wanted()) == News(last, all=True)
    assert feed.since(1, Wanted(incident=inc)) == News(last, all=True)
    assert bool(News(last, all=True))


def test_memory_is_bounded_and_what_fell_out_is_read_again(
    home: Home, inc: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEPT", 4)
    small = Feed(home.store)
    small.watch(lambda: None)
    at = small.head()
    for _ in range(10):
        last = write(home, inc)
    until(lambda: small.head() == last)
    assert small.since(at, Wanted()) == News(last, ("incident.note",), (), (inc,))
    assert small.since(last - 1, Wanted()) == News(last, ("incident.note",), (), (inc,))
    small.close()


def test_nobody_follows_where_nobody_watches(home: Home, feed: Feed, inc: str) -> None:
    number = feed.watch(lambda: None)
    assert feed.watchers == 1
    feed.unwatch(number)
    feed.unwatch(number)
    until(lambda: not any(thread.name == "feed" for thread in threading.enumerate()))
    last = write(home, inc)
    feed.watch(lambda: None)
    assert feed.head() == last


def test_one_follower_serves_everybody(home: Home, feed: Feed, inc: str) -> None:
    bells = [threading.Event() for _ in range(50)]
    for bell in bells:
        feed.watch(bell.set)
    write(home, inc)
    assert all(bell.wait(10) for bell in bells)
    assert sum(thread.name == "feed" for thread in threading.enumerate()) == 1


def test_who_has_seen_more_than_there_is_begins_at_the_end(home: Home, feed: Feed, inc: str) -> None:
    feed.watch(lambda: None)
    end = feed.head()
    assert (feed.begin(None), feed.begin(end - 1), feed.begin(10**15)) == (end, end - 1, end)
    last = write(home, inc)
    assert heard(feed, feed.begin(end)) == News(last, ("incident.note",), (), (inc,))


def test_a_log_that_could_not_be_read_for_a_while_is_followed_again(
    home: Home, inc: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_WAIT_S", 0.01)
    feed, rung = Feed(home.store), threading.Event()
    feed.watch(rung.set)
    at, tried = feed.head(), threading.Semaphore(0)

    def away(*_: object) -> None:
        tried.release()
        raise StoreError("the database is away")

    with monkeypatch.context() as gone:
        for name in ("follow", "head"):
            gone.setattr(type(home.store), name, away)
        for _ in range(6):
            assert tried.acquire(timeout=10)
    last = write(home, inc)
    assert rung.wait(10)
    assert heard(feed, at) == News(last, ("incident.note",), (), (inc,))
    feed.close()
    until(lambda: not any(thread.name == "feed" for thread in threading.enumerate()))


def test_everybody_is_rung_when_it_is_over(feed: Feed) -> None:
    rung = threading.Event()
    feed.watch(rung.set)
    feed.close()
    feed.close()
    assert rung.is_set()
    assert feed.closed


def test_what_is_told_says_nothing_of_what_entries_say() -> None:
    told = news_of(9, [Heard(8, "incident.note", "", "INC-1"), Heard(9, "step.intent", "run-x", "INC-1")])
    assert told == News(9, ("incident.note", "step.intent"), ("run-x",), ("INC-1",))


def test_streams_are_counted_for_each_person_and_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MOST", 3)
    monkeypatch.setattr(events, "MOST_EACH", 2)
    streams = Streams()
    with streams.one_more("alex"), streams.one_more("alex"):
        with pytest.raises(HTTPException) as too_many:
            streams.check("alex")
        assert too_many.value.status_code == 429
        streams.check("billie")
        with streams.one_more("billie"):
            with pytest.raises(HTTPException) as full:
                streams.check("somebody")
            assert full.value.status_code == 503
    assert streams.total == 0
    streams.check("alex")
