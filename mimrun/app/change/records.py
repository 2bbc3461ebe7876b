"""Reading mimrun's own register of changes: its records, their texts, and what speaks against their times."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Final

from mimrun.app.calendars import calendars_reader
from mimrun.app.home import Home
from mimrun.change_system import ChangeRecord, Conflict
from mimrun.errors import ErasedError, InputError, TamperError
from mimrun.gate.calendar import Calendars, Touched
from mimrun.gate.people import People
from mimrun.gate.register import ENDED, Content, Registered, all_registered, registered_in
from mimrun.gate.register_rules import OCCUPYING, as_change, overlaps, window_of
from mimrun.log.kinds import Body, ChangeDecided, ChangeEdited, ChangeMoved, ChangeOpened

_BODIES: Final[tuple[type[Body], ...]] = (ChangeOpened, ChangeEdited, ChangeMoved, ChangeDecided)
HISTORY: Final = frozenset(body.kind for body in _BODIES)
"""The kinds of the entries that a record of the register is folded from."""


BLACKOUT: Final = "blackout"
"""The conflict of a planned time with a closed calendar."""


@dataclass(frozen=True, slots=True)
class RegisterView:
    """A record of the register, with its text.

    Arguments:
        content: None where it was erased.
    """

    was: Registered
    content: Content | None

    def text(self) -> Content:
        """Give its text.

        Raises:
            ErasedError: it was erased.
        """
        if self.content is None:
            raise ErasedError(f"the text of {self.was.ref} was erased; open another change")
        return self.content


def find_change(home: Home, ref: str) -> RegisterView:
    """Give a record of the register.

    Raises:
        InputError: there is none of this name.
        TamperError: its text is not what was recorded.
    """
    was = registered_in(home.store, ref.upper())
    if not was.ref:
        raise InputError(f"the register has no change {ref!r}; `mimrun change list` shows which there are")
    return RegisterView(was, content_of(home, was))


def content_of(home: Home, was: Registered) -> Content | None:
    """Read the text of a record; None where it was erased.

    Raises:
        TamperError: it is not what was recorded.
    """
    try:
        data = home.store.blob(home.store.entry(was.seq), "record") or b""
    except ErasedError:
        return None
    content = Content.model_validate_json(data)
    if content.record != was.record:
        raise TamperError(f"entry {was.seq}: the text of {was.ref} is not the one that it was recorded with")
    return content


def list_changes(home: Home, *, everything: bool = False) -> list[RegisterView]:
    """Give the records of the register, the newest first; those that are over only where everything is wanted."""
    found = [was for was in all_registered(home.store) if everything or was.state not in ENDED]
    return [RegisterView(was, content_of(home, was)) for was in found]


def conflicts_of(home: Home, view: RegisterView) -> tuple[Conflict, ...]:
    """Look for what speaks against a record's planned time: others that want the same hosts, and closed calendars."""
    if view.content is None:
        return ()
    return (*overlaps(view.content, _others(home, view.was.ref)), *_blackouts(home, view.content))


def _blackouts(home: Home, content: Content) -> Iterator[Conflict]:
    """Give the calendars that are closed at some moment of a planned time, as far as its text tells what is touched."""
    window, calendars = window_of(content), _calendars(home.settings.calendars)()
    if window is None:
        return
    touched = Touched("", content.risk, (content.runbook.partition("@")[0],), content.targets)
    for calendar in calendars.about(touched):
        if next(iter(calendar.closures(window.start, window.end)), None) is not None:
            yield Conflict(BLACKOUT, calendar.name)


@lru_cache(maxsize=8)
def _calendars(folder: Path) -> Callable[[], Calendars]:
    return calendars_reader(folder)


def _others(home: Home, ref: str) -> Iterator[tuple[Registered, Content]]:
    for was in all_registered(home.store):
        if was.ref == ref or was.state not in OCCUPYING or was.type == "standard":
            continue
        content = content_of(home, was)
        if content is not None:
            yield was, content


def read_registered(
    home: Home, view: RegisterView, people: People, now: datetime, targets: Sequence[str] | None = None
) -> ChangeRecord:
    """Give a record of the register as decisions are made from it, with conflicts looked for just now.

    Closed calendars are no conflict here: a gate asks for them by itself, and for a freeze approver's word.

    Arguments:
        targets: the hosts that a standard change's pattern names.
    """
    hosts = None if targets is None else tuple(targets)
    found = overlaps(view.content, _others(home, view.was.ref)) if view.content else ()
    return as_change(view.was, view.content, people, found, now, targets=hosts)
