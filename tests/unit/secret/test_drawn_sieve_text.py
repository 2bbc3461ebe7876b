"""What is plain text on a terminal is masked in the same way whatever pieces it comes in."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimrun.secret import MASK, DrawnSieve, Masker, Secret

letters = st.text("ab1", min_size=4, max_size=8)


@given(
    secrets=st.lists(letters, min_size=1, max_size=3),
    text=st.lists(st.one_of(letters, st.text("ab1cAB \n", max_size=6)), max_size=12),
    cuts=st.lists(st.integers(0, 80), max_size=12),
)
def test_pieces_make_no_difference(secrets: list[str], text: list[str], cuts: list[int]) -> None:
    masker = Masker(Secret(secret) for secret in secrets)
    data = "".join([*text, *secrets, *text]).encode()
    sieve, at, shown = DrawnSieve(masker, 5000), 0, b""
    for cut in sorted({min(cut, len(data)) for cut in cuts}):
        shown += sieve.feed(data[at:cut])
        at = cut
    shown += sieve.feed(data[at:]) + sieve.finish()
    assert shown == masker.mask(data)
    for secret in secrets:
        assert secret.encode() not in shown.replace(MASK.encode(), b"\0"), (
            "what stood around it is not joined"
        )


KEY = base64.encodebytes(hashlib.shake_256(b"any").digest(1500)).decode()
SAME = "-----BEGIN X-----\n" + "abcdefgh+/" * 400 + "\n-----END X-----"


@pytest.mark.parametrize("secret", [f"-----BEGIN X-----\n{KEY}-----END X-----", SAME, "s3cret-value"])
def test_a_long_secret_is_found_in_single_bytes_and_costs_little(secret: str) -> None:
    masker = Masker([Secret(secret)])
    sieve = DrawnSieve(masker, 5000)
    data = f"before {secret} behind".encode()
    shown = b"".join(sieve.feed(data[at : at + 1]) for at in range(len(data))) + sieve.finish()
    assert shown == b"before ***** behind"


def test_letters_of_either_case_are_one_beginning() -> None:
    secret = "ab/cd?ef"  # in an address: ab%2Fcd%3Fef, also with small letters
    masker = Masker([Secret(secret)])
    for form in (b"ab%2Fcd%3Fef", b"ab%2fcd%3fef"):
        for cut in range(len(form) + 1):
            sieve = DrawnSieve(masker, 5000)
            assert (
                sieve.feed(b"<" + form[:cut]) + sieve.feed(form[cut:] + b">") + sieve.finish() == b"<*****>"
            )


def test_a_masker_that_learns_in_the_middle_masks_from_then_on() -> None:
    masker = Masker()
    sieve = DrawnSieve(masker, 5000)
    assert sieve.feed(b"open sesame-9, ") == b"open sesame-9, "
    masker.learn(Secret("sesame-9"))
    assert sieve.feed(b"sesame") == b""
    assert sieve.feed(b"-9") + sieve.finish() == b"*****"
