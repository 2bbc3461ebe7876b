"""The log in one SQLite file: the store for one machine, with as many processes as like."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from mimrun.errors import StoreError
from mimrun.log.bell import Bell
from mimrun.log.blob_key import BlobKeyPlace
from mimrun.log.chain import Head, IncidentHead, Place, link
from mimrun.log.cipher import CANARY, make_canary
from mimrun.log.durable import sync_folder
from mimrun.log.entry import FORMAT, Actor, Draft
from mimrun.log.kinds import LogGenesis
from mimrun.log.moment import utc_now, write_moment
from mimrun.log.sequenced import SequencedStore
from mimrun.log.sequencer import PATIENCE, Sequencer
from mimrun.log.sqlite import schema
from mimrun.log.sqlite.reader import LogReader
from mimrun.log.sqlite.turnstile import Turnstile
from mimrun.log.sqlite.writer import LogWriter
from mimrun.log.store import Projector

LOOK_AGAIN: Final = 0.02
"""Seconds between two looks for what other processes have appended."""


class SqliteStore(SequencedStore):
    """The incident log in an SQLite file on a local disk. Safe from several threads and processes.

    Readers and the writer open when they are first needed; one that only reads needs no right to write, and reads
    entries without the key of the blobs.

    Arguments:
        path: the database file.
        projectors: what to fold entries through.
        clock: gives the present moment.
        blob_key: where the key of its blobs is; a file beside it where nothing is said.
        entropy: gives so many random bytes, for salts, keys and nonces.
        patience: seconds an append waits for other processes before it is given up.

    Raises:
        StoreError: there is no log (see `create_log`), or this version cannot read it.
    """

    def __init__(
        self,
        path: Path,
        *,
        projectors: Sequence[Projector] = (),
        clock: Callable[[], datetime] = utc_now,
        blob_key: BlobKeyPlace | None = None,
        entropy: Callable[[int], bytes] = secrets.token_bytes,
        patience: float = PATIENCE,
    ) -> None:
        self.path = path
        reader, bell = LogReader(path, blob_key=blob_key), Bell(LOOK_AGAIN)
        sequencer = Sequencer(lambda: LogWriter(path, projectors, clock, reader.key), bell.ring, patience)
        super().__init__(reader, sequencer, bell, projectors=projectors, entropy=entropy)


def create_log(
    path: Path,
    log: str,
    actor: Actor,
    *,
    clock: Callable[[], datetime] = utc_now,
    blob_key: BlobKeyPlace | None = None,
) -> bool:
    """Begin a log in a new file, or do nothing when there is one; safe when two processes try at once.

    Arguments:
        path: the database file; its folder exists.
        log: the origin, unique among all logs: `mim.example.org/prod`, or something random.
        actor: who begins it.
        clock: gives the present moment.
        blob_key: where the key of its blobs is, or is to be made; a file beside it where nothing is said.

    Returns:
        Whether a log was made.

    Raises:
        StoreError: it cannot be made here, or the file is something else.
    """
    try:
        turnstile = Turnstile(path)
    except OSError as exc:
        raise StoreError(
            f"no log can be made at {path}: {exc}; see that the folder exists and may be written"
        ) from exc
    try:
        turnstile.enter()
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660))
            sync_folder(path.parent)
            return _begin(path, log, actor, clock, blob_key or BlobKeyPlace.beside(path))
        except OSError as exc:
            raise StoreError(f"no log can be made at {path}: {exc}") from exc
        except schema.FAILURES as exc:
            raise schema.explain(exc, path, "made") from exc
        finally:
            turnstile.leave()
    finally:
        turnstile.close()


def _begin(path: Path, log: str, actor: Actor, clock: Callable[[], datetime], blob_key: BlobKeyPlace) -> bool:
    db = schema.connect(path, "rw")
    try:
        if not schema.is_blank(db):
            schema.check_format(db, path)
            return False
        draft = Draft(actor=actor, body=LogGenesis(format=FORMAT))
        first = link(draft, (), Place(log, Head(), IncidentHead()), clock())
        key = blob_key.make().key
        db.execute("begin immediate")
        schema.create(db, log, FORMAT, make_canary(key, secrets.token_bytes))
        db.execute(
            "insert into entry (seq, data, leaf, kind, inc, run) values (1, ?, ?, ?, '', '')",
            (first.data, first.leaf, first.entry.kind.value),
        )
        db.execute(
            "insert into head (id, size, leaf, ts, frontier) values (1, 1, ?, ?, ?)",
            (first.head.leaf, write_moment(first.head.ts), first.head.frontier.encode()),
        )
        db.execute("commit")
    finally:
        db.close()
    refuse_plain(path)
    return True


def refuse_plain(path: Path) -> None:
    """See that the canary of a new log is nowhere in its files as it was before it was encrypted.

    Raises:
        StoreError: it is; then nothing else would be encrypted either.
    """
    for file in (path, path.with_name(path.name + "-wal")):
        if file.exists() and CANARY in file.read_bytes():
            raise StoreError(f"{file} holds in plain what was to be encrypted; keep it, and report this")
