"""The kinds for signing in at the server: passwords and sessions."""

from __future__ import annotations

from typing import Literal

from mimrun.log.field import Hash, Moment, Name, Word
from mimrun.log.kind import Body, Kind

__all__ = ["PasswordChanged", "SessionEnded", "SessionOpened"]


class PasswordChanged(Body):
    """A person has another password, or none any more; the log knows nothing of it."""

    kind = Kind.PASSWORD_CHANGED
    person: Name
    removed: bool = False


class SessionOpened(Body):
    """Somebody signed in at the server; of the session's secret only the SHA-256 is kept."""

    kind = Kind.SESSION_OPENED
    session: Word
    person: Name
    auth: Word
    verifier: Hash
    expires_at: Moment


class SessionEnded(Body):
    """A session is over before its time."""

    kind = Kind.SESSION_ENDED
    session: Word
    why: Literal["signed_out", "revoked", "idle"]
