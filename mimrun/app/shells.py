"""Shells: a person's interactive session on a host, recorded into the log while it goes on.

The session is on record before it begins, what it shows follows in pieces, and where the log cannot take a
piece the session ends: nothing goes on unrecorded.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, TypeAlias, TypeVar

from pydantic import JsonValue

from mimrun.app.home import Home
from mimrun.app.identity import Identity
from mimrun.app.inventories import read_inventory
from mimrun.app.killswitch import standing_of
from mimrun.app.known_secrets import known_secrets
from mimrun.app.manual_work import Place
from mimrun.connector import AnyConnector, ConnectorError, Refused, Target, Terminal, Window
from mimrun.errors import ErasedError, InputError, LeaseError, LogError, RefusedError, RunError, TamperError
from mimrun.log.entry import Blob, Draft, LogEntry
from mimrun.log.field import REASON_LENGTH
from mimrun.log.kinds import Body, Kind, ShellClosed, ShellOpened, ShellRecorded
from mimrun.run.cast import Recorder, whole_cast
from mimrun.run.hold.lease import FileLease, is_held, remove_lock
from mimrun.run.hold.lock import HOST, describe_holding, holding_in
from mimrun.run.shell import Shell, Shells, shells_in

SAVED_AFTER: Final = 2.0
"""Seconds after which what was shown is on record."""
SETTLED_AFTER: Final = 10.0
"""Seconds for which a line is held that has the beginning of a secret in it, and may be corrected to be one."""
SAVED_FROM: Final = 64 * 1024
"""Bytes of a cast that are put on record at once."""
MOST: Final = 256 * 1024 * 1024
"""Bytes of a cast that one session may grow to; then it ends."""

Ended: TypeAlias = Literal["exit", "left", "lost"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Wanted:
    """The session that a person wants.

    Arguments:
        host: its name in the inventory.
        window: the person's terminal.
        place: what it belongs to.
        reason: why, or "".
        masked: references of secrets that are masked besides those that settings and inventory name.
    """

    host: str
    window: Window
    place: Place
    inventories: Sequence[Path] = ()
    reason: str = ""
    masked: Sequence[str] = ()


@dataclass(slots=True)
class Session:
    """A session that is open: what it shows goes through here onto the record.

    Arguments:
        seq: the entry with which it began.
        terminal: the host's side.
        warnings: what the person should know before they begin.
        clock: seconds, that only grow.
    """

    seq: int
    terminal: Terminal
    warnings: tuple[str, ...]
    recorder: Recorder
    append: Callable[[list[tuple[Body, tuple[Blob, ...]]]], object]
    clock: Callable[[], float] = time.monotonic
    began: float = 0.0
    total: int = 0
    closed: bool = False
    _unsaved_since: float | None = field(default=None)

    def heard(self, data: bytes) -> None:
        """Take what the host said.

        Raises:
            RefusedError: the session has become too large for the log.
            LogError: it cannot be put on record.
        """
        self.recorder.output(data, self._ms())
        self.total += len(data)
        self._note_waiting()
        if self.recorder.waiting >= SAVED_FROM:
            self.save()
        if self.total > MOST:
            raise RefusedError(
                f"the session has shown {MOST} bytes, the most that the log takes of one; begin another"
            )

    def resized(self, columns: int, rows: int) -> None:
        """Take a change of the window."""
        self.terminal.resize(columns, rows)
        self.recorder.resize(columns, rows, self._ms())
        self._note_waiting()

    def due_in(self) -> float:
        """Give the seconds until what is waiting has to be on record; at most those of a full turn."""
        dues = [SAVED_AFTER, self._settled_in()]
        if self._unsaved_since is not None:
            dues.append(self._unsaved_since + SAVED_AFTER - self.clock())
        return max(min(dues), 0.0)

    def settle(self) -> None:
        """Put on record what was shown so far, also what was held for a person who might correct it.

        Raises:
            LogError: it cannot be; it is kept, to be tried again.
        """
        self.recorder.settle(self._ms())
        self.save()

    def save(self) -> None:
        """Put on record what was shown so far.

        Raises:
            LogError: it cannot be; it is kept, to be tried again.
        """
        if self._settled_in() <= 0:
            self.recorder.settle(self._ms())
        piece = self.recorder.piece()
        if piece is not None:
            self.append([self._recorded()])
            self.recorder.saved(piece)
        self._unsaved_since = None

    def close(self, ended: Ended, status: int = 0, reason: str = "") -> None:
        """End it, and record its last piece and its end together. Calling it again does nothing.

        Raises:
            LogError: that cannot be recorded; `mimrun doctor` will tell of a session without an end.
        """
        self.terminal.close()
        if self.closed:
            return
        self.closed = True
        self.recorder.finish(self._ms())
        last = [self._recorded()] if self.recorder.piece() is not None else []
        body = ShellClosed(shell=self.seq, ended=ended, status=status, dur_ms=self._ms(), reason=reason)
        blob = (
            (Blob("reason", reason.encode("utf-8", "backslashreplace"), "text"),)
            if len(reason) > REASON_LENGTH
            else ()
        )
        self.append([*last, (body, blob)])

    def _recorded(self) -> tuple[Body, tuple[Blob, ...]]:
        piece = self.recorder.piece()
        assert piece is not None
        body = ShellRecorded(shell=self.seq, part=piece.part, events=piece.events, until_ms=piece.until_ms)
        return body, (Blob("cast", piece.lines, "output"),)

    def _note_waiting(self) -> None:
        if self._unsaved_since is None and self.recorder.waiting:
            self._unsaved_since = self.clock()

    def _settled_in(self) -> float:
        since = self.recorder.lingers_since
        return math.inf if since is None else SETTLED_AFTER - (self._ms() - since) / 1000

    def _ms(self) -> int:
        return max(int((self.clock() - self.began) * 1000), 0)


@contextmanager
def open_shell(home: Home, identity: Identity, wanted: Wanted) -> Iterator[Session]:
    """Open a recorded session on a host, for as long as the `with` lasts.

    The steps, in order:

    1. The host is one of the inventory, and ours to know the secrets of.
    2. The host is connected to and logged in to, with its key checked; nothing is asked of it yet.
    3. That the session begins, with whom and where, is on record.
    4. Only then the host is asked for a terminal.
    5. However it ends, the end is recorded, where the log can be written.

    Raises:
        InputError: there is no such host.
        RefusedError: the host, or our check of its key, said no.
        RunError: the host cannot be reached.
        StoreError: the log cannot be written; the session did not begin.
    """
    inventory = read_inventory(home.settings, list(wanted.inventories))
    target = Target(wanted.host, inventory.vars(wanted.host))
    masker = known_secrets(home.settings, inventory, wanted.masked)
    reason = masker.mask_text(wanted.reason).strip()
    with contextlib.ExitStack() as stack:
        connector = _connector(home, target)
        stack.callback(connector.close)
        terminal = _asked(lambda: connector.open_terminal(wanted.window))
        draft = _opening(identity, wanted, terminal, reason)
        seq = home.store.append([draft])[0].seq
        stack.enter_context(_hold(home, seq))

        def append(work: list[tuple[Body, tuple[Blob, ...]]]) -> None:
            home.store.append(
                [
                    Draft(
                        identity.actor(),
                        body,
                        inc=wanted.place.incident,
                        run=wanted.place.run,
                        target=target.name,
                        blobs=blobs,
                    )
                    for body, blobs in work
                ]
            )

        warnings = tuple(_warnings(home, target.name))
        recorder = Recorder(masker, wanted.window.columns)
        session = Session(seq, terminal, warnings, recorder, append, began=time.monotonic())
        try:
            _asked(terminal.begin)
            yield session
        except BaseException as exc:
            # What broke it off is what is told; that its end could not be recorded shows by itself.
            with contextlib.suppress(LogError):
                session.close("lost", reason=str(exc) or type(exc).__name__)
            raise
        session.close("left")


def _opening(identity: Identity, wanted: Wanted, terminal: Terminal, reason: str) -> Draft:
    peer, place = terminal.peer, wanted.place
    body = ShellOpened(
        account=peer.account,
        address=peer.address,
        host_key=peer.identity,
        columns=wanted.window.columns,
        rows=wanted.window.rows,
        reason=reason,
    )
    long = (
        (Blob("reason", reason.encode("utf-8", "backslashreplace"), "text"),)
        if len(reason) > REASON_LENGTH
        else ()
    )
    return Draft(identity.actor(), body, inc=place.incident, run=place.run, target=wanted.host, blobs=long)


def _connector(home: Home, target: Target) -> AnyConnector:
    kind = home.catalog.connector("ssh")
    try:
        return kind(kind.settings_type.of(target))
    except Refused as exc:
        raise InputError(str(exc)) from exc


def _asked(question: Callable[[], T]) -> T:
    """Ask the connector; a person gets its answer as what it means to them."""
    try:
        return question()
    except Refused as exc:
        raise RefusedError(str(exc)) from exc
    except ConnectorError as exc:
        raise RunError(str(exc)) from exc


def _warnings(home: Home, host: str) -> Iterator[str]:
    """Say what a person should know before they put their hands on a host."""
    standing = standing_of(home)
    if standing.pulled:
        yield f"the kill switch is pulled ({standing.why}); your own hands are not held, mind why it was"
    holding = holding_in(home.store, f"{HOST}{host}")
    if holding.holder:
        yield f"{describe_holding(home.store, f'{HOST}{host}', holding)}; what you change may cross what it does"


@contextmanager
def _hold(home: Home, seq: int) -> Iterator[None]:
    """Let others see that this process is there; the kernel lets go when it dies, and the file stays."""
    lease = FileLease(home.settings.locks, _name(seq))
    try:
        yield
    finally:
        lease.release()
        remove_lock(home.settings.locks, _name(seq))


def _name(seq: int) -> str:
    return f"shell-{seq}"


@dataclass(frozen=True, slots=True)
class OpenShell:
    """A session whose end is not on record.

    Arguments:
        here: a process of this machine sits at it now.
        gone: its process is known to be gone; else it may be at work on another machine.
    """

    shell: Shell
    here: bool
    gone: bool

    def describe(self) -> str:
        """Say how it stands."""
        shell = self.shell
        who = f"{shell.by} on {shell.target} since {shell.opened_at[:19].replace('T', ' ')} UTC ({shell.incident})"
        if self.here:
            return f"{who}, open now"
        seen = f"what was seen until {shell.seen_at[:19].replace('T', ' ')} UTC is on record, in {shell.parts} pieces"
        how = (
            "broke off without an end: its mimrun was killed, or lost its log"
            if self.gone
            else "open, not here"
        )
        return f"{who}, {how}; {seen}"

    def as_json(self) -> dict[str, JsonValue]:
        """The session for `--json`."""
        return {**self.shell.model_dump(mode="json", exclude={"ended"}), "here": self.here, "gone": self.gone}


def open_shells(home: Home, incident: str | None = None) -> list[OpenShell]:
    """Give every session whose end is not on record, the oldest first."""
    found = []
    for shell in shells_in(home.store.projections(Shells.name)):
        if shell.open and incident in (None, shell.incident):
            folder, name = home.settings.locks, _name(shell.seq)
            here = is_held(folder, name)
            # Where several machines share a log, no file here only says that it is not here.
            known = not home.settings.store or (folder / f"{name}.lock").exists()
            found.append(OpenShell(shell, here, gone=not here and known))
    return found


def settle_shell(home: Home, identity: Identity, seq: int) -> Shell:
    """Record the end of a session that broke off.

    Raises:
        InputError: no session with an open end has this number.
        LeaseError: a process of this machine sits at it.
    """
    found = next((one for one in open_shells(home) if one.shell.seq == seq), None)
    if found is None:
        known = ", ".join(str(one.shell.seq) for one in open_shells(home)) or "none"
        raise InputError(f"no shell {seq} without an end; there are: {known}")
    if found.here:
        raise LeaseError(f"shell {seq} is open: {found.shell.by} sits at it now")
    shell = found.shell
    reason = "it broke off: its mimrun was killed, or lost its log"
    body = ShellClosed(shell=seq, ended="lost", dur_ms=shell.until_ms, reason=reason)
    home.store.append([Draft(identity.actor(), body, inc=shell.incident, run=shell.run, target=shell.target)])
    remove_lock(home.settings.locks, _name(seq))
    return shell


def cast_of(home: Home, seq: int) -> bytes:
    """Give a recorded session as one asciicast file, as far as it is on record.

    Raises:
        InputError: the entry did not begin a session.
        TamperError: a piece is missing or is not what was recorded.
    """
    try:
        opened = home.store.entry(seq)
    except TamperError:
        raise
    except LogError as exc:
        raise InputError(str(exc)) from exc
    if not isinstance(opened.body, ShellOpened):
        raise InputError(
            f"entry {seq} is {opened.kind}; give the number of a shell.opened, as `mimrun log show` has it"
        )
    pieces = (
        (entry, _lines(home, entry))
        for entry in home.store.entries(inc=opened.inc, after=seq, kinds={Kind.SHELL_RECORDED})
        if isinstance(entry.body, ShellRecorded) and entry.body.shell == seq
    )
    return b"".join(whole_cast(opened, pieces))


def _lines(home: Home, entry: LogEntry) -> bytes | None:
    try:
        return home.store.blob(entry, "cast")
    except ErasedError:
        return None
