"""Identity: who acts at this keyboard, and how much that is worth.

On a single machine the operating system knows the account, and that is all the proof there is. A
person with several accounts is one person. `--as` names somebody else openly: the log records that it
was only claimed.
"""

from __future__ import annotations

from dataclasses import dataclass

from mimrun.app.home import operating_system_user
from mimrun.errors import SettingsError
from mimrun.gate.people import CLAIMED, People, Person
from mimrun.log.entry import Actor

OPERATING_SYSTEM = "os-user"
"""The operating system says so."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who acts.

    Arguments:
        person: known from the people file, or made from the account with no role.
        auth: `os-user`, or `claimed:ACCOUNT` with the account that the operating system knows.
        behalf: names (`mimrun.gate.people.acted`) of those for whom it is done, where that is somebody else.
    """

    person: Person
    auth: str
    behalf: frozenset[str] = frozenset()

    def actor(self, via: str = "cli") -> Actor:
        """Give the actor as the log records it."""
        return Actor("person", self.person.id, via, self.auth)


def identify(people: People, claimed: str | None) -> Identity:
    """Say who acts.

    Arguments:
        claimed: the option `--as`, or None for the operating-system user.

    Raises:
        SettingsError: `--as` names nobody the people file knows.
    """
    account = operating_system_user()
    if claimed is None:
        person = people.person(account) if people.knows(account) else Person(account, account)
        return Identity(person, OPERATING_SYSTEM)
    try:
        person = people.person(claimed)
    except SettingsError as exc:
        raise SettingsError(f"--as {claimed}: {exc}") from exc
    own = people.knows(account) and people.person(account).id == person.id
    return Identity(person, OPERATING_SYSTEM if own else f"{CLAIMED}{account}"[:128])
