"""Who takes part, and how many may fail: the rule as tables, and what a step does when it is enough."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from builders.plans import a_plan, action, block, gate, include, serial
from builders.runs import Bench
from builders.world import words

from mimrun.errors import StoreError
from mimrun.log.entry import Draft
from mimrun.log.kinds import Kind
from mimrun.log.sqlite.store import SqliteStore
from mimrun.run.record.state import CellKey
from mimrun.run.record.transitions import CellStatus
from mimrun.run.walk.roster import Roster
from mimrun.run.walk.tally import Tally
from mimrun.runbook.node import PlannedAction, PlannedBlock, StepOptions

HOSTS = ["a", "b", "c", "d"]
Hooks = dict[str, Callable[[], object]]


def failing(path: str, count: int, **options) -> PlannedAction:
    """Give a step on four hosts that fails on the first few of them."""
    answer = "{{ 'failed' if inventory_hostname in bad else 'ok' }}"
    return action(
        path,
        hosts=HOSTS,
        late=["inventory_hostname", "bad"],
        word=f"w{path}",
        answer=answer,
        options=StepOptions(delay_ms=1, **options),
    ).model_copy(update={"name": f"Fails on {count}"})


def run_failing(bench: Bench, count: int, allowed: int, **options) -> str:
    plan = a_plan(
        bench.world,
        failing("1", count, **options),
        action("2", hosts=HOSTS),
        hosts=HOSTS,
        failures=allowed,
        inputs={"bad": HOSTS[:count]},
    )
    return bench.run(plan)[1].status


@pytest.mark.parametrize("allowed", range(6))
@pytest.mark.parametrize("failed", range(5))
def test_a_run_stops_when_more_have_failed_than_may_and_when_nobody_is_left(
    bench: Bench, failed: int, allowed: int
) -> None:
    stops = failed > allowed or failed == len(HOSTS)
    assert run_failing(bench, failed, allowed) == ("failed" if stops else "succeeded")


@pytest.mark.parametrize(
    ("failed", "own", "whole", "stops"), [(1, 0, 3, True), (1, 1, 3, False), (2, 1, 3, True)]
)
def test_a_step_has_an_allowance_of_its_own(
    bench: Bench, failed: int, own: int, whole: int, *, stops: bool
) -> None:
    status = run_failing(bench, failed, whole, max_failures=own)
    assert status == ("failed" if stops else "succeeded")


def test_what_a_step_may_lose_does_not_widen_what_the_run_may_lose(bench: Bench) -> None:
    assert run_failing(bench, 2, 1, max_failures=3) == "failed"


@pytest.mark.parametrize(
    ("before", "failed", "stops"), [(0, 1, False), (0, 2, True), (1, 2, False), (1, 3, True)]
)
def test_an_allowance_answers_for_what_happened_since(before: int, failed: int, *, stops: bool) -> None:
    roster = Roster.of_run(9).without(HOSTS[:before]).within("step 2", 1)
    assert bool(roster.overdrawn(frozenset(HOSTS[:failed]))) is stops


def test_of_all_allowances_the_least_says_how_many_are_left() -> None:
    roster = Roster.of_run(3).without(["a"])
    assert roster.left() == 2
    assert roster.within("step 1", 1).left() == 1
    assert roster.without(HOSTS).left() == 0


def test_behind_parts_everybody_is_out_who_failed_in_one_of_them() -> None:
    roster = Roster.of_run(3).without(["a"])
    left, right = roster.within("x", 1).without(["b"]), roster.without(["c"])
    joined = roster.behind(left, right)
    assert joined.failed == frozenset("abc")
    assert joined.allowances == roster.allowances


def test_a_tally_trips_when_more_have_failed_than_may_and_stays_so() -> None:
    tally = Tally(Roster.of_run(1))
    tally.note("a")
    assert tally.exceeded is None
    tally.note("a")
    assert tally.exceeded is None
    tally.note("b")
    assert tally.reason() == "not begun: 2 hosts of the run failed and 1 may"
    assert Tally(Roster.of_run(1), ["a", "b"]).exceeded, "what is on record counts from the start"


def test_targets_that_were_not_begun_when_it_is_enough_are_left_alone(bench: Bench) -> None:
    hosts = [f"h{n:03}" for n in range(300)]
    plan = a_plan(bench.world, action("1", hosts=hosts, word="x", answer="failed"), hosts=hosts, failures=2)
    run, verdict = bench.run(plan)
    state = bench.state(run)
    recap = state.recap()
    assert verdict.status == "failed"
    assert recap["failed"] + recap["skipped"] == 300
    assert recap["failed"] <= 60, "at most those that were under way, 50 at a time, and the three"
    skipped = next(c for c in state.cells.values() if c.status is CellStatus.SKIPPED)
    assert skipped.reason.startswith("not begun: ")
    assert "hosts of the run failed and 2 may" in skipped.reason
    assert "; not begun any more: " in state.reason


def test_what_was_begun_before_it_was_enough_is_finished_and_told_apart(bench: Bench, hooks: Hooks) -> None:
    begun = threading.Barrier(2)
    enough = threading.Event()
    hooks["bad"], hooks["slow"] = lambda: begun.wait(20), lambda: (begun.wait(20), enough.wait(20))
    hosts = ["bad", "slow", *(f"z{n}" for n in range(80))]
    for host in hosts[2:]:
        hooks[host] = lambda: enough.wait(20)
    step = action(
        "1",
        "hook",
        hosts=hosts,
        late=["inventory_hostname"],
        word="{{ inventory_hostname }}",
        options=StepOptions(expect="inventory_hostname != 'bad'"),
    )
    run = bench.create(a_plan(bench.world, step, hosts=hosts))
    with let_go(bench, run, enough):
        assert bench.execute(run).status == "failed"
    state = bench.state(run)
    assert "bad: expect is not true" in state.reason
    assert "begun before that, and finished: slow, " in state.reason
    assert state.recap()["skipped"] >= 80 - 50
    assert state.cells[CellKey("1", "slow")].passed


@contextmanager
def let_go(bench: Bench, run: str, enough: threading.Event) -> Iterator[None]:
    """Let go of everybody once it is on record that one has failed."""

    def look() -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and "step.verified" not in bench.kinds(run):
            enough.wait(0.05)
        enough.set()

    thread = threading.Thread(target=look)
    thread.start()
    yield
    thread.join()


@pytest.mark.parametrize("kind", [Kind.STEP_SKIPPED, Kind.STEP_FINISHED])
def test_a_resume_leaves_the_same_targets_alone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    hosts = [f"h{n:03}" for n in range(120)]
    plan = a_plan(bench.world, action("1", hosts=hosts, word="x", answer="failed"), hosts=hosts)
    run = bench.create(plan)
    with monkeypatch.context() as broken:
        no_append_of(broken, kind)
        with pytest.raises(StoreError):
            bench.execute(run)
    before = {key for key, cell in bench.state(run).cells.items() if cell.attempts}
    assert bench.execute(run).status == "failed"
    state = bench.state(run)
    assert {key for key, cell in state.cells.items() if cell.attempts} == before
    assert state.recap()["skipped"] == 120 - len(before)


def no_append_of(patch: pytest.MonkeyPatch, kind: Kind) -> None:
    """Let the log be full as soon as an entry of this kind comes."""
    append = SqliteStore.append

    def full(store: SqliteStore, drafts: Sequence[Draft], **named: Any) -> object:
        if any(draft.kind is kind for draft in drafts):
            raise StoreError("disk is full")
        return append(store, drafts, **named)

    patch.setattr(SqliteStore, "append", full)


def test_a_loop_is_left_out_as_a_whole_also_after_a_crash(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = action("1", hosts=["a", "b"], when="false", loop=["x", "y"], late=["item"], word="{{ item }}")
    run = bench.create(a_plan(bench.world, step, hosts=["a", "b"]))
    with monkeypatch.context() as broken:
        no_append_of(broken, Kind.STEP_FINISHED)
        with pytest.raises(StoreError):
            bench.execute(run)
    assert bench.execute(run).status == "succeeded"
    assert words(bench.world) == []


def test_what_a_step_left_out_registers_is_there_at_once_and_after_a_resume(bench: Bench) -> None:
    first = action("1", when="false", options=StepOptions(register="seen"))
    plan = a_plan(
        bench.world, first, action("2", when="seen.skipped"), gate("3"), action("4", when="seen.skipped")
    )
    run, _ = bench.run(plan)
    bench.approve(run)
    assert bench.execute(run).status == "succeeded"
    assert words(bench.world) == ["a:w2", "a:w4"]


def test_a_failure_that_is_rescued_takes_nobody_out(bench: Bench) -> None:
    broken = block("1", [failing("1.block.1", 1)], rescue=[action("1.rescue.1", hosts=HOSTS)])
    plan = a_plan(bench.world, broken, action("2", hosts=HOSTS), hosts=HOSTS, inputs={"bad": ["a"]})
    assert bench.run(plan)[1].status == "succeeded"
    assert "a:w2" in words(bench.world)


def test_hosts_that_fail_in_an_always_part_count_with_those_of_its_block(bench: Bench) -> None:
    one = failing("1.block.1", 1)
    other = action(
        "1.always.1", hosts=HOSTS[1:], word="{{ x }}", late=["x"], options=StepOptions(max_failures=3)
    )
    odd = other.model_copy(update={"targets": (*other.targets[:1], *action("y", hosts=HOSTS[2:]).targets)})
    plan = a_plan(
        bench.world,
        block("1", [one], always=[odd]),
        action("2", hosts=HOSTS),
        hosts=HOSTS,
        failures=1,
        inputs={"bad": ["a"]},
    )
    run, verdict = bench.run(plan)
    assert verdict.status == "failed"
    assert "2 hosts of the run failed and 1 may" in verdict.detail
    assert "2" not in bench.state(run).started


# Batches.


def test_batches_are_done_one_after_the_other(bench: Bench) -> None:
    plan = a_plan(bench.world, serial("1", [["a"], ["b", "c"], ["d"]]), hosts=HOSTS)
    assert bench.run(plan)[1].status == "succeeded"
    done = words(bench.world)
    assert done[0].startswith("a:")
    assert {word[0] for word in done[1:3]} == {"b", "c"}
    assert done[3].startswith("d:")


ONLY_A = "{{ 'failed' if inventory_hostname in bad else 'ok' }}"


def batches(
    bench: Bench, sizes: list[list[str]], bad: list[str], *, own: int | None, whole: int
) -> tuple[str, list[str]]:
    node = serial("1", sizes, "once", max_failures=own, word="x", answer=ONLY_A)
    late = [_late(b) for b in node.batches]
    plan = a_plan(
        bench.world,
        node.model_copy(update={"batches": tuple(late)}),
        hosts=HOSTS,
        failures=whole,
        inputs={"bad": [*bad]},
    )
    status = bench.run(plan)[1].status
    return status, sorted(word[0] for word in words(bench.world))


def _late(batch: PlannedBlock) -> PlannedBlock:
    steps = []
    for step in batch.block:
        assert isinstance(step, PlannedAction)
        targets = tuple(
            t.model_copy(
                update={
                    "calls": tuple(
                        c.model_copy(update={"late": ("inventory_hostname", "bad")}) for c in t.calls
                    )
                }
            )
            for t in step.targets
        )
        steps.append(step.model_copy(update={"targets": targets}))
    return batch.model_copy(update={"block": tuple(steps)})


@pytest.mark.parametrize(
    ("bad", "own", "whole", "status", "done"),
    [
        ([], None, 0, "succeeded", "abcd"),
        (["a"], None, 0, "failed", "b"),
        (["a"], None, 1, "succeeded", "bcd"),
        (["a", "c"], None, 1, "failed", "bd"),
        (["a", "c"], None, 2, "succeeded", "bd"),
        (["a", "c"], 1, 2, "failed", "bd"),
        (["a", "c"], 2, 1, "failed", "bd"),
        (["a", "b"], None, 4, "failed", ""),
    ],
    ids=[
        "nobody fails",
        "none may fail",
        "one may fail",
        "the second in another batch",
        "two may fail",
        "the batches may lose one",
        "the run may lose one",
        "a whole batch failed though four may",
    ],
)
def test_failures_are_counted_over_all_batches(
    bench: Bench, bad: list[str], own: int | None, whole: int, status: str, done: str
) -> None:
    got, worked = batches(bench, [["a", "b"], ["c", "d"]], bad, own=own, whole=whole)
    assert got == status
    assert set(worked) <= set(done)
    if status == "succeeded":
        assert "".join(worked) == done


def test_a_batch_whose_hosts_have_all_failed_before_is_passed_over(bench: Bench) -> None:
    first = failing("1", 1)
    plan = a_plan(
        bench.world,
        first,
        serial("2", [["a"], ["b"], ["c", "d"]]),
        hosts=HOSTS,
        failures=1,
        inputs={"bad": ["a"]},
    )
    assert bench.run(plan)[1].status == "succeeded"
    assert {word[0] for word in words(bench.world) if ":w2" in word} == {"b", "c", "d"}


def test_batches_that_nobody_is_left_for_fail_the_run(bench: Bench) -> None:
    first = action("1", hosts=["a", "b"], word="x", answer=ONLY_A, late=["inventory_hostname", "bad"])
    plan = a_plan(
        bench.world, first, serial("2", [["a"]]), hosts=["a", "b"], failures=1, inputs={"bad": ["a"]}
    )
    _, verdict = bench.run(plan)
    assert verdict.status == "failed"
    assert "every host of the step had failed before" in verdict.detail


def test_this_machine_is_in_every_batch_and_belongs_to_none(bench: Bench) -> None:
    def one(number: int, host: str) -> PlannedBlock:
        path = f"2.batch.{number}"
        return block(
            path, [action(f"{path}.block.1", hosts=["here"]), action(f"{path}.block.2", hosts=[host])]
        )

    node = serial("2", []).model_copy(update={"batches": (one(1, "a"), one(2, "b"), one(3, "c"))})
    first = action("1", hosts=["a", "b", "c"], word="x", answer=ONLY_A, late=["inventory_hostname", "bad"])
    hosts = ["here", "a", "b", "c"]
    plan = a_plan(bench.world, first, node, hosts=hosts, failures=1, inputs={"bad": ["b"]})
    assert bench.run(plan)[1].status == "succeeded"
    done = [word for word in words(bench.world) if ":w2" in word]
    assert [word.partition(":")[0] for word in done] == ["here", "a", "here", "c"]


@pytest.mark.parametrize(
    ("own", "whole", "status"), [(0, 3, "failed"), (1, 3, "succeeded"), (None, 0, "failed")]
)
def test_an_included_runbook_has_an_allowance_of_its_own(
    bench: Bench, own: int | None, whole: int, status: str
) -> None:
    inside = include("1", failing("1.include.1", 1)).model_copy(update={"max_failures": own})
    plan = a_plan(bench.world, inside, action("2", hosts=HOSTS), hosts=HOSTS, failures=whole, inputs={})
    included = inside.model_copy(update={"inputs": {"bad": ["a"]}})
    run, verdict = bench.run(plan.model_copy(update={"nodes": (included, plan.nodes[1])}))
    assert verdict.status == status
    assert bench.state(run).finished["1.include.1"] == ("ok" if status == "succeeded" else "failed")
