"""What the history of a ticket says: who approved it, and whether it was changed afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from connectors.change.fields import Found, Reading, at
from connectors.change.request_tracker.settings import RequestTrackerSettings
from mimrun.change_system import ChangeState
from mimrun.connector import Json

NEAR: Final = timedelta(minutes=5)
"""A comment belongs to a decision of the same person within this time."""
OPEN: Final = (ChangeState.DRAFT, ChangeState.ASSESS, ChangeState.AUTHORIZE)


@dataclass(frozen=True, slots=True)
class Event:
    """One row of the history of a ticket (RT calls it a transaction).

    Arguments:
        id: they are counted over all tickets, so that they also say what came first.
        kind: `Create`, `Status`, `Set`, `CustomField`, `Comment`, `Correspond`, `AddLink`, `DeleteLink`…; `Merged`
            is what belongs to another ticket that was merged into this one.
        by: the account.
        subject: of a comment.
    """

    id: int
    kind: str
    by: str
    at: datetime | None
    field: str
    old: str
    new: str
    subject: str


@dataclass(frozen=True, slots=True)
class Said:
    """A decision in the history, and the comment that goes with it."""

    event: Event
    decision: Literal["approved", "rejected"]
    comment: int | None


def event(row: Json, ref: str) -> Event | None:
    """Read a row of the history of a ticket; None where it is not one that can be relied on."""
    reading = Reading()
    number = reading.text("id", at(row, "id"), needed=True)
    kind = reading.text("kind", at(row, "Type"), needed=True)
    who = reading.text("by", at(row, "Creator", "id"), needed=True)
    when = reading.time("at", at(row, "Created"), needed=True)
    kind = kind if reading.text("of", at(row, "ObjectId"), needed=True) == ref else "Merged"
    if reading.unreadable or not number.isdecimal():
        return None
    field, old, new, subject = (_plain(at(row, name)) for name in ("Field", "OldValue", "NewValue", "Data"))
    return Event(int(number), kind, who, when, field, old, new, subject)


def decisions(events: Sequence[Event], settings: RequestTrackerSettings) -> list[Said]:
    """Give what was decided since its approval was last asked for, by the ticket's own states.

    1. Moving it into an approved state approves it, and into a rejected state rejects it.
    2. Moving it back to where its approval is open makes what was said before void.
    3. So does moving it to another queue, where other people may have moved it on.
    """
    found: list[Said] = []
    for one in events:
        if one.kind == "Status":
            if one.new in settings.approved and one.old not in settings.approved:
                found.append(Said(one, "approved", _comment(one, events)))
            elif one.new in settings.rejected:
                found.append(Said(one, "rejected", _comment(one, events)))
            elif settings.state(one.new) in OPEN:
                found.clear()
        elif one.kind == "Set" and one.field == "Queue":
            found.clear()
    return found


def answer(events: Sequence[Event], word: str) -> Said | None:
    """Give the decision of an approval ticket: who moved it into the state that it is in; None while it is open."""
    if word not in ("resolved", "rejected"):
        return None
    for one in reversed(events):
        if one.kind == "Status" and one.new == word:
            return Said(one, "approved" if word == "resolved" else "rejected", _comment(one, events))
    return None


def changed_after(events: Iterable[Event], decided: int, fields: Mapping[str, str]) -> dict[str, str]:
    """Give the fields that were changed after an approval, each with by whom and when.

    Arguments:
        decided: the event of the first approval that counts.
        fields: what each custom field, by its id, holds.
    """
    found = {}
    for one in events:
        if one.kind == "CustomField" and one.field in fields and one.id > decided and one.at is not None:
            name = fields[one.field]
            found[name] = f"{one.by} changed it on {one.at:%Y-%m-%d at %H:%M:%S} UTC, after it was approved"
    return found


def marked(events: Iterable[Event], key: str, account: str) -> bool:
    """Say whether an addition with this key is there, made by mimrun's own account."""
    mark = f"[mimrun {key}]"
    comments = (one for one in events if one.kind in ("Comment", "Correspond") and one.by == account)
    return any(mark in one.subject for one in comments)


def _comment(decided: Event, events: Sequence[Event]) -> int | None:
    """Give the comment of the same person that is nearest to a decision: theirs is written just before or after."""
    near = [
        one
        for one in events
        if one.kind in ("Comment", "Correspond")
        and one.by == decided.by
        and one.at is not None
        and decided.at is not None
        and abs(one.at - decided.at) <= NEAR
    ]
    return min(near, key=lambda one: abs(one.id - decided.id)).id if near else None


def _plain(value: Found) -> str:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
