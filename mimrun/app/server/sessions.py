"""Sessions at the server: opened, recognised, ended."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Final

from mimrun.app.home import Home
from mimrun.app.sign_in import sign_in_with_token, still_good
from mimrun.errors import SignInError
from mimrun.gate.people import SignedIn
from mimrun.gate.session import (
    SECRET_BYTES,
    Session,
    Sessions,
    check_session,
    make_cookie,
    name_of,
    verifier_of,
)
from mimrun.log.entry import Actor, Draft
from mimrun.log.kinds import SessionEnded, SessionOpened
from mimrun.log.moment import read_moment
from mimrun.secret import Secret

LASTS: Final = timedelta(hours=12)
_LETTERS: Final = "abcdefghijkmnpqrstuvwxyz23456789"


def open_session(home: Home, signed: SignedIn) -> Secret:
    """Open a session for somebody who has proven who they are; gives what the browser is to keep.

    Raises:
        StoreError: the log cannot be written.
    """
    name = "ses-" + "".join(secrets.choice(_LETTERS) for _ in range(12))
    cookie = make_cookie(name, secrets.token_bytes(SECRET_BYTES))
    expires = home.clock() + LASTS
    if signed.until:
        expires = min(expires, read_moment(signed.until))
    body = SessionOpened(
        session=name,
        person=signed.person,
        auth=signed.auth[:64],
        verifier=verifier_of(cookie),
        expires_at=expires,
    )
    home.store.append([Draft(Actor("person", signed.person, "web", signed.auth), body)])
    return cookie


def recognise(home: Home, cookie: Secret) -> SignedIn:
    """Say who has a session.

    1. The session is open, and the browser has its secret.
    2. Where it was opened with a token, that token still counts, and its scopes are the session's.
    3. The person is known and active.

    Raises:
        SignInError: one of these does not hold.
    """
    known = Session.model_validate_json(home.store.projection(Sessions.name, name_of(cookie)))
    check_session(cookie, known, home.clock())
    return still_good(home.settings, home.store, home.clock(), known.person, known.auth, known.expires_at)


def end_session(home: Home, cookie: Secret) -> None:
    """End a session, as its person wants.

    Raises:
        StoreError: the log cannot be written.
    """
    try:
        signed, name = recognise(home, cookie), name_of(cookie)
    except SignInError:
        return  # it is over already
    actor = Actor("person", signed.person, "web", signed.auth)
    home.store.append([Draft(actor, SessionEnded(session=name, why="signed_out"))])


def sign_in_by_token(home: Home, token: Secret) -> SignedIn:
    """Say who a token signs in, for what is being done.

    Raises:
        SignInError: it is not good, or not for this.
    """
    return sign_in_with_token(home.settings, token, home.store, home.clock())
