"""Shells: which recorded sessions of people on hosts are open, and how far each is on record."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Final

from pydantic import BaseModel, ConfigDict

from mimrun.errors import TamperError
from mimrun.log import kinds
from mimrun.log.entry import LogEntry
from mimrun.log.moment import write_moment


class Shell(BaseModel):
    """One recorded session.

    Arguments:
        seq: the entry with which it began; it is named by that.
        by: who sat at it.
        parts: how many pieces are on record, up to `until_ms` after its beginning, recorded at `seen_at`.
        ended: "" while nobody has recorded its end.
    """

    model_config = ConfigDict(frozen=True)

    seq: int = 0
    incident: str = ""
    run: str = ""
    target: str = ""
    by: str = ""
    opened_at: str = ""
    seen_at: str = ""
    parts: int = 0
    until_ms: int = 0
    ended: str = ""

    @property
    def open(self) -> bool:
        """Say whether its end is not on record."""
        return self.seq > 0 and not self.ended

    def encode(self) -> bytes:
        """Give the bytes that the store keeps."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":")).encode()


class Shells:
    """The projector: session → how far it is on record."""

    name: Final = "shells/1"

    def empty(self) -> bytes:
        """A session that nobody has begun."""
        return Shell().encode()

    def key(self, entry: LogEntry) -> str | None:
        """An entry about a session touches it."""
        match entry.body:
            case kinds.ShellOpened():
                return key_of(entry.seq)
            case kinds.ShellRecorded() | kinds.ShellClosed() as body:
                return key_of(body.shell)
            case _:
                return None

    def apply(self, state: bytes, entry: LogEntry, blobs: Mapping[str, bytes]) -> bytes:
        """Give the session after an entry.

        Raises:
            TamperError: a piece or an end of a session that is not open, or a piece out of order.
        """
        was, at = Shell.model_validate_json(state), write_moment(entry.ts)
        match entry.body:
            case kinds.ShellOpened():
                return Shell(
                    seq=entry.seq,
                    incident=entry.inc,
                    run=entry.run,
                    target=entry.target,
                    by=entry.actor.id,
                    opened_at=at,
                    seen_at=at,
                ).encode()
            case kinds.ShellRecorded() as body:
                _must_be_open(was, body.shell, entry)
                if body.part != was.parts + 1:
                    raise TamperError(
                        f"entry {entry.seq}: piece {body.part} of a session that has {was.parts}"
                    )
                changes = {"parts": body.part, "until_ms": body.until_ms, "seen_at": at}
                return was.model_copy(update=changes).encode()
            case kinds.ShellClosed() as body:
                _must_be_open(was, body.shell, entry)
                return was.model_copy(update={"ended": body.ended}).encode()
            case _:
                return state


def _must_be_open(was: Shell, seq: int, entry: LogEntry) -> None:
    if not was.open:
        how = f"its end ({was.ended}) is on record" if was.seq else "no entry began it"
        raise TamperError(f"entry {entry.seq}: shell {seq} is not open: {how}")


def key_of(seq: int) -> str:
    """Give the key of a session, so that keys sort as their numbers do."""
    return f"{seq:016}"


def shells_in(states: Iterator[tuple[str, bytes]]) -> list[Shell]:
    """Give every session, the oldest first, from the states of the projection."""
    return [Shell.model_validate_json(state) for _, state in states]
