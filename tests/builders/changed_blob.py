"""Change what a log's blobs hold, as somebody could who has the file and the key of its blobs."""

from __future__ import annotations

import secrets
import sqlite3
from contextlib import closing
from pathlib import Path

from mimrun.log.blob_key import BlobKey, BlobKeyPlace
from mimrun.log.chain import SealedBlob
from mimrun.log.cipher import DataKey, EncryptedBlob, WrappedKey, unwrap
from mimrun.log.entry import BlobRef


def change_blob(log: Path, marker: bytes, old: bytes, new: bytes) -> None:
    """Put other content in the place of some, in the one blob that has both the marker and the old content."""
    key = BlobKeyPlace.beside(log).read()
    assert isinstance(key, BlobKey)
    with closing(sqlite3.connect(log)) as db, db:
        for (name,) in db.execute("select name from sqlite_schema where type = 'trigger'").fetchall():
            db.execute(f"drop trigger {name}")
        wrapped = {row[0]: WrappedKey(*row) for row in db.execute("select * from data_key")}
        changed = 0
        for commit, key_id, data in db.execute('select "commit", key, data from blob').fetchall():
            data_key = DataKey(key_id, unwrap(key.key, wrapped[key_id]))
            plain = data_key.decrypt(EncryptedBlob(commit, key_id, data))
            if marker not in plain.data or old not in plain.data:
                continue
            text = plain.data.replace(old, new)
            sealed = SealedBlob(BlobRef("", commit.hex(), len(text), "data"), plain.salt, text)
            again = data_key.encrypt(sealed, secrets.token_bytes).data
            changed += db.execute('update blob set data = ? where "commit" = ?', (again, commit)).rowcount
        assert changed == 1
