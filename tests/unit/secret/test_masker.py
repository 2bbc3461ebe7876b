"""Secrets: canaries in every encoding and at every alignment, and none may come through."""

from __future__ import annotations

import base64
import html
import json
import random
import re
import shlex
import urllib.parse
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from xml.sax import saxutils

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mimrun.secret import MASK, SHORTEST, Masker, Secret
from mimrun.secret import masker as masker_module
from mimrun.secret.form import forms_of

CANARY = 'Tr0ub4dor & "3"/ä+\\n?'
SPITEFUL = "a'b\"c\\d<e>f&g/h+i~j$k`l!m*n%o #p"
SECRETS = st.text(st.characters(exclude_categories=("Cs",)), min_size=8, max_size=40)

ENCODINGS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "json": lambda s: json.dumps(s)[1:-1],
    "json in UTF-8": lambda s: json.dumps(s, ensure_ascii=False)[1:-1],
    "json as PHP writes it": lambda s: json.dumps(s)[1:-1].replace("/", "\\/"),
    "json as Go writes it": lambda s: _go_json(s),  # noqa: PLW0108 - it is defined below
    "json as .NET writes it": lambda s: _go_json(s).replace("'", "\\u0027").replace("+", "\\u002B"),
    "json in json": lambda s: json.dumps(json.dumps(s)[1:-1])[1:-1],
    "json in json in UTF-8": lambda s: json.dumps(json.dumps(s), ensure_ascii=False)[3:-3],
    "url": lambda s: urllib.parse.quote(s, safe=""),
    "url path": urllib.parse.quote,
    "form": urllib.parse.quote_plus,
    "encodeURIComponent": lambda s: urllib.parse.quote(s, safe="-_.!~*'()"),
    "url in url": lambda s: urllib.parse.quote(urllib.parse.quote(s, safe=""), safe=""),
    "url in lower case": lambda s: _lower_escapes(urllib.parse.quote(s, safe="")),
    "url in changing case": lambda s: _changing_escapes(urllib.parse.quote(s, safe="")),
    "html": html.escape,
    "html of Jinja": lambda s: html.escape(s).replace("&quot;", "&#34;").replace("&#x27;", "&#39;"),
    "html of PHP": lambda s: html.escape(s).replace("&#x27;", "&#039;"),
    "text in XML": saxutils.escape,
    "attribute in XML": lambda s: saxutils.escape(s, {'"': "&quot;", "'": "&apos;"}),
    "a shell's quotes": lambda s: s.replace("'", "'\"'\"'"),
    "a shell's quotes, as set -x writes them": lambda s: s.replace("'", "'\\''"),
    "a shell's quotes in JSON": lambda s: json.dumps(shlex.quote(f" {s}"))[3:-2],
    "a shell's double quotes": lambda s: re.sub(r'(["$`\\])', r"\\\1", s),
    "SQL": lambda s: s.replace("'", "''"),
    "CSV": lambda s: s.replace('"', '""'),
    "repr": lambda s: repr(s)[1:-1],
    "repr of bytes": lambda s: repr(s.encode())[2:-1],
    "hex": lambda s: s.encode().hex(),
    "hex in upper case": lambda s: s.encode().hex().upper(),
    "hex in changing case": lambda s: _changing(s.encode().hex()),
    "hex with colons": lambda s: s.encode().hex(":"),
    "hex with blanks": lambda s: s.encode().hex(" "),
}


def _go_json(text: str) -> str:
    """As encoding/json does with EscapeHTML, which is its default."""
    escaped = json.dumps(text, ensure_ascii=False)[1:-1]
    return escaped.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _changing(text: str) -> str:
    return "".join(letter.upper() if n % 3 else letter.lower() for n, letter in enumerate(text))


def _changing_escapes(text: str) -> str:
    parts = text.split("%")
    changed = ("%" + _changing(part[:2] + "x")[:2] + part[2:] for part in parts[1:])
    return parts[0] + "".join(changed)


def _lower_escapes(text: str) -> str:
    parts = text.split("%")
    return parts[0] + "".join("%" + part[:2].lower() + part[2:] for part in parts[1:])


@pytest.mark.parametrize("encoding", ENCODINGS)
@settings(max_examples=40)
@given(secret=SECRETS)
@example(secret=CANARY)
@example(secret=SPITEFUL)
def test_a_secret_is_masked_in_every_encoding(encoding: str, secret: str) -> None:
    shown = ENCODINGS[encoding](secret)
    assert Masker([Secret(secret)]).mask_text(f"({shown})") == f"({MASK})"


@pytest.mark.parametrize("before", ["", "x", "xy"])
def test_a_secret_is_masked_in_base64_of_what_a_service_was_given(before: str) -> None:
    secret = "Zq8/v+K&'\"<core-of-it>$x"
    bodies = [
        json.dumps({before: secret}),
        urllib.parse.urlencode({f"a{before}": secret}),
        f"{before}{secret}",
    ]
    for body in bodies:
        masked = Masker([Secret(secret)]).mask(base64.b64encode(body.encode()))
        assert b"*****" in masked, body
        for packed in masked.split(b"*****"):
            assert b"core-of-it" not in base64.b64decode(packed[: len(packed) // 4 * 4])


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


@given(secret=SECRETS, before=st.binary(max_size=5), after=st.binary(max_size=5))
def test_a_secret_is_masked_in_what_powershell_packs(secret: str, before: bytes, after: bytes) -> None:
    """`powershell -EncodedCommand` takes base64 of UTF-16."""
    raw = secret.encode("utf-16-le")
    masked = Masker([Secret(secret)]).mask(base64.b64encode(before + raw + after))
    left = b"".join(masked.split(MASK.encode())).rstrip(b"=")
    assert len(left) <= (len(before) + len(after) + 4) * 4 // 3 + 4


def test_a_secret_is_masked_in_a_file_of_windows() -> None:
    data = f"user=alex\r\npassword={CANARY}\r\n".encode("utf-16")
    assert CANARY.encode("utf-16-le") not in Masker([Secret(CANARY)]).mask(data)


KEY_BODY = [base64.b64encode(random.Random(7).randbytes(48)).decode() for _ in range(24)]
KEY = "\n".join(["-----BEGIN PRIVATE KEY-----", *KEY_BODY, "-----END PRIVATE KEY-----", ""])


@pytest.mark.parametrize(
    "shown",
    [
        KEY,
        KEY.strip(),
        KEY.replace("\n", "\r\n"),
        KEY.replace("\n", "\n    "),
        KEY.replace("\n", "\n2026-01-01T00:00:00Z host app: "),
        json.dumps(KEY),
        json.dumps({"key": KEY.replace("\n", "\r\n")}),
        json.dumps(json.dumps(KEY)),
        json.dumps(KEY.splitlines()),
        repr(KEY),
        urllib.parse.quote(KEY),
        urllib.parse.urlencode({"key": KEY}),
        base64.b64encode(KEY.encode()).decode(),
        base64.encodebytes(KEY.encode()).decode(),
        base64.b64encode(b"x" + KEY.strip().encode() + b"yz").decode(),
        KEY.encode().hex(),
        "\n".join(reversed(KEY.splitlines())),
    ],
)
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_nothing_of_a_key_of_many_lines_is_shown(shown: str, ending: str) -> None:
    masked = Masker([Secret(KEY.replace("\n", ending))]).mask_text(shown)
    pieces = [line[at : at + 8] for line in KEY_BODY for at in range(len(line) - 8)]
    raw = KEY.encode()
    for form in (raw.hex(), *(base64.b64encode(b"x" * n + raw).decode()[4:-4] for n in range(3))):
        pieces += [form[at : at + 16] for at in range(len(form) - 16)]
    assert not [piece for piece in pieces if piece in masked]


def test_lines_that_hold_no_secret_are_left_alone() -> None:
    masker = Masker([Secret(KEY), Secret("one\ntwo\nlonger-than-that")])
    for text in ("-----BEGIN PRIVATE KEY-----", "one or two", "-----END PRIVATE KEY-----"):
        assert masker.mask_text(text) == text
    assert masker.mask_text("(longer-than-that)") == f"({MASK})"


@pytest.mark.parametrize("value", ["hunter2-Zq8\n", " hunter2-Zq8", "hunter2-Zq8\r\n"])
def test_a_secret_is_masked_without_the_white_space_around_it(value: str) -> None:
    assert Masker([Secret(value)]).mask_text("(hunter2-Zq8)") == f"({MASK})"


def test_a_masker_learns_while_it_is_used() -> None:
    masker = Masker([Secret("first-secret")])
    assert masker.mask_text("first-secret second-secret") == f"{MASK} second-secret"
    before = masker.longest
    masker.learn(Secret("second-secret"), Secret("first-secret"))
    assert masker.mask_text("first-secret second-secret") == f"{MASK} {MASK}"
    assert masker.longest > before


def test_learning_from_many_threads_loses_nothing() -> None:
    masker = Masker()
    values = [f"value-number-{n}" for n in range(64)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda value: masker.learn(Secret(value)), values))
    assert masker.mask_text(" ".join(values)) == " ".join([MASK] * 64)


# Few letters, so that forms overlap, repeat and begin alike.
NARROW = st.text("abA/", min_size=4, max_size=12)


@given(st.lists(NARROW, min_size=1, max_size=4), st.text("abA/%2fF ", max_size=80))
def test_every_place_is_found_that_a_plain_search_finds(values: list[str], text: str) -> None:
    masker, data = Masker(map(Secret, values)), text.encode()
    covered = [False] * len(data)
    for value in values:
        forms = forms_of(value)
        for hay, needles in ((data, forms.exact), (data.lower(), forms.folded)):
            for needle in needles:
                for at in range(len(hay)):
                    if hay.startswith(needle, at):
                        covered[at : at + len(needle)] = [True] * len(needle)
    found = [False] * len(data)
    for start, end in masker.spans(data):
        found[start:end] = [True] * (end - start)
    assert found == covered


def test_more_secrets_than_one_search_takes_are_all_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masker_module, "IN_ONE_PASS", 7)
    values = [f"{n}-value-{n}" for n in range(20)]
    assert Masker(map(Secret, values)).mask_text(" ".join(values)) == " ".join([MASK] * 20)
