"""Spans from entries: the same for everybody who reads them, and nothing in them that is nobody's business."""

from __future__ import annotations

from dataclasses import fields

from builders.entries import DIGEST, entry
from builders.every_kind import entry_of

from mimrun.connector import Effect
from mimrun.log import kinds
from mimrun.log.entry import LogEntry
from mimrun.log.kinds import Kind
from mimrun.run.record.spans import Span, Spans

PLAN = kinds.PlanFrozen(
    digest=DIGEST,
    runbook="failover",
    version="1.0.0",
    runbook_digest=DIGEST,
    title="T",
    stage="s",
    risk="low",
)
CREATED = kinds.RunCreated(plan=DIGEST, title="T", launched_by="responder", direct=True)
STARTED = kinds.RunStarted(worker="host:1", epoch=1, resumed=False)


def started(name: str = "Do it") -> kinds.StepStarted:
    return kinds.StepStarted(name=name, form="world.once", targets=("a",))


def intent(iteration: int = 0) -> kinds.StepIntent:
    return kinds.StepIntent(
        action="world.once",
        effect=Effect.ONCE,
        key="k",
        args_digest=DIGEST,
        deadline_ms=1,
        check_mode=False,
        iteration=iteration,
    )


def outcome(seq: int, status: str = "ok", *, unreachable: bool = False) -> kinds.StepOutcome:
    facts = {"status": status, "changed": True, "clean": False, "unreachable": unreachable}
    more = {"reason": "told by the target", "dur_ms": 1, "intent": seq}
    return kinds.StepOutcome.model_validate(facts | more)


def ended(status: str = "succeeded") -> kinds.RunEnded:
    return kinds.RunEnded.model_validate({"status": status, "reason": "why", "recap": {"ok": 1}})


FINISHED = kinds.StepFinished(status="ok", reason="")
WHOLE = [
    entry(PLAN, 1),
    entry(CREATED, 2),
    entry(STARTED, 3),
    entry(started(), 4, step="1"),
    entry(intent(), 5, step="1", target="a"),
    entry(outcome(5), 6, step="1", target="a"),
    entry(FINISHED, 7, step="1"),
    entry(ended(), 8),
]


def spans_of(entries: list[LogEntry]) -> list[Span]:
    spans = Spans("test", "run-1")
    return [span for one in entries for span in spans.take(one)]


def test_attempt_step_and_run_are_nested_and_end_in_this_order() -> None:
    attempt, step, run = spans_of(WHOLE)
    assert [attempt.name, step.name, run.name] == ["world.once", "Do it", "run failover"]
    assert (attempt.parent, step.parent, run.parent) == (step.id, run.id, None)
    assert len({attempt.trace, step.trace, run.trace}) == 1
    assert (run.start, run.end) == (WHOLE[1].ts, WHOLE[7].ts)
    assert (attempt.start, attempt.end) == (WHOLE[4].ts, WHOLE[5].ts)
    assert [span.done for span in (attempt, step, run)] == [True, True, True]
    assert [span.outside for span in (attempt, step, run)] == [True, False, False]
    assert attempt.facts["mimrun.target"] == "a"
    assert attempt.facts["mimrun.effect"] == "once"
    assert run.facts["mimrun.recap.ok"] == 1
    assert run.facts["mimrun.runbook"] == "failover"
    assert [event.name for event in run.events] == ["run.started"]


def test_everybody_makes_the_same_spans_and_another_run_others() -> None:
    assert spans_of(WHOLE) == spans_of(WHOLE)
    other = Spans("test", "run-2")
    others = [span for one in WHOLE for span in other.take(one)]
    assert {span.id for span in others}.isdisjoint(span.id for span in spans_of(WHOLE))
    assert others[0].trace != spans_of(WHOLE)[0].trace


def test_a_step_that_another_worker_goes_on_with_is_one_span() -> None:
    again = [
        *WHOLE[:5],
        entry(kinds.RunStarted(worker="host:2", epoch=2, resumed=True), 6, epoch=2),
        entry(started(), 7, step="1", epoch=2),
        entry(intent(), 8, step="1", target="a", epoch=2),
        entry(outcome(8), 9, step="1", target="a", epoch=2),
        entry(FINISHED, 10, step="1", epoch=2),
        entry(ended(), 11, epoch=2),
    ]
    lost, attempt, step, run = spans_of(again)
    assert (lost.failed, lost.end) == ("lost", again[7].ts)
    assert (lost.parent, attempt.parent) == (step.id, step.id)
    assert step.start == WHOLE[3].ts
    assert len([event for event in run.events if event.name == "run.started"]) == 2


def test_what_went_wrong_is_an_error_with_a_word() -> None:
    for told, word in ((outcome(5, "failed"), "failed"), (outcome(5, "unknown"), "unknown")):
        attempt = spans_of([*WHOLE[:5], entry(told, 6, step="1", target="a")])[0]
        assert (attempt.failed, attempt.facts["error.type"], attempt.done) == (word, word, False)
    away = entry(outcome(5, "failed", unreachable=True), 6, step="1", target="a")
    assert spans_of([*WHOLE[:5], away])[0].failed == "unreachable"
    doubt = entry(kinds.StepInDoubt(reason="x", intent=5), 6, step="1", target="a")
    assert spans_of([*WHOLE[:5], doubt])[0].failed == "in_doubt"


def test_a_run_that_is_broken_off_ends_what_was_under_way() -> None:
    attempt, step, run = spans_of([*WHOLE[:5], entry(ended("cancelled"), 6)])
    assert attempt.failed == "unknown"
    assert (step.failed, step.done) == ("", False)
    assert (run.failed, run.done, run.facts["mimrun.outcome"]) == ("", False, "cancelled")
    assert spans_of([*WHOLE[:3], entry(ended("failed"), 4)])[0].failed == "failed"


def test_a_part_of_a_block_is_within_it() -> None:
    entries = [
        *WHOLE[:3],
        entry(started("Block"), 4, step="3"),
        entry(started("Part"), 5, step="3.block.1"),
        entry(FINISHED, 6, step="3.block.1"),
        entry(FINISHED, 7, step="3"),
    ]
    part, block = spans_of(entries)
    assert part.parent == block.id


def test_waiting_for_people_is_a_span() -> None:
    asked = entry_of(Kind.GATE_REQUESTED, seq=4, step="2")
    for kind, failed in ((Kind.GATE_OPENED, ""), (Kind.GATE_CLOSED, "rejected")):
        (gate,) = spans_of([*WHOLE[:3], asked, entry_of(kind, seq=5, step="2")])
        assert (gate.name, gate.failed, gate.done) == ("gate", failed, not failed)
    manual = [entry_of(kind, seq=4, step="2") for kind in (Kind.MANUAL_REQUESTED, Kind.MANUAL_ATTESTED)]
    assert [span.name for span in spans_of([*WHOLE[:3], *manual])] == ["manual"]


def test_iterations_on_one_host_are_spans_beside_each_other() -> None:
    entries = [
        *WHOLE[:4],
        entry(intent(0), 5, step="1", target="a"),
        entry(intent(1), 6, step="1", target="a"),
        entry(outcome(6), 7, step="1", target="a"),
        entry(outcome(5), 8, step="1", target="a"),
    ]
    assert [span.facts["mimrun.iteration"] for span in spans_of(entries)] == [1, 0]


def test_no_reason_no_person_and_no_text_of_a_target_is_in_a_span() -> None:
    secret = "told-by-somebody"
    spans = Spans("example.org/incidents", "run-7k2qd9xm")
    found = [
        span
        for number, kind in enumerate(sorted(Kind, key=lambda kind: kind is Kind.RUN_ENDED), 1)
        for span in spans.take(entry_of(kind, secret, seq=number, step="1", target="web1"))
    ]
    assert found
    allowed = {"name", "mimrun.runbook", "mimrun.runbook.version", "mimrun.risk", "mimrun.step.form"}
    allowed |= {"mimrun.action", "mimrun.undo_of", "mimrun.retry_of", "mimrun.outcome"}
    for span in found:
        told = {**span.facts, **{one.name: getattr(span, one.name) for one in fields(span)}}
        del told["facts"]
        assert not [name for name, value in told.items() if secret in str(value) and name not in allowed]
