"""The masker: takes the secrets it knows out of everything that is captured.

What it costs does not grow with the number of secrets: RE2 looks for the beginnings of all their forms
in one pass, and only where one stands are the forms themselves compared.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, Final

from mimrun.secret.form import Forms, forms_of, to_bytes
from mimrun.secret.value import MASK, Secret

BEGINNING: Final = 6
"""Bytes of a form that are looked for first. Fewer are found too often, more make the search slower."""

IN_ONE_PASS: Final = 4096
"""Beginnings that one search looks for; so many fit well into its memory."""

SEARCH_MEMORY: Final = 32 * 1024 * 1024
"""Bytes that one search may use for what it has learnt of the text."""

_ByBeginning = Mapping[bytes, tuple[bytes, ...]]


class Masker:
    """Replaces known secrets in text and bytes, in every form that a log is likely to hold them in.

    It may learn more secrets while others use it; what is masked from then on is masked with these, too.

    Arguments:
        secrets: what it knows from the start.
    """

    def __init__(self, secrets: Iterable[Secret] = ()) -> None:
        self._lock = threading.Lock()
        self._index = _Index(Forms())
        self.learn(*secrets)

    @property
    def longest(self) -> int:
        """Length in bytes of the longest form; a stream keeps this much back between two pieces."""
        return self._index.longest

    def learn(self, *secrets: Secret) -> None:
        """From here on, mask these secrets too. Safe from several threads."""
        forms = Forms()
        for secret in secrets:
            forms |= forms_of(secret.reveal())
        with self._lock:
            known = self._index.forms | forms
            if known != self._index.forms:
                self._index = _Index(known)

    def spans(self, data: bytes) -> list[tuple[int, int]]:
        """Give where secrets stand, as sorted (start, end) that do not overlap.

        Secrets that overlap in the data make one span, so that masking one never bares the rest of
        another.
        """
        spans: list[tuple[int, int]] = []
        for start, end in self._index.found(data):
            if spans and start < spans[-1][1]:
                spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
            else:
                spans.append((start, end))
        return spans

    def unfinished(self, data: bytes) -> int:
        """Give where the end of the data begins that a secret may begin with; its length where none does.

        What stands before can be masked and let go of: no secret that begins there goes on behind the data.
        """
        return self._index.unfinished(data)

    def beginnings(self, data: bytes, length: int) -> Iterator[int]:
        """Give the places where so many bytes are the beginning of a longer form, in order."""
        return self._index.beginnings(data, length)

    def mask(self, data: bytes) -> bytes:
        """Give the bytes with every form of every secret replaced by `*****`."""
        return blank(data, self.spans(data))

    def mask_text(self, text: str) -> str:
        """Give the text with every form of every secret replaced by `*****`."""
        if not self.longest:
            return text
        return self.mask(to_bytes(text)).decode("utf-8", "replace")


def blank(data: bytes, spans: Iterable[tuple[int, int]]) -> bytes:
    """Give the bytes with each span replaced by `*****`."""
    kept, at = bytearray(), 0
    for start, end in spans:
        kept += data[at:start] + MASK.encode()
        at = end
    return bytes(kept + data[at:])


class _Index:
    """Some forms, ready to be looked for. It does not change."""

    def __init__(self, forms: Forms) -> None:
        self.forms = forms
        self.longest = max(map(len, forms.exact | forms.folded), default=0)

    def found(self, data: bytes) -> Iterator[tuple[int, int]]:
        """Give (start, end) of the longest form at each place where one stands, in order."""
        if len(data) > 0 and self.longest:
            starts: Collection[int] = sorted({s for search in self._searches for s in _starts(search, data)})
            for start in starts:
                end = self._end(data, start)
                if end:
                    yield start, end

    def unfinished(self, data: bytes) -> int:
        """Give the first place from which all of the data is the beginning of a longer form."""
        if not self.longest or not data:
            return len(data)
        tail = data[-(self.longest - 1) :]
        if self._goes_on(tail):  # most often: what was held back before goes on
            return len(data) - len(tail)
        begun = {start for search in self._searches for start in _starts(search, tail)}
        for start in sorted(begun.union(range(max(len(tail) - BEGINNING + 1, 0), len(tail)))):
            if self._goes_on(tail[start:]):
                return len(data) - len(tail) + start
        return len(data)

    def beginnings(self, data: bytes, length: int) -> Iterator[int]:
        """Give the places where so many bytes are the beginning of a longer form, in order."""
        for start in range(len(data) - length + 1):
            if self._goes_on(data[start : start + length]):
                yield start

    def _goes_on(self, data: bytes) -> bool:
        return _begins(self._sorted_exact, data) or _begins(self._sorted_folded, data.lower())

    def _end(self, data: bytes, start: int) -> int:
        """Give where the longest form that begins here ends; 0 where none does."""
        longest = 0
        for length in self._lengths:
            beginning = data[start : start + length]
            for form in self._exact.get(beginning, ()):
                if len(form) > longest and data.startswith(form, start):
                    longest = len(form)
            for form in self._folded.get(beginning.lower(), ()):
                if len(form) > longest and data[start : start + len(form)].lower() == form:
                    longest = len(form)
        return start + longest if longest else 0

    @cached_property
    def _exact(self) -> _ByBeginning:
        return _by_beginning(self.forms.exact)

    @cached_property
    def _folded(self) -> _ByBeginning:
        return _by_beginning(self.forms.folded)

    @cached_property
    def _sorted_exact(self) -> list[bytes]:
        return sorted(self.forms.exact)

    @cached_property
    def _sorted_folded(self) -> list[bytes]:
        return sorted(self.forms.folded)

    @cached_property
    def _lengths(self) -> tuple[int, ...]:
        return tuple({len(beginning) for beginning in (*self._exact, *self._folded)})

    @cached_property
    def _searches(self) -> tuple[Any, ...]:
        import re2  # noqa: PLC0415 - 7 ms that only a run with secrets pays

        options = re2.Options()
        options.encoding = re2.Options.Encoding.LATIN1  # bytes, and no letters of some alphabet
        options.max_mem = SEARCH_MEMORY
        options.log_errors = False
        patterns = [_pattern(beginning) for beginning in sorted(self._exact)]
        patterns += [b"(?i:%s)" % _pattern(beginning) for beginning in sorted(self._folded)]
        parts = (patterns[at : at + IN_ONE_PASS] for at in range(0, len(patterns), IN_ONE_PASS))
        return tuple(re2.compile(b"|".join(part), options) for part in parts)


def _by_beginning(forms: Iterable[bytes]) -> _ByBeginning:
    found: defaultdict[bytes, list[bytes]] = defaultdict(list)
    for form in forms:
        found[form[:BEGINNING]].append(form)
    return {beginning: tuple(some) for beginning, some in found.items()}


def _begins(forms: list[bytes], beginning: bytes) -> bool:
    """Say whether one of the sorted forms goes on behind these bytes."""
    # The shortest that goes on comes next to them in the order; they themselves are one place before.
    at = bisect_right(forms, beginning)
    return at < len(forms) and forms[at].startswith(beginning)


def _pattern(beginning: bytes) -> bytes:
    return b"".join(b"\\x%02x" % byte for byte in beginning)


def _starts(search: Any, data: bytes) -> Iterator[int]:
    """Give every place where a beginning stands, also where they overlap."""
    found = search.search(data)
    while found:
        start = int(found.start())
        yield start
        found = search.search(data, start + 1)
