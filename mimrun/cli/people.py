"""`mimrun people`: who has which role now, who is on call, and what is wrong with the file."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from mimrun.canonical import Json
from mimrun.cli.oncall import AtOption, moment_of
from mimrun.cli.options import HomeOption, JsonOption, group, settings_of
from mimrun.cli.terminal import console, print_json, safe_line
from mimrun.errors import SettingsError
from mimrun.gate.people import Assignment, People, Person
from mimrun.gate.people_file import load_people, parse_people
from mimrun.gate.people_lint import lint_people
from mimrun.gate.role import ROLES, oncall_role
from mimrun.log.moment import utc_now, write_moment
from mimrun.runbook.document import load_document
from mimrun.runbook.finding import Level


def list_people(
    role: Annotated[
        str | None, typer.Option("--role", metavar="ROLE", help="Only who has this role.", show_default=False)
    ] = None,
    *,
    at: AtOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List everybody with the roles that count now, teams and on call included."""
    moment = moment_of(at)
    people = load_people(settings_of(home).people).at(moment)
    found = people.holders(role, moment) if role else tuple(people.by_id[id_] for id_ in sorted(people.by_id))
    if as_json:
        print_json([_as_json(people, person, moment) for person in found])
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("PERSON", "NAME", "ROLES NOW", "TEAMS", "ENDS"):
        table.add_column(head, overflow="fold")
    for person in found:
        ends = [f"{a.role} {_last_day(a)}" for a in sorted(person.assigned, key=_end) if a.until]
        table.add_row(
            Text(safe_line(person.id), "bold" if person.active else "dim"),
            safe_line(person.name),
            Text(
                ", ".join(sorted(person.roles)) if person.active else "not active",
                "" if person.active else "red",
            ),
            ", ".join(_teams(people, person)),
            Text("; ".join(ends), "yellow"),
        )
    console().print(table)


def show(
    person: Annotated[str, typer.Argument(metavar="PERSON", help="An id or an account.")],
    *,
    at: AtOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one person: accounts in all systems, roles with their dates, teams, and what each role is for."""
    moment = moment_of(at)
    people = load_people(settings_of(home).people).at(moment)
    one = people.person(person)
    if as_json:
        print_json(_as_json(people, one, moment))
        return
    out = console()
    out.print(
        Text(safe_line(one.id), "bold")
        .append(f"  {safe_line(one.name)}", "")
        .append("" if one.active else "  not active", "red")
    )
    facts = {
        "e-mail": one.email,
        "time zone": one.timezone,
        "accounts": ", ".join(sorted(one.accounts)),
        **{f"at {system}": account for system, account in sorted(one.identities)},
        "teams": ", ".join(_teams(people, one)),
    }
    for name, value in facts.items():
        if value:
            out.print(Text(f"  {safe_line(name)}: ", "cyan").append(safe_line(value)))
    for role in sorted(one.roles):
        meaning = ROLES.get(role) or people.roles.get(role) or _oncall_meaning(people, role)
        out.print(Text(f"  {role}", "bold").append(f"  {safe_line(meaning)}", "dim"))
    for assigned in sorted(one.assigned, key=_end):
        out.print(Text(f"  {_in_words(assigned)}", "yellow" if assigned.holds(moment) else "dim"))


def lint(
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as errors.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find what is wrong in people.yaml and the on-call plans, and what ends soon. Ends with 2 on an error."""
    path = settings_of(home).people
    people = load_people(path)
    if not people.by_id:
        raise SettingsError(f"{path}: nobody is known; `mimrun init` makes the file")
    document = load_document(path, error=SettingsError)
    assert parse_people(document).by_id.keys() == people.by_id.keys()
    findings = lint_people(document, people, utc_now())
    errors = [one for one in findings if strict or one.level is Level.ERROR]
    if as_json:
        print_json(
            [
                {
                    "level": one.level.value,
                    "file": one.problem.file,
                    "line": one.problem.line,
                    "message": one.problem.message,
                    "hint": one.problem.hint,
                }
                for one in findings
            ]
        )
    else:
        for one in findings:
            typer.echo(safe_line(str(one)))
        typer.echo(
            f"{len(people.by_id)} people, {len(errors)} errors, {len(findings) - len(errors)} warnings"
        )
    if errors:
        raise typer.Exit(2)


def _teams(people: People, person: Person) -> list[str]:
    return sorted(team.id for team in people.teams.values() if person.id in team.members)


def _oncall_meaning(people: People, role: str) -> str:
    teams = [team for team in people.teams if oncall_role(team) == role]
    return (
        f"is on call for {', '.join(teams)}" if teams else "no role of the process; see `mimrun people lint`"
    )


def _end(assigned: Assignment) -> tuple[bool, datetime | None, str]:
    return assigned.until is None, assigned.until, assigned.role


def _last_day(assigned: Assignment) -> str:
    return f"until {assigned.until - timedelta(minutes=1):%Y-%m-%d %H:%MZ}" if assigned.until else ""


def _in_words(assigned: Assignment) -> str:
    since = f" from {assigned.since:%Y-%m-%d %H:%MZ}" if assigned.since else ""
    until = f" {_last_day(assigned)}" if assigned.until else ""
    teams = f" for {', '.join(sorted(assigned.teams))}" if assigned.teams else ""
    return f"{assigned.role}{since}{until}{teams}"


def _as_json(people: People, person: Person, at: datetime) -> Json:
    assigned: list[Json] = [
        {
            "role": a.role,
            "from": write_moment(a.since) if a.since else None,
            "until": write_moment(a.until) if a.until else None,
            "teams": sorted(a.teams),
            "holds": person.active and a.holds(at),
        }
        for a in sorted(person.assigned, key=_end)
    ]
    identities: dict[str, list[Json]] = {}
    for system, account in sorted(person.identities):
        identities.setdefault(system, []).append(account)
    shown: dict[str, Json] = {
        "id": person.id,
        "name": person.name,
        "active": person.active,
        "roles": sorted(person.roles),
        "assigned": assigned,
        "teams": list(_teams(people, person)),
        "on_call": sorted(t for t in people.teams if oncall_role(t) in person.roles),
        "accounts": sorted(person.accounts),
        "identities": {system: list(accounts) for system, accounts in identities.items()},
        "email": person.email,
        "timezone": person.timezone,
    }
    return shown


COMMANDS = {
    "people": group(
        "people",
        "Show who may do what, and check the file that says so.",
        {
            "list": (list_people, "mimrun people list --role change_manager"),
            "show": (show, "mimrun people show alex"),
            "lint": (lint, "mimrun people lint --strict"),
        },
    )
}
