"""Logs as earlier versions of mimrun left them, with their blobs in plain: made with their own tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from builders.log_places import GRANTS_BEFORE, Schema

from mimrun.lab.postgres_server import CLIENT
from mimrun.log.chain import Head, IncidentHead, Place, link, seal
from mimrun.log.entry import FORMAT, Actor, Draft
from mimrun.log.kinds import LogGenesis
from mimrun.log.moment import write_moment
from mimrun.log.postgres.schema import MIGRATIONS
from mimrun.log.sqlite.schema import APPLICATION_ID, connect

Execute = Callable[..., Any]

LAYOUT_1: Final = """
create table origin (                       -- one row: which log this is
    id     integer primary key check (id = 1),
    log    text not null,
    format text not null
);
create table entry (                        -- the log itself; `data` is the canonical form
    seq  integer primary key,
    data blob not null,
    leaf blob not null,
    kind text not null,                     -- kind, inc and run only find entries; `data` is the truth
    inc  text not null,
    run  text not null
);
create index entry_inc on entry (inc, seq) where inc <> '';
create index entry_run on entry (run, seq) where run <> '';
create table blob (                         -- content that an entry commits to
    "commit" blob not null unique,
    salt     blob not null,
    data     blob not null
);
create table head (                         -- one row: the end of the log; follows from `entry`
    id       integer primary key check (id = 1),
    size     integer not null,
    leaf     text not null,
    ts       text not null,
    frontier blob not null
);
create table incident_head (                -- the end of each incident's chain; follows from `entry`
    inc  text primary key,
    iseq integer not null,
    leaf text not null
) without rowid;
create table projector (                    -- how far each projector has folded
    name text primary key,
    size integer not null
) without rowid;
create table projection (                   -- folded states; follow from `entry`
    name  text not null,
    key   text not null,
    state blob not null,
    primary key (name, key)
) without rowid;

create trigger entry_not_updated before update on entry
    begin select raise(abort, 'the log is append-only'); end;
create trigger entry_not_deleted before delete on entry
    begin select raise(abort, 'the log is append-only'); end;
-- `insert or replace` fires no delete trigger, so the place of a new entry is checked as well.
create trigger entry_in_place before insert on entry
    when new.seq <> (select coalesce(max(seq), 0) + 1 from entry)
    begin select raise(abort, 'the log is append-only'); end;
create trigger blob_not_updated before update on blob
    begin select raise(abort, 'the log is append-only'); end;
create trigger blob_not_deleted before delete on blob
    begin select raise(abort, 'the log is append-only'); end;
create trigger blob_in_place before insert on blob
    when exists (select 1 from blob where "commit" = new."commit")
    begin select raise(abort, 'the log is append-only'); end;
"""
"""The tables of the first layout in SQLite."""


def old_sqlite_log(path: Path, log: str, drafts: Sequence[Draft], clock: Callable[[], datetime]) -> None:
    """Make a log of layout 1 in a file."""
    path.touch()
    db = connect(path, "rw")
    try:
        db.executescript(LAYOUT_1)
        db.execute(f"pragma application_id = {APPLICATION_ID}")
        db.execute("pragma user_version = 1")
        fill(db.execute, log, drafts, clock)
    finally:
        db.close()


def old_postgres_log(
    schema: Schema, layout: int, log: str, drafts: Sequence[Draft], clock: Callable[[], datetime]
) -> None:
    """Make a log of one of the first three layouts in a schema of its own, with what its role could do then."""
    with schema.owner.connect("test") as db, db.transaction():
        db.execute(f"create schema {schema.name}".encode())
        db.execute(
            "create table layout (version int primary key, name text not null, made_at timestamptz default now())"
        )
        for number, step in enumerate(MIGRATIONS[:layout], start=1):
            db.execute(step.script.encode())
            db.execute("insert into layout (version, name) values (%s, %s)", (number, step.name))
        db.execute(GRANTS_BEFORE.format(schema=schema.name, role=CLIENT).encode())

        def execute(statement: str, values: Sequence[object]) -> None:
            if statement.startswith("insert into entry"):
                statement = statement.replace("run)", "run, mark)").replace("?)", "?, ?)")
                values = [*values, b"old mark"]
            db.execute(statement.replace("?", "%s").encode(), values)

        fill(execute, log, drafts, clock)


def fill(execute: Execute, log: str, drafts: Sequence[Draft], clock: Callable[[], datetime]) -> None:
    """Write the first entry, and then drafts, with their blobs as they are."""
    actor = Actor("person", "u:7", "cli", "local")
    head, incidents = Head(), dict[str, IncidentHead]()
    execute("insert into origin (id, log, format) values (1, ?, ?)", (log, FORMAT))
    for draft in (Draft(actor, LogGenesis()), *drafts):
        sealed = [seal(blob, bytes([head.size % 251]) * 32) for blob in draft.blobs]
        place = Place(log, head, incidents.get(draft.inc, IncidentHead()))
        one = link(draft, tuple(blob.ref for blob in sealed), place, clock())
        head = one.head
        if draft.inc:
            incidents[draft.inc] = one.incident
        execute(
            "insert into entry (seq, data, leaf, kind, inc, run) values (?, ?, ?, ?, ?, ?)",
            (one.entry.seq, one.data, one.leaf, one.entry.kind.value, draft.inc, draft.run),
        )
        for blob in sealed:
            execute(
                'insert into blob ("commit", salt, data) values (?, ?, ?)',
                (bytes.fromhex(blob.ref.commit), blob.salt, blob.data),
            )
    execute(
        "insert into head (id, size, leaf, ts, frontier) values (1, ?, ?, ?, ?)",
        (head.size, head.leaf, write_moment(head.ts), head.frontier.encode()),
    )
    for inc, end in incidents.items():
        execute("insert into incident_head (inc, iseq, leaf) values (?, ?, ?)", (inc, end.iseq, end.leaf))
