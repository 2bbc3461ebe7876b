"""The cipher: how blobs are encrypted where they lie, and how the keys for that are wrapped.

Pure: keys and randomness are given. A blob is encrypted under the *data key* of its incident, and a data
key is wrapped by the log's *blob key*. Both with AES-256-GCM (NIST SP 800-38D), nonces of 96 random bits.

    wrapped = nonce || AES-256-GCM(blob key, data key, aad = "mimlog/data-key/v1" || 0x00 || id || incident)
    stored  = nonce || AES-256-GCM(data key, salt || content, aad = "mimlog/stored-blob/v1" || 0x00 || commit || id)

A stored blob that is moved under another commitment, or said to be under another key, is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mimrun.errors import TamperError
from mimrun.log.chain import SALT_SIZE, SealedBlob, StoredBlob

KEY_SIZE: Final = 32
ID_SIZE: Final = 8
NONCE_SIZE: Final = 12
TAG_SIZE: Final = 16
CANARY_ID: Final = bytes(ID_SIZE)
"""Names the data key that encrypts nothing: it is there to tell whether a blob key is the log's."""
CANARY: Final = b"mimlog: this stays hidden always"
"""What the canary is before it is wrapped. Found as it is in a file, it says that nothing was encrypted."""

_KEY_PREFIX: Final = b"mimlog/data-key/v1\0"
_BLOB_PREFIX: Final = b"mimlog/stored-blob/v1\0"

Entropy: TypeAlias = Callable[[int], bytes]
"""Gives so many random bytes."""


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A data key as it is stored.

    Arguments:
        id: names it, eight random bytes.
        inc: the incident whose blobs it encrypts, or "".
        wrapped: the key, encrypted under the blob key.
    """

    id: bytes
    inc: str
    wrapped: bytes


@dataclass(frozen=True, slots=True)
class EncryptedBlob:
    """A blob as it is stored.

    Arguments:
        commit: what its entry commits to, 32 bytes.
        key: names the data key.
        data: salt and content, encrypted.
    """

    commit: bytes
    key: bytes
    data: bytes = field(repr=False)


class DataKey:
    """A data key that is ready for use. Safe from several threads.

    Arguments:
        id: names it.
        key: 32 bytes.
    """

    __slots__ = ("_aes", "id")

    def __init__(self, id: bytes, key: bytes) -> None:
        self.id = id
        self._aes = AESGCM(key)

    def encrypt(self, blob: SealedBlob, entropy: Entropy) -> EncryptedBlob:
        """Encrypt a sealed blob."""
        commit, nonce = bytes.fromhex(blob.ref.commit), entropy(NONCE_SIZE)
        data = nonce + self._aes.encrypt(nonce, blob.salt + blob.data, _BLOB_PREFIX + commit + self.id)
        return EncryptedBlob(commit, self.id, data)

    def decrypt(self, blob: EncryptedBlob) -> StoredBlob:
        """Decrypt a blob.

        Raises:
            TamperError: it was changed, or is another one's.
        """
        nonce, rest = blob.data[:NONCE_SIZE], blob.data[NONCE_SIZE:]
        try:
            plain = self._aes.decrypt(nonce, rest, _BLOB_PREFIX + blob.commit + self.id)
        except (InvalidTag, ValueError) as exc:
            raise TamperError("what is stored was changed") from exc
        return StoredBlob(plain[:SALT_SIZE], plain[SALT_SIZE:])


def make_data_key(blob_key: bytes, inc: str, entropy: Entropy) -> tuple[DataKey, WrappedKey]:
    """Make a data key for an incident, and wrap it."""
    key_id, key = entropy(ID_SIZE), entropy(KEY_SIZE)
    return DataKey(key_id, key), wrap(blob_key, key_id, inc, key, entropy)


def wrap(blob_key: bytes, key_id: bytes, inc: str, key: bytes, entropy: Entropy) -> WrappedKey:
    """Encrypt a data key under the blob key."""
    nonce = entropy(NONCE_SIZE)
    wrapped = nonce + AESGCM(blob_key).encrypt(nonce, key, _KEY_PREFIX + key_id + inc.encode())
    return WrappedKey(key_id, inc, wrapped)


def unwrap(blob_key: bytes, wrapped: WrappedKey) -> bytes:
    """Decrypt a data key.

    Raises:
        TamperError: the blob key is another one, or what is stored was changed.
    """
    nonce, rest = wrapped.wrapped[:NONCE_SIZE], wrapped.wrapped[NONCE_SIZE:]
    try:
        return AESGCM(blob_key).decrypt(nonce, rest, _KEY_PREFIX + wrapped.id + wrapped.inc.encode())
    except (InvalidTag, ValueError) as exc:
        raise TamperError("its data key was changed") from exc


def make_canary(blob_key: bytes, entropy: Entropy) -> WrappedKey:
    """Make what tells later whether a blob key is this one."""
    return wrap(blob_key, CANARY_ID, "", CANARY, entropy)


def is_key_of(blob_key: bytes, canary: bytes) -> bool:
    """Whether a blob key is the one that a stored canary was made with."""
    try:
        return unwrap(blob_key, WrappedKey(CANARY_ID, "", canary)) == CANARY
    except TamperError:
        return False
