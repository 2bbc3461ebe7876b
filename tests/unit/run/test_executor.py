from __future__ import annotations

import pytest
from builders.plans import a_plan, action, block, call, check, gate, manual
from builders.runs import ALEX, BILLIE, RESPONDER, Bench
from builders.world import words

from mimrun.app.decisions import attest, decide, doubts, pending_gate, request_cancel, resolve
from mimrun.errors import GateError
from mimrun.run.record.state import CellKey
from mimrun.runbook.node import StepOptions


def test_steps_are_done_in_order_and_the_run_succeeds(bench: Bench) -> None:
    run, verdict = bench.run(
        a_plan(bench.world, action("1"), action("2", "idempotent"), action("3", "probe"))
    )
    assert verdict.status == "succeeded"
    assert words(bench.world) == ["a:w1", "a:w2", "a:w3"]
    assert bench.state(run).recap() == {
        "ok": 3,
        "changed": 3,
        "failed": 0,
        "unreachable": 0,
        "skipped": 0,
        "in_doubt": 0,
    }
    assert bench.is_intact()


def test_every_effect_has_an_intent_before_it_and_an_outcome_after_it(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, action("1")))
    kinds = bench.kinds(run)
    assert kinds.index("step.intent") < kinds.index("step.outcome") < kinds.index("step.finished")
    assert kinds[-1] == "run.ended"


def test_a_step_works_on_all_its_hosts(bench: Bench) -> None:
    hosts = [f"h{n}" for n in range(20)]
    _, verdict = bench.run(a_plan(bench.world, action("1", hosts=hosts), hosts=hosts))
    assert verdict.status == "succeeded"
    assert sorted(words(bench.world)) == sorted(f"{host}:w1" for host in hosts)


def test_a_failure_stops_the_run_and_names_step_and_host(bench: Bench) -> None:
    run, verdict = bench.run(a_plan(bench.world, action("1", word="x", answer="failed"), action("2")))
    assert verdict.status == "failed"
    assert "Step 1" in verdict.detail
    assert "a: the world said no" in verdict.detail
    assert words(bench.world) == []
    assert bench.state(run).recap()["failed"] == 1


def test_an_unreachable_host_is_counted_as_such(bench: Bench) -> None:
    run, verdict = bench.run(a_plan(bench.world, action("1", word="x", answer="unreachable")))
    assert verdict.status == "failed"
    assert bench.state(run).recap()["unreachable"] == 1


def test_a_host_that_failed_takes_no_part_while_the_limit_allows_it(bench: Bench) -> None:
    first = action(
        "1",
        hosts=["a", "b"],
        late=["colour"],
        word="{{ colour }}",
        answer="{{ 'failed' if colour == 'cb' else 'ok' }}",
    )
    plan = a_plan(bench.world, first, action("2", hosts=["a", "b"]), hosts=["a", "b"], failures=1)
    _, verdict = bench.run(plan)
    assert verdict.status == "succeeded"
    assert words(bench.world) == ["a:ca", "a:w2"]


def test_lost_answer_of_a_step_that_happens_once_is_in_doubt(bench: Bench) -> None:
    run, verdict = bench.run(a_plan(bench.world, action("1", word="x", answer="lost"), action("2")))
    assert (verdict.status, verdict.exit_code) == ("in_doubt", 4)
    assert words(bench.world) == ["a:x"]
    assert bench.execute(run).status == "in_doubt"
    assert words(bench.world) == ["a:x"], "a resume must not settle a doubt by itself"


@pytest.mark.parametrize(
    ("resolution", "status", "marks"),
    [
        ("applied", "succeeded", ["a:x", "a:w2"]),
        ("skip", "succeeded", ["a:x", "a:w2"]),
        ("abort", "failed", ["a:x"]),
    ],
)
def test_a_doubt_is_settled_by_a_person(bench: Bench, resolution, status: str, marks: list[str]) -> None:
    run, _ = bench.run(a_plan(bench.world, action("1", word="x", answer="lost"), action("2")))
    with bench.home() as home:
        assert doubts(bench.state(run)) == [CellKey("1", "a", 0)]
        resolve(home, run, RESPONDER, step="1", resolution=resolution, reason="saw it with my own eyes")
    assert bench.execute(run).status == status
    assert words(bench.world) == marks


def test_not_applied_lets_the_step_be_done_once_more(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, action("1", word="x", answer="lost-before")))
    with bench.home() as home:
        resolve(home, run, RESPONDER, step="1", resolution="not_applied", reason="nothing in the journal")
    assert bench.execute(run).status == "in_doubt"
    assert bench.state(run).cells[CellKey("1", "a", 0)].attempts == 2


def test_lost_answer_of_a_probed_step_is_settled_by_the_probe(bench: Bench) -> None:
    run, verdict = bench.run(a_plan(bench.world, action("1", "probe", word="x", answer="lost")))
    assert verdict.status == "succeeded"
    assert words(bench.world) == ["a:x"]
    assert "step.probed" in bench.kinds(run)


def test_a_probe_that_proves_nothing_happened_makes_a_clean_failure(bench: Bench) -> None:
    run, verdict = bench.run(a_plan(bench.world, action("1", "probe", word="x", answer="lost-before")))
    assert verdict.status == "failed"
    cell = bench.state(run).cells[CellKey("1", "a", 0)]
    assert cell.clean
    assert words(bench.world) == []


def test_lost_answer_of_an_idempotent_step_is_repeated_as_often_as_allowed(bench: Bench) -> None:
    options = StepOptions(retries=2, delay_ms=1)
    _, verdict = bench.run(
        a_plan(bench.world, action("1", "idempotent", word="x", answer="lost", options=options))
    )
    assert verdict.status == "failed"
    assert words(bench.world) == ["a:x"] * 3


def test_a_step_that_happens_once_is_never_retried(bench: Bench) -> None:
    options = StepOptions(retries=5, delay_ms=1)
    bench.run(a_plan(bench.world, action("1", word="x", answer="failed", options=options)))
    run, _ = bench.run(a_plan(bench.world, action("1", word="x", answer="failed", options=options)))
    assert bench.state(run).cells[CellKey("1", "a", 0)].attempts == 1


def test_a_gate_ends_the_worker_and_nothing_behind_it_is_done(bench: Bench) -> None:
    run, verdict = bench.run(a_plan(bench.world, action("1"), gate("2"), action("3")))
    assert (verdict.status, verdict.exit_code) == ("waiting", 3)
    assert words(bench.world) == ["a:w1"]
    assert bench.execute(run).status == "waiting"
    assert words(bench.world) == ["a:w1"]


def test_an_approval_lets_exactly_the_rest_run(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, action("1"), gate("2"), action("3")))
    bench.approve(run)
    assert bench.execute(run).status == "succeeded"
    assert words(bench.world) == ["a:w1", "a:w3"]
    assert bench.is_intact()


def test_who_launched_the_run_cannot_approve_it(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, gate("1", role="responder"), action("2")))
    with pytest.raises(GateError, match="responder asked for or launched this run"):
        bench.approve(run, RESPONDER)
    assert bench.execute(run).status == "waiting"


def test_a_gate_that_needs_two_waits_for_the_second(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, gate("1", count=2), action("2")))
    bench.approve(run, ALEX)
    assert bench.execute(run).status == "waiting"
    bench.approve(run, BILLIE)
    assert bench.execute(run).status == "succeeded"


def test_a_rejection_ends_the_run_without_a_rescue(bench: Bench) -> None:
    rescued = block("1", [gate("1.block.1"), action("1.block.2")], rescue=[action("1.rescue.1")])
    run, _ = bench.run(a_plan(bench.world, rescued, action("2")))
    with bench.home() as home:
        pending = pending_gate(home, run)
        decide(home, pending, ALEX, "rejected", digest=pending.request.digest, reason="not tonight")
    verdict = bench.execute(run)
    assert verdict.status == "failed"
    assert "not tonight" in verdict.detail
    assert words(bench.world) == []


def test_a_role_taken_away_after_the_approval_closes_the_gate_again(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, gate("1"), action("2")))
    bench.approve(run)
    bench.settings.people.write_text("people:\n  alex: {roles: [responder]}\n")
    assert bench.execute(run).status == "waiting"
    assert words(bench.world) == []


def test_a_gate_whose_condition_is_false_is_passed(bench: Bench) -> None:
    _, verdict = bench.run(a_plan(bench.world, gate("1", when="1 > 2"), action("2")))
    assert verdict.status == "succeeded"
    assert words(bench.world) == ["a:w2"]


def test_a_manual_step_waits_for_the_right_person(bench: Bench) -> None:
    run, verdict = bench.run(a_plan(bench.world, manual("1"), action("2")))
    assert verdict.status == "waiting"
    with bench.home() as home:
        with pytest.raises(GateError, match="does not have the role service_desk"):
            attest(home, run, BILLIE, {})
        attest(home, run, ALEX, {})
    assert bench.execute(run).status == "succeeded"
    assert words(bench.world) == ["a:w2"]


def test_a_rescue_mends_a_failed_block_and_always_is_done(bench: Bench) -> None:
    broken = block(
        "1",
        [action("1.block.1", word="x", answer="failed"), action("1.block.2")],
        rescue=[action("1.rescue.1")],
        always=[action("1.always.1")],
    )
    _, verdict = bench.run(a_plan(bench.world, broken, action("2")))
    assert verdict.status == "succeeded"
    assert words(bench.world) == ["a:w1.rescue.1", "a:w1.always.1", "a:w2"]


def test_always_is_done_when_nothing_rescues(bench: Bench) -> None:
    broken = block("1", [action("1.block.1", word="x", answer="failed")], always=[action("1.always.1")])
    _, verdict = bench.run(a_plan(bench.world, broken, action("2")))
    assert verdict.status == "failed"
    assert words(bench.world) == ["a:w1.always.1"]


def test_a_condition_that_is_false_skips_the_host(bench: Bench) -> None:
    step = action("1", hosts=["a", "b"], when="colour == 'cb'")
    run, verdict = bench.run(a_plan(bench.world, step, hosts=["a", "b"]))
    assert verdict.status == "succeeded"
    assert words(bench.world) == ["b:w1"]
    assert bench.state(run).recap()["skipped"] == 1


def test_a_loop_does_each_item_with_its_own_identity(bench: Bench) -> None:
    step = action("1", loop=["x", "y"], late=["item"], word="{{ item }}")
    run, verdict = bench.run(a_plan(bench.world, step))
    assert verdict.status == "succeeded"
    assert words(bench.world) == ["a:x", "a:y"]
    assert {key.iteration for key in bench.state(run).cells} == {0, 1}


def test_a_loop_over_an_answer_is_expanded_once_and_kept(bench: Bench) -> None:
    first = action("1", "read", options=StepOptions(register="seen"))
    plan = a_plan(
        bench.world, action("0"), first, action("2", loop="{{ seen.words }}", late=["item"], word="again")
    )
    run, verdict = bench.run(plan)
    assert verdict.status == "succeeded"
    assert bench.kinds(run).count("loop.expanded") == 1
    assert words(bench.world) == ["a:w0", "a:again"]


def test_an_answer_is_seen_by_later_steps_under_its_name(bench: Bench) -> None:
    first = action("1", options=StepOptions(register="first"))
    _, verdict = bench.run(
        a_plan(bench.world, first, action("2", late=["first"], word="after-{{ first.word }}"))
    )
    assert verdict.status == "succeeded"
    assert words(bench.world) == ["a:w1", "a:after-w1"]


def test_an_expectation_that_is_not_met_fails_the_step_though_it_was_done(bench: Bench) -> None:
    step = action("1", options=StepOptions(expect="result.word == 'other'", delay_ms=1))
    _, verdict = bench.run(a_plan(bench.world, step, action("2")))
    assert verdict.status == "failed"
    assert "expect is not true: result.word == 'other'" in verdict.detail
    assert words(bench.world) == ["a:w1"]


def test_verify_looks_until_the_effect_is_proven(bench: Bench) -> None:
    step = action("1", verify=check("result.words | length > 0", retries=2))
    _, verdict = bench.run(a_plan(bench.world, step))
    assert verdict.status == "succeeded"


def test_verify_that_proves_nothing_fails_the_step(bench: Bench) -> None:
    step = action("1", verify=check("result.words | length > 5", retries=2))
    run, verdict = bench.run(a_plan(bench.world, step))
    assert verdict.status == "failed"
    assert bench.state(run).cells[CellKey("1.verify", "a", 0)].attempts == 3


def test_a_failed_step_with_ignore_errors_does_not_stop_the_run(bench: Bench) -> None:
    step = action("1", word="x", answer="failed", options=StepOptions(ignore_errors=True))
    _, verdict = bench.run(a_plan(bench.world, step, action("2")))
    assert verdict.status == "succeeded"


def test_the_state_before_is_captured_before_the_effect(bench: Bench) -> None:
    run, verdict = bench.run(a_plan(bench.world, action("0"), action("1", capture=call("read"))))
    assert verdict.status == "succeeded"
    kinds = bench.kinds(run)
    last_intent = len(kinds) - 1 - kinds[::-1].index("step.intent")
    assert kinds.index("step.captured") < last_intent


def test_an_undefined_name_fails_the_step_before_any_effect(bench: Bench) -> None:
    _, verdict = bench.run(a_plan(bench.world, action("1", late=["nothing"], word="{{ nothing }}")))
    assert verdict.status == "failed"
    assert "nothing" in verdict.detail
    assert words(bench.world) == []


def test_a_cancelled_run_begins_nothing_new(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, action("1"), manual("2"), action("3")))
    with bench.home() as home:
        request_cancel(home, run, RESPONDER, "wrong cluster")
    verdict = bench.execute(run)
    assert (verdict.status, verdict.exit_code) == ("cancelled", 7)
    assert words(bench.world) == ["a:w1"]


def test_a_finished_run_is_not_executed_again(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, action("1")))
    verdict = bench.execute(run)
    assert verdict.status == "refused"
    assert "over already" in verdict.detail
    assert words(bench.world) == ["a:w1"]


def test_data_with_braces_is_never_rendered(bench: Bench) -> None:
    first = action("1", word="{{7*7}}", options=StepOptions(register="first"))
    _, verdict = bench.run(a_plan(bench.world, first, action("2", late=["first"], word="{{ first.word }}")))
    assert verdict.status == "succeeded"
    assert words(bench.world) == ["a:{{7*7}}", "a:{{7*7}}"]
