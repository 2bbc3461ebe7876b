"""Plans of every shape, drawn from a seed: all effect classes, targets, loops, looks before and after, people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random

from builders.plans import a_plan, action, block, call, check, gate, manual
from pydantic import JsonValue

from mimrun.runbook.node import Node, StepOptions
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
    plan = a_plan(world, *nodes, hosts=HOSTS, failures=draw.choice((0, 0, 1)))
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
    return _action(draw, path)


def _action(draw: Random, path: str) -> Node:
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
        hosts=HOSTS if draw.random() < 0.25 else HOSTS[:1],
        loop=loop,
        capture=look if verb != "read" and not options.no_log and draw.random() < 0.1 else None,
        verify=check("not result.failed", retries=1) if draw.random() < 0.1 else None,
        options=options,
        **given,
    )
