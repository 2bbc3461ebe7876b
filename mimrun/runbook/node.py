"""Nodes: what a plan is made of, each step with everything that is known of it before the run."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Annotated, Final, Literal, TypeAlias, assert_never

from pydantic import Field, JsonValue, SerializerFunctionWrapHandler, model_serializer

from mimrun.connector import Effect
from mimrun.runbook.model import Evidence, Needed, OnTimeout, Part, Risk, Stage

_UNUSED: Final = frozenset({"checklist", "second", "remind_ms"})
"""Fields of a manual step that are not written where they say nothing."""
_HANDLER: Final = re.compile(r"(?:(?P<around>.+)\.)?(?P<own>h\d+)(?:\.batch\.\d+)?")


class RunbookRef(Part):
    """Which runbook, exactly."""

    name: str
    version: str
    digest: str
    title: str
    stage: Stage
    risk: Risk
    owner: str


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
    """How an action step is carried out: the author's keywords, with durations in milliseconds.

    Arguments:
        timeout_ms: how long one attempt may take.
        deadline_ms: how long all attempts of a cell may take together, from the first intent on.
        max_failures: how many of this step's hosts may fail; None leaves it to the run's limit.
        revert_after_ms: so long after the outcome, what was done is taken back.
        check_mode: False for a reading that is made also when a plan is only checked.
    """

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
    deadline_ms: int | None = None
    max_failures: int | None = None
    revert_after_ms: int | None = None
    check_mode: bool = True


class TargetCalls(Part):
    """What an action step does on one target.

    Arguments:
        target: the inventory name.
        calls: one for each item of the loop; just one where there is no loop, or its list is late.
        items: the loop's items where they are known, one for each call.
        verify, undo, capture: as the author gave them, for each call.
        compare: in an undo plan, the reading that tells whether the target is still as the run left it.
        left: in an undo plan, the entries of the log with what that reading said before the run and when
            the run had left it.
        given: in an undo plan, what calls that wait for a secret refer to besides: what the run found out.
    """

    target: str
    calls: tuple[PlannedCall, ...]
    items: tuple[JsonValue, ...] | None = None
    verify: tuple[PlannedCheck, ...] = ()
    undo: tuple[PlannedCall, ...] = ()
    capture: tuple[PlannedCall, ...] = ()
    compare: PlannedCall | None = None
    left: JsonValue = None
    given: dict[str, JsonValue] = {}


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
        notify: paths of the handlers that follow where this step changed something.
        undoes: in an undo plan, what is taken back: step, iteration and target of the run that did it.
    """

    kind: Literal["action"] = "action"
    action: str
    targets: tuple[TargetCalls, ...]
    loop: JsonValue = None
    options: StepOptions = StepOptions()
    notify: tuple[str, ...] = ()
    undoes: str = ""


class PlannedGate(PlannedNode):
    """A place where people must agree."""

    kind: Literal["gate"] = "gate"
    change: str
    approvals: tuple[Needed, ...]
    expires_ms: int
    on_timeout: OnTimeout


class PlannedManual(PlannedNode):
    """Work that a person does and signs for.

    Arguments:
        checklist: what they tick before they sign.
        second: the role of the second person who confirms it, `anybody`, or "" where none is needed.
        remind_ms: after so long people are reminded, again and again; 0 for never.
    """

    kind: Literal["manual"] = "manual"
    role: str | None
    instructions: str
    late: tuple[str, ...] = ()
    evidence: dict[str, Evidence] = {}
    register_: str | None = Field(None, alias="register")
    checklist: tuple[str, ...] = ()
    second: str = ""
    remind_ms: int = 0

    @model_serializer(mode="wrap")
    def _as_before(self, write: SerializerFunctionWrapHandler) -> dict[str, JsonValue]:
        """Leave out what is not used: plans of before keep their digest, and the approvals for it."""
        data: dict[str, JsonValue] = write(self)
        return {name: value for name, value in data.items() if value or name not in _UNUSED}


class PlannedBlock(PlannedNode):
    """Steps that belong together."""

    kind: Literal["block"] = "block"
    block: tuple[Node, ...]
    rescue: tuple[Node, ...] = ()
    always: tuple[Node, ...] = ()


class PlannedSerial(PlannedNode):
    """Steps that are done on a few hosts first and on more as it goes well, one batch after the other.

    Arguments:
        batches: a block for each batch ("3.batch.1"), with that batch's hosts only.
        pause_ms: how long to wait between two batches.
        max_failures: how many hosts of all batches may fail; None leaves it to the run's limit.
    """

    kind: Literal["serial"] = "serial"
    batches: tuple[PlannedBlock, ...]
    pause_ms: int = 0
    max_failures: int | None = None


class PlannedParallel(PlannedNode):
    """Branches that are worked on at the same time, until all of them are over.

    Arguments:
        branches: any nodes but gates and manual steps ("4.branch.2").
        on_failure: `stop` begins no further step in the other branches once too many have failed;
            `finish` lets them come to their end first.
        max_failures: how many branches may fail.
    """

    kind: Literal["parallel"] = "parallel"
    branches: tuple[Node, ...]
    on_failure: Literal["stop", "finish"] = "stop"
    max_failures: int = 0


class PlannedInclude(PlannedNode):
    """Another runbook, pinned, with inputs of its own; what it registers stays within it.

    Arguments:
        inputs, vars: what its templates see instead of the outer ones; a secret is a reference.
        max_failures: how many hosts may fail inside; None leaves it to the limit around it.
        steps: its nodes ("5.include.1").
    """

    kind: Literal["include"] = "include"
    runbook: RunbookRef
    inputs: dict[str, JsonValue] = {}
    vars: dict[str, JsonValue] = {}
    max_failures: int | None = None
    steps: tuple[Node, ...]


Node: TypeAlias = Annotated[
    PlannedAction
    | PlannedGate
    | PlannedManual
    | PlannedBlock
    | PlannedSerial
    | PlannedParallel
    | PlannedInclude,
    Field(discriminator="kind"),
]


Leaf: TypeAlias = PlannedAction | PlannedGate | PlannedManual
"""A node that is done by itself, and not by way of its parts."""


def parts_of(node: Node) -> tuple[Node, ...]:
    """Give the nodes that a node is made of, in the order in which they are written."""
    match node:
        case PlannedAction() | PlannedGate() | PlannedManual():
            return ()
        case PlannedBlock():
            return (*node.block, *node.rescue, *node.always)
        case PlannedSerial():
            return node.batches
        case PlannedParallel():
            return node.branches
        case PlannedInclude():
            return node.steps
        case _:
            assert_never(node)


def handler_place(path: str) -> tuple[str, str]:
    """Say what a handler follows, and which one of its runbook it is; "" twice for what is no handler.

    "h1" and, in batches of its own, "h1.batch.2" follow the last step: ("", "h1"). "3.batch.1.h1" follows a
    batch: ("3.batch.1", "h1"). "5.include.h1" follows the steps of an included runbook: ("5.include", "h1").
    """
    found = _HANDLER.fullmatch(path)
    return (found["around"] or "", found["own"]) if found else ("", "")


def inside_of(node: Node) -> str:
    """Give what the paths of handlers begin with that follow a node: a batch, or an included runbook."""
    return f"{node.path}.include" if isinstance(node, PlannedInclude) else node.path


def with_parts(node: Node, change: Callable[[Node], Node]) -> Node:
    """Give the node with every part of it changed; a node without parts is given back as it is."""

    def each(nodes: Sequence[Node]) -> tuple[Node, ...]:
        return tuple(change(part) for part in nodes)

    match node:
        case PlannedAction() | PlannedGate() | PlannedManual():
            return node
        case PlannedBlock():
            changed = {"block": each(node.block), "rescue": each(node.rescue), "always": each(node.always)}
            return node.model_copy(update=changed)
        case PlannedSerial():
            return node.model_copy(update={"batches": each(node.batches)})
        case PlannedParallel():
            return node.model_copy(update={"branches": each(node.branches)})
        case PlannedInclude():
            return node.model_copy(update={"steps": each(node.steps)})
        case _:
            assert_never(node)


PlannedBlock.model_rebuild()
PlannedSerial.model_rebuild()
PlannedParallel.model_rebuild()
PlannedInclude.model_rebuild()
