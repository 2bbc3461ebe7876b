"""What happened in an incident, from its entries: who did what, what was decided, and how long that was waited for."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from builders.entries import DIGEST, OTHER, WORKER, entry

from mimrun.connector import Effect
from mimrun.incident.course import Course
from mimrun.incident.course_fold import course_of
from mimrun.log import kinds
from mimrun.log.entry import Actor, LogEntry
from mimrun.log.kinds import Body, Recap

BEGAN = datetime(2026, 11, 22, 3, tzinfo=UTC)
ALEX, BILLIE = (Actor("person", name, "cli", "os-user") for name in ("alex", "billie"))
RULE = Actor("system", "rule:checkout", "worker")


class Story:
    """Entries, each so many seconds after the beginning."""

    def __init__(self) -> None:
        self.entries: list[LogEntry] = []

    def at(
        self,
        seconds: float,
        body: Body,
        *,
        by: Actor = WORKER,
        step: str = "",
        target: str = "",
        run: str = "run-1",
    ) -> int:
        seq = len(self.entries) + 1
        made = entry(body, seq, step=step, target=target, actor=by, run=run)
        self.entries.append(replace(made, ts=BEGAN + timedelta(seconds=seconds)))
        return seq

    def course(self) -> Course:
        return course_of(self.entries, {("run-1", "4"): "Tell the desk"})


def created(by: str = "responder") -> Body:
    return kinds.RunCreated(plan=DIGEST, title="Fail over", launched_by=by, direct=True)


def asked(digest: str = DIGEST) -> Body:
    return kinds.GateRequested(
        digest=digest,
        title="People agree",
        change="none",
        risk="high",
        approvals=(kinds.RoleCount(role="change_manager", count=1),),
        expires_at="2026-11-22T04:00:00.000000Z",
        on_timeout="fail",
    )


def voted(decision: str, **more: object) -> Body:
    said = {"decision": decision, "digest": DIGEST, "role": "change_manager", "reason": "seen", **more}
    return kinds.GateDecided.model_validate(said)


def seconds(moment: datetime | None) -> float | None:
    return None if moment is None else (moment - BEGAN).total_seconds()


def test_a_gate_is_waited_for_until_somebody_decides_and_not_until_the_run_goes_on() -> None:
    story = Story()
    story.at(0, created(), by=ALEX)
    story.at(10, asked(), step="2")
    story.at(70, voted("approved", at=BEGAN + timedelta(seconds=70)), by=BILLIE, step="2")
    story.at(500, kinds.GateOpened(digest=DIGEST), step="2")
    (gate,) = story.course().decisions
    assert (seconds(gate.asked), seconds(gate.decided), gate.outcome) == (10, 70, "opened by approvals")
    assert gate.by == "responder"
    assert [(vote.who, vote.decision, vote.role) for vote in gate.votes] == [
        ("billie", "approved", "change_manager")
    ]


def test_a_gate_that_is_asked_anew_was_waited_for_all_the_time() -> None:
    story = Story()
    story.at(10, asked(), step="2")
    story.at(60, asked(OTHER), step="2")
    story.at(90, kinds.GateClosed(digest=OTHER, reason="expired", detail=""), step="2")
    story.at(95, asked(), step="2")
    first, second = story.course().decisions
    assert (seconds(first.asked), seconds(first.decided), first.outcome) == (10, 90, "closed: expired")
    assert (seconds(second.asked), second.decided, second.outcome) == (95, None, "")


def test_a_rejected_gate_was_decided_when_it_was_rejected() -> None:
    story = Story()
    story.at(10, asked(), step="2")
    story.at(40, voted("rejected"), by=ALEX, step="2")
    story.at(45, kinds.GateClosed(digest=DIGEST, reason="rejected", detail=""), step="2")
    assert seconds(story.course().decisions[0].decided) == 40


def test_a_gate_whose_run_ended_is_waited_for_no_more() -> None:
    story = Story()
    story.at(10, asked(), step="2")
    story.at(50, kinds.RunEnded(status="cancelled", reason="", recap=Recap()))
    (gate,) = story.course().decisions
    assert (seconds(gate.decided), gate.outcome) == (50, "the run ended: cancelled")


def test_runs_past_their_gates_are_known() -> None:
    story = Story()
    for run in ("run-1", "run-2", "run-3"):
        story.at(0, created(), by=ALEX, run=run)
        story.at(1, asked(), step="2", run=run)
    story.at(2, kinds.BreakglassAsked(plan=DIGEST, needs=2, reason="all is down"), by=ALEX)
    story.at(3, kinds.BreakglassAgreed(plan=DIGEST, reason="yes"), by=BILLIE)
    due = "2026-11-23T03:00:00.000000Z"
    story.at(4, kinds.BreakglassOpened(plan=DIGEST, change="CHG-1", due_at=due, how="two_people"), by=BILLIE)
    story.at(5, kinds.GateOpened(digest=DIGEST, by="break_glass"), step="2")
    story.at(6, voted("approved", purpose="freeze_override"), by=ALEX, step="2", run="run-2")
    course = story.course()
    assert {run.run: run.bypass for run in course.runs.values()} == {
        "run-1": "break-glass",
        "run-2": "freeze override",
        "run-3": "",
    }
    glass = next(one for one in course.decisions if one.what == "break-glass")
    assert [vote.who for vote in glass.votes] == ["alex", "billie"]
    assert glass.outcome == "opened; to be reviewed under CHG-1 until 2026-11-23T03:00Z"


def intent() -> Body:
    return kinds.StepIntent(
        action="ssh.command",
        effect=Effect.PROBE,
        key="k",
        args_digest=DIGEST,
        deadline_ms=1,
        check_mode=False,
    )


def outcome(*, changed: bool = True) -> Body:
    return kinds.StepOutcome(
        status="ok", changed=changed, clean=False, unreachable=False, reason="", dur_ms=1, intent=1
    )


def test_steps_of_automation_are_apart_from_those_of_people() -> None:
    story = Story()
    story.at(0, created("rule:checkout"), by=RULE)
    story.at(1, kinds.StepStarted(name="Look", form="ssh.command", targets=("a", "b")), step="1")
    for target in "ab":
        story.at(1, intent(), step="1", target=target)
        story.at(2, outcome(changed=target == "b"), step="1", target=target)
    story.at(3, kinds.StepFinished(status="ok", reason=""), step="1")
    story.at(3, kinds.StepStarted(name="Not needed", form="ssh.command", targets=("a",)), step="2")
    story.at(3, kinds.StepFinished(status="skipped", reason=""), step="2")
    story.at(4, kinds.StepStarted(name="Cut off", form="ssh.command", targets=("a",)), step="3")
    story.at(4, intent(), step="3", target="a")
    story.at(5, kinds.ManualRequested(role="desk", fields=()), step="4")
    course = story.course()
    assert [(one.name, one.targets, one.status, one.changed, one.executed) for one in course.automated] == [
        ("Look", 2, "ok", True, True),
        ("Not needed", 1, "skipped", False, False),
        ("Cut off", 1, "", False, True),
    ]
    assert [(one.what, one.title, one.outcome) for one in course.by_hand] == [("step", "Tell the desk", "")]
    assert course.runs["run-1"].automatic


def test_a_step_that_somebody_went_on_with_is_one_step() -> None:
    story = Story()
    for second in (0, 100):
        story.at(second, kinds.StepStarted(name="Look", form="ssh.command", targets=("a",)), step="1")
    story.at(110, kinds.StepFinished(status="failed", reason="no"), step="1")
    (step,) = story.course().automated
    assert (seconds(step.at), seconds(step.ended), step.status) == (0, 110, "failed")


def test_work_by_hand_counts_from_claim_to_end_over_every_hand() -> None:
    story = Story()
    story.at(0, kinds.ManualRequested(role="desk", fields=()), step="4")
    story.at(10, kinds.ManualClaimed(), by=ALEX, step="4")
    story.at(30, kinds.ManualReleased(reason="busy"), by=ALEX, step="4")
    story.at(100, kinds.ManualClaimed(), by=ALEX, step="4")
    story.at(105, kinds.ManualHandedOver(to="billie", reason="shift"), by=ALEX, step="4")
    story.at(120, kinds.ManualAttested(fields=DIGEST), by=BILLIE, step="4")
    (work,) = story.course().by_hand
    assert (work.who, work.held_ms, work.active_ms, work.outcome) == ("billie", 40_000, None, "done")
    assert (seconds(work.asked), seconds(work.done)) == (0, 120)


def test_what_people_say_of_their_time_is_added_up_when_it_had_to_be_done_again() -> None:
    story = Story()
    story.at(0, kinds.ManualRequested(role="desk", fields=()), step="4")
    story.at(10, kinds.ManualAttested(fields=DIGEST, active_ms=60_000), by=ALEX, step="4")
    story.at(20, kinds.ManualDisputed(attested=2, reason="not so"), by=BILLIE, step="4")
    assert story.course().by_hand[0].outcome == ""
    story.at(30, kinds.ManualAttested(fields=DIGEST, active_ms=30_000, outcome="failed"), by=ALEX, step="4")
    (work,) = story.course().by_hand
    assert (work.active_ms, work.outcome) == (90_000, "failed")


def test_work_outside_of_runbooks_and_shells_are_by_hand() -> None:
    story = Story()
    story.at(50, kinds.ManualReported(title="Pulled the cable", at=BEGAN), by=ALEX, run="")
    said = {"account": "root", "address": "db1", "host_key": "k", "columns": 80, "rows": 24, "reason": ""}
    shell = story.at(60, kinds.ShellOpened.model_validate(said), by=BILLIE, target="db1", run="")
    story.at(60, kinds.ShellOpened.model_validate(said), by=BILLIE, target="db2", run="")
    story.at(90, kinds.ShellClosed(shell=shell, ended="exit", dur_ms=30_000), by=BILLIE, target="db1", run="")
    reported, closed, lost = story.course().by_hand
    assert (reported.title, seconds(reported.done), reported.active_ms) == ("Pulled the cable", 0, None)
    assert (closed.title, closed.active_ms, closed.outcome) == ("A shell on db1", 30_000, "done")
    assert (lost.active_ms, lost.outcome) == (None, "")


def test_doubts_proposals_priorities_and_the_kill_switch_are_decisions() -> None:
    story = Story()
    made = {
        "proposal": "prop-1",
        "rule": "r",
        "runbook": "b",
        "version": "1.0.0",
        "digest": DIGEST,
        "risk": "low",
    }
    made |= {"title": "Fail over", "expires_at": BEGAN}
    story.at(0, kinds.ProposalMade.model_validate(made), by=RULE, run="")
    story.at(30, kinds.ProposalTaken(proposal="prop-1"), by=ALEX, run="run-1")
    story.at(40, kinds.StepInDoubt(reason="lost", intent=1), step="1", target="db1")
    story.at(45, kinds.StepInDoubt(reason="lost", intent=1), step="1", target="db1")
    story.at(
        90,
        kinds.StepResolved(resolution="not_applied", reason="looked", intent=1),
        by=ALEX,
        step="1",
        target="db1",
    )
    story.at(95, kinds.IncidentPrioritized(priority="P1", reason="all"), by=BILLIE, run="")
    story.at(96, kinds.KillswitchPulled(reason="stop"), by=BILLIE, run="")
    found = [
        (one.what, seconds(one.asked), seconds(one.decided), one.outcome) for one in story.course().decisions
    ]
    assert found == [
        ("proposal", 0, 30, "launched"),
        ("doubt", 40, 90, "not applied"),
        ("priority", 95, 95, "P1"),
        ("kill-switch", 96, 96, "pulled"),
    ]


def test_people_have_come_together_when_somebody_leads_and_somebody_can_mend_it() -> None:
    story = Story()
    story.at(10, kinds.IncidentAssigned(role="technical_staff", person="alex"), by=ALEX, run="")
    story.at(20, kinds.IncidentAssigned(role="technical_staff", person=""), by=ALEX, run="")
    story.at(30, kinds.IncidentAssigned(role="major_incident_manager", person="billie"), by=ALEX, run="")
    assert story.course().assembled is None
    story.at(40, kinds.IncidentAssigned(role="technical_lead", person="alex"), by=ALEX, run="")
    story.at(50, kinds.IncidentAssigned(role="technical_lead", person=""), by=ALEX, run="")
    assert seconds(story.course().assembled) == 40


def test_only_messages_that_went_out_are_messages() -> None:
    story = Story()
    said = {"about": 1, "event": "gate_reached", "channel": "chat", "audience": "approvers", "sending": 1}
    for second, done in ((10, False), (20, True)):
        story.at(second, kinds.NoticeSent.model_validate({**said, "done": done}), run="")
    assert [seconds(message.at) for message in story.course().messages] == [20]
