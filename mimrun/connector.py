"""Everything that an adapter to an outside system imports: the one module a connector stands on.

A connector is one open conversation with one target. It declares its actions (pydantic models whose
docstrings and field descriptions become the reference page), and writes `open`, `close` and `_perform`;
`_probe` and `_check` where it can answer. It never retries, never logs and never decides: the runbook
and the executor do.

    class Ping(Action):
        "Ask whether the service is there."
        verb = "ping"
        effect = Effect.READ
        count: int = Field(1, description="How many times to ask.")
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, ClassVar, Generic, Self, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mimrun.canonical import Json
from mimrun.errors import ConnectorError, LostAnswer, Refused, SettingsError, Unreachable
from mimrun.output import Output
from mimrun.secret import Masker, Secret, read_secret
from mimrun.terminal import Peer, Terminal, Window

__all__ = [
    "Action",
    "Call",
    "Connector",
    "ConnectorError",
    "Difference",
    "Effect",
    "Failed",
    "Field",
    "Finding",
    "Json",
    "LostAnswer",
    "Masker",
    "Ok",
    "Outcome",
    "Output",
    "Peer",
    "Probed",
    "Refused",
    "Secret",
    "Settings",
    "SettingsError",
    "Target",
    "Terminal",
    "Unknown",
    "Unreachable",
    "Window",
    "mask_json",
    "read_secret",
]


class Effect(StrEnum):
    """What an action does to the world, and so what a crash or a lost answer means for it."""

    READ = "read"  #: changes nothing; is run again
    IDEMPOTENT = "idempotent"  #: any number of times is like once; is run again with the same arguments
    PROBE = "probe"  #: the connector can tell whether it happened; is probed before anything else
    ONCE = "once"  #: none of these; is in doubt, always, and has one attempt


@dataclass(frozen=True, slots=True)
class Ok:
    """The action was done.

    Arguments:
        changed: whether the target is different now.
        data: what the action answers with; later steps see it under the step's `register` name.
    """

    changed: bool
    data: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Failed:
    """The action was not done, or not all of it.

    Arguments:
        reason: what happened, for a person.
        clean: True only where it is proven that nothing changed; else a partial effect is possible.
        unreachable: the target could not be asked at all.
        data: as for `Ok`; an exit status and output for a command that ran and failed.
    """

    reason: str
    clean: bool
    unreachable: bool = False
    data: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nobody knows whether the action was done: a time-out, a reset after sending, a broken reply."""

    reason: str
    data: Mapping[str, Json] = field(default_factory=dict)


Outcome: TypeAlias = Ok | Failed | Unknown


class Finding(StrEnum):
    """The answer of a probe."""

    APPLIED = "applied"  #: the effect is there
    NOT_APPLIED = "not_applied"  #: the effect is provably not there, and nothing is on its way
    UNKNOWN = "unknown"  #: the probe cannot tell


@dataclass(frozen=True, slots=True)
class Probed:
    """What a probe found out, why it says so, and the data the action would have answered with.

    Arguments:
        outcome: with `applied`, what exactly came of it where that is on record: it stands instead of
            "ok and changed". An action that ran and failed is said in this way.
    """

    finding: Finding
    reason: str
    data: Mapping[str, Json] = field(default_factory=dict)
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """What an action would change on the live target.

    Arguments:
        changes: True or False where the connector can tell; None where it cannot. None is shown as
            unknown, never as ok.
        detail: for a person: before and after, or why it is not known.
        fails: True only where the action itself would fail clean on the target as it is now; `changes` is
            None then.
    """

    changes: bool | None
    detail: str
    fails: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """A named outside thing, with the variables that the inventory gives it."""

    name: str
    vars: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Call:
    """The circumstances of one attempt of one action on one target.

    Arguments:
        key: names this step, target and iteration of this run; the same for every attempt. A
            connector gives it to the target wherever the target can recognise a repeated request.
        deadline: on the monotonic clock, in seconds; at this moment the attempt is over.
        output: where to put what the target says.
        stop: set when a person cancels; a connector ends the remote work and answers `Unknown`.
        become: the user to act as on the target, or None.
        environment: variables for a command.
        attempt: which attempt of this cell it is, from 1; a probe asks about the attempt with this number.
        effect: the class that the plan counts on; None outside a run. Where it is `probe`, the attempt
            must leave what a probe needs to tell whether it happened.
        age: for a probe, the seconds since the attempt was put on record, by the wall clock; None where
            nobody knows.
    """

    key: str
    deadline: float
    output: Output = field(default_factory=Output)
    stop: threading.Event = field(default_factory=threading.Event)
    become: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    attempt: int = 1
    effect: Effect | None = None
    age: float | None = None

    def left(self) -> float:
        """Seconds until the deadline; never below zero."""
        return max(self.deadline - time.monotonic(), 0.0)


class Settings(BaseModel):
    """How to reach one target, read from its inventory variables. Secrets are references, never values."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    @classmethod
    def of(cls, target: Target) -> Self:
        """Read the settings from a target's variables.

        Raises:
            Refused: a variable is missing or has a value that cannot be used.
        """
        try:
            return cls.model_validate({"inventory_hostname": target.name, **target.vars})
        except ValidationError as exc:
            wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in exc.errors())
            raise Refused(f"{target.name}: its inventory variables do not fit: {wrong}") from exc


class Action(BaseModel):
    """One thing a connector can do. The fields are the keys an author writes in the runbook."""

    # A number where text is asked for is its text: `argv: [sleep, 5]`.
    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)

    verb: ClassVar[str]
    effect: ClassVar[Effect]
    """The weakest class that the connector can honour for any arguments."""
    effect_fields: ClassVar[frozenset[str]] = frozenset()
    """The arguments that `effect_class` looks at, by the names that an author writes. Where none of them
    waits for a value, the class of a call is known before the others are."""
    local_files: ClassVar[Mapping[str, str]] = {}
    """Arguments that name a file of mimrun's machine, each with the argument that holds the SHA-256 of its
    content. Where the author leaves that out, it is filled in when the plan is made, so that the content is
    part of what is approved; the connector refuses any other content before it does anything."""

    def effect_class(self) -> Effect:
        """The class of this very action; a connector may know better from the arguments."""
        return type(self).effect

    def summary(self) -> str:
        """One line for the plan: exactly what will be done, so that a person can judge it."""
        shown = self.model_dump(mode="json", exclude_defaults=True)
        return ", ".join(f"{key}={value!r}" for key, value in shown.items())


SettingsT = TypeVar("SettingsT", bound=Settings)
ActionT = TypeVar("ActionT", bound=Action)


class Connector(ABC, Generic[SettingsT, ActionT]):
    """One open conversation with one target.

    Callers use `perform`, `probe` and `check`, which let nothing out but their result. One connector
    is used by one thread at a time; many connectors are used at once.
    """

    name: ClassVar[str]
    settings_type: ClassVar[type[Settings]]
    actions: ClassVar[tuple[type[Action], ...]]
    keywords: ClassVar[frozenset[str]] = frozenset()
    """Which of the step keywords `become` and `environment` it honours; lint refuses the others."""
    ends_in_probe: ClassVar[bool] = False
    """Whether a probe whose call is told to stop ends what it finds still running, and proves it. Another
    connector's probe is not told: it would break off, and know less."""

    def __init__(self, settings: SettingsT) -> None:
        self.settings = settings

    @abstractmethod
    def open(self) -> None:
        """Connect and log in. Does nothing when already connected.

        Raises:
            Unreachable: no connection could be made.
            Refused: the target, or our own check of its identity, said no.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of the connection. May be called twice, and must not raise."""

    def open_terminal(self, window: Window) -> Terminal:
        """Log in and give a terminal on the target, for a person; its session has not begun yet.

        Closing the connector ends it.

        Raises:
            Refused: this connector has none, or the target said no.
            Unreachable: no connection could be made.
        """
        raise Refused(f"{self.name}: gives no terminal; only a connector to a host does, such as ssh")

    @abstractmethod
    def _perform(self, action: ActionT, call: Call) -> Outcome:
        """Do the action once."""

    def _probe(self, action: ActionT, call: Call) -> Probed:
        """Find out whether the action, with this call's key, has happened."""
        return Probed(Finding.UNKNOWN, f"{self.name}.{action.verb} cannot be probed")

    def _end(self, action: ActionT, call: Call) -> str:
        """End what an attempt with this call's key still does, and say what is proven of that."""
        return f"{self.name}.{action.verb} cannot be ended from here: whether it goes on is not known"

    def _check(self, action: ActionT, call: Call) -> Difference:
        """Find out what the action would change, without changing it."""
        return Difference(None, f"{self.name}.{action.verb} cannot be predicted")

    def perform(self, action: ActionT, call: Call) -> Outcome:
        """Do the action once, and say what came of it. Never raises an `Exception`.

        The call's secrets are masked in the outcome, also where a target or a library quotes them.
        """
        try:
            return _without_secrets(self._attempt(action, call), call)
        finally:
            call.output.finish()

    def _attempt(self, action: ActionT, call: Call) -> Outcome:
        try:
            self.open()
            outcome: object = self._perform(action, call)
            if isinstance(outcome, Ok | Failed | Unknown):
                return outcome
            return Unknown(f"{self.name}.{action.verb} broke: it answered {type(outcome).__name__}")
        except Unreachable as exc:
            return Failed(str(exc), clean=True, unreachable=True)
        except Refused as exc:
            return Failed(str(exc), clean=True)
        except LostAnswer as exc:
            return Unknown(str(exc))
        except Exception as exc:  # noqa: BLE001 - a bug in a connector: we do not know what the target did
            return Unknown(f"{self.name}.{action.verb} broke: {type(exc).__name__}: {exc}")

    def probe(self, action: ActionT, call: Call) -> Probed:
        """Find out whether the action has happened. A probe that cannot ask does not know."""
        try:
            self.open()
            return _without_secrets(self._probe(action, call), call)
        except Exception as exc:  # noqa: BLE001 - a probe that broke is a probe that does not know
            return _without_secrets(Probed(Finding.UNKNOWN, f"the probe failed: {exc}"), call)

    def end(self, action: ActionT, call: Call) -> str:
        """End what an attempt still does whose worker is gone, and say what is proven of that. Never raises."""
        try:
            self.open()
            said = self._end(action, call)
        except Exception as exc:  # noqa: BLE001 - whatever stands in the way, nothing is proven
            said = f"whether it goes on is not known: {exc}"
        return call.output.masker.mask_text(said)

    def check(self, action: ActionT, call: Call) -> Difference:
        """Find out what the action would change. Never raises an `Exception`.

        What refuses the check, or cannot be reached, would end the action in the same way before it has
        done anything: it would fail now. A check that breaks in any other way does not know.
        """
        try:
            self.open()
            found = self._check(action, call)
        except (Unreachable, Refused) as exc:
            found = Difference(None, str(exc), fails=True)
        except Exception as exc:  # noqa: BLE001 - a check that broke is a check that does not know
            found = Difference(None, f"the check failed: {exc}")
        return replace(found, detail=call.output.masker.mask_text(found.detail))


AnswerT = TypeVar("AnswerT", Outcome, Probed)


def _without_secrets(answer: AnswerT, call: Call) -> AnswerT:
    """Give the answer with the call's secrets masked in all its text."""
    masker = call.output.masker
    if not masker.longest:
        return answer
    data = {masker.mask_text(key): mask_json(value, masker) for key, value in answer.data.items()}
    if isinstance(answer, Ok):
        return replace(answer, data=data)
    answer = replace(answer, reason=masker.mask_text(answer.reason), data=data)
    if isinstance(answer, Probed):
        return replace(answer, outcome=answer.outcome and _without_secrets(answer.outcome, call))
    return answer


def mask_json(value: Json, masker: Masker) -> Json:
    """Give a value with the secrets in its texts masked; a number that shows one becomes a text."""
    match value:
        case str():
            return masker.mask_text(value)
        case Mapping():
            return {masker.mask_text(key): mask_json(item, masker) for key, item in value.items()}
        case list() | tuple():
            return [mask_json(item, masker) for item in value]
        case None | bool():
            return value
        case _:
            shown = str(value)
            masked = masker.mask_text(shown)
            return value if masked == shown else masked


AnyConnector: TypeAlias = Connector[Any, Any]
