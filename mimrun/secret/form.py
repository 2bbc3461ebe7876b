"""Forms: every text in which a log is likely to hold a secret.

A target does not repeat a secret as it was given. It quotes it for a shell, for JSON or for a page, packs
it into base64 with something before it, or shows it line by line.
"""

from __future__ import annotations

import base64
import html
import json
import re
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

SHORTEST: Final = 4
"""Values shorter than this are not masked: they would blank out ordinary text."""

SHORTEST_LINE: Final = 8
"""Shorter lines of a secret with several lines are masked only together with the others."""

_ARMOUR: Final = re.compile(r"-----(BEGIN|END) [^-]*-----")
_WRAPPED_AT: Final = (64, 76)
"""Columns at which base64 is wrapped: RFC 7468 (PEM); RFC 2045 and the program `base64`."""

# What programs leave as it is besides letters, digits and `_.-~`: nothing; a path; JavaScript's
# encodeURIComponent and encodeURI.
_LEFT_IN_URLS: Final = ("", "/", "!'()*", "!'()*;,/?:@&=+$#")

# How pages and XML write quotes and plus signs; `&`, `<` and `>` are written in one way.
_QUOTES_IN_PAGES: Final[tuple[dict[str, str], ...]] = (
    {},
    {'"': "&quot;"},
    {'"': "&quot;", "'": "&#x27;"},
    {'"': "&quot;", "'": "&#39;"},
    {'"': "&quot;", "'": "&#039;"},
    {'"': "&quot;", "'": "&apos;"},
    {'"': "&#34;", "'": "&#39;"},
    {'"': "&#34;", "'": "&#39;", "+": "&#43;"},
)


@dataclass(frozen=True, slots=True)
class Forms:
    """What to look for.

    Arguments:
        exact: these very bytes.
        folded: these bytes with letters of either case; they are given in lower case.
    """

    exact: frozenset[bytes] = frozenset()
    folded: frozenset[bytes] = frozenset()

    def __or__(self, other: Forms) -> Forms:
        return Forms(self.exact | other.exact, self.folded | other.folded)


def forms_of(value: str) -> Forms:
    """Give every form of a secret.

    Plain; quoted for shells, SQL, CSV and Python; JSON-escaped, also twice; URL-encoded, also twice; escaped
    for HTML and XML; hexadecimal; base64 at each alignment, also wrapped, and of UTF-16 as PowerShell
    takes it. Of a secret with several lines, the same with either line ending, and each long line.
    """
    exact: set[bytes] = set()
    folded: set[bytes] = set()
    for text in _variants(value):
        for form in _text_forms(text):
            # Escapes are hexadecimal, and some write it in capitals.
            (folded if re.search(r"%[0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4}", form) else exact).add(to_bytes(form))
        for raw in _packed(text):
            exact.update(_base64_forms(raw))
        exact.add(_utf16(text))
        raw = to_bytes(text)
        folded.update(raw.hex(*sep).encode() for sep in ((), (" ",), (":",)))
    for line in _long_lines(value):
        exact.update(to_bytes(form) for form in _text_forms(line))
    return Forms(frozenset(exact), frozenset(form.lower() for form in folded))


def to_bytes(text: str) -> bytes:
    """Give the bytes of a text, also of one that the operating system gave and that is not UTF-8."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _utf16(text: str) -> bytes:
    return text.encode("utf-16-le", "surrogatepass")


def _variants(value: str) -> set[str]:
    """Give the value with either line ending, with and without the white space around it."""
    with_lf = value.replace("\r\n", "\n")
    known = {value, value.strip(), with_lf, with_lf.strip()}
    known |= {text.replace("\n", "\r\n") for text in (with_lf, with_lf.strip())}
    return {text for text in known if len(text) >= SHORTEST}


def _long_lines(value: str) -> set[str]:
    lines = {line.strip() for line in value.splitlines()}
    if len(lines) == 1:
        return set()
    return {line for line in lines if len(line) >= SHORTEST_LINE and not _ARMOUR.fullmatch(line)}


def _text_forms(text: str) -> set[str]:
    quoted = {text, *_quoted(text)}
    in_json = {form for each in quoted for form in _json(each)}
    twice = {form for each in _json(text) for form in _json(each)}
    return {*quoted, *in_json, *twice, *_escaped_more(text), *_url_forms(text), *_page_forms(text)}


def _quoted(text: str) -> Iterator[str]:
    yield text.replace("'", "'\"'\"'")  # as shlex.quote writes it
    yield text.replace("'", "'\\''")  # as `set -x` of a shell writes it
    yield text.replace("'", "''")  # SQL, PowerShell, YAML
    yield text.replace('"', '""')  # CSV
    yield re.sub(r'(["$`\\])', r"\\\1", text)  # between a shell's double quotes
    yield re.sub(r"([^\w@%+=:,./-])", r"\\\1", text, flags=re.ASCII)  # as printf %q writes it
    yield repr(text)[1:-1]
    yield repr(to_bytes(text))[2:-1]


def _json(text: str) -> set[str]:
    return {json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}


def _escaped_more(text: str) -> set[str]:
    """JSON as PHP, Go and .NET write it, which escape more than they must."""
    forms = _json(text)
    forms |= {form.replace("/", "\\/") for form in forms}
    for escaped in ("<>&", "<>&'", "<>&'+"):
        table = {ord(letter): f"\\u{ord(letter):04x}" for letter in escaped}
        forms |= {form.translate(table) for form in forms}
    return forms


def _url_forms(text: str) -> set[str]:
    raw = to_bytes(text)
    forms = {urllib.parse.quote(raw, safe=safe) for safe in _LEFT_IN_URLS}
    forms |= {urllib.parse.quote_plus(raw), urllib.parse.quote_plus(raw, safe="*").replace("~", "%7E")}
    return forms | {urllib.parse.quote(form, safe="") for form in forms}


def _page_forms(text: str) -> Iterator[str]:
    escaped = html.escape(text, quote=False)
    for quotes in _QUOTES_IN_PAGES:
        yield escaped.translate({ord(letter): written for letter, written in quotes.items()})


def _packed(text: str) -> set[bytes]:
    """What is found in base64: the value, and what a service was given that packs a whole body: JSON, or a form."""
    raw = to_bytes(text)
    in_form = {urllib.parse.quote(raw, safe=""), urllib.parse.quote_plus(raw)}
    return {raw, _utf16(text), *map(to_bytes, _json(text) | in_form)}


def _base64_forms(raw: bytes) -> Iterator[bytes]:
    """The characters of a longer base64 text that are the secret's own.

    The value may start there at any of three offsets, and the characters at both ends mix with its
    neighbours. What is left of a very short value would be too common a text to mask.
    """
    for shift in range(3):
        head, tail = (0, 2, 3)[shift], (0, 3, 2)[(len(raw) + shift) % 3]
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            encoded = encode(b"\0" * shift + raw)
            form = encoded[head : len(encoded) - tail]
            if len(form) >= SHORTEST + 2:
                yield form
                if not shift:
                    yield from _wrapped(form)


def _wrapped(form: bytes) -> Iterator[bytes]:
    for width in _WRAPPED_AT:
        if len(form) > width:
            lines = [form[at : at + width] for at in range(0, len(form), width)]
            yield b"\n".join(lines)
            yield b"\r\n".join(lines)
