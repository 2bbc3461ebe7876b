"""The plan: a runbook with inputs, targets and templates filled in, frozen, with a digest.

Everything that a run does comes from its plan: after it is frozen, neither the runbook nor the
inventory is read again. What people approve is a digest of it, so the plan holds no secret (only
references), no clock time and nothing that differs between two machines.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Literal

from pydantic import JsonValue

from mimrun import canonical
from mimrun.runbook.model import Limits, Part
from mimrun.runbook.node import (
    Node,
    PlannedAction,
    PlannedGate,
    PlannedManual,
    RunbookRef,
    handler_place,
    inside_of,
    parts_of,
)


class PlannedTarget(Part):
    """A target and the variables that the inventory gave it when the plan was made."""

    name: str
    vars: dict[str, JsonValue]


class Plan(Part):
    """A runbook, ready to run.

    Arguments:
        inputs: the values; a secret input is {"secret": "env:NAME"}, never the value.
        vars: the runbook's constants.
        targets: every host that any step may touch, in inventory order.
        groups: the inventory's groups, cut down to these targets.
        connectors: name → version of every connector used.
        max_failures: how many hosts may fail over the whole run; the run stops when there are more.
        handlers: what follows on the hosts where something changed: behind the last step ("h1", "h2", …), and
            behind each batch ("3.batch.1.h1") and included runbook ("5.include.h1") that notified it.
        timeout_ms: how long the run may be at work; waiting for people does not count.
        undo_of: the run that this plan takes back, where it is an undo plan.
        retry_of: the run whose failed hosts this plan is for, where it is a retry.
    """

    format: Literal["mimplan/1"] = "mimplan/1"
    runbook: RunbookRef
    inputs: dict[str, JsonValue]
    vars: dict[str, JsonValue] = {}
    targets: tuple[PlannedTarget, ...]
    groups: dict[str, tuple[str, ...]]
    connectors: dict[str, str]
    limits: Limits
    locks: tuple[str, ...] = ()
    max_failures: int = 0
    nodes: tuple[Node, ...]
    handlers: tuple[PlannedAction, ...] = ()
    timeout_ms: int = 4 * 3_600_000
    undo_of: str | None = None
    retry_of: str | None = None

    @cached_property
    def digest(self) -> str:
        """`sha256:<hex>` over the canonical JSON of the plan."""
        return canonical.digest_bytes(self.encode())

    @cached_property
    def sources(self) -> Mapping[str, str]:
        """The runbooks that the plan was made of, by digest: no part of it, and only there where it was just made."""
        return {}

    def with_sources(self, sources: Mapping[str, str]) -> Plan:
        """Give the same plan together with the text of its runbooks, by digest."""
        copy = self.model_copy()
        copy.__dict__["sources"] = dict(sources)
        return copy

    def encode(self) -> bytes:
        """Give the plan's canonical bytes, as they are stored and approved."""
        return canonical.encode(self.model_dump(mode="json", by_alias=True))

    @classmethod
    def decode(cls, data: bytes) -> Plan:
        """Read a plan back from its bytes."""
        return cls.model_validate_json(data)

    @classmethod
    def frozen(cls, data: bytes, digest: str) -> Plan | None:
        """Read a plan back from the bytes that were frozen under a digest; None where they are others.

        What `encode` has given need not be encoded again to know its digest, which takes long for a plan of
        ten thousand steps.
        """
        if canonical.digest_bytes(data) != digest:
            return None
        plan = cls.decode(data)
        plan.__dict__["digest"] = digest
        return plan

    def walk(self) -> Iterator[Node]:
        """Give every node in the order in which it is written, blocks before their parts."""
        yield from self._walk(self.nodes)
        yield from self.handlers_behind("")

    def _walk(self, nodes: Sequence[Node]) -> Iterator[Node]:
        for node in nodes:
            yield node
            yield from self._walk(parts_of(node))
            yield from self.handlers_behind(inside_of(node))

    def handlers_behind(self, around: str) -> tuple[PlannedAction, ...]:
        """Give the handlers that follow a part of the plan, in the order in which they are done.

        Arguments:
            around: as `inside_of` names it: a batch, an included runbook, or "" for the plan as a whole.
        """
        return self._behind.get(around, ())

    @cached_property
    def _behind(self) -> Mapping[str, tuple[PlannedAction, ...]]:
        found: dict[str, tuple[PlannedAction, ...]] = {}
        for handler in self.handlers:
            around = handler_place(handler.path)[0]
            found[around] = (*found.get(around, ()), handler)
        return found

    def node(self, path: str) -> Node:
        """Give the node at a path. Raises KeyError where there is none."""
        return self._by_path[path]

    @cached_property
    def _by_path(self) -> Mapping[str, Node]:
        return {node.path: node for node in self.walk()}

    def vars_of(self, target: str) -> Mapping[str, JsonValue]:
        """Give the frozen inventory variables of a target. Raises KeyError for a name not in the plan."""
        return self._by_target[target]

    @cached_property
    def _by_target(self) -> Mapping[str, Mapping[str, JsonValue]]:
        return {target.name: target.vars for target in self.targets}

    def segment_after(self, gate: str) -> tuple[Node, ...]:
        """Give what a gate lets through, in the order of the text.

        That is every action and manual step that may be reached from it without passing another gate.
        """
        segment: list[Node] = []
        between: list[str] = []
        inside = False
        for node in self.walk():
            if isinstance(node, PlannedGate):
                if inside and not self.is_conditional(node.path):
                    between.append(node.path)
                inside = inside or node.path == gate
            elif (
                inside
                and isinstance(node, PlannedAction | PlannedManual)
                and _all_bypassed(node.path, between)
            ):
                segment.append(node)
        return tuple(segment)

    def is_conditional(self, path: str) -> bool:
        """Say whether a condition, its own or that of a block around it, can leave a node out."""
        marks = path.split(".")
        return any(self.node(".".join(marks[:end])).when for end in range(1, len(marks) + 1, 2))


def _all_bypassed(step: str, gates: Sequence[str]) -> bool:
    return all(may_bypass(step, gate) for gate in gates)


def may_bypass(step: str, gate: str) -> bool:
    """Say whether a step that is written behind a gate may be reached although the gate was not.

    That is so for two reasons only: the gate is in a rescue part, which is done only after a failure; or
    the step is in the rescue or always part of the block that the gate is in, which a failure in front of
    the gate leads to.

    Arguments:
        step: the path of the step.
        gate: the path of a gate before it.
    """
    marks = gate.split(".")
    for at, mark in enumerate(marks):
        around = ".".join(marks[:at])
        if mark == "rescue" and not step.startswith(f"{around}.rescue."):
            return True
        if mark == "block" and step.startswith((f"{around}.rescue.", f"{around}.always.")):
            return True
    return False


class Segment(Part):
    """What approvers of a gate see and sign: the steps behind it, rendered with the facts known by then.

    Arguments:
        plan: the digest of the whole plan.
        run: the run that asks, so that an approval counts for this run only.
        gate: the path of the gate.
        facts: digest over the recorded answers that the rendering used.
    """

    format: Literal["mimsegment/1"] = "mimsegment/1"
    plan: str
    run: str
    gate: str
    facts: str
    nodes: tuple[Node, ...]

    @cached_property
    def digest(self) -> str:
        """`sha256:<hex>` over the canonical JSON of the segment."""
        return canonical.digest_bytes(self.encode())

    def encode(self) -> bytes:
        """Give the segment's canonical bytes."""
        return canonical.encode(self.model_dump(mode="json", by_alias=True))

    @classmethod
    def decode(cls, data: bytes) -> Segment:
        """Read a segment back from its bytes."""
        return cls.model_validate_json(data)


Plan.model_rebuild()
Segment.model_rebuild()
