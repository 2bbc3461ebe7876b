"""Comparing the states that lists and locks are read from with what the entries say. Changes nothing.

The entries are folded anew, page by page, into a database of its own that the system forgets when this is over; so
memory does not grow with the log. Then both are compared as of one moment, also while others append.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from typing import Any, Final

from mimrun.errors import MimrunError, TamperError
from mimrun.log.entry import LogEntry
from mimrun.log.reading import PAGE, Reading, StoredBlobs
from mimrun.log.states import OtherState, States
from mimrun.log.store import Projector

MOST: Final = 1000
"""States that are named; the rest is only counted."""
KEPT: Final = 8 * 1024 * 1024
"""Bytes of states that are kept in memory until they are put away."""

_TABLES: Final = """
pragma journal_mode = off;
pragma synchronous = off;
pragma cache_size = -8192;
create table folded (name, key, state, seq, primary key (name, key)) without rowid;
create table stored (name, key, state, primary key (name, key)) without rowid;
"""
_PUT: Final = (
    "insert into folded (name, key, state, seq) values (?, ?, ?, ?)"
    " on conflict (name, key) do update set state = excluded.state, seq = excluded.seq"
)
_OTHERS: Final = """
select name, key, 'differs', s.state, f.state, f.seq from stored s join folded f using (name, key)
    where s.state is not f.state
union all select name, key, 'missing', null, f.state, f.seq from folded f left join stored s using (name, key)
    where s.name is null
union all select name, key, 'surplus', s.state, null, 0 from stored s left join folded f using (name, key)
    where f.name is null
order by 1, 2
"""

Progress = Callable[[int], object]
"""Is told how many entries have been folded."""


def compare_states(
    reading: Reading, projectors: Iterable[Projector], progress: Progress | None = None
) -> States:
    """Fold the whole log anew, and compare each state, byte for byte, with the one that is stored.

    1. What there is now is folded; that takes long, and others may append meanwhile.
    2. At one moment: what came since is folded, and all stored states are read. Each projection is compared as of the
       entry that it says it has folded, which is behind the end where entries were written without its projector.

    Arguments:
        reading: the log.
        projectors: whose states are compared.
        progress: is told how far it is.

    Raises:
        TamperError: an entry cannot be read, or cannot be folded; it is named.
        StoreError: the log cannot be read.
    """
    by_name = {projector.name: projector for projector in projectors}
    with closing(sqlite3.connect("")) as db:
        db.executescript(_TABLES)
        fold = _Fold(db, by_name, progress or _untold)
        fold.go_on(reading, reading.folded(), reading.size())
        with reading.at_one_moment() as still:
            size, upto = still.size(), still.folded()
            fold.go_on(still, upto, size)
            fold.put_away()
            unknown = _take_stored(db, still, by_name)
        faults = [
            f"the projection {name} says that it has folded {done} entries, and there are {size}"
            for name, done in upto.items()
            if name in by_name and not _is_count(done, size)
        ]
        others, more = _compare(db)
        ((compared,),) = db.execute("select count(*) from folded").fetchall()
    return States(size, compared, others, more, tuple(faults), unknown)


class _Fold:
    """Folds entries through projectors; each only as far as it says that it has.

    Arguments:
        db: where states are put away.
    """

    def __init__(
        self, db: sqlite3.Connection, projectors: Mapping[str, Projector], progress: Progress
    ) -> None:
        self._db, self._projectors, self._progress = db, projectors, progress
        self._states: dict[tuple[str, str], tuple[bytes, int]] = {}
        self._bytes = 0
        self._done = 0

    def go_on(self, reading: Reading, upto: Mapping[str, int], size: int) -> None:
        """Fold the entries that have not been folded, up to where each projector says that it is."""
        ends = {name: done for name in self._projectors if _is_count(done := upto.get(name, 0), size)}
        last = max(ends.values(), default=0)
        if last <= self._done:
            return
        for entry in reading.entries(after=self._done):
            if entry.seq > last:
                break
            names = [name for name, end in ends.items() if entry.seq <= end]
            self._take(entry, StoredBlobs(reading, entry), names)
            self._done = entry.seq
            if entry.seq % PAGE == 0:
                self._progress(entry.seq)

    def put_away(self) -> None:
        """Have nothing in memory any more."""
        self._db.executemany(
            _PUT, [(name, key, state, seq) for (name, key), (state, seq) in self._states.items()]
        )
        self._states.clear()
        self._bytes = 0

    def _take(self, entry: LogEntry, blobs: Mapping[str, bytes], names: Iterable[str]) -> None:
        for name in names:
            projector = self._projectors[name]
            try:
                key = projector.key(entry)
                if key is None:
                    continue
                state = projector.apply(self._state(projector, key), entry, blobs)
            except MimrunError:
                raise
            except Exception as exc:
                raise TamperError(
                    f"log entry {entry.seq} ({entry.kind}) cannot be folded into {name}: {exc}"
                ) from exc
            self._states[name, key] = (state, entry.seq)
            self._bytes += len(state) + len(key)
        if self._bytes > KEPT:
            self.put_away()

    def _state(self, projector: Projector, key: str) -> bytes:
        known = self._states.get((projector.name, key))
        if known is not None:
            return known[0]
        rows = self._db.execute(
            "select state from folded where name = ? and key = ?", (projector.name, key)
        ).fetchall()
        state: bytes = rows[0][0] if rows else projector.empty()
        return state


def _take_stored(db: sqlite3.Connection, reading: Reading, known: Mapping[str, Projector]) -> tuple[str, ...]:
    """Take what is stored; give the projections that nothing here knows."""
    unknown = set()
    for page in _stored(reading):
        unknown |= {str(name) for name, *_ in page if name not in known}
        db.executemany(
            "insert into stored (name, key, state) values (?, ?, ?)", [row for row in page if row[0] in known]
        )
    return tuple(sorted(unknown))


def _stored(reading: Reading) -> Iterator[list[Any]]:
    """Every stored state, page by page. What is stored may be of any type."""
    statement = "select name, key, state from projection{} order by name, key limit ?"
    page = reading.query(statement.format(""), PAGE)
    while page:
        yield page
        page = reading.query(statement.format(" where (name, key) > (?, ?)"), *page[-1][:2], PAGE)


def _compare(db: sqlite3.Connection) -> tuple[tuple[OtherState, ...], int]:
    found, more = list[OtherState](), 0
    for name, key, wrong, stored, said, seq in db.execute(_OTHERS):
        if len(found) < MOST:
            found.append(OtherState(name, _text(key) or "", wrong, _text(stored), _text(said), seq))
        else:
            more += 1
    return tuple(found), more


def _is_count(done: int, size: int) -> bool:
    """Whether so many entries can have been folded. What is stored may be of any type."""
    return type(done) is int and 0 <= done <= size


def _text(stored: object) -> str | None:
    if stored is None:
        return None
    return stored.decode("utf-8", "backslashreplace") if isinstance(stored, bytes) else str(stored)


def _untold(size: int) -> None:
    """Tell nobody."""
