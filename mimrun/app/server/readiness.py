"""Readiness: whether a server can do what it is there for, part by part."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from mimrun.app.home import Home, operating_system_user
from mimrun.errors import MimrunError, RefusedError
from mimrun.gate.people_file import load_people
from mimrun.log.entry import Actor, Draft
from mimrun.log.kinds import SessionEnded
from mimrun.log.store import View

FRESH_S: Final = 1.0
"""So long an answer counts: whoever asks more often is no burden."""


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that must be there.

    Arguments:
        detail: what is wrong, or "".
    """

    name: str
    ok: bool
    detail: str = ""


class Readiness:
    """Looks whether a server is ready.

    Arguments:
        home: opened, for as long as the server lasts.
        others: says of each part that is kept up beside it how it stands: `up` or `left out` is well.
        monotonic: a clock in seconds.
    """

    def __init__(
        self,
        home: Home,
        others: Callable[[], Mapping[str, str]] = dict,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._home, self._others, self._monotonic = home, others, monotonic
        self._lock = threading.Lock()
        self._known: tuple[Part, ...] = ()
        self._until = 0.0

    def look(self) -> tuple[Part, ...]:
        """Give every part."""
        with self._lock:
            if self._monotonic() >= self._until:
                self._known = (
                    self._log(),
                    _tried("key", self._home.require_key),
                    _tried("people", lambda: load_people(self._home.settings.people)),
                    *(
                        Part(name, state in ("up", "left out"), "" if state == "up" else state)
                        for name, state in sorted(self._others().items())
                    ),
                )
                self._until = self._monotonic() + FRESH_S
            return self._known

    def _log(self) -> Part:
        """See that the log can be written: everything but the writing itself is done."""
        actor = Actor("system", operating_system_user(), "web")
        draft = Draft(actor, SessionEnded(session="ses-none", why="idle"))
        come_so_far = False

        def refuse(_view: View) -> None:
            nonlocal come_so_far
            come_so_far = True
            raise RefusedError("only tried")

        try:
            self._home.store.append([draft], guard=refuse)
        except RefusedError as exc:
            moved = self._home.store.moved()
            if come_so_far and not moved:
                return Part("log", ok=True)
            return Part("log", ok=False, detail=f"it goes on at {moved}" if moved else str(exc))
        except MimrunError as exc:
            return Part("log", ok=False, detail=str(exc))
        return Part("log", ok=False, detail="what was refused was recorded")


def _tried(name: str, do: Callable[[], object]) -> Part:
    try:
        do()
    except MimrunError as exc:
        return Part(name, ok=False, detail=str(exc))
    return Part(name, ok=True)
