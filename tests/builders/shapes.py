"""Plans of every shape, drawn from a seed: all effect classes, targets, loops, looks before and after, people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Literal

from builders.plans import a_plan, action, block, call, check, gate, include, manual, parallel
from pydantic import JsonValue

from mimrun.runbook.node import Node, PlannedAction, PlannedSerial, StepOptions
from mimrun.runbook.plan import Plan

HOSTS = ("a", "b")
VERBS = ("once", "probe", "idempotent", "read")
ANSWERS = (*("ok",) * 16, "failed", "lost", "lost-before", "unreachable")
"""What the world answers, as a step asks for it; a simulator does not listen and throws dice instead."""


def shape(seed: int, world: Path, *, counts: Sequence[int] = (1, 1, 1, 1, 2, 2, 3)) -> Plan:
    """Draw a plan; the same seed gives the same one.

    Arguments:
        world: the file that its steps act on.
        counts: how many steps it may have; drawn from.
    """
    draw = Random(f"shape {seed}")
    nodes: list[Node] = [_node(draw, str(number + 1)) for number in range(draw.choice(counts))]
    handler = action("h1", draw.choice(VERBS[:3]), hosts=HOSTS, word="wh1")
    plan = a_plan(world, *nodes, hosts=HOSTS, failures=draw.choice((0, 0, 1)), handlers=[handler])
    locks = draw.choice(((), (), ("host/a", "host/b"), ("cluster/x", "host/a", "host/b")))
    return plan.model_copy(update={"locks": locks})


def _node(draw: Random, path: str) -> Node:
    kind = draw.random()
    if kind < 0.09:
        return gate(path, expires_ms=draw.choice((60_000, 600_000)))
    if kind < 0.15:
        return manual(path)
    if kind < 0.27:
        inside = [_action(draw, f"{path}.block.{n + 1}") for n in range(draw.randint(1, 2))]
        rescue = [_action(draw, f"{path}.rescue.1")] if draw.random() < 0.6 else []
        always = [_action(draw, f"{path}.always.1")] if draw.random() < 0.4 or not rescue else []
        return block(path, inside, rescue, always)
    if kind < 0.33:
        return _serial(draw, path)
    if kind < 0.43:
        return _parallel(draw, path)
    if kind < 0.46:
        return include(path, *(_action(draw, f"{path}.include.{n + 1}") for n in range(draw.randint(1, 2))))
    return _action(draw, path)


def _serial(draw: Random, path: str) -> Node:
    batches = [
        block(
            f"{path}.batch.{number}",
            [_action(draw, f"{path}.batch.{number}.block.{n}", [host]) for n in range(1, draw.randint(2, 3))],
        )
        for number, host in enumerate(HOSTS, 1)
    ]
    budget = draw.choice((None, None, 0, 1))
    pause = draw.choice((0, 0, 2000))
    name = f"Serial {path}"
    return PlannedSerial(path=path, name=name, batches=tuple(batches), pause_ms=pause, max_failures=budget)


def _parallel(draw: Random, path: str) -> Node:
    branches = [
        block(
            f"{path}.branch.{number}",
            [
                _action(draw, f"{path}.branch.{number}.block.{n}", [host])
                for n in range(1, draw.randint(2, 3))
            ],
        )
        for number, host in enumerate(HOSTS, 1)
    ]
    on_failure: Literal["stop", "finish"] = draw.choice(("stop", "finish"))
    return parallel(path, *branches, on_failure=on_failure, max_failures=draw.choice((0, 0, 1)))


def _action(draw: Random, path: str, hosts: Sequence[str] = ()) -> PlannedAction:
    verb = draw.choice(VERBS)
    loop: JsonValue = ["x", "y"] if draw.random() < 0.1 else None
    given: dict[str, JsonValue] = (
        {} if verb == "read" else {"word": f"w{path}", "answer": draw.choice(ANSWERS)}
    )
    look = call("read")
    options = StepOptions(
        delay_ms=1,
        retries=draw.choice((0, 0, 0, 1, 2)),
        ignore_errors=draw.random() < 0.05,
        no_log=draw.random() < 0.05,
    )
    return action(
        path,
        verb,
        hosts=hosts or (HOSTS if draw.random() < 0.25 else HOSTS[:1]),
        notify=("h1",) if draw.random() < 0.1 else (),
        loop=loop,
        capture=look if verb != "read" and not options.no_log and draw.random() < 0.1 else None,
        verify=check("not result.failed", retries=1) if draw.random() < 0.1 else None,
        options=options,
        **given,
    )
