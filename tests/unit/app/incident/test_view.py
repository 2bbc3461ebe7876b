"""Finding incidents by what somebody types, and what their alerts say of when they began."""

from __future__ import annotations

from datetime import timedelta

import pytest
from builders.incidents import alert, fired
from builders.plans import a_plan, action
from builders.runs import ALEX, RESPONDER, Bench

from mimrun.app.incident import working
from mimrun.app.incident.declaring import Declaration, declare
from mimrun.app.incident.view import find_incident, list_incidents
from mimrun.app.manual_work import find_place
from mimrun.app.runs import create_run, find_run
from mimrun.errors import InputError
from mimrun.log.moment import write_moment

MILD = Declaration("It is slow", "low", "low")


def test_latest_is_the_newest_that_is_not_closed(bench: Bench) -> None:
    with bench.home() as home:
        with pytest.raises(InputError, match="the last ones are: none yet"):
            find_incident(home, "latest")
        first, second = declare(home, RESPONDER, MILD), declare(home, RESPONDER, MILD)
        assert find_incident(home, "latest").name == second
        for name, then in ((second, first), (first, second)):
            working.resolve(home, RESPONDER, name, "no_fault")
            working.close(home, RESPONDER, name)
            assert find_incident(home, "latest").name == then
        assert [one.is_open for one in list_incidents(home)] == [False, False]


def test_an_incident_of_runs_that_went_well_asks_nobody_for_anything_until_somebody_says_a_word(
    bench: Bench,
) -> None:
    def quiet() -> list[bool]:
        with bench.home() as home:
            return [one.is_quiet for one in list_incidents(home)]

    bench.run(a_plan(bench.world, action("1")))
    assert quiet() == [True]
    bench.run(a_plan(bench.world, action("1", answer="failed", word="x")))
    bench.create(a_plan(bench.world, action("1")))
    with bench.home() as home:
        declare(home, RESPONDER, MILD)
    assert quiet() == [False, False, False, True]
    with bench.home() as home:
        well = list_incidents(home)[-1]
        assert not well.is_open
        working.assess(home, RESPONDER, well.name, MILD)
    assert quiet() == [False, False, False, False]


def test_a_word_is_looked_up_as_a_name_its_beginning_or_something_close_to_one(bench: Bench) -> None:
    with bench.home() as home:
        name = declare(home, RESPONDER, MILD)
        assert find_incident(home, name.lower()).name == name
        assert find_incident(home, name[:14]).name == name
        with pytest.raises(InputError, match=f"did you mean {name}"):
            find_incident(home, name[:-1] + "!")
        for word in ("", "nothing-like-it"):
            with pytest.raises(InputError, match="the last ones are"):
                find_incident(home, word)


def test_the_first_alert_says_when_it_began_and_was_noticed_unless_somebody_does(bench: Bench) -> None:
    with bench.home() as home:
        began = home.clock() - timedelta(minutes=9)
        seq = alert(home, write_moment(began))
        name = declare(home, RESPONDER, MILD)
        assert not find_incident(home, name).state.clocks.detected
        fired(home, name, alert(home), seq)
        clocks = find_incident(home, name).state.clocks
        assert (clocks.started.at, clocks.started.source) == (write_moment(began), "event")
        received = write_moment(home.store.entry(seq).ts)
        assert (clocks.detected.at, clocks.detected.seq) == (received, seq)
        word = began + timedelta(minutes=1)
        working.set_time(home, ALEX, name, "detected", word)
        assert find_incident(home, name).state.clocks.detected.at == write_moment(word)
        assert find_incident(home, name).state.clocks.started.source == "event"
        (listed,) = list_incidents(home)
        assert listed.state == find_incident(home, name).state


def test_a_time_is_checked_against_what_the_alert_says(bench: Bench) -> None:
    with bench.home() as home:
        name = declare(home, RESPONDER, MILD)
        fired(home, name, alert(home, write_moment(home.clock() - timedelta(minutes=9))))
        with pytest.raises(InputError, match="before it was started"):
            working.set_time(home, ALEX, name, "detected", home.clock() - timedelta(minutes=10))


def test_json_has_everything_that_programs_need(bench: Bench) -> None:
    with bench.home() as home:
        name = declare(home, RESPONDER, Declaration("It is slow", "high", "high", ("wiki",)))
        working.assign(home, ALEX, name, "scribe", "alex")
        create_run(home, a_plan(bench.world, action("1")), RESPONDER, incident=name)
        shown = find_incident(home, name).as_json()
    assert (shown["incident"], shown["priority"], shown["assessed_priority"]) == (name, None, "P1")
    assert (shown["severity"], shown["stage"], shown["status"]) == ("SEV2", "identification", "open")
    assert (shown["services"], shown["roles"]) == (["wiki"], {"scribe": "alex"})
    clocks = shown["clocks"]
    assert isinstance(clocks, dict)
    assert set(clocks) >= {"started", "detected", "acknowledged", "contained", "restored", "closed"}
    assert isinstance(shown["runs"], list)


def test_manual_work_goes_to_what_was_declared_or_had_a_run_last(bench: Bench) -> None:
    with bench.home() as home:
        with pytest.raises(InputError, match="begin with `mimrun incident declare"):
            find_place(home, None, None)
        declared = declare(home, RESPONDER, MILD)
        assert find_place(home, None, None).describe() == f"{declared}, the newest incident"
        run = create_run(home, a_plan(bench.world, action("1")), RESPONDER)
        opened = find_run(home, run).summary.incident
        assert find_place(home, None, None).describe() == f"{opened}, the incident of the newest run"
        assert find_place(home, "latest", None).describe() == opened
        assert find_place(home, declared[:-1], None).describe() == declared
        with pytest.raises(InputError, match="give one of the two"):
            find_place(home, declared, run)
