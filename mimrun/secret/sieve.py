"""The sieve: masks a stream as it flows, and holds back no more than what may turn out to be a secret."""

from __future__ import annotations

from mimrun.secret.masker import Masker
from mimrun.secret.value import MASK


class Sieve:
    """One stream, masked in the same way whatever pieces it comes in.

    Arguments:
        masker: knows the secrets.
    """

    def __init__(self, masker: Masker) -> None:
        self._masker = masker
        self._pending = b""
        self._covered = 0  # so many bytes at the start of `_pending` belong to a mask already given

    def feed(self, piece: bytes) -> bytes:
        """Take the next bytes; give what can be shown by now."""
        self._pending += piece
        return self._release(self._masker.unfinished(self._pending))

    def finish(self) -> bytes:
        """Give what was held back: nothing more will come."""
        return self._release(len(self._pending))

    def _release(self, end: int) -> bytes:
        if not end:
            return b""
        data, at, shown = self._pending, self._covered, bytearray()
        for start, stop in self._masker.spans(data):
            if start >= end:
                break
            if start >= at:
                shown += data[at:start] + MASK.encode()
            at = max(at, stop)
        if at < end:
            shown += data[at:end]
        self._pending, self._covered = data[end:], max(at - end, 0)
        return bytes(shown)
