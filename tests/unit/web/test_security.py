"""What holds for every route: headers, hosts, sizes, cookies, keys of forms, and that looking changes nothing."""

from __future__ import annotations

import asyncio
import gzip
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from builders.asking import ask_raw, client, routes, with_session
from builders.program import token_of
from builders.runs import Bench

from mimrun.app.home import Home
from mimrun.app.server.sessions import open_session
from mimrun.gate.people import SignedIn
from mimrun.gate.session import form_key_of
from mimrun.web import security
from mimrun.web.form_key import COOKIE, FIELD, HEADER, HOST_COOKIE
from mimrun.web.security import (
    CSP,
    LONGEST_BODY,
    Message,
    Names,
    Receive,
    Scope,
    Send,
    guarded,
    host_name,
    is_loopback,
)
from mimrun.web.site import Site, make_site

STREAM = "/events"
NOTE = "/api/v1/incidents"
GIVEN = {"title": "nobody can pay"}


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with Bench(tmp_path).home() as home:
        yield home


@pytest.fixture
def site(home: Home) -> Site:
    return make_site(home)


def test_every_answer_says_what_a_browser_may_do_with_it(site: Site, home: Home) -> None:
    alex, stranger = with_session(site, home, "alex"), client(site)
    for method, path, _ in routes(site):
        if path == STREAM:
            continue
        for one in (alex, stranger):
            for accept in ("text/html", "application/json"):
                answer = one.request(method, path, headers={"accept": accept})
                assert answer.headers["content-security-policy"] == CSP, (method, path)
                assert answer.headers["x-content-type-options"] == "nosniff"
                assert answer.headers["x-frame-options"] == "DENY"
                assert answer.headers["referrer-policy"] == "same-origin"
                assert answer.headers["cross-origin-opener-policy"] == "same-origin"
                assert "access-control-allow-origin" not in answer.headers
                assert answer.headers["cache-control"] == "no-store"
                assert "strict-transport-security" not in answer.headers
                assert "server" not in answer.headers


def test_refusals_and_errors_carry_the_same_headers(site: Site) -> None:
    stranger = client(site)
    for answer in (
        stranger.get("/nothing-here"),
        stranger.get("/health", headers={"host": "evil.example"}),
        stranger.request("DELETE", "/sign-in"),
        stranger.post("/sign-in", content=b"x" * (LONGEST_BODY + 1)),
    ):
        assert answer.status_code in (404, 405, 413, 421)
        assert answer.headers["content-security-policy"] == CSP
        assert answer.headers["cache-control"] == "no-store"


def test_the_policy_lets_no_script_be_written_into_a_page() -> None:
    rules = dict(rule.strip().partition(" ")[::2] for rule in CSP.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == "'self'"
    assert rules["frame-ancestors"] == rules["base-uri"] == "'none'"
    assert "unsafe" not in CSP


def test_an_encrypted_line_stays_encrypted(site: Site) -> None:
    answer = client(site, url="https://localhost").get("/health")
    assert answer.headers["strict-transport-security"] == "max-age=31536000"


def test_what_is_asked_for_by_its_digest_is_kept_and_everything_else_is_looked_at_first(site: Site) -> None:
    stranger = client(site)
    assert "immutable" in stranger.get("/static/mimrun.css?v=abc").headers["cache-control"]
    assert stranger.get("/static/mimrun.css").headers["cache-control"] == "no-cache"


def test_looking_changes_nothing(site: Site, home: Home) -> None:
    alex = with_session(site, home, "alex")
    for accept in ("text/html", "application/json"):
        for method, path, _ in routes(site):
            if method != "GET" or path == STREAM:
                continue
            before = home.store.head().size
            alex.get(path, headers={"accept": accept})
            client(site).get(path, headers={"accept": accept})
            assert home.store.head().size == before, path


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "evil.example:8420",
        "localhost@evil.example",
        "127.0.0.1.nip.io",
        "",
        "[::2]",
        "localhost:x@evil.example",
        "localhost:80/api/v1/runs?",
        "localhost:",
        "[::1",
        "[::1]x",
    ],
)
def test_another_name_points_no_browser_here(site: Site, host: str) -> None:
    assert client(site).get("/health", headers={"host": host}).status_code == 421


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:8420", "[::1]:8420", "localhost."])
def test_this_machine_is_asked_under_its_own_names(site: Site, host: str) -> None:
    assert client(site).get("/health", headers={"host": host}).status_code == 200


def test_others_reach_it_under_the_name_that_was_said(home: Home) -> None:
    site = make_site(home, Names(frozenset({"mim.example.org"})))
    assert client(site).get("/health", headers={"host": "mim.example.org:443"}).status_code == 200
    assert client(site).get("/health", headers={"host": "other.example.org"}).status_code == 421


def test_two_hosts_are_none(site: Site) -> None:
    sent = ask_raw(
        site, {"path": "/health", "headers": [(b"host", b"localhost"), (b"host", b"evil.example")]}
    )
    assert sent[0]["status"] == 421


def test_names_are_compared_without_port_and_case() -> None:
    assert host_name("EXAMPLE.org:80") == "example.org"
    assert host_name("[::1]:80") == host_name("[::1]") == "[::1]"
    assert is_loopback("127.0.0.5")
    assert is_loopback("::1")
    assert not is_loopback("0.0.0.0")
    assert not is_loopback("10.0.0.1")
    assert not is_loopback("example.org")


class Seen:
    """An application that says how it was asked."""

    def __init__(self) -> None:
        self.scheme = self.client = ""

    async def __call__(self, scope: security.Scope, receive: security.Receive, send: security.Send) -> None:
        self.scheme, self.client = scope["scheme"], scope["client"][0]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def behind(client_: str, *headers: tuple[bytes, bytes]) -> tuple[int, Seen]:
    seen = Seen()
    app = guarded(seen, Names(behind="10.0.0.1"))
    sent = ask_raw(app, {"client": (client_, 1), "headers": [(b"host", b"localhost"), *headers]})
    return sent[0]["status"], seen


def test_the_proxy_says_how_it_was_asked_and_by_whom() -> None:
    told = ((b"x-forwarded-proto", b"https"), (b"x-forwarded-for", b"6.6.6.6, 203.0.113.9"))
    status, seen = behind("10.0.0.1", *told)
    assert (status, seen.scheme, seen.client) == (200, "https", "203.0.113.9")


def test_what_stands_in_front_of_the_proxys_own_word_is_anybodys() -> None:
    told = ((b"x-forwarded-for", b"6.6.6.6"), (b"x-forwarded-for", b"203.0.113.9"))
    assert behind("10.0.0.1", *told)[1].client == "203.0.113.9"
    told = ((b"x-forwarded-proto", b"https"), (b"x-forwarded-proto", b"http"))
    assert behind("10.0.0.1", *told)[1].scheme == "http"


def test_nobody_else_is_believed_and_others_than_this_machine_are_refused() -> None:
    told = ((b"x-forwarded-proto", b"https"), (b"x-forwarded-for", b"203.0.113.9"))
    assert behind("10.0.0.2", *told)[0] == 403
    status, seen = behind("127.0.0.1", *told)
    assert (status, seen.scheme, seen.client) == (200, "http", "127.0.0.1")
    plain = Seen()
    ask_raw(guarded(plain, Names()), {"headers": [(b"host", b"localhost"), *told], "client": ("10.0.0.1", 1)})
    assert (plain.scheme, plain.client) == ("http", "10.0.0.1")


def test_a_body_is_bounded_whether_or_not_its_length_is_said(site: Site) -> None:
    stranger = client(site)
    assert stranger.post("/sign-in", content=b"x" * (LONGEST_BODY + 1)).status_code == 413
    files = {"content-type": "multipart/form-data; boundary=x"}
    refused = stranger.post("/alerts/alertmanager", content=b"x" * (LONGEST_BODY + 1), headers=files)
    assert refused.status_code == 413
    assert f"the body may have {LONGEST_BODY} bytes at most" in refused.text

    piece = {"type": "http.request", "body": b"x" * 100_000, "more_body": True}
    headers = [(b"host", b"localhost"), (b"content-type", b"application/x-www-form-urlencoded")]
    sent = ask_raw(site, {"path": "/sign-in", "method": "POST", "headers": headers}, *[piece] * 20)
    assert sent[0]["status"] == 413
    lie = {"content-length": "-1"}
    assert stranger.request("POST", "/sign-in", headers=lie).status_code == 413


def test_files_are_taken_only_where_somebody_who_has_signed_in_attaches_them(site: Site) -> None:
    stranger, files = client(site), {"content-type": "multipart/form-data; boundary=x"}
    large = b"x" * (LONGEST_BODY + 1)
    for path in ("/sign-in", "/theme", "/alerts/json", "/sign-in/oidc/answer"):
        assert stranger.post(path, content=large, headers=files).status_code == 413, path
    for path in ("/runs/run-x/manual/attest", "/incidents/INC-1/note"):
        assert stranger.post(path, content=large, headers=files).status_code == 401, path


@pytest.mark.parametrize("header", [{"content-length": "5"}, {"transfer-encoding": "chunked"}])
def test_what_only_looks_has_no_body_that_could_be_waited_for(
    site: Site, home: Home, header: dict[str, str]
) -> None:
    alex = with_session(site, home, "alex")
    for path in ("/", "/events", "/health"):
        assert alex.get(path, headers=header).status_code == 400, path
    assert alex.get("/health", headers={"content-length": "0"}).status_code == 200


@pytest.mark.parametrize("path", ["/alerts/json", "/sign-in", "/incidents", "/api/v1/incidents"])
@pytest.mark.parametrize("kind", [b"application/json", b"application/x-www-form-urlencoded"])
def test_a_line_that_breaks_is_no_bug(site: Site, home: Home, path: str, kind: bytes) -> None:
    alex = with_session(site, home, "alex")
    headers = [
        (b"host", b"localhost"),
        (b"content-type", kind),
        (b"cookie", f"{COOKIE}={alex.cookies[COOKIE]}".encode()),
    ]
    if kind == b"application/json":
        headers.append((HEADER.encode(), alex.headers[HEADER].encode()))
    scope = {"path": path, "method": "POST", "headers": headers}
    begun = {"type": "http.request", "body": b"a=", "more_body": True}
    sent = ask_raw(site, scope, begun, {"type": "http.disconnect"})
    assert sent[0]["status"] in (400, 401, 403, 422)
    assert not home.settings.program_log.exists()


@pytest.mark.parametrize(
    ("method", "path", "form"),
    [
        ("GET", "/", b""),
        ("GET", "/events", b""),
        ("GET", "/static/mimrun.css", b""),
        ("POST", "/log/export", b"format=jsonl"),
    ],
)
def test_of_an_answer_that_nobody_takes_nothing_stays(
    site: Site,
    home: Home,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    method: str,
    path: str,
    form: bytes,
) -> None:
    monkeypatch.setattr(security, "TAKE_S", 0.05)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    alex = with_session(site, home, "alex")
    headers = [
        (b"host", b"localhost"),
        (b"content-type", b"application/x-www-form-urlencoded"),
        (b"cookie", f"{COOKIE}={alex.cookies[COOKIE]}".encode()),
        (HEADER.encode(), alex.headers[HEADER].encode()),
    ]
    begun: list[Message] = []

    async def stuck(scope: Scope, receive: Receive, send: Send) -> None:
        async def take(message: Message) -> None:
            begun.append(message)
            if message["type"] == "http.response.body":
                await asyncio.sleep(3600)

        await site(scope, receive, take)

    scope = {"method": method, "path": path, "headers": headers}
    ask_raw(stuck, scope, {"type": "http.request", "body": form, "more_body": False})
    assert begun[0]["status"] == 200
    assert not home.settings.program_log.exists()
    assert not list(tmp_path.glob("mimrun-export-*"))


def test_a_packed_body_is_not_unpacked(site: Site) -> None:
    packed = gzip.compress(b"x" * 10_000_000)
    answer = client(site).post("/sign-in", content=packed, headers={"content-encoding": "gzip"})
    assert answer.status_code == 415


def test_a_body_that_comes_drop_by_drop_is_not_waited_for(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(security, "PIECE_S", 0.05)
    headers = [(b"host", b"localhost"), (b"content-type", b"application/x-www-form-urlencoded")]
    scope = {"path": "/sign-in", "method": "POST", "headers": headers}
    sent = ask_raw(site, scope, {"type": "http.request", "body": b"a=", "more_body": True})
    assert sent[0]["status"] == 408


def test_no_other_site_presses_a_button_here(site: Site, home: Home) -> None:
    alex = with_session(site, home, "alex")
    key = alex.headers[HEADER]
    del alex.headers[HEADER]
    other = form_key_of(open_session(home, SignedIn("responder", "password")))
    before = home.store.head().size
    bad: list[dict[str, str]] = [
        {},
        {HEADER: ""},
        {HEADER: other},
        {HEADER: key[:-1]},
        {HEADER: key, "origin": "null"},
        {HEADER: key, "origin": "https://evil.example"},
        {HEADER: key, "origin": "http://localhost.evil.example"},
        {HEADER: key, "origin": "http://localhost:9999"},
        {HEADER: key, "sec-fetch-site": "cross-site"},
        {HEADER: key, "sec-fetch-site": "same-site"},
    ]
    for headers in bad:
        answer = alex.post(NOTE, json=GIVEN, headers=headers)
        assert answer.status_code == 403, headers
        assert "not from a page of this session" in answer.json()["detail"]
    assert home.store.head().size == before
    good = {HEADER: key, "origin": "http://localhost", "sec-fetch-site": "same-origin"}
    assert alex.post(NOTE, json=GIVEN, headers=good).status_code == 201


def test_the_key_of_a_form_is_also_a_field_of_it(site: Site, home: Home) -> None:
    alex = with_session(site, home, "alex")
    key = alex.headers.pop(HEADER)
    assert alex.post("/sign-out", data={FIELD: "x"}).status_code == 403
    assert alex.post("/sign-out", data={FIELD: key}).status_code in (204, 303)


def test_every_route_that_changes_something_asks_for_the_key_of_the_form(site: Site, home: Home) -> None:
    alex = with_session(site, home, "alex")
    del alex.headers[HEADER]
    before = home.store.head().size
    for method, path, verb in routes(site):
        if method == "GET" or not verb:
            continue
        answer = alex.request(method, path, headers={"accept": "application/json"})
        assert answer.status_code == 403, (method, path)
    assert home.store.head().size == before


def test_a_token_needs_no_key_because_no_browser_sends_it_by_itself(site: Site, home: Home) -> None:
    token = token_of(home, "responder")
    answer = client(site, authorization=f"Bearer {token}").post(NOTE, json=GIVEN)
    assert answer.status_code == 201


@pytest.mark.parametrize("path", ["/sign-in", "/sign-in/password"])
@pytest.mark.parametrize(
    "headers", [{"origin": "https://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}]
)
def test_no_other_site_signs_somebody_in(site: Site, home: Home, path: str, headers: dict[str, str]) -> None:
    form = {"token": token_of(home, "responder")}
    answer = client(site).post(path, data=form, headers=headers)
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers


def cookie_of(answer: httpx.Response) -> str:
    return answer.headers["set-cookie"]


def test_the_cookie_of_a_session_is_for_this_server_alone(site: Site, home: Home) -> None:
    form = {"token": token_of(home, "responder")}
    plain = cookie_of(client(site).post("/sign-in", data=form))
    assert plain.startswith(f"{COOKIE}=ses-")
    for part in ("HttpOnly", "SameSite=lax", "Path=/"):
        assert part in plain
    assert "Domain" not in plain
    safe = cookie_of(client(site, url="https://localhost").post("/sign-in", data=form))
    assert safe.startswith(f"{HOST_COOKIE}=ses-")
    assert "Secure" in safe
    assert "Domain" not in safe


def test_an_encrypted_line_takes_no_cookie_that_a_plain_one_could_have_set(site: Site, home: Home) -> None:
    session = open_session(home, SignedIn("alex", "password")).reveal()
    safe = client(site, url="https://localhost")
    safe.cookies.set(COOKIE, session)
    assert safe.get("/api/v1/whoami").status_code == 401
    safe.cookies.set(HOST_COOKIE, session)
    assert safe.get("/api/v1/whoami").status_code == 200


def test_signing_in_again_ends_the_session_of_before(site: Site, home: Home) -> None:
    alex = with_session(site, home, "alex")
    before = alex.cookies[COOKIE]
    alex.post("/sign-in", data={"token": token_of(home, "responder")})
    old = client(site)
    old.cookies.set(COOKIE, before)
    assert old.get("/api/v1/whoami").status_code == 401


def test_pages_nobody_may_see_lead_to_signing_in_and_programs_get_a_problem(site: Site) -> None:
    page = client(site).get("/", headers={"accept": "text/html"})
    assert (page.status_code, page.headers["location"]) == (303, "/sign-in")
    told = client(site).get("/api/v1/runs")
    assert told.status_code == 401
    assert told.headers["content-type"] == "application/problem+json"
    assert told.headers["www-authenticate"] == "Bearer"
    assert told.json()["title"] == "Unauthorized"


def test_every_token_that_is_not_good_gets_one_answer(site: Site, home: Home) -> None:
    good = token_of(home, "responder")
    wrong = good[:-1] + ("A" if good[-1] != "A" else "B")
    unknown = f"mimrun_other_{good.split('_', 2)[2]}"
    told = {
        client(site, authorization=f"Bearer {token}").get("/api/v1/runs").text for token in (wrong, unknown)
    }
    assert len(told) == 1


def test_a_bug_is_told_as_a_bug_and_nothing_of_it(
    site: Site, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("the password is hunter2")

    monkeypatch.setattr("mimrun.web.api.runs.list_runs", broken)
    alex = httpx.Client(
        transport=_Telling(site),
        base_url="http://localhost",
        cookies=with_session(site, home, "alex").cookies,
    )
    answer = alex.get("/api/v1/runs")
    assert answer.status_code == 500
    assert "hunter2" not in answer.text
    assert answer.headers["content-security-policy"] == CSP
    assert "ZeroDivisionError" in home.settings.program_log.read_text()


class _Telling(httpx.BaseTransport):
    """Gives the answer also where the application broke, as a server does."""

    def __init__(self, site: Site) -> None:
        self._transport = httpx.ASGITransport(site, raise_app_exceptions=False)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        async def ask() -> httpx.Response:
            answer = await self._transport.handle_async_request(request)
            return httpx.Response(answer.status_code, headers=answer.headers, content=await answer.aread())

        return asyncio.run(ask())
