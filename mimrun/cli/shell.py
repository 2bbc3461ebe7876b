"""`mimrun shell`: hands-on work on a host, recorded."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import sys
import time
from dataclasses import dataclass
from typing import Annotated, Final

import typer
from rich.text import Text

from mimrun.app.home import Home, open_home
from mimrun.app.identity import Identity, identify
from mimrun.app.manual_work import find_place
from mimrun.app.shells import Ended, Session, Wanted, open_shell, open_shells, settle_shell
from mimrun.cli.note import IncidentOption, RunOption
from mimrun.cli.options import AsOption, HomeOption, InventoryOption, command, settings_of
from mimrun.cli.raw_terminal import INPUT, RawTerminal, window_size
from mimrun.cli.terminal import console, safe_line
from mimrun.connector import Window
from mimrun.errors import InputError, LogError

LOST: Final = 255
"""What a session ends with whose connection was lost, as `ssh` does."""
LEFT: Final = 130
HELD: Final = 64 * 1024
"""Bytes of typing that are held for a host that does not take them; then the keyboard waits."""
ECHO_S: Final = 0.2
"""Seconds that an Enter waits for the host to show the line that it ends."""
SETTLED_S: Final = 0.01
"""Seconds without a word from the host after which the line is taken to be shown."""
_KIND: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
"""What terminals are called."""
IDLE_S: Final = 0.05
"""Seconds between two looks at a host that has said its last, and not yet how it ended."""


HostArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="HOST", show_default=False, help="The host's name in the inventory; one."),
]
"""A list, so that a command behind the host gets a better answer than that it is too much."""
ReasonOption = Annotated[
    str, typer.Option("--reason", metavar="TEXT", show_default=False, help="Why; a reviewer will read it.")
]
MaskOption = Annotated[
    list[str] | None,
    typer.Option(
        "--mask",
        metavar="REFERENCE",
        show_default=False,
        help="A secret that may be shown: env:NAME, file:PATH, vault:... May be given several times.",
    ),
]
SettleOption = Annotated[
    int,
    typer.Option(
        "--settle", metavar="SHELL", show_default=False, help="Record the end of a session that broke off."
    ),
]


def shell(
    words: HostArgument = None,
    *,
    reason: ReasonOption = "",
    mask: MaskOption = None,
    settle: SettleOption = 0,
    incident: IncidentOption = None,
    run: RunOption = None,
    inventories: InventoryOption = None,
    claimed: AsOption = None,
    home: HomeOption = None,
) -> None:
    """Open a shell on a host, and record what it shows.

    It is on record before it begins and ends when the log cannot be written. Secrets that settings, inventory
    or --mask name are masked in the record, also where they are wrapped, coloured or corrected while you
    type. Not masked is what you type of a secret out of order, with the cursor moved back into it, and what a
    full-screen program draws of it in several rows. What you type is recorded as far as the host shows it, so
    passwords that are asked for are not. `~.` at the beginning of a line leaves; `~~` is a tilde. Ends with
    the shell's own exit code, with 255 where the connection was lost.
    """
    with open_home(settings_of(home)) as opened:
        identity = identify(opened.people(), claimed)
        if settle:
            _settle(opened, identity, settle)
            return
        host = _host(words or [])
        kind = os.environ.get("TERM", "")
        window = Window(*window_size(), kind if _KIND.fullmatch(kind) else "xterm")
        place = find_place(opened, incident, run)
        wanted = Wanted(host, window, place, tuple(inventories or ()), reason, tuple(mask or ()))
        end = _work(opened, identity, wanted)
    raise typer.Exit(end.code)


@dataclass(frozen=True, slots=True)
class End:
    """How a session ended.

    Arguments:
        status: the exit status of the shell, where it ended by itself.
        reason: for the record, or "".
    """

    how: Ended
    status: int = 0
    reason: str = ""

    @property
    def code(self) -> int:
        """What the command ends with."""
        return {"exit": self.status, "left": LEFT, "lost": LOST}[self.how]


_GONE: Final = End("left", reason="the person's terminal is gone")


class Escape:
    """Finds `~.` at the beginning of a line among what is typed: the way out of a session that hangs."""

    def __init__(self) -> None:
        self._at_start, self._tilde = True, False
        self.leave = False

    def feed(self, typed: bytes) -> bytes:
        """Give what goes to the host; where the person leaves, what stands before that."""
        keys = bytearray()
        for key in typed:
            if self._tilde:
                self._tilde = False
                if key == ord("."):
                    self.leave = True
                    break
                keys.append(ord("~"))
                if key == ord("~"):
                    self._at_start = False
                    continue
            elif key == ord("~") and self._at_start:
                self._tilde = True
                continue
            keys.append(key)
            self._at_start = key in b"\r\n"
        return bytes(keys)


def _host(words: list[str]) -> str:
    """Give the host that a person at a terminal wants.

    Raises:
        InputError: there is no person, or they want something else.
    """
    if not words:
        raise InputError(
            "say on which host: `mimrun shell HOST`; `mimrun inventory hosts` shows which there are"
        )
    host, *command_ = words
    if command_:
        raise InputError(
            f"`mimrun shell` is for a person at a terminal and runs no command; to run {' '.join(command_)!r} on"
            f" {host}, write a runbook with a step `ssh.command`, which is planned, gated and recorded"
        )
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise InputError(
            "`mimrun shell` needs a terminal; for work without a person write a runbook with a step `ssh.command`"
        )
    return host


def _work(home: Home, identity: Identity, wanted: Wanted) -> End:
    """Open the session, and stay in it to its end."""
    for one in open_shells(home):
        if one.gone:
            settle_shell(home, identity, one.shell.seq)
    with open_shell(home, identity, wanted) as session:
        _announce(session, wanted)
        end = _sit(session)
        _close(session, end)
    return end


def _announce(session: Session, wanted: Wanted) -> None:
    for warning in session.warnings:
        _say(Text(f"WARNING: {safe_line(warning, 500)}", "bold yellow"))
    peer = session.terminal.peer
    line = f"recording: {safe_line(wanted.host)} as {safe_line(peer.account)}, shell {session.seq} of"
    _say(Text(f"{line} {wanted.place.describe()}", "bold"))
    note = "what the host shows is kept in the log, known secrets masked; ~. at the start of a line leaves"
    _say(Text(note, "dim"))


def _sit(session: Session) -> End:
    """Carry keys and output between the person and the host until either leaves, or the log fails.

    Raises:
        LogError: what was shown cannot be recorded. The session is over.
        RefusedError: it has grown too large.
    """
    try:
        with RawTerminal() as raw:
            return _Relay(session, raw).carry()
    except LogError as exc:
        session.terminal.close()
        why = safe_line(str(exc), 500)
        _say(Text(f"\nthe session is ended: the log cannot be written: {why}", "bold red"))
        waiting = session.recorder.waiting
        _say(
            Text(f"the last {waiting} bytes of the recording may have been seen and are not on record", "red")
        )
        raise


def _say(text: Text) -> None:
    """Tell the person, who may have closed their window."""
    with contextlib.suppress(OSError):
        console(stderr=True).print(text)


class _Relay:
    """One session between a person's terminal and the host's."""

    def __init__(self, session: Session, raw: RawTerminal) -> None:
        self._session, self._raw = session, raw
        self._escape, self._unsent = Escape(), b""
        self._quiet = False
        self._typed_at = self._heard_at = 0.0

    def carry(self) -> End:
        """Stay until it ends; see `_sit`."""
        while True:
            ready = self._wait()
            end = self._hear_signals(ready) or self._listen(ready) or self._type(ready)
            if end is not None:
                return end
            self._send()
            if self._session.due_in() <= 0:
                self._session.save()
            if self._session.terminal.over():
                status = self._session.terminal.status
                return (
                    End("lost", reason="the connection was lost") if status is None else End("exit", status)
                )

    def _hear_signals(self, ready: list[int]) -> End | None:
        raw = self._raw
        if raw.wake in ready:
            raw.clear()
        if raw.resized:
            raw.resized = False
            self._session.resized(*window_size())
        return End("left", reason=f"ended by {signal.Signals(raw.ended_by).name}") if raw.ended_by else None

    def _listen(self, ready: list[int]) -> End | None:
        """Show and record what the host said."""
        terminal = self._session.terminal
        data = terminal.read()
        self._quiet = not data and terminal.fileno() in ready
        if not data:
            return None
        self._session.heard(data)
        self._heard_at = time.monotonic()
        return None if self._raw.show(data) else _GONE

    def _wait(self) -> list[int]:
        watched, patience = [self._raw.wake], min(self._session.due_in(), 0.5)
        if len(self._unsent) < HELD:
            watched.append(INPUT)
        if self._quiet or self._unsent:
            patience = SETTLED_S if self._unsent else IDLE_S
        if not self._quiet:
            watched.append(self._session.terminal.fileno())
        return select.select(watched, [], [], patience)[0]

    def _type(self, ready: list[int]) -> End | None:
        """Take what the person typed."""
        if INPUT not in ready:
            return None
        typed = self._raw.read()
        self._unsent += self._escape.feed(typed)
        if self._escape.leave:
            return End("left", reason="by ~.")
        return None if typed else _GONE

    def _send(self) -> None:
        """Send what was typed. Before an Enter goes out, the line that it ends, as the host shows it, is on record."""
        end = _first_enter(self._unsent)
        if end == 0:
            if not self._is_shown():
                return
            self._session.settle()
            end = len(self._unsent)
        if end:
            taken = self._session.terminal.write(self._unsent[:end])
            self._unsent = self._unsent[taken:]
            self._typed_at = time.monotonic()

    def _is_shown(self) -> bool:
        """Say whether the host has shown what was typed; it need not, and is not waited for long."""
        now = time.monotonic()
        answered = self._heard_at > self._typed_at and now - self._heard_at >= SETTLED_S
        return answered or now - self._typed_at >= ECHO_S


def _first_enter(keys: bytes) -> int:
    """Give where the first key stands that ends a line; behind the last key where none does."""
    return next((at for at, key in enumerate(keys) if key in b"\r\n"), len(keys))


def _close(session: Session, end: End) -> None:
    session.close(end.how, end.status, end.reason)
    how = {
        "exit": f"ended with {end.status}",
        "left": f"was left ({end.reason})",
        "lost": "was lost: what runs on the host may go on there",
    }
    look = f"look at it: mimrun log cast {session.seq} -o FILE"
    _say(Text(f"shell {session.seq} {how[end.how]}; {look}", "bold"))


def _settle(home: Home, identity: Identity, seq: int) -> None:
    settled = settle_shell(home, identity, seq)
    typer.echo(
        f"the end of shell {seq} ({safe_line(settled.by)} on {safe_line(settled.target)}) is on record"
    )


COMMANDS = {
    "shell": command(
        "shell",
        shell,
        'mimrun shell db1 -i prod.ini --reason "the failover hangs"',
        "mimrun shell db1 --run latest --mask vault:secret/db#password",
        "mimrun shell --settle 42",
    )
}
