"""What people say of an incident that the log cannot see: times and links."""

from __future__ import annotations

from datetime import timedelta

import pytest
from builders.runs import ALEX, RESPONDER, Bench, person

from mimrun.app.home import Home
from mimrun.app.incident import working
from mimrun.app.incident.declaring import Declaration, declare
from mimrun.app.incident.view import find_incident
from mimrun.errors import GateError, InputError, RefusedError
from mimrun.log.moment import write_moment


def declared(home: Home) -> str:
    return declare(home, RESPONDER, Declaration("It is slow", "low", "low"))


def test_a_time_is_somebodys_word_and_the_last_one_holds(bench: Bench) -> None:
    with bench.home() as home:
        name, now = declared(home), home.clock()
        first, second = now - timedelta(minutes=9), now - timedelta(minutes=7)
        working.set_time(home, RESPONDER, name, "started", first, source="estimate", reason="slow queries")
        assert find_incident(home, name).state.clocks.started.source == "estimate"
        clock = working.set_time(home, ALEX, name, "started", second).clocks.started
    assert (clock.at, clock.source) == (write_moment(second), "seen")


@pytest.mark.parametrize(
    ("known", "what", "minutes", "why"),
    [
        ({}, "started", -1, "yet to come"),
        ({"detected": 5}, "started", 4, "after it was detected"),
        ({"started": 5}, "detected", 6, "before it was started"),
        ({"started": 5}, "restored", 6, "before it was started"),
        ({"restored": 5}, "detected", 4, "after it was restored"),
        ({"started": 5, "restored": 2}, "detected", 3, ""),
        ({"detected": 5}, "acknowledged", 6, ""),
        ({"detected": 5}, "detected", 6, ""),
    ],
)
def test_a_time_that_cannot_be_is_refused(
    bench: Bench, known: dict[working.Timed, int], what: working.Timed, minutes: int, why: str
) -> None:
    with bench.home() as home:
        name, now = declared(home), home.clock()
        for other, ago in known.items():
            working.set_time(home, RESPONDER, name, other, now - timedelta(minutes=ago))
        at = now - timedelta(minutes=minutes)
        if not why:
            assert working.set_time(home, RESPONDER, name, what, at).name == name
            return
        with pytest.raises(InputError, match=why):
            working.set_time(home, RESPONDER, name, what, at)


def test_times_and_links_are_still_taken_when_it_is_closed(bench: Bench) -> None:
    with bench.home() as home:
        name = declared(home)
        working.resolve(home, RESPONDER, name, "no_fault")
        working.close(home, RESPONDER, name)
        working.set_time(home, RESPONDER, name, "started", home.clock())
        assert working.link(home, RESPONDER, name, "record", " INC0010042 ").links[-1].to == "INC0010042"


def test_a_link_stands_in_the_logs_of_both(bench: Bench) -> None:
    with bench.home() as home:
        parent, child, twin = declared(home), declared(home), declared(home)
        assert working.link(home, RESPONDER, parent, "child", child).children == (child,)
        working.link(home, RESPONDER, child, "duplicate", twin)
        assert find_incident(home, child).state.parent == parent
        assert find_incident(home, twin).state.links[-1].to == child
        with pytest.raises(RefusedError, match="linked with"):
            working.link(home, RESPONDER, parent, "child", child)
        with pytest.raises(RefusedError, match="linked with"):
            working.link(home, RESPONDER, child, "duplicate", twin)


def test_what_would_be_part_of_itself_or_of_two_is_refused(bench: Bench) -> None:
    with bench.home() as home:
        top, middle, low, other = (declared(home) for _ in range(4))
        working.link(home, RESPONDER, middle, "parent", top)
        working.link(home, RESPONDER, low, "parent", middle)
        with pytest.raises(RefusedError, match="would be part of itself"):
            working.link(home, RESPONDER, top, "parent", low)
        with pytest.raises(RefusedError, match="would be part of itself"):
            working.link(home, RESPONDER, low, "child", top)
        with pytest.raises(RefusedError, match=f"{low} is part of {middle} already"):
            working.link(home, RESPONDER, low, "parent", other)
        with pytest.raises(InputError, match="with itself"):
            working.link(home, RESPONDER, low, "parent", low)


@pytest.mark.parametrize("to", ["", "  ", "x" * 201])
def test_a_record_has_a_number_or_an_address(bench: Bench, to: str) -> None:
    with bench.home() as home, pytest.raises(InputError, match="say which record"):
        working.link(home, RESPONDER, declared(home), "record", to)


def test_whoever_has_left_says_nothing_and_a_stranger_may(bench: Bench) -> None:
    with bench.home() as home:
        name = declared(home)
        working.set_time(home, person("stranger"), name, "started", home.clock())
        bench.settings.people.write_text("people:\n  gone: {roles: [responder], active: false}\n")
        with pytest.raises(GateError, match="not active any more"):
            working.link(home, person("gone"), name, "record", "INC1")
