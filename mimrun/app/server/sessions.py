"""Sessions at the server: opened, recognised, listed, ended."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Final, Literal

from mimrun.app.home import Home
from mimrun.app.identity import Identity
from mimrun.app.server.idle import Idle
from mimrun.app.server.passwords import AUTH, last_change
from mimrun.app.sign_in import sign_in_with_token, still_good
from mimrun.errors import InputError, NotSignedInError, RefusedError, SignInError
from mimrun.gate.password import LastChange, PasswordChanges
from mimrun.gate.people import CLAIMED, SignedIn
from mimrun.gate.role import ADMINISTRATOR
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
from mimrun.log.store import View
from mimrun.secret import Secret

LASTS: Final = timedelta(hours=12)
_LETTERS: Final = "abcdefghijkmnpqrstuvwxyz23456789"
_OVER: Final = "your session is over; sign in again"


def open_session(home: Home, signed: SignedIn) -> Secret:
    """Open a session for somebody who has proven who they are; gives what the browser is to keep.

    Raises:
        SignInError: their password has changed since it was compared.
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

    def same_password(view: View) -> None:
        now = LastChange.model_validate_json(view.projection(PasswordChanges.name, signed.person)).at
        if signed.changed not in (None, now):
            raise SignInError("your password has changed just now; sign in with the new one")

    home.store.append([Draft(Actor("person", signed.person, "web", signed.auth), body)], guard=same_password)
    return cookie


def recognise(home: Home, cookie: Secret, idle: Idle | None = None, *, acts: bool = True) -> SignedIn:
    """Say who has a session.

    1. The session is open, and the browser has its secret.
    2. Something was done in it lately; where nothing was, it is over from now on.
    3. Where it was opened with a password, that has not changed since.
    4. Where it was opened with a token, that token still counts, and its scopes are the session's.
    5. The person is known and active.

    Arguments:
        idle: remembers when it was last used.
        acts: a person does something; else a page that is open asks for what is new.

    Raises:
        NotSignedInError: one of the first three does not hold.
        SignInError: one of the others does not.
    """
    try:
        known = _known(home, name_of(cookie))
        check_session(cookie, known, home.clock())
    except SignInError as exc:
        raise NotSignedInError(str(exc)) from exc
    opened = read_moment(known.opened_at)
    if idle is not None and idle.is_over(known.name, opened):
        _end(home, known, Actor("person", known.person, "web", known.auth), "idle")
        raise NotSignedInError(_OVER)
    if known.auth == AUTH:
        changed = last_change(home, known.person).at
        if changed and opened < read_moment(changed):
            raise NotSignedInError("your password has changed; sign in again")
    said = {"person": known.person, "auth": known.auth, "until": known.expires_at}
    signed = still_good(home.settings, home.store, home.clock(), **said)
    if idle is not None and acts:
        idle.used(known.name)
    return signed


def end_session(home: Home, cookie: Secret) -> None:
    """End a session, as its person wants; one that is over is left alone.

    Raises:
        StoreError: the log cannot be written.
    """
    try:
        known = _known(home, name_of(cookie))
        check_session(cookie, known, home.clock())
    except SignInError:
        return
    _end(home, known, Actor("person", known.person, "web", known.auth), "signed_out")


def list_sessions(home: Home, person: str = "") -> list[Session]:
    """Give the sessions that are open, the newest first.

    Arguments:
        person: only theirs.
    """
    now = home.clock()
    found = [Session.model_validate_json(state) for _, state in home.store.projections(Sessions.name)]
    there = [one for one in found if not one.ended_at and now < read_moment(one.expires_at)]
    mine = [one for one in there if not person or one.person == person]
    return sorted(mine, key=lambda one: (one.opened_at, one.name), reverse=True)


def revoke_session(home: Home, identity: Identity, name: str) -> Session:
    """End a session of one's own, or as an administrator somebody else's.

    Raises:
        InputError: there is no such session, or it is over.
        SignInError: it is somebody else's.
        StoreError: the log cannot be written.
    """
    known = _known(home, name)
    if not known.name or known.ended_at or home.clock() >= read_moment(known.expires_at):
        raise InputError(f"no session {name[:40]!r} is open; `mimrun session list` shows them")
    people = home.people()
    me = people.by_id.get(identity.person.id)
    if me is None or identity.auth.startswith(CLAIMED):
        raise SignInError(f"{identity.person.id} has not signed in; to end a session one must have")
    if me.id != known.person and ADMINISTRATOR not in me.roles:
        raise SignInError(f"{me.id} cannot end a session of {known.person}; they can, or an {ADMINISTRATOR}")
    if not _end(home, known, identity.actor(), "revoked"):
        raise InputError(f"the session {name} is over already")
    return known


def sign_in_by_token(home: Home, token: Secret) -> SignedIn:
    """Say who a token signs in, for what is being done.

    Raises:
        SignInError: it is not good, or not for this.
    """
    return sign_in_with_token(home.settings, token, home.store, home.clock())


def _known(home: Home, name: str) -> Session:
    return Session.model_validate_json(home.store.projection(Sessions.name, name))


def _end(home: Home, known: Session, actor: Actor, why: Literal["signed_out", "revoked", "idle"]) -> bool:
    """Put the end of a session on record, once; says whether it was this one."""
    over = False

    def still_open(view: View) -> None:
        nonlocal over
        over = bool(Session.model_validate_json(view.projection(Sessions.name, known.name)).ended_at)
        if over:
            raise RefusedError(_OVER)

    try:
        home.store.append([Draft(actor, SessionEnded(session=known.name, why=why))], guard=still_open)
    except RefusedError:
        if not over:
            raise
    return not over
