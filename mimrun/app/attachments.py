"""Attachments: files that belong to an incident, kept byte for byte so that their digest fits."""

from __future__ import annotations

import codecs
import hashlib
import mimetypes
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

from mimrun.errors import InputError, LogError, RefusedError, TamperError
from mimrun.log.entry import MAX_BLOB
from mimrun.log.kinds import IncidentAttached
from mimrun.log.store import Store
from mimrun.secret import Masker

AT_ONCE: Final = 64 * 1024 * 1024
"""Bytes of content that one command keeps."""
PIECE: Final = 1024 * 1024

_BEGINNINGS: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"%PDF-", "application/pdf"),
    (b"\x1f\x8b", "application/gzip"),
    (b"BZh", "application/x-bzip2"),
    (b"\xfd7zXZ\x00", "application/x-xz"),
    (b"\x28\xb5\x2f\xfd", "application/zstd"),
    (b"PK\x03\x04", "application/zip"),
    (b"\x7fELF", "application/x-elf"),
    (b"SQLite format 3\x00", "application/vnd.sqlite3"),
    (b"\xd4\xc3\xb2\xa1", "application/vnd.tcpdump.pcap"),
    (b"\xa1\xb2\xc3\xd4", "application/vnd.tcpdump.pcap"),
)
"""How files of well-known types begin."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file as it was read, once.

    Arguments:
        name: without the folders.
        digest: `sha256:<hex>` of all of it.
        size: bytes of all of it.
        content: all of it, or None where only the digest is kept.
    """

    name: str
    media_type: str
    digest: str
    size: int
    content: bytes | None = field(repr=False)

    def body(self) -> IncidentAttached:
        """The facts for the log."""
        return IncidentAttached(
            name=self.name,
            media_type=self.media_type,
            digest=self.digest,
            size=self.size,
            kept=self.content is not None,
        )


def read_attachments(
    paths: list[Path], masker: Masker, *, digest_only: bool = False, force: bool = False
) -> list[Attachment]:
    """Read files that are to be attached; nothing is kept where one of them cannot be.

    Arguments:
        masker: knows the secrets that must not get into the log.
        digest_only: keep what proves a file, and not the file.
        force: keep a file though a known secret is in it.

    Raises:
        InputError: a file cannot be read, or is too large to be kept.
        RefusedError: a known secret is in one of them.
    """
    return _checked([_read(path, digest_only=digest_only) for path in paths], masker, force=force)


def take_attachments(files: Mapping[str, tuple[str, BinaryIO]], masker: Masker) -> dict[str, Attachment]:
    """Read files that somebody sends; nothing is kept where one of them cannot be.

    Arguments:
        files: by what they are called here: the name that the sender gave, and the content.
        masker: knows the secrets that must not get into the log.

    Raises:
        InputError: a file is too large to be kept.
        RefusedError: a known secret is in one of them.
    """
    read = [_take(Path(_last_part(name)), content, digest_only=False) for name, content in files.values()]
    return dict(zip(files, _checked(read, masker, force=False), strict=True))


def _last_part(name: str) -> str:
    """Give the name of a file without folders, whatever system it comes from."""
    return re.split(r"[/\\]", name)[-1].strip() or "file"


def _checked(read: list[Attachment], masker: Masker, *, force: bool) -> list[Attachment]:
    together = sum(len(one.content or b"") for one in read)
    if together > AT_ONCE:
        raise InputError(
            f"these files have {together} bytes together and {AT_ONCE} is the most for one command; attach some of"
            " them with another one, or keep only their digests with --digest-only"
        )
    for one in read:
        if not force and one.content is not None and masker.spans(one.content):
            raise RefusedError(
                f"{one.name}: a secret that is known here is in it, and an attachment is kept as it is; take it"
                " out, keep only the digest with --digest-only, or insist with --force"
            )
    return read


def _read(path: Path, *, digest_only: bool) -> Attachment:
    try:
        # A pipe without a writer must not hold us up.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else str(exc)
        raise InputError(f"{path}: cannot be read: {why}") from exc
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise InputError(f"{path}: is not an ordinary file; only files can be attached")
    with os.fdopen(descriptor, "rb") as file:
        try:
            return _take(path, file, digest_only=digest_only)
        except OSError as exc:
            raise InputError(f"{path}: cannot be read: {exc.strerror}") from exc


def _take(path: Path, file: BinaryIO, *, digest_only: bool) -> Attachment:
    """Read a file once: what is digested is what is kept."""
    digest, size, kept = hashlib.sha256(), 0, bytearray()
    decoder: codecs.IncrementalDecoder | None = codecs.getincrementaldecoder("utf-8")()
    while piece := file.read(PIECE):
        if not digest_only and size + len(piece) > MAX_BLOB:
            raise InputError(
                f"{path}: has more than {MAX_BLOB} bytes, the most that the log keeps of a file; keep only"
                " what proves it, with --digest-only, and the file itself in a safe place"
            )
        digest.update(piece)
        decoder = _still_text(decoder, piece)
        if not digest_only or not size:
            kept += piece
        size += len(piece)
    kind = media_type(path.name, bytes(kept[:PIECE]), is_text=_ends_as_text(decoder))
    content = None if digest_only else bytes(kept)
    return Attachment(path.name, kind, f"sha256:{digest.hexdigest()}", size, content)


def _still_text(decoder: codecs.IncrementalDecoder | None, piece: bytes) -> codecs.IncrementalDecoder | None:
    """Go on reading as text, or give None where it is none."""
    if decoder is None or b"\0" in piece:
        return None
    try:
        decoder.decode(piece)
    except UnicodeDecodeError:
        return None
    return decoder


def _ends_as_text(decoder: codecs.IncrementalDecoder | None) -> bool:
    return decoder is not None and not decoder.getstate()[0]


def media_type(name: str, beginning: bytes, *, is_text: bool) -> str:
    """Give the type of a file: by what it begins with, else by its name, else text or bytes.

    Arguments:
        name: of the file.
        beginning: its first bytes.
        is_text: all of it is UTF-8 without a null.
    """
    for magic, kind in _BEGINNINGS:
        if beginning.startswith(magic):
            return kind
    # Only the types that Python itself brings: the answer is the same on every machine.
    guessed, packed = mimetypes.MimeTypes().guess_type(name, strict=True)
    if is_text:
        by_name = guessed is not None and not packed and _may_be_text(guessed)
        return guessed if by_name and guessed is not None else "text/plain"
    if guessed is not None and not packed and not guessed.startswith("text/"):
        return guessed
    return "application/octet-stream"


def _may_be_text(kind: str) -> bool:
    return kind.startswith("text/") or kind in ("application/json", "application/xml", "image/svg+xml")


@dataclass(frozen=True, slots=True)
class Kept:
    """What the log has of an attachment.

    Arguments:
        entry: the entry that attached it.
        body: what it says.
        content: the file.
    """

    entry: int
    body: IncidentAttached
    content: bytes = field(repr=False)


def kept_attachment(store: Store, seq: int) -> Kept:
    """Give an attachment back, and see that it is the file that was attached.

    Raises:
        InputError: the entry is no attachment, or only the digest was kept.
        TamperError: the content is not what was attached.
    """
    try:
        entry = store.entry(seq)
    except TamperError:
        raise
    except LogError as exc:
        raise InputError(str(exc)) from exc
    body = entry.body
    if not isinstance(body, IncidentAttached):
        raise InputError(f"entry {seq} is {entry.kind}, not an attachment; `mimrun log show` shows which are")
    if not body.kept:
        raise InputError(
            f"entry {seq} keeps only the digest of {body.name!r}: {body.digest}, {body.size} bytes"
        )
    content = store.blob(entry, "content")
    if content is None:
        raise InputError(f"the content of entry {seq} is not in the log any more")
    if f"sha256:{hashlib.sha256(content).hexdigest()}" != body.digest:
        raise TamperError(f"entry {seq}: the content is not the file with digest {body.digest}")
    return Kept(seq, body, content)
