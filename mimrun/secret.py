"""Secrets: values that must reach a target and nothing else.

A `Secret` does not show itself in `repr`, in JSON or in a format string. A `Masker` takes the known
secrets out of everything that is captured, before it is cut to size and before any sink sees it.
"""

from __future__ import annotations

import base64
import json
import os
import re
import urllib.parse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NoReturn

from mimrun.errors import SettingsError

MASK: Final = "*****"
SHORTEST: Final = 4
"""Values shorter than this are not masked: they would blank out ordinary text."""


class Secret:
    """A value that is used and never shown."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Give the value. Every call of this is a place to look at in a review."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({MASK!r})"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __deepcopy__(self, memo: dict[int, object]) -> Secret:
        return self

    def __reduce__(self) -> NoReturn:
        # A pickle is a file or a message to another process: a sink.
        raise TypeError("a secret is not pickled; give the reference, and read it where it is used")


def read_secret(reference: str) -> Secret:
    """Fetch the secret that a reference names.

    Arguments:
        reference: `env:NAME` for an environment variable, `file:PATH` for the first line of a file.

    Raises:
        SettingsError: the reference is not one of these, names nothing, or names an empty value.
    """
    kind, _, name = reference.partition(":")
    if kind not in ("env", "file") or not name:
        raise SettingsError(f"secret {reference!r}: write env:NAME or file:PATH")
    value = _from_environment(reference, name) if kind == "env" else _from_file(reference, name)
    if not value:
        raise SettingsError(f"secret {reference!r}: it is empty")
    return Secret(value)


def _from_environment(reference: str, name: str) -> str:
    value = os.environ.get(name)
    if value is None:
        raise SettingsError(f"secret {reference!r}: the environment has no variable {name}")
    return value


def _from_file(reference: str, name: str) -> str:
    try:
        return Path(name).expanduser().read_text("utf-8").split("\n", 1)[0].removesuffix("\r")
    except (OSError, UnicodeDecodeError, RuntimeError, ValueError) as exc:
        raise SettingsError(f"secret {reference!r}: {_reason(exc)}") from exc


def _reason(exc: Exception) -> str:
    # A decoding error would quote the content.
    return "it is not UTF-8 text" if isinstance(exc, UnicodeDecodeError) else str(exc)


class Masker:
    """Replaces known secrets in text and bytes, in every encoding that a log is likely to hold them in."""

    def __init__(self, secrets: Iterable[Secret] = ()) -> None:
        forms = {form for secret in secrets for form in _forms(secret.reveal())}
        self._forms = sorted(forms, key=len, reverse=True)
        self.longest = len(self._forms[0]) if self._forms else 0
        """Length in bytes of the longest form; a stream keeps this much back between two pieces."""

    def spans(self, data: bytes) -> list[tuple[int, int]]:
        """Give where secrets stand, as sorted (start, end) that do not overlap.

        Secrets that overlap in the data make one span, so that masking one never bares the rest of
        another.
        """
        found = sorted(span for form in self._forms for span in _occurrences(form, data))
        spans: list[tuple[int, int]] = []
        for start, end in found:
            if spans and start < spans[-1][1]:
                spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
            else:
                spans.append((start, end))
        return spans

    def mask(self, data: bytes) -> bytes:
        """Give the bytes with every form of every secret replaced by `*****`."""
        return blank(data, self.spans(data))

    def mask_text(self, text: str) -> str:
        """Give the text with every form of every secret replaced by `*****`."""
        if not self._forms:
            return text
        return self.mask(_bytes(text)).decode("utf-8", "replace")


def blank(data: bytes, spans: Iterable[tuple[int, int]]) -> bytes:
    """Give the bytes with each span replaced by `*****`."""
    kept, at = bytearray(), 0
    for start, end in spans:
        kept += data[at:start] + MASK.encode()
        at = end
    return bytes(kept + data[at:])


def _occurrences(form: bytes, data: bytes) -> Iterator[tuple[int, int]]:
    """Find every occurrence, also those that overlap each other."""
    at = data.find(form)
    while at >= 0:
        yield at, at + len(form)
        at = data.find(form, at + 1)


def _bytes(text: str) -> bytes:
    """The bytes of a text, also of one that the operating system gave and that is not UTF-8."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _forms(value: str) -> set[bytes]:
    """Plain, quoted for a shell, JSON-escaped (JSON within JSON, too), URL-encoded, base64 and hexadecimal.

    base64 at each of its three alignments.
    """
    if len(value) < SHORTEST:
        return set()
    raw = _bytes(value)
    in_shell = value.replace("'", "'\"'\"'")  # as shlex.quote writes it
    quoted = {
        urllib.parse.quote(raw, safe="").encode(),
        urllib.parse.quote(raw).encode(),
        urllib.parse.quote_plus(raw).encode(),
    }
    forms = {
        raw,
        _bytes(in_shell),
        json.dumps(in_shell)[1:-1].encode(),
        json.dumps(value)[1:-1].encode(),
        json.dumps(json.dumps(value)[1:-1])[1:-1].encode(),
        _bytes(json.dumps(value, ensure_ascii=False)[1:-1]),
        *quoted,
        *(re.sub(rb"%[0-9A-F]{2}", lambda m: m[0].lower(), form) for form in quoted),
        raw.hex().encode(),
        raw.hex().upper().encode(),
    }
    return {form for form in forms.union(_base64_forms(raw)) if form}


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
