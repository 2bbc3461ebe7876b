"""Ed25519 as the stand-alone verifier has it: RFC 8032, and the same answers as a library gives."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from mimrun.log.proof.standalone.signature import (
    BASE,
    NEUTRAL,
    L,
    P,
    Point,
    add_points,
    is_signed,
    is_small,
    read_point,
    write_point,
)

RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
    (
        "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        hashlib.sha512(b"abc").hexdigest(),
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
    ),
]
"""Section 7.1: secret key, public key, message, signature."""


def multiply(factor: int, a: Point) -> Point:
    total = NEUTRAL
    for bit in range(factor.bit_length() - 1, -1, -1):
        total = add_points(total, total)
        if factor >> bit & 1:
            total = add_points(total, a)
    return total


def torsion() -> list[Point]:
    """The eight points of small order: L times any point is one of them."""
    y = 2
    while True:
        a = read_point(y.to_bytes(32, "little"))
        if a is not None and not is_small(a):
            eighth = multiply(L, a)
            found = {write_point(multiply(n, eighth)): multiply(n, eighth) for n in range(8)}
            if len(found) == 8:
                return list(found.values())
        y += 1


TORSION = torsion()


def library(public: bytes, message: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def both(public: bytes, message: bytes, signature: bytes) -> bool:
    """Ask with and without the library; they must agree."""
    answer = is_signed(public, message, signature, alone=True)
    assert is_signed(public, message, signature) == answer
    return answer


@pytest.mark.parametrize(("secret", "public", "message", "signature"), RFC_8032)
def test_the_vectors_of_the_standard_hold(secret: str, public: str, message: str, signature: str) -> None:
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(secret))
    assert key.sign(bytes.fromhex(message)).hex() == signature
    made = key.public_key().public_bytes_raw()
    assert made.hex() == public
    assert both(made, bytes.fromhex(message), bytes.fromhex(signature))
    assert not both(made, bytes.fromhex(message) + b"x", bytes.fromhex(signature))


@settings(max_examples=60, deadline=None)
@given(
    st.binary(min_size=32, max_size=32), st.binary(max_size=200), st.integers(0, 64 * 8 - 1), st.booleans()
)
def test_a_signature_is_right_for_its_text_and_key_alone(
    seed: bytes, text: bytes, bit: int, other: bool
) -> None:
    key = Ed25519PrivateKey.from_private_bytes(seed)
    public, signature = key.public_key().public_bytes_raw(), key.sign(text)
    assert both(public, text, signature)
    flipped = bytearray(public if other else signature)
    flipped[bit // 8 % len(flipped)] ^= 1 << bit % 8
    wrong = (bytes(flipped), text, signature) if other else (public, text, bytes(flipped))
    assert both(*wrong) == library(*wrong) == False  # noqa: E712 - all three


@settings(max_examples=100, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.binary(min_size=64, max_size=64), st.binary(max_size=20))
def test_any_bytes_get_the_library_s_answer(public: bytes, signature: bytes, text: bytes) -> None:
    answer, point = both(public, text, signature), read_point(public)
    if answer != library(public, text, signature):
        assert not answer
        assert point is None or is_small(point)


def test_a_second_spelling_of_a_signature_is_refused() -> None:
    key = Ed25519PrivateKey.from_private_bytes(bytes(32))
    public, signature = key.public_key().public_bytes_raw(), key.sign(b"text")
    s = int.from_bytes(signature[32:], "little")
    for times in range(1, 15):
        more = s + times * L
        if more < 2**256:
            again = signature[:32] + more.to_bytes(32, "little")
            assert not both(public, b"text", again)
            assert not library(public, b"text", again)
    for length in (0, 63, 65):
        assert not both(public, b"text", (signature + b"\0")[:length])
    assert not both(public[:31], b"text", signature)


def test_a_key_of_small_order_signs_nothing() -> None:
    # With such a key, R = [s]B is right for every text whose hash is a multiple of eight: here, of many.
    accepted_elsewhere = 0
    for point in TORSION:
        assert is_small(point)
        public = write_point(point)
        for number in range(24):
            signature = write_point(multiply(number + 1, BASE)) + (number + 1).to_bytes(32, "little")
            assert not both(public, b"pay", signature)
            accepted_elsewhere += library(public, b"pay", signature)
    assert accepted_elsewhere, "the test does not show what it is about"


def test_a_key_in_its_second_spelling_is_refused() -> None:
    for y in range(19):
        for odd in (0, 1):
            encoded = (y + P | odd << 255).to_bytes(32, "little")
            assert read_point(encoded) is None
            assert not both(encoded, b"text", bytes(64))
    for encoded in (1, P - 1):  # x is 0, and has no sign
        assert read_point((encoded | 1 << 255).to_bytes(32, "little")) is None


def test_r_in_its_second_spelling_is_refused() -> None:
    # R = [0]B + [k]A with A of small order would be 1; p + 1 is another spelling of it.
    neutral = write_point(NEUTRAL)
    again = (1 + P).to_bytes(32, "little")
    key = Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key().public_bytes_raw()
    for r in (neutral, again):
        assert both(key, b"text", r + bytes(32)) == library(key, b"text", r + bytes(32))


def test_a_key_with_a_part_of_small_order_gets_the_library_s_answer() -> None:
    answers = set()
    for number in range(1, 40):
        secret = 1234567 * number
        mixed = write_point(add_points(multiply(secret, BASE), TORSION[number % 8]))
        r = write_point(multiply(99, BASE))
        k = int.from_bytes(hashlib.sha512(r + mixed + b"text").digest(), "little") % L
        signature = r + ((99 + k * secret) % L).to_bytes(32, "little")
        answer = both(mixed, b"text", signature)
        assert answer == library(mixed, b"text", signature)
        answers.add(answer)
    assert answers == {True, False}
