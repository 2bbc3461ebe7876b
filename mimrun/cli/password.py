"""`mimrun password | session`: signing in at the server with a password, and who has signed in there."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from mimrun.app.home import open_home
from mimrun.app.identity import identify
from mimrun.app.server.passwords import list_passwords, make_password, remove_password, set_password
from mimrun.app.server.sessions import list_sessions, revoke_session
from mimrun.cli.options import HomeOption, JsonOption, group, settings_of
from mimrun.cli.terminal import console, print_json, safe_line
from mimrun.errors import InputError
from mimrun.log.moment import write_moment
from mimrun.secret import Secret

PersonArgument = Annotated[
    str | None,
    typer.Argument(metavar="PERSON", show_default=False, help="Whose it is; without, yours."),
]


def set_(person: PersonArgument = None, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Set your password for the server, or make one for somebody else, with which they choose their own.

    Yours is asked for twice, or read from standard input. For others, administrators do it: the password is printed
    once, and is good for three days and only to choose another.
    """
    with open_home(settings_of(home)) as opened:
        identity = identify(opened.people(), None)
        whose = opened.people().person(person).id if person is not None else identity.person.id
        if whose == identity.person.id:
            set_password(opened, identity, _ask())
            _tell(
                {"person": whose, "changed": True}, f"{whose} signs in with the new password", as_json=as_json
            )
            return
        made, until = make_password(opened, identity, whose)
    if as_json:
        print_json({"person": whose, "password": made.reveal(), "until": write_moment(until)})
        return
    typer.echo(made.reveal())
    typer.echo(
        f"with it {whose} chooses a password of their own, until {write_moment(until)[:16].replace('T', ' ')}Z; give it to"
        " nobody else: whoever has it can choose the password",
        err=True,
    )


def remove(person: PersonArgument = None, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Take a password away: your own, or as an administrator somebody's. Sessions that it opened are over."""
    with open_home(settings_of(home)) as opened:
        identity = identify(opened.people(), None)
        whose = person or identity.person.id
        remove_password(opened, identity, whose)
    _tell({"person": whose, "removed": True}, f"{whose} has no password any more", as_json=as_json)


def list_(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List who has a password, and who changed it last. No password is shown: nobody has it."""
    with open_home(settings_of(home)) as opened:
        found = list_passwords(opened)
    if as_json:
        print_json(
            [
                {
                    "person": one.person,
                    "state": one.state,
                    "changed_at": one.changed_at or None,
                    "changed_by": one.changed_by or None,
                }
                for one in found
            ]
        )
        return
    table = _table("PERSON", "PASSWORD", "CHANGED (UTC)", "BY")
    for one in found:
        state = Text(one.state, "green" if one.state == "set" else "dim" if one.state == "none" else "yellow")
        table.add_row(Text(one.person, "bold"), state, _short(one.changed_at), safe_line(one.changed_by))
    console().print(table)


def list_open(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the sessions that are open at the server: who has signed in, how, and until when."""
    with open_home(settings_of(home)) as opened:
        found = list_sessions(opened)
    if as_json:
        print_json(
            [
                one.model_dump(mode="json", include={"name", "person", "auth", "opened_at", "expires_at"})
                for one in found
            ]
        )
        return
    if not found:
        typer.echo("nobody has a session")
        return
    table = _table("SESSION", "PERSON", "SIGNED IN BY", "SINCE (UTC)", "UNTIL (UTC)")
    for one in found:
        row = (safe_line(one.person), safe_line(one.auth), _short(one.opened_at), _short(one.expires_at))
        table.add_row(Text(one.name, "bold"), *row)
    console().print(table)


def revoke(
    name: Annotated[str, typer.Argument(metavar="SESSION", help="As `mimrun session list` shows it.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """End a session of yours at the server, or as an administrator somebody's."""
    with open_home(settings_of(home)) as opened:
        ended = revoke_session(opened, identify(opened.people(), None), name)
    _tell(
        {"session": ended.name, "person": ended.person, "ended": True},
        f"the session {ended.name} is over",
        as_json=as_json,
    )


def _ask() -> Secret:
    if not sys.stdin.isatty():
        return Secret(sys.stdin.readline().rstrip("\r\n"))
    given = str(typer.prompt("New password", hide_input=True, err=True))
    if given != str(typer.prompt("Once more", hide_input=True, err=True)):
        raise InputError("the two are not the same; nothing was changed")
    return Secret(given)


def _tell(facts: dict[str, str | bool], words: str, *, as_json: bool) -> None:
    if as_json:
        print_json(dict(facts))
    else:
        typer.echo(words)


def _short(moment: str) -> str:
    return moment[:16].replace("T", " ")


def _table(*heads: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in heads:
        table.add_column(head, overflow="fold")
    return table


COMMANDS = {
    "password": group(
        "password",
        "Set, remove and list passwords for signing in at the server.",
        {
            "set": (set_, "mimrun password set"),
            "remove": (remove, "mimrun password remove alex"),
            "list": (list_, "mimrun password list --json"),
        },
    ),
    "session": group(
        "session",
        "List and end sessions at the server.",
        {
            "list": (list_open, "mimrun session list"),
            "revoke": (revoke, "mimrun session revoke ses-7k2q9xw4m3pd"),
        },
    ),
}
