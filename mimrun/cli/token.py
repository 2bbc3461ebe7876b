"""`mimrun token`: what signs in a program, or a person from elsewhere."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from mimrun.app.home import open_home
from mimrun.app.identity import identify
from mimrun.app.tokens import Wanted, create_token, list_tokens, revoke_token
from mimrun.canonical import Json
from mimrun.cli.options import AsOption, HomeOption, JsonOption, group, settings_of
from mimrun.cli.terminal import console, print_json, safe_line
from mimrun.errors import InputError
from mimrun.gate.scope import SCOPES, VERBS, read_scopes
from mimrun.gate.token import Token
from mimrun.log.moment import utc_now
from mimrun.runbook.duration import parse_duration

ScopeOption = Annotated[
    list[str],
    typer.Option("--scope", metavar="SCOPE,…", help="What it may be used for; see `mimrun token scopes`."),
]
PersonOption = Annotated[
    str | None,
    typer.Option(
        "--person",
        metavar="PERSON",
        show_default=False,
        help="Whose it is; else yours. Of others: administrators.",
    ),
]
ExpiresOption = Annotated[
    str, typer.Option("--expires", metavar="TIME", help="How long it is good: 12h, 90d.")
]


def create(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="What it is for: backup-job. Never given again.")
    ],
    *,
    scope: ScopeOption,
    person: PersonOption = None,
    expires: ExpiresOption = "90d",
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a token and print it, once: nobody can show it again. The log keeps its SHA-256.

    Give it to a program as MIMRUN_TOKEN, or in a file with --token-file.
    """
    try:
        lasts = timedelta(milliseconds=parse_duration(expires))
    except ValueError as exc:
        raise InputError(f"--expires: {exc}") from exc
    with open_home(settings_of(home)) as opened:
        identity = identify(opened.people(), claimed)
        wanted = Wanted(name, person or identity.person.id, read_scopes(scope), lasts)
        secret, token = create_token(opened, identity, wanted)
    if as_json:
        print_json({**_as_json(token), "token": secret.reveal()})
        return
    typer.echo(secret.reveal())
    typer.echo(
        f"acts as {token.person} for {', '.join(token.scopes)}, until {token.expires_at[:16].replace('T', ' ')}Z;"
        " keep it now, it is not shown again",
        err=True,
    )


def list_(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List tokens: whose they are, what for, and until when. No token itself is shown."""
    with open_home(settings_of(home)) as opened:
        found = list_tokens(opened)
    if as_json:
        print_json([_as_json(token) for token in found])
        return
    if not found:
        typer.echo("there is no token")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("TOKEN", "ACTS AS", "SCOPES", "STATE", "EXPIRES (UTC)", "MADE BY"):
        table.add_column(head, overflow="fold")
    for token in found:
        state = token.state(utc_now())
        table.add_row(
            Text(token.name, "bold"),
            safe_line(token.person),
            ", ".join(token.scopes),
            Text(state, "green" if state == "valid" else "dim"),
            token.expires_at[:16].replace("T", " "),
            safe_line(token.by),
        )
    console().print(table)


def revoke(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As `mimrun token list` shows it.")],
    *,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why; a reviewer will read it.")
    ] = "",
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a token away for good: its owner or an administrator does. It is refused from then on."""
    with open_home(settings_of(home)) as opened:
        token = revoke_token(opened, identify(opened.people(), claimed), name, reason)
    if as_json:
        print_json(_as_json(token))
    else:
        typer.echo(f"the token {token.name} is revoked")


def scopes(as_json: JsonOption = False) -> None:
    """List the scopes, and the commands that need each."""
    verbs: dict[str, list[str]] = {
        scope: sorted(verb for verb, needed in VERBS.items() if needed == scope) for scope in SCOPES
    }
    if as_json:
        shown: dict[str, Json] = {
            scope: {"for": meaning, "verbs": list(verbs[scope])} for scope, meaning in SCOPES.items()
        }
        print_json(shown)
        return
    out = console()
    for scope, meaning in SCOPES.items():
        out.print(
            Text(f"{scope:8}", "bold")
            .append(meaning, "")
            .append(f"\n        {', '.join(verbs[scope])}", "dim")
        )


def _as_json(token: Token) -> dict[str, Json]:
    return {
        "name": token.name,
        "person": token.person,
        "scopes": list(token.scopes),
        "state": token.state(utc_now()),
        "expires_at": token.expires_at,
        "created_at": token.created_at,
        "created_by": token.by,
        "revoked_at": token.revoked_at or None,
        "revoked_by": token.revoked_by or None,
    }


COMMANDS = {
    "token": group(
        "token",
        "Make, list and revoke tokens that sign programs in.",
        {
            "create": (create, "mimrun token create alert-pipeline --scope read,launch --expires 90d"),
            "list": (list_, "mimrun token list --json"),
            "revoke": (revoke, 'mimrun token revoke alert-pipeline --reason "the pipeline was replaced"'),
            "scopes": (scopes, "mimrun token scopes"),
        },
    )
}
