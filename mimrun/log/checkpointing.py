"""When a checkpoint is due, and the entry that it ends with.

The entry `log.heads` goes into the very transaction that makes it due, as its last entry, so that a tree that
is signed always ends with one. The signature itself is made afterwards; see `mimrun.log.signing`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from mimrun.errors import StoreError
from mimrun.log.batch import Batch, Sealed
from mimrun.log.chain import Head, IncidentHead
from mimrun.log.ends import Ends
from mimrun.log.entry import Actor, Draft
from mimrun.log.kind import Kind
from mimrun.log.kinds import LogHeads
from mimrun.log.reading import Reading

EVERY: Final = 100
"""Entries after which a checkpoint is due."""
WITHIN_S: Final = 60.0
"""Seconds after which entries are under a checkpoint, also when nothing follows them."""
ASKING: Final = frozenset(
    {
        Kind.GATE_DECIDED,
        Kind.CHANGE_DECIDED,
        Kind.BREAKGLASS_OPENED,
        Kind.BREAKGLASS_MERGED,
        Kind.RUN_ENDED,
        Kind.LOG_KEY,
        Kind.LOG_KEY_RETIRED,
        Kind.LOG_MOVED,
        Kind.KILLSWITCH_PULLED,
        Kind.KILLSWITCH_LIFT_AGREED,
        Kind.REDACT_APPLIED,
        Kind.SHELL_CLOSED,
    }
)
"""Kinds that are under a checkpoint as soon as they are recorded."""
ACTOR: Final = Actor("system", "log")


def is_due(entries: int, seconds: float, kinds: Collection[Kind]) -> bool:
    """Whether a transaction is to end with the heads of all incidents, for a checkpoint.

    Arguments:
        entries: how many there are behind the last such entry, those of the transaction included.
        seconds: how long the oldest of them has waited.
        kinds: of the transaction's entries.
    """
    return entries > 0 and (entries >= EVERY or seconds >= WITHIN_S or not ASKING.isdisjoint(kinds))


@dataclass(frozen=True, slots=True)
class Point:
    """A place in the log that ends with `log.heads`, to be signed.

    Arguments:
        size: how many entries there are.
        root: Merkle root over them, hexadecimal.
        leaf: leaf hash of the last one, hexadecimal.
    """

    size: int
    root: str
    leaf: str

    @classmethod
    def at(cls, head: Head) -> Point:
        """Give the end of the log."""
        return cls(head.size, head.root, head.leaf)


class Checkpointing:
    """Puts `log.heads` where it is due. Used by the thread that appends.

    Arguments:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ends: Ends | None = None
        self._moved: dict[str, IncidentHead] = {}
        self._size = 0
        """Where `_ends` and `_moved` stand."""
        self._last = 0
        """The last `log.heads` that is known of; there may be one behind it by another process."""
        self._own = 0
        """The last entry of this process."""
        self._since: float | None = None
        self._batch: Batch | None = None
        self._point: Point | None = None
        self._used = False

    @property
    def uncovered(self) -> bool:
        """Whether this process has recorded what no `log.heads` that it knows of stands behind."""
        return self._since is not None

    def wait_s(self) -> float | None:
        """Seconds until a checkpoint is due although nothing more is appended; None where nothing waits."""
        return None if self._since is None else max(0.0, self._since + WITHIN_S - self._clock())

    def postpone(self) -> None:
        """Begin to wait anew: what was due is tried now, and if that fails, not at once again."""
        self._since = None if self._since is None else self._clock()

    def forget(self) -> None:
        """Take nothing that was looked at for granted: the database went away, and what was not on disk with it."""
        self._ends, self._moved = None, {}
        self._size, self._last = -1, 0

    def prepare(self, reader: Reading) -> None:
        """Fetch the ends of all incidents before the log is held for writing."""
        if self._ends is not None:
            return
        try:
            size = reader.size()
            # These may be newer; then they are fetched again with what was appended behind `size`.
            self._ends, self._moved, self._size = Ends(reader.incident_ends()), {}, size
            self._last = max(self._last, reader.last_of(Kind.LOG_HEADS, size - EVERY))
        except StoreError:
            self._ends = None

    def put_into(self, batch: Batch, reader: Reading, *, asked: bool = False) -> None:
        """Take `log.heads` as the last entry of the batch, where it is due.

        The reader sees what is on record: nobody else can write while the batch is made.

        Arguments:
            batch: the transaction, with everything else in it.
            reader: the same log.
            asked: it is wanted whatever the rule says.
        """
        if self._batch is not None and self._used:
            # The transaction before came to nothing, and its changes are in the tree.
            self._ends = None
        self._batch, self._point, self._used = batch, None, False
        if not batch.linked and not asked:
            return
        try:
            self._put_into(batch, reader, asked=asked)
        except StoreError:
            # What was asked for is recorded all the same; the next transaction tries again.
            self._point = None

    def committed(self) -> Point | None:
        """Take note that the transaction is on disk; give the place to sign, if it ends with one."""
        batch, self._batch = self._batch, None
        if batch is None:
            return None
        size = batch.head().size
        if batch.linked:
            self._own = size
        if self._point is not None:
            self._last = size
        if self._own <= self._last:
            self._since = None
        elif batch.linked and self._since is None:
            self._since = self._clock()
        if self._used:
            self._size, self._moved = size, {}
        elif size - len(batch.linked) == self._size:
            self._size = size
            self._moved.update(batch.change.incidents)
        return self._point

    def _put_into(self, batch: Batch, reader: Reading, *, asked: bool) -> None:
        size = batch.head().size
        before = size - len(batch.linked)
        alone = before == self._size
        if not alone and (asked or size - self._last >= EVERY):
            # Others have written meanwhile, and may have put in theirs.
            self._last = max(self._last, reader.last_of(Kind.LOG_HEADS, before - EVERY))
        waited = 0.0 if self._since is None else self._clock() - self._since
        kinds = {one.entry.kind for one in batch.linked}
        if not (is_due(size - self._last, waited, kinds) or (asked and size > self._last)):
            if asked and size == self._last:
                self._point = Point.at(batch.head())
            return
        if self._ends is None:
            self._ends, self._moved, self._size = Ends(reader.incident_ends()), {}, before
        elif not alone:
            self._moved |= reader.incident_ends(after=self._size)
        self._used = True
        self._ends.update(self._moved | batch.change.incidents)
        heads = LogHeads(incidents=len(self._ends), root=self._ends.root)
        batch.take([Sealed(Draft(ACTOR, heads))], None)
        self._point = Point.at(batch.head())
