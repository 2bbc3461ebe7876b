"""How urgent an incident is: declared by those who may, shown, and asked for by the policy."""

from __future__ import annotations

import pytest
from builders.plans import a_plan, action
from builders.runs import ALEX, BILLIE, RESPONDER, Bench

from mimrun.app.home import Home
from mimrun.app.incident.view import find_incident, list_incidents
from mimrun.app.priority import prioritize, priority_drafts, priority_reader, read_priority
from mimrun.app.runs import create_run, find_run
from mimrun.errors import GateError, InputError, RefusedError
from mimrun.log.kinds import Kind


def an_incident(home: Home, bench: Bench) -> str:
    run = create_run(home, a_plan(bench.world, action("1")), RESPONDER)
    return find_run(home, run).summary.incident


def test_the_last_word_of_somebody_who_may_holds(bench: Bench) -> None:
    with bench.home() as home:
        incident = an_incident(home, bench)
        read = priority_reader(home, incident, lambda: None)
        assert read() is None
        assert prioritize(home, ALEX, incident, "P1", "the shop is down").priority is None
        assert read() == "P1"
        assert prioritize(home, ALEX, incident, "P3", "half of it is back").priority == "P1"
        assert read() == "P3"
        kinds = [entry.kind for entry in home.store.entries(inc=incident)]
        assert kinds.count(Kind.INCIDENT_PRIORITIZED) == 2


def test_only_the_roles_of_the_policy_may(bench: Bench) -> None:
    with bench.home() as home:
        incident = an_incident(home, bench)
        for who in (RESPONDER, BILLIE):
            with pytest.raises(GateError, match="needs major_incident_manager or service_desk"):
                prioritize(home, who, incident, "P1", "urgent")
        bench.settings.policy.write_text("prioritize: [change_manager]\n")
        prioritize(home, BILLIE, incident, "P1", "urgent")


def test_a_reason_is_needed_and_the_same_priority_is_not_declared_twice(bench: Bench) -> None:
    with bench.home() as home:
        incident = an_incident(home, bench)
        with pytest.raises(InputError, match="--reason"):
            prioritize(home, ALEX, incident, "P1", " ")
        prioritize(home, ALEX, incident, "P1", "urgent")
        with pytest.raises(RefusedError, match="is P1 already: alex declared it"):
            prioritize(home, ALEX, incident, "P1", "urgent")


def test_an_incident_that_is_not_on_record_is_refused(bench: Bench) -> None:
    with bench.home() as home, pytest.raises(InputError, match="no incident 'INC-1'"):
        prioritize(home, ALEX, "INC-1", "P1", "urgent")


@pytest.mark.parametrize(("text", "read"), [("P1", "P1"), ("p3", "P3")])
def test_a_priority_is_read_as_people_type_it(text: str, read: str) -> None:
    assert read_priority(text) == read


@pytest.mark.parametrize("text", ["P0", "P6", "high", ""])
def test_a_word_that_is_no_priority_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="write one of P1, P2"):
        read_priority(text)


def test_a_run_that_opens_its_incident_can_bring_its_priority(bench: Bench) -> None:
    with bench.home() as home:
        more = priority_drafts(home, ALEX, "P2", "half of the shop is down")
        run = create_run(home, a_plan(bench.world, action("1")), ALEX, more=more)
        incident = find_run(home, run).summary.incident
        assert priority_reader(home, incident, lambda: None)() == "P2"
        with pytest.raises(GateError, match="say how urgent"):
            priority_drafts(home, RESPONDER, "P2", "urgent")


def test_incidents_are_listed_with_their_runs_the_newest_first(bench: Bench) -> None:
    with bench.home() as home:
        first, second = an_incident(home, bench), an_incident(home, bench)
        create_run(home, a_plan(bench.world, action("2")), RESPONDER, incident=first)
        prioritize(home, ALEX, first, "P1", "urgent")
        listed = list_incidents(home)
        assert [one.name for one in listed] == [second, first]
        assert [len(one.runs) for one in listed] == [1, 2]
        assert listed[1].busy == 2
        shown = find_incident(home, first).as_json()
        assert (shown["priority"], shown["opened_by"], shown["title"]) == ("P1", "responder", "A test")
        assert find_incident(home, "latest").name == second
        with pytest.raises(InputError, match="is the beginning of"):
            find_incident(home, "INC-")
        with pytest.raises(InputError, match="the last ones are"):
            find_incident(home, "X")
