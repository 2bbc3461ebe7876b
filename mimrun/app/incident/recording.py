"""Recording what somebody says of an incident, unless it stands otherwise than when they looked."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mimrun.app.home import Home
from mimrun.app.identity import Identity
from mimrun.app.incident.view import find_state
from mimrun.app.rules import note_rules
from mimrun.errors import InputError, RefusedError
from mimrun.incident.incident import Incident, incident_in
from mimrun.log.entry import Blob, Draft
from mimrun.log.kinds import Body
from mimrun.log.store import View

LONGEST = 1024 * 1024
"""Bytes of a text."""


def not_closed(home: Home, incident: str) -> Incident:
    """Give how an incident stands that something is still to be done in.

    Raises:
        InputError: there is no such incident.
        RefusedError: it is closed.
    """
    was = find_state(home, incident)
    if was.status == "closed":
        raise RefusedError(f"{was.name} is closed; `mimrun incident reopen {was.name} --reason …` opens it")
    return was


def said_by(identity: Identity, was: Incident, body: Body, text: str = "") -> Draft:
    """Give the entry in which somebody says something of an incident.

    Arguments:
        text: what they wrote besides, where the kind has a place for it.
    """
    return Draft(identity.actor(), body, inc=was.name, blobs=text_blobs(text))


def text_blobs(text: str) -> tuple[Blob, ...]:
    """Give what keeps a text; nothing where there is none.

    Raises:
        InputError: it is too long.
    """
    data = text.strip().encode("utf-8", "backslashreplace")
    if len(data) > LONGEST:
        raise InputError(f"this has {len(data)} bytes and {LONGEST} is the most; attach it as a file")
    return (Blob("text", data, "text"),) if data else ()


def record(
    home: Home,
    identity: Identity,
    was: Incident,
    drafts: Sequence[Draft],
    check: Callable[[View], object] | None = None,
) -> Incident:
    """Record what somebody says; gives how the incident stands then.

    Arguments:
        was: how it stood when they looked.
        check: looked at in the same transaction; what it raises comes out here, and nothing is recorded.

    Raises:
        RefusedError: it stands otherwise by now.
        StoreError: the log cannot be written.
    """

    def guard(view: View) -> None:
        if incident_in(view, was.name) != was:
            raise RefusedError(f"somebody else has changed {was.name} at this moment; look again")
        if check is not None:
            check(view)

    note_rules(home, identity.actor())
    home.store.append(drafts, guard=guard)
    return incident_in(home.store, was.name)
