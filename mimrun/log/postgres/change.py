"""What a transaction writes, as statements of one message to the server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from mimrun.log.batch import Batch
from mimrun.log.cipher import CANARY_ID
from mimrun.log.moment import write_moment
from mimrun.log.postgres.message import Statement, contents, number, numbers, text, texts
from mimrun.log.writing import Sent

COMMIT: Final = Statement("", "commit")

_FOLD: Final = """\
ends as (
    insert into incident_head (inc, iseq, leaf) select * from unnest($1::text[], $2::int8[], $3::text[])
    on conflict (inc) do update set iseq = excluded.iseq, leaf = excluded.leaf
), states as (
    insert into projection (name, key, state) select * from unnest($4::text[], $5::text[], $6::bytea[])
    on conflict (name, key) do update set state = excluded.state
), folded as (
    insert into projector (name, size) select unnest($7::text[]), $8::int8
    on conflict (name) do update set size = excluded.size where projector.size <> excluded.size
)"""
_ENTRIES: Final = """\
entries as (
    insert into entry (seq, data, leaf, kind, inc, run, mark) select *, $13::bytea
    from unnest($14::int8[], $15::bytea[], $16::bytea[], $17::text[], $18::text[], $19::text[])
), theend as (
    update head set size = $8::int8, leaf = $9::text, ts = $10::text, frontier = $11::bytea
)"""
# One statement each: between two of them the server would do much that is of no use here.
_APPEND: Final = f"with {_FOLD}, {_ENTRIES} select pg_notify($12::text, '')"
_CATCH_UP: Final = f"with {_FOLD} select 1"
_KEY: Final = (
    "insert into data_key (id, inc, wrapped) values ($1::bytea, $2::text, $3::bytea) on conflict do nothing"
)
_BLOBS: Final = (
    'insert into blob ("commit", key, data) select * from unnest($1::bytea[], $2::bytea[], $3::bytea[])'
)
_ERASED: Final = 'insert into redaction ("commit", seq) values ($1::bytea, $2::int8)'
_ERASE: Final = 'delete from blob where "commit" = $1::bytea'
_DROP_KEYS: Final = (
    "delete from data_key where id <> $1::bytea and not exists (select 1 from blob where key = data_key.id)"
)
"""What encrypts nothing any more: every key is stored together with a blob."""


def statements(
    batch: Batch, sent: Sent | None, projectors: Sequence[str], channel: str
) -> Iterator[Statement]:
    """Write a batch.

    Arguments:
        batch: what the transaction has taken.
        sent: what its entries are marked with; None where it has none.
        projectors: what it was folded through.
        channel: what is notified.
    """
    change, head = batch.change, batch.change.head
    ends, places = change.incidents.values(), change.states.keys()
    folded = (
        texts([*change.incidents]),
        numbers([end.iseq for end in ends]),
        texts([end.leaf for end in ends]),
        texts([name for name, _ in places]),
        texts([key for _, key in places]),
        contents([*change.states.values()]),
        texts(projectors),
        number(head.size),
    )
    if sent is None:
        yield Statement("mim_catch_up", _CATCH_UP, folded)
        return
    entries = [one.entry for one in batch.linked]
    appended = (
        text(head.leaf),
        text(write_moment(head.ts)),
        head.frontier.encode(),
        text(channel),
        sent.mark,
        numbers([entry.seq for entry in entries]),
        contents([one.data for one in batch.linked]),
        contents([one.leaf for one in batch.linked]),
        texts([entry.kind.value for entry in entries]),
        texts([entry.inc for entry in entries]),
        texts([entry.run for entry in entries]),
    )
    yield Statement("mim_append", _APPEND, (*folded, *appended))
    yield from _contents(batch)


def _contents(batch: Batch) -> Iterator[Statement]:
    """Write, and erase, what entries commit to."""
    for key in batch.keys.values():
        yield Statement("mim_key", _KEY, (key.id, text(key.inc), key.wrapped))
    if batch.blobs:
        columns = (
            contents([blob.commit for blob in batch.blobs]),
            contents([blob.key for blob in batch.blobs]),
            contents([blob.data for blob in batch.blobs]),
        )
        yield Statement("mim_blobs", _BLOBS, columns)
    for said in batch.redactions:
        commit = bytes.fromhex(said.commit)
        yield Statement("", _ERASED, (commit, number(said.seq)))
        yield Statement("", _ERASE, (commit,))
    if batch.redactions:
        yield Statement("", _DROP_KEYS, (CANARY_ID,))
