"""API tokens: what signs in a program, or a person from elsewhere. Pure; the log keeps SHA-256 alone.

A token is `mimrun_NAME_SECRET`, where the secret is 256 random bits as 43 characters. Its name stands in the log for as
long as there is one and is never given again.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final

from pydantic import BaseModel, ConfigDict

from mimrun.errors import SignInError, TamperError
from mimrun.log import kinds
from mimrun.log.entry import LogEntry
from mimrun.log.moment import read_moment, write_moment
from mimrun.secret import Secret

SECRET_BYTES: Final = 32
NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,30}")
_TOKEN: Final = re.compile(r"mimrun_([a-z][a-z0-9-]{0,30})_([A-Za-z0-9_-]{43})")
_UNKNOWN: Final = (
    "this token is not known here; make one with `mimrun token create`, and see that all of it was copied"
)


class Token(BaseModel):
    """What the log says about a token.

    Arguments:
        name: "" where there is none.
        person: who acts with it.
        verifier: hexadecimal SHA-256 of the whole token.
        by: who made it.
        revoked_at, revoked_by: "" while nobody has revoked it.
    """

    model_config = ConfigDict(frozen=True)

    name: str = ""
    person: str = ""
    scopes: tuple[str, ...] = ()
    expires_at: str = ""
    verifier: str = ""
    by: str = ""
    created_at: str = ""
    revoked_at: str = ""
    revoked_by: str = ""

    def encode(self) -> bytes:
        """Give the bytes that the store keeps."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":")).encode()

    def state(self, now: datetime) -> str:
        """Say in a word whether it can be used: `valid`, `expired`, `revoked`."""
        if self.revoked_at:
            return "revoked"
        return "valid" if now < read_moment(self.expires_at) else "expired"


class Tokens:
    """The projector: a token's name → what there is to know of it."""

    name: Final = "tokens/1"

    def empty(self) -> bytes:
        """A token that nobody made."""
        return Token().encode()

    def key(self, entry: LogEntry) -> str | None:
        """An entry about a token touches it."""
        body = entry.body
        return body.token if isinstance(body, kinds.TokenCreated | kinds.TokenRevoked) else None

    def apply(self, state: bytes, entry: LogEntry, blobs: Mapping[str, bytes]) -> bytes:
        """Give the token after an entry.

        Raises:
            TamperError: a token that is made twice, or revoked without being there.
        """
        was, at = Token.model_validate_json(state), write_moment(entry.ts)
        match entry.body:
            case kinds.TokenCreated() as body:
                if was.name:
                    raise TamperError(f"entry {entry.seq}: the token {body.token} was made before")
                return Token(
                    name=body.token,
                    person=body.person,
                    scopes=tuple(sorted(body.scopes)),
                    expires_at=body.expires_at,
                    verifier=body.verifier,
                    by=entry.actor.id,
                    created_at=at,
                ).encode()
            case kinds.TokenRevoked() as body:
                if not was.name or was.revoked_at:
                    raise TamperError(f"entry {entry.seq}: there is no token {body.token} to revoke")
                return was.model_copy(update={"revoked_at": at, "revoked_by": entry.actor.id}).encode()
            case _:
                return state


def tokens_in(states: Iterator[tuple[str, bytes]]) -> list[Token]:
    """Give every token, sorted by name, from the states of the projection."""
    return [Token.model_validate_json(state) for _, state in states]


def make_token(name: str, random: bytes) -> Secret:
    """Give the token of a name.

    Arguments:
        random: 32 bytes that nobody can guess.
    """
    assert NAME.fullmatch(name)
    assert len(random) == SECRET_BYTES
    return Secret(f"mimrun_{name}_{base64.urlsafe_b64encode(random).rstrip(b'=').decode()}")


def verifier_of(token: Secret) -> str:
    """Give what the log keeps of a token. It is long and random, so that one round is enough."""
    return hashlib.sha256(token.reveal().encode()).hexdigest()


def name_of(given: Secret) -> str:
    """Give the name in a token that somebody gave.

    Raises:
        SignInError: it has not the form of a token. The message does not show it.
    """
    found = _TOKEN.fullmatch(given.reveal().strip())
    if found is None:
        raise SignInError(
            "what was given is no token: one begins with mimrun_ and has 43 characters behind its name"
        )
    return found[1]


def check_token(given: Secret, known: Token, now: datetime) -> None:
    """See that a token is the one that the log knows, and good now.

    1. Whoever does not have it learns nothing about it: not known, and wrong, is the same answer in the same time.
    2. Then: it was not revoked, and has not expired.

    Raises:
        SignInError: it is not; the message says which.
    """
    verifier = verifier_of(Secret(given.reveal().strip()))
    same = hmac.compare_digest(verifier, known.verifier or "0" * 64)
    if not same or not known.name:
        raise SignInError(_UNKNOWN)
    match known.state(now):
        case "revoked":
            raise SignInError(f"the token {known.name} was revoked by {known.revoked_by}; ask for another")
        case "expired":
            raise SignInError(f"the token {known.name} expired on {known.expires_at[:10]}; ask for another")
