"""Stores: bringing a log up to date, and taking it to another database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import JsonValue

from mimrun.app.home import PROJECTORS, Home, blob_key_of, open_home
from mimrun.app.identity import identify
from mimrun.app.runs import list_runs
from mimrun.errors import BlobKeyError, InputError, LeaseError, StoreError, TamperError
from mimrun.log.blob_key import FILE, BlobKey, BlobKeyPlace
from mimrun.log.copying import Copied, Hold, Receiver, copy_log, move_log
from mimrun.log.encrypting import Progress, no_progress
from mimrun.log.entry import Draft
from mimrun.log.kinds import LogMoved
from mimrun.log.proof.verify import verify
from mimrun.log.reading import Reading
from mimrun.log.sequenced import SequencedStore
from mimrun.log.sequencer import PATIENCE
from mimrun.log.sqlite.copying import SqliteReceiver, hold_sqlite
from mimrun.log.sqlite.migrate import migrate
from mimrun.log.sqlite.reader import LogReader
from mimrun.log.sqlite.schema import SCHEMA
from mimrun.log.sqlite.store import SqliteStore
from mimrun.settings import Settings

TRIES: Final = 10
"""How often it is said where the log goes on before it is given up that somebody records something behind it."""
POSTGRES: Final = ("postgresql://", "postgres://")


@dataclass(frozen=True, slots=True)
class UpToDate:
    """What bringing a log up to date came to.

    Arguments:
        where: the log.
        before, now: its layout.
    """

    where: str
    before: int
    now: int

    def as_json(self) -> dict[str, JsonValue]:
        """The outcome for `--json`."""
        return {"log": self.where, "before": self.before, "now": self.now}


@dataclass(frozen=True, slots=True)
class Moved:
    """What copying a log came to.

    Arguments:
        copied: what there is now.
        where: where it is, as messages name it.
        setting: what `MIMRUN_STORE` is to be; "" for a file in the home folder.
        key: the file with the blob key that goes with it; "" where it is kept as a secret.
        closed: whether the log that was copied takes no entries any more.
    """

    copied: Copied
    where: str
    setting: str
    key: str
    closed: bool

    def as_json(self) -> dict[str, JsonValue]:
        """The outcome for `--json`."""
        return {
            "to": self.where,
            "before": self.copied.before,
            "size": self.copied.size,
            "root": self.copied.root,
            "store": self.setting,
            "key": self.key,
            "closed": self.closed,
        }


def migrate_store(settings: Settings, progress: Progress = no_progress) -> UpToDate:
    """Bring the log of a home up to date, with every entry and hash.

    Raises:
        StoreError: there is none, others have it open, or it may not be changed; it is as it was.
    """
    if settings.store:
        from mimrun.log.postgres.database import Database  # noqa: PLC0415 - the driver is slow to load
        from mimrun.log.postgres.store import migrate_log  # noqa: PLC0415 - likewise

        database = Database.of(settings.store, settings.store_password)
        before, now = migrate_log(database, blob_key_of(settings), progress)
        return UpToDate(database.name, before, now)
    done = migrate(settings.log, blob_key_of(settings), progress)
    return UpToDate(str(settings.log), done.before, SCHEMA)


def copy_store(
    settings: Settings,
    to: str,
    progress: Progress = no_progress,
    *,
    begun: Callable[[str], object] = str,
    keep: bool = False,
) -> Moved:
    """Take the log to another database: from a file to PostgreSQL, or back into a new file.

    The steps, in order:

    1. No process executes a run: it could not record what became of its step.
    2. Everything is copied, with the log in use. What was there already must be the log's beginning.
    3. The copy is verified as a whole, and its projections are folded.
    4. An entry says where the log goes on.
    5. With nobody able to add anything, and no run begun meanwhile, what was added is copied, both are compared, and
       the log is marked: whoever has it open is refused from then on, and told where it goes on. A mark counts only
       behind that entry.

    Arguments:
        to: `postgresql://...`, or the path of a file.
        progress: told of entries that are done, and of how many there are.
        begun: told what is done with them from here on.
        keep: copy only; the log goes on where it is.

    Raises:
        InputError: both are files, or both are in PostgreSQL.
        LeaseError: a run is being executed.
        StoreError: the other one holds another log, or one of them cannot be written.
        TamperError: the log, or its copy, is not what was recorded.
    """
    if to.startswith(POSTGRES) == bool(settings.store):
        wanted = "the path of a file" if settings.store else "postgresql://USER@HOST/DATABASE"
        raise InputError(f"a log is copied from a file into PostgreSQL or back: name {wanted} with --to")
    if not keep:
        with open_home(settings) as home:
            _refuse_under_way(home)
    with closing(_Source(settings)) as source:
        other = _destination(settings, to, source.reader.blob_key)
        begun("entries copied")
        with other.receive() as receiver:
            done = copy_log(source.reader, receiver, progress)
        _check(other, progress, begun)
        if not keep:
            end = _move(settings, source, other)
            done = Copied(done.before, end.size, end.root)
    return Moved(done, other.name, other.setting, other.key, closed=not keep)


def _move(settings: Settings, source: _Source, other: _Destination) -> Copied:
    """Say in the log where it goes on, copy what is left, and mark it; again where somebody came in between."""
    for _ in range(TRIES):
        with open_home(settings) as home:
            actor = identify(home.people(), None).actor()
            home.store.append([Draft(actor, LogMoved(to=other.name))])
        with other.receive() as receiver:
            end = move_log(source.reader, receiver, lambda: _held(settings, source), other.name)
        if end is not None:
            return end
    raise StoreError("others keep adding to the log, so it goes on where it was; end them, then try again")


@contextmanager
def _held(settings: Settings, source: _Source) -> Iterator[Callable[[str], None]]:
    """Hold a log while no run is executed; copying and verifying a long one takes minutes, in which runs begin."""
    with source.hold() as mark:
        with open_home(settings, watched=False) as home:
            _refuse_under_way(home)
        yield mark


class _Source:
    """The log of a home, to be read and held."""

    def __init__(self, settings: Settings) -> None:
        self.reader: Reading
        self.hold: Hold
        if not settings.store:
            self.reader = LogReader(settings.log, blob_key=blob_key_of(settings))
            self.hold = lambda: hold_sqlite(settings.log)
            return
        from mimrun.log.postgres.copying import hold_postgres  # noqa: PLC0415 - the driver is slow to load
        from mimrun.log.postgres.database import Database  # noqa: PLC0415 - likewise
        from mimrun.log.postgres.flush import Flushed  # noqa: PLC0415 - likewise
        from mimrun.log.postgres.reader import PostgresReader  # noqa: PLC0415 - likewise

        database = Database.of(settings.store, settings.store_password)
        self.reader = PostgresReader(
            database, patience=PATIENCE, flushed=Flushed(), blob_key=blob_key_of(settings)
        )
        self.hold = lambda: hold_postgres(database)

    def close(self) -> None:
        """Let go of it."""
        self.reader.close()


@dataclass(frozen=True, slots=True)
class _Destination:
    """Where a log is copied to.

    Arguments:
        name: as messages name it.
        setting: what MIMRUN_STORE is to be.
        key: the file with the blob key that goes with it, or "".
        receive: opens it to be filled.
        open: opens it as a log.
    """

    name: str
    setting: str
    key: str
    receive: Callable[[], Receiver]
    open: Callable[[], SequencedStore]


def _destination(settings: Settings, to: str, key: BlobKey) -> _Destination:
    if not to.startswith(POSTGRES):
        return _file(settings, Path(to).absolute(), key)
    from mimrun.log.postgres.copying import PostgresReceiver  # noqa: PLC0415 - the driver is slow to load
    from mimrun.log.postgres.database import Database  # noqa: PLC0415 - likewise
    from mimrun.log.postgres.store import PostgresStore  # noqa: PLC0415 - likewise

    database = Database.of(to, settings.store_password)
    return _Destination(
        database.name,
        to,
        "" if settings.blob_key else str(settings.blob_key_file),
        lambda: PostgresReceiver(database, key.key),
        lambda: PostgresStore(database, blob_key_of(settings), projectors=PROJECTORS),
    )


def _file(settings: Settings, path: Path, key: BlobKey) -> _Destination:
    """A file to copy to; the key comes with it, unless it is kept as a secret."""
    place = BlobKeyPlace(path.with_name(FILE), settings.blob_key)
    if place.make(lambda _: key.key).key != key.key:
        raise StoreError(f"{place.name} is the key of another log; name a folder without one")
    return _Destination(
        str(path),
        "",
        "" if settings.blob_key else str(place.file),
        lambda: SqliteReceiver(path),
        lambda: SqliteStore(path, projectors=PROJECTORS, blob_key=place),
    )


def _refuse_under_way(home: Home) -> None:
    for view in list_runs(home):
        if view.held:
            run = view.summary.run
            raise LeaseError(
                f"{run} is being executed and could not record how it ends: wait for it, or `mimrun pause {run}`;"
                " or copy with --keep, and the log goes on here"
            )


def _check(other: _Destination, progress: Progress, begun: Callable[[str], object]) -> None:
    """Fold what was copied, and verify all of it."""
    with other.open() as store:
        if store.keyless:
            raise BlobKeyError(f"the log goes on where it was: {store.keyless}")
        size = store.head().size
        begun("entries folded")
        store.rebuild(lambda done: progress(done, size))
        begun("entries verified")
        report = verify(store, progress=lambda done: progress(done, size))
    if not report.ok:
        raise TamperError(
            f"the copy in {other.name} does not verify ({report.flaws[0]}), so the log goes on where it was;"
            " see whether `mimrun log verify` finds the same there"
        )
