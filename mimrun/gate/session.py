"""Sessions at the server: who signed in there, until when. Pure; the log keeps SHA-256 of what the browser has.

What the browser has is `NAME.SECRET`, where the secret is 256 random bits as 43 characters.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from pydantic import BaseModel, ConfigDict

from mimrun.errors import SignInError, TamperError
from mimrun.log.entry import LogEntry
from mimrun.log.kinds import SessionEnded, SessionOpened
from mimrun.log.moment import read_moment, write_moment
from mimrun.secret import Secret

SECRET_BYTES: Final = 32
_GIVEN: Final = re.compile(r"(ses-[a-z0-9]{8,24})\.([A-Za-z0-9_-]{43})")


class Session(BaseModel):
    """What the log says about a session.

    Arguments:
        name: "" where there is none.
        person: who signed in.
        auth: how: `password`, `token:NAME`, `oidc:ISSUER`.
        verifier: hexadecimal SHA-256 of what the browser has.
        ended_at: "" while nobody has ended it.
    """

    model_config = ConfigDict(frozen=True)

    name: str = ""
    person: str = ""
    auth: str = ""
    verifier: str = ""
    opened_at: str = ""
    expires_at: str = ""
    ended_at: str = ""

    def encode(self) -> bytes:
        """Give the bytes that the store keeps."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":")).encode()


class Sessions:
    """The projector: a session's name → what there is to know of it."""

    name: Final = "sessions/1"

    def empty(self) -> bytes:
        """A session that nobody opened."""
        return Session().encode()

    def key(self, entry: LogEntry) -> str | None:
        """An entry about a session touches it."""
        body = entry.body
        return body.session if isinstance(body, SessionOpened | SessionEnded) else None

    def apply(self, state: bytes, entry: LogEntry, blobs: Mapping[str, bytes]) -> bytes:
        """Give the session after an entry.

        Raises:
            TamperError: a session that is opened twice.
        """
        was, at = Session.model_validate_json(state), write_moment(entry.ts)
        match entry.body:
            case SessionOpened() as body:
                if was.name:
                    raise TamperError(f"entry {entry.seq}: the session {body.session} was opened before")
                return Session(
                    name=body.session,
                    person=body.person,
                    auth=body.auth,
                    verifier=body.verifier,
                    opened_at=at,
                    expires_at=body.expires_at,
                ).encode()
            case SessionEnded() if was.name and not was.ended_at:
                return was.model_copy(update={"ended_at": at}).encode()
            case _:
                return state


def make_cookie(session: str, random: bytes) -> Secret:
    """Give what the browser gets for a session.

    Arguments:
        random: 32 bytes that nobody can guess.
    """
    assert len(random) == SECRET_BYTES
    return Secret(f"{session}.{base64.urlsafe_b64encode(random).rstrip(b'=').decode()}")


def verifier_of(cookie: Secret) -> str:
    """Give what the log keeps of it. It is long and random, so that one round is enough."""
    return hashlib.sha256(cookie.reveal().encode()).hexdigest()


def form_key_of(cookie: Secret) -> str:
    """Give what each form of a session has to bring along, which another site cannot know."""
    return hmac.new(cookie.reveal().encode(), b"mimrun form", hashlib.sha256).hexdigest()


def name_of(given: Secret) -> str:
    """Give the session's name in what a browser gave.

    Raises:
        SignInError: it has not that form.
    """
    found = _GIVEN.fullmatch(given.reveal())
    if found is None:
        raise SignInError("this is no session; sign in")
    return found[1]


def check_session(given: Secret, known: Session, now: datetime) -> None:
    """See that a session is open and that the browser has its secret.

    Raises:
        SignInError: it is not; the message does not say which of its parts is wrong.
    """
    # 1. The secret, in constant time, also where there is no such session.
    right = hmac.compare_digest(verifier_of(given), known.verifier or "0" * 64)
    # 2. Then whether it still counts.
    if not right or known.ended_at or now >= read_moment(known.expires_at):
        raise SignInError("your session is over; sign in again")
