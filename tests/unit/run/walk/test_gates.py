"""Gates and manual steps in running runs: what counts, what voids, and what nobody can slip past."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

import pytest
from builders.changed_blob import change_blob
from builders.plans import a_plan, action, block, check, gate, manual
from builders.runs import ALEX, BILLIE, PEOPLE, RESPONDER, Bench
from builders.world import words

from mimrun.app.decisions import attest, decide, pending_gate
from mimrun.errors import GateError, LogError, RefusedError
from mimrun.runbook.model import OnTimeout
from mimrun.runbook.node import StepOptions

Hooks = dict[str, Callable[[], object]]


def reject(bench: Bench, run: str) -> None:
    with bench.home() as home:
        pending = pending_gate(home, run)
        decide(home, pending, ALEX, "rejected", digest=pending.request.digest, reason="not tonight")


def gate_kinds(bench: Bench, run: str) -> list[str]:
    return [kind for kind in bench.kinds(run) if kind.startswith("gate.")]


def test_a_gate_nobody_answered_in_time_fails_the_run(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, gate("1", expires_ms=1), action("2")))
    verdict = bench.execute(run)
    assert verdict.status == "failed"
    assert "nobody decided before" in verdict.detail
    assert words(bench.world) == []
    assert bench.state(run).gates["1"].closed == "expired"


def test_a_gate_that_escalates_asks_again_and_never_opens_by_itself(bench: Bench) -> None:
    plan = a_plan(bench.world, gate("1", expires_ms=1, on_timeout=OnTimeout.ESCALATE), action("2"))
    run, _ = bench.run(plan)
    for times in (2, 3):
        assert bench.execute(run).status == "waiting"
        assert gate_kinds(bench, run).count("gate.requested") == times
    assert words(bench.world) == []


def test_a_rejected_gate_stays_rejected_when_the_worker_dies_right_after(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, gate("1"), action("2")))
    reject(bench, run)
    bench.execute(run)
    closings = [k for k in bench.kinds(run) if k in ("gate.closed", "step.finished", "run.ended")]
    assert closings == ["gate.closed", "step.finished", "run.ended"]
    with bench.home() as home:
        closed, finished = (
            next(e for e in home.store.entries(run=run) if e.kind == kind)
            for kind in ("gate.closed", "step.finished")
        )
    assert finished.seq == closed.seq + 1, "one append, or a crash in between would ask again"


def test_a_resume_finds_the_digest_that_was_approved(bench: Bench) -> None:
    first = action("1", "read", options=StepOptions(register="seen"))
    last = action("3", late=["seen"], word="{{ seen.words | length }}")
    run, _ = bench.run(a_plan(bench.world, first, gate("2"), last))
    bench.approve(run)
    before = bench.state(run).gates["2"].digest
    assert bench.execute(run).status == "succeeded"
    assert bench.state(run).gates["2"].digest == before
    assert words(bench.world) == ["a:0"]


def test_a_role_that_is_gone_stops_the_run_amid_what_was_approved(bench: Bench, hooks: Hooks) -> None:
    hooks["fired"] = lambda: bench.settings.people.write_text("people:\n  alex: {roles: [responder]}\n")
    read = action("2", "read", options=StepOptions(register="seen"))
    plan = a_plan(bench.world, gate("1"), read, action("3", "hook", word="fired"), action("4"))
    run, _ = bench.run(plan)
    bench.approve(run)
    assert bench.execute(run).status == "waiting"
    assert words(bench.world) == ["a:fired"]
    assert "guard.tripped" in bench.kinds(run)
    assert gate_kinds(bench, run)[-2:] == ["gate.closed", "gate.requested"]
    bench.settings.people.write_text(PEOPLE)
    asked = bench.state(run).gates["1"].digest
    bench.approve(run, BILLIE)
    assert bench.execute(run).status == "succeeded"
    assert bench.state(run).gates["1"].digest == asked, "the new request is for what a resume finds, too"
    assert words(bench.world) == ["a:fired", "a:w4"]
    assert bench.is_intact()


def test_only_the_gate_that_is_not_open_any_more_is_asked_again(bench: Bench, hooks: Hooks) -> None:
    hooks["fired"] = lambda: bench.settings.people.write_text("people:\n  alex: {roles: [responder]}\n")
    plan = a_plan(
        bench.world, gate("1"), action("2"), gate("3"), action("4", "hook", word="fired"), action("5")
    )
    run, _ = bench.run(plan)
    bench.approve(run)
    bench.execute(run)
    bench.approve(run)
    assert bench.execute(run).status == "waiting"
    state = bench.state(run)
    assert (state.waits_at, state.gates["1"].opened, state.gates["3"].opened) == ("3", True, False)


def test_cancelling_while_a_gate_is_asked_again_ends_the_run(bench: Bench, hooks: Hooks) -> None:
    def fired() -> None:
        bench.settings.people.write_text("people:\n  alex: {roles: [responder]}\n")

    hooks["fired"] = fired
    run, _ = bench.run(a_plan(bench.world, gate("1"), action("2", "hook", word="fired"), action("3")))
    bench.approve(run)
    bench.execute(run)
    bench.cancel(run)
    assert bench.execute(run).status == "cancelled"
    assert words(bench.world) == ["a:fired"]


def test_nothing_behind_a_gate_is_done_because_a_rescue_led_past_it(bench: Bench) -> None:
    broken = block(
        "1",
        [action("1.block.1", word="x", answer="failed"), gate("1.block.2"), action("1.block.3")],
        rescue=[action("1.rescue.1")],
        always=[action("1.always.1")],
    )
    _, verdict = bench.run(a_plan(bench.world, broken, action("2", "read"), action("3")))
    assert words(bench.world) == ["a:w1.rescue.1", "a:w1.always.1"]
    assert verdict.status == "failed"
    assert "step 3 stands behind the gate 'Gate 1.block.2'" in verdict.detail
    assert "nobody agreed to this step" in verdict.detail
    assert bench.is_intact()


def test_a_gate_in_a_rescue_that_was_not_needed_is_not_asked_for(bench: Bench) -> None:
    fine = block("1", [action("1.block.1")], rescue=[gate("1.rescue.1"), action("1.rescue.2")])
    _, verdict = bench.run(a_plan(bench.world, fine, action("2")))
    assert verdict.status == "succeeded"
    assert words(bench.world) == ["a:w1.block.1", "a:w2"]


def test_what_a_failure_behind_a_gate_leads_to_is_shown_to_its_approvers(bench: Bench) -> None:
    broken = block(
        "2",
        [action("2.block.1", word="x", answer="failed"), gate("2.block.2"), action("2.block.3")],
        rescue=[gate("2.rescue.1"), action("2.rescue.2")],
        always=[action("2.always.1")],
    )
    run, _ = bench.run(a_plan(bench.world, gate("1"), broken, action("3")))
    with bench.home() as home:
        shown = [node.path for node in pending_gate(home, run).segment.nodes]
    assert shown == ["2.block.1", "2.always.1"]
    bench.approve(run)
    assert bench.execute(run).status == "waiting"
    with bench.home() as home:
        shown = [node.path for node in pending_gate(home, run).segment.nodes]
    assert shown == ["2.rescue.2", "2.always.1", "3"]
    bench.approve(run)
    # Gate 2.block.2 was never passed, and step 3 is written behind it.
    assert bench.execute(run).status == "succeeded"
    assert words(bench.world) == ["a:w2.rescue.2", "a:w2.always.1", "a:w3"]


def test_a_broken_people_file_opens_no_gate_and_ends_no_run(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, gate("1"), action("2")))
    bench.approve(run)
    bench.settings.people.write_text("people: [")
    verdict = bench.execute(run)
    assert (verdict.status, verdict.exit_code) == ("refused", 5)
    assert "people.yaml" in verdict.detail
    assert words(bench.world) == []
    bench.settings.people.write_text(PEOPLE)
    assert bench.execute(run).status == "succeeded"


def test_a_missing_people_file_opens_no_gate(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, gate("1"), action("2")))
    bench.approve(run)
    bench.settings.people.unlink()
    assert bench.execute(run).status == "waiting"
    assert words(bench.world) == []


def edit(bench: Bench, sql: str, *values: object) -> None:
    """Change the log's file behind mimrun's back, as somebody with a shell could."""
    with sqlite3.connect(bench.settings.log) as db:
        for (name,) in db.execute("select name from sqlite_schema where type = 'trigger'").fetchall():
            db.execute(f"drop trigger {name}")
        assert db.execute(sql, values).rowcount == 1
    db.close()


@pytest.mark.parametrize("blob", [b"mimsegment/1", b"mimplan/1"], ids=["segment", "plan"])
def test_one_changed_character_after_the_approval_stops_the_run(bench: Bench, blob: bytes) -> None:
    run, _ = bench.run(a_plan(bench.world, gate("1"), action("2", word="good")))
    bench.approve(run)
    change_blob(bench.settings.log, blob, b"good", b"evil")
    with pytest.raises(LogError):
        bench.execute(run)
    assert words(bench.world) == []
    assert not bench.is_intact()


def test_a_manual_step_is_attested_once(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, manual("1"), action("2")))
    with bench.home() as home:
        attest(home, run, ALEX, {})
        with pytest.raises(RefusedError, match="alex has attested it already"):
            attest(home, run, ALEX, {})


def test_instructions_that_cannot_be_filled_in_fail_the_same_way_on_a_resume(bench: Bench) -> None:
    late = manual("1.block.1", instructions="{{ nothing }}").model_copy(update={"late": ("nothing",)})
    run, verdict = bench.run(
        a_plan(bench.world, block("1", [late], rescue=[action("1.rescue.1")]), manual("2"))
    )
    assert verdict.status == "waiting"
    assert bench.execute(run).status == "waiting"
    assert words(bench.world) == ["a:w1.rescue.1"]


def test_who_launched_may_attest_and_never_vote(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, manual("1", role=None), gate("2", role="responder")))
    with bench.home() as home:
        attest(home, run, RESPONDER, {})
    assert bench.execute(run).status == "waiting"
    with pytest.raises(GateError):
        bench.approve(run, RESPONDER)


def test_verify_of_a_step_needs_no_approval_of_its_own(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, gate("1"), action("2", verify=check("result.words | length > 0"))))
    bench.approve(run)
    assert bench.execute(run).status == "succeeded"
