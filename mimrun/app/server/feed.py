"""The feed: what is recorded, told to everybody who watches a page, by one follower of the log for all of them."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Final

from mimrun.errors import LogError
from mimrun.log.entry import LogEntry
from mimrun.log.store import Store

KEPT: Final = 4096
"""So many of the last entries are remembered: who is no further behind is told from memory."""
CAUGHT_UP: Final = 2000
"""Who is further behind than this is told to look at everything anew."""
_WAIT_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Heard:
    """What is told of an entry: enough to know what to look at again, and nothing of what it says."""

    seq: int
    kind: str
    run: str
    inc: str


@dataclass(frozen=True, slots=True)
class News:
    """What was recorded since the last time.

    Arguments:
        seq: the last entry that was looked at.
        kinds, runs, incidents: those of the entries; nothing where `all` is so.
        all: so much was recorded that everything may be different.
    """

    seq: int
    kinds: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    incidents: tuple[str, ...] = ()
    all: bool = False

    def __bool__(self) -> bool:
        """Whether there is something new of what is watched."""
        return self.all or bool(self.kinds)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody watches; everything where nothing is named."""

    run: str = ""
    incident: str = ""

    def fits(self, heard: Heard) -> bool:
        """Say whether an entry is of what they watch."""
        return (not self.run or heard.run == self.run) and (not self.incident or heard.inc == self.incident)


class Feed:
    """Follows the log while somebody watches.

    Arguments:
        store: the log, open for as long.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Condition()
        self._heard: deque[Heard] = deque(maxlen=KEPT)
        self._from = 0
        self._at = 0
        self._watchers: dict[int, Callable[[], object]] = {}
        self._count = 0
        self._closed = False
        self._thread: threading.Thread | None = None

    @property
    def watchers(self) -> int:
        """How many watch."""
        return len(self._watchers)

    @property
    def closed(self) -> bool:
        """Whether it is over."""
        return self._closed

    def watch(self, ring: Callable[[], object]) -> int:
        """Begin to watch; gives a number to end it with.

        Arguments:
            ring: called, in another thread, when there is something new and when the feed is over.
        """
        with self._lock:
            self._count += 1
            self._watchers[self._count] = ring
            if self._thread is None:
                # What is between the last look and now nobody has asked for.
                self._at = self._from = self._store.head().size
                self._heard.clear()
                self._thread = threading.Thread(target=self._follow, name="feed", daemon=True)
                self._thread.start()
            return self._count

    def unwatch(self, number: int) -> None:
        """Watch no more."""
        with self._lock:
            self._watchers.pop(number, None)

    def head(self) -> int:
        """Give how far it has looked."""
        return self._at

    def begin(self, after: int | None) -> int:
        """Say behind which entry somebody begins: where they broke off, and never behind the end of the log.

        A browser may have seen more in another log; it would wait for that number for ever.
        """
        return self._at if after is None else min(after, self._at)

    def since(self, after: int, wanted: Wanted) -> News | None:
        """Say what was recorded behind an entry, of what is watched; it may be nothing.

        May read the log; takes a while where somebody is far behind.

        Returns:
            None where nothing at all was recorded.

        Raises:
            LogError: the log cannot be read.
        """
        with self._lock:
            at, known = self._at, self._from
            heard = self._behind(after) if after >= known else None
        if after >= at:
            return None
        if heard is None:
            # What is older than what is remembered is read once; from its end on, memory goes on.
            if at - after > CAUGHT_UP and not wanted.run and not wanted.incident:
                return News(at, all=True)
            found = self._store.entries(run=wanted.run or None, inc=wanted.incident or None, after=after)
            heard = _bounded(map(_heard, found), CAUGHT_UP)
            if heard is None:
                return News(at, all=True)
            at = max(at, heard[-1].seq if heard else 0)
        return news_of(at, [one for one in heard if wanted.fits(one)])

    def _behind(self, after: int) -> list[Heard]:
        """Give what is remembered behind an entry: the newest first until there, since most are not far behind."""
        found = list(takewhile(lambda one: one.seq > after, reversed(self._heard)))
        found.reverse()
        return found

    def close(self) -> None:
        """End it: everybody who watches is told. May be called in a signal handler, and twice."""
        self._closed = True
        for ring in list(self._watchers.values()):
            ring()

    def _follow(self) -> None:
        while not self._closed:
            try:
                found = self._store.follow(self._at, _WAIT_S)
            except LogError:
                found = ()
                self._step_over()
            with self._lock:
                if found:
                    self._remember(found)
                elif not self._watchers:
                    self._thread = None
                    return
                rings = list(self._watchers.values()) if found else ()
            for ring in rings:
                ring()

    def _step_over(self) -> None:
        """Go on behind an entry that is not what was recorded: it stops nobody from looking at the rest of their pages."""
        try:
            self._at = max(self._at, self._store.head().size)
        except LogError:
            # It cannot be read at all, as while its database is away: whoever watches hears of it when it is back.
            if not self._closed:
                time.sleep(_WAIT_S)

    def _remember(self, found: Sequence[LogEntry]) -> None:
        for entry in found:
            if len(self._heard) == KEPT:
                self._from = self._heard[0].seq
            self._heard.append(_heard(entry))
        self._at = found[-1].seq


def _heard(entry: LogEntry) -> Heard:
    return Heard(entry.seq, entry.kind.value, entry.run, entry.inc)


def _bounded(found: Iterable[Heard], most: int) -> list[Heard] | None:
    """Give what was found, or None where it is more than so much."""
    several: list[Heard] = []
    for one in found:
        several.append(one)
        if len(several) > most:
            return None
    return several


def news_of(at: int, heard: Sequence[Heard]) -> News:
    """Put together what was heard."""
    return News(
        at,
        tuple(sorted({one.kind for one in heard})),
        _named(one.run for one in heard),
        _named(one.inc for one in heard),
    )


def _named(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({name for name in names if name}))
