"""mimrun's own register of changes: what the log says of each record, for whoever has no change system.

A record is folded from the entries about it and from nothing else. Long and personal text is in blobs, which can be
erased; the fold has only their digests, so that it stays the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Final, Literal, Protocol, TypeAlias

from pydantic import BaseModel, ConfigDict

from mimrun import canonical
from mimrun.change_system import ChangeState, ChangeType
from mimrun.errors import TamperError
from mimrun.gate.change import REGISTER
from mimrun.gate.people import acted
from mimrun.gate.terms import a_change
from mimrun.log import kinds
from mimrun.log.entry import LogEntry
from mimrun.log.moment import write_moment

MOST_RUNS: Final = 50
"""So many runs that a record is linked to are kept with it: the newest."""

Result: TypeAlias = Literal["successful", "with_problems", "failed"]
"""What came of a change, as its end says."""

_S = ChangeState
_END: Final = {
    _S.IMPLEMENT: (_S.REVIEW, _S.CANCELED),
    _S.REVIEW: (_S.CLOSED,),
    _S.CLOSED: (),
    _S.CANCELED: (),
}

MOVES: Final[Mapping[ChangeType, Mapping[ChangeState, tuple[ChangeState, ...]]]] = {
    "normal": {
        _S.DRAFT: (_S.ASSESS, _S.CANCELED),
        _S.ASSESS: (_S.AUTHORIZE, _S.DRAFT, _S.CANCELED),
        _S.AUTHORIZE: (_S.SCHEDULED, _S.DRAFT, _S.CANCELED),
        _S.SCHEDULED: (_S.IMPLEMENT, _S.AUTHORIZE, _S.DRAFT, _S.CANCELED),
        **_END,
    },
    "emergency": {
        _S.DRAFT: (_S.ASSESS, _S.AUTHORIZE, _S.CANCELED),
        _S.ASSESS: (_S.AUTHORIZE, _S.DRAFT, _S.CANCELED),
        _S.AUTHORIZE: (_S.SCHEDULED, _S.REVIEW, _S.DRAFT, _S.CANCELED),
        _S.SCHEDULED: (_S.IMPLEMENT, _S.AUTHORIZE, _S.DRAFT, _S.CANCELED),
        **_END,
    },
    "standard": {
        _S.DRAFT: (_S.AUTHORIZE, _S.CANCELED),
        _S.ASSESS: (),
        _S.AUTHORIZE: (_S.SCHEDULED, _S.DRAFT, _S.CANCELED),
        _S.SCHEDULED: (_S.AUTHORIZE, _S.DRAFT, _S.CLOSED, _S.CANCELED),
        **_END,
    },
}
"""By type and state, the states that may follow. A record that is written afterwards goes from authorize to review."""

ENDED: Final = frozenset({ChangeState.CLOSED, ChangeState.CANCELED})

NOT_BEGUN: Final = frozenset(
    {ChangeState.DRAFT, ChangeState.ASSESS, ChangeState.AUTHORIZE, ChangeState.SCHEDULED}
)
"""States in which nothing was done yet."""


class Content(BaseModel):
    """What a record says, as people approve it; its digest is over all of it.

    Arguments:
        targets: the hosts that it is about.
        hosts: of a standard change: the host pattern within which it counts.
        window_start, window_end: when it is planned, or "".
        run, digest: what its approval is for: a run, and the digest of a gate's steps, of a plan or of a runbook.
        runbook: its name and version, `name@version`.
        owner: who owns the runbook, as it says.
        valid_until: of a standard change: until when it counts.
        requested_by: the person for whom it was opened.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["mimchange/1"] = "mimchange/1"
    type: ChangeType
    title: str
    risk: Literal["low", "medium", "high"]
    justification: str = ""
    implementation: str = ""
    backout: str = ""
    test: str = ""
    targets: tuple[str, ...] = ()
    hosts: str = ""
    window_start: str = ""
    window_end: str = ""
    run: str = ""
    digest: str = ""
    runbook: str = ""
    owner: str = ""
    valid_until: str = ""
    incident: str = ""
    requested_by: str = ""

    def encode(self) -> bytes:
        """Give the canonical bytes that the log keeps."""
        return canonical.encode(self.model_dump(mode="json"))

    @property
    def record(self) -> str:
        """`sha256:<hex>` over all that it says."""
        return canonical.digest_bytes(self.encode())


class Said(BaseModel):
    """What a person decided about a record.

    Arguments:
        despite: conflicts that the person knew of and answers for, as `conflict_name` gives them.
    """

    model_config = ConfigDict(frozen=True)

    person: str
    auth: str
    role: str
    decision: Literal["approved", "rejected"]
    at: str
    reason: str = ""
    despite: tuple[str, ...] = ()


class Registered(BaseModel):
    """A record of the register, as far as it does not stand in its text.

    Arguments:
        seq: the entry that has its text now, and `record` the digest of that.
        hands: names (`mimrun.gate.people.acted`) of everybody who wrote at it: they do not approve it.
        key: tells that it was made already, where mimrun itself makes one; or "".
        said: what was decided about the text as it is now.
        runs: that it is linked to.
        result: what came of it, once it is closed.
    """

    model_config = ConfigDict(frozen=True)

    ref: str = ""
    type: ChangeType = "normal"
    title: str = ""
    risk: str = ""
    state: ChangeState = ChangeState.DRAFT
    seq: int = 0
    record: str = ""
    runbook: str = ""
    incident: str = ""
    opened_at: str = ""
    moved_at: str = ""
    reason: str = ""
    hands: tuple[str, ...] = ()
    key: str = ""
    retrospective: bool = False
    due_at: str = ""
    said: tuple[Said, ...] = ()
    runs: tuple[str, ...] = ()
    result: str = ""

    @property
    def number(self) -> int:
        """Its number, for sorting."""
        return int(self.ref.rpartition("-")[2] or 0)

    def encode(self) -> bytes:
        """Give the bytes that the store keeps."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, data: bytes) -> Registered:
        """Read what `encode` gave."""
        return cls.model_validate_json(data)


class Register:
    """The projector: by its reference, each record of the register."""

    name: Final = "register/1"

    def empty(self) -> bytes:
        """A record that nobody has opened."""
        return Registered().encode()

    def key(self, entry: LogEntry) -> str | None:
        """An entry about a record of the register touches it."""
        match entry.body:
            case (
                kinds.ChangeOpened()
                | kinds.ChangeEdited()
                | kinds.ChangeMoved()
                | kinds.ChangeDecided() as body
            ):
                return body.ref
            case kinds.ChangeLinked() as link if link.system == REGISTER:
                return link.ref
            case _:
                return None

    def apply(self, state: bytes, entry: LogEntry, blobs: Mapping[str, bytes]) -> bytes:
        """Give the record after an entry.

        Raises:
            TamperError: the entry cannot follow.
        """
        return follow(Registered.decode(state), entry).encode()


def follow(was: Registered, entry: LogEntry) -> Registered:
    """Give a record after an entry about it.

    Raises:
        TamperError: the entry cannot follow.
    """
    match entry.body:
        case kinds.ChangeOpened() as body:
            if was.ref:
                raise TamperError(f"entry {entry.seq}: {body.ref} was opened already")
            return _opened(body, entry)
        case _ if not was.ref:
            if isinstance(entry.body, kinds.ChangeLinked):
                return was
            raise TamperError(f"entry {entry.seq}: is about a change that nobody has opened")
        case kinds.ChangeEdited() as body:
            # What was decided was decided about another text; in review nothing is done by it any more.
            hands = (*was.hands, *acted(entry.actor.id, entry.actor.auth))
            changes = {
                "record": body.record,
                "seq": entry.seq,
                "said": (),
                "hands": tuple(sorted(set(hands))),
            }
            told = {"title": body.title or was.title, "risk": body.risk or was.risk}
            return was.model_copy(update=changes | told)
        case kinds.ChangeMoved() as body:
            return _moved(was, body, entry)
        case kinds.ChangeDecided() as body:
            return was.model_copy(update={"said": _said(was, body, entry)})
        case kinds.ChangeLinked():
            runs = (*(run for run in was.runs if run != entry.run), entry.run)
            return was.model_copy(update={"runs": runs[-MOST_RUNS:]})
        case _:
            return was


def _opened(body: kinds.ChangeOpened, entry: LogEntry) -> Registered:
    at = write_moment(entry.ts)
    return Registered(
        ref=body.ref,
        type=body.type,
        title=body.title,
        risk=body.risk,
        seq=entry.seq,
        record=body.record,
        runbook=body.runbook_digest,
        incident=entry.inc,
        opened_at=at,
        moved_at=at,
        hands=tuple(sorted({*acted(entry.actor.id, entry.actor.auth), *body.behalf})),
        key=body.key,
        retrospective=body.retrospective,
        due_at=body.due_at,
    )


def _moved(was: Registered, body: kinds.ChangeMoved, entry: LogEntry) -> Registered:
    try:
        state = ChangeState(body.state)
    except ValueError as exc:
        raise TamperError(f"entry {entry.seq}: {body.state!r} is no state of a change") from exc
    if state not in MOVES[was.type][was.state]:
        raise TamperError(f"entry {entry.seq}: {a_change(was.type)} does not go from {was.state} to {state}")
    changes: dict[str, object] = {"state": state, "reason": body.reason, "moved_at": write_moment(entry.ts)}
    return was.model_copy(update=changes | ({"result": body.result} if body.result else {}))


def _said(was: Registered, body: kinds.ChangeDecided, entry: LogEntry) -> tuple[Said, ...]:
    """Give what was decided after a decision; what is about another text counts for nothing."""
    rest = tuple(one for one in was.said if one.person != entry.actor.id)
    if body.decision == "withdrawn":
        return rest
    if body.record != was.record:
        return was.said
    said = Said(
        person=entry.actor.id,
        auth=entry.actor.auth,
        role=body.role,
        decision=body.decision,
        at=write_moment(entry.ts),
        reason=body.reason,
        despite=body.despite,
    )
    return (*rest, said)


class RegisterNumbers:
    """The projector: the last number that was given; there is one state."""

    name: Final = "register-numbers/1"
    one: Final = "last"

    def empty(self) -> bytes:
        """No number was given."""
        return b"0"

    def key(self, entry: LogEntry) -> str | None:
        """Each record that is opened has a number."""
        return self.one if isinstance(entry.body, kinds.ChangeOpened) else None

    def apply(self, state: bytes, entry: LogEntry, blobs: Mapping[str, bytes]) -> bytes:
        """Give the last number after an entry."""
        assert isinstance(entry.body, kinds.ChangeOpened)
        number = entry.body.ref.rpartition("-")[2]
        return str(max(int(state), int(number) if number.isdigit() else 0)).encode()


class RegisterKeys:
    """The projector: by its key, the record that mimrun itself made with it."""

    name: Final = "register-keys/1"

    def empty(self) -> bytes:
        """No record was made."""
        return b""

    def key(self, entry: LogEntry) -> str | None:
        """A record that was made with a key is found by it."""
        return (entry.body.key or None) if isinstance(entry.body, kinds.ChangeOpened) else None

    def apply(self, state: bytes, entry: LogEntry, blobs: Mapping[str, bytes]) -> bytes:
        """The first one stays."""
        assert isinstance(entry.body, kinds.ChangeOpened)
        return state or entry.body.ref.encode()


class Projections(Protocol):
    """What gives folded states: the store, or its view inside a transaction."""

    def projection(self, name: str, key: str) -> bytes:
        """The state of a key."""

    def projections(self, name: str, prefix: str = "") -> Iterator[tuple[str, bytes]]:
        """Keys that start with the prefix, sorted, with their states."""


def registered_in(view: Projections, ref: str) -> Registered:
    """Give a record of the register; one without a reference where there is none."""
    return Registered.decode(view.projection(Register.name, ref))


def all_registered(view: Projections) -> list[Registered]:
    """Give every record of the register, the newest first."""
    found = [Registered.decode(state) for _, state in view.projections(Register.name)]
    return sorted((one for one in found if one.ref), key=lambda one: one.number, reverse=True)


def next_ref(view: Projections) -> str:
    """Give the reference that the next record will have."""
    return f"CHG-{int(view.projection(RegisterNumbers.name, RegisterNumbers.one)) + 1}"


def ref_of_key(view: Projections, key: str) -> str:
    """Give the record that was made with a key; "" where there is none."""
    return view.projection(RegisterKeys.name, key).decode() if key else ""


def standards_for(view: Projections, runbook: str) -> list[Registered]:
    """Give the standard changes that allow a runbook with this digest and stand, the oldest first."""
    bare = runbook.removeprefix("sha256:")
    marks = (b'"type":"standard"', bare.encode())
    # Most records are of something else, and need not be read for that.
    states = (state for _, state in view.projections(Register.name) if all(mark in state for mark in marks))
    found = [one for one in map(Registered.decode, states) if one.runbook == bare]
    return sorted((one for one in found if one.state is ChangeState.SCHEDULED), key=lambda one: one.number)
