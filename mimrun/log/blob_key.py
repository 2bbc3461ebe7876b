"""The blob key: where it comes from, and how it is made.

It is 64 hexadecimal characters in a file beside the log that only its owner can read, or wherever a secret
can be kept. Without it the log is intact and everything but the content of its blobs can be read.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mimrun.errors import BlobKeyError, SettingsError, StoreError
from mimrun.log.cipher import KEY_SIZE
from mimrun.log.durable import sync_folder
from mimrun.secret import read_secret

FILE: Final = "blob.key"
_KEY: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class BlobKey:
    """The key of a log's blobs.

    Arguments:
        source: where it was read, as messages name it.
        key: 32 bytes.
    """

    source: str
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class NoKey:
    """Says that the key of a log's blobs is not at hand: entries can be read, and nothing is added.

    Arguments:
        why: what is wrong with it, and what to do.
    """

    why: str


@dataclass(frozen=True, slots=True)
class BlobKeyPlace:
    """Where a log's blob key is.

    Arguments:
        file: the file that it is in where nothing else is said.
        reference: the reference of the secret that it is kept as, or "".
    """

    file: Path
    reference: str = ""

    @classmethod
    def beside(cls, log: Path) -> BlobKeyPlace:
        """The usual place: a file beside the log's."""
        return cls(log.with_name(FILE))

    @property
    def name(self) -> str:
        """The place as messages name it."""
        return self.reference or str(self.file)

    def read(self) -> BlobKey:
        """Read the key.

        Raises:
            BlobKeyError: it is not there, or is no key. The message never shows it.
        """
        if not self.reference and not self.file.exists():
            raise BlobKeyError(
                f"the key of the log's blobs is missing: put back {self.file}, as a copy from where the log was made"
                " or from where it is backed up, or say with MIMRUN_BLOB_KEY where it is kept"
            )
        try:
            text = read_secret(self.reference or f"file:{self.file}").reveal().strip()
        except SettingsError as exc:
            raise BlobKeyError(f"the key of the log's blobs cannot be read: {exc}") from exc
        if not _KEY.fullmatch(text):
            raise BlobKeyError(
                f"what {self.name} holds is no key of a log's blobs: that is {2 * KEY_SIZE} hexadecimal"
                " characters (`openssl rand -hex 32` makes a new one, for a new log)"
            )
        return BlobKey(self.name, bytes.fromhex(text))

    @property
    def path(self) -> Path | None:
        """The file that the key is in, also where it is kept as a secret; None where it is in none."""
        if not self.reference:
            return self.file
        scheme, _, rest = self.reference.partition(":")
        try:
            return Path(rest).expanduser() if scheme == "file" else None
        except RuntimeError:  # of somebody who has no home
            return None

    def make(self, entropy: Callable[[int], bytes] = secrets.token_bytes) -> BlobKey:
        """Make a key for a new log, unless there is one already, and read it.

        The file appears whole or not at all, and durably, so that no log is ever without its key.

        Raises:
            StoreError: it cannot be made here, or what is there is no key.
        """
        if not self.reference and not self.file.exists():
            try:
                _write(self.file, entropy(KEY_SIZE).hex())
            except OSError as exc:
                raise StoreError(
                    f"no key for the log's blobs can be made at {self.file}: {exc.strerror}"
                ) from exc
        return self.read()


def _write(path: Path, text: str) -> None:
    """Write a file that only its owner can read. Whoever is first has written it."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        # Unlike a rename, a link never takes the place of a key that another process has just made.
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
    sync_folder(path.parent)
