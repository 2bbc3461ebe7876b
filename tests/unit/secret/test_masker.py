"""Secrets: canaries in every encoding and at every alignment, and none may come through."""

from __future__ import annotations

import base64
import json
import urllib.parse
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mimrun.secret import MASK, SHORTEST, Masker, Secret

CANARY = 'Tr0ub4dor & "3"/ä+\\n?'
SECRETS = st.text(st.characters(exclude_categories=("Cs",)), min_size=8, max_size=40)

ENCODINGS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "json": lambda s: json.dumps(s)[1:-1],
    "json in UTF-8": lambda s: json.dumps(s, ensure_ascii=False)[1:-1],
    "url": lambda s: urllib.parse.quote(s, safe=""),
    "url path": urllib.parse.quote,
    "form": urllib.parse.quote_plus,
    "url in lower case": lambda s: _lower_escapes(urllib.parse.quote(s, safe="")),
    "a shell's quotes": lambda s: s.replace("'", "'\"'\"'"),
    "JSON in JSON": lambda s: json.dumps(json.dumps(s)[1:-1])[1:-1],
    "hex": lambda s: s.encode().hex(),
    "hex in upper case": lambda s: s.encode().hex().upper(),
}


def _lower_escapes(text: str) -> str:
    parts = text.split("%")
    return parts[0] + "".join("%" + part[:2].lower() + part[2:] for part in parts[1:])


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(secret=SECRETS)
@example(secret=CANARY)
def test_a_secret_is_masked_in_every_encoding(encoding: str, secret: str) -> None:
    shown = ENCODINGS[encoding](secret)
    assert Masker([Secret(secret)]).mask_text(f"<{shown}>") == f"<{MASK}>"


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@given(secret=SECRETS, before=st.binary(max_size=5), after=st.binary(max_size=5))
@example(secret=CANARY, before=b"alex:", after=b"")
def test_a_secret_is_masked_inside_base64_at_every_alignment(
    encode: Callable[[bytes], bytes], secret: str, before: bytes, after: bytes
) -> None:
    raw = secret.encode()
    shown = encode(before + raw + after)
    masked = Masker([Secret(secret)]).mask(shown)
    assert MASK.encode() in masked
    # Of the secret's bytes no more than the one at each edge that shares a character with its neighbour
    # can still be read.
    left = masked.split(MASK.encode())
    assert len(b"".join(left).rstrip(b"=")) <= len(shown.rstrip(b"=")) - (len(raw) * 4 // 3 - 4)


def test_a_basic_authorization_header_is_masked() -> None:
    header = "Authorization: Basic " + base64.b64encode(f"alex:{CANARY}".encode()).decode()
    masked = Masker([Secret(CANARY)]).mask_text(header)
    assert MASK in masked
    assert CANARY.encode() not in base64.b64decode(masked.split()[-1].replace("*", "A") + "==")


@given(st.lists(SECRETS, min_size=1, max_size=4), st.data())
def test_nothing_of_overlapping_secrets_is_bared(values: list[str], data: st.DataObject) -> None:
    masker = Masker(map(Secret, values))
    pieces = data.draw(
        st.lists(st.sampled_from([*values, "-", *[v[:3] for v in values], *[v[3:] for v in values]]))
    )
    masked = masker.mask_text("".join(pieces)).replace(MASK, "\0")
    assert not [v for v in values if v in masked and "\0" not in v]


def test_secrets_that_overlap_are_masked_as_one() -> None:
    masker = Masker([Secret("abcd-efgh"), Secret("efgh-ijkl"), Secret("fghi")])
    assert masker.mask_text("(abcd-efgh-ijkl)") == f"({MASK})"


def test_a_secret_within_a_secret_is_masked_whole() -> None:
    assert Masker([Secret("word"), Secret("passwords")]).mask_text("passwords word") == f"{MASK} {MASK}"


def test_a_value_too_short_to_be_a_secret_leaves_text_alone() -> None:
    assert Masker([Secret("a" * (SHORTEST - 1)), Secret("")]).mask_text("aaaaa") == "aaaaa"
    assert Masker([Secret("a" * SHORTEST)]).mask_text("aaaa!") == f"{MASK}!"


@given(st.text(), SECRETS)
def test_text_without_the_secret_stays_as_it_is(text: str, secret: str) -> None:
    masker = Masker([Secret(secret)])
    if not masker.spans(text.encode("utf-8", "surrogatepass")):
        assert masker.mask(text.encode("utf-8", "surrogatepass")) == text.encode("utf-8", "surrogatepass")


def test_a_secret_that_is_not_utf8_is_masked_too() -> None:
    raw = b"caf\xe9-secret"
    assert Masker([Secret(raw.decode("utf-8", "surrogateescape"))]).mask(b"<" + raw + b">") == b"<*****>"
    assert Masker([Secret("lone \ud800 surrogate")]).mask(b"nothing here") == b"nothing here"
