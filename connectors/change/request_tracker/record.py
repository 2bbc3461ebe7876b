"""A ticket and its history as a change record: pure, so that every way to read it can be tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from connectors.change.fields import MISSING, Found, Reading, at
from connectors.change.request_tracker.history import OPEN, Event, Said, changed_after, decisions
from connectors.change.request_tracker.settings import RequestTrackerSettings
from mimrun.change_system import ChangeApproval, ChangeRecord, ChangeState, ChangeType, ChangeVote
from mimrun.connector import Json

TYPES: Final[Mapping[str, ChangeType]] = {
    "standard": "standard",
    "normal": "normal",
    "emergency": "emergency",
}
LACKS: Final = frozenset({"conflicts", "conflicts_at", "on_hold", "retrospective"})
"""What Request Tracker has no place for."""
OPTIONAL: Final = ("type", "runbook", "run", "digest", "targets", "valid_until", "backout")
PROTECTED: Final = {
    "type": "type",
    "runbook": "runbook",
    "run": "run",
    "digest": "digest",
    "targets": "targets",
    "window_start": "window",
    "window_end": "window",
    "valid_until": "valid_until",
}
"""The custom fields that an approval is about, and the field of the record that each is read into."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A ticket in `___Approvals` that a change depends on.

    Arguments:
        ref: its number.
        status: where it stands.
        said: who moved it there; None while it is open, or where the history does not say.
        relinked: its links were changed after it was made.
        linked_to: the tickets that depend on it.
    """

    ref: str
    status: str
    said: Said | None
    relinked: bool
    linked_to: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ticket:
    """All that a change record is made from.

    Arguments:
        value: the ticket as RT gives it.
        etag: its version.
        events: its history, in order, whole.
        asked: its approval tickets.
        others: other tickets that it depends on.
        reasons: the text of comments, by the id of their event.
    """

    ref: str
    value: Json
    etag: str
    events: tuple[Event, ...]
    asked: tuple[Asked, ...] = ()
    others: tuple[str, ...] = ()
    reasons: Mapping[int, str] | None = None


def record_of(system: str, ticket: Ticket, settings: RequestTrackerSettings) -> ChangeRecord:
    """Read a ticket as a change record; whatever does not have its form is named as unreadable."""
    reading, value = Reading(), ticket.value
    custom = _Custom(value, reading, settings)
    raw = reading.text("state", at(value, "Status"), needed=True)
    said = all_said(ticket, settings)
    approval = _approval(ticket, raw, said, reading, settings)
    state = _state(raw, approval, reading, settings)
    votes = _votes(ticket, said, reading, settings)
    approved = [one.event.id for one in said if one.decision == "approved"]
    if approved:
        for name, why in changed_after(ticket.events, min(approved), custom.protected()).items():
            reading.miss(name, why)
    return ChangeRecord(
        system=system,
        ref=ticket.ref,
        url=f"{settings.url}/Ticket/Display.html?id={ticket.ref}",
        type=reading.choice("type", custom.one("type"), TYPES) if settings.field("type") else None,
        title=reading.words("title", at(value, "Subject")),
        state=state,
        raw_state=raw,
        approval=None if "approval" in reading.unreadable else approval,
        votes=votes,
        window=reading.window(custom.one("window_start", "window"), custom.one("window_end", "window"))
        if settings.field("window_start") and settings.field("window_end")
        else None,
        targets=reading.names("targets", custom.every("targets")),
        requested_by=_asker(value, votes, reading, settings),
        run=reading.text("run", custom.one("run")),
        digest=reading.text("digest", custom.one("digest")),
        version=ticket.etag,
        runbook=reading.text("runbook", custom.one("runbook")),
        valid_until=reading.time("valid_until", custom.one("valid_until")),
        backout=reading.words("backout", custom.one("backout")),
        unreadable=reading.unreadable,
        absent=absent(settings),
    )


def absent(settings: RequestTrackerSettings) -> frozenset[str]:
    """Name the fields of a record that this Request Tracker does not have."""
    window = {"window"} if not (settings.field("window_start") and settings.field("window_end")) else set()
    return LACKS | window | {name for name in OPTIONAL if not settings.field(name)}


def all_said(ticket: Ticket, settings: RequestTrackerSettings) -> list[Said]:
    """Give all decisions that count, in the order in which they were made."""
    by_state = [] if settings.approvals == "tickets" else decisions(ticket.events, settings)
    by_ticket = [asked.said for asked in ticket.asked if asked.said is not None]
    return sorted(by_state + by_ticket, key=lambda one: one.event.id)


class _Custom:
    """The custom fields of a ticket, by what they hold."""

    def __init__(self, value: Json, reading: Reading, settings: RequestTrackerSettings) -> None:
        self._reading, self._settings = reading, settings
        self._rows: dict[str, list[Json]] = {}
        rows = at(value, "CustomFields")
        for row in rows if isinstance(rows, list) else []:
            name = at(row, "name")
            self._rows.setdefault(name if isinstance(name, str) else "", []).append(row)

    def one(self, name: str, record_field: str = "") -> Found:
        """Give the one value of a field; null where it is empty or the queue is said not to have it."""
        values = self.every(name, record_field)
        if not isinstance(values, list):
            return values
        if len(values) > 1:
            self._reading.miss(record_field or name, f"{len(values)} values where one belongs")
        return at(values, 0) if len(values) == 1 else None

    def every(self, name: str, record_field: str = "") -> Found:
        """Give the values of a field as a list; a text in it that names several is taken apart."""
        called = self._settings.field(name)
        if not called:
            return None
        rows = self._rows.get(called, [])
        if len(rows) > 1:
            self._reading.miss(record_field or name, f"there are {len(rows)} custom fields called {called!r}")
        values = at(rows[0], "values") if len(rows) == 1 else MISSING
        if rows and not isinstance(values, list):
            self._reading.miss(record_field or name, "its values are no list")
        if name == "targets" and isinstance(values, list) and len(values) == 1:
            return at(values, 0)
        return values

    def protected(self) -> dict[str, str]:
        """Give the field of the record that each custom field is read into, by the custom field's id."""
        ids: dict[str, str] = {}
        for name, record_field in PROTECTED.items():
            for row in self._rows.get(self._settings.field(name), []):
                ids[str(at(row, "id"))] = record_field
        return ids


def _approval(
    ticket: Ticket, raw: str, said: Sequence[Said], reading: Reading, settings: RequestTrackerSettings
) -> ChangeApproval | None:
    """Say what came of asking; one refusal outweighs all, and what is still open outweighs what was given."""
    _look_at_links(ticket, reading, settings)
    by_ticket = _by_tickets(ticket, reading)
    if settings.approvals == "tickets" and by_ticket is None:
        return ChangeApproval.NOT_REQUESTED
    own = by_ticket if settings.approvals == "tickets" else _by_state(raw, said, reading, settings)
    for word in (ChangeApproval.REJECTED, ChangeApproval.CANCELED, ChangeApproval.NOT_REQUESTED):
        if word in (own, by_ticket):
            return word
    return ChangeApproval.REQUESTED if ChangeApproval.REQUESTED in (own, by_ticket) else own


def _by_state(
    raw: str, said: Sequence[Said], reading: Reading, settings: RequestTrackerSettings
) -> ChangeApproval | None:
    state = settings.state(raw)
    if raw in settings.rejected:
        return ChangeApproval.REJECTED
    if state is ChangeState.CANCELED:
        return ChangeApproval.CANCELED
    if state is ChangeState.DRAFT:
        return ChangeApproval.NOT_REQUESTED
    if state in OPEN:
        return ChangeApproval.REQUESTED
    last = {one.event.by: one.decision for one in said}.values()
    if "rejected" in last:
        return ChangeApproval.REJECTED
    if "approved" in last:
        return ChangeApproval.APPROVED
    reading.miss(
        "approval", f"it is {raw!r}, and its history names nobody who moved it into an approved state"
    )
    return None


def _by_tickets(ticket: Ticket, reading: Reading) -> ChangeApproval | None:
    """Say what came of the approval tickets; None where there are none."""
    states = {asked.status for asked in ticket.asked}
    for asked in ticket.asked:
        if asked.status in ("resolved", "rejected") and asked.said is None:
            reading.miss(
                "votes", f"approval {asked.ref} is {asked.status}, and its history does not say by whom"
            )
        if asked.relinked or asked.linked_to != (ticket.ref,):
            reading.miss(
                "approval", f"approval {asked.ref} was not made for this ticket: its links were changed"
            )
    if not states:
        return None
    if "rejected" in states:
        return ChangeApproval.REJECTED
    if "deleted" in states:
        reading.miss("approval", "one of its approval tickets was deleted")
        return None
    return ChangeApproval.APPROVED if states == {"resolved"} else ChangeApproval.REQUESTED


def _look_at_links(ticket: Ticket, reading: Reading, settings: RequestTrackerSettings) -> None:
    """Hold every ticket that this one depends on against those that could be read."""
    known = {asked.ref for asked in ticket.asked} | set(ticket.others)
    links = at(ticket.value, "_hyperlinks")
    for link in links if isinstance(links, list) else []:
        if (
            at(link, "ref") == "depends-on"
            and at(link, "type") == "ticket"
            and str(at(link, "id")) not in known
        ):
            reading.miss("approval", f"it depends on ticket {at(link, 'id')}, which this login may not see")
    for one in ticket.events:
        if settings.approvals == "tickets" and one.kind == "DeleteLink" and one.field == "DependsOn":
            reading.miss("approval", f"{one.by} took a ticket away that it depended on")


def _state(
    raw: str, approval: ChangeApproval | None, reading: Reading, settings: RequestTrackerSettings
) -> ChangeState | None:
    if not raw:
        return None
    state = settings.state(raw)
    if state is None:
        reading.miss("state", f"{raw!r} is in no state_map; say what it means")
    elif settings.approvals == "tickets" and state in OPEN:
        # The ticket itself does not move with its approvals; they say where it stands.
        moved = {
            ChangeApproval.APPROVED: ChangeState.SCHEDULED,
            ChangeApproval.REQUESTED: ChangeState.AUTHORIZE,
        }
        return moved.get(approval, state) if approval is not None else state
    return state


def _votes(
    ticket: Ticket, said: Sequence[Said], reading: Reading, settings: RequestTrackerSettings
) -> tuple[ChangeVote, ...]:
    """Give the last word of each account; mimrun's own account has none."""
    votes: dict[str, ChangeVote] = {}
    for one in said:
        by = one.event.by
        if by.casefold() == settings.account.casefold():
            reading.miss(
                "votes", f"{by} is mimrun's own account, and has {one.decision} it: take that right away"
            )
            continue
        reason = (ticket.reasons or {}).get(one.comment, "") if one.comment is not None else ""
        votes[by] = ChangeVote(by, one.decision, one.event.at, reason)
    return tuple(votes.values())


def _asker(
    value: Json,
    votes: Sequence[ChangeVote],
    reading: Reading,
    settings: RequestTrackerSettings,
) -> str:
    """Say who asked for it: whoever made the ticket or stands in it as requestor.

    A record names one. Where one of several has also voted it is that one, so that the vote does not count.
    """
    asked = [reading.text("requested_by", at(value, "Creator", "id"), needed=True)]
    people = at(value, "Requestor")
    rows = people if isinstance(people, list) else []
    asked = [reading.text("requested_by", at(row, "id")) for row in rows] + asked
    own = settings.account.casefold()
    others = [name for name in dict.fromkeys(asked) if name and name.casefold() != own]
    voted = [name for name in others if name in {vote.account for vote in votes}]
    if len(voted) > 1:
        reading.miss("requested_by", f"{', '.join(voted)} asked for it, and approved it themselves")
    return (voted or others or [""])[0]
