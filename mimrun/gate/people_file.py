"""The people file: read strictly, with every problem named at its place.

    teams:
      database-oncall: {department: IT operations, members: [alex], oncall: database.ics}
    people:
      alex:
        name: Alex, database on call
        roles: [responder, {role: freeze_approver, until: 2026-12-31}]
        accounts: [aromero, aromero-adm]
        identities: {rt: [aromero], oidc: ["https://login.example.org|8d1f"]}

It is read again whenever a decision is made, so that a role taken away is gone at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from mimrun.errors import Problem, SettingsError
from mimrun.gate.people import Assignment, People, Person, Team, identity_key
from mimrun.gate.people_oncall import load_rotas
from mimrun.gate.role import AUDITOR, CONSULTANT, ONCALL, ROLES, SHAPE
from mimrun.runbook.document import Document, ValuePath, load_document
from mimrun.runbook.suggestion import suggest

_ID: Final = re.compile(r"[a-z][a-z0-9._-]{0,62}")
_SYSTEM: Final = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_EMAIL: Final = re.compile(r"[^@\s<>]{1,64}@[^@\s<>]{1,190}")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TOP: Final = ("people", "shared", "roles", "teams")
_KEYS: Final = ("name", "email", "timezone", "active", "roles", "accounts", "identities")
_ROLE_KEYS: Final = ("role", "from", "until", "teams")
_TEAM_KEYS: Final = ("department", "members", "oncall")


def load_people(path: Path) -> People:
    """Read a people file, and who is on call; a file that is not there means that nobody is known.

    Raises:
        SettingsError: a file is not what it should be; every problem is named with its place.
    """
    if not path.exists():
        return People(file=str(path))
    people = parse_people(load_document(path, error=SettingsError))
    return People(
        people.by_id,
        people.file,
        people.shared,
        people.roles,
        people.teams,
        load_rotas(path.parent / "oncall", people.teams),
    )


def parse_people(document: Document) -> People:
    """Make the people of a document.

    Raises:
        SettingsError: as for `load_people`.
    """
    reader = _Reader(document)
    people, shared = reader.people(), reader.shared()
    roles, teams = reader.roles(), reader.teams({person.id for person in people})
    reader.check_scopes(people, teams)
    if reader.problems:
        raise SettingsError(problems=reader.problems)
    by_id = {person.id: person for person in people}
    return People(by_id, document.file, shared, roles, {team.id: team for team in teams})


def read_date(text: object, zone: ZoneInfo, *, last: bool) -> datetime:
    """Give the moment that a date or a time means, UTC.

    Arguments:
        text: `2026-12-31`, or a time with its zone as RFC 3339 has it.
        zone: in which a bare date is meant.
        last: a bare date means the end of that day, and not its beginning.

    Raises:
        ValueError: it is neither.
    """
    said = f"{text!r} is no date; write 2026-12-31, or 2026-12-31T18:00:00Z"
    if not isinstance(text, str):
        raise ValueError(said)
    try:
        if _DATE.fullmatch(text):
            day = datetime.combine(datetime.strptime(text, "%Y-%m-%d").date(), time(), tzinfo=zone)  # noqa: DTZ007 - only the date
            return (day + timedelta(days=1) if last else day).astimezone(UTC)
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError) as exc:
        raise ValueError(said) from exc
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone; write 2026-12-31T18:00:00Z")
    return moment.astimezone(UTC)


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

    def roles(self) -> dict[str, str]:
        """Give the roles of one's own, with what each is for."""
        declared: dict[str, str] = {}
        for role, meaning in self._mapping(("roles",)):
            if not SHAPE.fullmatch(role) or role in ROLES or role.startswith(ONCALL):
                why = "is a role of the process" if role in ROLES else "must be lower case with underscores"
                why = f"begins with {ONCALL!r}, which is for on call" if role.startswith(ONCALL) else why
                self._wrong(("roles", role), f"role {role!r} {why}")
            if not isinstance(meaning, str) or not meaning.strip():
                self._wrong(("roles", role), f"say in a line what {role!r} is for")
            declared[role] = str(meaning)
        return declared

    def teams(self, known: set[str]) -> list[Team]:
        return [self._team(id_, value, known) for id_, value in self._mapping(("teams",))]

    def check_scopes(self, people: list[Person], teams: list[Team]) -> None:
        """See that the teams that roles are for are there."""
        known = {team.id for team in teams}
        for person in people:
            for missing in sorted({team for a in person.assigned for team in a.teams} - known):
                self._wrong(("people", person.id, "roles"), f"no team {missing!r}", suggest(missing, known))

    def _team(self, id_: str, value: object, known: set[str]) -> Team:
        where = ("teams", id_)
        if not _ID.fullmatch(id_):
            self._wrong(where, f"team id {id_!r} must be lower case letters, digits, '.', '_' or '-'")
        fields = self._fields(where, value, _TEAM_KEYS)
        members = self._names((*where, "members"), fields.get("members"))
        for member in members:
            if member not in known:
                self._wrong((*where, "members"), f"nobody is known as {member!r}", suggest(member, known))
        department, oncall = (self._text((*where, key), fields) for key in ("department", "oncall"))
        return Team(id_, department, tuple(members), oncall)

    def _person(self, id_: str, value: object) -> Person:
        where = ("people", id_)
        if not _ID.fullmatch(str(id_)):
            self._wrong(where, f"person id {id_!r} must be lower case letters, digits, '.', '_' or '-'")
        fields = self._fields(where, value, _KEYS)
        zone = self._zone((*where, "timezone"), fields)
        roles, assigned = self._roles((*where, "roles"), fields.get("roles"), zone)
        email = self._text((*where, "email"), fields)
        if email and not _EMAIL.fullmatch(email):
            self._wrong((*where, "email"), f"{email!r} is no e-mail address")
        active = fields.get("active", True)
        if not isinstance(active, bool):
            self._wrong((*where, "active"), "active is true or false")
        return Person(
            id=str(id_),
            name=str(fields.get("name") or id_),
            roles=frozenset(roles) if active is True else frozenset(),
            accounts=frozenset(self._names((*where, "accounts"), fields.get("accounts"))),
            assigned=assigned,
            email=email,
            timezone=zone.key,
            identities=frozenset(self._identities((*where, "identities"), fields.get("identities"))),
            active=active is True,
        )

    def _roles(
        self, where: ValuePath, value: object, zone: ZoneInfo
    ) -> tuple[set[str], tuple[Assignment, ...]]:
        """Give the roles without dates and teams, and the others.

        1. A role that somebody has anyway needs no dates.
        2. A consultant has an end; whatever else they are counts no longer than that.
        3. An auditor decides nothing, and so is nothing else.
        """
        if value is None:
            return set(), ()
        if not isinstance(value, list):
            self._wrong(where, "roles is a list of names, or of {role, from, until, teams}")
            return set(), ()
        read = [self._role((*where, n), item, zone) for n, item in enumerate(value)]
        standing = {a.role for a in read if a == Assignment(a.role)}
        timed = tuple(a for a in read if a.role not in standing)
        for bad in sorted(standing - {""}):
            if not SHAPE.fullmatch(bad):
                self._wrong(where, f"role {bad!r} must be lower case with underscores")
        if CONSULTANT in {a.role for a in read if a.until is None}:
            self._wrong(where, f"{CONSULTANT} has an end", f"write {{role: {CONSULTANT}, until: 2026-12-31}}")
        if AUDITOR in {a.role for a in read} and len({a.role for a in read}) > 1:
            self._wrong(
                where, "an auditor decides nothing, and so has no other role", "make it two persons' work"
            )
        if CONSULTANT in {a.role for a in read}:
            return set(), tuple(read)
        return standing, timed

    def _role(self, where: ValuePath, value: object, zone: ZoneInfo) -> Assignment:
        if isinstance(value, str):
            return Assignment(value)
        if not isinstance(value, dict) or not isinstance(value.get("role"), str):
            self._wrong(where, "roles is a list of names, or of {role, from, until, teams}")
            return Assignment("")
        for key in value:
            if key not in _ROLE_KEYS:
                self._wrong((*where, key), f"unknown key {key!r}", suggest(str(key), _ROLE_KEYS))
        if not SHAPE.fullmatch(value["role"]):
            self._wrong((*where, "role"), f"role {value['role']!r} must be lower case with underscores")
        since, until = (
            self._date((*where, key), value.get(key), zone, last=key == "until") for key in ("from", "until")
        )
        if since is not None and until is not None and until <= since:
            self._wrong((*where, "until"), "the role ends before it begins")
        teams = frozenset(self._names((*where, "teams"), value.get("teams")))
        if "teams" in value and not teams:
            self._wrong((*where, "teams"), "teams names nobody; leave it out where the role counts for all")
        return Assignment(value["role"], since, until, teams)

    def _date(self, where: ValuePath, value: object, zone: ZoneInfo, *, last: bool) -> datetime | None:
        try:
            return None if value is None else read_date(value, zone, last=last)
        except ValueError as exc:
            self._wrong(where, str(exc))
            return None

    def _zone(self, where: ValuePath, fields: dict[str, object]) -> ZoneInfo:
        name = self._text(where, fields) or "UTC"
        try:
            return ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            self._wrong(where, f"no time zone {name!r}", "such as Europe/Berlin, or UTC")
            return ZoneInfo("UTC")

    def _identities(self, where: ValuePath, value: object) -> Iterator[tuple[str, str]]:
        if value is not None and not isinstance(value, dict):
            self._wrong(where, "identities has a list of accounts for each system")
            return
        for system, accounts in (value or {}).items():
            if not _SYSTEM.fullmatch(str(system)):
                self._wrong((*where, system), f"{system!r} is no name of a system")
            for account in self._names((*where, system), accounts):
                if system == "oidc" and not re.fullmatch(r"https?://[^|\s]+\|\S{1,255}", account):
                    self._wrong(
                        (*where, system),
                        f"{account!r} is no account of OpenID Connect",
                        "write issuer|subject",
                    )
                yield str(system), account

    def _mapping(self, where: tuple[str]) -> Iterator[tuple[str, object]]:
        top = self.document.value
        value = top.get(where[0]) if isinstance(top, dict) else None
        if value is not None and not isinstance(value, dict):
            self._wrong(where, f"{where[0]} is a mapping")
        yield from ((str(key), item) for key, item in value.items()) if isinstance(value, dict) else ()

    def _fields(self, where: ValuePath, value: object, keys: tuple[str, ...]) -> dict[str, object]:
        if value is not None and not isinstance(value, dict):
            kind = "person" if where[0] == "people" else "team"
            self._wrong(where, f"a {kind} is a mapping with {', '.join(keys)}")
        fields: dict[str, object] = value if isinstance(value, dict) else {}
        for key in fields:
            if key not in keys:
                self._wrong((*where, key), f"unknown key {key!r}", suggest(str(key), keys))
        return fields

    def _text(self, where: ValuePath, fields: dict[str, object]) -> str:
        value = fields.get(str(where[-1]))
        if value is not None and not isinstance(value, str):
            self._wrong(where, f"{where[-1]} is a text")
        return value if isinstance(value, str) else ""

    def _names(self, where: ValuePath, value: object) -> list[str]:
        if value is None:
            return []
        if isinstance(value, list) and all(isinstance(item, str) and item for item in value):
            return [str(item) for item in value]
        self._wrong(where, f"{where[-1]} is a list of names")
        return []

    def _check_accounts(self, people: list[Person]) -> None:
        """See that no account is two persons', neither in one system nor in two: a name must say who it is."""
        owner: dict[str, str] = {person.id: person.id for person in people}
        elsewhere: dict[str, str] = {}
        for person in people:
            for account in sorted(person.accounts):
                if owner.setdefault(account, person.id) != person.id:
                    self._taken(person, "accounts", account, owner[account])
        folded = {account.casefold(): id_ for account, id_ in owner.items()}
        for person in people:
            for system, account in sorted(person.identities):
                key = identity_key(system, account)[1]
                first = folded.get(key) or elsewhere.setdefault(key, person.id)
                if first != person.id:
                    self._taken(person, "identities", account, first)

    def _taken(self, person: Person, key: str, account: str, owner: str) -> None:
        self._wrong(
            ("people", person.id, key),
            f"account {account!r} belongs to {owner!r} already; one account, one person",
        )

    def _wrong(self, where: ValuePath, message: str, hint: str = "") -> None:
        self.problems.append(self.document.problem(where, message, hint))
