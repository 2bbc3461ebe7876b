"""Small plans, made by hand, for tests of what executes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

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
    PlannedManual,
    RunbookRef,
    StepOptions,
    TargetCalls,
)
from mimrun.runbook.plan import Plan, PlannedTarget


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
) -> Plan:
    """Give a plan over hosts that all act on one world."""
    return Plan(
        runbook=RunbookRef(
            name="test",
            version="1.0.0",
            digest="sha256:" + "0" * 64,
            title="A test",
            stage=Stage.CONTAINMENT,
            risk=Risk.HIGH,
            owner="testers",
        ),
        inputs=inputs or {},
        targets=tuple(
            PlannedTarget(name=host, vars={"world": str(world), "colour": f"c{host}"}) for host in hosts
        ),
        groups={"all": tuple(hosts)},
        connectors={"world": "1"},
        limits=Limits(failures=failures),
        nodes=tuple(nodes),
    )
