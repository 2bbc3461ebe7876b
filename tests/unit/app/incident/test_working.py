"""Working on incidents: assessed, assigned, moved, resolved, closed and reopened, each only when it may be."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from builders.plans import a_plan, action, call, check, gate
from builders.runs import ALEX, BILLIE, RESPONDER, Bench, person

from mimrun.app.home import Home
from mimrun.app.incident import working
from mimrun.app.incident.closing import blocks_closing
from mimrun.app.incident.declaring import Declaration, declare
from mimrun.app.incident.view import find_incident
from mimrun.app.manual_work import Place, write_note
from mimrun.app.priority import prioritize
from mimrun.app.runs import create_run, find_run
from mimrun.app.undo import plan_undo
from mimrun.errors import GateError, InputError, RefusedError
from mimrun.log.entry import Draft
from mimrun.log.kinds import IncidentAssigned, Kind, ReviewPublished, StepVerified
from mimrun.log.moment import write_moment
from mimrun.runbook.node import StepOptions

MILD = Declaration("It is slow", "low", "low")
BAD = Declaration("Nobody can pay", "high", "high")
STRANGER = person("nobody-knows-me")


def run_in(bench: Bench, incident: str, *nodes: object) -> str:
    """Create and execute a run in an incident; gives its name."""
    with bench.home() as home:
        run = create_run(home, a_plan(bench.world, *nodes), RESPONDER, incident=incident)  # type: ignore[arg-type]
    bench.execute(run)
    return run


def declared(bench: Bench, said: Declaration = MILD) -> str:
    with bench.home() as home:
        return declare(home, RESPONDER, said)


def test_an_assessment_by_somebody_who_may_declares_another_priority_with_it(bench: Bench) -> None:
    name = declared(bench)
    with bench.home() as home:
        assert working.assess(home, RESPONDER, name, BAD).priority == "P1"
        assert find_incident(home, name).declared.priority is None
        working.assess(home, ALEX, name, BAD, "the whole shop is down")
        assert find_incident(home, name).declared.priority == "P1"
        prioritized = [*home.store.entries(inc=name, kinds={Kind.INCIDENT_PRIORITIZED})]
        working.assess(home, ALEX, name, Declaration("", "high", "high", ("payments",)))
        assert [*home.store.entries(inc=name, kinds={Kind.INCIDENT_PRIORITIZED})] == prioritized


def test_a_role_goes_from_one_person_to_another_and_to_nobody(bench: Bench) -> None:
    name = declared(bench)
    with bench.home() as home:
        assert working.assign(home, RESPONDER, name, "technical_lead", "alex").roles == {
            "technical_lead": "alex"
        }
        with pytest.raises(RefusedError, match=r"alex is technical_lead of .* already"):
            working.assign(home, RESPONDER, name, "technical_lead", "alex")
        assert (
            working.assign(home, ALEX, name, "technical_lead", "billie").roles["technical_lead"] == "billie"
        )
        assert working.assign(home, ALEX, name, "technical_lead", "").roles == {}
        with pytest.raises(RefusedError, match="nobody is technical_lead"):
            working.assign(home, ALEX, name, "technical_lead", "")


@pytest.mark.parametrize(
    ("role", "who", "why"),
    [
        ("technical_leed", "alex", "did you mean 'technical_lead'"),
        ("technical_lead", "alexx", "did you mean 'alex'"),
        ("technical_lead", "gone", "not active any more; choose somebody else"),
    ],
)
def test_a_role_or_person_that_there_is_not_is_refused(bench: Bench, role: str, who: str, why: str) -> None:
    name = declared(bench)
    bench.settings.people.write_text(
        bench.settings.people.read_text() + "  gone: {roles: [responder], active: false}\n"
    )
    with bench.home() as home, pytest.raises(InputError, match=why):
        working.assign(home, ALEX, name, role, who)


def test_an_incident_is_contained_by_the_last_step_that_was_verified_after_a_change(bench: Bench) -> None:
    name = declared(bench)
    run_in(bench, name, action("1"), action("2", verify=check("True")))
    with bench.home() as home:
        verified = [*home.store.entries(inc=name, kinds={Kind.STEP_VERIFIED})]
        state = working.move_stage(home, RESPONDER, name, "resolution")
    assert state.verified == verified[-1].seq
    assert state.clocks.contained.at == write_moment(verified[-1].ts)
    assert state.clocks.contained.source == "event"


def test_a_look_before_anything_was_changed_shows_nothing(bench: Bench) -> None:
    name = declared(bench)
    looks = StepOptions(expect="True", delay_ms=1)
    run_in(bench, name, action("1", "read", options=looks))
    with bench.home() as home:
        assert [*home.store.entries(inc=name, kinds={Kind.STEP_VERIFIED})]
        with pytest.raises(RefusedError, match=r"nothing shows that .* is contained"):
            working.move_stage(home, RESPONDER, name, "resolution")


def test_a_step_that_was_not_as_expected_shows_nothing(bench: Bench) -> None:
    name = declared(bench)
    run_in(bench, name, action("1", verify=check("False")))
    with bench.home() as home:
        (failed,) = home.store.entries(inc=name, kinds={Kind.STEP_VERIFIED})
        assert failed.body == StepVerified.model_validate(failed.body.model_dump())
        for verified in (0, failed.seq):
            with pytest.raises(RefusedError, match=r"nothing shows|not what was expected"):
                working.move_stage(home, RESPONDER, name, "resolution", verified=verified)


def test_what_was_taken_back_shows_nothing_any_more(bench: Bench) -> None:
    name = declared(bench)
    run = run_in(bench, name, action("1", verify=check("True")))
    with bench.home() as home:
        plan = a_plan(bench.world, action("1", verify=check("True"))).model_copy(update={"undo_of": run})
        create_run(home, plan, RESPONDER, incident=name)
        with pytest.raises(RefusedError, match="nothing shows"):
            working.move_stage(home, RESPONDER, name, "resolution")


def test_naming_a_step_does_not_make_it_show_more(bench: Bench) -> None:
    name, looks = declared(bench), StepOptions(expect="True", delay_ms=1)
    run_in(bench, name, action("1", "read", options=looks), action("2"))
    undone = run_in(
        bench,
        name,
        action("1", "idempotent", word="w", undo=call("idempotent", word="b"), verify=check("True")),
    )
    with bench.home() as home:
        back = plan_undo(home, undone)
        create_run(home, back, RESPONDER, incident=name)
        before, taken_back = home.store.entries(inc=name, kinds={Kind.STEP_VERIFIED})
        for entry, why in (
            (before, "its run had changed nothing by then"),
            (taken_back, "took it back since"),
        ):
            with pytest.raises(RefusedError, match=f"does not show that {name} is contained: .*{why}"):
                working.move_stage(home, RESPONDER, name, "resolution", verified=entry.seq)


def test_what_was_seen_before_it_was_not_contained_any_more_shows_nothing(bench: Bench) -> None:
    name = declared(bench)
    run_in(bench, name, action("1", verify=check("True")))
    with bench.home() as home:
        working.move_stage(home, RESPONDER, name, "containment")
        first = working.move_stage(home, RESPONDER, name, "resolution").verified
        working.move_stage(home, RESPONDER, name, "containment", reason="the lag grows again")
        with pytest.raises(
            RefusedError, match=r"nothing shows .*looked at last, does not: since then .* --reason"
        ):
            working.resolve(home, RESPONDER, name, "fixed")
        with pytest.raises(RefusedError, match="since then it was not contained any more"):
            working.move_stage(home, RESPONDER, name, "resolution", verified=first)
    run_in(bench, name, action("1", verify=check("True")))
    with bench.home() as home:
        second = working.resolve(home, RESPONDER, name, "fixed").verified
        assert second > first
        working.reopen(home, RESPONDER, name, "the errors are back")
        with pytest.raises(RefusedError, match="nothing shows"):
            working.resolve(home, RESPONDER, name, "fixed")
        working.move_stage(home, RESPONDER, name, "resolution", reason="it was somebody else's error")
        assert not working.resolve(home, RESPONDER, name, "fixed").clocks.contained


def test_another_incidents_step_shows_nothing_here(bench: Bench) -> None:
    name, other = declared(bench), declared(bench)
    run_in(bench, other, action("1", verify=check("True")))
    with bench.home() as home:
        (foreign,) = home.store.entries(inc=other, kinds={Kind.STEP_VERIFIED})
        for seq, why in ((foreign.seq, f"of {other}, and no verified step of {name}"), (10_000, "no entry")):
            with pytest.raises(InputError, match=why):
                working.move_stage(home, RESPONDER, name, "resolution", verified=seq)


def test_without_proof_a_reason_says_why_nothing_had_to_be_contained(bench: Bench) -> None:
    name = declared(bench)
    with bench.home() as home:
        state = working.move_stage(home, RESPONDER, name, "resolution", reason="it mended itself")
    assert (state.uncontained, state.verified) == ("it mended itself", 0)
    assert not state.clocks.contained


def test_going_back_needs_a_reason_and_takes_containment_away(bench: Bench) -> None:
    name = declared(bench)
    run_in(bench, name, action("1", verify=check("True")))
    with bench.home() as home:
        working.move_stage(home, RESPONDER, name, "resolution")
        with pytest.raises(InputError, match="say why it goes back"):
            working.move_stage(home, RESPONDER, name, "containment")
        state = working.move_stage(home, RESPONDER, name, "containment", reason="the lag grows again")
        assert not state.clocks.contained
        with pytest.raises(RefusedError, match="is in containment: it is in containment already"):
            working.move_stage(home, RESPONDER, name, "containment")
        with pytest.raises(RefusedError, match="one does not go to maintenance"):
            working.move_stage(home, RESPONDER, name, "maintenance")


def test_resolving_contains_by_proof_and_leads_to_maintenance(bench: Bench) -> None:
    name = declared(bench)
    with bench.home() as home, pytest.raises(RefusedError, match="nothing shows"):
        working.resolve(home, RESPONDER, name, "fixed")
    run_in(bench, name, action("1", verify=check("True")))
    with bench.home() as home:
        back = home.clock()
        state = working.resolve(home, RESPONDER, name, "fixed", cause="disk_full", text="x", restored_at=back)
        assert (state.stage, state.status, state.how, state.cause) == (
            "maintenance",
            "resolved",
            "fixed",
            "disk_full",
        )
        assert state.clocks.contained
        assert state.clocks.restored.at == write_moment(back)
        with pytest.raises(RefusedError, match="resolved already: fixed"):
            working.resolve(home, RESPONDER, name, "fixed")
        with pytest.raises(RefusedError, match="with `mimrun incident reopen`"):
            working.move_stage(home, RESPONDER, name, "containment", reason="x")


@pytest.mark.parametrize("how", ["no_fault", "duplicate"])
def test_where_nothing_was_wrong_here_nothing_was_contained_and_nothing_came_back(
    bench: Bench, how: working.How
) -> None:
    name = declared(bench)
    with bench.home() as home:
        state = working.resolve(home, RESPONDER, name, how)
    assert state.uncontained.startswith("nothing had to be contained")
    assert not state.clocks.restored
    assert state.status == "resolved"


def test_a_word_that_service_is_back_is_kept_when_it_is_resolved(bench: Bench) -> None:
    name = declared(bench)
    with bench.home() as home:
        back = home.clock() - timedelta(seconds=1)
        working.set_time(home, RESPONDER, name, "restored", back, source="estimate")
        working.move_stage(home, RESPONDER, name, "resolution", reason="it mended itself")
        restored = working.resolve(home, RESPONDER, name, "workaround").clocks.restored
    assert (restored.at, restored.source) == (write_moment(back), "estimate")


def test_service_cannot_be_back_before_it_was_gone_or_later_than_now(bench: Bench) -> None:
    name = declared(bench)
    with bench.home() as home:
        now, minute = home.clock(), timedelta(minutes=1)
        working.set_time(home, RESPONDER, name, "started", now - minute)
        working.move_stage(home, RESPONDER, name, "resolution", reason="it mended itself")
        for at, why in ((now - 2 * minute, "before it was started"), (now + minute, "yet to come")):
            with pytest.raises(InputError, match=why):
                working.resolve(home, RESPONDER, name, "fixed", restored_at=at)


def close_to_the_end(home: Home, name: str) -> None:
    working.move_stage(home, RESPONDER, name, "resolution", reason="it mended itself")
    working.resolve(home, RESPONDER, name, "fixed")


def test_an_incident_is_closed_when_nothing_is_left_and_takes_no_run_then(bench: Bench) -> None:
    name = declared(bench)
    with bench.home() as home:
        assert blocks_closing(home, name) == (f"it is not resolved (`mimrun incident resolve {name} fixed`)",)
        close_to_the_end(home, name)
        assert blocks_closing(home, name) == ()
        assert working.close(home, RESPONDER, name, "over").status == "closed"
        plan = a_plan(bench.world, action("1"))
        with pytest.raises(RefusedError, match=f"{name} is closed: open it again"):
            create_run(home, plan, RESPONDER, incident=name)
        back = plan.model_copy(update={"undo_of": "run-x"})
        assert find_run(home, create_run(home, back, RESPONDER, incident=name)).summary.incident == name
        with pytest.raises(RefusedError, match="is closed; `mimrun incident reopen"):
            working.assign(home, RESPONDER, name, "scribe", "alex")
        write_note(home, RESPONDER, Place(name), "a note is still taken")


def test_an_open_run_keeps_it_from_being_closed(bench: Bench) -> None:
    name = declared(bench)
    run = run_in(bench, name, gate("1"), action("2"))
    with bench.home() as home:
        close_to_the_end(home, name)
        with pytest.raises(RefusedError, match=f"{run} is not over: it is waiting"):
            working.close(home, RESPONDER, name)
    bench.cancel(run)
    bench.execute(run)
    with bench.home() as home:
        assert working.close(home, RESPONDER, name).status == "closed"


def test_an_incident_that_is_part_of_it_keeps_it_open(bench: Bench) -> None:
    name, part = declared(bench), declared(bench)
    with bench.home() as home:
        working.link(home, RESPONDER, part, "parent", name)
        close_to_the_end(home, name)
        with pytest.raises(RefusedError, match=f"{part} is part of it"):
            working.close(home, RESPONDER, name)
        close_to_the_end(home, part)
        working.close(home, RESPONDER, part)
        working.close(home, RESPONDER, name)


def test_what_is_severe_is_not_closed_without_a_published_review(bench: Bench) -> None:
    name = declared(bench, BAD)
    with bench.home() as home:
        close_to_the_end(home, name)
        with pytest.raises(RefusedError, match="it is SEV2, and its review is not published"):
            working.close(home, RESPONDER, name)
        body = ReviewPublished(digest="sha256:" + "0" * 64)
        home.store.append([Draft(ALEX.actor(), body, inc=name)])
        working.close(home, RESPONDER, name)
        working.reopen(home, RESPONDER, name, "again")
        close_to_the_end(home, name)
        with pytest.raises(RefusedError, match="review is not published"):
            working.close(home, RESPONDER, name)
        bench.settings.incidents.write_text("review: []\n")
        working.close(home, RESPONDER, name)


def test_the_table_says_who_closes_and_nobody_does_where_it_is_spoilt(bench: Bench) -> None:
    name = declared(bench)
    with bench.home() as home:
        close_to_the_end(home, name)
        bench.settings.incidents.write_text("close: [service_desk]\n")
        with pytest.raises(GateError, match="one needs service_desk"):
            working.close(home, BILLIE, name)
        bench.settings.incidents.write_text("clos: [service_desk]\n")
        with pytest.raises(InputError, match="unknown key"):
            working.close(home, ALEX, name)
        bench.settings.incidents.write_text("close: [service_desk]\n")
        working.close(home, ALEX, name)


def test_what_was_not_over_is_open_again_in_the_stage_that_is_said(bench: Bench) -> None:
    name = declared(bench)
    with bench.home() as home:
        with pytest.raises(RefusedError, match="is open"):
            working.reopen(home, RESPONDER, name, "x")
        close_to_the_end(home, name)
        with pytest.raises(InputError, match="say why it is not over"):
            working.reopen(home, RESPONDER, name, " ")
        state = working.reopen(home, RESPONDER, name, "the errors are back", stage="identification")
        assert (state.status, state.stage, state.reopened) == ("open", "identification", 1)
        close_to_the_end(home, name)
        working.close(home, RESPONDER, name)
        assert working.reopen(home, RESPONDER, name, "again").stage == "containment"


Act = Callable[[Home, str], object]
ACTS: dict[str, Act] = {
    "assign": lambda home, name: working.assign(home, STRANGER, name, "scribe", "alex"),
    "stage": lambda home, name: working.move_stage(home, STRANGER, name, "containment"),
    "resolve": lambda home, name: working.resolve(home, STRANGER, name, "no_fault"),
    "close": lambda home, name: working.close(home, STRANGER, name),
    "reopen": lambda home, name: working.reopen(home, STRANGER, name, "x"),
}


@pytest.mark.parametrize("act", ACTS)
def test_who_is_not_known_does_not_say_how_an_incident_goes_on(bench: Bench, act: str) -> None:
    name = declared(bench)
    with bench.home() as home:
        size = home.store.head().size
        with pytest.raises(GateError, match="is not known"):
            ACTS[act](home, name)
        assert home.store.head().size == size


def test_who_looked_before_somebody_else_changed_it_must_look_again(bench: Bench) -> None:
    name = declared(bench)
    with bench.home() as home:
        from mimrun.app.incident.recording import record, said_by  # noqa: PLC0415 - what all of them go through

        was = find_incident(home, name).state
        working.assign(home, ALEX, name, "scribe", "alex")
        draft = said_by(RESPONDER, was, IncidentAssigned(role="scribe", person="billie"))
        with pytest.raises(RefusedError, match=r"somebody else has changed .* at this moment; look again"):
            record(home, RESPONDER, was, [draft])
        assert find_incident(home, name).state.roles == {"scribe": "alex"}


def test_a_beginning_of_its_name_is_enough_wherever_it_is_named(bench: Bench) -> None:
    name = declared(bench)
    with bench.home() as home:
        for word in ("latest", name[:-1], name.lower()):
            assert working.set_time(home, ALEX, word, "started", home.clock()).name == name
        with pytest.raises(InputError, match="did you mean"):
            prioritize(home, ALEX, find_incident(home, name[:-2] + "??").name, "P1", "x")
