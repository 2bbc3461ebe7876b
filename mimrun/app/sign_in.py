"""Signing in: who acts, where a token or a session says so, and what they may do by it.

Which verb is being done is known from the door (`doing`), so that no command can forget to ask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import Final

from mimrun.app.oidc.session import read_session
from mimrun.errors import NotSignedInError, SettingsError, SignInError
from mimrun.gate.people import People, SignedIn
from mimrun.gate.people_file import load_people
from mimrun.gate.scope import AUDITED, VERBS
from mimrun.gate.token import Token, Tokens, check_token, name_of
from mimrun.log.store import Store
from mimrun.secret import Secret
from mimrun.settings import Settings

_VERB: Final[ContextVar[str]] = ContextVar("verb", default="")
_DOOR: Final[ContextVar[str]] = ContextVar("door", default="cli")


@contextmanager
def doing(verb: str, door: str = "cli") -> Iterator[None]:
    """Say which verb a person typed or pressed, and at which door, for as long as the `with` lasts."""
    verb_before, door_before = _VERB.set(verb), _DOOR.set(door)
    try:
        yield
    finally:
        _VERB.reset(verb_before)
        _DOOR.reset(door_before)


def door() -> str:
    """Give the door that somebody came through, as the log records it: `cli` or `web`."""
    return _DOOR.get()


def scope_wanted() -> str:
    """Give the scope that the verb which is being done needs; "" where no verb is known."""
    return VERBS.get(_VERB.get(), "")


def is_looking() -> bool:
    """Say whether what is being done decides nothing; also where no verb is known."""
    return not _VERB.get() or _VERB.get() in AUDITED


def sign_in(settings: Settings, store: Store, clock: Callable[[], datetime]) -> SignedIn | None:
    """Say who has signed in; None where nobody has, and the account of the operating system speaks.

    What runs inside, with no verb that somebody typed, is nobody's word, and asks nobody.

    1. A token says who it is, before anything else. It must not be empty, nor lie where others can read it; it must
       be known, not revoked, not expired; its person known
       and active; and it must have the scope of the verb.
    2. Else whoever has signed in with `mimrun login`, while the session lasts. Who only looks needs none.

    Raises:
        SignInError: what was given is not good, or not for this.
    """
    if not _VERB.get():
        return None
    if settings.token_wrong:
        raise SignInError(settings.token_wrong)
    if settings.token is not None:
        return sign_in_with_token(settings, settings.token, store, clock())
    session = read_session(settings.session, settings.oidc_issuer) if settings.session is not None else None
    if session is None or (scope_wanted() == "read" and not session.good(clock())):
        return None
    if not session.good(clock()):
        raise SignInError(
            f"your session of {session.issuer} has ended; sign in again with `mimrun login`, or end it with"
            " `mimrun logout` to act as the account of the operating system"
        )
    people = load_people(settings.people)
    person = people.person_at("oidc", session.account)
    if person is None:
        raise SignInError(
            f"nobody in {people.file} has the account {session.account!r}; add it under identities, oidc,"
            " or end the session with `mimrun logout`"
        )
    _must_be_active(people, person.id)
    return SignedIn(person.id, f"oidc:{session.issuer}"[:128], until=session.expires_at)


def require_scope(signed: SignedIn | None, scope: str, what: str) -> None:
    """See that a token may also be used for what somebody wants besides the verb that they typed.

    Arguments:
        signed: whoever acts, where they have signed in.
        what: what they want, for the message: "go past the gates".

    Raises:
        SignInError: it has not the scope for that.
    """
    if signed is not None and signed.scopes is not None and scope not in signed.scopes:
        has = ", ".join(sorted(signed.scopes))
        raise SignInError(f"to {what} needs the scope {scope!r}; {signed.auth} has {has}")


def sign_in_with_token(settings: Settings, given: Secret, store: Store, now: datetime) -> SignedIn:
    """Say who a token signs in.

    Raises:
        SignInError: it is not known, revoked, expired, not for what is being done, or its person has left.
    """
    try:
        known = Token.model_validate_json(store.projection(Tokens.name, name_of(given)))
        check_token(given, known, now)
    except SignInError as exc:
        raise NotSignedInError(str(exc)) from exc
    return _with_token(settings, known)


def still_good(
    settings: Settings, store: Store, now: datetime, *, person: str, auth: str, until: str
) -> SignedIn:
    """Say who acts in a session that was opened at the server, where what opened it still counts.

    Arguments:
        person, auth: who signed in there, and how.
        until: when the session ends.

    Raises:
        SignInError: the person has left, or the token is gone, or not for what is being done.
    """
    if auth.startswith("token:"):
        known = Token.model_validate_json(store.projection(Tokens.name, auth.removeprefix("token:")))
        if known.state(now) != "valid":
            raise NotSignedInError(
                f"the {auth} that opened this session is {known.state(now)}; sign in again"
            )
        return _with_token(settings, known)
    people = load_people(settings.people)
    if person not in people.by_id:
        raise SignInError(f"{people.file} does not know {person} any more")
    _must_be_active(people, person)
    return SignedIn(person, auth, until=until)


def _with_token(settings: Settings, known: Token) -> SignedIn:
    people = load_people(settings.people)
    if known.person not in people.by_id:
        raise SignInError(
            f"the token {known.name} is {known.person}'s, whom {people.file} does not know any more"
        )
    _must_be_active(people, known.person)
    scope = scope_wanted()
    if scope not in known.scopes:
        verb = f"`mimrun {_VERB.get()}`"
        needs = f"{verb} needs the scope {scope!r}" if scope else f"{verb} is not for tokens"
        raise SignInError(f"{needs}; the token {known.name} has {', '.join(known.scopes)}")
    maker = known.by if known.by != known.person else ""
    return SignedIn(known.person, f"token:{known.name}", frozenset(known.scopes), known.expires_at, maker)


def _must_be_active(people: People, id_: str) -> None:
    try:
        person = people.person(id_)
    except SettingsError as exc:
        raise SignInError(str(exc)) from exc
    if not person.active:
        raise SignInError(f"{id_} is not active any more, and cannot sign in")
