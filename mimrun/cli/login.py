"""`mimrun login | logout | whoami`: signing in with OpenID Connect, and who acts here."""

from __future__ import annotations

import time
import webbrowser
from typing import Annotated

import typer

from mimrun.app.home import open_home
from mimrun.app.identity import identify
from mimrun.app.oidc.login import Provider, Told, Way, begin_session
from mimrun.app.oidc.session import end_session, write_session
from mimrun.app.oidc.web import Web
from mimrun.cli.options import AsOption, HomeOption, JsonOption, command, settings_of
from mimrun.cli.terminal import print_json, safe_line
from mimrun.errors import SettingsError
from mimrun.gate.people_file import load_people
from mimrun.log.moment import utc_now


def login(
    browser: Annotated[
        bool,
        typer.Option("--browser", help="In a browser on this machine, and not with a code on any device."),
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Sign in with OpenID Connect, for twelve hours: shows an address and a code to open on any device.

    MIMRUN_OIDC_ISSUER names the provider. Who you are, people.yaml says by the account there.
    """
    settings = settings_of(home)
    if not settings.oidc_issuer:
        raise SettingsError(
            "nobody signs in here: set MIMRUN_OIDC_ISSUER to the address of your OpenID provider"
        )
    if settings.session is None:
        raise SettingsError("there is no place to keep a session: HOME is not set")
    people = load_people(settings.people).at(utc_now())
    provider = Provider(Web(settings.oidc_issuer, settings.oidc_ca_file), settings.oidc_client)
    in_browser = browser or not provider.takes_devices
    way = Way(_open if in_browser else _show, time.sleep, utc_now)
    subject = provider.by_browser(way) if in_browser else provider.by_device(way)
    person, session = begin_session(people, subject, utc_now())
    write_session(settings.session, session)
    if as_json:
        print_json({"person": person.id, "issuer": session.issuer, "expires_at": session.expires_at})
    else:
        typer.echo(f"you are {person.id} until {session.expires_at[:16].replace('T', ' ')}Z")


def logout(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """End the session; from here on the account of the operating system says who acts."""
    session = settings_of(home).session
    ended = session is not None and end_session(session)
    if as_json:
        print_json({"ended": ended})
    else:
        typer.echo("the session is ended" if ended else "nobody was signed in")


def whoami(claimed: AsOption = None, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Say who acts here, how that is known, and in which roles."""
    with open_home(settings_of(home)) as opened:
        people = opened.people()
        identity, signed = identify(people, claimed), people.signed_in
    person, known = identity.person, identity.person.id in people.by_id
    scopes = sorted(signed.scopes) if signed is not None and signed.scopes is not None else None
    if as_json:
        print_json(
            {
                "person": person.id,
                "known": known,
                "auth": identity.auth,
                "roles": sorted(person.roles),
                "scopes": None if scopes is None else list(scopes),
                "until": signed.until if signed is not None else None,
            }
        )
        return
    typer.echo(
        f"{person.id}, by {safe_line(identity.auth)}" + ("" if known else "; people.yaml does not know them")
    )
    typer.echo(f"roles: {', '.join(sorted(person.roles)) or 'none'}")
    if scopes is not None:
        typer.echo(f"scopes: {', '.join(scopes)}")
    if signed is not None:
        typer.echo(f"until: {signed.until[:16].replace('T', ' ')}Z")


def _show(told: Told) -> None:
    typer.echo(
        f"open {safe_line(told.url, 2000)}\nand see that it shows the code {safe_line(told.code)}", err=True
    )


def _open(told: Told) -> None:
    typer.echo(f"sign in at {safe_line(told.url, 2000)}", err=True)
    webbrowser.open(told.url)


COMMANDS = {
    "login": command("login", login, "mimrun login", "mimrun login --browser"),
    "logout": command("logout", logout, "mimrun logout"),
    "whoami": command("whoami", whoami, "mimrun whoami --json"),
}
