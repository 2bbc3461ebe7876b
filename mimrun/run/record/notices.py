"""Notices: which people were told of what, over which channel, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from pydantic import BaseModel, ConfigDict

from mimrun.log import kinds
from mimrun.log.entry import LogEntry
from mimrun.log.moment import write_moment


class Told(BaseModel):
    """What was done to tell one audience over one channel of one entry.

    Arguments:
        about: the entry that they are told of.
        events: what they were told successfully, such as `gate_reached`.
        at: when it was tried last.
        sending: the entry of a try of which nobody knows what came, or 0.
        failures: tries behind each other that came to nothing.
        reason: why the last one did.
    """

    model_config = ConfigDict(frozen=True)

    about: int = 0
    channel: str = ""
    audience: str = ""
    events: tuple[str, ...] = ()
    at: str = ""
    sending: int = 0
    failures: int = 0
    reason: str = ""

    def encode(self) -> bytes:
        """Give the bytes that the store keeps."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, data: bytes) -> Told:
        """Read what `encode` gave."""
        return cls.model_validate_json(data)


class Notices:
    """The projector: one state for each entry, audience and channel; the newest entry is the last key."""

    name: Final = "notices/1"

    def empty(self) -> bytes:
        """Nobody was told yet."""
        return Told().encode()

    def key(self, entry: LogEntry) -> str | None:
        """An entry about a notice touches it."""
        match entry.body:
            case kinds.NoticeSending() | kinds.NoticeSent() as body:
                return told_key(body.about, body.audience, body.channel)
            case _:
                return None

    def apply(self, state: bytes, entry: LogEntry, blobs: Mapping[str, bytes]) -> bytes:
        """Give the state after an entry."""
        was = Told.decode(state)
        match entry.body:
            case kinds.NoticeSending() as body:
                who = {"about": body.about, "channel": body.channel, "audience": body.audience}
                return was.model_copy(
                    update={**who, "at": write_moment(entry.ts), "sending": entry.seq}
                ).encode()
            case kinds.NoticeSent() as body if body.sending == was.sending:
                events = (
                    (*was.events, body.event) if body.done and body.event not in was.events else was.events
                )
                failures = 0 if body.done else was.failures + 1
                news = {"events": events, "sending": 0, "failures": failures, "reason": body.reason}
                return was.model_copy(update=news).encode()
            case _:
                return state


def told_key(about: int, audience: str, channel: str) -> str:
    """Name the state of one entry, audience and channel; keys sort as the entries do."""
    return f"{about:016d} {audience} {channel}"
