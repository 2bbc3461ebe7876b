"""Signing in at a provider over HTTP: in a browser, with a code on another device, and where somebody cheats."""

from __future__ import annotations

import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from builders.oidc_provider import OTHER_RSA, RSA, Provider, sign, unsigned

from mimrun.app.oidc.login import SESSION, Told, Way, begin_session
from mimrun.app.oidc.login import Provider as Known
from mimrun.app.oidc.session import Session, end_session, read_session, write_session
from mimrun.app.oidc.web import Web
from mimrun.errors import SettingsError, SignInError
from mimrun.gate.id_token import Subject
from mimrun.gate.people import People, Person
from mimrun.log.moment import read_moment

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as one:
        yield one


class Visitor:
    """Somebody who does what they are told in a browser, and waits without waiting."""

    def __init__(self, *, changed: dict[str, str] | None = None) -> None:
        self.told: list[Told] = []
        self.waited: list[float] = []
        self.changed, self.offset = changed or {}, timedelta()

    @property
    def way(self) -> Way:
        return Way(self.tell, self.wait, lambda: datetime.now(UTC) + self.offset)

    def tell(self, told: Told) -> None:
        self.told.append(told)
        if not told.code:
            self.open(told.url)

    def open(self, url: str) -> None:
        """Follow the provider's redirect to the loopback address, perhaps with changed parameters."""
        back = redirect_of(url)
        parts = urllib.parse.urlsplit(back)
        query = {**dict(urllib.parse.parse_qsl(parts.query)), **self.changed}
        with urllib.request.urlopen(
            parts._replace(query=urllib.parse.urlencode(query)).geturl(), timeout=5
        ) as page:
            assert b"close this page" in page.read()

    def wait(self, seconds: float) -> None:
        self.waited.append(seconds)
        self.offset += timedelta(seconds=seconds)


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def redirect_of(url: str) -> str:
    try:
        urllib.request.build_opener(_Stay()).open(url, timeout=5)
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.headers["Location"]
    raise AssertionError("no redirect")


def known(provider: Provider) -> Known:
    return Known(Web(provider.issuer), "mimrun")


def test_a_person_signs_in_in_a_browser(provider: Provider) -> None:
    person = Visitor()
    assert known(provider).by_browser(person.way) == Subject(provider.issuer, "8d1f")
    query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(person.told[0].url).query))
    assert query["scope"] == "openid"
    assert query["redirect_uri"].startswith("http://127.0.0.1:")
    assert len({query["state"], query["nonce"], query["code_challenge"]}) == 3


def test_a_person_signs_in_on_another_device_as_slowly_as_the_provider_asks(provider: Provider) -> None:
    provider.pending = 3
    person = Visitor()
    assert known(provider).by_device(person.way).subject == "8d1f"
    assert person.told == [Told(f"{provider.issuer}/activate", "ABCD-EFGH")]
    assert person.waited == [1, 1, 6, 6]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"state": "another"}, "not to our question"),
        ({"state": ""}, "not to our question"),
        ({"iss": "https://evil.example.org"}, "another provider's"),
        ({"code": "another"}, "did not sign anybody in: invalid_grant"),
    ],
)
def test_an_answer_in_the_browser_that_was_meddled_with_is_refused(
    provider: Provider, changed: dict[str, str], said: str
) -> None:
    person = Visitor(changed=changed)
    with pytest.raises(SignInError, match=said):
        known(provider).by_browser(person.way)


def test_a_nonce_of_an_earlier_sign_in_is_refused(provider: Provider) -> None:
    seen: list[str] = []

    def replay(claims: dict[str, Any]) -> str:
        seen.append(sign(claims))
        return seen[0]

    provider.forge = replay
    assert known(provider).by_browser(Visitor().way).subject == "8d1f"
    with pytest.raises(SignInError, match="answers another request"):
        known(provider).by_browser(Visitor().way)


@pytest.mark.parametrize("in_browser", [True, False])
def test_a_token_that_nobody_signed_is_refused(provider: Provider, in_browser: bool) -> None:
    provider.forge = unsigned
    with pytest.raises(SignInError, match="signed with 'none'"):
        known(provider).by_browser(Visitor().way) if in_browser else known(provider).by_device(Visitor().way)


def test_keys_that_changed_meanwhile_are_fetched_once_more(provider: Provider) -> None:
    def rotate(claims: dict[str, Any]) -> str:
        provider.keys = [RSA]
        return sign(claims, OTHER_RSA)

    provider.forge = rotate
    real, keys = provider.answer, []

    def answer(path: str, values: dict[str, str]) -> Any:
        if path == "/keys":
            keys.append(path)
            provider.keys = [RSA] if len(keys) == 1 else [RSA, OTHER_RSA]
        return real(path, values)

    provider.answer = answer  # type: ignore[method-assign]
    assert known(provider).by_device(Visitor().way).subject == "8d1f"
    assert len(keys) == 2


def test_a_key_that_never_comes_is_asked_for_twice_and_no_more(provider: Provider) -> None:
    provider.forge = lambda claims: sign(claims, OTHER_RSA)
    with pytest.raises(SignInError, match="no key of the provider has the id 'rsa-2'"):
        known(provider).by_device(Visitor().way)
    assert provider.asked.count("/keys") == 2


def test_a_person_who_refuses_or_never_comes_is_not_signed_in(provider: Provider) -> None:
    provider.refusal = "access_denied"
    with pytest.raises(SignInError, match="access_denied"):
        known(provider).by_device(Visitor().way)
    provider.pending = 10_000
    with pytest.raises(SignInError, match="nobody has signed in in time"):
        known(provider).by_device(Visitor().way)


@pytest.mark.parametrize(
    ("described", "said"),
    [
        ({"issuer": "https://login.example.org"}, "of exactly this address"),
        ({"token_endpoint": "http://login.example.org/token"}, "which is not encrypted"),
        ({"jwks_uri": "http://192.0.2.1/keys"}, "which is not encrypted"),
        ({"jwks_uri": "file:///etc/passwd"}, "which is not encrypted"),
        ({"device_authorization_endpoint": 7}, "has no device_authorization_endpoint"),
    ],
)
def test_a_provider_that_leads_elsewhere_is_not_followed(
    provider: Provider, described: dict[str, Any], said: str
) -> None:
    provider.described = described
    with pytest.raises(SignInError, match=said):
        known(provider).by_device(Visitor().way)


@pytest.mark.parametrize(
    "issuer",
    [
        "http://login.example.org",
        "http://127.0.0.1.example.org",
        "ftp://127.0.0.1",
        "https://a|b",
        "https://u@h",
        "x",
    ],
)
def test_an_issuer_that_is_not_encrypted_is_refused(issuer: str) -> None:
    with pytest.raises(SettingsError, match="MIMRUN_OIDC_ISSUER"):
        Web(issuer)


def test_a_provider_that_is_away_is_said() -> None:
    with Provider() as provider:
        web = Web(provider.issuer)
    with pytest.raises(SignInError, match="cannot be asked"):
        Known(web, "mimrun")


ISSUER = "https://login.example.org"
ALEX = Person("alex", "Alex", email="alex@example.org", identities=frozenset({("oidc", f"{ISSUER}|8d1f")}))


def test_a_person_is_found_by_issuer_and_subject_and_never_by_address() -> None:
    people = People({"alex": ALEX, "billie": Person("billie", "Billie", email="8d1f@example.org")})
    person, session = begin_session(people, Subject(ISSUER, "8d1f"), NOW)
    assert (person.id, session.account) == ("alex", f"{ISSUER}|8d1f")
    assert read_moment(session.expires_at) == NOW + SESSION
    for stranger in (
        Subject(ISSUER, "alex@example.org"),
        Subject(ISSUER, "8D1F"),
        Subject(ISSUER + ".evil", "8d1f"),
    ):
        with pytest.raises(SignInError, match=r"nobody in people\.yaml has this account"):
            begin_session(people, stranger, NOW)
    left = People({"alex": Person("alex", "Alex", identities=ALEX.identities, active=False)})
    with pytest.raises(SignInError, match="alex is not active"):
        begin_session(left, Subject(ISSUER, "8d1f"), NOW)


def a_session(path: Path) -> Session:
    _, session = begin_session(People({"alex": ALEX}), Subject(ISSUER, "8d1f"), NOW)
    write_session(path, session)
    return session


def test_a_session_is_its_owners_file_and_has_an_end(tmp_path: Path) -> None:
    path = tmp_path / "state" / "session.json"
    session = a_session(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_session(path, ISSUER) == session
    assert read_session(path, "https://another.example.org") is None
    assert session.good(NOW)
    assert not session.good(NOW + SESSION)
    assert not session.good(NOW - timedelta(seconds=1))
    assert end_session(path)
    assert not end_session(path)
    assert read_session(path, ISSUER) is None


def test_a_session_that_others_can_use_is_none(tmp_path: Path) -> None:
    path = tmp_path / "session.json"
    a_session(path)
    path.chmod(0o640)
    with pytest.raises(SignInError, match="others than its owner can use it"):
        read_session(path, ISSUER)
    path.unlink()
    (tmp_path / "real").write_text("{}")
    path.symlink_to(tmp_path / "real")
    with pytest.raises(SignInError, match="cannot be read"):
        read_session(path, ISSUER)
    path.unlink()
    path.write_text("{}")
    path.chmod(0o600)
    with pytest.raises(SignInError, match="is no session"):
        read_session(path, ISSUER)
