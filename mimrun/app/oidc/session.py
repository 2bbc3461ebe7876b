"""The session of a person who has signed in with OpenID Connect: a file for its owner only, with an end."""

from __future__ import annotations

import json
import os
import stat
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from mimrun.errors import SettingsError, SignInError
from mimrun.log.moment import read_moment


class Session(BaseModel):
    """Who has signed in, and until when.

    Arguments:
        issuer: the provider that says so.
        subject: the name that it has for the person; it never changes and is never given again.
        expires_at: the first moment at which it is over, UTC.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    issuer: str
    subject: str
    signed_in_at: str
    expires_at: str

    @property
    def account(self) -> str:
        """The account as the people file has it."""
        return f"{self.issuer}|{self.subject}"

    def good(self, now: datetime) -> bool:
        """Say whether it lasts."""
        return read_moment(self.signed_in_at) <= now < read_moment(self.expires_at)


def read_session(path: Path, issuer: str) -> Session | None:
    """Give the session of this account; None where there is none, or nobody signs in here.

    Arguments:
        issuer: whose sessions count; those of another one do not.

    Raises:
        SignInError: the file cannot be read, is somebody else's, or others can write it.
    """
    if not issuer:
        return None
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise SignInError(
            f"{path}: cannot be read: {exc.strerror}; end the session with `mimrun logout`"
        ) from exc
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
            raise SignInError(
                f"{path}: others than its owner can use it; end the session with `mimrun logout`"
            )
        data = file.read(64 * 1024)
    try:
        session = Session.model_validate_json(data)
        read_moment(session.expires_at), read_moment(session.signed_in_at)
    except (ValidationError, ValueError) as exc:
        raise SignInError(f"{path}: is no session; end it with `mimrun logout`") from exc
    return session if session.issuer == issuer else None


def write_session(path: Path, session: Session) -> None:
    """Keep a session, for the owner only.

    Raises:
        SettingsError: it cannot be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(session.model_dump(mode="json"), file)
        draft.replace(path)
    except OSError as exc:
        raise SettingsError(f"{path}: the session cannot be kept: {exc.strerror}") from exc


def end_session(path: Path) -> bool:
    """Forget a session; gives whether there was one."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True
