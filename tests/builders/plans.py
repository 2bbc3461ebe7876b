"""Small plans, made by hand, for tests of what executes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from builders.world import WORLD
from pydantic import JsonValue

from mimrun.connector import Effect
from mimrun.runbook.model import Limits, Needed, OnTimeout, Risk, Stage
from mimrun.runbook.node import (
    Node,
    PlannedAction,
    PlannedBlock,
    PlannedCall,
    PlannedCheck,
    PlannedGate,
    PlannedInclude,
    PlannedManual,
    PlannedParallel,
    PlannedSerial,
    RunbookRef,
    StepOptions,
    TargetCalls,
)
from mimrun.runbook.plan import Plan, PlannedTarget

RUNBOOK = RunbookRef(
    name="test",
    version="1.0.0",
    digest="sha256:" + "0" * 64,
    title="A test",
    stage=Stage.CONTAINMENT,
    risk=Risk.MEDIUM,
    owner="testers",
)


def call(verb: str, late: Sequence[str] = (), **args: JsonValue) -> PlannedCall:
    """Give a call of the world."""
    kind = WORLD.action(f"world.{verb}")
    return PlannedCall(action=f"world.{verb}", args=args, late=tuple(late), effect=kind.effect)


def check(expect: str, retries: int = 0) -> PlannedCheck:
    """Give a reading of the world that must satisfy an expression."""
    return PlannedCheck(
        action="world.read", args={}, effect=Effect.READ, expect=expect, retries=retries, delay_ms=1
    )


def action(
    path: str,
    verb: str = "once",
    *,
    hosts: Sequence[str] = ("a",),
    verify: PlannedCheck | None = None,
    undo: PlannedCall | None = None,
    capture: PlannedCall | None = None,
    when: str | None = None,
    loop: JsonValue = None,
    late: Sequence[str] = (),
    options: StepOptions | None = None,
    notify: Sequence[str] = (),
    **args: JsonValue,
) -> PlannedAction:
    """Give an action step; without arguments it marks the world with its own path."""
    given = args or ({} if verb == "read" else {"word": f"w{path}"})
    one = call(verb, late, **given)
    known = isinstance(loop, list)
    targets = tuple(
        TargetCalls(
            target=host,
            calls=(one,),
            items=tuple(loop) if known else None,
            verify=(verify,) if verify else (),
            undo=(undo,) if undo else (),
            capture=(capture,) if capture else (),
        )
        for host in hosts
    )
    return PlannedAction(
        path=path,
        name=f"Step {path}",
        when=when,
        action=one.action,
        targets=targets,
        loop=loop,
        options=options or StepOptions(delay_ms=1),
        notify=tuple(notify),
    )


def gate(
    path: str,
    *,
    role: str = "change_manager",
    count: int = 1,
    expires_ms: int = 60_000,
    on_timeout: OnTimeout = OnTimeout.FAIL,
    when: str | None = None,
) -> PlannedGate:
    """Give a gate."""
    return PlannedGate(
        path=path,
        name=f"Gate {path}",
        when=when,
        change="emergency",
        approvals=(Needed(role=role, count=count),),
        expires_ms=expires_ms,
        on_timeout=on_timeout,
    )


def manual(
    path: str, role: str | None = "service_desk", instructions: str = "Tell the desk"
) -> PlannedManual:
    """Give a manual step."""
    return PlannedManual(path=path, name=f"Manual {path}", role=role, instructions=instructions)


def block(
    path: str, steps: Sequence[Node], rescue: Sequence[Node] = (), always: Sequence[Node] = ()
) -> PlannedBlock:
    """Give a block."""
    return PlannedBlock(
        path=path, name=f"Block {path}", block=tuple(steps), rescue=tuple(rescue), always=tuple(always)
    )


def a_plan(
    world: Path,
    *nodes: Node,
    hosts: Sequence[str] = ("a",),
    failures: int = 0,
    inputs: dict[str, JsonValue] | None = None,
    handlers: Sequence[PlannedAction] = (),
    timeout_ms: int = 4 * 3_600_000,
) -> Plan:
    """Give a plan over hosts that all act on one world."""
    return Plan(
        runbook=RUNBOOK,
        inputs=inputs or {},
        targets=tuple(
            PlannedTarget(name=host, vars={"world": str(world), "colour": f"c{host}"}) for host in hosts
        ),
        groups={"all": tuple(hosts)},
        connectors={"world": "1"},
        limits=Limits(failures=failures),
        max_failures=failures,
        nodes=tuple(nodes),
        handlers=tuple(handlers),
        timeout_ms=timeout_ms,
    )


def at_risk(plan: Plan, risk: Risk) -> Plan:
    """Give the same plan of another risk."""
    changed = plan.model_copy(update={"runbook": plan.runbook.model_copy(update={"risk": risk})})
    return Plan.decode(changed.encode())


def serial(
    path: str,
    batches: Sequence[Sequence[str]],
    *verbs: str,
    pause_ms: int = 0,
    max_failures: int | None = None,
    **args: JsonValue,
) -> PlannedSerial:
    """Give the same steps on one batch of hosts after the other."""
    blocks = [
        block(
            f"{path}.batch.{number}",
            [
                action(f"{path}.batch.{number}.block.{step}", verb, hosts=hosts, **args)
                for step, verb in enumerate(verbs or ("once",), 1)
            ],
        )
        for number, hosts in enumerate(batches, 1)
    ]
    return PlannedSerial(
        path=path,
        name=f"Serial {path}",
        batches=tuple(blocks),
        pause_ms=pause_ms,
        max_failures=max_failures,
    )


def parallel(
    path: str,
    *branches: Node,
    on_failure: Literal["stop", "finish"] = "stop",
    max_failures: int = 0,
) -> PlannedParallel:
    """Give branches; their paths are theirs to get right."""
    return PlannedParallel(
        path=path,
        name=f"Parallel {path}",
        branches=branches,
        on_failure=on_failure,
        max_failures=max_failures,
    )


def include(
    path: str,
    *steps: Node,
    inputs: dict[str, JsonValue] | None = None,
    vars_: dict[str, JsonValue] | None = None,
    when: str | None = None,
) -> PlannedInclude:
    """Give another runbook in this place."""
    return PlannedInclude(
        path=path,
        name=f"Include {path}",
        when=when,
        runbook=RUNBOOK,
        inputs=inputs or {},
        vars=vars_ or {},
        steps=steps,
    )
