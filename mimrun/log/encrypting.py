"""Encrypting what an earlier mimrun had stored in plain: a step of the layout, in every database the same.

Before it the table `plain_blob` has the blobs with their salts, and `data_key` and `blob` are empty. Behind it
they have everything, and `plain_blob` is gone.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from typing import Any, Final, Protocol, TypeAlias

from mimrun.errors import StoreError
from mimrun.log.chain import SealedBlob
from mimrun.log.cipher import CANARY_ID, DataKey, make_canary, make_data_key
from mimrun.log.entry import BlobRef

PAGE: Final = 200
"""Entries that are read at once."""

Progress: TypeAlias = Callable[[int, int], object]
"""Told of entries that are done, and of how many there are."""


class Execute(Protocol):
    """Executes a statement, with `?` in the place of each value; gives its rows."""

    def __call__(self, statement: str, /, *given: object) -> list[Any]:
        """All rows, or none where the statement gives none."""


def no_progress(done: int, of: int) -> None:
    """Tell nobody."""


def encrypt_blobs(execute: Execute, blob_key: bytes, progress: Progress = no_progress) -> int:
    """Move every blob from `plain_blob` into `blob`, encrypted; the caller holds the transaction.

    Arguments:
        execute: speaks to the database.
        blob_key: what new data keys are wrapped by.
        progress: told after each page of entries.

    Returns:
        how many blobs there are.

    Raises:
        StoreError: a blob belongs to no entry; nothing may be lost.
    """
    keys = dict[str, DataKey]()
    canary = make_canary(blob_key, secrets.token_bytes)
    _insert_key(execute, CANARY_ID, "", canary.wrapped)
    ((size,),) = execute("select coalesce(max(seq), 0) from entry")
    done = count = 0
    while rows := execute("select seq, inc, data from entry where seq > ? order by seq limit ?", done, PAGE):
        for _, inc, data in rows:
            for ref in json.loads(data)["blobs"]:
                count += _encrypt(execute, keys, blob_key, inc, BlobRef(**ref))
        done = rows[-1][0]
        progress(done, size)
    ((there,),) = execute("select count(*) from plain_blob")
    if there != count:
        raise StoreError(
            f"{there} blobs are stored and the entries speak of {count} of them: the log is not what was"
            " recorded; check it with `mimrun log verify` of the version that wrote it"
        )
    execute("drop table plain_blob")
    return count


def _encrypt(execute: Execute, keys: dict[str, DataKey], blob_key: bytes, inc: str, ref: BlobRef) -> int:
    """Encrypt one blob. What it holds is not looked at: if it was changed, it still shows."""
    commit = bytes.fromhex(ref.commit)
    found = execute('select salt, data from plain_blob where "commit" = ?', commit)
    if not found:
        return 0
    if inc not in keys:
        keys[inc], wrapped = make_data_key(blob_key, inc, secrets.token_bytes)
        _insert_key(execute, wrapped.id, inc, wrapped.wrapped)
    stored = keys[inc].encrypt(SealedBlob(ref, *found[0]), secrets.token_bytes)
    execute('insert into blob ("commit", key, data) values (?, ?, ?)', stored.commit, stored.key, stored.data)
    return 1


def _insert_key(execute: Execute, key_id: bytes, inc: str, wrapped: bytes) -> None:
    execute("insert into data_key (id, inc, wrapped) values (?, ?, ?)", key_id, inc, wrapped)
