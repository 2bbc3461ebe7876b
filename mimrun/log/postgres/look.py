"""Getting hold of the end of the log, and seeing in the same trip to the server what stands there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from mimrun.log.chain import Head, IncidentHead
from mimrun.log.entry import Draft
from mimrun.log.reading import read_head

PREPARE: Final = """\
prepare mim_see_end as
    select 0 as what, leaf as a, ts as b, size as n, encode(frontier, 'hex') as data,
        (extract(epoch from clock_timestamp()) * 1000000)::int8 as now
    from head;
prepare mim_see_all(text[], text[], text[]) as
    select 0, leaf, ts, size, encode(frontier, 'hex'), (extract(epoch from clock_timestamp()) * 1000000)::int8
        from head
    union all select 1, name, '', size, '', 0 from projector
    union all select 2, inc, leaf, iseq, '', 0 from incident_head where inc = any($1)
    union all select 3, name, key, 0, encode(state, 'hex'), 0 from projection
        where name = any($2) and key = any($3)
"""
"""What a session is told once."""
_LOCK: Final = (
    "begin; set local synchronous_commit = off;"
    # Only reading goes on beside it. Who waits is let in in the order of coming, and is woken once. A lock on the
    # row would wake all who wait whenever one of them has changed it.
    " lock table head in exclusive mode;"
    # A statement of its own: its snapshot is taken when the lock is held, and its moment read then.
    " execute "
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Keys(NamedTuple):
    """What entries that are coming are likely to touch."""

    incidents: list[str]
    runs: list[str]

    @classmethod
    def of(cls, drafts: Sequence[Draft]) -> Keys:
        """Give the keys of drafts."""
        return cls(sorted({d.inc for d in drafts if d.inc}), sorted({d.run for d in drafts if d.run}))


@dataclass(frozen=True, slots=True)
class Seen:
    """What stands at the end of the log.

    Arguments:
        head: the end.
        now: the server's clock.
        folded: how many entries each projector has folded.
        incidents: the ends of incidents that were asked for and have begun.
        states: folded states of runs that were asked for.
    """

    head: Head
    now: datetime
    folded: dict[str, int]
    incidents: dict[str, IncidentHead]
    states: dict[tuple[str, str], bytes]


def take_hold(projectors: Iterable[str], keys: Keys | None) -> str:
    """Write the script that begins a transaction, takes hold of the log's end and sees what stands there.

    Arguments:
        projectors: whose states are of interest.
        keys: what is asked for besides the end; None for nothing.
    """
    if keys is None:
        return _LOCK + "mim_see_end"
    return f"{_LOCK}mim_see_all({_array(keys.incidents)}, {_array(projectors)}, {_array(keys.runs)})"


def read_seen(rows: Sequence[Sequence[bytes]], place: str) -> Seen:
    """Read the answer to `take_hold`.

    Raises:
        TamperError: the end of the log does not make sense.
    """
    heads: list[tuple[int, str, str, bytes]] = []
    now, folded = _EPOCH, dict[str, int]()
    incidents, states = dict[str, IncidentHead](), dict[tuple[str, str], bytes]()
    for what, a, b, n, data, moment in rows:
        if what == b"0":
            heads.append((int(n), a.decode(), b.decode(), _bytes(data)))
            now = _EPOCH + timedelta(microseconds=int(moment))
        elif what == b"1":
            folded[a.decode()] = int(n)
        elif what == b"2":
            incidents[a.decode()] = IncidentHead(int(n), b.decode())
        else:
            states[a.decode(), b.decode()] = _bytes(data)
    return Seen(read_head(heads, place), now, folded, incidents, states)


def _bytes(data: bytes) -> bytes:
    return bytes.fromhex(data.decode())


def _array(values: Iterable[str]) -> str:
    # `Database.connect` sees to it that a backslash is nothing but one, and that the text is UTF-8.
    return "array[" + ",".join(["'" + value.replace("'", "''") + "'" for value in values]) + "]::text[]"
