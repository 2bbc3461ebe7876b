"""Output of a command or request: captured with bounds, with secrets masked before anything else.

The head and the tail are kept, the middle is counted, and a digest covers all of it, so that a target
that never stops talking costs a fixed amount of memory.
"""

from __future__ import annotations

import hashlib
import threading
from typing import Final

from mimrun.secret import MASK, Masker

KEPT: Final = 256 * 1024
"""Bytes kept at each end of a stream."""


class Stream:
    """One bounded stream: feed it pieces, then read its text."""

    def __init__(self, masker: Masker, kept: int = KEPT) -> None:
        self._masker = masker
        self._kept = kept
        self._pending = b""  # not masked yet
        self._covered = 0  # so many bytes at the start of `_pending` belong to a mask already written
        self._head = bytearray()
        self._tail = bytearray()
        self._digest = hashlib.sha256()
        self.size = 0
        """Bytes seen so far, after masking."""

    def feed(self, piece: bytes) -> None:
        """Take the next bytes. Enough is held back that a secret cut in two pieces is still masked."""
        self._pending += piece
        # A secret that starts before this point is here in full; one that starts later may go on.
        self._release(len(self._pending) - max(self._masker.longest - 1, 0))

    def finish(self) -> None:
        """Take what was held back. Calling it again does nothing."""
        self._release(len(self._pending))

    def _release(self, end: int) -> None:
        """Mask and take the pending bytes before `end`, the same whatever the pieces were."""
        if end <= 0:
            return
        data, at = self._pending, self._covered
        for start, stop in self._masker.spans(data):
            if start >= end:
                break
            if start >= at:
                self._take(data[at:start] + MASK.encode())
            at = max(at, stop)
        if at < end:
            self._take(data[at:end])
        self._pending, self._covered = data[end:], max(at - end, 0)

    def _take(self, data: bytes) -> None:
        self.size += len(data)
        self._digest.update(data)
        room = self._kept - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        self._tail += data[-self._kept :]
        if len(self._tail) > 2 * self._kept:
            del self._tail[: -self._kept]

    @property
    def digest(self) -> str:
        """`sha256:<hex>` over every byte, also over those that were not kept."""
        return "sha256:" + self._digest.hexdigest()

    @property
    def left_out(self) -> int:
        """Bytes between the head and the tail that were not kept."""
        return max(self.size - len(self._head) - min(len(self._tail), self._kept), 0)

    def text(self) -> str:
        """Give what was kept, with a line in the middle that says how much was left out."""
        tail = bytes(self._tail[-self._kept :])
        gap = f"\n[... {self.left_out} bytes left out ...]\n".encode() if self.left_out else b""
        return (bytes(self._head) + gap + tail).decode("utf-8", "backslashreplace")


class Output:
    """What a target said while it did one action: standard output and standard error."""

    def __init__(self, masker: Masker | None = None) -> None:
        self.masker = masker or Masker()
        self.stdout = Stream(self.masker)
        self.stderr = Stream(self.masker)
        self._lock = threading.Lock()

    def feed(self, stdout: bytes = b"", stderr: bytes = b"") -> None:
        """Take the next bytes of either stream. Safe from several threads."""
        with self._lock:
            if stdout:
                self.stdout.feed(stdout)
            if stderr:
                self.stderr.feed(stderr)

    def finish(self) -> None:
        """Say that no more will come."""
        with self._lock:
            self.stdout.finish()
            self.stderr.finish()
