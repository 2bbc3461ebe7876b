"""Encrypting in PostgreSQL what an earlier mimrun had stored in plain: a step of the layout."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from typing import Final

import psycopg

from mimrun.log.chain import SealedBlob
from mimrun.log.cipher import CANARY_ID, DataKey, make_canary, make_data_key
from mimrun.log.entry import BlobRef

PAGE: Final = 200
"""Entries whose blobs are encrypted at once; they may be of 16 MiB each."""

Progress = Callable[[int, int], object]
"""Told of entries that are done, and of how many there are."""


def no_progress(done: int, of: int) -> None:
    """Tell nobody."""


def encrypt_blobs(db: psycopg.Connection, blob_key: bytes, progress: Progress) -> None:
    """Move every blob from `plain_blob` into `blob`, encrypted; the caller holds the transaction.

    Arguments:
        blob_key: what new data keys are wrapped by.
        progress: told after each page of entries.
    """
    entropy = secrets.token_bytes
    canary = make_canary(blob_key, entropy)
    insert_key = "insert into data_key (id, inc, wrapped) values (%s, %s, %s)"
    db.execute(insert_key, (CANARY_ID, "", canary.wrapped))
    keys = dict[str, DataKey]()
    done, size = 0, _size(db)
    while rows := db.execute(
        "select seq, inc, data from entry where seq > %s order by seq limit %s", (done, PAGE), binary=True
    ).fetchall():
        for _, inc, data in rows:
            for ref in json.loads(data)["blobs"]:
                commit = bytes.fromhex(ref["commit"])
                found = db.execute(
                    'select salt, data from plain_blob where "commit" = %s', (commit,), binary=True
                ).fetchone()
                if found is None:
                    continue
                if inc not in keys:
                    keys[inc], wrapped = make_data_key(blob_key, inc, entropy)
                    db.execute(insert_key, (wrapped.id, inc, wrapped.wrapped))
                stored = keys[inc].encrypt(SealedBlob(BlobRef(**ref), *found), entropy)
                db.execute(
                    'insert into blob ("commit", key, data) values (%b, %b, %b)',
                    (stored.commit, stored.key, stored.data),
                )
        done = rows[-1][0]
        progress(done, size)
    db.execute("drop table plain_blob")


def _size(db: psycopg.Connection) -> int:
    row = db.execute("select coalesce(max(seq), 0) from entry").fetchone()
    return int(row[0]) if row else 0
