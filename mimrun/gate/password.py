"""Passwords of people at the server: what a new one must be, and when one last changed. Pure; no hash is in the log."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from typing import Final

from pydantic import BaseModel, ConfigDict

from mimrun.errors import InputError
from mimrun.log.entry import LogEntry
from mimrun.log.kinds import PasswordChanged
from mimrun.log.moment import write_moment

SHORTEST: Final = 12
LONGEST: Final = 256


class LastChange(BaseModel):
    """When a person's password last changed.

    Arguments:
        at: "" where it never did.
        by: who changed it.
        removed: there is none any more.
    """

    model_config = ConfigDict(frozen=True)

    at: str = ""
    by: str = ""
    removed: bool = False

    def encode(self) -> bytes:
        """Give the bytes that the store keeps."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":")).encode()


class PasswordChanges:
    """The projector: a person → when their password last changed."""

    name: Final = "passwords/1"

    def empty(self) -> bytes:
        """A person whose password never changed."""
        return LastChange().encode()

    def key(self, entry: LogEntry) -> str | None:
        """An entry about somebody's password touches it."""
        return entry.body.person if isinstance(entry.body, PasswordChanged) else None

    def apply(self, state: bytes, entry: LogEntry, blobs: Mapping[str, bytes]) -> bytes:
        """Give the last change after an entry."""
        if not isinstance(entry.body, PasswordChanged):
            return state
        return LastChange(at=write_moment(entry.ts), by=entry.actor.id, removed=entry.body.removed).encode()


def normal(password: str) -> str:
    """Give what two ways to type one password have in common (RFC 8265): the same characters, whatever the keyboard."""
    return unicodedata.normalize("NFC", password)


def check_new(password: str, person: str) -> None:
    """See that somebody may choose a password. It is long, and of whatever they like.

    Raises:
        InputError: it is too short, too long, or their own name.
    """
    text = normal(password)
    if len(text) < SHORTEST:
        raise InputError(
            f"a password has {SHORTEST} characters or more, of any kind: some words that nobody else puts together"
        )
    if len(text) > LONGEST:
        raise InputError(f"a password has at most {LONGEST} characters")
    if text.casefold() in person.casefold() or len(set(text)) < 4:
        raise InputError("this password is a name or a few characters again and again; take another")
