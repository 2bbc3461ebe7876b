"""`~.` at the beginning of a line leaves a session; everything else goes through as it was typed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimrun.cli.shell import Escape


@pytest.mark.parametrize(
    ("typed", "sent", "leaves"),
    [
        (b"~.", b"", True),
        (b"ls\r~.", b"ls\r", True),
        (b"ls\n~.more", b"ls\n", True),
        (b"cd ~.", b"cd ~.", False),
        (b"~~.", b"~.", False),
        (b"~/bin\r", b"~/bin\r", False),
        (b"\r~\r~.", b"\r~\r", True),
        (b"a~b~.", b"a~b~.", False),
    ],
)
def test_only_a_tilde_at_the_beginning_of_a_line_means_something(
    typed: bytes, sent: bytes, leaves: bool
) -> None:
    escape = Escape()
    assert (escape.feed(typed), escape.leave) == (sent, leaves)


@given(st.lists(st.sampled_from([b"~", b".", b"a", b"\r", b"\n"]), max_size=12))
def test_keys_that_come_one_by_one_mean_the_same(keys: list[bytes]) -> None:
    whole, single = Escape(), Escape()
    sent = whole.feed(b"".join(keys))
    parts = bytearray()
    for key in keys:
        if not single.leave:
            parts += single.feed(key)
    assert (bytes(parts), single.leave) == (sent, whole.leave)
