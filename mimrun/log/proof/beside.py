"""A second process that looks at pages of entries, so that a large log is verified on two cores.

It is started only when a log turns out to be large, gets nothing but the pages, and gives back what
`segment.examine` says of them. Where it cannot be had, or dies, this process does all the work.
"""

from __future__ import annotations

import contextlib
import marshal
import struct
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from queue import SimpleQueue
from types import TracebackType
from typing import IO, Final, Self, TypeAlias

from mimrun.log.chain import StoredRow
from mimrun.log.proof.segment import Segment, examine

LARGE: Final = 50
"""Pages after which it pays to start another process."""
AHEAD: Final = 8
"""Pages that are given to it at most before the first of them is needed."""

_Waiting: TypeAlias = tuple[Sequence[StoredRow], Segment | None, bool]
"""A page, what was said of it here, and whether it was given away instead."""
_LENGTH: Final = struct.Struct("<Q")


class Beside:
    """Examines pages, some of them in another process.

    Arguments:
        large: how many pages are examined here before another process is started.
        program: what is run there; another one only in tests.
    """

    def __init__(
        self, large: int = LARGE, program: Sequence[str] = ("-P", "-m", "mimrun.log.proof.beside")
    ) -> None:
        self._large, self._program = large, program
        self._child: subprocess.Popen[bytes] | None = None
        self._told: SimpleQueue[bytes | None] = SimpleQueue()
        self._answers: SimpleQueue[bytes | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._lost = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._child is not None:
            self._child.kill()
            self._told.put(None)
            for thread in self._threads:
                thread.join()
            self._child.wait()

    def examine(
        self, pages: Iterable[Sequence[StoredRow]]
    ) -> Iterator[tuple[Sequence[StoredRow], Segment | None]]:
        """Give each page, in order, with what `segment.examine` says of it."""
        # What was examined here waits with its answer, what was given away waits for one.
        waiting: deque[_Waiting] = deque()
        away = 0
        for number, page in enumerate(pages):
            if number == self._large:
                self._start()
            if self._child is not None and away < AHEAD and not self._lost:
                self._told.put(marshal.dumps([tuple(row) for row in page]))
                waiting.append((page, None, True))
                away += 1
            else:
                waiting.append((page, examine(page), False))
            while waiting and (not waiting[0][2] or len(waiting) > 2 * AHEAD or not self._answers.empty()):
                away -= waiting[0][2]
                yield self._settled(waiting.popleft())
        while waiting:
            yield self._settled(waiting.popleft())

    def _settled(self, one: _Waiting) -> tuple[Sequence[StoredRow], Segment | None]:
        page, segment, given = one
        if not given:
            return page, segment
        answer = None if self._lost else self._answers.get()
        if answer is None:
            self._lost = True
            return page, examine(page)
        told = marshal.loads(answer)  # noqa: S302 - it comes from our own process
        return page, None if told is None else Segment._make(told)

    def _start(self) -> None:
        try:
            self._child = subprocess.Popen(
                [sys.executable, *self._program],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,  # an interrupt at the terminal is for this process to answer
            )
        except OSError:
            return
        speak, listen = self._child.stdin, self._child.stdout
        assert speak is not None
        assert listen is not None
        self._threads = [
            threading.Thread(target=self._speak, args=(speak,), name="mimrun-verify-speak", daemon=True),
            threading.Thread(target=self._listen, args=(listen,), name="mimrun-verify-listen", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def _speak(self, pipe: IO[bytes]) -> None:
        """Give pages away; in a thread, for the other process takes the next one only when it is done."""
        with contextlib.suppress(OSError), pipe:
            while (data := self._told.get()) is not None:
                write_message(pipe, data)

    def _listen(self, pipe: IO[bytes]) -> None:
        """Take answers, so that the other process never waits for somebody to take them."""
        with pipe:
            while (data := read_message(pipe)) is not None:
                self._answers.put(data)
        self._answers.put(None)


def write_message(pipe: IO[bytes], data: bytes) -> None:
    """Write bytes with their length before them."""
    pipe.write(_LENGTH.pack(len(data)))
    pipe.write(data)
    pipe.flush()


def read_message(pipe: IO[bytes]) -> bytes | None:
    """Read what `write_message` wrote; None at the end."""
    head = pipe.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    data = pipe.read(length)
    return data if len(data) == length else None


def answer(pages: IO[bytes], answers: IO[bytes]) -> None:
    """Examine pages until there are no more; what the other process does."""
    while (data := read_message(pages)) is not None:
        rows = [StoredRow._make(row) for row in marshal.loads(data)]  # noqa: S302 - it comes from our own process
        segment = examine(rows)
        write_message(answers, marshal.dumps(None if segment is None else tuple(segment)))


if __name__ == "__main__":
    with contextlib.suppress(OSError):
        answer(sys.stdin.buffer, sys.stdout.buffer)
