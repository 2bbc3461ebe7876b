"""Stand-ins: what takes the place of connectors, secrets and the lease while a run is replayed.

No connector is loaded. An action is whatever arguments the plan has for it; a secret is a word that nothing
outside knows; and the answer is that of the record.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, ClassVar, Final, Protocol, Self, TypeVar

from pydantic import ConfigDict, JsonValue

from mimrun.catalog import Catalog
from mimrun.connector import (
    Action,
    AnyConnector,
    Call,
    Connector,
    Effect,
    Outcome,
    Probed,
    Settings,
)
from mimrun.errors import InputError
from mimrun.log.entry import LogEntry
from mimrun.log.kinds import StepVerified
from mimrun.replay.steps import PINNED
from mimrun.run.cell.watchdog import Left
from mimrun.run.hold.stop import Stop
from mimrun.secret import Secret

T = TypeVar("T")


class Said(Protocol):
    """What targets said."""

    def perform(self, call: Call) -> Outcome:
        """Give the answer to an attempt, or to a look without one."""

    def probe(self, call: Call) -> Probed:
        """Give what a probe found."""

    def refused(self, action: str) -> str:
        """Say why the connector of then refused the arguments of the call that is about to be made; "" where not."""


@dataclass(frozen=True, slots=True)
class Effects:
    """The classes that an action is known to have.

    Arguments:
        weakest: of all that are known.
        by_args: by its arguments, see `args_digest`.
    """

    weakest: Effect
    by_args: Mapping[str, Effect]


_UNKNOWN: Final = Effects(Effect.ONCE, {})


def args_digest(args: Mapping[str, JsonValue]) -> str:
    """Name arguments, without what a plan knows besides of files that they name."""
    return json.dumps({key: value for key, value in args.items() if key != PINNED}, sort_keys=True)


class RecordedAction(Action):
    """Any action, with any arguments: whether they fit was seen by the connector then."""

    model_config = ConfigDict(frozen=True, extra="allow")

    effect = Effect.ONCE
    effects: ClassVar[Effects]

    def effect_class(self) -> Effect:
        """The class that an action with these arguments had then."""
        known = type(self).effects
        return known.by_args.get(args_digest(self.model_dump(mode="json")), known.weakest)


class RecordedConnector(Connector[Settings, RecordedAction]):
    """Answers for every target as the record says."""

    settings_type = Settings
    actions: ClassVar[tuple[type[Action], ...]] = ()
    keywords: ClassVar[frozenset[str]] = frozenset({"become", "environment"})
    said: ClassVar[Said]

    def open(self) -> None:
        """There is nobody to connect to."""

    def close(self) -> None:
        """There is nothing to let go of."""

    def _perform(self, action: RecordedAction, call: Call) -> Outcome:
        return self.said.perform(call)

    def _probe(self, action: RecordedAction, call: Call) -> Probed:
        return self.said.probe(call)

    def _end(self, action: RecordedAction, call: Call) -> str:
        return "what was proven of its end stands in the record"


class RecordedCatalog(Catalog):
    """A catalog in which every connector and every action is there, and none is loaded.

    Arguments:
        said: what targets said.
        effects: the classes of each action that are known from the record, by its full name.
    """

    def __init__(self, said: Said | None = None, effects: Mapping[str, Effects] | None = None) -> None:
        super().__init__()
        self._said, self._effects = said, dict(effects or {})
        self._actions: dict[str, type[Action]] = {}
        self._kinds: dict[str, type[AnyConnector]] = {}

    def connector(self, name: str) -> type[AnyConnector]:
        """Give what stands for a connector."""
        if name not in self._kinds:
            given: dict[str, Any] = {"name": name, "__module__": __name__, "said": self._said}
            self._kinds[name] = type(f"Recorded_{name}", (RecordedConnector,), given)
        return self._kinds[name]

    def action(self, full_name: str) -> type[Action]:
        """Give what stands for an action.

        Raises:
            InputError: its connector refused these arguments then.
        """
        refused = self._said.refused(full_name) if self._said is not None else ""
        if refused:
            raise InputError(refused)
        if full_name not in self._actions:
            effects = self._effects.get(full_name, _UNKNOWN)
            given: dict[str, Any] = {
                "verb": full_name.partition(".")[2],
                "effect": effects.weakest,
                "effects": effects,
                "__module__": __name__,
                "__annotations__": {},
            }
            self._actions[full_name] = type(f"Recorded_{full_name}", (RecordedAction,), given)
        return self._actions[full_name]


def why_refused(entry: LogEntry, action: str) -> str:
    """Say why a connector refused arguments, where an entry tells of it; "" where it does not."""
    body = entry.body
    refused = isinstance(body, StepVerified) and not body.passed and body.reason.startswith(f"{action}: ")
    return body.reason if refused and isinstance(body, StepVerified) else ""


def stand_in(reference: str) -> Secret:
    """Give what stands for a secret: nothing is fetched, and nobody is asked."""
    return Secret(f"{_STAND_IN}{reference}", version="then")


def why_unread(entry: LogEntry, reference: str) -> str:
    """Say why a secret could not be fetched, where an entry tells of it; "" where it does not."""
    body = entry.body
    if not isinstance(body, StepVerified) or body.passed or repr(reference) not in body.reason:
        return ""
    return _UNREAD.sub("", body.reason) if _UNREAD.match(body.reason) else ""


_UNREAD: Final = re.compile(r"input [^:]+: (?=secret )")
"""What a step that failed for a secret says in front of why."""

_STAND_IN: Final = "stand-in\u2063for\u2063"
"""Not to be found in anything that was said: what it stands for was masked there already."""


def at_once(
    work: Callable[[], T],
    call: Call,  # noqa: ARG001 - as `Watch` has it
    stop: Stop,  # noqa: ARG001 - likewise
    *,
    late: Callable[[T], None] = lambda _: None,  # noqa: ARG001 - likewise
    ends: bool = True,  # noqa: ARG001 - likewise
) -> T | Left:
    """Let a connector answer: what was said is at hand, and nobody need be waited for."""
    return work()


class RecordedLease:
    """The right to execute a run that is over: nobody else wants it.

    Arguments:
        run: the run.
        epoch: of the worker that is replayed.
    """

    def __init__(self, run: str, epoch: int) -> None:
        self.run, self.epoch = run, epoch
        self.refuse_once = False
        """Something stood against the act at this point, at the last moment."""

    def held(self) -> bool:
        """Say whether something may still be begun."""
        refused, self.refuse_once = self.refuse_once, False
        return not refused

    def note_seen(self, seq: int) -> None:
        """Nobody looks."""

    def quarantine(self, epoch: int, begun: datetime, allowed_ms: int) -> float:
        """Nothing is under way any more."""
        return 0.0

    def release(self) -> None:
        """There is nothing to let go of."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass
