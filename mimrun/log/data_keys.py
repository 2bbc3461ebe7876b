"""The data keys of a log, as one process has them: fetched and unwrapped once, made where there is none.

Two processes that make a key for the same incident at the same moment make two; both are kept, and each
blob says which one it is under.
"""

from __future__ import annotations

import threading
from typing import Any, Final, Protocol

from mimrun.errors import BlobKeyError, StoreError, TamperError
from mimrun.log.chain import SealedBlob, StoredBlob
from mimrun.log.cipher import (
    CANARY_ID,
    DataKey,
    EncryptedBlob,
    Entropy,
    WrappedKey,
    is_key_of,
    make_data_key,
    unwrap,
)

REMEMBERED: Final = 4096
"""Data keys kept in memory."""
KEY_GONE: Final = "the data key is gone"
"""What the database says to a blob under a key that was destroyed meanwhile; see `DataKeys.forget`."""


class Query(Protocol):
    """Asks the log's database; see `Reading.query`."""

    def __call__(self, statement: str, /, *given: object) -> list[Any]:
        """All rows of a short query."""


class DataKeys:
    """The data keys of a log. Safe from several threads.

    Arguments:
        blob_key: what they are wrapped by.
        query: asks the log's database.
    """

    def __init__(self, blob_key: bytes, query: Query) -> None:
        self._blob_key, self._query = blob_key, query
        self._lock = threading.Lock()
        self._by_id: dict[bytes, DataKey] = {}
        self._by_incident: dict[str, tuple[DataKey, WrappedKey | None]] = {}

    def check(self, place: str, source: str) -> None:
        """See that the blob key is the log's, and that its canary is not stored in plain.

        Arguments:
            place: the log, as messages name it.
            source: where the blob key is, likewise.

        Raises:
            BlobKeyError: it is another log's.
            StoreError: the log does not say which one is its own.
        """
        rows = self._query("select wrapped from data_key where id = ?", CANARY_ID)
        if not rows:
            raise StoreError(
                f"the log {place} does not say which key its blobs have; it is damaged, use a copy"
            )
        if not is_key_of(self._blob_key, rows[0][0]):
            raise BlobKeyError(
                f"the key at {source} is not the one of the log {place}: take the blob.key of the machine"
                " that made it (or its backup), or set MIMRUN_BLOB_KEY to where it is kept"
            )

    def decrypt(self, blob: EncryptedBlob) -> StoredBlob:
        """Decrypt a blob.

        Raises:
            TamperError: its data key is missing, or either was changed.
            StoreError: the database cannot be asked.
        """
        # What is stored may be of any type.
        parts: tuple[object, ...] = (blob.key, blob.data)
        if not all(isinstance(part, bytes) for part in parts):
            raise TamperError("what is stored was changed")
        return self._key(blob.key).decrypt(blob)

    def encrypt(
        self, blob: SealedBlob, inc: str, entropy: Entropy
    ) -> tuple[EncryptedBlob, WrappedKey | None]:
        """Encrypt a blob of an incident; give with it the data key, as long as it may not be on record yet."""
        key, unrecorded = self._key_for(inc, entropy)
        return key.encrypt(blob, entropy), unrecorded

    def recorded(self, wrapped: WrappedKey) -> None:
        """Take note that a data key is on record."""
        with self._lock:
            key, unrecorded = self._by_incident.get(wrapped.inc, (None, None))
            if key is not None and unrecorded == wrapped:
                self._by_incident[wrapped.inc] = (key, None)

    def forget(self) -> None:
        """Ask the database anew: a key that is kept here was destroyed with what it encrypted."""
        with self._lock:
            self._by_id.clear()
            self._by_incident.clear()

    def _key(self, key_id: bytes) -> DataKey:
        with self._lock:
            known = self._by_id.get(key_id)
        if known is not None:
            return known
        rows = self._query("select inc, wrapped from data_key where id = ?", key_id)
        # Everybody knows the canary, so nothing is ever under it.
        if not rows or key_id == CANARY_ID:
            raise TamperError("its data key is missing")
        return self._keep(WrappedKey(key_id, *rows[0]))

    def _key_for(self, inc: str, entropy: Entropy) -> tuple[DataKey, WrappedKey | None]:
        with self._lock:
            known = self._by_incident.get(inc)
        if known is not None:
            return known
        rows = self._query(
            "select id, inc, wrapped from data_key where inc = ? and id <> ? order by id limit 1",
            inc,
            CANARY_ID,
        )
        made: tuple[DataKey, WrappedKey | None]
        made = (
            (self._keep(WrappedKey(*rows[0])), None) if rows else make_data_key(self._blob_key, inc, entropy)
        )
        with self._lock:
            if len(self._by_incident) >= REMEMBERED:
                self._by_incident.clear()
            return self._by_incident.setdefault(inc, made)

    def _keep(self, wrapped: WrappedKey) -> DataKey:
        inc: object = wrapped.inc
        key: object = wrapped.wrapped
        if not (isinstance(inc, str) and isinstance(key, bytes)):
            raise TamperError("its data key was changed")
        unwrapped = DataKey(wrapped.id, unwrap(self._blob_key, wrapped))
        with self._lock:
            if len(self._by_id) >= REMEMBERED:
                self._by_id.clear()
            return self._by_id.setdefault(wrapped.id, unwrapped)
