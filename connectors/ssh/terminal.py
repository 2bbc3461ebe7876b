"""A person's terminal on a host: a shell of their own on the connection that actions use, too."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from connectors.ssh.connection import Connection
from connectors.ssh.known_hosts import fingerprint, known_name
from connectors.ssh.lean import Channel, SSHException
from mimrun.connector import LostAnswer, Peer, Refused, Unreachable, Window

BEGINNING: Final = 10.0
"""Seconds a host gets to give a terminal and a shell."""
PIECE: Final = 32 * 1024
"""Bytes that are read or sent at once."""


class SshTerminal:
    """A shell on a host, with a terminal of its own there (RFC 4254, section 6.2).

    Neither the agent nor any variable but TERM is handed on.

    Arguments:
        connection: logged in; this takes care of none of it but its own channel.
        window: the person's.
    """

    def __init__(self, connection: Connection, window: Window) -> None:
        self._connection, self._window = connection, window
        self._channel: Channel | None = None

    @property
    def peer(self) -> Peer:
        """The host, with the key that was checked."""
        settings, key = self._connection.settings, self._connection.transport.get_remote_server_key()
        shown = f"{key.get_name()} {fingerprint(key.asbytes())}"
        return Peer(settings.user, known_name(settings.host, settings.port), shown)

    def begin(self) -> None:
        """Ask for a terminal and a shell; see `Terminal.begin`."""
        where, window = self._connection.settings.where, self._window
        channel = self._connection.take_channel(BEGINNING)
        try:
            channel.settimeout(BEGINNING)
            channel.get_pty(window.kind, window.columns, window.rows)
            channel.set_combine_stderr(True)
            channel.invoke_shell()
            channel.settimeout(0.0)
            channel.fileno()  # from here on, whatever arrives is seen by who waits on it
        except (SSHException, EOFError, OSError) as exc:
            channel.close()
            if self._connection.alive:
                raise Refused(f"{where}: the host gives no terminal to {self.peer.account}: {exc}") from exc
            raise LostAnswer(f"{where}: the connection was lost while the session began: {exc}") from exc
        self._channel = channel

    def fileno(self) -> int:
        """Give a descriptor that is readable when there is something to do."""
        return int(self._begun.fileno())

    def read(self) -> bytes:
        """Give what the host said meanwhile."""
        channel = self._begun
        try:
            return bytes(channel.recv(PIECE)) if channel.recv_ready() else b""
        except (SSHException, EOFError, OSError):
            return b""

    def write(self, data: bytes) -> int:
        """Send what the person typed, as far as the host has room for it."""
        try:
            return self._begun.send(data[:PIECE])
        except (SSHException, EOFError, OSError):
            # No room now; or it is over, which `over` says.
            return 0

    def resize(self, columns: int, rows: int) -> None:
        """Say that the window has another size; a session that is over does not mind."""
        with suppress(SSHException, EOFError, OSError):
            self._begun.resize_pty(columns, rows)

    def over(self) -> bool:
        """Say whether the shell has ended or the connection is gone, and all is read."""
        channel = self._begun
        if channel.recv_ready():
            return False
        return channel.closed or not self._connection.alive or (bool(channel.eof_received) and self._ended())

    @property
    def status(self) -> int | None:
        """The shell's exit status; 128 + the signal's number where a signal ended it; None where it was lost."""
        return self._begun.exit_status if self._ended() else None

    def close(self) -> None:
        """Close the channel; the host hangs up on the shell."""
        if self._channel is not None:
            with suppress(SSHException, EOFError, OSError):
                self._channel.close()

    def _ended(self) -> bool:
        return self._begun.status_event.is_set() and self._begun.exit_status >= 0

    @property
    def _begun(self) -> Channel:
        if self._channel is None:
            raise Unreachable(f"{self._connection.settings.where}: the session has not begun")
        return self._channel
