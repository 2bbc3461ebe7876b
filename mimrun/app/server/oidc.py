"""Signing in at the server with OpenID Connect: who is on their way, and who has come back.

What nobody else may know (`mimrun.app.oidc.login.Begun`) stays in this process. The browser keeps a word by which it is
known again, so that nobody is signed in by an answer that somebody else has brought about.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from mimrun.app.home import Home
from mimrun.app.oidc.login import PATIENCE, Begun, Provider, begin_session
from mimrun.app.oidc.web import Web
from mimrun.errors import InputError, SignInError
from mimrun.gate.people import SignedIn
from mimrun.gate.people_file import load_people
from mimrun.secret import Secret

_MOST: Final = 1000
AT_ONCE: Final = 4
"""So many speak with the provider at once. One that does not answer holds a thread of the server for each of them."""
_FRESH: Final = timedelta(minutes=5)
"""So long it counts what the provider says of itself."""


@dataclass(frozen=True, slots=True)
class _OnTheWay:
    begun: Begun
    word: str
    until: datetime


class ProviderDoor:
    """The way in by an OpenID provider.

    Arguments:
        home: whose settings name it.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._lock = threading.Lock()
        self._room = threading.BoundedSemaphore(AT_ONCE)
        self._provider: tuple[Provider, datetime] | None = None
        self._on_the_way: OrderedDict[str, _OnTheWay] = OrderedDict()

    def begin(self, redirect: str) -> tuple[str, Secret]:
        """Begin to sign somebody in.

        Arguments:
            redirect: where their browser brings the answer.

        Returns:
            where to send the browser, and the word that it keeps.

        Raises:
            InputError: nobody signs in so here.
            SignInError: the provider cannot be asked, or keeps others waiting.
        """
        with self._asking():
            begun, word = self._known_provider().begin(redirect), secrets.token_urlsafe(32)
        now = self._home.clock()
        with self._lock:
            self._on_the_way[begun.state] = _OnTheWay(begun, _digest(word), now + PATIENCE)
            while len(self._on_the_way) > _MOST:
                self._on_the_way.popitem(last=False)
        return begun.url, Secret(word)

    def finish(self, answer: Mapping[str, str], word: Secret | None) -> SignedIn:
        """Say who has come back.

        Arguments:
            answer: what the browser brought from the provider.
            word: what it had kept.

        Raises:
            SignInError: it is no answer to what this browser began, nobody has signed in, nobody here has the account, or
                the provider keeps others waiting.
        """
        with self._asking():
            return self._finish(answer, word)

    @contextmanager
    def _asking(self) -> Iterator[None]:
        if not self._room.acquire(blocking=False):
            raise SignInError(
                f"{self._home.settings.oidc_issuer} keeps others waiting at this moment; try again, or sign in otherwise"
            )
        try:
            yield
        finally:
            self._room.release()

    def _finish(self, answer: Mapping[str, str], word: Secret | None) -> SignedIn:
        with self._lock:
            known = self._on_the_way.pop(answer.get("state", ""), None)
        now = self._home.clock()
        right = (
            known is not None and word is not None and hmac.compare_digest(_digest(word.reveal()), known.word)
        )
        if known is None or not right or now >= known.until:
            raise SignInError("this is no answer to what this browser began; begin again")
        subject = self._known_provider().finish(known.begun, answer, now)
        people = load_people(self._home.settings.people).at(now)
        person, session = begin_session(people, subject, now)
        return SignedIn(person.id, f"oidc:{session.issuer}"[:64], until=session.expires_at)

    def _known_provider(self) -> Provider:
        settings, now = self._home.settings, self._home.clock()
        if not settings.oidc_issuer:
            raise InputError("nobody signs in with OpenID Connect here; MIMRUN_OIDC_ISSUER names a provider")
        known = self._provider
        if known is None or now - known[1] >= _FRESH:
            web = Web(settings.oidc_issuer, settings.oidc_ca_file)
            self._provider = known = (Provider(web, settings.oidc_client), now)
        return known[0]


def _digest(word: str) -> str:
    return hashlib.sha256(word.encode()).hexdigest()
