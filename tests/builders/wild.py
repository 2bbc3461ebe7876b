"""Plans that nobody would write, drawn from a seed: batches, branches, blocks, includes and handlers within each other.

Nothing in them waits for people, and no answer is lost: what comes of one is the same however often it is begun.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from builders.plans import a_plan, action, block, call, check, include, parallel

from mimrun.connector import Effect
from mimrun.runbook.node import Node, PlannedAction, PlannedBlock, PlannedParallel, PlannedSerial, StepOptions
from mimrun.runbook.plan import Plan

HOSTS = ("a", "b", "c")
GROUPS = ([["a"], ["b", "c"]], [["a"], ["b"], ["c"]], [["a", "b"], ["c"]])
ANSWERS = (*("ok",) * 5, "failed", "unreachable")
"""What the world answers on one of the hosts; the others are well."""
LOCKS = ("host/a", "host/b", "host/c", "x")


def wild_plan(seed: int, world: Path) -> Plan:
    """Draw a plan; the same seed gives the same one.

    Arguments:
        world: the file that its steps act on.
    """
    wild = _Wild(Random(f"wild {seed}"))
    draw = wild.draw
    nodes = [wild.node(str(number)) for number in range(1, draw.randint(2, 4))]
    handlers = [*wild.handlers, wild.action("h1", HOSTS), wild.action("h2", HOSTS)]
    plan = a_plan(world, *nodes, hosts=HOSTS, failures=draw.choice((0, 1, 1, 2)), handlers=handlers)
    return plan.model_copy(update={"locks": LOCKS})


def is_a_race(plan: Plan) -> bool:
    """Say whether what is done behind branches hangs on which was faster: one that fails leaves off hosts, or the others."""
    branches = [node for node in plan.walk() if isinstance(node, PlannedParallel)]
    return any(node.on_failure == "stop" or node.max_failures for node in branches)


def may_be_repeated(plan: Plan) -> frozenset[str]:
    """Give the steps of a plan that a crash may let happen twice, since that does no harm."""
    return frozenset(
        node.path
        for node in plan.walk()
        if isinstance(node, PlannedAction)
        and any(one.effect is Effect.IDEMPOTENT for target in node.targets for one in target.calls)
    )


class _Wild:
    def __init__(self, draw: Random) -> None:
        self.draw = draw
        self.handlers: list[PlannedAction] = []

    def node(self, path: str, depth: int = 0) -> Node:
        """Draw a node of any kind."""
        kind = self.draw.random()
        if depth >= 2 or kind < 0.4:
            return self.action(path, notify=self._told())
        if kind < 0.6:
            return self._block(path, depth)
        if kind < 0.75:
            return self._serial(path)
        if kind < 0.9:
            return self._branches(path)
        inner = [self.action(f"{path}.include.{n}", notify=self._told(f"{path}.include")) for n in (1, 2)]
        self._handler(f"{path}.include.h1", HOSTS)
        return include(path, *inner)

    def _block(self, path: str, depth: int) -> PlannedBlock:
        count, draw = self.draw.randint(1, 2), self.draw
        steps = [self.node(f"{path}.block.{n}", depth + 1) for n in range(1, count + 1)]
        rescue = [self.action(f"{path}.rescue.1")] if draw.random() < 0.6 else []
        always = [self.action(f"{path}.always.1")] if draw.random() < 0.4 else []
        return block(path, steps, rescue, always)

    def _serial(self, path: str) -> PlannedSerial:
        batches = []
        for number, hosts in enumerate(self.draw.choice(GROUPS), 1):
            at = f"{path}.batch.{number}"
            steps = range(1, self.draw.randint(1, 2) + 1)
            batches.append(
                block(at, [self.action(f"{at}.block.{n}", hosts, notify=self._told(at)) for n in steps])
            )
            self._handler(f"{at}.h1", hosts)
        most = self.draw.choice((None, 0, 1, 2))
        return PlannedSerial(path=path, name=f"Serial {path}", batches=tuple(batches), max_failures=most)

    def _branches(self, path: str) -> PlannedParallel:
        branches = []
        for number in (1, 2):
            at, steps = f"{path}.branch.{number}", range(1, self.draw.randint(1, 2) + 1)
            branches.append(block(at, [self.action(f"{at}.block.{n}", notify=self._told()) for n in steps]))
        stop = self.draw.random() < 0.5
        return parallel(
            path, *branches, on_failure="stop" if stop else "finish", max_failures=self.draw.choice((0, 1))
        )

    def _told(self, around: str = "") -> list[str]:
        names = (f"{around}.h1",) if around else ("h1", "h2")
        return [name for name in names if self.draw.random() < 0.3]

    def _handler(self, path: str, hosts: Sequence[str]) -> None:
        self.handlers.append(self.action(path, hosts))

    def action(
        self, path: str, hosts: Sequence[str] | None = None, *, notify: Sequence[str] = ()
    ) -> PlannedAction:
        """Draw an action on some hosts."""
        draw = self.draw
        some = hosts or draw.sample(HOSTS, draw.randint(1, 3))
        verb = draw.choice(("once", "probe", "idempotent", "read"))
        loop: Any = ["x", "y"] if draw.random() < 0.2 else None
        options: dict[str, Any] = {"delay_ms": 1}
        options |= {"max_failures": draw.randint(0, 2)} if draw.random() < 0.2 else {}
        options |= {"ignore_errors": True} if draw.random() < 0.1 else {}
        options |= {"retries": 1} if draw.random() < 0.2 else {}
        options |= {"register": "r" + path.replace(".", "_")} if verb == "read" else {}
        acts = verb != "read"
        args, late = self._told_to_answer(path, loop=loop is not None) if acts else ({}, [])
        back = call("idempotent", word=f"u{path}") if acts and draw.random() < 0.15 else None
        return action(
            path,
            verb,
            hosts=[host for host in HOSTS if host in some],
            loop=loop,
            late=late,
            options=StepOptions(**options),
            notify=notify,
            when=f"inventory_hostname != '{draw.choice(HOSTS)}'" if draw.random() < 0.15 else None,
            capture=call("read") if back else None,
            undo=back,
            verify=check("result.words | length >= 0") if acts and draw.random() < 0.15 else None,
            **args,
        )

    def _told_to_answer(self, path: str, *, loop: bool) -> tuple[dict[str, Any], list[str]]:
        answer, where = self.draw.choice(ANSWERS), self.draw.choice(HOSTS)
        word = f"w{path}" + ("{{ item }}" if loop else "")
        said = f"{{{{ '{answer}' if colour == 'c{where}' else 'ok' }}}}"
        return {"word": word, "answer": said}, ["colour", *["item"] * loop]
