"""Copying a log into another database: every byte of every entry, blob, key and checkpoint, so every hash.

What has been copied is a whole log at each moment, only shorter, so that a copy that was broken off is gone
on with. Nothing is decrypted on the way: both have the same blob key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import islice, takewhile
from typing import Final, Protocol, Self

from mimrun.errors import StoreError, TamperError
from mimrun.log.chain import Head, IncidentHead, StoredCheckpoint, StoredRow, believe
from mimrun.log.cipher import CANARY_ID, EncryptedBlob, WrappedKey
from mimrun.log.encrypting import Progress, no_progress
from mimrun.log.moved import said_to_move
from mimrun.log.reading import Reading
from mimrun.log.redaction import redaction_of

PAGE_ENTRIES: Final = 500
PAGE_BYTES: Final = 8 * 1024 * 1024
"""How much is copied in one transaction, and kept in memory; one entry's blobs may be more."""


@dataclass(slots=True)
class Page:
    """What is copied in one transaction.

    Arguments:
        head: the end of the log with it.
        incidents: the ends of the incidents' chains that it changes.
        redactions: commitments of what was erased, and the entries that say so.
    """

    head: Head
    rows: list[StoredRow] = field(default_factory=list)
    keys: list[WrappedKey] = field(default_factory=list)
    blobs: list[EncryptedBlob] = field(default_factory=list)
    redactions: list[tuple[bytes, int]] = field(default_factory=list)
    checkpoints: list[StoredCheckpoint] = field(default_factory=list)
    incidents: dict[str, IncidentHead] = field(default_factory=dict)
    size: int = 0


class Receiver(Protocol):
    """A database that a log is copied into."""

    @property
    def name(self) -> str:
        """The database as messages name it."""

    def begin(self, log: str, log_format: str, canary: WrappedKey) -> tuple[str, Head]:
        """Make the tables where there are none; give the log that is there now, and its end.

        Raises:
            StoreError: it cannot be made here.
        """

    def put(self, before: Head, page: Page) -> None:
        """Store a page, durably.

        Raises:
            StoreError: it cannot be written, or does not end any more where it did.
        """

    def open(self) -> None:
        """Let it be added to, if it was marked as a log that goes on elsewhere."""

    def close(self) -> None:
        """Let go of the database. May be called twice."""

    def __enter__(self) -> Self:
        """Use it."""

    def __exit__(self, *exc: object) -> None:
        """Close it."""


Hold = Callable[[], AbstractContextManager[Callable[[str], None]]]
"""Keeps everybody from adding to a log for as long as a `with` lasts; what it gives marks where it goes on."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What was copied.

    Arguments:
        before: how many entries were there already.
        size: how many there are now, in both.
        root: the Merkle root over them, in both.
    """

    before: int
    size: int
    root: str


def copy_log(source: Reading, receiver: Receiver, progress: Progress = no_progress) -> Copied:
    """Copy what a log has into another database, behind what that has of it already.

    Arguments:
        source: the log.
        receiver: an empty database, or one with the beginning of the same log.
        progress: told of entries that are done, and of how many there are.

    Raises:
        StoreError: the other database holds another log, or cannot be written.
        TamperError: an entry is not what was recorded; it is named, and what was before it is copied.
    """
    log, head = receiver.begin(*_beginning(source))
    _refuse_another(source, receiver, log, head)
    before, size = head.size, source.size()
    for page in _pages(source, head):
        receiver.put(head, page)
        head = page.head
        progress(head.size, max(size, head.size))
    return Copied(before, head.size, head.root)


def move_log(source: Reading, receiver: Receiver, hold: Hold, place: str) -> Copied | None:
    """Copy what is left with nobody able to add anything meanwhile, and mark where the log goes on.

    The entry `log.moved` that names the place comes first, by whoever calls this; a mark without it is a forged one.

    Arguments:
        source, receiver: as `copy_log` has them; it was copied a moment ago.
        hold: keeps others from adding to the source.
        place: where it goes on.

    Returns:
        None where something was recorded behind that entry before the log was held: then it goes on where it was.

    Raises:
        StoreError: it cannot be held or marked; then it goes on where it was.
        TamperError: the two are not the same; likewise.
    """
    with hold() as mark:
        done = copy_log(source, receiver)
        here = source.head()
        if (here.size, here.root) != (done.size, done.root):
            raise TamperError(
                f"the copy ends at {done.size} with root {done.root} and the log at {here.size} with"
                f" {here.root}; it goes on where it was: check it with `mimrun log verify`"
            )
        if said_to_move(source) != place:
            return None
        receiver.open()
        mark(place)
    return done


def _beginning(source: Reading) -> tuple[str, str, WrappedKey]:
    ((log, log_format),) = source.query("select log, format from origin")
    ((wrapped,),) = source.query("select wrapped from data_key where id = ?", CANARY_ID)
    return log, log_format, WrappedKey(CANARY_ID, "", wrapped)


def _refuse_another(source: Reading, receiver: Receiver, log: str, head: Head) -> None:
    """See that what is there already is the beginning of this log: its last entry's hash vouches for all of them."""
    if log != source.log:
        raise StoreError(f"{receiver.name} holds the log {log!r} and not {source.log!r}; name an empty one")
    if head.size == 0:
        return
    leaf = next(source.leaves(head.size, head.size - 1), b"") if head.size <= source.size() else b""
    if leaf.hex() != head.leaf:
        raise StoreError(
            f"{receiver.name} has {head.size} entries of {log!r} that are not the first {head.size} of this"
            " one: both were added to. Find out which is right, and name an empty database"
        )


def _pages(source: Reading, head: Head) -> Iterator[Page]:
    copied_keys: set[bytes] = set()
    page = Page(head)
    for row in source.rows(head.size):
        _add(source, page, row, copied_keys)
        if len(page.rows) >= PAGE_ENTRIES or page.size >= PAGE_BYTES:
            yield page
            page = Page(page.head)
    if page.rows:
        yield page
    # A checkpoint is stored a moment after its entries, so all of them are offered again at the end.
    signed = takewhile(lambda one: one.size <= page.head.size, source.checkpoints())
    while some := list(islice(signed, PAGE_ENTRIES)):
        yield Page(page.head, checkpoints=some)


def _add(source: Reading, page: Page, row: StoredRow, copied_keys: set[bytes]) -> None:
    """Add an entry with what belongs to it."""
    entry = believe(row)
    if (entry.seq, entry.prev) != (page.head.size + 1, page.head.leaf):
        raise TamperError(
            f"log entry {entry.seq} is not linked to the one before it; check with `mimrun log verify`"
        )
    page.head = Head(row.leaf.hex(), entry.ts, page.head.frontier.append(row.leaf))
    if entry.inc:
        page.incidents[entry.inc] = IncidentHead(entry.iseq, row.leaf.hex())
    page.rows.append(row)
    page.size += len(row.data)
    for ref in entry.blobs:
        blob = source.encrypted_blob(bytes.fromhex(ref.commit))
        if blob is None:
            continue
        if blob.key not in copied_keys:
            page.keys += [
                WrappedKey(*key)
                for key in source.query("select id, inc, wrapped from data_key where id = ?", blob.key)
            ]
            copied_keys.add(blob.key)
        page.blobs.append(blob)
        page.size += len(blob.data)
    said = redaction_of(entry)
    if said is not None:
        page.redactions.append((bytes.fromhex(said.commit), said.seq))
