"""Tokens: making, listing and revoking them. What signs in with one is in `mimrun.app.sign_in`."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from mimrun.app.home import Home
from mimrun.app.identity import Identity
from mimrun.errors import InputError, RefusedError, SignInError
from mimrun.gate.people import CLAIMED, Person
from mimrun.gate.role import ADMINISTRATOR, AUDITOR
from mimrun.gate.scope import FOR_OTHERS
from mimrun.gate.token import NAME, SECRET_BYTES, Token, Tokens, make_token, tokens_in, verifier_of
from mimrun.log.entry import Blob, Draft
from mimrun.log.field import REASON_LENGTH
from mimrun.log.kinds import TokenCreated, TokenRevoked
from mimrun.log.moment import read_moment
from mimrun.log.store import View
from mimrun.secret import Secret

LONGEST: Final = timedelta(days=366)


@dataclass(frozen=True, slots=True)
class Wanted:
    """The token that somebody wants.

    Arguments:
        person: whose it is: an id or account.
        expires: from now on.
    """

    name: str
    person: str
    scopes: frozenset[str]
    expires: timedelta


def create_token(home: Home, identity: Identity, wanted: Wanted) -> tuple[Secret, Token]:
    """Make a token and put its SHA-256 on record. What is given back is not kept anywhere.

    1. Who makes it is known, and was not only claimed: a claim must not become a proof.
    2. It is their own, unless they are an administrator; and then it decides nothing, since its maker could be both
       of the two people that a decision needs.
    3. A token makes no token that can do more, or lasts longer, than itself.
    4. An auditor's token reads.

    Raises:
        SignInError: one of these does not hold.
        InputError: the name is none or was given before, or the time is too long.
        SettingsError: nobody knows the person.
    """
    if not NAME.fullmatch(wanted.name):
        raise InputError(
            f"token name {wanted.name!r}: up to 31 lower case letters, digits and -, a letter first"
        )
    if not timedelta(0) < wanted.expires <= LONGEST:
        raise InputError(f"a token is good for up to {LONGEST.days} days")
    people, now = home.people(), home.clock()
    person, expires_at = people.person(wanted.person), now + wanted.expires
    if not person.active:
        raise SignInError(f"{person.id} is not active any more")
    _may_act_for(home, identity, person, "make a token for")
    _within(home, wanted, expires_at)
    if AUDITOR in person.roles and not wanted.scopes <= {"read"}:
        raise SignInError(f"{person.id} is an auditor, whose token reads and does nothing else")
    beyond = sorted(wanted.scopes - FOR_OTHERS)
    if beyond and person.id != identity.person.id:
        raise SignInError(
            f"{person.id} makes a token for {', '.join(beyond)} themselves: whoever makes it could act as them"
        )
    token = make_token(wanted.name, secrets.token_bytes(SECRET_BYTES))
    body = TokenCreated(
        token=wanted.name,
        person=person.id,
        scopes=tuple(sorted(wanted.scopes)),
        expires_at=expires_at,
        verifier=verifier_of(token),
    )

    def unused(view: View) -> None:
        if Token.model_validate_json(view.projection(Tokens.name, wanted.name)).name:
            raise RefusedError(
                f"there is or was a token {wanted.name}; a name is never given again, take another"
            )

    home.store.append([Draft(identity.actor(), body)], guard=unused)
    return token, _token(home, wanted.name)


def list_tokens(home: Home) -> list[Token]:
    """Give every token that was ever made, sorted by name."""
    return tokens_in(home.store.projections(Tokens.name))


def revoke_token(home: Home, identity: Identity, name: str, reason: str) -> Token:
    """Take a token away, for good: its owner or an administrator does.

    Raises:
        InputError: there is no such token, or no reason.
        RefusedError: it is revoked already.
        SignInError: it is somebody else's.
    """
    if not reason.strip():
        raise InputError("revoking needs a reason; give one with --reason")
    token = _token(home, name)
    if not token.name:
        raise InputError(f"no token {name!r}; `mimrun token list` shows them")
    owner = home.people().by_id.get(token.person) or Person(token.person, token.person)
    _may_act_for(home, identity, owner, "revoke a token of")
    body = TokenRevoked(token=name, reason=reason)
    blobs = (Blob("reason", reason.encode(), "text"),) if len(reason) > REASON_LENGTH else ()

    def still_there(view: View) -> None:
        now = Token.model_validate_json(view.projection(Tokens.name, name))
        if now.revoked_at:
            raise RefusedError(f"the token {name} was revoked by {now.revoked_by} already")

    home.store.append([Draft(identity.actor(), body, blobs=blobs)], guard=still_there)
    return _token(home, name)


def _may_act_for(home: Home, identity: Identity, owner: Person, what: str) -> None:
    people = home.people()
    if identity.auth.startswith(CLAIMED):
        raise SignInError(
            f"{identity.person.id} is only claimed at this account ({identity.auth}); to {what} somebody one signs in"
        )
    me = people.by_id.get(identity.person.id)
    if me is None:
        raise SignInError(f"{identity.person.id} is not in {people.file}; to {what} somebody one must be")
    if me.id != owner.id and ADMINISTRATOR not in me.roles:
        raise SignInError(
            f"{me.id} cannot {what} {owner.id}; {owner.id} can, or somebody with role {ADMINISTRATOR}"
        )


def _within(home: Home, wanted: Wanted, expires_at: datetime) -> None:
    """See that a token which makes one does not make more than itself."""
    signed = home.signed_in
    if signed is None or signed.scopes is None:
        return
    beyond = sorted(wanted.scopes - signed.scopes)
    if beyond:
        raise SignInError(
            f"{signed.auth} does not have {', '.join(beyond)}, and cannot give it to another token"
        )
    if expires_at > read_moment(signed.until):
        raise SignInError(
            f"{signed.auth} ends on {signed.until[:10]}; it cannot make a token that lasts longer"
        )


def _token(home: Home, name: str) -> Token:
    return Token.model_validate_json(home.store.projection(Tokens.name, name))
