"""Change links: which change record a run is part of, what was read of it last, and what is still to be written to it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Final, Protocol

from pydantic import BaseModel, ConfigDict

from mimrun.log import kinds
from mimrun.log.entry import LogEntry
from mimrun.log.moment import write_moment

MOST_TOLD: Final = 20
"""So many additions that were given up are kept: the newest."""

NEW: Final = "new"
"""Stands for the reference of a record that is about to be made."""

_SEQ: Final = re.compile(r"\bseq=([0-9]+)")


class Writing(BaseModel):
    """An addition to a change record that is on its way.

    Arguments:
        seq: the entry that announced it, with its text.
        what, key: as that says.
        attempts: how often it was tried; `at` when last, and `reason` what came of it.
        unknown: the answer to the last try was lost.
    """

    model_config = ConfigDict(frozen=True)

    seq: int
    system: str
    ref: str
    what: str
    key: str
    since: str
    attempts: int = 0
    at: str = ""
    reason: str = ""
    unknown: bool = False


class RunChange(BaseModel):
    """The change record of a run.

    Arguments:
        system, ref, url: which it is; "" where none is linked.
        key: with which mimrun made it, or "".
        read: the digest of what was read last; `state` and `approval` of it, and `read_at` when it began to say so.
        problem: why it cannot be read, since `problem_at`; "" where it can.
        told: up to which entry of the run something was written to the record; `notes` how many work notes.
        began: that work began was written to this record.
        under_way: additions that are not there yet, the oldest first.
        given_up: those that the system did not take.
    """

    model_config = ConfigDict(frozen=True)

    run: str = ""
    incident: str = ""
    system: str = ""
    ref: str = ""
    url: str = ""
    key: str = ""
    linked: int = 0
    read: str = ""
    state: str = ""
    approval: str = ""
    read_at: str = ""
    problem: str = ""
    problem_at: str = ""
    told: int = 0
    notes: int = 0
    began: bool = False
    under_way: tuple[Writing, ...] = ()
    given_up: tuple[Writing, ...] = ()

    @property
    def is_linked(self) -> bool:
        """Say whether there is a record at all."""
        return bool(self.ref)

    @property
    def name(self) -> str:
        """What people call it, with its system."""
        return f"{self.system}:{self.ref}" if self.ref else ""

    def encode(self) -> bytes:
        """Give the bytes that the store keeps."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, data: bytes) -> RunChange:
        """Read what `encode` gave."""
        return cls.model_validate_json(data)


class ChangeLinks:
    """The projector: by run, its change record."""

    name: Final = "change-links/1"

    def empty(self) -> bytes:
        """A run without a change record."""
        return RunChange().encode()

    def key(self, entry: LogEntry) -> str | None:
        """An entry about a run's change record touches it."""
        about = kinds.ChangeLinked | kinds.ChangeRead | kinds.ChangeWriting | kinds.ChangeWritten
        return (entry.run or None) if isinstance(entry.body, about) else None

    def apply(self, state: bytes, entry: LogEntry, blobs: Mapping[str, bytes]) -> bytes:
        """Give what is known after an entry."""
        was = RunChange.decode(state).model_copy(update={"run": entry.run, "incident": entry.inc})
        match entry.body:
            case kinds.ChangeLinked() as body:
                was = _linked(was, body, entry)
            case kinds.ChangeRead() as body if (body.system, body.ref) == (was.system, was.ref):
                was = _read(was, body, entry)
            case kinds.ChangeWriting() as body:
                was = _writing(was, body, entry)
            case kinds.ChangeWritten() as body:
                was = _written(was, body, entry)
            case _:
                pass
        return was.encode()


def _linked(was: RunChange, body: kinds.ChangeLinked, entry: LogEntry) -> RunChange:
    """Give the state with another record; what was read of the one before says nothing about it."""
    fresh = {"read": "", "state": "", "approval": "", "read_at": "", "problem": "", "problem_at": ""}
    link = {"system": body.system, "ref": body.ref, "url": body.url, "key": body.key, "linked": entry.seq}
    return was.model_copy(update={**fresh, **link, "began": False, "notes": 0})


def _read(was: RunChange, body: kinds.ChangeRead, entry: LogEntry) -> RunChange:
    at = write_moment(entry.ts)
    if body.problem:
        since = was.problem_at if was.problem else at
        return was.model_copy(update={"problem": body.problem, "problem_at": since})
    said = {"read": body.record, "state": body.state, "approval": body.approval, "read_at": at}
    return was.model_copy(update={**said, "problem": "", "problem_at": ""})


def _writing(was: RunChange, body: kinds.ChangeWriting, entry: LogEntry) -> RunChange:
    one = Writing(
        seq=entry.seq,
        system=body.system,
        ref=body.ref,
        what=body.what,
        key=body.key,
        since=write_moment(entry.ts),
    )
    told = _SEQ.search(body.key) if body.what != "create" else None
    return was.model_copy(
        update={
            "under_way": (*was.under_way, one),
            "told": max(was.told, int(told[1]) if told else 0),
            "notes": was.notes + (body.what == "note"),
            "began": was.began or body.what == "started",
        }
    )


def _written(was: RunChange, body: kinds.ChangeWritten, entry: LogEntry) -> RunChange:
    one = next((w for w in was.under_way if w.seq == body.writing), None)
    if one is None:
        return was
    rest = tuple(w for w in was.under_way if w is not one)
    if body.status in ("done", "already"):
        return was.model_copy(update={"under_way": rest})
    tried = {"attempts": body.attempt, "at": write_moment(entry.ts), "reason": body.reason}
    tried_one = one.model_copy(update={**tried, "unknown": body.status == "unknown"})
    if body.final:
        return was.model_copy(update={"under_way": rest, "given_up": (*was.given_up, tried_one)[-MOST_TOLD:]})
    left = tuple(tried_one if w is one else w for w in was.under_way)
    return was.model_copy(update={"under_way": left})


class Projections(Protocol):
    """What gives folded states: the store, or its view inside a transaction."""

    def projection(self, name: str, key: str) -> bytes:
        """The state of a key."""

    def projections(self, name: str, prefix: str = "") -> Iterator[tuple[str, bytes]]:
        """Keys that start with the prefix, sorted, with their states."""


def change_of(view: Projections, run: str) -> RunChange:
    """Give what is known of a run's change record."""
    return RunChange.decode(view.projection(ChangeLinks.name, run))


def all_changes(view: Projections) -> list[RunChange]:
    """Give what is known of every run's change record."""
    return [RunChange.decode(state) for _, state in view.projections(ChangeLinks.name)]
