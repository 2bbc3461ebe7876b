"""HAProxy: take servers out of a backend and put them back, over the runtime API."""

from __future__ import annotations

import csv
import io
import socket
import threading
import time
from dataclasses import dataclass
from typing import Annotated, Final, TypeAlias, assert_never

from mimrun.connector import (
    Action,
    Call,
    Connector,
    Difference,
    Effect,
    Failed,
    Field,
    Finding,
    Json,
    LostAnswer,
    Ok,
    Outcome,
    Probed,
    Refused,
    Settings,
    Unreachable,
)

LAST_LOOK: Final = 0.6
"""Seconds that an answer may take once a person has stopped the step: enough to tell what became of it."""
LOOK_AGAIN: Final = 0.25
"""Seconds between two looks of a probe."""
LONGEST: Final = 4 * 1024 * 1024
"""Bytes of an answer that are read; one line of state per server is about 150."""
TICK: Final = 0.2
"""Seconds between two looks at a person's stop, and at sessions that are ending."""
OPERATIONAL: Final = ("stopped", "starting", "running", "stopping")
MAINT: Final = 0x63
"""Forced, inherited, by DNS resolution, by host name; 0x04 only says that the file had `disabled`."""
DRAIN: Final = 0x18
"""Forced and inherited. Source: HAProxy management guide, "show servers state"."""
SAYS_NO: Final = ("No such server.", "No such backend.", "No such proxy.", "Can't find backend.")
"""Answers that HAProxy gives instead of doing anything."""

Name: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]*$", max_length=200)]
"""HAProxy's own alphabet for names, in which no second command can be hidden."""


class HAProxySettings(Settings):
    """Where the runtime API is."""

    haproxy_address: str = Field("", description="A socket's path, or host:port.")
    haproxy_backend: Name = Field("", description="The backend of actions that name none.")
    haproxy_timeout: int = Field(5, ge=1, le=60, description="Seconds that one answer may take.")


class Move(Action):
    """What `disable`, `drain` and `enable` have in common."""

    effect = Effect.IDEMPOTENT
    server: Name = Field(min_length=1, description="The server's name in the backend.")
    backend: Name = Field("", description="The backend; the variable haproxy_backend without it.")


class Disable(Move):
    """Put a server in maintenance: no traffic and no health checks."""

    verb = "disable"
    kill_sessions: bool = Field(
        default=False, description="End its open sessions too, and fail unless all are proven gone."
    )


class Drain(Move):
    """Let a server finish what it has: open and persistent sessions go on, others go elsewhere."""

    verb = "drain"


class Enable(Move):
    """Put a server back: it gets traffic as soon as its health checks agree."""

    verb = "enable"


class State(Action):
    """Read the state of a backend's servers."""

    verb = "state"
    effect = Effect.READ
    backend: Name = Field("", description="The backend; the variable haproxy_backend without it.")
    server: Name = Field("", description="Only this server.")


HAProxyAction: TypeAlias = Disable | Drain | Enable | State


@dataclass(frozen=True, slots=True)
class Server:
    """A server as HAProxy sees it."""

    backend: str
    name: str
    address: str
    port: int
    admin: str
    operational: str
    weight: int
    sessions: int

    def data(self) -> dict[str, Json]:
        """Give what actions answer with."""
        return {
            "backend": self.backend,
            "server": self.name,
            "address": self.address,
            "port": self.port,
            "admin": self.admin,
            "operational": self.operational,
            "weight": self.weight,
            "sessions": self.sessions,
        }


class HAProxy(Connector[HAProxySettings, HAProxyAction]):
    """The runtime API of one HAProxy process. It takes one command per connection."""

    name = "haproxy"
    settings_type = HAProxySettings
    actions = (Disable, Drain, Enable, State)

    def __init__(self, settings: HAProxySettings) -> None:
        super().__init__(settings)
        self._known = False

    def open(self) -> None:
        """Make sure that HAProxy's runtime API is there."""
        if self._known:
            return
        if not self.settings.haproxy_address:
            raise Refused(
                "haproxy: the target has no variable haproxy_address: a socket's path, or host:port"
            )
        call = Call("open", time.monotonic() + self.settings.haproxy_timeout)
        try:
            answer = self._ask("show info", call)
        except LostAnswer as exc:
            raise Unreachable(str(exc)) from exc
        if not answer.startswith("Name: HAProxy"):
            raise Refused(f"haproxy: {self.settings.haproxy_address} is no runtime API; is it another port?")
        self._known = True

    def close(self) -> None:
        """Do nothing but forget: no connection is kept between two commands."""
        self._known = False

    def _perform(self, action: HAProxyAction, call: Call) -> Outcome:
        if call.stop.is_set() or call.left() == 0:
            return Failed("haproxy: called off before anything was asked", clean=True)
        if isinstance(action, State):
            backend = self._backend(action.backend)
            found: list[Json] = [s.data() for s in self._servers(backend, action.server, call)]
            return Ok(changed=False, data={"backend": backend, "servers": found})
        try:
            before = self._server(action, call)
        except LostAnswer as exc:
            reason = f"{exc}; no command to change anything was given yet"
            if call.stop.is_set():
                return Failed(reason, clean=True)
            raise Unreachable(reason) from exc
        return self._move(action, before, call)

    def _move(self, action: Disable | Drain | Enable, before: Server, call: Call) -> Outcome:
        wanted, killing = _wanted(action)
        if before.admin == wanted and not (killing and before.sessions):
            return Ok(changed=False, data=before.data())
        if call.stop.is_set():
            return Failed("haproxy: stopped by a person; no command to change anything was given", clean=True)
        where = f"{before.backend}/{before.name}"
        self._order(f"set server {where} state {wanted}", call)
        try:
            # From here on something may have changed: nothing below may end as "not reached" or "refused".
            if killing and not call.stop.is_set():
                self._order(f"shutdown sessions server {where}", call)
            after = self._settled(action, call)
        except (Unreachable, Refused) as exc:
            raise LostAnswer(f"haproxy: {where} was set to {wanted}; then: {exc}") from exc
        if after.admin != wanted:
            return Failed(f"haproxy: {where} is {after.admin}, not {wanted}", clean=False, data=after.data())
        if killing and after.sessions:
            why = "stopped by a person: " if call.stop.is_set() else ""
            reason = f"haproxy: {why}{where} is {wanted}, but {after.sessions} sessions did not end"
            return Failed(reason, clean=False, data=after.data())
        return Ok(changed=True, data=after.data())

    def _end(self, action: HAProxyAction, call: Call) -> str:
        return "a command to haproxy is a single line, and takes effect at once: there is nothing to end"

    def _probe(self, action: HAProxyAction, call: Call) -> Probed:
        if isinstance(action, State):
            return Probed(Finding.NOT_APPLIED, "reading leaves nothing behind")
        wanted, killing = _wanted(action)
        for look in range(2):
            now = self._server(action, call)
            if now.admin == wanted and not (killing and now.sessions):
                return Probed(Finding.APPLIED, _said(now), now.data())
            # A process that was frozen takes what lies before it when it goes on: in no order, and at once.
            if look == 0:
                call.stop.wait(LOOK_AGAIN)
        if not self.settings.haproxy_address.startswith("/"):
            return Probed(
                Finding.UNKNOWN, f"{_said(now)}; over TCP a command may still be on its way", now.data()
            )
        return Probed(Finding.NOT_APPLIED, _said(now), now.data())

    def _check(self, action: HAProxyAction, call: Call) -> Difference:
        if isinstance(action, State):
            return Difference(changes=False, detail="reading changes nothing")
        wanted, killing = _wanted(action)
        now = self._server(action, call)
        ending = killing and now.sessions > 0
        then = f"would become {wanted}" if now.admin != wanted else f"stays {wanted}"
        more = f"; {now.sessions} sessions would be ended" if ending else ""
        return Difference(now.admin != wanted or ending, f"{_said(now)}; {then}{more}")

    def _settled(self, action: Disable | Drain | Enable, call: Call) -> Server:
        """Read the state back; give ending sessions a moment to be gone."""
        end = time.monotonic() + self.settings.haproxy_timeout
        while True:
            after = self._server(action, call)
            over = call.stop.is_set() or time.monotonic() >= min(end, call.deadline)
            if not _wanted(action)[1] or not after.sessions or over:
                return after
            call.stop.wait(TICK / 4)

    def _backend(self, given: str) -> str:
        backend = given or self.settings.haproxy_backend
        if not backend:
            raise Refused("haproxy: no backend; give it in the action or as the variable haproxy_backend")
        return backend

    def _server(self, action: Disable | Drain | Enable, call: Call) -> Server:
        return self._servers(self._backend(action.backend), action.server, call)[0]

    def _servers(self, backend: str, only: str, call: Call) -> list[Server]:
        states = self._table(f"show servers state {backend}", call)
        sessions = {
            row["svname"]: int(row["scur"] or 0) for row in self._table(f"show stat {backend} 4 -1", call)
        }
        servers = [_server_of(row, sessions) for row in states]
        found = [server for server in servers if only in ("", server.name)]
        if only and not found:
            there = ", ".join(server.name for server in servers)
            raise Refused(f"haproxy: backend {backend} has no server {only!r}; it has: {there}")
        return found

    def _table(self, command: str, call: Call) -> list[dict[str, str]]:
        """Ask for a table: "show servers state" is set with blanks, "show stat" is CSV; both start with #."""
        answer = self._ask(command, call)
        _refusal(command, answer)
        _, mark, text = answer.partition("# ")
        if not mark:
            raise LostAnswer(f"haproxy: {command!r} was answered with {answer[:200]!r}")
        separator = " " if command.startswith("show servers") else ","
        return list(csv.DictReader(io.StringIO(text.strip()), delimiter=separator))

    def _order(self, command: str, call: Call) -> None:
        """Give a command that is answered with an empty line when it is done."""
        answer = self._ask(command, call)
        _refusal(command, answer)
        if answer.strip():
            raise LostAnswer(f"haproxy: {command!r} was answered with {answer.strip()[:200]!r}")

    def _ask(self, command: str, call: Call) -> str:
        # What is asked after a person's stop finds out what was done; it is answered soon or not at all.
        stopped = call.stop.is_set()
        patience = min(self.settings.haproxy_timeout, call.left())
        end = time.monotonic() + (min(patience, LAST_LOOK) if stopped else patience)
        pieces: list[bytes] = []
        with _connect(self.settings.haproxy_address, max(end - time.monotonic(), 0.05)) as conn:
            try:
                conn.sendall(command.encode("ascii") + b"\n")
                while sum(map(len, pieces)) < LONGEST:
                    piece = _receive(conn, end, None if stopped else call.stop)
                    if not piece:
                        break
                    pieces.append(piece)
            except OSError as exc:
                raise LostAnswer(f"haproxy: no answer to {command!r}: {exc}") from exc
        answer = b"".join(pieces)
        # A command that was done is answered with an empty line at least.
        if not answer.endswith(b"\n"):
            raise LostAnswer(f"haproxy: the answer to {command!r} broke off after {len(answer)} bytes")
        return answer.decode("utf-8", "replace")


def _connect(address: str, timeout: float) -> socket.socket:
    host, _, port = address.rpartition(":")
    try:
        if address.startswith("/"):
            conn = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            conn.settimeout(timeout)
            try:
                conn.connect(address)
            except OSError:
                conn.close()
                raise
            return conn
        return socket.create_connection((host.strip("[]"), int(port)), timeout=timeout)
    except PermissionError as exc:
        raise Refused(f"haproxy: may not open {address}: {exc}; join the socket's group") from exc
    except ValueError as exc:
        raise Refused(f"haproxy: {address!r} is neither a socket's path nor host:port") from exc
    except OSError as exc:
        raise Unreachable(f"haproxy: cannot connect to {address}: {exc}") from exc


def _receive(conn: socket.socket, end: float, stop: threading.Event | None) -> bytes:
    while True:
        left = end - time.monotonic()
        if stop is not None and stop.is_set():
            raise TimeoutError("stopped by a person")
        if left <= 0:
            raise TimeoutError("timed out")
        conn.settimeout(min(left, TICK))
        try:
            return conn.recv(65536)
        except TimeoutError:
            continue


def _refusal(command: str, answer: str) -> None:
    """Raise Refused for the answers that HAProxy gives instead of doing anything."""
    text = answer.strip()
    if text in SAYS_NO:
        raise Refused(f"haproxy: {command!r}: {text}")
    if text.startswith("Permission denied"):
        raise Refused(f"haproxy: {command!r}: permission denied; the socket needs `level admin`")
    if text.startswith("Unknown command"):
        raise Refused(f"haproxy: {command!r}: this HAProxy does not know the command")


def _wanted(action: Disable | Drain | Enable) -> tuple[str, bool]:
    match action:
        case Disable():
            return "maint", action.kill_sessions
        case Drain():
            return "drain", False
        case Enable():
            return "ready", False
        case _:
            assert_never(action)


def _server_of(row: dict[str, str], sessions: dict[str, int]) -> Server:
    flags, operational = int(row["srv_admin_state"]), int(row["srv_op_state"])
    return Server(
        backend=row["be_name"],
        name=row["srv_name"],
        address=row["srv_addr"],
        port=int(row["srv_port"]),
        admin="maint" if flags & MAINT else "drain" if flags & DRAIN else "ready",
        operational=OPERATIONAL[operational] if operational < len(OPERATIONAL) else str(operational),
        weight=int(row["srv_uweight"]),
        sessions=sessions.get(row["srv_name"], 0),
    )


def _said(server: Server) -> str:
    where = f"{server.backend}/{server.name}"
    return f"{where} is {server.admin} and {server.operational}, with {server.sessions} sessions"
