"""Exports: the log's ways out of the house, and the record that something went."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from mimrun.app.home import Home
from mimrun.app.identity import identify
from mimrun.errors import BlobKeyError, ErasedError, InputError
from mimrun.log.entry import BlobClass, Draft, LogEntry
from mimrun.log.export.format import Format, converter
from mimrun.log.kinds import ExportMade
from mimrun.log.proof.bundle import Manifest, export
from mimrun.log.store import Store

_LOOK_S: Final = 0.5
"""How long a stream waits for an entry before it asks whether it is to end."""


class Sink(Protocol):
    """Takes the bytes of an export: a file, or standard output."""

    def write(self, data: bytes, /) -> object:
        """Take the next bytes."""

    def flush(self) -> object:
        """Let nothing wait that was taken."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to go out, and how it is written.

    Arguments:
        incident: the incident; `all` for the whole log.
        format: how its records are written.
        after: only entries behind this number.
        blobs: with the entries' blobs; only `jsonl` can hold them.
        octets: syslog messages with their length in front of them.

    Raises:
        InputError: these do not go together.
    """

    incident: str
    format: Format
    after: int = 0
    blobs: bool = False
    octets: bool = False

    def __post_init__(self) -> None:
        if self.blobs and self.format is not Format.JSONL:
            raise InputError(f"{self.format} has no place for output and texts; use jsonl or a bundle")
        if self.octets and self.format is not Format.SYSLOG:
            raise InputError(f"--octets is for syslog, not for {self.format}")

    @property
    def inc(self) -> str | None:
        """The incident as the store is asked for it."""
        return None if self.incident == "all" else self.incident


@dataclass(frozen=True, slots=True)
class Exported:
    """What went out.

    Arguments:
        entries: how many.
        digest: over every byte that was written.
    """

    entries: int
    digest: str


def export_bundle(
    home: Home, path: Path, incident: str, claimed: str | None, *, classes: Iterable[BlobClass]
) -> Manifest:
    """Write an incident, or `all`, into a bundle, and record that it left the house, where anything can be recorded.

    Arguments:
        path: the file to make.
        claimed: who acts, or None for the account.
        classes: the classes of blobs that go with it.

    Raises:
        InputError: there is no such incident, or the file exists.
        BlobKeyError: blobs are to go with it, and their key is missing, or is another log's.
        TamperError: the log does not verify.
    """
    identity, chosen = identify(home.people(), claimed), tuple(classes)
    _require_readable(home, blobs=bool(chosen))
    inc = None if incident == "all" else incident
    manifest = export(home.store, path, inc=inc, classes=chosen)
    body = ExportMade(entries=manifest.entries, digest=_digest_of(path))
    _record(home, Draft(identity.actor(), body, inc=inc or ""))
    return manifest


def _digest_of(path: Path) -> str:
    """Take the digest of a file that may be larger than the memory."""
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def _require_readable(home: Home, *, blobs: bool) -> None:
    if blobs and home.keyless:
        raise BlobKeyError(f"{home.keyless}; or leave output, plans and texts out: --no-blobs")


def _record(home: Home, draft: Draft) -> None:
    """Record what went out. Evidence is not held back because nothing can be added to the log for want of a key."""
    if not home.keyless:
        home.store.append([draft])


def export_file(home: Home, path: Path, wanted: Wanted, claimed: str | None) -> Exported:
    """Write entries into a new file that only its owner reads, and record that they left the house.

    Raises:
        InputError: there is no such incident, or the file exists or cannot be written.
        TamperError: an entry or a blob is not what was recorded; no file is left.
    """
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError as exc:
        raise InputError(f"{path} exists; name a new file") from exc
    except OSError as exc:
        raise InputError(f"{path} cannot be written: {exc.strerror}; name another file") from exc
    try:
        with os.fdopen(file, "wb") as out:
            return export_records(home, out, wanted, claimed)
    except OSError as exc:
        path.unlink(missing_ok=True)
        raise InputError(f"{path} cannot be written: {exc.strerror}; name another file") from exc
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def export_records(home: Home, out: Sink, wanted: Wanted, claimed: str | None) -> Exported:
    """Write the entries that are there now, and record that they left the house, where anything can be recorded.

    Arguments:
        out: takes the bytes; it is flushed before the record is made.
        claimed: who acts, or None for the account.

    Raises:
        InputError: there is no such incident.
        BlobKeyError: blobs are to go with them, and their key is missing, or is another log's.
        TamperError: an entry or a blob is not what was recorded.
        OSError: what is written is not taken; nothing is recorded.
    """
    identity = identify(home.people(), claimed)
    _require_readable(home, blobs=wanted.blobs)
    _require(home.store, wanted)
    size, digest, count = home.store.head().size, hashlib.sha256(), 0
    entries = (entry for entry in home.store.entries(inc=wanted.inc, after=wanted.after) if entry.seq <= size)
    for piece in _records(home.store, entries, wanted):
        digest.update(piece)
        out.write(piece)
        count += 1
    out.flush()
    made = Exported(count - 1, f"sha256:{digest.hexdigest()}")
    body = ExportMade(entries=made.entries, digest=made.digest, format=wanted.format.value)
    _record(home, Draft(identity.actor(), body, inc=wanted.inc or ""))
    return made


def follow_records(home: Home, out: Sink, wanted: Wanted, ends: Callable[[], bool]) -> None:
    """Write the entries that are there, and each new one as it comes, until told to end.

    Whoever may do this may read the log anyway, and a stream has no end of which a digest could be taken:
    nothing is recorded.

    Arguments:
        out: takes the bytes; flushed behind each entry or page of entries.
        ends: asked twice a second.

    Raises:
        InputError: there is no such incident.
        TamperError: an entry or a blob is not what was recorded.
        OSError: what is written is not taken any more.
    """
    _require_readable(home, blobs=wanted.blobs)
    _require(home.store, wanted)
    for piece in _records(home.store, _endless(home.store, wanted, out.flush, ends), wanted):
        out.write(piece)
    out.flush()


def _endless(
    store: Store, wanted: Wanted, rest: Callable[[], object], ends: Callable[[], bool]
) -> Iterator[LogEntry]:
    """Give entries without an end; `rest` is called whenever there is none for the moment."""
    after = wanted.after
    for entry in store.entries(inc=wanted.inc, after=after):
        after = entry.seq
        yield entry
        if ends():
            return
    rest()
    while not ends():
        for entry in store.follow(after, _LOOK_S, inc=wanted.inc):
            after = entry.seq
            yield entry
        rest()


def _records(store: Store, entries: Iterable[LogEntry], wanted: Wanted) -> Iterator[bytes]:
    """Give what stands before the first record, which may be nothing, and then every record."""
    write = converter(wanted.format, octets=wanted.octets)
    yield write.head()
    for entry in entries:
        yield write.record(entry, _blobs(store, entry) if wanted.blobs else None)


def _blobs(store: Store, entry: LogEntry) -> dict[str, bytes | None]:
    """Give an entry's blobs; None for one that was erased.

    Raises:
        TamperError: one is not what was recorded, or is gone without an entry that says so.
    """
    found: dict[str, bytes | None] = {}
    for ref in entry.blobs:
        try:
            found[ref.n] = store.blob(entry, ref.n)
        except ErasedError:
            found[ref.n] = None
    return found


def _require(store: Store, wanted: Wanted) -> None:
    if wanted.inc is not None and next(store.entries(inc=wanted.inc), None) is None:
        raise InputError(f"the log has no incident {wanted.incident!r}; `mimrun runs` shows them")
