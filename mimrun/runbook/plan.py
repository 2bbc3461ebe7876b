"""The plan: a runbook with inputs, targets and templates filled in, frozen, with a digest.

Everything that a run does comes from its plan: after it is frozen, neither the runbook nor the
inventory is read again. What people approve is a digest of it, so the plan holds no secret (only
references), no clock time and nothing that differs between two machines.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, JsonValue

from mimrun import canonical
from mimrun.connector import Effect
from mimrun.runbook.model import Evidence, Limits, Needed, OnTimeout, Part, Risk, Stage


class PlannedCall(Part):
    """One action with its arguments, as far as they are known.

    Arguments:
        action: `<connector>.<verb>`.
        args: rendered where `late` is empty; else the author's source text.
        late: the names that the arguments still wait for: registered answers, `item`, secret inputs.
        effect: the class that holds for this call.
    """

    action: str
    args: dict[str, JsonValue]
    late: tuple[str, ...] = ()
    effect: Effect


class PlannedCheck(PlannedCall):
    """A call whose answer must satisfy an expression."""

    expect: str | None = None
    retries: int = 0
    delay_ms: int = 1000


class StepOptions(Part):
    """How an action step is carried out: the author's keywords, with durations in milliseconds."""

    register_: str | None = Field(None, alias="register")
    retries: int = 0
    until: str | None = None
    delay_ms: int = 1000
    timeout_ms: int = 300_000
    expect: str | None = None
    become: str | None = None
    environment: dict[str, str] = {}
    ignore_errors: bool = False
    irreversible: bool = False
    no_log: bool = False
    effect_reason: str = ""


class TargetCalls(Part):
    """What an action step does on one target.

    Arguments:
        target: the inventory name.
        calls: one for each item of the loop; just one where there is no loop, or its list is late.
        items: the loop's items where they are known, one for each call.
        verify, undo, capture: as the author gave them, for each call.
    """

    target: str
    calls: tuple[PlannedCall, ...]
    items: tuple[JsonValue, ...] | None = None
    verify: tuple[PlannedCheck, ...] = ()
    undo: tuple[PlannedCall, ...] = ()
    capture: tuple[PlannedCall, ...] = ()


class PlannedNode(Part):
    """What every node of the plan has.

    Arguments:
        path: where the step stands: "3", "3.block.1", "3.rescue.2"; unique in the plan.
        when: the author's condition, evaluated when the step is reached; None where there is none.
    """

    path: str
    name: str
    when: str | None = None


class PlannedAction(PlannedNode):
    """An action on some targets.

    Arguments:
        undoes: in an undo plan, what is taken back: step, iteration and target of the run that did it.
    """

    kind: Literal["action"] = "action"
    action: str
    targets: tuple[TargetCalls, ...]
    loop: JsonValue = None
    options: StepOptions = StepOptions()
    undoes: str = ""


class PlannedGate(PlannedNode):
    """A place where people must agree."""

    kind: Literal["gate"] = "gate"
    change: str
    approvals: tuple[Needed, ...]
    expires_ms: int
    on_timeout: OnTimeout


class PlannedManual(PlannedNode):
    """Work that a person does and signs for."""

    kind: Literal["manual"] = "manual"
    role: str | None
    instructions: str
    late: tuple[str, ...] = ()
    evidence: dict[str, Evidence] = {}
    register_: str | None = Field(None, alias="register")


class PlannedBlock(PlannedNode):
    """Steps that belong together."""

    kind: Literal["block"] = "block"
    block: tuple[Node, ...]
    rescue: tuple[Node, ...] = ()
    always: tuple[Node, ...] = ()


Node: TypeAlias = Annotated[
    PlannedAction | PlannedGate | PlannedManual | PlannedBlock, Field(discriminator="kind")
]


class PlannedTarget(Part):
    """A target and the variables that the inventory gave it when the plan was made."""

    name: str
    vars: dict[str, JsonValue]


class RunbookRef(Part):
    """Which runbook, exactly."""

    name: str
    version: str
    digest: str
    title: str
    stage: Stage
    risk: Risk
    owner: str


class Plan(Part):
    """A runbook, ready to run.

    Arguments:
        inputs: the values; a secret input is {"secret": "env:NAME"}, never the value.
        vars: the runbook's constants.
        targets: every host that any step may touch, in inventory order.
        groups: the inventory's groups, cut down to these targets.
        connectors: name → version of every connector used.
        undo_of: the run that this plan takes back, where it is an undo plan.
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
    nodes: tuple[Node, ...]
    undo_of: str | None = None

    @cached_property
    def digest(self) -> str:
        """`sha256:<hex>` over the canonical JSON of the plan."""
        return canonical.digest_bytes(self.encode())

    def encode(self) -> bytes:
        """Give the plan's canonical bytes, as they are stored and approved."""
        return canonical.encode(self.model_dump(mode="json", by_alias=True))

    @classmethod
    def decode(cls, data: bytes) -> Plan:
        """Read a plan back from its bytes."""
        return cls.model_validate_json(data)

    def walk(self) -> Iterator[Node]:
        """Give every node in the order in which it is written, blocks before their parts."""
        yield from _walk(self.nodes)

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
                if inside and not self._is_conditional(node.path):
                    between.append(node.path)
                inside = inside or node.path == gate
            elif inside and not isinstance(node, PlannedBlock) and _all_bypassed(node.path, between):
                segment.append(node)
        return tuple(segment)

    def _is_conditional(self, path: str) -> bool:
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


def _walk(nodes: tuple[Node, ...]) -> Iterator[Node]:
    for node in nodes:
        yield node
        if isinstance(node, PlannedBlock):
            yield from _walk(node.block)
            yield from _walk(node.rescue)
            yield from _walk(node.always)


PlannedBlock.model_rebuild()
Plan.model_rebuild()
Segment.model_rebuild()
