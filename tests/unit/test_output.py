"""Captured output: bounded, masked whatever the pieces were, and digested as it was kept."""

from __future__ import annotations

import itertools
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimrun.canonical import digest_bytes
from mimrun.output import KEPT, Output, Stream
from mimrun.secret import MASK, Masker, Secret

# Few letters, so that secrets overlap, repeat and are cut in two often.
LETTERS = st.text("ab*", max_size=60)
VALUES = st.lists(st.text("ab*", min_size=4, max_size=9), max_size=3)


def fed(masker: Masker, pieces: list[bytes], kept: int = KEPT) -> Stream:
    stream = Stream(masker, kept)
    for piece in pieces:
        stream.feed(piece)
    stream.finish()
    return stream


@given(VALUES, LETTERS, st.lists(st.integers(0, 60)))
def test_where_the_stream_is_cut_makes_no_difference(values: list[str], text: str, cuts: list[int]) -> None:
    masker = Masker(map(Secret, values))
    data = text.encode()
    edges = [0, *sorted(cuts), len(data)]
    stream = fed(masker, [data[a:b] for a, b in itertools.pairwise(edges)])
    whole = masker.mask(data)
    assert stream.text() == whole.decode()
    assert stream.digest == digest_bytes(whole)
    assert stream.size == len(whole)


def test_a_secret_fed_byte_by_byte_is_masked() -> None:
    stream = fed(Masker([Secret("correct horse")]), [bytes([b]) for b in b"say correct horse now"])
    assert stream.text() == f"say {MASK} now"


def test_a_longer_secret_is_not_bared_by_a_shorter_one_that_comes_first() -> None:
    stream = fed(Masker([Secret("word"), Secret("passwords")]), [b"pass", b"word", b"s!"])
    assert stream.text() == f"{MASK}!"


def test_a_secret_that_never_ends_costs_no_memory() -> None:
    stream = Stream(Masker([Secret("aaaa")]), kept=64)
    for _ in range(100):
        stream.feed(b"a" * 100)
    assert len(stream._pending) < 100
    stream.finish()
    assert stream.text() == MASK


@given(st.binary(max_size=200), st.integers(1, 30))
def test_head_and_tail_are_kept_and_the_middle_is_counted(data: bytes, kept: int) -> None:
    data = data.replace(b"[", b"(")
    stream = fed(Masker(), [data[i : i + 7] for i in range(0, len(data), 7)], kept)
    assert stream.size == len(data)
    assert stream.digest == digest_bytes(data)
    left_out = len(data) - 2 * kept
    if left_out <= 0:
        assert stream.text() == data.decode("utf-8", "backslashreplace")
    else:
        gap = f"\n[... {left_out} bytes left out ...]\n".encode()
        assert stream.text() == (data[:kept] + gap + data[-kept:]).decode("utf-8", "backslashreplace")


def test_a_target_that_never_stops_talking_costs_a_fixed_amount() -> None:
    stream = Stream(Masker([Secret("correct horse")]), kept=1000)
    piece = b"x" * 997
    for _ in range(1000):
        stream.feed(piece)
    assert len(stream._head) + len(stream._tail) + len(stream._pending) <= 4 * 1000 + len(piece)
    assert stream.size + len(stream._pending) == 997_000


def test_a_secret_on_the_edge_of_what_is_kept_is_masked_before_it_is_cut() -> None:
    stream = fed(Masker([Secret("correct horse")]), [b"12345 correct horse and the rest of it"], kept=8)
    assert "corr" not in stream.text()
    assert stream.text().startswith("12345 **")


def test_finishing_again_adds_nothing() -> None:
    stream = fed(Masker([Secret("correct horse")]), [b"corr"])
    stream.finish()
    assert stream.text() == "corr"
    assert stream.size == 4


def test_bytes_that_are_not_text_are_shown_escaped() -> None:
    assert fed(Masker(), [b"\xff\x00ok"]).text() == "\\xff\x00ok"


def test_output_takes_both_streams_from_many_threads() -> None:
    output = Output(Masker([Secret("correct horse")]))

    def talk() -> None:
        for _ in range(50):
            output.feed(b"correct horse\n", b"err\n")

    threads = [threading.Thread(target=talk) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    output.finish()
    assert output.stdout.text() == f"{MASK}\n" * 200
    assert output.stderr.text() == "err\n" * 200


@pytest.mark.parametrize("piece", [b"", b"\n"])
def test_an_empty_or_tiny_stream_has_a_digest(piece: bytes) -> None:
    assert fed(Masker([Secret("correct horse")]), [piece]).digest == digest_bytes(piece)
