from __future__ import annotations

import base64
import random
import textwrap
import time
import zlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimrun.errors import InputError
from mimrun.gate.armour import LARGEST, armour, is_written, unarmour


@given(st.binary(max_size=2000), st.integers(8, 90), st.integers(0, 3), st.booleans())
def test_data_survives_wrapping_quoting_and_line_ends(
    data: bytes, width: int, depth: int, returns: bool
) -> None:
    text = armour("APPROVAL", data)
    lines = [part for line in text.splitlines() for part in textwrap.wrap(line, width)]
    end = "\r\n" if returns else " \n"
    hurt = "hello - all\n" + "".join(f"{'> ' * depth}{line}{end}" for line in lines) + "\n-- \nbye"
    assert unarmour("APPROVAL", hurt) == data


@given(st.binary(min_size=20, max_size=300), st.integers(0), st.sampled_from("Aa+/9"))
def test_a_changed_character_never_makes_other_data(data: bytes, place: int, other: str) -> None:
    text = armour("APPROVAL", data)
    start, end = text.index("\n") + 1, text.index("\n", text.index("\n") + 1)
    at = start + place % (end - start)
    changed = text[:at] + other + text[at + 1 :]
    read = data
    with suppress(InputError):  # but a bit that base64 or deflate leaves unused changes nothing
        read = unarmour("APPROVAL", changed)
    assert read == data


def test_of_two_kinds_only_the_one_that_is_asked_for_is_found() -> None:
    both = armour("APPROVAL REQUEST", b"ask") + "quoted above\n" + armour("APPROVAL", b"answer")
    assert unarmour("APPROVAL REQUEST", both) == b"ask"
    assert unarmour("APPROVAL", both) == b"answer"
    with pytest.raises(InputError, match="the other half"):
        unarmour("APPROVAL", armour("APPROVAL REQUEST", b"ask"))


def test_the_same_twice_is_one_and_two_different_ones_are_refused() -> None:
    one, two = armour("APPROVAL", b"one"), armour("APPROVAL", b"two")
    assert unarmour("APPROVAL", one + one) == b"one"
    with pytest.raises(InputError, match="holds 2"):
        unarmour("APPROVAL", one + two)


def test_what_unpacks_to_very_much_is_refused() -> None:
    text = armour("APPROVAL", b"")
    bomb = base64.b64encode(zlib.compress(b"\0" * (LARGEST + 1), 9)).decode()
    with pytest.raises(InputError, match="larger than"):
        unarmour("APPROVAL", text.replace(text.splitlines()[1], bomb))


@pytest.mark.parametrize("text", ["-" * 300_000, "-----BEGIN MIMRUN APPROVAL-----" * 20_000, "> " * 300_000])
def test_a_text_made_to_be_slow_is_looked_through_quickly(text: str) -> None:
    began = time.process_time()
    with pytest.raises(InputError):
        unarmour("APPROVAL", text)
    assert not is_written("something", text)
    assert time.process_time() - began < 10


def test_what_stands_around_is_compared_whatever_a_chat_made_of_it() -> None:
    said = "run 'a' - now...\nand \"then\""
    chat = "> run \u2018a\u2019 \u2014 now\u2026 and\n> \u201cthen\u201d\n\n" + armour("APPROVAL", b"x")
    assert is_written(said, chat)
    assert not is_written(said, chat.replace("now", "not"))


def test_random_texts_hold_nothing() -> None:
    chance = random.Random(7)
    for _ in range(200):
        text = "".join(chance.choices("-BEGINMRUAPOVL \n>=+", k=200))
        with pytest.raises(InputError):
            unarmour("APPROVAL", text)
