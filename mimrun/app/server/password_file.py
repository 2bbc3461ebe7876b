"""The file of passwords: Argon2id hashes in mimrun's home, for its owner only.

    passwords:
      alex: {hash: "$argon2id$v=19$m=65536,t=3,p=4$…", once: false, until: ""}

`mimrun password` writes it. The log knows when somebody's password changed, and nothing of the password.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from mimrun.errors import SettingsError
from mimrun.log.durable import sync_folder
from mimrun.runbook.document import load_document
from mimrun.settings import Settings

_HEAD: Final = "# Written by `mimrun password`: Argon2id hashes. For its owner only.\n"


class Kept(BaseModel):
    """What is kept of a password.

    Arguments:
        hash: as Argon2 writes it, with its parameters and salt.
        once: it was made for somebody by somebody else, and is good only to choose another.
        until: when it ends, as the log writes moments; "" for never.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    hash: str
    once: bool = False
    until: str = ""


def read_passwords(settings: Settings) -> Mapping[str, Kept]:
    """Give every password, by person; none where there is no file.

    Raises:
        SettingsError: the file cannot be read, is not what it should be, or others than its owner can use it.
    """
    path = file_of(settings)
    try:
        mode = path.stat().st_mode & 0o777
    except FileNotFoundError:
        return {}
    except OSError as exc:
        raise SettingsError(f"{path} cannot be read: {exc.strerror}") from exc
    if mode & 0o077:
        raise SettingsError(f"others than its owner can use {path} (mode {mode:04o}); chmod 600 {path}")
    value = load_document(path, error=SettingsError).value
    found = value.get("passwords") if isinstance(value, dict) else None
    if not isinstance(found, dict):
        raise SettingsError(f"{path}: has a key 'passwords', with a hash for each person")
    try:
        return {str(person): Kept.model_validate(kept) for person, kept in found.items()}
    except ValidationError as exc:
        raise SettingsError(f"{path}: is not as `mimrun password` writes it") from exc


class Changing:
    """The file while it is being changed: nobody else changes it meanwhile.

    Arguments:
        now: as it stands.
    """

    def __init__(self, settings: Settings, now: Mapping[str, Kept]) -> None:
        self._path, self.passwords = file_of(settings), dict(now)
        self._draft: Path | None = None

    def prepare(self) -> None:
        """Write the file beside itself: what can go wrong goes wrong now."""
        lines = [
            f"  {json.dumps(person)}: {json.dumps(kept.model_dump())}\n"
            for person, kept in sorted(self.passwords.items())
        ]
        draft = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            descriptor = os.open(
                draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
            )
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(_HEAD + ("passwords:\n" + "".join(lines) if lines else "passwords: {}\n"))
                file.flush()
                os.fsync(file.fileno())
        except OSError as exc:
            raise SettingsError(f"{self._path} cannot be written: {exc.strerror}") from exc
        self._draft = draft

    def commit(self) -> None:
        """Put it in its place."""
        assert self._draft is not None
        try:
            self._draft.replace(self._path)
            sync_folder(self._path.parent)
        except OSError as exc:
            raise SettingsError(f"{self._path} cannot be written: {exc.strerror}") from exc


@contextmanager
def changing(settings: Settings) -> Iterator[Changing]:
    """Change the file.

    Raises:
        SettingsError: it cannot be read or written.
    """
    try:
        lock = os.open(settings.locks / "passwords", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise SettingsError(f"{settings.locks} cannot be used: {exc.strerror}") from exc
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield Changing(settings, read_passwords(settings))
    finally:
        os.close(lock)


def file_of(settings: Settings) -> Path:
    """Say where it is."""
    return settings.home / "passwords.yaml"
