"""Secrets: canaries in every encoding and at every alignment, and none may come through."""

from __future__ import annotations

import base64
import copy
import json
import pickle
import urllib.parse
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mimrun.errors import SettingsError
from mimrun.secret import MASK, SHORTEST, Masker, Secret, read_secret

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


def test_a_secret_does_not_show_itself() -> None:
    secret = Secret(CANARY)
    for shown in (repr(secret), str(secret), f"{secret}", "%s" % secret, repr([secret])):  # noqa: UP031 - this way too
        assert CANARY not in shown
        assert MASK in shown
    with pytest.raises(TypeError):
        json.dumps(secret)
    assert secret.reveal() == CANARY


def test_a_secret_cannot_be_pickled_to_a_file_by_accident() -> None:
    with pytest.raises(TypeError, match="secret"):
        pickle.dumps([Secret(CANARY)])


def test_a_copy_of_a_secret_is_the_secret() -> None:
    assert copy.deepcopy({"password": Secret(CANARY)}) == {"password": Secret(CANARY)}


def test_secrets_compare_by_value() -> None:
    assert Secret("one") == Secret("one")
    assert Secret("one") != Secret("two")
    assert Secret("one") != "one"
    assert len({Secret("one"), Secret("one")}) == 1


def test_a_secret_is_read_from_the_environment_or_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_PASSWORD", CANARY)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "password").write_bytes(b"first line\r\nsecond line\n")
    assert read_secret("env:LAB_PASSWORD").reveal() == CANARY
    assert read_secret(f"file:{tmp_path}/password").reveal() == "first line"
    assert read_secret("file:~/password").reveal() == "first line"


@pytest.mark.parametrize(
    ("reference", "why"),
    [
        ("env:NOT_THERE", "no variable NOT_THERE"),
        ("env:EMPTY", "it is empty"),
        ("file:/not/there", "No such file"),
        ("file:~nobody-of-this-name/x", "home"),
        ("file:a\0b", "null"),
        ("hunter2", "write env:NAME or file:PATH"),
        ("env:", "write env:NAME or file:PATH"),
        ("vault:x", "write env:NAME or file:PATH"),
        ("", "write env:NAME or file:PATH"),
    ],
)
def test_a_reference_that_names_nothing_is_refused(
    reference: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOT_THERE", raising=False)
    monkeypatch.setenv("EMPTY", "")
    with pytest.raises(SettingsError, match=why):
        read_secret(reference)


def test_a_file_that_is_not_text_is_refused_without_quoting_it(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"hidden\xff")
    with pytest.raises(SettingsError, match="not UTF-8") as caught:
        read_secret(f"file:{tmp_path}/key")
    assert "hidden" not in str(caught.value)
    assert "0xff" not in str(caught.value)
