"""What is approved is what runs: with anything of the plan changed behind the approval, nothing is done at all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from builders.mutation import Mutation, mutations
from builders.plans import a_plan, action, block, call, check, gate, include, manual, parallel, serial
from builders.runs import Bench
from builders.world import words
from pydantic import JsonValue, ValidationError

from mimrun import canonical
from mimrun.app import execution
from mimrun.app.decisions import pending_gate
from mimrun.errors import TamperError
from mimrun.log.entry import LogEntry
from mimrun.log.sqlite.store import SqliteStore
from mimrun.runbook.launch import with_launch_gate
from mimrun.runbook.node import StepOptions
from mimrun.runbook.plan import Plan, Segment

EVERY = 23
"""One in so many changes is tried in a run of its own by default; the heavy tests try every one."""


def whole_plan(world: Path) -> Plan:
    """Give a plan with something of everything; the policy's gate is in front of it."""
    careful = action(
        "2",
        undo=call("once", word="back"),
        capture=call("read"),
        verify=check("result.words | length > 0"),
        loop=["x"],
        notify=["h1"],
        options=StepOptions(register="seen", retries=1, delay_ms=1, expect="true"),
    )
    nodes = (
        careful,
        block("3", [action("3.block.1", when="true")], [action("3.rescue.1")], [action("3.always.1")]),
        serial("4", [["a"], ["b"]], "once"),
        parallel("5", action("5.branch.1"), action("5.branch.2", hosts=("b",))),
        include("6", action("6.include.1"), inputs={"who": "you"}),
        manual("7"),
        gate("8", role="service_desk"),
        action("9"),
    )
    plan = a_plan(
        world,
        *nodes,
        hosts=("a", "b"),
        inputs={"x": {"y": [1, "two"]}},
        handlers=[action("h1", word="handled")],
    )
    more = {"vars": {"v": 1}, "groups": {"web": ["a", "b"]}, "locks": ["host/a"]}
    return Plan.model_validate_json(json.dumps({**plan.model_dump(mode="json", by_alias=True), **more}))


@pytest.fixture(scope="module")
def approved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bench, str, Plan]:
    """A run whose gate is approved, and which nobody goes on with."""
    return an_approved_run(tmp_path_factory.mktemp("approved"))


def an_approved_run(folder: Path) -> tuple[Bench, str, Plan]:
    bench = Bench(folder)
    bench.settings.policy.write_text("matrix: {medium: {other: {approvals: [{role: change_manager}]}}}\n")
    plan = with_launch_gate(whole_plan(bench.world))
    run, _ = bench.run(plan)
    bench.approve(run)
    return bench, run, plan


def changes_of(plan: Plan) -> Sequence[Mutation]:
    return list(mutations(json.loads(plan.encode())))


def test_every_change_of_the_plan_is_another_segment_than_the_approved_one(
    approved: tuple[Bench, str, Plan],
) -> None:
    """Where a changed plan can be read at all, the digest that people agreed to is not its."""
    _, run, plan = approved
    asked = segment_of(plan, run)
    tried = readable = 0
    for changed in changes_of(plan):
        tried += 1
        assert canonical.digest(changed.value) != plan.digest, changed.where
        try:
            other = Plan.decode(json.dumps(changed.value).encode())
        except ValidationError:
            continue
        if other == plan:  # what is left out stands for what was there
            continue
        readable += 1
        assert other.digest != plan.digest, changed.where
        assert segment_of(other, run).digest != asked.digest, changed.where
    assert tried > 1_000
    assert readable > 400


def segment_of(plan: Plan, run: str) -> Segment:
    first = plan.nodes[0].path if plan.nodes else ""
    return Segment(plan=plan.digest, run=run, gate=first, facts="", nodes=plan.segment_after(first))


def try_plans(approved: tuple[Bench, str, Plan], changed: Sequence[Mutation]) -> None:
    bench, run, _ = approved
    whole = SqliteStore.blob
    for each in changed:
        data = canonical.encode(each.value)

        def stored(store: SqliteStore, entry: LogEntry, name: str, data: bytes = data) -> bytes | None:
            return data if name == "plan" else whole(store, entry, name)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(SqliteStore, "blob", stored)
            with pytest.raises(TamperError):
                bench.execute(run)
        try_past_its_digest(bench, run, each)
        assert words(bench.world) == [], each.where


def try_past_its_digest(bench: Bench, run: str, changed: Mutation) -> None:
    """Have the changed plan taken for the frozen one, as if nobody had looked at its bytes."""
    try:
        other = Plan.decode(json.dumps(changed.value).encode())
    except ValidationError:
        return
    if other.digest == bench.state(run).plan:
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(execution, "load_plan", lambda *_: other)
        with pytest.raises(TamperError, match="was asked for with plan"):
            bench.execute(run)


def try_segments(approved: tuple[Bench, str, Plan], every: int) -> int:
    bench, run, _ = approved
    whole = SqliteStore.blob
    with bench.home() as home:
        segment = json.loads(pending_gate(home, run).segment.encode())
    tried = 0
    for changed in list(mutations(segment))[::every]:
        data = canonical.encode(changed.value)

        def stored(store: SqliteStore, entry: LogEntry, name: str, data: bytes = data) -> bytes | None:
            return data if name == "segment" else whole(store, entry, name)

        with bench.home() as home, pytest.MonkeyPatch.context() as patch:
            patch.setattr(SqliteStore, "blob", stored)
            if is_the_same(data, segment):
                continue
            with pytest.raises((TamperError, ValidationError)):
                pending_gate(home, run)
        tried += 1
    return tried


def is_the_same(data: bytes, segment: JsonValue) -> bool:
    """Say whether it is read as the segment that it was: something left out stands for what was there."""
    try:
        return Segment.decode(data) == Segment.decode(canonical.encode(segment))
    except ValidationError:
        return False


def test_a_run_whose_plan_was_changed_behind_the_approval_does_nothing(
    approved: tuple[Bench, str, Plan],
) -> None:
    try_plans(approved, changes_of(approved[2])[::EVERY])
    assert try_segments(approved, EVERY) > 20


@pytest.mark.heavy
def test_whatever_was_changed_of_a_plan_behind_the_approval_nothing_is_done(
    approved: tuple[Bench, str, Plan],
) -> None:
    try_plans(approved, changes_of(approved[2]))
    try_segments(approved, 1)


def test_the_unchanged_plan_goes_on_with_the_same_approval(tmp_path: Path) -> None:
    """So that nothing but the change keeps it from running in the other tests."""
    bench, run, _ = an_approved_run(tmp_path)
    assert words(bench.world) == []
    assert bench.execute(run).status == "waiting"
    assert words(bench.world)[0] == "a:w2"


def test_each_mutation_differs_from_the_value_in_one_place() -> None:
    value: JsonValue = {"a": [1, {"b": None}], "c": "text", "d": True}
    found = [json.dumps(m.value, sort_keys=True) for m in mutations(value)]
    assert json.dumps(value, sort_keys=True) not in found
    assert len(found) == len(set(found)) == 20
