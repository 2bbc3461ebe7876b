"""Who may ask for what: every route against everybody, generated from the table of routes and fully asserted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
import yaml
from builders.asking import client, routes, with_session
from builders.program import token_of
from builders.runs import Bench

from mimrun.app.home import Home
from mimrun.app.identity import identify
from mimrun.app.server.sessions import open_session, revoke_session
from mimrun.app.server.verifying import Verifying
from mimrun.app.tokens import revoke_token
from mimrun.gate.people import SignedIn
from mimrun.gate.role import ROLES
from mimrun.gate.scope import AUDITED, SCOPES, VERBS
from mimrun.gate.session import name_of
from mimrun.log.moment import utc_now
from mimrun.web.form_key import COOKIE, HEADER
from mimrun.web.metrics import open_router
from mimrun.web.route import RouteError, check_routes, does, new_router, open_to_all
from mimrun.web.site import Site, make_site

TABLE = yaml.safe_load((Path(__file__).parents[2] / "cases" / "routes.yaml").read_text())
SIGN_OUT = "/sign-out"
EARLIER = timedelta(hours=2)

PEOPLE = (
    "people:\n"
    + "".join(
        f"  {role.replace('_', '-')}: {{roles: [{'{role: external_consultant, until: 2099-01-01}' if role == 'external_consultant' else role}]}}\n"
        for role in ROLES
    )
    + "  alex: {roles: [responder, administrator]}\n  left: {roles: [responder], active: false}\n  nobody: {roles: []}\n"
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    bench = Bench(tmp_path_factory.mktemp("asking"))
    bench.settings.people.write_text(PEOPLE)
    with bench.home() as home:
        yield home


@pytest.fixture(scope="module")
def site(home: Home) -> Site:
    site = make_site(home, start=lambda *_: None)
    site.state.verifying = Verifying(home, begin=lambda _: None)
    site.state.feed.close()  # so that a live stream ends as soon as it has begun
    return site


def test_every_route_stands_in_the_table(site: Site) -> None:
    found = {f"{method} {path}": verb for (method, path), verb in check_routes(site).items()}
    expected = {**TABLE["verbs"], **dict.fromkeys(TABLE["open"], "")}
    new = "\n".join(f"  {route}: {verb}" for route, verb in sorted(found.items() - expected.items()))
    gone = "\n".join(f"  {route}" for route in sorted(expected.keys() - found.keys()))
    assert found == expected, f"say in tests/cases/routes.yaml who may:\n{new}\nand take away:\n{gone}"


def test_the_figures_are_open_only_where_that_was_asked_for(home: Home) -> None:
    open_ = make_site(home, open_metrics=True)
    assert check_routes(open_)["GET", "/metrics"] == ""
    assert client(open_).get("/metrics").status_code == 200
    assert [route.path for route in open_router.routes] == ["/metrics"]  # type: ignore[attr-defined]


def test_a_route_that_does_not_say_what_it_does_keeps_the_server_from_starting() -> None:
    router = new_router()
    with pytest.raises(RouteError, match="does not say what it does"):
        router.get("/x")(lambda: None)
    with pytest.raises(RouteError, match="no verb"):
        does("fly")
    router.get("/y")(open_to_all(lambda: None))


def test_a_route_whose_function_asks_for_nobody_is_for_nobody_else_either(home: Home) -> None:
    site = make_site(home)
    router = new_router()

    @router.get("/forgetful")
    @does("status")
    def forgetful() -> dict[str, str]:
        return {"secret": "x"}

    site.router.routes.extend(router.routes)
    assert client(site).get("/forgetful").status_code == 401
    assert with_session(site, home, "alex").get("/forgetful").status_code == 200


def open_routes(site: Site) -> set[str]:
    """Give the routes that answer somebody who has not signed in otherwise than by refusing."""
    stranger, found = client(site), set()
    for (method, path, _), raw in zip(routes(site), raw_paths(site), strict=True):
        answer = stranger.request(method, path, headers={"accept": "application/json"})
        proof = path.startswith("/alerts/") and method == "POST"  # alerts prove who sends them by the bytes
        if answer.status_code != 401 or proof:
            found.add(f"{method} {raw}")
    return found


def raw_paths(site: Site) -> list[str]:
    return [path for _, path in sorted_routes(site)]


def sorted_routes(site: Site) -> list[tuple[str, str]]:
    return [
        (method, route.path)
        for route in site.routes
        if hasattr(route, "verb")
        for method in sorted(route.methods or ())  # type: ignore[attr-defined]
    ]


def test_what_is_open_to_everybody_is_exactly_what_the_table_says(site: Site) -> None:
    # A form for signing in says itself that nobody has, with the same number.
    signing_in = {"POST /sign-in", "POST /sign-in/oidc/answer", "POST /sign-in/password"}
    assert open_routes(site) | signing_in == set(TABLE["open"])


def test_a_page_sends_whoever_has_not_signed_in_to_where_they_can(site: Site) -> None:
    stranger = client(site)
    for method, path, verb in routes(site):
        if method == "GET" and verb:
            answer = stranger.get(path, headers={"accept": "text/html"})
            if path.startswith("/api/"):
                assert answer.status_code == 401, path
            else:
                assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in"), path


def expired(home: Home) -> str:
    before = replace(home, clock=lambda: utc_now() - EARLIER)
    return token_of(before, "alex", lasts=timedelta(hours=1))


def revoked(home: Home) -> str:
    token = token_of(home, "alex")
    me = identify(replace(home, signed_in=SignedIn("alex", "password")).people(), None)
    revoke_token(home, me, token.split("_")[1], "over")
    return token


def of_somebody_unknown(home: Home) -> str:
    token = token_of(home, "nobody", "read", "launch", "record", "stop")
    people = home.settings.people
    people.write_text(people.read_text().replace("  nobody: {roles: []}\n", ""))
    return token


BAD_TOKENS: dict[str, Callable[[Home], str]] = {
    "none": lambda _: "",
    "garbage": lambda _: "garbage",
    "unknown": lambda _: "mimrun_unknown_" + "A" * 43,
    "expired": expired,
    "revoked": revoked,
}


@pytest.mark.parametrize("kind", BAD_TOKENS)
def test_a_token_that_is_not_good_opens_nothing(site: Site, home: Home, kind: str) -> None:
    token, before = BAD_TOKENS[kind](home), home.store.head().size
    asking = client(site, authorization=f"Bearer {token}", accept="application/json")
    for method, path, verb in routes(site):
        if verb:
            assert asking.request(method, path).status_code == 401, (method, path)
    assert home.store.head().size == before


@pytest.mark.parametrize("scope", SCOPES)
def test_a_token_is_for_its_scope_and_for_nothing_else(site: Site, home: Home, scope: str) -> None:
    token = token_of(home, "alex", scope)
    asking = client(site, authorization=f"Bearer {token}", accept="application/json")
    for method, path, verb in routes(site):
        if not verb:
            continue
        answer = asking.request(method, path)
        needs = f"needs the scope {VERBS[verb]!r}"
        if VERBS[verb] == scope:
            assert answer.status_code != 401, (method, path, answer.text)
            assert needs not in answer.text, (method, path)
        else:
            assert answer.status_code == 403, (method, path, answer.status_code)
            assert needs in answer.json()["detail"]


@pytest.mark.parametrize("role", [*ROLES, "nobody at all"])
def test_a_session_is_for_what_its_person_may_do(site: Site, home: Home, role: str) -> None:
    person = "alex" if role == "nobody at all" else role.replace("_", "-")
    asking = with_session(site, home, person)
    asking.headers["accept"] = "application/json"
    every = [one for one in routes(site) if one[2]]
    for method, path, verb in sorted(every, key=lambda one: one[1] == SIGN_OUT):
        answer = asking.request(method, path)
        if role == "auditor" and verb not in AUDITED:
            assert answer.status_code == 403, (method, path, answer.status_code)
            assert "is an auditor" in answer.json()["detail"]
        else:
            assert answer.status_code != 401, (method, path, answer.text)
            assert "is an auditor" not in answer.text, (method, path)


def ended(home: Home) -> tuple[str, int]:
    cookie = open_session(home, SignedIn("alex", "password"))
    me = identify(replace(home, signed_in=SignedIn("alex", "password")).people(), None)
    revoke_session(home, me, name_of(cookie))
    return cookie.reveal(), 401


BAD_SESSIONS: dict[str, Callable[[Home], tuple[str, int]]] = {
    "garbage": lambda _: ("garbage", 401),
    "unknown": lambda _: ("ses-aaaaaaaaaaaa." + "A" * 43, 401),
    "ended": ended,
    "of somebody who left": lambda home: (open_session(home, SignedIn("left", "password")).reveal(), 403),
    "of somebody unknown": lambda home: (open_session(home, SignedIn("stranger", "password")).reveal(), 403),
}


@pytest.mark.parametrize("kind", BAD_SESSIONS)
def test_a_session_that_is_not_good_opens_nothing(site: Site, home: Home, kind: str) -> None:
    cookie, status = BAD_SESSIONS[kind](home)
    before = home.store.head().size
    asking = httpx.Client(
        transport=client(site)._transport,
        base_url="http://localhost",
        cookies={COOKIE: cookie},
        headers={"accept": "application/json", HEADER: "x"},
    )
    for method, path, verb in routes(site):
        if verb:
            assert asking.request(method, path).status_code == status, (method, path)
    assert home.store.head().size == before


def test_a_token_goes_before_a_session(site: Site, home: Home) -> None:
    both = with_session(site, home, "alex")
    both.headers["authorization"] = "Bearer garbage"
    assert both.get("/api/v1/whoami").status_code == 401


def test_a_session_of_a_token_does_no_more_than_the_token(site: Site, home: Home) -> None:
    token = token_of(home, "alex", "read")
    name = token.split("_")[1]
    asking = with_session(site, home, "alex", auth=f"token:{name}")
    assert asking.get("/api/v1/runs").status_code == 200
    answer = asking.post("/api/v1/incidents", json={"title": "x"})
    assert answer.status_code == 403
    assert "needs the scope" in answer.json()["detail"]


def test_of_somebody_who_is_not_known_any_more_a_token_opens_nothing(site: Site, home: Home) -> None:
    asking = client(site, authorization=f"Bearer {of_somebody_unknown(home)}")
    assert asking.get("/api/v1/runs").status_code == 403
