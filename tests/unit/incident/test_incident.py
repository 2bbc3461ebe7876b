"""The state of an incident, folded from its entries: what they say, and what holds whatever comes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from builders.entries import AT, DIGEST, entry
from builders.every_kind import entry_of
from hypothesis import given
from hypothesis import strategies as st

from mimrun.incident.incident import Clock, Incident, Incidents, Link, after
from mimrun.log import kinds
from mimrun.log.entry import Actor, LogEntry
from mimrun.log.kinds import Body, Kind
from mimrun.log.moment import write_moment

ALEX = Actor("person", "alex", "cli", "os-user")
RULE = Actor("system", "rule:disk-full", "engine", "")
OPENED = kinds.IncidentOpened(title="Nobody can pay")
ASSESSED = kinds.IncidentAssessed(
    impact="high", urgency="low", priority="P3", severity="SEV3", services=("payments",), flags=("security",)
)
RUN = kinds.RunCreated(plan=DIGEST, title="Fail over", launched_by="x", direct=True)


def at(seq: int) -> str:
    """The moment of an entry."""
    return write_moment(AT + timedelta(seconds=seq))


def event(seq: int) -> Clock:
    return Clock(at=at(seq), source="event", seq=seq)


def told(*said: Body | tuple[Body, Actor]) -> Incident:
    """Give the incident after an opening and these entries, by alex where nobody else is named."""
    state, seq = Incident(), 0
    for seq, one in enumerate((OPENED, *said), 1):
        body, actor = one if isinstance(one, tuple) else (one, ALEX)
        state = after(state, entry(body, seq, actor=actor, run=""))
    return state


def contained(seq: int = 40) -> kinds.IncidentStaged:
    return kinds.IncidentStaged(stage="resolution", verified=seq, contained_at=at(seq))


def test_an_incident_begins_open_in_identification_with_who_opened_it() -> None:
    state = told()
    assert (state.name, state.title, state.opened, state.opened_by) == ("INC-1", "Nobody can pay", 1, "alex")
    assert (state.stage, state.status, state.opened_at) == ("identification", "open", at(1))


def test_the_last_assessment_holds_and_the_first_is_the_declaration() -> None:
    again = ASSESSED.model_copy(update={"impact": "low", "services": ()})
    state = told(ASSESSED, again)
    assert (state.impact, state.urgency, state.priority, state.severity) == ("low", "low", "P3", "SEV3")
    assert (state.services, state.flags, state.assessed) == ((), ("security",), 3)
    assert state.clocks.declared == event(2)


def test_whoever_says_how_urgent_it_is_declares_it_too() -> None:
    assert told(kinds.IncidentPrioritized(priority="P1", reason="x")).clocks.declared == event(2)


def test_the_first_act_of_a_person_acknowledges_and_the_first_automatic_run_is_kept_apart() -> None:
    rule = kinds.RuleFired(
        rule="r", rules=DIGEST, episode="e", group="g", outcome="launched", alerts=(9, 4), count=2
    )
    worker = Actor("worker", "w", "engine", "lease")
    state, note = Incident(), kinds.IncidentNote()
    steps: Sequence[tuple[Body, Actor]] = (
        (OPENED, RULE),
        (rule, RULE),
        (RUN, RULE),
        (kinds.RunMode(mode="direct", reason=""), worker),
        (note, ALEX),
        (note, ALEX),
        (RUN, RULE),
    )
    for seq, (body, actor) in enumerate(steps, 1):
        state = after(state, entry(body, seq, actor=actor))
    assert state.clocks.automated == event(3)
    assert state.clocks.acknowledged == event(5)
    assert (state.alerted, state.runs) == (4, 2)


def test_somebodys_word_on_when_it_was_taken_up_outweighs_what_the_log_saw() -> None:
    word = kinds.IncidentTimed(what="acknowledged", at=at(0), source="seen")
    assert told(word).clocks.acknowledged == Clock(at=at(0), source="seen", seq=2)


def test_roles_have_one_holder_each_and_can_be_nobodys_again() -> None:
    first = kinds.IncidentAssigned(role="scribe", person="alex")
    second = kinds.IncidentAssigned(role="scribe", person="billie")
    lead = kinds.IncidentAssigned(role="technical_lead", person="alex")
    assert told(first, lead, second).roles == {"scribe": "billie", "technical_lead": "alex"}
    assert told(first, lead, kinds.IncidentAssigned(role="scribe", person="")).roles == {
        "technical_lead": "alex"
    }


def test_it_is_contained_since_the_step_that_showed_it() -> None:
    state = told(contained(40))
    assert (state.stage, state.verified) == ("resolution", 40)
    assert state.clocks.contained == Clock(at=at(40), source="event", seq=40)


def test_without_a_verified_step_there_is_a_reason_and_no_time_of_containment() -> None:
    state = told(kinds.IncidentStaged(stage="resolution", reason="it mended itself"))
    assert (state.uncontained, state.verified, state.clocks.contained) == ("it mended itself", 0, Clock())


@pytest.mark.parametrize("stage", ["identification", "containment"])
def test_going_back_takes_the_time_of_containment_away(stage: str) -> None:
    state = told(contained(40), kinds.IncidentStaged.model_validate({"stage": stage, "reason": "no"}))
    assert (state.verified, state.clocks.contained) == (0, Clock())
    assert told(contained(40), kinds.IncidentStaged(stage="maintenance")).clocks.contained.seq == 40


def test_resolving_keeps_who_said_when_service_was_back() -> None:
    word = kinds.IncidentTimed(what="restored", at=at(30), source="estimate")
    resolved = kinds.IncidentResolved(how="fixed", cause="disk_full", restored_at=at(30))
    state = told(word, resolved)
    assert (state.status, state.how, state.cause) == ("resolved", "fixed", "disk_full")
    assert state.clocks.restored == Clock(at=at(30), source="estimate", seq=2)
    assert state.clocks.resolved == event(3)
    assert told(resolved).clocks.restored == Clock(at=at(30), source="seen", seq=2)
    assert not told(kinds.IncidentResolved(how="no_fault", restored_at="")).clocks.restored


def test_an_incident_that_is_reopened_has_no_end_and_is_contained_as_before() -> None:
    ends = (
        contained(40),
        kinds.IncidentResolved(how="fixed", restored_at=at(50)),
        kinds.IncidentStaged(stage="maintenance"),
        kinds.ReviewPublished(digest=DIGEST),
        kinds.IncidentClosed(),
    )
    assert (told(*ends).status, told(*ends).reviewed) == ("closed", 5)
    state = told(*ends, kinds.IncidentReopened(reason="no"), kinds.IncidentStaged(stage="resolution"))
    assert (state.status, state.how, state.reopened, state.reviewed) == ("open", "", 1, 0)
    ends_of = dict(state.clocks.items())
    assert [ends_of[name].at for name in ("resolved", "restored", "closed")] == ["", "", ""]
    assert state.clocks.contained.seq == 40


def test_links_are_kept_once_each() -> None:
    parent = kinds.IncidentLinked(relation="parent", to="INC-0")
    child = kinds.IncidentLinked(relation="child", to="INC-2")
    record = kinds.IncidentLinked(relation="record", to="INC0010042")
    state = told(parent, child, record, record, child)
    assert (state.parent, state.children) == ("INC-0", ("INC-2",))
    assert state.links == (
        Link(relation="parent", to="INC-0"),
        Link(relation="child", to="INC-2"),
        Link(relation="record", to="INC0010042"),
    )


def test_the_state_is_touched_by_what_is_about_it_and_by_what_people_do_and_by_nothing_else() -> None:
    projector = Incidents()
    worker = Actor("worker", "w", "engine", "lease")
    assert projector.key(entry(kinds.IncidentNote(), 1, actor=ALEX)) == "INC-1"
    assert projector.key(entry(RUN, 1, actor=worker)) == "INC-1"
    assert projector.key(entry(kinds.StepVerified(passed=True, reason=""), 1, actor=worker)) is None
    assert projector.key(replace(entry(kinds.IncidentNote(), 1, actor=ALEX), inc="")) is None


@given(st.lists(st.tuples(st.sampled_from(list(Kind)), st.sampled_from([ALEX, RULE])), max_size=30))
def test_whatever_comes_the_fold_gives_a_state_that_is_read_back_as_it_was(
    given: list[tuple[Kind, Actor]],
) -> None:
    projector, state = Incidents(), Incidents().empty()
    for seq, (kind, actor) in enumerate([(Kind.INCIDENT_OPENED, ALEX), *given], 1):
        one: LogEntry = replace(entry_of(kind), seq=seq, actor=actor, ts=AT + timedelta(seconds=seq))
        if projector.key(one) is not None:
            state = projector.apply(state, one, {})
    found = Incident.decode(state)
    assert found.encode() == state
    assert found.clocks.acknowledged
    assert bool(found.clocks.closed) == (found.status == "closed")
    assert bool(found.clocks.contained) == bool(found.verified)
    assert found.runs == sum(kind is Kind.RUN_CREATED for kind, _ in given)
