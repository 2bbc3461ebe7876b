"""People: who may act, under which accounts, in which roles, and when.

One person may have several accounts and counts once. A role may end, begin later, or hold for some teams only, and
somebody may have left; so a decision is made with the people as they are at its moment: `People.at`. Where two people
are needed, one rule says whether two words are those of two: `People.behind`.

This page is values and questions; `mimrun.gate.people_file` reads the file.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Final

from mimrun.errors import SettingsError
from mimrun.gate.oncall import Rotas
from mimrun.gate.role import CONSULTANT, effective, oncall_role
from mimrun.runbook.suggestion import suggest

CLAIMED: Final = "claimed:"
"""How the log marks an actor of whom only the account at the keyboard is known; the account follows."""

EXACT: Final = frozenset({"oidc"})
"""Systems whose accounts are compared letter by letter; elsewhere large and small letters are the same."""


@dataclass(frozen=True, slots=True, order=True)
class Assignment:
    """A role that somebody has for a time, or for some teams.

    Arguments:
        since: the first moment, UTC; None: always before.
        until: the first moment without it, UTC; None: for good.
        teams: it counts for runbooks that one of these teams keeps; for all where none is named.
    """

    role: str
    since: datetime | None = None
    until: datetime | None = None
    teams: frozenset[str] = frozenset()

    def holds(self, at: datetime) -> bool:
        """Say whether a moment is within its dates."""
        return (self.since is None or self.since <= at) and (self.until is None or at < self.until)

    def counts(self, at: datetime, team: str) -> bool:
        """Say whether it counts at a moment, for what a team keeps."""
        return self.holds(at) and (not self.teams or team in self.teams)


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who acts: one human being, however many accounts.

    Arguments:
        id: the pseudonym that the log records.
        name: for other people to read.
        roles: what the process lets them do: as the file has it, those without dates and teams; in the people of a
            moment (`People.at`), those that count then.
        accounts: operating-system or directory accounts that are theirs.
        assigned: roles with dates or teams.
        email: where messages go; it never says who somebody is.
        timezone: in which their dates are meant.
        identities: accounts in other systems, as (system, account).
        active: somebody who is not has no role at all, and does not sign in.
    """

    id: str
    name: str
    roles: frozenset[str] = frozenset()
    accounts: frozenset[str] = frozenset()
    assigned: tuple[Assignment, ...] = ()
    email: str = ""
    timezone: str = "UTC"
    identities: frozenset[tuple[str, str]] = frozenset()
    active: bool = True

    def at(self, moment: datetime, team: str = "", on_call: Collection[str] = ()) -> Person:
        """Give the person with the roles that count at a moment.

        1. Whoever is not active, or whose time as a consultant is over or not begun, has none.
        2. A role counts within its dates and for its teams; whoever is on call has the role for it.
        3. An auditor has no other.

        Arguments:
            team: which keeps the runbook that it is about; "" where it is about none.
            on_call: the roles of those teams that the person is on call for.
        """
        if not self.active or not self.engaged(moment):
            return replace(self, roles=frozenset())
        timed = {a.role for a in self.assigned}
        counting = {a.role for a in self.assigned if a.counts(moment, team)}
        # What a former moment had found is not taken over.
        standing = {role for role in self.roles if role not in timed and not role.startswith(oncall_role(""))}
        return replace(self, roles=effective({*standing, *counting, *on_call}))

    def engaged(self, moment: datetime) -> bool:
        """Say whether somebody from outside is engaged at a moment; whoever is not from outside always is."""
        terms = [a for a in self.assigned if a.role == CONSULTANT]
        return not terms or any(a.holds(moment) for a in terms)


@dataclass(frozen=True, slots=True)
class Team:
    """People who work together, and whose runbooks name them as `owner`.

    Arguments:
        department: where in the organisation they are, or "".
        members: ids of persons.
        oncall: the file, in the home folder or absolute, that their plan is imported from; or "".
    """

    id: str
    department: str = ""
    members: tuple[str, ...] = ()
    oncall: str = ""


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Somebody who has proven who they are, otherwise than by an account of the operating system.

    Arguments:
        person: their id in the people file.
        auth: how that is known: `token:NAME` or `oidc:ISSUER`.
        scopes: what they may do by it; None for everything that is theirs to do.
        until: when it ends, as the log writes it.
        maker: whoever made the token, where that is somebody else: they have it as well.
        changed: when their password had last changed as it was compared; None where it was none.
    """

    person: str
    auth: str
    scopes: frozenset[str] | None = None
    until: str = ""
    maker: str = ""
    changed: str | None = field(default=None, compare=False)


@dataclass(frozen=True)
class People:
    """Everybody this installation knows.

    Arguments:
        shared: accounts at which several people work, so that whoever is claimed there counts.
        roles: roles of one's own, with what each is for.
        teams: by id.
        rotas: who is on call, by team.
        signed_in: whoever acts here, where they have signed in.
    """

    by_id: Mapping[str, Person] = field(default_factory=dict)
    file: str = "people.yaml"
    shared: frozenset[str] = frozenset()
    roles: Mapping[str, str] = field(default_factory=dict)
    teams: Mapping[str, Team] = field(default_factory=dict)
    rotas: Rotas = field(default_factory=dict)
    signed_in: SignedIn | None = None

    def at(self, moment: datetime, team: str = "") -> People:
        """Give the people as they are at a moment: everybody's roles are those that count then.

        Arguments:
            team: which keeps the runbook that it is about; roles for some teams count for these only.
        """
        on_call: dict[str, set[str]] = {}
        for name, rota in self.rotas.items():
            for id_ in rota.on_call(moment):
                on_call.setdefault(id_, set()).add(oncall_role(name))
        persons = {id_: person.at(moment, team, on_call.get(id_, ())) for id_, person in self.by_id.items()}
        # Where nothing has changed since, what was found about these people stays found.
        return self if persons == self.by_id else replace(self, by_id=persons)

    def holders(self, role: str, at: datetime, team: str = "") -> tuple[Person, ...]:
        """Give whoever has a role at a moment, sorted by id.

        Arguments:
            role: one of the process, one of the file's own, or `oncall_TEAM`.
            team: as for `at`.
        """
        found = self.at(at, team).by_id
        return tuple(found[id_] for id_ in sorted(found) if role in found[id_].roles)

    def on_call(self, team: str, at: datetime) -> tuple[Person, ...]:
        """Give whoever is on call for a team at a moment and active, sorted by id."""
        rota = self.rotas.get(team)
        found = [self.by_id[id_] for id_ in (rota.on_call(at) if rota else ()) if id_ in self.by_id]
        return tuple(person for person in found if person.active)

    def person(self, id_or_account: str) -> Person:
        """Give the person with this id, or whose account this is.

        Raises:
            SettingsError: nobody has it.
        """
        found = self.by_id.get(id_or_account) or self._by_account.get(id_or_account)
        if found is None:
            known = suggest(id_or_account, self.by_id)
            raise SettingsError(f"{self.file}: nobody is known as {id_or_account!r}; {known}")
        return found

    def knows(self, id_or_account: str) -> bool:
        """Say whether somebody has this id or account."""
        return id_or_account in self.by_id or id_or_account in self._by_account

    def person_at(self, system: str, account: str) -> Person | None:
        """Give the person whose account this is in another system; None where it is nobody's.

        Arguments:
            system: as `identities` names it: a change system of `changes.yaml`, `oidc`, `chat`.
        """
        return self._by_identity.get(identity_key(system, account))

    def behind(self, names: Collection[str]) -> frozenset[str]:
        """Give the persons behind what was said or done. Two words are those of two people where these differ altogether.

        1. Whoever it was said for, by their id, whatever account that was found by.
        2. Whoever has the account at the keyboard, where the other was only claimed there; but at an account
           that several people share, nobody knows whose hands these were, and the claim is taken at its word.

        Arguments:
            names: as `acted` gives them.
        """
        hands = (name.removeprefix(CLAIMED) for name in names if name not in self._shared_claims)
        return frozenset(self.person(name).id if self.knows(name) else name for name in hands)

    @cached_property
    def _shared_claims(self) -> frozenset[str]:
        return frozenset(f"{CLAIMED}{account}" for account in self.shared)

    @cached_property
    def _by_account(self) -> dict[str, Person]:
        return {account: person for person in self.by_id.values() for account in person.accounts}

    @cached_property
    def _by_identity(self) -> dict[tuple[str, str], Person]:
        return {identity_key(*one): person for person in self.by_id.values() for one in person.identities}


def identity_key(system: str, account: str) -> tuple[str, str]:
    """Give what two spellings of one account in another system have in common."""
    return system, account if system in EXACT else account.casefold()


def acted(id_: str, auth: str) -> frozenset[str]:
    """Give the names of those who did something: in whose name it was, and, marked as such, at whose keyboard.

    Arguments:
        id_, auth: of the actor, as the log has them.
    """
    return frozenset({id_, auth} if auth.startswith(CLAIMED) else {id_})


def ends_soon(person: Person, after: datetime, before: datetime) -> Iterable[Assignment]:
    """Give the roles of somebody that end between two moments."""
    return (a for a in person.assigned if a.until is not None and after < a.until <= before)
