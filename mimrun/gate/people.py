"""People: who may act, under which accounts, in which roles.

    people:
      alex:
        name: Alex, database on call
        roles: [responder]
        accounts: [aromero, aromero-adm]

One person may have several accounts and counts once. The file is read again whenever a decision is
made, so that a role taken away is gone at once.

Where two people are needed, one rule says whether two words are those of two: `People.behind`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mimrun.errors import Problem, SettingsError
from mimrun.runbook.document import Document, load_document
from mimrun.runbook.suggestion import suggest

_ID: Final = re.compile(r"[a-z][a-z0-9._-]{0,62}")
_ROLE: Final = re.compile(r"[a-z][a-z0-9_]{0,59}")
_TOP: Final = ("people", "shared")
_KEYS: Final = ("name", "roles", "accounts")
CLAIMED: Final = "claimed:"
"""How the log marks an actor of whom only the account at the keyboard is known; the account follows."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who acts: one human being, however many accounts.

    Arguments:
        id: the pseudonym that the log records.
        name: for other people to read.
        roles: what the process lets them do.
        accounts: operating-system or directory accounts that are theirs.
    """

    id: str
    name: str
    roles: frozenset[str] = frozenset()
    accounts: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class People:
    """Everybody this installation knows.

    Arguments:
        shared: accounts at which several people work, so that whoever is claimed there counts.
    """

    by_id: Mapping[str, Person] = field(default_factory=dict)
    file: str = "people.yaml"
    shared: frozenset[str] = frozenset()

    def person(self, id_or_account: str) -> Person:
        """Give the person with this id, or whose account this is.

        Raises:
            SettingsError: nobody has it.
        """
        found = self.by_id.get(id_or_account) or self._by_account().get(id_or_account)
        if found is None:
            known = suggest(id_or_account, self.by_id)
            raise SettingsError(f"{self.file}: nobody is known as {id_or_account!r}; {known}")
        return found

    def knows(self, id_or_account: str) -> bool:
        """Say whether somebody has this id or account."""
        return id_or_account in self.by_id or id_or_account in self._by_account()

    def behind(self, names: Collection[str]) -> frozenset[str]:
        """Give the persons behind what was said or done. Two words are those of two people where these differ altogether.

        1. Whoever it was said for, by their id, whatever account that was found by.
        2. Whoever has the account at the keyboard, where the other was only claimed there; but at an account
           that several people share, nobody knows whose hands these were, and the claim is taken at its word.

        Arguments:
            names: as `acted` gives them.
        """
        hands = (name.removeprefix(CLAIMED) for name in names if name not in self._shared_claims())
        return frozenset(self.person(name).id if self.knows(name) else name for name in hands)

    def _shared_claims(self) -> frozenset[str]:
        return frozenset(f"{CLAIMED}{account}" for account in self.shared)

    def _by_account(self) -> dict[str, Person]:
        return {account: person for person in self.by_id.values() for account in person.accounts}


def acted(id_: str, auth: str) -> frozenset[str]:
    """Give the names of those who did something: in whose name it was, and, marked as such, at whose keyboard.

    Arguments:
        id_, auth: of the actor, as the log has them.
    """
    return frozenset({id_, auth} if auth.startswith(CLAIMED) else {id_})


def load_people(path: Path) -> People:
    """Read a people file; a file that is not there means that nobody is known.

    Raises:
        SettingsError: the file is not a people file; every problem is named with its place.
    """
    if not path.exists():
        return People(file=str(path))
    return parse_people(load_document(path, error=SettingsError))


def parse_people(document: Document) -> People:
    """Make the people of a document.

    Raises:
        SettingsError: as for `load_people`.
    """
    reader = _Reader(document)
    people, shared = reader.people(), reader.shared()
    if reader.problems:
        raise SettingsError(problems=reader.problems)
    return People({person.id: person for person in people}, document.file, shared)


class _Reader:
    """Collects the people and everything that is wrong with them."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.problems: list[Problem] = []

    def people(self) -> list[Person]:
        top = self.document.value
        if not isinstance(top, dict) or not isinstance(top.get("people"), dict):
            self._wrong((), "a people file has a key 'people', with a person under each id")
            return []
        for key in top:
            if key not in _TOP:
                self._wrong((key,), f"unknown key {key!r}", f"allowed here: {', '.join(_TOP)}")
        people = [self._person(id_, value) for id_, value in top["people"].items()]
        self._check_accounts(people)
        return people

    def shared(self) -> frozenset[str]:
        top = self.document.value
        return frozenset(self._names(("shared",), top.get("shared")) if isinstance(top, dict) else ())

    def _person(self, id_: str, value: object) -> Person:
        where = ("people", id_)
        if not _ID.fullmatch(str(id_)):
            self._wrong(where, f"person id {id_!r} must be lower case letters, digits, '.', '_' or '-'")
        fields = value if isinstance(value, dict) else {}
        if value is not None and not isinstance(value, dict):
            self._wrong(where, f"a person is a mapping with {', '.join(_KEYS)}")
        for key in fields:
            if key not in _KEYS:
                self._wrong((*where, key), f"unknown key {key!r}", suggest(str(key), _KEYS))
        roles = self._names((*where, "roles"), fields.get("roles"))
        for role in roles:
            if not _ROLE.fullmatch(role):
                self._wrong((*where, "roles"), f"role {role!r} must be lower case with underscores")
        accounts = self._names((*where, "accounts"), fields.get("accounts"))
        return Person(str(id_), str(fields.get("name") or id_), frozenset(roles), frozenset(accounts))

    def _names(self, where: tuple[str | int, ...], value: object) -> list[str]:
        if value is None:
            return []
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return list(value)
        self._wrong(where, f"{where[-1]} is a list of names")
        return []

    def _check_accounts(self, people: list[Person]) -> None:
        owner: dict[str, str] = {person.id: person.id for person in people}
        for person in people:
            for account in sorted(person.accounts):
                if owner.setdefault(account, person.id) != person.id:
                    self._wrong(
                        ("people", person.id, "accounts"),
                        f"account {account!r} belongs to {owner[account]!r} already; one account, one person",
                    )

    def _wrong(self, where: tuple[str | int, ...], message: str, hint: str = "") -> None:
        self.problems.append(self.document.problem(where, message, hint))
