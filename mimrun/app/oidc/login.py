"""Signing in with OpenID Connect: on this machine's browser, or on any other device with a code.

The browser: authorization code with PKCE, answered on the loopback address (RFC 8252, RFC 7636, RFC 9207). Another
device: RFC 8628. What comes back is judged by `mimrun.gate.id_token`; who that is, the people file says.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from mimrun.app.oidc.callback import Callback
from mimrun.app.oidc.session import Session
from mimrun.app.oidc.web import Answer, Web
from mimrun.errors import SignInError
from mimrun.gate.id_token import Expected, Subject, UnknownKeyError, verify_id_token
from mimrun.gate.people import People, Person
from mimrun.log.moment import write_moment

SESSION: Final = timedelta(hours=12)
"""How long somebody stays signed in, whatever they do."""
PATIENCE: Final = timedelta(minutes=10)
"""How long is waited for a person to sign in."""
_DEVICE: Final = "urn:ietf:params:oauth:grant-type:device_code"


@dataclass(frozen=True, slots=True)
class Told:
    """What a person must be shown so that they can sign in.

    Arguments:
        url: to open.
        code: to type there, or "" where the address is enough.
    """

    url: str
    code: str = ""


@dataclass(frozen=True, slots=True)
class Way:
    """What signing in needs from outside.

    Arguments:
        tell: shows a person what to do.
        wait: lets so many seconds pass.
        clock: the present moment, UTC.
    """

    tell: Callable[[Told], object]
    wait: Callable[[float], object]
    clock: Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Begun:
    """Somebody who is on their way to sign in in a browser.

    Arguments:
        url: where they are sent to.
        redirect: where the browser brings the answer.
        state, nonce, verifier: what nobody else knows.
    """

    url: str
    redirect: str
    state: str
    nonce: str
    verifier: str


class Provider:
    """An OpenID provider, as it describes itself (OpenID Connect Discovery 1.0).

    Raises:
        SignInError: it cannot be asked, or describes another provider than itself.
    """

    def __init__(self, web: Web, client: str) -> None:
        self.web, self.client = web, client
        answer = web.get(web.issuer.rstrip("/") + "/.well-known/openid-configuration")
        if answer.status != 200 or answer.body.get("issuer") != web.issuer:
            raise SignInError(
                f"{web.issuer} does not describe itself as an OpenID provider of exactly this address;"
                f" it says {str(answer.body.get('issuer', answer.status))[:200]!r}"
            )
        self._said = answer.body

    @property
    def takes_devices(self) -> bool:
        """Say whether one can sign in on another device."""
        return "device_authorization_endpoint" in self._said

    def by_device(self, way: Way) -> Subject:
        """Let a person sign in on any device, with a code."""
        asked = self.web.post(
            self._endpoint("device_authorization_endpoint"), {"client_id": self.client, "scope": "openid"}
        )
        begun = asked.body
        if asked.status != 200 or not all(
            isinstance(begun.get(k), str) for k in ("device_code", "user_code")
        ):
            raise SignInError(f"the provider gives no code to sign in with: {asked.error or asked.status}")
        url = str(begun.get("verification_uri_complete") or begun.get("verification_uri") or "")
        self.web.require_same_safety(url)
        way.tell(Told(url, begun["user_code"]))
        lasts = min(timedelta(seconds=_seconds(begun, "expires_in", 600)), PATIENCE)
        until, interval = way.clock() + lasts, _seconds(begun, "interval", 5)
        form = {"grant_type": _DEVICE, "device_code": begun["device_code"], "client_id": self.client}
        while way.clock() < until:
            way.wait(interval)
            answer = self.web.post(self._endpoint("token_endpoint"), form)
            match answer.error:
                case "authorization_pending":
                    continue
                case "slow_down":  # RFC 8628 §3.5
                    interval += 5
                case _:
                    return self._judge(answer, None, way.clock())
        raise SignInError("nobody has signed in in time; begin again with `mimrun login`")

    def by_browser(self, way: Way) -> Subject:
        """Let a person sign in in a browser on this machine."""
        with Callback() as callback:
            begun = self.begin(callback.url)
            way.tell(Told(begun.url))
            answer = callback.wait(PATIENCE.total_seconds())
            return self.finish(begun, answer, way.clock())

    def begin(self, redirect: str) -> Begun:
        """Begin to sign somebody in in a browser.

        1. State, nonce and verifier are fresh and random, and each is used once.
        2. The answer must come with our state, and from this provider where it says so (RFC 9207).
        3. The code is good only together with the verifier, which has not left this process.

        Arguments:
            redirect: where the browser brings the answer.
        """
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "response_type": "code",
            "client_id": self.client,
            "redirect_uri": redirect,
            "scope": "openid",
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        url = f"{self._endpoint('authorization_endpoint')}?{urllib.parse.urlencode(query)}"
        return Begun(url, redirect, state, nonce, verifier)

    def finish(self, begun: Begun, answer: Mapping[str, str], now: datetime) -> Subject:
        """Say who has signed in, by what the browser brought.

        Raises:
            SignInError: nobody has, or it is not the answer to what was begun.
        """
        form = {
            "grant_type": "authorization_code",
            "code": self._code(answer, begun.state),
            "redirect_uri": begun.redirect,
            "client_id": self.client,
            "code_verifier": begun.verifier,
        }
        return self._judge(self.web.post(self._endpoint("token_endpoint"), form), begun.nonce, now)

    def _code(self, answer: Mapping[str, str], state: str) -> str:
        if not hmac.compare_digest(answer.get("state", "").encode(), state.encode()):
            raise SignInError(
                "the answer in the browser was not to our question; begin again with `mimrun login`"
            )
        if answer.get("iss", self.web.issuer) != self.web.issuer:
            raise SignInError(
                "the answer in the browser is another provider's; begin again with `mimrun login`"
            )
        if "code" not in answer:
            raise SignInError(f"the provider refused: {answer.get('error', 'no reason given')[:80]}")
        return answer["code"]

    def _judge(self, answer: Answer, nonce: str | None, now: datetime) -> Subject:
        token = answer.body.get("id_token")
        if answer.status != 200 or not isinstance(token, str):
            raise SignInError(f"the provider did not sign anybody in: {answer.error or answer.status}")
        expected = Expected(self.web.issuer, self.client, nonce, now)
        try:
            try:
                return verify_id_token(token, self._keys(), expected)
            except UnknownKeyError:
                # It may have changed its keys between the two; asked once more, and then no more.
                return verify_id_token(token, self._keys(), expected)
        except UnknownKeyError as exc:
            raise SignInError(f"the ID token's signature is not the provider's: {exc}") from exc

    def _keys(self) -> list[Mapping[str, Any]]:
        answer = self.web.get(self._endpoint("jwks_uri"))
        keys = answer.body.get("keys")
        if answer.status != 200 or not isinstance(keys, list):
            raise SignInError(f"the provider's keys cannot be read: {answer.error or answer.status}")
        return [key for key in keys if isinstance(key, dict)]

    def _endpoint(self, name: str) -> str:
        url = self._said.get(name)
        if not isinstance(url, str):
            raise SignInError(f"the provider has no {name}")
        self.web.require_same_safety(url)
        return url


def begin_session(people: People, subject: Subject, now: datetime) -> tuple[Person, Session]:
    """Give the person who has signed in, and their session.

    Raises:
        SignInError: nobody has this account, or they have left. An e-mail address makes nobody somebody.
    """
    person = people.person_at("oidc", subject.account)
    if person is None:
        raise SignInError(
            f"nobody in {people.file} has this account; whoever keeps it can add, under identities,"
            f" oidc: [{subject.account!r}]"
        )
    if not person.active:
        raise SignInError(f"{person.id} is not active any more, and cannot sign in")
    times = {"signed_in_at": write_moment(now), "expires_at": write_moment(now + SESSION)}
    return person, Session(issuer=subject.issuer, subject=subject.subject, **times)


def _seconds(said: Mapping[str, Any], name: str, usual: int) -> int:
    value = said.get(name, usual)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= 3600 else usual
