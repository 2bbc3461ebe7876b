"""One connection to a PostgreSQL server: made, watched over, and ended."""

from __future__ import annotations

import hashlib
import os
import select
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, wait
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Final, NoReturn

from connectors.postgres import values
from connectors.postgres.actions import PostgresSettings
from mimrun.connector import Call, Json, LostAnswer, Refused, SettingsError, Unreachable, read_secret

if TYPE_CHECKING:
    import psycopg

    Connect = Callable[[str, int], psycopg.Connection[tuple[object, ...]]]

TICK: Final = 0.05
CANCELLING: Final = 0.7
"""Seconds that the server gets to answer a cancellation, before its process for us is ended."""
ENDING: Final = 0.7
"""Seconds that it gets to end that process and to say so, before the connection is cut."""
IDLE: Final = 10_000
"""Milliseconds after which the server ends a transaction in which nobody says anything any more."""
MARGIN: Final = 250
"""Milliseconds by which the server's own time-out comes before ours: its word is better than our silence."""
NOT_YET: Final = (
    "starting up",
    "shutting down",
    "not yet accepting",
    "too many clients",
    "remaining connection slots",
)
SYNTAX_ERROR: Final = "42601"
"""Source: PostgreSQL, appendix A."""
END: Final = """
select pid, pg_terminate_backend(pid) from pg_stat_activity
where starts_with(application_name, %s) and pid <> pg_backend_pid()
"""
GONE: Final = (
    "select count(*) from pg_stat_activity where pid = any(%s) and starts_with(application_name, %s)"
)
SIGN: Final = "select set_config('application_name', %s, false)"


class Said(Exception):
    """The server answered with an error, and the connection is fine."""

    def __init__(self, error: psycopg.Error, why: str) -> None:
        self.sqlstate = error.sqlstate or ""
        told = error.diag
        # The statement itself, not one that it runs inside: said before anything of it is done.
        self.unreadable = self.sqlstate == SYNTAX_ERROR and not told.context and not told.internal_query
        text = told.message_primary or str(error)
        place = f", at character {told.statement_position}" if told.statement_position else ""
        code = f" (SQLSTATE {self.sqlstate}{place})" if self.sqlstate else ""
        hint = f"; {told.message_hint}" if told.message_hint else ""
        super().__init__(f"{why + ': ' if why else ''}{text}{code}{hint}")
        self.data: Mapping[str, Json] = {"sqlstate": self.sqlstate}


def mark_of(key: str) -> str:
    """Give what a session's application name ends with while it works at a key: 16 characters of its hash."""
    return hashlib.sha256(key.encode()).hexdigest()[:16]


class Session:
    """A connection that is made when it is needed, and made anew when it has died.

    Arguments:
        settings: where the server is.
    """

    def __init__(self, settings: PostgresSettings) -> None:
        self.settings = settings
        self._connection: psycopg.Connection[tuple[object, ...]] | None = None
        self._why = ""
        # Of this session alone, so that another connection finds its process, also behind a pooler.
        self._application = f"mimrun-{uuid.uuid4().hex[:16]}-"
        self._signed = ""

    @property
    def connection(self) -> psycopg.Connection[tuple[object, ...]]:
        """The open connection."""
        assert self._connection is not None
        return self._connection

    @property
    def where(self) -> str:
        """The server's address, for a person."""
        return f"{self.settings.host}:{self.settings.postgres_port}"

    def password(self) -> str | None:
        """Give the password, or None where libpq shall find one itself (~/.pgpass) or none is needed.

        Raises:
            Refused: the reference names nothing.
        """
        s = self.settings
        reference = f"env:{s.postgres_password_env}" if s.postgres_password_env else ""
        reference = f"file:{s.postgres_password_file}" if s.postgres_password_file else reference
        try:
            return read_secret(reference).reveal() if reference else None
        except SettingsError as exc:
            raise Refused(f"postgres: {exc}") from exc

    def parameters(self) -> dict[str, str | int]:
        """Give the connection's parameters but the password, as libpq names them."""
        s = self.settings
        given: dict[str, str | int] = {
            "host": s.host,
            "port": s.postgres_port,
            "user": s.postgres_user,
            "dbname": s.postgres_database,
            "sslmode": s.postgres_sslmode,
        }
        return given | ({"sslrootcert": s.postgres_sslrootcert} if s.postgres_sslrootcert else {})

    def open(self, call: Call | None = None) -> None:
        """Connect, unless a live connection is there.

        Arguments:
            call: the attempt; its deadline and its stop end the connecting, too.

        Raises:
            Unreachable: nobody answers, or the server takes no connections now.
            Refused: the login, the database or the certificate is not accepted.
        """
        if self._connection is not None and not self._is_dead():
            return
        self.close()
        import psycopg  # noqa: PLC0415 - 0.15 s that only a step of this connector pays

        try:
            self._signed = mark_of(call.key) if call is not None else ""
            self._connection = self._dial(call)
        except psycopg.Error as exc:
            said = " ".join(str(exc).split())
            refused = ("FATAL" in said or "certificate" in said or "SSL" in said) and not any(
                word in said for word in NOT_YET
            )
            raise (Refused if refused else Unreachable)(f"postgres: {self.where}: {said}") from exc
        values.adapt(self._connection)

    def _dial(self, call: Call | None) -> psycopg.Connection[tuple[object, ...]]:
        """Connect in a thread of its own: a name or a host that does not answer cannot be interrupted."""
        application, patience = f"{self._application}{self._signed}", self.settings.postgres_connect_timeout
        if call is None:
            return self._connect(application, patience)
        dialled: Future[psycopg.Connection[tuple[object, ...]]] = Future()

        def dial() -> None:
            try:
                dialled.set_result(self._connect(application, patience))
            except BaseException as exc:  # noqa: BLE001 - it is raised where it is waited for
                dialled.set_exception(exc)

        threading.Thread(target=dial, daemon=True).start()
        while not wait((dialled,), TICK).done:
            if call.stop.is_set() or call.left() == 0:
                dialled.add_done_callback(_close_unused)
                why = "stopped by a person" if call.stop.is_set() else "the step's deadline came"
                raise Unreachable(f"postgres: {self.where}: {why} before a connection was made")
        return dialled.result()

    def _connect(self, application: str, patience: int) -> psycopg.Connection[tuple[object, ...]]:
        import psycopg  # noqa: PLC0415 - see open()
        from psycopg.conninfo import make_conninfo  # noqa: PLC0415 - as above

        return psycopg.connect(
            make_conninfo("", **self.parameters()),
            password=self.password(),
            connect_timeout=patience,
            application_name=application,
            client_encoding="utf8",
            # A host that lost its power sends nothing: notice it in seconds, not in hours.
            keepalives_idle=5,
            keepalives_interval=2,
            keepalives_count=3,
            tcp_user_timeout=10_000,
            autocommit=True,
            # Only what asks for it is prepared.
            prepare_threshold=2**31,
        )

    def close(self) -> None:
        """Let go of the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def is_idle(self) -> bool:
        """Say whether the connection is fine and no transaction is open: what was begun is over."""
        from psycopg.pq import TransactionStatus  # noqa: PLC0415 - see open()

        return (
            not self.connection.closed and self.connection.info.transaction_status == TransactionStatus.IDLE
        )

    def bounds(self, call: Call) -> str:
        """Give the settings that every transaction begins with."""
        left = int(call.left() * 1000)
        timeout = max(left - MARGIN, left // 2, 1)
        return (
            f"set local statement_timeout = {timeout}; set local idle_in_transaction_session_timeout = {IDLE};"
            " set local timezone = 'UTC'; set local datestyle = 'ISO'"
        )

    @contextmanager
    def asking(self, call: Call) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
        """Ask the server something, and end it when the time is over or a person stops it.

        Raises:
            Said: the server answered with an error.
            LostAnswer: the connection went away.
        """
        import psycopg  # noqa: PLC0415 - see open()

        self._why = ""
        done = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(self.connection, call, done), daemon=True)
        watcher.start()
        try:
            self._sign(call)
            yield self.connection
        except psycopg.Error as exc:
            done.set()
            watcher.join()  # what it has seen of the end is part of the answer
            call.output.feed(stderr=str(exc).encode() + b"\n")
            self._raise(exc)
        finally:
            done.set()
            watcher.join()

    def _sign(self, call: Call) -> None:
        """Let the server's list of processes say at which key it works, for whoever has to end that later.

        It is said with the connection, or once for all of an action and before its transaction, which could take it back.
        """
        mark = mark_of(call.key)
        if self._signed != mark and self.is_idle():
            self.connection.execute(SIGN, (f"{self._application}{mark}",))
            self._signed = mark

    def one(self, sql: str, call: Call) -> tuple[object, ...]:
        """Run a statement of ours outside of a transaction, and give its one row."""
        with self.asking(call) as connection:
            row = connection.execute(sql).fetchone()
        assert row is not None
        return row

    def _rollback(self) -> None:
        """Take back what a transaction has done; without a connection the server does it."""
        import psycopg  # noqa: PLC0415 - see open()

        with suppress(psycopg.Error):
            self.connection.rollback()

    def _raise(self, exc: psycopg.Error) -> NoReturn:
        severity = exc.diag.severity_nonlocalized or "ERROR"
        # No SQLSTATE and a connection that is fine: psycopg itself could not send or read a value.
        if severity == "ERROR" and not self.connection.closed:
            self._rollback()
            raise Said(exc, self._why) from exc
        # FATAL ends the session: what it was doing is as unknown as after a cut line.
        said = " ".join(str(exc).split())
        self.close()
        raise LostAnswer(f"postgres: {self.where}: {self._why or 'the connection was lost'}: {said}") from exc

    def _is_dead(self) -> bool:
        """Say whether it is of no use: hung up on meanwhile, or left in a transaction. Asks nothing."""
        import psycopg  # noqa: PLC0415 - see open()

        if not self.is_idle():
            return True
        wire = self.connection.pgconn
        try:
            # An idle server says nothing, but for a last word before it hangs up, and then the end itself.
            for _ in range(3):
                if not select.select([wire.socket], [], [], 0)[0]:
                    return False
                wire.consume_input()
        except psycopg.Error:
            pass
        return True

    def _watch(
        self, connection: psycopg.Connection[tuple[object, ...]], call: Call, done: threading.Event
    ) -> None:
        while not done.wait(TICK):
            if call.stop.is_set() or call.left() == 0:
                break
        else:
            return
        self._why = "stopped by a person" if call.stop.is_set() else "not done by its deadline"
        until = time.monotonic() + CANCELLING
        # 1. Ask the server to cancel; its answer then says what became of the statement.
        with suppress(Exception):
            connection.cancel_safe(timeout=CANCELLING)
        if done.wait(max(until - time.monotonic(), 0)):
            return
        # 2. End the server process over another connection, and look whether it is gone.
        ending = _Ending(self._application)
        ender = threading.Thread(target=ending.run, args=(self._connect,), daemon=True)
        ender.start()
        ender.join(ENDING)
        ending.give_up()
        self._why = f"{self._why}, and it did not react to a cancellation; {ending.proof}"
        # 3. A server that does not answer is hung up on.
        if not done.is_set():
            _hang_up(connection)


def _close_unused(dialled: Future[psycopg.Connection[tuple[object, ...]]]) -> None:
    if dialled.exception() is None:
        dialled.result().close()


class _Ending:
    """The end of a session's server process, asked for and watched over a second connection.

    Arguments:
        application: the name by which the session's process is found.
    """

    def __init__(self, application: str) -> None:
        self.proof = "whether the server goes on with it is not proven"
        self._application = application
        self._over = threading.Event()
        self._connections: list[psycopg.Connection[tuple[object, ...]]] = []

    def run(self, connect: Connect) -> None:
        """End the process, and put down a proof once it is gone."""
        with suppress(Exception), closing(connect("mimrun-stop", 2)) as other:
            self._connections.append(other)
            if self._over.is_set():
                return
            pids = [row[0] for row in other.execute(END, (self._application,))]
            # A process that was never seen is none that is known to be gone: it may be another server's.
            while pids and not self._over.is_set():
                if other.execute(GONE, (pids, self._application)).fetchone() == (0,):
                    self.proof = f"its server process {pids[0]} is proven ended"
                    return
                self._over.wait(TICK)

    def give_up(self) -> None:
        """Wait no longer, also not for an answer that never comes."""
        self._over.set()
        for connection in self._connections:
            _hang_up(connection)


def _hang_up(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    """Cut a line under another thread that waits for an answer: a close alone would not wake it."""
    with suppress(Exception), socket.socket(fileno=os.dup(connection.fileno())) as wire:
        wire.shutdown(socket.SHUT_RDWR)
