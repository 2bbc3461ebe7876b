"""Persons: who may say a word that counts, and when two words are those of two people."""

from __future__ import annotations

from collections.abc import Collection

from mimrun.app.home import Home
from mimrun.app.identity import Identity
from mimrun.errors import GateError
from mimrun.gate.people import Person


def require_known(home: Home, identity: Identity, what: str, *, roles: Collection[str] = ()) -> Person:
    """See that whoever acts is somebody of the people file, as the file says now.

    Arguments:
        what: what they want to do, for the message: "lift the kill switch".
        roles: one of these is needed; none where anybody known may.

    Raises:
        GateError: they are not, or have none of the roles.
    """
    file, person = home.settings.people, home.people().by_id.get(identity.person.id)
    if person is None:
        raise GateError(
            f"{identity.person.id} is not known: to {what} one must be in {file}; ask somebody who is,"
            " or act as such a person with --as"
        )
    if roles and person.roles.isdisjoint(roles):
        held = ", ".join(sorted(person.roles)) or "no role"
        raise GateError(f"{person.id} has {held}; to {what} one needs {' or '.join(sorted(roles))}")
    return person


def is_another(person: Person, names: Collection[str]) -> bool:
    """Say whether a person is somebody else than whoever acted under these ids and accounts."""
    return {person.id, *person.accounts}.isdisjoint(names)
