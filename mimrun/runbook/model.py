"""The runbook as its author wrote it: what the YAML may hold, and nothing else.

Every field here is a key of the language; the docstrings and descriptions become the JSON Schema and
the reference page. Templates and expressions are still text at this stage.
"""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue

from mimrun.connector import Effect
from mimrun.runbook.allowance import Allowance, Share, Size
from mimrun.runbook.duration import Duration

Slug: TypeAlias = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$", max_length=80)]
Identifier: TypeAlias = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]*$", max_length=60)]
Version: TypeAlias = Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$")]
Title: TypeAlias = Annotated[str, Field(min_length=1, max_length=200)]
Expression: TypeAlias = Annotated[str, Field(min_length=1, max_length=4000)]
"""A bare Jinja2 expression, without braces."""


class Part(BaseModel):
    """A piece of a runbook: frozen, and without room for keys nobody knows."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Stage(StrEnum):
    """Where in the life of an incident a runbook belongs."""

    IDENTIFICATION = "identification"
    CONTAINMENT = "containment"
    RESOLUTION = "resolution"
    MAINTENANCE = "maintenance"


class Risk(StrEnum):
    """How much harm the runbook can do when it is wrong."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class InputType(StrEnum):
    """The types of a runbook's inputs."""

    STRING = "string"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    DURATION = "duration"
    LIST = "list"
    SECRET = "secret"  # noqa: S105 - the name of a type


class Input(Part):
    """A typed value that the caller gives."""

    type: InputType = Field(InputType.STRING, description="The type of the value.")
    help: str = Field("", description="What the value is for, in a sentence.")
    default: JsonValue = Field(
        None, description="The value when none is given; without it the input is required."
    )
    required: bool = Field(True, description="False: the input may be left out and is then null.")
    pattern: str | None = Field(
        None, description="For strings and list items: a regular expression for the whole value."
    )
    choices: tuple[str, ...] = Field((), description="For strings and list items: the only values allowed.")
    minimum: int | None = Field(
        None, description="For integers: the smallest value; for lists: the fewest items."
    )
    maximum: int | None = Field(
        None, description="For integers: the largest value; for lists: the most items."
    )


class Domains(Part):
    """Failure domains: hosts that fail together, such as those of one zone or rack."""

    by: str = Field(
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", description="The inventory variable that names a host's domain."
    )
    at_once: int = Field(1, ge=1, description="Of so many domains hosts may be changed at the same time.")


class Limits(Part):
    """The blast-radius contract: a plan or a run beyond it is refused."""

    hosts: int | None = Field(None, ge=1, description="The most hosts that the plan may touch.")
    failures: Allowance = Field(
        0,
        description="How many hosts may fail; with more the run stops. A percentage is of the plan's hosts.",
    )
    share: dict[str, Share] = Field(
        {}, description="By group of the inventory: the most of its hosts that may be changed."
    )
    domains: Domains | None = Field(
        None, description="Of how many failure domains hosts may be changed at the same time."
    )


class ActionCall(Part):
    """One action and its arguments: `ssh.command: {argv: [id]}`."""

    action: str = Field(pattern=r"^[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*$")
    args: dict[str, JsonValue]


class Verify(ActionCall):
    """An action that proves that a step did what it was for."""

    expect: Expression | None = Field(None, description="An expression over `result` that must be true.")
    retries: int = Field(0, ge=0, le=1000, description="How many more times to look.")
    delay: Duration = Field(1000, description="How long to wait between two looks.")


class EffectOverride(Part):
    """An author's claim about an action's effect class; approvers see the reason."""

    class_: Effect = Field(alias="class", description="read, idempotent, probe or once.")
    reason: str = Field("", description="Required where the class is weaker than the connector's own.")


class Needed(Part):
    """Whose approvals a gate needs: so many distinct people with a role."""

    role: Identifier = Field(description="Which role: it is in the people file.")
    count: int = Field(1, ge=1, le=20, description="So many distinct people.")


class OnTimeout(StrEnum):
    """What happens when nobody decided in time. There is no way to write `approve`."""

    FAIL = "fail"
    ESCALATE = "escalate"
    UNDO = "undo"


class Gate(Part):
    """A place where people must agree before the run goes on."""

    change: Literal["standard", "normal", "emergency"] = Field(
        "emergency", description="The kind of change record."
    )
    approvals: tuple[Needed, ...] = Field(min_length=1, description="All of these are needed.")
    expires: Duration = Field(
        30 * 60_000, gt=0, description="How long the gate waits, and an approval counts."
    )
    on_timeout: OnTimeout = Field(OnTimeout.FAIL, description="What happens when nobody decided in time.")


class EvidenceType(StrEnum):
    """What kind of thing a person leaves as evidence."""

    TEXT = "text"
    URL = "url"
    NUMBER = "number"
    BOOLEAN = "boolean"
    FILE = "file"


class Evidence(Part):
    """One thing a person must leave as evidence."""

    type: EvidenceType = EvidenceType.TEXT
    help: str = Field("", description="What is to be left here.")
    required: bool = Field(True, description="False: it may be left out.")


Item = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\r\n{]*(\{[^\r\n{%#]+)*\{?$")]
"""A line of a checklist: what is filled in belongs into the instructions."""


class Manual(Part):
    """Work that a person does and signs for."""

    role: Identifier | None = Field(None, description="Who may attest; without it anybody may.")
    instructions: Annotated[str, Field(min_length=1)] = Field(description="What to do, as a template.")
    evidence: dict[Identifier, Evidence] = Field({}, description="What the person must leave.")
    checklist: Annotated[tuple[Item, ...], Field(max_length=50)] = Field(
        (),
        description="What the person ticks, one by one, before they can attest. Plain words, no templates.",
    )
    second_person: bool | Identifier = Field(
        False, description="Whether another person has to confirm it: true for anybody, or their role."
    )
    remind: Duration = Field(
        0, ge=0, description="How long until people are reminded, again and again; 0 for never."
    )


class StepPart(Part):
    """What every kind of step has."""

    name: Title = Field(description="What the step achieves, in words that make sense in a log.")
    when: Expression | None = Field(None, description="Do the step only where this is true.")
    tags: tuple[Slug, ...] = Field((), description="Words to find the step by.")


class Handler(StepPart):
    """An action that follows the last step, on the hosts where a step that notifies it changed something."""

    kind: Literal["action"] = "action"
    call: ActionCall
    hosts: str | None = Field(None, description="A host pattern; the runbook's own where left out.")
    loop: JsonValue = Field(None, description="A list, or a template that gives one; each item is `item`.")
    register_: Identifier | None = Field(
        None, alias="register", description="The name later steps see the answer by."
    )
    retries: int = Field(
        0, ge=0, le=1000, description="How many more attempts after a failure that is safe to repeat."
    )
    until: Expression | None = Field(None, description="Repeat until this is true of `result`.")
    delay: Duration = Field(1000, description="How long to wait between two attempts.")
    timeout: Duration = Field(300_000, gt=0, description="After this long an attempt is over.")
    deadline: Duration | None = Field(
        None, gt=0, description="After this long no further attempt begins, counted from the first one on."
    )
    expect: Expression | None = Field(None, description="False: the step failed, though the action was done.")
    verify: Verify | None = Field(None, description="An action that proves the effect.")
    undo: ActionCall | None = Field(None, description="The action that takes the effect back.")
    irreversible: bool = Field(
        False, description="Once it has happened, nothing in front of it is undone any more."
    )
    capture: ActionCall | None = Field(
        None, description="A reading of the state before; undo sees it as `captured`."
    )
    effect: EffectOverride | None = Field(None, description="A claim about the effect class.")
    become: bool | str = Field(False, description="Act as root, or as the named user.")
    environment: dict[str, str] = Field({}, description="Variables for a command.")
    ignore_errors: bool = Field(False, description="Go on when it fails.")
    no_log: bool = Field(False, description="Keep arguments and output out of the log.")


class ActionStep(Handler):
    """A step that does one action on each of its hosts."""

    run_once: bool = Field(False, description="Only on the first host.")
    max_failures: Allowance | None = Field(
        None, description="How many of its hosts may fail; it narrows what the run allows."
    )
    serial: tuple[Size, ...] | None = Field(
        None,
        min_length=1,
        max_length=50,
        description="On so many hosts at once: a number, a percentage, or a list of them; the last one holds on.",
    )
    pause: Duration = Field(0, description="How long to wait between two batches.")
    revert_after: Duration | None = Field(
        None, gt=0, description="So long after it was done, it is undone again by itself."
    )
    check_mode: bool = Field(
        True, description="False: a reading that is made also when a plan is only checked."
    )
    notify: tuple[Title, ...] = Field(
        (), description="Handlers that follow the last step where this one changed something."
    )
    waits: bool = Field(False, description="Written as `wait:`; see there.")


class Wait(Part):
    """A reading that is repeated until what it says is as wanted, or the deadline comes."""

    until: Expression = Field(description="What must be true of `result`.")
    deadline: Duration = Field(gt=0, description="After this long the step has failed.")
    every: Duration = Field(5000, gt=0, description="How long to wait between two looks.")


class WaitStep(StepPart):
    """A step that waits; it is read as an action that is repeated (`ActionStep.waits`)."""

    kind: Literal["wait"] = "wait"
    wait: Wait = Field(description="The reading, with `until`, `deadline` and `every`.")
    hosts: str | None = Field(None, description="A host pattern; the runbook's own where left out.")
    loop: JsonValue = Field(None, description="A list, or a template that gives one; each item is `item`.")
    register_: Identifier | None = Field(
        None, alias="register", description="The name later steps see the last answer by."
    )
    timeout: Duration = Field(300_000, gt=0, description="After this long one look is over.")
    become: bool | str = Field(False, description="Look as root, or as the named user.")
    environment: dict[str, str] = Field({}, description="Variables for a command.")
    run_once: bool = Field(False, description="Only on the first host.")
    ignore_errors: bool = Field(False, description="Go on when the deadline comes.")


class GateStep(StepPart):
    """A step that waits for people to agree."""

    kind: Literal["gate"] = "gate"
    gate: Gate


class ManualStep(StepPart):
    """A step that a person does."""

    kind: Literal["manual"] = "manual"
    manual: Manual
    register_: Identifier | None = Field(
        None, alias="register", description="The name later steps see the evidence by."
    )


class BlockStep(StepPart):
    """Steps that belong together, with what to do when one fails and what to do in any case."""

    kind: Literal["block"] = "block"
    block: tuple[Step, ...] = Field(min_length=1, description="Steps that belong together.")
    rescue: tuple[Step, ...] = Field((), description="Done when a step of the block fails.")
    always: tuple[Step, ...] = Field((), description="Done in any case, at the end.")
    serial: tuple[Size, ...] | None = Field(
        None, min_length=1, max_length=50, description="The whole block on so many hosts at once."
    )
    pause: Duration = Field(0, description="How long to wait between two batches.")
    max_failures: Allowance | None = Field(
        None, description="With serial: how many hosts of all batches may fail."
    )


class ParallelStep(StepPart):
    """Steps that are done at the same time."""

    kind: Literal["parallel"] = "parallel"
    parallel: tuple[Step, ...] = Field(
        min_length=1, json_schema_extra={"minItems": 2}, description="The branches: at least two steps."
    )
    on_failure: Literal["stop", "finish"] = Field(
        "stop", description="What the other branches do when too many have failed: begin no step, or finish."
    )
    max_failures: int = Field(0, ge=0, le=1000, description="How many branches may fail.")


def _pinned(text: object) -> object:
    if isinstance(text, str) and "@" not in text:
        raise ValueError(f"{text!r} names no version; write {text}@1.2.0: what is included never changes")
    return text


class Include(Part):
    """Another runbook, and what it is given."""

    runbook: Annotated[str, BeforeValidator(_pinned)] = Field(
        pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*@\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$",
        description="Its name and version: `name@1.2.0`.",
    )
    inputs: dict[Identifier, JsonValue] = Field(
        {}, description="Its inputs; templates can use inputs and vars of this runbook."
    )


class IncludeStep(StepPart):
    """A step that does the steps of another runbook."""

    kind: Literal["include"] = "include"
    include: Include


Step: TypeAlias = Annotated[
    ActionStep | GateStep | ManualStep | BlockStep | ParallelStep | IncludeStep, Field(discriminator="kind")
]


class Runbook(Part):
    """A versioned procedure for containment, recovery or care."""

    schema_: Literal["mimrun/1"] = Field(alias="schema", description="The version of the language.")
    name: Slug = Field(description="Small letters, digits and single dashes; the file is called by it.")
    version: Version = Field(description="Three numbers, such as 1.2.0; what a version holds never changes.")
    title: Title = Field(description="One line for people.")
    description: str = Field("", description="Longer text for people.")
    stage: Stage
    risk: Risk
    owner: Annotated[str, Field(min_length=1)] = Field(description="The team that keeps the runbook.")
    review_by: date | None = Field(None, description="After this day lint asks for a review.")
    inputs: dict[Identifier, Input] = Field({}, description="What the caller gives, by name.")
    vars: dict[Identifier, JsonValue] = Field({}, description="Constants for templates.")
    hosts: str = Field("localhost", description="A host pattern over the inventory.")
    limits: Limits = Limits()
    timeout: Duration = Field(
        4 * 3_600_000, gt=0, description="How long the run may be at work; waiting for people does not count."
    )
    locks: tuple[str, ...] = Field((), description="What must not be worked on by two runs at once.")
    tags: tuple[Slug, ...] = Field((), description="Words to find the runbook by.")
    steps: tuple[Step, ...] = Field(min_length=1, description="What is done, in this order.")
    handlers: tuple[Handler, ...] = Field(
        (),
        description="Actions that follow the last step, once, where a step that notifies them changed something.",
    )


BlockStep.model_rebuild()
ParallelStep.model_rebuild()
Runbook.model_rebuild()
