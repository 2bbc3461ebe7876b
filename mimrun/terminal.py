"""A terminal on a target: an interactive session, byte by byte, whatever brings us there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Window:
    """The person's terminal.

    Arguments:
        columns, rows: its size in characters.
        kind: what it is called, as in the variable TERM.
    """

    columns: int
    rows: int
    kind: str = "xterm"


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end of a terminal.

    Arguments:
        account: as whom we are logged in.
        address: where, as it was dialled.
        identity: what proves that it is this target: of a host, the type and fingerprint of its key.
    """

    account: str
    address: str
    identity: str


class Terminal(Protocol):
    """A terminal on a target that we are logged in to. It is used by one thread, and never blocks once begun."""

    @property
    def peer(self) -> Peer:
        """Who is at the other end."""

    def begin(self) -> None:
        """Let the session begin. Nothing has been asked of the target before, besides the login.

        Raises:
            Refused: the target gives no terminal to this login.
            Unreachable: the host opens no channel for it.
            LostAnswer: the connection was lost while it began.
        """

    def fileno(self) -> int:
        """Give a descriptor that is readable when there is something to read, or the session is over."""

    def read(self) -> bytes:
        """Give what the target said meanwhile; empty where that is nothing."""

    def write(self, data: bytes) -> int:
        """Send what the person typed; gives how much of it was taken, 0 while there is no room."""

    def resize(self, columns: int, rows: int) -> None:
        """Say that the person's window has another size now."""

    def over(self) -> bool:
        """Say whether nothing more will come, and all that came has been read."""

    @property
    def status(self) -> int | None:
        """The exit status of a session that is over; None where it was lost."""

    def close(self) -> None:
        """End the session, wherever it is. May be called twice, and does not raise."""
