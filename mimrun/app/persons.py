"""Persons: who may say a word that counts, and when two words are those of two people."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from mimrun.app.home import Home
from mimrun.app.identity import Identity
from mimrun.errors import GateError
from mimrun.gate.approval import claim_of
from mimrun.gate.people import Person, acted
from mimrun.gate.role import AUDITOR


def require_known(
    home: Home, identity: Identity, what: str, *, roles: Collection[str] = (), team: str = ""
) -> Person:
    """See that whoever acts is somebody of the people file, as the file says now.

    Arguments:
        what: what they want to do, for the message: "lift the kill switch".
        roles: one of these is needed; none where anybody known may.
        team: which keeps the runbook that it is about; roles for some teams count for these only.

    Raises:
        GateError: they are not, or have none of the roles.
    """
    file, person = home.settings.people, home.people(team).by_id.get(identity.person.id)
    if person is not None and (gone := why_not(person, home.clock())):
        raise GateError(f"{person.id} {gone}, and cannot {what}; another person must")
    if person is None:
        raise GateError(
            f"{identity.person.id} is not known: to {what} one must be in {file}; ask somebody who is,"
            " or act as such a person with --as"
        )
    if roles and person.roles.isdisjoint(roles):
        held = ", ".join(sorted(person.roles)) or "no role"
        raise GateError(f"{person.id} has {held}; to {what} one needs {' or '.join(sorted(roles))}")
    return person


def require_present(home: Home, identity: Identity, what: str) -> None:
    """See that whoever acts is nobody of whom the people file says that they decide nothing; a stranger may.

    Arguments:
        what: what they want to do, for the message.

    Raises:
        GateError: they have left, or are an auditor.
    """
    person = home.people().by_id.get(identity.person.id)
    if person is not None and (gone := why_not(person, home.clock())):
        raise GateError(f"{person.id} {gone}, and cannot {what}; another person must")


def why_not(person: Person, at: datetime) -> str:
    """Say why nothing that somebody decides counts, whatever it is about; "" where it does."""
    if not person.active:
        return "is not active any more"
    if not person.engaged(at):
        return "has no engagement as a consultant now"
    return "is an auditor, who decides nothing" if AUDITOR in person.roles else ""


def require_another(home: Home, identity: Identity, names: Collection[str], refused: str) -> None:
    """See that whoever acts is somebody else than whoever acted before them; in which order is all the same.

    Arguments:
        names: of whoever acted before (`mimrun.gate.people.acted`).
        refused: what the same person has done already, and what is needed now.

    Raises:
        GateError: it is the same person, or the same keyboard, where people do not share it.
    """
    people = home.people()
    if not people.behind(acted(identity.person.id, identity.auth)).isdisjoint(people.behind(names)):
        cure = f"; where several people share an account, {people.file} says so under shared"
        claim = claim_of(identity.auth)
        raise GateError(f"{identity.person.id}{claim} {refused}{cure if claim else ''}")
