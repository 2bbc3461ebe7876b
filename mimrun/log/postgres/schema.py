"""The tables of the log in PostgreSQL, as numbered migrations, and what may be done with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import psycopg
from psycopg import sql

from mimrun.errors import StoreError
from mimrun.log.encrypting import Execute, Progress, encrypt_blobs, no_progress


class Migration(NamedTuple):
    """One step of the layout. What has been released is never changed, only followed by another.

    Arguments:
        encrypts: whether what was stored in plain is encrypted behind the script.
    """

    name: str
    script: str
    encrypts: bool = False


MIGRATIONS: Final = (
    Migration(
        "the log and its projections",
        """
create table origin (                       -- one row: which log this is
    id     int primary key check (id = 1),
    log    text not null,
    format text not null
);
create table entry (                        -- the log itself; `data` is the canonical form
    seq  bigint primary key check (seq > 0),
    data bytea not null,
    leaf bytea not null,
    kind text collate "C" not null,         -- kind, inc and run only find entries; `data` is the truth
    inc  text collate "C" not null,
    run  text collate "C" not null,
    mark bytea not null                     -- the same for all entries of a transaction, and random
);
create index entry_inc on entry (inc, seq) where inc <> '';
create index entry_run on entry (run, seq) where run <> '';
create table blob (                         -- content that an entry commits to
    "commit" bytea primary key,
    salt     bytea not null,
    data     bytea not null
);
alter table blob alter column data set storage external;
create table head (                         -- one row: the end of the log; whoever appends holds it locked
    id       int primary key check (id = 1),
    size     bigint not null,
    leaf     text not null,
    ts       text not null,
    frontier bytea not null
) with (fillfactor = 10);
create table incident_head (                -- the end of each incident's chain; follows from `entry`
    inc  text collate "C" primary key,
    iseq bigint not null,
    leaf text not null
) with (fillfactor = 50);
create table projector (                    -- how far each projector has folded
    name text collate "C" primary key,
    size bigint not null
) with (fillfactor = 10);
create table projection (                   -- folded states; follow from `entry`
    name  text collate "C" not null,
    key   text collate "C" not null,
    state bytea not null,
    primary key (name, key)
) with (fillfactor = 50);

create function refuse_change() returns trigger language plpgsql as
    $$ begin raise exception 'the log is append-only'; end $$;
create function refuse_elsewhere() returns trigger language plpgsql as
    $$ begin
        if new.seq <> (select coalesce(max(seq), 0) + 1 from entry) then
            raise exception 'the log is append-only';
        end if;
        return new;
    end $$;
create trigger entry_not_changed before update or delete on entry
    for each row execute function refuse_change();
create trigger entry_not_emptied before truncate on entry
    for each statement execute function refuse_change();
create trigger entry_in_place before insert on entry
    for each row execute function refuse_elsewhere();
create trigger blob_not_changed before update or delete on blob
    for each row execute function refuse_change();
create trigger blob_not_emptied before truncate on blob
    for each statement execute function refuse_change();
""",
    ),
    Migration(
        "leases",
        """
create table lease (                        -- who executes a run; no part of the log
    run        text collate "C" primary key,
    epoch      bigint not null,
    held       boolean not null,
    expires_at timestamptz not null,
    host       text not null,
    boot       text not null,
    pid        bigint not null,
    started    bigint not null,
    seen       bigint not null,
    doubt      bigint not null              -- the highest epoch whose holder was replaced and not seen to end
) with (fillfactor = 50);
""",
    ),
    Migration(
        "checkpoints",
        """
create table checkpoint (                   -- signed heads of the log, as notes
    size bigint primary key,
    note text not null
);
create trigger checkpoint_not_changed before update or delete on checkpoint
    for each row execute function refuse_change();
create trigger checkpoint_not_emptied before truncate on checkpoint
    for each statement execute function refuse_change();
""",
    ),
    Migration(
        "blobs are encrypted and can be erased",
        """
alter table origin add column moved text not null default '';  -- where it goes on; then nothing is added here
create table data_key (                     -- what blobs are encrypted under, itself encrypted
    id      bytea primary key,
    inc     text collate "C" not null,
    wrapped bytea not null
);
create index data_key_inc on data_key (inc);
alter table blob rename to plain_blob;
drop trigger blob_not_changed on plain_blob;
drop trigger blob_not_emptied on plain_blob;
alter table plain_blob rename constraint blob_pkey to plain_blob_pkey;
create table blob (                         -- content that an entry commits to, encrypted with its salt
    "commit" bytea primary key,
    key      bytea not null,
    data     bytea not null
);
alter table blob alter column data set storage external;
create index blob_key on blob (key);
create table redaction (                    -- what was erased, and the entry that says so
    "commit" bytea primary key,
    seq      bigint not null
);

create function refuse_moved() returns trigger language plpgsql as
    $$ begin
        if (select moved from origin) <> '' then
            raise exception 'this log goes on elsewhere: see `mimrun doctor`';
        end if;
        return null;
    end $$;
create function refuse_loss() returns trigger language plpgsql as
    $$ begin
        if not exists (select 1 from redaction where "commit" = old."commit") then
            raise exception 'the log is append-only';
        end if;
        return old;
    end $$;
create function refuse_loss_of_key() returns trigger language plpgsql as
    $$ begin
        if old.id = decode('0000000000000000', 'hex') or exists (select 1 from blob where key = old.id) then
            raise exception 'the log is append-only';
        end if;
        return old;
    end $$;
create function refuse_without_key() returns trigger language plpgsql as
    $$ begin
        if not exists (select 1 from data_key where id = new.key) then
            raise exception 'the data key is gone';
        end if;
        return new;
    end $$;
create function refuse_without_word() returns trigger language plpgsql as
    $$ begin
        if not exists (
            select 1 from entry where seq = new.seq and kind = 'redact.applied'
            and position(encode(new."commit", 'hex') in convert_from(data, 'utf8')) > 0
        ) then
            raise exception 'the log is append-only';
        end if;
        return new;
    end $$;
create trigger entry_not_moved before insert on entry
    for each statement execute function refuse_moved();
create trigger data_key_not_changed before update on data_key
    for each row execute function refuse_change();
create trigger data_key_not_lost before delete on data_key
    for each row execute function refuse_loss_of_key();
create trigger data_key_not_emptied before truncate on data_key
    for each statement execute function refuse_change();
create trigger blob_not_changed before update on blob
    for each row execute function refuse_change();
create trigger blob_not_lost before delete on blob
    for each row execute function refuse_loss();
create trigger blob_not_emptied before truncate on blob
    for each statement execute function refuse_change();
create trigger blob_has_key before insert on blob
    for each row execute function refuse_without_key();
create trigger redaction_not_changed before update or delete on redaction
    for each row execute function refuse_change();
create trigger redaction_not_emptied before truncate on redaction
    for each statement execute function refuse_change();
create trigger redaction_has_word before insert on redaction
    for each row execute function refuse_without_word();
""",
        encrypts=True,
    ),
)
"""The layout, step by step. `mimrun init` takes the steps that a database has not taken yet."""

TRIGGERS: Final = frozenset(
    {"entry_not_changed", "entry_not_emptied", "entry_in_place", "entry_not_moved"}
    | {"blob_not_changed", "blob_not_lost", "blob_not_emptied", "blob_has_key"}
    | {"checkpoint_not_changed", "checkpoint_not_emptied"}
    | {"data_key_not_changed", "data_key_not_lost", "data_key_not_emptied"}
    | {"redaction_not_changed", "redaction_not_emptied", "redaction_has_word"}
)

GRANTS: Final = """\
grant usage on schema {schema} to {role};
grant select on all tables in schema {schema} to {role};
grant insert on entry, checkpoint, redaction to {role};
grant insert, delete on blob, data_key to {role};
grant insert, update on incident_head, projector, lease to {role};
grant insert, update, delete on projection to {role};
grant update on head to {role};
"""
"""What the role that mimrun works as may do: entries and blobs it can add and never change.

Blobs, and their keys, it can delete where an entry says that they are erased.
"""

FENCED: Final = ("entry", "blob", "checkpoint", "data_key", "redaction")
"""The tables that triggers stand before."""

_LOCK: Final = 0x4D494D4C4F47
"""`MIMLOG`: the advisory lock under which tables are made."""


def migrate(
    db: psycopg.Connection,
    schema: str,
    blob_key: Callable[[], bytes],
    progress: Progress = no_progress,
) -> bool:
    """Take the steps of the layout that this database has not taken; the caller holds the transaction.

    Arguments:
        blob_key: gives the key of the log's blobs, or makes one.
        progress: told of entries that are done, and of how many there are.

    Returns:
        whether there was no log in here before.

    Raises:
        StoreError: a newer mimrun made it.
        psycopg.Error: the role may not make tables.
    """
    db.execute("select pg_advisory_xact_lock(%s)", (_LOCK,))
    there = db.execute("select 1 from pg_namespace where nspname = %s", (schema,)).fetchone()
    if there is None:
        db.execute(sql.SQL("create schema {}").format(sql.Identifier(schema)))
    db.execute(
        "create table if not exists layout"
        " (version int primary key, name text not null, made_at timestamptz not null default now())"
    )
    done = _version(db)
    _refuse_newer(done, schema)
    for number, step in enumerate(MIGRATIONS[done:], start=done + 1):
        db.execute(step.script.encode())
        if step.encrypts:
            encrypt_blobs(_execute(db), blob_key(), progress)
        db.execute("insert into layout (version, name) values (%s, %s)", (number, step.name))
    return db.execute("select 1 from origin").fetchone() is None


def _execute(db: psycopg.Connection) -> Execute:
    def execute(statement: str, /, *given: object) -> list[Any]:
        cursor = db.execute(statement.replace("?", "%s").encode(), given, binary=True)
        return cursor.fetchall() if cursor.description else []

    return execute


def is_current(db: psycopg.Connection) -> bool:
    """Whether there is a log in here whose tables are those of this version."""
    if not _is_there(db) or _version(db) != len(MIGRATIONS):
        return False
    return db.execute("select 1 from origin").fetchone() is not None


def layout_of(db: psycopg.Connection, name: str) -> int:
    """How many steps of the layout a log has taken.

    Raises:
        StoreError: there is no log.
    """
    if not _is_there(db):
        raise StoreError(f"there is no log in {name}; `mimrun init` makes one")
    return _version(db)


def check_format(db: psycopg.Connection, name: str) -> str:
    """Refuse a database that holds no log, or one that this version cannot read.

    Returns:
        The log's origin.

    Raises:
        StoreError: it holds no log, or was made by another version.
    """
    if not _is_there(db):
        raise StoreError(f"there is no log in {name}; `mimrun init` makes one")
    done = _version(db)
    _refuse_newer(done, name)
    if done < len(MIGRATIONS):
        raise StoreError(
            f"{name} has layout {done} and this mimrun needs {len(MIGRATIONS)}; `mimrun store migrate`, as"
            " the owner of the tables, brings it up to date"
        )
    row = db.execute("select log from origin").fetchone()
    if row is None:
        raise StoreError(f"there is no log in {name}; `mimrun init` makes one")
    return str(row[0])


def faults(rows: list[tuple[str, str]], constraints: list[str]) -> tuple[str, ...]:
    """Say which fences of the log are not as they were made.

    Arguments:
        rows: the name of each trigger in the schema, and its state (`O`: enabled).
        constraints: the tables of the schema that have a primary key.
    """
    enabled = {name for name, state in rows if state in ("O", "A")}
    down = sorted(TRIGGERS - enabled)
    wrong = [f"trigger {name} is missing or disabled" for name in down]
    if len(down) > 1:
        wrong = [f"{len(down)} triggers are missing or disabled: {', '.join(down)}"]
    wrong += [f"table {name} has no primary key" for name in FENCED if name not in constraints]
    return tuple(wrong)


def _is_there(db: psycopg.Connection) -> bool:
    row = db.execute(
        "select to_regclass('layout') is not null and to_regclass('origin') is not null"
    ).fetchone()
    return bool(row and row[0])


def _version(db: psycopg.Connection) -> int:
    row = db.execute("select coalesce(max(version), 0) from layout").fetchone()
    return int(row[0]) if row else 0


def _refuse_newer(version: int, where: str) -> None:
    if version > len(MIGRATIONS):
        raise StoreError(
            f"{where} has layout {version} and this mimrun knows up to {len(MIGRATIONS)}: a newer mimrun made"
            " it; use that one"
        )
