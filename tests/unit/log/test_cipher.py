"""The cipher: what was encrypted comes back, and nothing that was changed, moved or is under another key does."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimrun.errors import TamperError
from mimrun.log.chain import SealedBlob, StoredBlob, is_committed, seal
from mimrun.log.cipher import (
    CANARY,
    CANARY_ID,
    ID_SIZE,
    NONCE_SIZE,
    TAG_SIZE,
    DataKey,
    EncryptedBlob,
    WrappedKey,
    is_key_of,
    make_canary,
    make_data_key,
    unwrap,
    wrap,
)
from mimrun.log.entry import Blob

BLOB_KEY = bytes(range(32))


def counting() -> Callable[[int], bytes]:
    """Entropy that is another one each time, and the same in each test."""
    numbers = iter(range(1, 1 << 20))
    return lambda size: next(numbers).to_bytes(size, "big")


def sealed(data: bytes, salt: int = 7) -> SealedBlob:
    return seal(Blob("text", data, "text"), bytes([salt]) * 32)


@given(st.binary(max_size=5000), st.text(max_size=40).filter(lambda inc: inc.isascii()))
def test_a_blob_comes_back_with_its_salt_and_is_not_to_be_seen(data: bytes, inc: str) -> None:
    entropy = counting()
    key, wrapped = make_data_key(BLOB_KEY, inc, entropy)
    stored = key.encrypt(sealed(data), entropy)
    assert len(stored.data) == NONCE_SIZE + 32 + len(data) + TAG_SIZE
    again = DataKey(wrapped.id, unwrap(BLOB_KEY, wrapped))
    plain = again.decrypt(stored)
    assert plain == StoredBlob(bytes([7]) * 32, data)
    assert is_committed(plain, stored.commit.hex())
    assert len(data) < 8 or data not in stored.data


@given(st.data())
def test_a_changed_bit_is_refused(data: st.DataObject) -> None:
    entropy = counting()
    key, _ = make_data_key(BLOB_KEY, "INC-1", entropy)
    stored = key.encrypt(sealed(b"who said what"), entropy)
    changed = bytearray(stored.data)
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(TamperError, match="what is stored was changed"):
        key.decrypt(EncryptedBlob(stored.commit, stored.key, bytes(changed)))


@pytest.mark.parametrize("data", [b"", b"x", bytes(NONCE_SIZE), bytes(NONCE_SIZE + TAG_SIZE)])
def test_what_is_too_short_to_be_a_blob_is_refused(data: bytes) -> None:
    key, _ = make_data_key(BLOB_KEY, "", counting())
    with pytest.raises(TamperError):
        key.decrypt(EncryptedBlob(bytes(32), key.id, data))


def test_a_blob_is_bound_to_its_commitment_and_to_its_key() -> None:
    entropy = counting()
    key, _ = make_data_key(BLOB_KEY, "INC-1", entropy)
    one, two = key.encrypt(sealed(b"one"), entropy), key.encrypt(sealed(b"two"), entropy)
    with pytest.raises(TamperError):
        key.decrypt(EncryptedBlob(two.commit, key.id, one.data))
    other, _ = make_data_key(BLOB_KEY, "INC-1", entropy)
    with pytest.raises(TamperError):
        other.decrypt(one)


def test_the_same_content_is_stored_differently_each_time() -> None:
    entropy = counting()
    key, _ = make_data_key(BLOB_KEY, "", entropy)
    assert key.encrypt(sealed(b"x"), entropy).data != key.encrypt(sealed(b"x"), entropy).data


def test_a_data_key_is_bound_to_its_name_and_its_incident() -> None:
    wrapped = wrap(BLOB_KEY, b"8 bytes.", "INC-1", bytes(32), counting())
    assert unwrap(BLOB_KEY, wrapped) == bytes(32)
    for changed in (
        WrappedKey(b"8 bytes,", "INC-1", wrapped.wrapped),
        WrappedKey(b"8 bytes.", "INC-2", wrapped.wrapped),
        WrappedKey(b"8 bytes.", "INC-1", wrapped.wrapped[:-1]),
        WrappedKey(b"8 bytes.", "INC-1", b""),
    ):
        with pytest.raises(TamperError, match="its data key was changed"):
            unwrap(BLOB_KEY, changed)
    with pytest.raises(TamperError):
        unwrap(bytes(32), wrapped)


def test_the_canary_tells_the_right_key_from_a_wrong_one() -> None:
    canary = make_canary(BLOB_KEY, counting())
    assert (canary.id, len(canary.id)) == (CANARY_ID, ID_SIZE)
    assert CANARY not in canary.wrapped
    assert is_key_of(BLOB_KEY, canary.wrapped)
    assert not is_key_of(bytes(32), canary.wrapped)
    assert not is_key_of(BLOB_KEY, canary.wrapped[::-1])
    assert not is_key_of(BLOB_KEY, wrap(BLOB_KEY, CANARY_ID, "", bytes(32), counting()).wrapped)


def test_keys_do_not_show_themselves() -> None:
    entropy = counting()
    key, _ = make_data_key(BLOB_KEY, "", entropy)
    assert "data=" not in repr(key.encrypt(sealed(b"words"), entropy))
    assert "object at" in repr(key)
