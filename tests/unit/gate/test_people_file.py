from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimrun.errors import SettingsError
from mimrun.gate.people import Assignment, People, Person
from mimrun.gate.people_file import parse_people
from mimrun.runbook.document import read_document

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def parse(text: str) -> People:
    return parse_people(read_document(text, "people.yaml", error=SettingsError))


def roles(text: str, at: datetime = NOW, team: str = "", id_: str = "alex") -> set[str]:
    return set(parse(f"people:\n  {id_}: {{{text}}}\n" + TEAMS).at(at, team).by_id[id_].roles)


TEAMS = "teams: {database: {}, network: {}}\n"


def test_everything_that_a_person_has_is_read() -> None:
    people = parse(
        "teams: {database: {department: IT operations, members: [alex], oncall: database.ics}}\n"
        "roles: {dba_lead: speaks for the database team}\n"
        "people:\n  alex:\n    name: Alex\n    email: alex@example.org\n    timezone: Europe/Berlin\n"
        "    roles: [responder, dba_lead]\n    accounts: [al]\n"
        "    identities: {rt: [alice], oidc: ['https://login.example.org|8d1f'], chat: ['@alex']}\n"
    )
    alex = people.person("al")
    assert (alex.email, alex.timezone, alex.active) == ("alex@example.org", "Europe/Berlin", True)
    assert people.person_at("rt", "alice") == people.person_at("rt", "ALICE") == alex
    assert people.person_at("oidc", "https://login.example.org|8d1f") == alex
    assert people.person_at("oidc", "https://login.example.org|8D1F") is None
    assert people.person_at("jira", "alice") is None
    assert people.teams["database"].members == ("alex",)
    assert not people.knows("alice")


def test_a_role_counts_within_its_dates_only() -> None:
    text = "roles: [{role: change_manager, from: 2026-11-20, until: 2026-11-22}]"
    assert roles(text) == {"change_manager"}
    assert roles(text, datetime(2026, 11, 22, 23, 59, 59, tzinfo=UTC)) == {"change_manager"}
    assert roles(text, datetime(2026, 11, 23, tzinfo=UTC)) == set()
    assert roles(text, datetime(2026, 11, 19, 23, 59, 59, tzinfo=UTC)) == set()


def test_a_day_ends_where_the_person_is() -> None:
    text = "timezone: America/New_York, roles: [{role: change_manager, until: 2026-11-22}]"
    assert roles(text, datetime(2026, 11, 23, 4, 59, tzinfo=UTC)) == {"change_manager"}
    assert roles(text, datetime(2026, 11, 23, 5, tzinfo=UTC)) == set()


def test_a_role_for_some_teams_counts_for_what_these_keep() -> None:
    text = "roles: [responder, {role: change_manager, teams: [database]}]"
    assert roles(text) == {"responder"}
    assert roles(text, team="network") == {"responder"}
    assert roles(text, team="database") == {"responder", "change_manager"}


def test_without_a_moment_no_role_with_dates_counts() -> None:
    people = parse("people:\n  alex: {roles: [responder, {role: change_manager, until: 2030-01-01}]}\n")
    assert people.person("alex").roles == {"responder"}


def test_somebody_who_left_has_no_role_and_stays_known() -> None:
    people = parse("people:\n  alex: {active: false, roles: [change_manager], accounts: [al]}\n")
    assert people.person("al").roles == people.at(NOW).person("al").roles == frozenset()
    assert people.holders("change_manager", NOW) == ()


def test_a_consultant_has_an_end() -> None:
    for text in (
        "external_consultant",
        "{role: external_consultant}",
        "{role: external_consultant, from: 2026-01-01}",
    ):
        with pytest.raises(SettingsError, match="external_consultant has an end"):
            roles(f"roles: [{text}]")


def test_whatever_else_a_consultant_is_ends_with_the_engagement() -> None:
    text = "roles: [responder, {role: change_manager, until: 2027-06-01}, {role: external_consultant, until: 2026-12-31}]"
    assert roles(text) == {"responder", "change_manager", "external_consultant"}
    assert roles(text, datetime(2027, 1, 1, tzinfo=UTC)) == set()
    assert parse(f"people:\n  alex: {{{text}}}\n").person("alex").roles == frozenset()


def test_an_auditor_is_nothing_else() -> None:
    assert roles("roles: [auditor]") == {"auditor"}
    with pytest.raises(SettingsError, match="an auditor decides nothing"):
        roles("roles: [auditor, responder]")


def test_an_auditor_who_is_on_call_is_still_an_auditor() -> None:
    person = Person("alex", "alex", frozenset({"auditor"}))
    assert person.at(NOW, on_call={"oncall_database"}).roles == {"auditor"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "people:\n  a: {identities: {rt: [x]}}\n  b: {identities: {rt: [X]}}\n",
            "'x' belongs to 'b'|'X' belongs to 'a'",
        ),
        ("people:\n  a: {identities: {rt: [x]}}\n  b: {identities: {jira: [x]}}\n", "belongs to 'a' already"),
        ("people:\n  a: {identities: {rt: [bob]}}\n  b: {accounts: [bob]}\n", "belongs to 'b' already"),
        ("people:\n  a: {identities: {rt: [b]}}\n  b: {}\n", "belongs to 'b' already"),
        ("people:\n  a: {identities: {oidc: [alex]}}\n", r"write issuer\|subject"),
        ("people:\n  a: {identities: [x]}\n", "a list of accounts for each system"),
        ("people:\n  a: {timezone: Mars/Base}\n", "no time zone 'Mars/Base'"),
        ("people:\n  a: {email: nobody}\n", "no e-mail address"),
        ("people:\n  a: {active: 'no'}\n", "active is true or false"),
        ("people:\n  a: {roles: [{role: responder, until: soon}]}\n", "'soon' is no date"),
        ("people:\n  a: {roles: [{role: responder, until: '2026-01-01T10:00:00'}]}\n", "has no time zone"),
        ("people:\n  a: {roles: [{role: responder, until: 2026-02-30}]}\n", "is no date"),
        (
            "people:\n  a: {roles: [{role: x, from: 2026-02-02, until: 2026-02-01}]}\n",
            "ends before it begins",
        ),
        ("people:\n  a: {roles: [{role: x, untill: 2026-02-01}]}\n", "did you mean 'until'"),
        ("people:\n  a: {roles: [{role: x, teams: []}]}\n", "teams names nobody"),
        (
            "people:\n  a: {roles: [{role: x, teams: [databse]}]}\nteams: {database: {}}\n",
            "did you mean 'database'",
        ),
        ("people:\n  a: {}\nteams: {database: {members: [b]}}\n", "nobody is known as 'b'"),
        ("people:\n  a: {}\nteams: {database: {member: [a]}}\n", "did you mean 'members'"),
        ("people:\n  a: {}\nteams: [database]\n", "teams is a mapping"),
        ("people:\n  a: {}\nroles: {responder: mine}\n", "is a role of the process"),
        ("people:\n  a: {}\nroles: {oncall_x: mine}\n", "is for on call"),
        ("people:\n  a: {}\nroles: {dba: ''}\n", "say in a line what 'dba' is for"),
    ],
)
def test_what_is_wrong_is_said(text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        parse(text)


MOMENTS = st.integers(0, 3650 * 24).map(lambda n: datetime(2020, 1, 1, tzinfo=UTC) + timedelta(hours=n))
ROLES = st.sampled_from(["responder", "change_manager", "freeze_approver"])
ASSIGNED = st.builds(
    Assignment,
    ROLES,
    st.none() | MOMENTS,
    st.none() | MOMENTS,
    st.frozensets(st.sampled_from(["database", "network"]), max_size=2),
)


@given(
    st.frozensets(ROLES), st.lists(ASSIGNED, max_size=4), MOMENTS, MOMENTS, st.sampled_from(["", "database"])
)
def test_asking_again_for_another_moment_forgets_the_first(
    standing: frozenset[str], assigned: list[Assignment], first: datetime, second: datetime, team: str
) -> None:
    timed = tuple(a for a in assigned if a.role not in standing)
    person = Person("alex", "alex", standing, assigned=timed)
    assert person.at(first, team, {"oncall_network"}).at(second, team) == person.at(second, team)


@given(st.lists(ASSIGNED, max_size=4), MOMENTS)
def test_a_moment_never_gives_a_role_that_nobody_assigned(assigned: list[Assignment], at: datetime) -> None:
    got = Person("alex", "alex", assigned=tuple(assigned)).at(at, "database").roles
    assert got == {a.role for a in assigned if a.counts(at, "database")}
