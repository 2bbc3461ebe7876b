"""Batches: which hosts are worked on together, and the steps of each batch.

A canary is a first batch of one host: `serial: [1, …]` with a `verify` that must hold before the next batch.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, assert_never

from mimrun.runbook.allowance import size_of
from mimrun.runbook.node import (
    Node,
    PlannedAction,
    PlannedBlock,
    PlannedGate,
    PlannedInclude,
    PlannedManual,
    PlannedParallel,
    PlannedSerial,
    TargetCalls,
    handler_place,
    parts_of,
)
from mimrun.runbook.pattern import LOCALHOSTS

Borders = tuple[Callable[[str], str | None], int]
"""The failure domain of a host, and of how many domains one batch may have hosts."""

_PARTS: Final = ("block", "rescue", "always")
_BATCH: Final = re.compile(r"\.batch\.\d+")


def cut(
    hosts: Sequence[str], sizes: Sequence[int | str], borders: Iterable[Borders] = ()
) -> list[tuple[str, ...]]:
    """Cut hosts into batches.

    Arguments:
        hosts: in the order of the inventory.
        sizes: of the first batch, the second, and so on; the last one holds for all that follow. A
            percentage is of all hosts, rounded down, and at least one host.
        borders: where given, the hosts of one domain come together, and a batch ends where the next host
            would be in one domain too many.
    """
    borders = tuple(borders)
    for domain, _ in reversed(borders):
        place = {name: number for number, name in enumerate(dict.fromkeys(map(domain, hosts)))}
        hosts = sorted(hosts, key=lambda host, place=place, domain=domain: place[domain(host)])  # type: ignore[misc]
    numbers = [size_of(size, len(hosts)) for size in sizes]
    rest, batches = deque(hosts), list[tuple[str, ...]]()
    while rest:
        size = numbers[min(len(batches), len(numbers) - 1)]
        batch = [rest.popleft()]
        while rest and len(batch) < size and _fits([*batch, rest[0]], borders):
            batch.append(rest.popleft())
        batches.append(tuple(batch))
    return batches


def _fits(batch: Sequence[str], borders: Iterable[Borders]) -> bool:
    return all(len({domain(host) for host in batch}) <= most for domain, most in borders)


def actions_in(node: Node) -> Iterator[PlannedAction]:
    """Give every action inside a node, or the node itself where it is one."""
    if isinstance(node, PlannedAction):
        yield node
    for part in parts_of(node):
        yield from actions_in(part)


def hosts_of(node: Node) -> frozenset[str]:
    """Give every host that a node works on, without this machine."""
    return frozenset(t.target for a in actions_in(node) for t in a.targets).difference(LOCALHOSTS)


def in_batches(
    node: PlannedAction | PlannedBlock,
    batches: Sequence[tuple[str, ...]],
    handlers: Sequence[PlannedAction] = (),
) -> tuple[PlannedSerial, tuple[PlannedAction, ...]]:
    """Give a node as a block for each batch, in which there are only the batch's hosts.

    Arguments:
        node: the step, planned on all of its hosts. A part of it that works on this machine is done with
            every batch; one that has no host in a batch is left out of it.
        batches: hosts that are worked on together; one batch without hosts where there are none.
        handlers: what follows each batch on its hosts, and what follows an included runbook in it.

    Returns:
        the batches, and the handlers of each of them.
    """
    made: list[PlannedBlock] = []
    followed: list[PlannedAction] = []
    every = (*actions_in(node), *handlers)
    by_host = {action.path: {t.target: t for t in action.targets} for action in every}
    for number, hosts in enumerate(batches, 1):
        path, name = f"{node.path}.batch.{number}", f"{node.name} (batch {number} of {len(batches)})"
        batch = _Batch((*hosts, *LOCALHOSTS), by_host, node.path, path, path)
        if isinstance(node, PlannedAction):
            batch = replace(batch, new=f"{path}.block.1")
            made.append(PlannedBlock(path=path, name=name, block=batch.parts([node])))
        elif isinstance(block := batch.node(node), PlannedBlock):
            made.append(block.model_copy(update={"name": name, "when": None}))
        followed += [h for h in batch.parts(handlers) if isinstance(h, PlannedAction)]
    # A condition of a step on hosts is asked host by host; one of a block stands before all of its batches.
    when = node.when if isinstance(node, PlannedBlock) else None
    serial = PlannedSerial(path=node.path, name=node.name, when=when, batches=tuple(made))
    return serial, tuple(followed)


@dataclass(frozen=True, slots=True)
class _Batch:
    """Cuts nodes down to the hosts of one batch, and gives them the paths that they have in it.

    Arguments:
        hosts: in the order in which they are worked on.
        by_host: what each action does on each of its hosts, by the action's path.
        old, new: what paths begin with outside the batch, and inside.
        around: the path of the batch, which its handlers follow.
    """

    hosts: tuple[str, ...]
    by_host: Mapping[str, Mapping[str, TargetCalls]]
    old: str
    new: str
    around: str

    def moved(self, path: str) -> str:
        """Give the path that a step or handler has in the batch."""
        if path != self.old and not path.startswith(f"{self.old}."):
            return f"{self.around}.{handler_place(path)[1]}"  # of the runbook that the batches are in
        return self.new + path.removeprefix(self.old)

    def parts(self, nodes: Iterable[Node]) -> tuple[Node, ...]:
        """Give what is left of some nodes."""
        return tuple(part for part in map(self.node, nodes) if part is not None)

    def node(self, node: Node) -> Node | None:
        """Give what is left of a node; None where nothing is."""
        path = self.moved(node.path)
        left: dict[str, tuple[object, ...]] = {}
        match node:
            case PlannedAction():
                calls = self.by_host[node.path]
                left = {"targets": tuple(calls[host] for host in self.hosts if host in calls)}
                node = node.model_copy(update={"notify": tuple(map(self.moved, node.notify))})
            case PlannedBlock():
                left = {key: self.parts(getattr(node, key)) for key in _PARTS}
            case PlannedParallel():
                left = {"branches": self.parts(node.branches)}
            case PlannedInclude():
                left = {"steps": self.parts(node.steps)}
            case PlannedSerial():
                left = {"batches": self.parts(node.batches)}
            case PlannedGate() | PlannedManual():
                return node.model_copy(update={"path": path})
            case _:
                assert_never(node)
        return node.model_copy(update={**left, "path": path}) if any(left.values()) else None


def step_of(path: str) -> str:
    """Give the path of a step without the number of its batch: "3.batch.*.block.1"."""
    return _BATCH.sub(".batch.*", path)


def together(nodes: Iterable[Node]) -> tuple[Node, ...]:
    """Give the steps of several batches as one: each step once, with the hosts of all batches.

    For people who read a plan: what is done is the same, and in which batches is said beside it.
    """
    groups: dict[str, list[Node]] = {}
    for node in nodes:
        groups.setdefault(step_of(node.path), []).append(node)
    return tuple(_merged(path, group) for path, group in groups.items())


def _merged(path: str, nodes: Sequence[Node]) -> Node:
    first = nodes[0]
    update: dict[str, object] = {"path": path}
    if isinstance(first, PlannedAction):
        update["targets"] = tuple(
            t for node in nodes if isinstance(node, PlannedAction) for t in node.targets
        )
    for key in (*_PARTS, "branches", "steps"):
        if hasattr(first, key):
            parts = together(part for node in nodes for part in getattr(node, key))
            update[key] = tuple(sorted(parts, key=lambda part: int(part.path.rpartition(".")[2])))
    return first.model_copy(update=update)


def written(nodes: Iterable[Node]) -> Iterator[Node]:
    """Give every node as often as the author wrote it: a step in batches once, with all of its hosts."""
    for node in nodes:
        yield node
        parts = parts_of(node)
        if isinstance(node, PlannedSerial):
            parts = tuple(part for batch in together(parts) for part in parts_of(batch))
        yield from written(parts)
