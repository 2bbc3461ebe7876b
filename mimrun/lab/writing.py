"""The writer's own process: psql as a coprocess, one row after the other, each acknowledgement noted.

    python -m mimrun.lab.writing PSQL TARGET NOTES RATE

TARGET is a libpq connection string. It ends at SIGTERM, or when its notes can no longer be written.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from mimrun.lab.writer import Failure, Write, note

ANSWER: Final = 2.5
"""Seconds to wait for an answer; a new connection may use 2 of them."""

AGAIN: Final = 0.05
"""Seconds from a failure to the next connection."""


class Session:
    """One psql with one connection."""

    def __init__(self, psql: str, target: str) -> None:
        self.psql = subprocess.Popen(
            [psql, "-XqAt", "-w", "-v", "ON_ERROR_STOP=1", "-d", target],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.heard = b""

    def ask(self, statement: str, *, seconds: float = ANSWER) -> str:
        """Send a statement and give its one line of answer; or what psql says, or "" for no answer."""
        assert self.psql.stdin is not None
        with suppress(BrokenPipeError):
            self.psql.stdin.write(statement.encode() + b";\n")
            self.psql.stdin.flush()
        return self._line(time.monotonic() + seconds)

    def _line(self, end: float) -> str:
        assert self.psql.stdout is not None
        handle = self.psql.stdout.fileno()
        while b"\n" not in self.heard:
            ready, _, _ = select.select([handle], [], [], max(0.0, end - time.monotonic()))
            data = os.read(handle, 65536) if ready else b""
            if not data:
                break
            self.heard += data
        line, _, self.heard = self.heard.partition(b"\n")
        return line.decode(errors="replace").strip()

    def close(self) -> None:
        """End the connection, however it is."""
        self.psql.kill()
        for pipe in (self.psql.stdin, self.psql.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
        self.psql.wait()


def write(psql: str, target: str, notes: Path, rate: int) -> None:
    """Write rows until the process is ended.

    Arguments:
        psql: its path.
        target: the connection string.
        notes: the file that each write is noted in.
        rate: rows per second, at most.
    """
    session: Session | None = None
    number = 0
    due = time.monotonic()
    with notes.open("a", buffering=1) as file:
        while True:
            number += 1
            session = session or Session(psql, target)
            sent = time.monotonic()
            answer = session.ask(f"insert into writes (id) values ({number}) returning id")  # noqa: S608 - a number of ours
            if answer == str(number):
                file.write(note(Write(number, sent, time.monotonic(), time.time_ns())))
            else:
                file.write(note(Failure(number, sent, answer or "no answer")))
                session.close()
                session = None
                time.sleep(AGAIN)
            # A pause is not made up for by a burst.
            due = max(due + 1 / rate, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))
    write(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
