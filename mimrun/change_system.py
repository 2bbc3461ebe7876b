"""A change system: the tool in which an organisation keeps its change records. What its adapters stand on.

An adapter reads a record into `ChangeRecord`, and writes links, notes, times and results back. It never gives an
approval: an account that approves for mimrun would be nobody's word. What it cannot read it names in
`ChangeRecord.unreadable`, and a decision that needs the field is then "closed".

Adapters are found by the entry-point group `mimrun.change_systems`; each stands on this module alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import ClassVar, Generic, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from mimrun.errors import LostAnswer, Refused, SettingsError, Unreachable
from mimrun.secret import Secret, read_secret

__all__ = [
    "Added",
    "Addition",
    "AdditionKind",
    "ChangeApproval",
    "ChangeDraft",
    "ChangeRecord",
    "ChangeState",
    "ChangeSystem",
    "ChangeSystemSettings",
    "ChangeType",
    "ChangeVote",
    "Conflict",
    "Field",
    "LostAnswer",
    "Refused",
    "Secret",
    "SettingsError",
    "Unreachable",
    "Window",
    "read_secret",
]

ChangeType: TypeAlias = Literal["standard", "normal", "emergency"]


class ChangeState(StrEnum):
    """Where a change stands, whatever its system calls it."""

    DRAFT = "draft"
    ASSESS = "assess"
    AUTHORIZE = "authorize"
    SCHEDULED = "scheduled"
    IMPLEMENT = "implement"
    REVIEW = "review"
    CLOSED = "closed"
    CANCELED = "canceled"


class ChangeApproval(StrEnum):
    """What came of asking for a change to be allowed."""

    NOT_REQUESTED = "not_requested"
    REQUESTED = "requested"
    APPROVED = "approved"
    REJECTED = "rejected"
    CANCELED = "canceled"
    NOT_REQUIRED = "not_required"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class ChangeVote:
    """What one approver said in the change system.

    Arguments:
        account: the approver's account there.
        decision: None where they have not decided.
        at: when they decided, UTC; None where the system does not say.
        reason: their comment.
        auth: how much the name is worth, where mimrun knows that itself: in its own register; else "".
    """

    account: str
    decision: Literal["approved", "rejected"] | None
    at: datetime | None = None
    reason: str = ""
    auth: str = ""


@dataclass(frozen=True, slots=True)
class Window:
    """From when until when a change is planned, UTC."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Conflict:
    """Something that speaks against the planned time, in the system's own words.

    Arguments:
        type: such as `blackout` or `ci_already_scheduled`.
        with_: the other record, or "".
    """

    type: str
    with_: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeRecord:
    """A change record as every system's adapter gives it: what decisions are made from.

    Arguments:
        system: under which name the system stands in `changes.yaml`; `register` for mimrun's own.
        ref: what people call it: "CHG0030001", "42", "OPS-7".
        url: its page, for people.
        raw_state: the state in the system's own word or number.
        votes: of the approvers that the system names.
        window: when it is planned; None where the record has no time.
        on_hold: somebody stopped it for now.
        conflicts: what speaks against its time; empty where nothing does.
        conflicts_at: when the system looked for conflicts last; None where it never did, or does not say.
        targets: the hosts that it is about, by the names that the inventory has for them.
        requested_by: account of whoever asked for it.
        run: the run that mimrun wrote into it, or "".
        digest: the digest that mimrun wrote into it: of what is to be approved, or of a runbook; or "".
        version: the system's own mark of this state of the record (an ETag), or "".
        runbook, valid_until: of a standard change: what may be run without asking, and until when.
        backout: how the change is taken back, in words.
        retrospective: it was written after the fact.
        unreadable: fields that could not be read, each with why; what needs one of them is not allowed.
        absent: fields that this system does not have at all, so that nothing is decided from them.
    """

    system: str
    ref: str
    url: str = ""
    type: ChangeType | None = None
    title: str = ""
    state: ChangeState | None = None
    raw_state: str = ""
    approval: ChangeApproval | None = None
    votes: tuple[ChangeVote, ...] = ()
    window: Window | None = None
    on_hold: bool = False
    conflicts: tuple[Conflict, ...] = ()
    conflicts_at: datetime | None = None
    targets: tuple[str, ...] = ()
    requested_by: str = ""
    run: str = ""
    digest: str = ""
    version: str = ""
    runbook: str = ""
    valid_until: datetime | None = None
    backout: str = ""
    retrospective: bool = False
    unreadable: Mapping[str, str] = field(default_factory=dict)
    absent: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeDraft:
    """A record that mimrun asks a system to make.

    Arguments:
        key: tells whether it was made already, when the answer to an earlier try was lost.
        run, digest: what its approval is for; the adapter writes both where `read` finds them again.
        plan: what is done, step by step, for people.
    """

    key: str
    type: ChangeType
    title: str
    risk: Literal["low", "medium", "high"]
    justification: str
    plan: str
    backout: str
    test: str = ""
    targets: tuple[str, ...] = ()
    window: Window | None = None
    run: str = ""
    digest: str = ""
    requested_by: str = ""
    incident: str = ""


AdditionKind: TypeAlias = Literal["link", "note", "started", "ended", "result", "close"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Addition:
    """Something that mimrun adds to a record: a fact, never a decision.

    Arguments:
        what: a link to the run; a work note; when work really began or ended; the result; the end of the record.
        key: stands in the text, `[mimrun KEY]`, so that the same addition is found and not made twice.
        text: for people.
        url: of the run, or of its evidence, or "".
        at: for `started` and `ended`: when, UTC.
        successful: for `result` and `close`.
    """

    what: AdditionKind
    key: str
    text: str
    url: str = ""
    at: datetime | None = None
    successful: bool = True


@dataclass(frozen=True, slots=True)
class Added:
    """What came of an addition.

    Arguments:
        already: it was there from an earlier try.
        detail: what the system did not take, although it answered well; "" where it took everything.
    """

    already: bool = False
    detail: str = ""


class ChangeSystemSettings(BaseModel):
    """What `changes.yaml` says of a system; each adapter adds its own keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = Field(description="Where the system is: https://HOST, or http://127.0.0.1 for a tunnel.")
    ca_file: str = Field("", description="Certificates to trust instead of the system's.")
    timeout_s: int = Field(15, ge=1, le=120, description="Seconds until an answer must be here.")
    state_map: dict[str, ChangeState] = Field(
        {}, description="By the system's own state: what it means here; it adds to the adapter's own table."
    )


S = TypeVar("S", bound=ChangeSystemSettings)


class ChangeSystem(ABC, Generic[S]):
    """One conversation with a change system. It retries only what changes nothing, and decides nothing.

    Every method raises `Unreachable` (nothing was changed: no connection, the system is busy or broken), `Refused`
    (the system said no: no such record, a login that is not accepted, a field that it does not take) or
    `LostAnswer` (asked, and no answer came: the same call with the same key settles it).

    Arguments:
        name: under which it stands in `changes.yaml`.
        settings: what stands there.
    """

    Settings: ClassVar[type[ChangeSystemSettings]]

    def __init__(self, name: str, settings: S) -> None:
        self.name, self.settings = name, settings

    @abstractmethod
    def read(self, ref: str) -> ChangeRecord:
        """Read a record and what its approvers said."""

    @abstractmethod
    def find(self, key: str) -> str:
        """Give the reference of the record that was made with this key; "" where there is none."""

    @abstractmethod
    def create(self, draft: ChangeDraft) -> str:
        """Make a record and ask its approvers; gives its reference."""

    @abstractmethod
    def add(self, ref: str, addition: Addition) -> Added:
        """Add a fact to a record, once: an addition whose key is there already is not made again."""

    @abstractmethod
    def close(self) -> None:
        """End the conversation."""
