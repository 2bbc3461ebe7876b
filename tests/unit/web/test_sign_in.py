"""Signing in in the browser: with a password, one that somebody else made, a token, or at a provider."""

from __future__ import annotations

import re
import socket
import threading
import urllib.parse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from argon2 import PasswordHasher
from builders.asking import client, with_session
from builders.console import read_html
from builders.oidc_provider import Provider
from builders.program import token_of
from builders.runs import Bench, person

from mimrun.app.home import Home
from mimrun.app.server.guesses import TRIES
from mimrun.app.server.oidc import AT_ONCE
from mimrun.app.server.passwords import Passwords, make_password, set_password
from mimrun.app.server.sessions import list_sessions
from mimrun.log.kinds import Kind
from mimrun.secret import Secret
from mimrun.web.form_key import COOKIE
from mimrun.web.pages.oidc import COOKIE as WORD
from mimrun.web.site import Site, make_site
from mimrun.web.wished import COOKIE as WISHED

ALEX, ADMIN = person("alex", "change_manager"), person("admin", "administrator")
GOOD, OTHER = "plum kettle orbit nine", "another one, just as long"
HTML = {"accept": "text/html"}


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    bench = Bench(tmp_path)
    bench.settings.people.write_text(
        bench.settings.people.read_text() + "  admin: {roles: [administrator]}\n"
    )
    with bench.home() as home:
        yield home


@pytest.fixture
def passwords() -> Passwords:
    return Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


@pytest.fixture
def site(home: Home, passwords: Passwords) -> Site:
    site = make_site(home)
    site.state.passwords = passwords
    return site


def send(one: httpx.Client, path: str, **form: str) -> httpx.Response:
    return one.post(path, data=form, headers=HTML)


def wrong(answer: httpx.Response) -> str:
    return read_html(answer.text).one(role="alert").text


def test_a_password_opens_a_session_and_the_first_page(site: Site, home: Home, passwords: Passwords) -> None:
    set_password(home, ALEX, Secret(GOOD), passwords)
    one = client(site)
    answer = send(one, "/sign-in", person="alex", password=GOOD)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    told = one.get("/api/v1/whoami").json()
    assert (told["person"], told["auth"], told["scopes"]) == ("alex", "password", None)
    entry = next(home.store.entries(kinds={Kind.SESSION_OPENED}))
    assert (entry.actor.id, entry.actor.auth, entry.actor.via) == ("alex", "password", "web")
    assert one.cookies[COOKIE] not in str(entry.as_json())


@pytest.mark.parametrize("asked", ["/runs/run-1/gate", "/log?text=a%26b&kind=gate.%2A", "/"])
def test_whoever_had_to_sign_in_gets_the_page_that_they_asked_for(
    site: Site, home: Home, passwords: Passwords, asked: str
) -> None:
    made, _ = make_password(home, ADMIN, "alex", passwords)
    one = client(site)
    assert one.get(asked, headers=HTML).headers["location"] == "/sign-in"
    send(one, "/sign-in", person="alex", password="wrong")
    send(one, "/sign-in", person="alex", password=made.reveal())
    chosen = send(one, "/sign-in/password", person="alex", password=made.reveal(), new=GOOD, again=GOOD)
    assert chosen.headers["location"] == asked
    again = send(one, "/sign-in", person="alex", password=GOOD)
    assert again.headers["location"] == "/", "a wish is fulfilled once"


@pytest.mark.parametrize(
    "wish", ["//elsewhere.example.org", "https://elsewhere.example.org", "/\\elsewhere", "/a\r\nb"]
)
def test_no_wish_leads_to_another_site(site: Site, home: Home, passwords: Passwords, wish: str) -> None:
    set_password(home, ALEX, Secret(GOOD), passwords)
    one = client(site)
    one.cookies.set(WISHED, urllib.parse.quote(wish, safe=""), path="/sign-in")
    assert send(one, "/sign-in", person="alex", password=GOOD).headers["location"] == "/"
    two = client(site)
    two.get(wish if wish.startswith("//") else "/", headers=HTML)
    assert send(two, "/sign-in", person="alex", password=GOOD).headers["location"] == "/"


def test_whoever_does_not_get_in_is_told_one_thing(site: Site, home: Home, passwords: Passwords) -> None:
    set_password(home, ALEX, Secret(GOOD), passwords)
    said = set()
    for name, password in (("alex", "wrong"), ("nobody", GOOD), ("billie", GOOD), ("", "")):
        answer = send(client(site), "/sign-in", person=name, password=password)
        assert answer.status_code == 401
        assert "set-cookie" not in answer.headers
        said.add(wrong(answer))
    assert len(said) == 1
    assert GOOD not in answer.text
    assert list(home.store.entries(kinds={Kind.SESSION_OPENED})) == []


def test_who_tries_too_often_waits_a_minute(site: Site) -> None:
    one = client(site)
    for _ in range(TRIES):
        assert send(one, "/sign-in", person="alex", password="x").status_code == 401
    answer = send(one, "/sign-in", person="alex", password="x")
    assert (answer.status_code, "wait a minute" in wrong(answer)) == (429, True)


def test_a_password_that_somebody_made_leads_to_choosing_one(
    site: Site, home: Home, passwords: Passwords
) -> None:
    made, _ = make_password(home, ADMIN, "alex", passwords)
    one = client(site)
    page = send(one, "/sign-in", person="alex", password=made.reveal())
    assert page.status_code == 200
    assert "set-cookie" not in page.headers
    assert made.reveal() not in page.text
    shown = read_html(page.text)
    assert (
        shown.one("form", action="/sign-in/password").one("input", name="person").attributes["value"]
        == "alex"
    )
    chosen = {"person": "alex", "password": made.reveal()}
    unlike = send(one, "/sign-in/password", **chosen, new=GOOD, again=OTHER)
    assert (unlike.status_code, "not the same" in wrong(unlike)) == (400, True)
    short = send(one, "/sign-in/password", **chosen, new="short", again="short")
    assert (short.status_code, "12 characters" in wrong(short)) == (400, True)
    assert send(one, "/sign-in/password", **chosen, new=GOOD, again=GOOD).status_code == 303
    assert one.get("/api/v1/whoami").json()["person"] == "alex"
    assert send(client(site), "/sign-in", person="alex", password=GOOD).status_code == 303


def test_changing_ones_password_ends_every_other_session(
    site: Site, home: Home, passwords: Passwords
) -> None:
    set_password(home, ALEX, Secret(GOOD), passwords)
    here, there = client(site), client(site)
    for one in (here, there):
        send(one, "/sign-in", person="alex", password=GOOD)
    page = read_html(here.get("/account", headers=HTML).text)
    key = page.one("form", action="/account/password").one("input", name="form_key").attributes["value"]
    form = {"form_key": key, "password": GOOD, "new": OTHER, "again": OTHER}
    assert send(here, "/account/password", **{**form, "password": "wrong"}).status_code == 400
    assert send(here, "/account/password", **form).status_code == 303
    assert here.get("/api/v1/whoami").status_code == 200
    assert there.get("/api/v1/whoami").status_code == 401


def test_people_see_and_end_their_own_sessions(site: Site, home: Home) -> None:
    here, other = with_session(site, home, "alex"), with_session(site, home, "alex")
    theirs = with_session(site, home, "billie")
    page = read_html(here.get("/account", headers=HTML).text)
    rows = [row.text for row in page.all("tr", data_row="")]
    assert len(rows) == 2
    assert sum("(this one)" in row for row in rows) == 1
    names = {one.name: one.person for one in list_sessions(home)}
    mine = here.cookies[COOKIE].partition(".")[0]
    (another,) = (name for name, who in names.items() if who == "alex" and name != mine)
    assert here.post(f"/account/sessions/{another}/revoke").status_code == 303
    assert other.get("/api/v1/whoami").status_code == 401
    (foreign,) = (name for name, who in names.items() if who == "billie")
    assert here.post(f"/account/sessions/{foreign}/revoke").status_code == 403
    assert theirs.get("/api/v1/whoami").status_code == 200
    assert here.post(f"/account/sessions/{mine}/revoke").headers["location"] == "/sign-in"


def test_a_session_of_a_token_has_its_scopes_and_ends_with_it(site: Site, home: Home) -> None:
    one = client(site)
    assert send(one, "/sign-in", token=token_of(home, "responder", "read")).status_code == 303
    assert one.get("/api/v1/whoami").json()["scopes"] == ["read"]
    assert send(client(site), "/sign-in", token="mimrun_x_" + "A" * 43).status_code == 401


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as provider:
        yield provider


@pytest.fixture
def open_site(home: Home, provider: Provider) -> Site:
    people = home.settings.people
    identity = f"{provider.issuer}|{provider.subject}"
    people.write_text(
        people.read_text().replace(
            "alex: {roles: [change_manager, service_desk]}",
            f"alex: {{roles: [change_manager], identities: {{oidc: ['{identity}']}}}}",
        )
    )
    return make_site(replace(home, settings=replace(home.settings, oidc_issuer=provider.issuer)))


def at_provider(begun: httpx.Response) -> str:
    """Sign in there, and give the path that the browser is sent back to."""
    back = httpx.get(begun.headers["location"], trust_env=False)
    assert back.headers["location"].startswith("http://localhost/sign-in/oidc/answer?")
    return str(back.headers["location"].removeprefix("http://localhost"))


def pressed(one: httpx.Client, path: str, **more: str) -> httpx.Response:
    """Look at what came back, and press the button."""
    page = read_html(one.get(path, headers=HTML).text)
    form = page.one("form", action="/sign-in/oidc/answer")
    fields = {field.attributes["name"]: field.attributes["value"] for field in form.all("input")}
    return send(one, "/sign-in/oidc/answer", **{**fields, **more})


def test_a_provider_signs_in_whoever_has_an_account_there(
    open_site: Site, home: Home, provider: Provider
) -> None:
    one = client(open_site)
    assert provider.issuer in one.get("/sign-in", headers=HTML).text
    begun = one.get("/sign-in/oidc", headers=HTML)
    assert begun.headers["location"].startswith(f"{provider.issuer}/authorize?")
    for part in ("HttpOnly", "SameSite=lax", "Path=/sign-in/oidc"):
        assert part in begun.headers["set-cookie"]
    path, before = at_provider(begun), home.store.head().size
    page = one.get(path, headers=HTML)
    assert page.status_code == 200
    assert home.store.head().size == before, "only looking signs nobody in"
    assert pressed(one, path).headers["location"] == "/"
    told = one.get("/api/v1/whoami").json()
    assert (told["person"], told["auth"]) == ("alex", f"oidc:{provider.issuer}")
    assert pressed(one, path).status_code == 401, "an answer is good once"


def test_an_answer_that_another_browser_began_signs_nobody_in(open_site: Site, provider: Provider) -> None:
    thief, victim = client(open_site), client(open_site)
    path = at_provider(thief.get("/sign-in/oidc"))
    assert pressed(victim, path).status_code == 401
    assert victim.get("/api/v1/whoami").status_code == 401
    own = client(open_site)
    state = urllib.parse.parse_qs(urllib.parse.urlsplit(at_provider(own.get("/sign-in/oidc"))).query)[
        "state"
    ][0]
    own.cookies.set(WORD, "other", domain="localhost.local", path="/sign-in/oidc")
    assert pressed(client(open_site), f"/sign-in/oidc/answer?state={state}&code=x").status_code == 401


@pytest.mark.parametrize("query", ["", "?code=x", "?state=x", "?code=x&state=y", "?error=access_denied"])
def test_an_answer_to_nothing_signs_nobody_in(open_site: Site, query: str) -> None:
    one = client(open_site)
    answer = pressed(one, f"/sign-in/oidc/answer{query}")
    assert answer.status_code == 401
    assert "no answer to what this browser began" in wrong(answer)


def test_an_account_that_nobody_here_has_signs_nobody_in(open_site: Site, provider: Provider) -> None:
    provider.subject = "somebody-else"
    one = client(open_site)
    answer = pressed(one, at_provider(one.get("/sign-in/oidc")))
    assert answer.status_code == 401
    assert "nobody in" in wrong(answer)


def test_a_provider_that_cannot_be_asked_is_said(home: Home) -> None:
    site = make_site(replace(home, settings=replace(home.settings, oidc_issuer="http://127.0.0.1:9")))
    answer = client(site).get("/sign-in/oidc", headers=HTML)
    assert answer.status_code == 401
    assert re.search("cannot be asked", wrong(answer))


def test_a_provider_that_does_not_answer_holds_up_only_a_few(home: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        issuer = f"http://127.0.0.1:{silent.getsockname()[1]}"
        site = make_site(replace(home, settings=replace(home.settings, oidc_issuer=issuer)))
        asking = [
            threading.Thread(target=client(site).get, args=("/sign-in/oidc",), kwargs={"headers": HTML})
            for _ in range(AT_ONCE)
        ]
        for one in asking:
            one.start()
        lines = [silent.accept()[0] for _ in asking]
        answer = client(site).get("/sign-in/oidc", headers=HTML)
        assert "keeps others waiting" in wrong(answer)
        for line in lines:
            line.close()
        for one in asking:
            one.join(20)
    again = client(site).get("/sign-in/oidc", headers=HTML)
    assert re.search("cannot be asked", wrong(again))


def test_without_a_provider_there_is_no_such_way(site: Site) -> None:
    one = client(site)
    assert "OpenID" not in one.get("/sign-in", headers=HTML).text
    assert one.get("/sign-in/oidc").status_code == 400


def test_what_comes_back_is_shown_as_text(open_site: Site) -> None:
    hostile = urllib.parse.quote('"><script>alert(1)</script>')
    page = client(open_site).get(f"/sign-in/oidc/answer?code={hostile}&state={hostile}", headers=HTML)
    assert "<script>alert" not in page.text


@pytest.mark.parametrize("path", ["/sign-in", "/sign-in/password", "/api/v1/whoami"])
def test_what_is_wrong_with_the_servers_own_files_is_not_for_strangers(
    site: Site, home: Home, path: str
) -> None:
    people, token = home.settings.people, token_of(home, "responder")
    people.write_text(people.read_text() + "  jo: {rolez: [x], email: jo@example.org}\n")
    bearer = client(site, authorization=f"Bearer {token}")
    form = {"person": "alex", "password": GOOD, "new": OTHER, "again": OTHER}
    told = bearer.get(path) if path.startswith("/api/") else send(client(site), path, **form)
    assert told.status_code == 503
    assert "mimrun doctor" in told.text
    assert "rolez" not in told.text
    assert str(people) not in told.text
