"""One command on one channel: started, fed, drained, waited for, and ended when its time is over."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import BinaryIO, Final, Protocol, TypeAlias

from connectors.ssh.command_line import Header, Remote, ending
from connectors.ssh.connection import Connection, connect
from connectors.ssh.lean import Channel, SSHException
from connectors.ssh.transport import WINDOW
from mimrun.connector import LostAnswer, Refused, Unreachable

TICK: Final = 0.1
"""Seconds between two looks at the stop flag while nothing arrives."""
DRAIN: Final = 1.0
"""Seconds that output may still come after the exit status; a daemon may hold the streams for ever."""
ENDING: Final = 6.0
"""Seconds for ending a command on the target, counted from its deadline."""
PIECE: Final = 256 * 1024


class Sink(Protocol):
    """Takes what a command prints, piece by piece."""

    def __call__(self, stdout: bytes, stderr: bytes, /) -> None:
        """Take the next bytes of either stream."""


@dataclass(frozen=True, slots=True)
class Exited:
    """The command came to its end.

    Arguments:
        status: its exit status; 128 + the signal's number where a signal ended it.
        signal: the signal's name without SIG, or "".
        header: what is known about its start.
    """

    status: int
    signal: str
    header: Header


@dataclass(frozen=True, slots=True)
class Cut:
    """The command did not come to its end while we watched.

    Arguments:
        reason: why, and what was proven about the process on the target.
        header: what is known about its start.
    """

    reason: str
    header: Header


Result: TypeAlias = Exited | Cut


@dataclass(frozen=True, slots=True)
class Task:
    """A command with its circumstances.

    Arguments:
        remote: what to run.
        nonce: a fresh random word; marks the header.
        until: on the monotonic clock, in seconds; then the command is ended.
        sink: where its output goes.
        stdin: what it reads.
        stop: set when a person cancels.
    """

    remote: Remote
    nonce: str
    until: float
    sink: Sink
    stdin: BinaryIO = field(default_factory=BytesIO)
    stop: threading.Event = field(default_factory=threading.Event)

    def left(self) -> float:
        """Seconds until the deadline; never below zero."""
        return max(self.until - time.monotonic(), 0.0)


def run(connection: Connection, task: Task) -> Result:
    """Run a command and stay with it until it ends, its time is over, or the connection is lost.

    Raises:
        Refused: it cannot be sent, or the host does not run commands for us. Nothing has been done.
        Unreachable: the host opens no channel. Nothing has been done.
    """
    try:
        line = task.remote.line(task.nonce)
    except ValueError as exc:
        raise Refused(str(exc)) from exc
    channel = connection.take_channel(task.left())
    watch = _Watch(connection, channel, task)
    try:
        connection.transport.request_exec(channel, line)
        result = watch.follow()
    except (SSHException, EOFError, OSError) as exc:
        result = watch.lost(str(exc))
    finally:
        channel.close()
    connection.order_spare()
    return result


def collect(connection: Connection, task: Task, limit: int) -> tuple[Exited, bytes, str]:
    """Run a small command of our own and give its exit, its output, and its errors as text.

    Arguments:
        connection: where.
        task: what; its sink is not used.
        limit: bytes of output that are kept.

    Raises:
        LostAnswer: it did not come to its end.
        Refused, Unreachable: as for `run`.
    """
    out, err = bytearray(), bytearray()

    def keep(stdout: bytes, stderr: bytes) -> None:
        out.extend(stdout[: max(limit - len(out), 0)])
        err.extend(stderr[: max(limit - len(err), 0)])

    result = run(
        connection, Task(task.remote, task.nonce, task.until, keep, stdin=task.stdin, stop=task.stop)
    )
    if isinstance(result, Cut):
        raise LostAnswer(result.reason)
    return result, bytes(out), err.decode("utf-8", "backslashreplace").strip()


class _Watch:
    """Follows one channel."""

    def __init__(self, connection: Connection, channel: Channel, task: Task) -> None:
        self.connection = connection
        self.channel = channel
        self.task = task
        self.header = Header(task.nonce)
        self._wake: threading.Event = channel.wake  # type: ignore[attr-defined]
        self._unsent = memoryview(task.remote.preamble())
        self._stdin_open = True
        channel.settimeout(0.0)

    def follow(self) -> Result:
        """Feed and drain the channel until something decides the matter."""
        drain_until: float | None = None
        while True:
            self._wake.clear()
            moved = self._drain() | self._feed()
            if self._ended():
                return self._exited()
            now = time.monotonic()
            if self._status_known():
                drain_until = now + DRAIN if drain_until is None or moved else drain_until
                if now >= drain_until:
                    return self._exited()
            elif self.task.stop.is_set():
                return self._end("cancelled")
            elif now >= self.task.until:
                return self._end("timed out")
            if not moved:
                self._wake.wait(min(TICK, max(self.task.until - now, 0.001)))

    def lost(self, why: str) -> Result:
        """Give the result for a connection that broke."""
        self.header.finish()
        where = self.connection.settings.where
        return Cut(
            f"{where}: the connection was lost ({why or 'closed'}); {_whereabouts(self.header)}", self.header
        )

    def _drain(self) -> bool:
        moved = False
        while self.channel.recv_ready() or self.channel.recv_stderr_ready():
            out = self.channel.recv(WINDOW) if self.channel.recv_ready() else b""
            err = self.channel.recv_stderr(WINDOW) if self.channel.recv_stderr_ready() else b""
            own = self.header.feed(out)
            if own or err:
                self.task.sink(own, err)
            moved = True
            if time.monotonic() >= self.task.until or self.task.stop.is_set():
                break  # a command that never stops talking must not keep us from ending it
        return moved

    def _feed(self) -> bool:
        """Send what the host has room for; when all is sent, say so."""
        if not self._stdin_open:
            return False
        try:
            if not self._unsent:
                self._unsent = memoryview(self.task.stdin.read(PIECE))
            if not self._unsent:
                self._stdin_open = False
                self.channel.shutdown_write()
                return False
            sent = self.channel.send(self._unsent.tobytes())
        except TimeoutError:
            return False  # the host has no room now; it wakes us when it has
        except (OSError, SSHException):
            self._stdin_open = False  # the command does not read any more
            return False
        self._unsent = self._unsent[sent:]
        return sent > 0

    def _status_known(self) -> bool:
        return self.channel.status_event.is_set() and self.channel.exit_status >= 0

    def _ended(self) -> bool:
        """Whether nothing more will come: closed, or both streams at their end with the status known."""
        if self.channel.recv_ready() or self.channel.recv_stderr_ready():
            return False
        return self.channel.closed or (bool(self.channel.eof_received) and self._status_known())

    def _exited(self) -> Result:
        self.header.finish()
        # Without a header and without the end of the output, a header may still be on its way.
        if self._status_known() and (
            self.header.complete or self.channel.eof_received or self.channel.closed
        ):
            return Exited(self.channel.exit_status, getattr(self.channel, "exit_signal", ""), self.header)
        if not self.connection.alive:
            return self.lost(str(self.connection.transport.get_exception() or ""))
        if getattr(self.channel, "refused", False):
            raise Refused(f"{self.connection.settings.where}: the host does not run commands for this login")
        return Cut(
            f"{self.connection.settings.where}: the host closed the channel without an exit status; "
            f"{_whereabouts(self.header)}",
            self.header,
        )

    def _end(self, why: str) -> Result:
        """End the command on the target, and say whether that is proven."""
        if not self.header.started:
            # Whoever is about to start it now finds nobody to tell, and gives up.
            self.channel.close()
        proof = (
            self._end_groups()
            if self.header.groups
            else "the target had not said that it began; if it had not by then, it cannot any more"
        )
        self.header.finish()
        return Cut(f"{why}; {proof}", self.header)

    def _end_groups(self) -> str:
        named = " and ".join(str(group) for group in self.header.groups)
        script = Remote(["/bin/sh", "-c", ending(self.header.groups)], become=self.task.remote.become)
        task = Task(script, self.task.nonce, time.monotonic() + ENDING, _nowhere)
        try:
            said = self._ask(task).decode("ascii", "replace").split()
        except Exception as exc:  # noqa: BLE001 - whatever happens here, the command's fate is the answer
            return f"that process group {named} was ended on the target could not be proven: {exc}"
        return proof_of(said, named)

    def _ask(self, task: Task) -> bytes:
        """Run a task of our own beside the command; over a second connection where the first has no room."""
        try:
            return collect(self.connection, task, limit=1024)[1]
        except Unreachable:
            fresh = connect(self.connection.settings, task.left())
            try:
                return collect(fresh, task, limit=1024)[1]
            finally:
                fresh.close()


def proof_of(said: Sequence[str], named: str) -> str:
    """Put into words what `ending` printed.

    Arguments:
        said: its words.
        named: the process groups, for a person.
    """
    if said[:1] == ["gone"]:
        return f"ended on the target: process group {named} is gone (SIG{said[1]})"
    if said[:1] == ["alive"]:
        return f"process group {named} still runs on the target: it could not be ended"
    return f"that process group {named} was ended on the target could not be proven"


def _whereabouts(header: Header) -> str:
    if header.groups:
        named = " and ".join(str(group) for group in header.groups)
        return f"the command may still run there as process group {named}"
    return "whether the command began is not known"


def _nowhere(stdout: bytes, stderr: bytes) -> None:
    """Take output that nobody wants."""
