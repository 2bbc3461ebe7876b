"""Secrets: values that must reach a target and nothing else.

A `Secret` does not show itself in `repr`, in JSON or in a format string. A `Masker` takes the known
secrets out of everything that is captured, before it is cut to size and before any sink sees it.
"""

from __future__ import annotations

import base64
import json
import os
import urllib.parse
from collections.abc import Iterable
from pathlib import Path
from typing import Final

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


def read_secret(reference: str) -> Secret:
    """Fetch the secret that a reference names.

    Arguments:
        reference: `env:NAME` for an environment variable, `file:PATH` for the first line of a file.

    Raises:
        SettingsError: the reference is not one of these, or names nothing.
    """
    kind, _, name = reference.partition(":")
    if kind == "env" and name:
        value = os.environ.get(name)
        if value is None:
            raise SettingsError(f"secret {reference!r}: the environment has no variable {name}")
        return Secret(value)
    if kind == "file" and name:
        try:
            return Secret(Path(name).expanduser().read_text("utf-8").split("\n", 1)[0])
        except (OSError, UnicodeDecodeError) as exc:
            raise SettingsError(f"secret {reference!r}: {exc}") from exc
    raise SettingsError(f"secret {reference!r}: write env:NAME or file:PATH")


class Masker:
    """Replaces known secrets in text and bytes, in every encoding that a log is likely to hold them in."""

    def __init__(self, secrets: Iterable[Secret] = ()) -> None:
        forms = {form for secret in secrets for form in _forms(secret.reveal())}
        # Longest first: a secret that contains another one is masked whole.
        self._forms = sorted(forms, key=len, reverse=True)
        self.longest = len(self._forms[0]) if self._forms else 0
        """Length in bytes of the longest form; a stream keeps this much back between two pieces."""

    def mask(self, data: bytes) -> bytes:
        """Give the bytes with every form of every secret replaced by `*****`."""
        for form in self._forms:
            if form in data:
                data = data.replace(form, MASK.encode())
        return data

    def mask_text(self, text: str) -> str:
        """Give the text with every form of every secret replaced by `*****`."""
        if not self._forms:
            return text
        return self.mask(text.encode("utf-8", "surrogatepass")).decode("utf-8", "replace")


def _forms(value: str) -> set[bytes]:
    """Plain, JSON-escaped, URL-encoded, base64 (at each of its three alignments) and hexadecimal."""
    if len(value) < SHORTEST:
        return set()
    raw = value.encode("utf-8")
    forms = {
        raw,
        json.dumps(value)[1:-1].encode(),
        json.dumps(value, ensure_ascii=False)[1:-1].encode(),
        urllib.parse.quote(value, safe="").encode(),
        urllib.parse.quote(value).encode(),
        urllib.parse.quote_plus(value).encode(),
        raw.hex().encode(),
    }
    for shift in range(3):
        # Inside a longer base64 text the value may start at any of three offsets; the characters at
        # both ends mix with the neighbours, so only the middle is the secret's own.
        head, tail = (0, 2, 3)[shift], (len(raw) + shift) % 3
        for encoded in (
            base64.b64encode(b"\0" * shift + raw),
            base64.urlsafe_b64encode(b"\0" * shift + raw),
        ):
            form = encoded[head : len(encoded) - (0, 3, 2)[tail]]
            if len(form) >= SHORTEST + 2:
                forms.add(form)
    return {f for f in forms if f}
