"""The sieve for what a terminal shows: a secret is found as a person would read it.

A line editor draws a long line in rows, colours stand between the letters, and a slip is erased. So secrets are
looked for in the bytes, and in the line as it is drawn; the bytes that drew the letters of one are masked, and
what moved the cursor or coloured it stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from mimrun.secret.drawing import draw
from mimrun.secret.drawn_line import DrawnLine
from mimrun.secret.escape import Tokens
from mimrun.secret.masker import Masker
from mimrun.secret.value import MASK

NEAR: Final = 3
"""Letters of a secret's beginning from which on a line is held, though it went on otherwise: it may be a slip."""
SLIP: Final = 1024
"""Characters that a slip is looked for in."""
MOST_HELD: Final = 64 * 1024
"""Bytes that are held for what a line may turn out to be."""

_LINES: Final = re.compile(rb"(?:[^\x00-\x1f\x7f]*\r*\n){1,256}")
"""Lines that are nothing but characters."""
_WRAP: Final = re.compile(rb" \r|\r\n")


class DrawnSieve:
    """What one terminal shows, masked. It is held back only as long as a secret may come of it.

    Arguments:
        masker: knows the secrets.
        columns: how wide the terminal is.
    """

    def __init__(self, masker: Masker, columns: int) -> None:
        self._masker = masker
        self._tokens = Tokens()
        self._line = DrawnLine(columns, self._look)
        self._pending = b""
        self._base = 0  # where in the stream `_pending` begins
        self._parsed = 0  # up to where it is drawn
        self._hidden: dict[int, int] = {}  # bytes that are masked, and as a part of which secret
        self._told: set[int] = set()  # secrets whose mask is given already
        self._named = 0
        self._lingers = False

    def resize(self, columns: int) -> None:
        """Take note that the terminal has another width."""
        self._line.columns = max(columns, 2)

    def lingers(self) -> bool:
        """Say whether something is held only because it may be a slip; see `settle`."""
        return self._lingers

    def feed(self, piece: bytes) -> bytes:
        """Take the next bytes; give what can be shown by now."""
        self._pending += piece
        if self._masker.longest:
            self._line.least = max(self._line.least, 2 * self._masker.longest)
            self._draw()
            self._look()
        else:
            self._parsed = self._base + len(self._pending)
        begun = self._begun()
        if begun == self._base:
            self._lingers = False
            return b""
        self._look_at_bytes()
        slip = min(begun, self._slip())
        self._lingers = slip < begun
        return self._release(slip)

    def settle(self) -> bytes:
        """Give what was held because it may be a slip: nobody corrects it any more."""
        self._lingers = False
        return self._release(self._begun())

    def finish(self) -> bytes:
        """Give what was held back: nothing more will come."""
        self._lingers = False
        self._look_at_bytes()
        return self._release(self._base + len(self._pending))

    def _draw(self) -> None:
        """Draw what has come."""
        while True:
            if self._line.untouched and not self._tokens.in_string:
                self._parsed += self._usual(self._parsed - self._base)
            token = self._tokens.take(self._pending, self._parsed - self._base)
            if token is None:
                return
            draw(self._line, token, self._base + token.start)
            self._parsed = self._base + token.end

    def _usual(self, at: int) -> int:
        """Give how many bytes of usual lines come next: they need not be drawn, what is in them stands in the bytes."""
        found = _LINES.match(self._pending, at)
        if found is None:
            return 0
        columns, usual = self._line.columns, 0
        for line in found[0].splitlines(keepends=True):
            length = len(line.rstrip(b"\r\n"))
            # One that fills its row may go on in the next; no character takes more columns than bytes.
            if length >= columns and not (line.isascii() and length % columns):
                break
            usual += len(line)
        return usual

    def _look(self) -> None:
        """Look for secrets where something new is drawn."""
        line = self._line
        # Where it stands in the stream as it is drawn, the bytes are looked at when they are let go of.
        if line.plain or line.dirty is None:
            return
        longest = 2 * self._masker.longest
        data, owners = line.text(max(line.dirty[0] - longest, 0), line.dirty[1] + longest)
        line.dirty = None
        for start, end in self._masker.spans(data):
            cells = range(owners[start], owners[end - 1] + 1)
            self._hide(span for cell in cells for span in line.spans(cell))

    def _look_at_bytes(self) -> None:
        """Look for secrets in the bytes, before some of them are let go of."""
        for start, end in self._masker.spans(self._pending):
            self._hide([(self._base + start, self._base + end)])

    def _hide(self, spans: Iterable[tuple[int, int]]) -> None:
        """Take note that these bytes are of one secret."""
        places = [at for start, end in spans for at in range(max(start, self._base), end)]
        if not places:
            return
        known = {self._hidden[at] for at in places if at in self._hidden}
        if not known:
            self._named += 1
        secret = min(known, default=self._named)
        if len(known) > 1:  # what seemed to be several is one
            places += [at for at, other in self._hidden.items() if other in known]
            if known & self._told:
                self._told.add(secret)
        self._hidden |= dict.fromkeys(places, secret)

    def _begun(self) -> int:
        """Give from where on everything is held, as it may go on as a secret."""
        raw = min(self._base + self._masker.unfinished(self._pending), self._parsed)
        longest, cursor = 2 * self._masker.longest, self._line.cursor
        in_bytes = self._line.plain and self._line.drawn_to == self._base + len(self._pending)
        if not in_bytes and len(self._pending) <= MOST_HELD + longest:
            data, owners = self._line.text(max(cursor - longest, 0), cursor)
            at = self._masker.unfinished(data)
            raw = min(raw, self._first_held(owners[at:]))
        return raw

    def _slip(self) -> int:
        """Give from where on everything is held, as somebody may take back their last letters."""
        end = self._base + len(self._pending)
        if self._masker.longest and len(self._pending) <= MOST_HELD:
            data, owners = self._line.text(max(len(self._line) - SLIP, 0), len(self._line))
            for at in self._masker.beginnings(data, NEAR):
                held = self._first_held(owners[at : at + NEAR])
                if held < end and held not in self._hidden:
                    return held
        return end

    def _first_held(self, cells: Iterable[int]) -> int:
        """Give the first byte that drew one of these characters and is not let go of yet."""
        end = self._base + len(self._pending)
        spans = (span for cell in cells for span in self._line.spans(cell))
        return min((start for start, _ in spans if start >= self._base), default=end)

    def _release(self, end: int) -> bytes:
        """Give what stands before a place of the stream, masked."""
        shown, at, last = bytearray(), self._base, 0
        for place in sorted(place for place in self._hidden if place < end):
            secret = self._hidden.pop(place)
            gap = self._pending[at - self._base : place - self._base]
            if secret != last or not _WRAP.fullmatch(gap):  # with the secret goes where it was wrapped
                shown += gap
            if secret not in self._told:
                self._told.add(secret)
                shown += MASK.encode()
            at, last = place + 1, secret
        shown += self._pending[at - self._base : end - self._base]
        self._pending, self._base = self._pending[end - self._base :], end
        if not self._hidden:
            self._told.clear()
        return bytes(shown)
