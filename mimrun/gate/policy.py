"""The policy: what must be there before something may be changed, by risk, priority and freeze.

Deciding is pure: `terms` takes a policy, a situation and the runbook's own gate, and gives what that gate
asks for. It is called again before every effect; where it gives something else than was asked for, the gate
is void and is asked anew. There is no way to write that a gate opens because nobody answered.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from pydantic import Field

from mimrun.gate.priority import PRIORITIES as PRIORITIES  # noqa: PLC0414 - what a policy goes by
from mimrun.gate.priority import Priority as Priority  # noqa: PLC0414 - likewise
from mimrun.gate.terms import ChangeKind, Terms
from mimrun.runbook.duration import Duration
from mimrun.runbook.launch import RiskRow
from mimrun.runbook.model import Identifier, Needed, OnTimeout, Part
from mimrun.runbook.node import PlannedGate

Excluded: TypeAlias = Literal["requester", "launcher", "author"]

RANK: Final[Mapping[ChangeKind, int]] = {"none": 0, "standard": 1, "emergency": 2, "normal": 3}
"""The kinds of change records, the one that asks most last: a normal change is assessed and scheduled."""
FREEZE_APPROVER: Final = "freeze_approver"
"""The role that may allow something although a calendar is closed."""


class Cell(Part):
    """What one place of the matrix asks for; nothing, where nothing is written.

    Arguments:
        freeze_override, refused: only in a row's `freeze`.
        pre_authorised: a valid standard change for this runbook and these targets stands in for approvals and change.
    """

    approvals: tuple[Needed, ...] = Field((), description="All of these are needed, each another person.")
    change: ChangeKind = Field(
        "none", description="The kind of change record that must be there and allow it."
    )
    pre_authorised: bool = Field(
        False, description="A valid standard change for this runbook and these targets is enough instead."
    )
    signed: bool = Field(False, description="Only approvals signed with the approver's own key count.")
    expires: Duration | None = Field(
        None,
        gt=0,
        description="How long the gate waits, and an approval counts; the policy's where left out.",
    )
    on_timeout: OnTimeout | None = Field(
        None, description="What happens when nobody decided in time; it wins over the runbook's own gate."
    )
    escalation: tuple[Identifier, ...] | None = Field(
        None, description="Who is asked besides, one role after the other; the policy's where left out."
    )
    freeze_override: bool = Field(False, description="In `freeze`: a freeze approver must allow it besides.")
    refused: str = Field("", max_length=300, description="In `freeze`: why nobody can allow it.")

    @property
    def asks_nothing(self) -> bool:
        """Say whether nothing must be there."""
        return not (self.approvals or self.freeze_override or self.refused) and self.change == "none"


NOTHING: Final = Cell()


class Row(Part):
    """What changes of one risk ask for, by the priority of the incident, and what a freeze adds.

    Arguments:
        other: for priorities that have no cell of their own, and incidents whose priority nobody declared.
        freeze: added to the cell of the priority while a calendar is closed.
    """

    P1: Cell | None = None
    P2: Cell | None = None
    P3: Cell | None = None
    P4: Cell | None = None
    P5: Cell | None = None
    undeclared: Cell | None = None
    other: Cell
    freeze: Cell

    def cell(self, priority: Priority | None) -> tuple[str, Cell]:
        """Give the cell for a priority, and the name of the column that it stands in."""
        column = priority or "undeclared"
        own: Cell | None = getattr(self, column)
        return ("other", self.other) if own is None else (column, own)

    def cells(self) -> Iterable[tuple[str, Cell]]:
        """Give every cell that is written, with its column."""
        for column in (*PRIORITIES, "undeclared", "other", "freeze"):
            cell: Cell | None = getattr(self, column)
            if cell is not None:
                yield column, cell


def _needs(*roles: str) -> tuple[Needed, ...]:
    return tuple(Needed(role=role) for role in roles)


_BOTH: Final = ("change_manager", "major_incident_manager")
_LOW: Final = Row(
    P1=NOTHING,
    P2=NOTHING,
    other=Cell(approvals=_needs("responder"), pre_authorised=True),
    freeze=Cell(approvals=_needs("responder")),
)
_MEDIUM: Final = Row(
    P1=Cell(approvals=_needs(*_BOTH), change="emergency", pre_authorised=True),
    P2=Cell(approvals=_needs("change_manager"), change="emergency"),
    other=Cell(approvals=_needs("change_manager"), change="normal"),
    freeze=Cell(freeze_override=True),
)
_HIGH: Final = Row(
    P1=Cell(approvals=_needs(*_BOTH), change="emergency"),
    P2=Cell(approvals=_needs(*_BOTH), change="emergency"),
    other=Cell(approvals=_needs(*_BOTH), change="normal"),
    freeze=Cell(refused="nothing of high risk is changed in a freeze; what cannot wait breaks the glass"),
)


class Matrix(Part):
    """What is asked for, by risk. What only reads asks for nothing, so it has no row."""

    low: Row = _LOW
    medium: Row = _MEDIUM
    high: Row = _HIGH

    def row(self, risk: Literal["low", "medium", "high"]) -> Row:
        """Give the row of a risk."""
        return {"low": self.low, "medium": self.medium, "high": self.high}[risk]


class Triggers(Part):
    """What alerts may launch by themselves; everything else they propose, and a person launches it."""

    launch: tuple[Literal["read_only", "low", "medium"], ...] = Field(
        ("read_only", "low"), description="These risks, on the terms of the matrix."
    )
    pre_authorised: tuple[Literal["low", "medium"], ...] = Field(
        ("medium",), description="These besides, where a valid standard change stands for it."
    )


class BreakGlass(Part):
    """How somebody goes past the gates."""

    how: Literal["two_people", "one_and_page"] = Field(
        "two_people", description="A second person must want it too, or one goes at once and others are told."
    )
    roles: tuple[Identifier, ...] = Field(
        (), description="Who may; without roles everybody in the people file."
    )
    settle_within: Duration = Field(
        24 * 3_600_000, gt=0, description="So soon the change that tells why must be complete and reviewed."
    )


class ManualWork(Part):
    """How people are reminded of work that they are to do by hand."""

    remind_every: Duration = Field(15 * 60_000, ge=0, description="0s reminds nobody.")
    reminders: int = Field(4, ge=0, le=100, description="So many times.")


class Policy(Part):
    """Everything that the policy file says; what it leaves out is as here.

    Arguments:
        excluded: whose approvals never count, under any of their accounts.
        on_timeout: for gates in front of a launch; a runbook's own gate says it itself.
        escalation: who is asked besides, one role after the other, each time that nobody decided in time.
        file, lines: where it stands; the line of each cell by its name, such as `matrix.medium.P1`.
    """

    matrix: Matrix = Matrix()
    excluded: frozenset[Excluded] = frozenset({"requester", "launcher", "author"})
    expires: Duration = Field(30 * 60_000, gt=0)
    on_timeout: OnTimeout = OnTimeout.ESCALATE
    escalation: tuple[Identifier, ...] = ("change_manager", "major_incident_manager", "executive")
    signed: bool = False
    triggers: Triggers = Triggers()
    prioritize: tuple[Identifier, ...] = ("major_incident_manager", "service_desk")
    priority_lasts: Duration = Field(12 * 3_600_000, gt=0)
    break_glass: BreakGlass = BreakGlass()
    manual: ManualWork = ManualWork()
    file: str = ""
    lines: dict[str, int] = {}

    def place(self, rule: str) -> str:
        """Say where a rule stands, such as `policy.yaml:12`; a rule that is not written is mimrun's own."""
        line = self.lines.get(rule)
        return (
            f"{self.file}:{line}"
            if line
            else f"mimrun's own default, {rule} is not in {self.file or 'a file'}"
        )


@dataclass(frozen=True, slots=True)
class Situation:
    """What terms depend on besides the rules; every one of these is looked up anew at each decision.

    Arguments:
        risk: as `runbook.launch.row_of` has it: `read_only` where the plan changes nothing.
        priority: of the incident; None while nobody declared one.
        frozen: a calendar is closed now for some target of the plan, or cannot be read.
        standard: a valid standard change stands for this very runbook digest and all of its targets.
        triggered: an alert launched the run, and no person did.
    """

    risk: RiskRow
    priority: Priority | None = None
    frozen: bool = False
    standard: bool = False
    triggered: bool = False

    @property
    def words(self) -> str:
        """The situation for a sentence."""
        if self.risk == "read_only":
            return "something that only reads"
        at = f"at {self.priority}" if self.priority else "with no priority declared"
        return f"a change of {self.risk} risk {at}" + (" in a freeze" if self.frozen else "")


def terms(policy: Policy | None, situation: Situation, own: PlannedGate) -> Terms:
    """Give what a gate asks for. The steps, in order:

    1. What only reads asks for what the runbook's own gate asks for, and nothing else.
    2. Without a policy the runbook's own gate stands alone, and the kind of change it names is a word; but where a
       calendar is closed, a freeze approver must allow it.
    3. With one, the cell of the risk and the priority is taken. A valid standard change stands in for it where the
       cell says so.
    4. In a freeze, what the row's `freeze` says is added; a standard change does not stand in for that.
    5. The runbook's own gate is added: by role the larger count, of the kinds of change the one that asks more.
    6. What an alert may not launch is refused, whatever else is there.

    Arguments:
        policy: the one in force, or None where there is no policy file.
        own: the runbook's own gate, or the one in front of a launch (`runbook.launch.launch_gate`), which asks for
            nothing itself. Its `expires_ms` of 0 means: as long as the policy says.
    """
    if situation.risk == "read_only":
        return _own_terms(own, policy, "the runbook's own gate" if own.approvals else "nothing is changed")
    if policy is None:
        alone = _own_terms(own, None, "the runbook's own gate; there is no policy file")
        closed = "; a calendar is closed" if situation.frozen else ""
        return alone.model_copy(
            update={"freeze_override": situation.frozen, "because": alone.because + closed}
        )
    _, cell = rule_of(policy, situation)
    cell = _pre_authorised(cell) if situation.standard and cell.pre_authorised else cell
    if situation.frozen:
        cell = _both(cell, policy.matrix.row(situation.risk).freeze)
    return _joined(policy, cell, situation, own)


def rule_of(policy: Policy, situation: Situation) -> tuple[str, Cell]:
    """Give the cell of the matrix that holds, before a freeze is added, and its name such as `matrix.low.P1`."""
    if situation.risk == "read_only":
        return "matrix.read_only", NOTHING
    column, cell = policy.matrix.row(situation.risk).cell(situation.priority)
    return f"matrix.{situation.risk}.{column}", cell


def may_trigger(policy: Policy, risk: RiskRow, *, standard: bool) -> str:
    """Say why an alert may not launch something by itself; "" where it may.

    Arguments:
        standard: a valid standard change stands for it.
    """
    if risk in policy.triggers.launch:
        return ""
    pre = risk in policy.triggers.pre_authorised
    if pre and standard:
        return ""
    need = ", and no valid standard change stands for it" if pre else ""
    return f"an alert may not launch a change of {risk} risk{need}; it proposes it, and a person launches it"


def at_least(given: Terms, wanted: Terms, *, standard: bool = False) -> bool:
    """Say whether terms ask for everything that others ask for.

    Arguments:
        standard: a valid standard change stands, so that one which is asked for is there.
    """
    if given.refused or wanted.refused:
        return bool(given.refused)
    counts = {need.role: need.count for need in given.approvals}
    rank = {**RANK, "standard": 0} if standard else RANK
    return (
        all(counts.get(need.role, 0) >= need.count for need in wanted.approvals)
        and rank[given.change] >= rank[wanted.change]
        and given.freeze_override >= wanted.freeze_override
        and given.signed >= wanted.signed
        and given.expires_ms <= wanted.expires_ms
    )


def _own_terms(own: PlannedGate, policy: Policy | None, because: str) -> Terms:
    rules = policy or Policy()
    return Terms(
        approvals=own.approvals,
        expires_ms=own.expires_ms or rules.expires,
        on_timeout=own.on_timeout if own.expires_ms else rules.on_timeout,
        escalation=policy.escalation if policy else (),
        because=because,
    )


def _pre_authorised(cell: Cell) -> Cell:
    """Give what is left of a cell where a valid standard change stands: that this change is there."""
    return cell.model_copy(update={"approvals": (), "change": "standard"})


def _both(cell: Cell, freeze: Cell) -> Cell:
    """Give a cell with what a freeze adds to it."""
    both = {
        "approvals": _most(cell.approvals, freeze.approvals),
        "change": _stronger(cell.change, freeze.change),
        "signed": cell.signed or freeze.signed,
        "expires": _shortest(cell.expires, freeze.expires) or None,
        "on_timeout": freeze.on_timeout or cell.on_timeout,
        "escalation": cell.escalation if freeze.escalation is None else freeze.escalation,
        "freeze_override": freeze.freeze_override,
        "refused": freeze.refused,
    }
    # A copy, since a cell that is made reads durations as people write them.
    return cell.model_copy(update=both)


def _joined(policy: Policy, cell: Cell, situation: Situation, own: PlannedGate) -> Terms:
    """Give what the policy's cell and the runbook's own gate ask for together."""
    own_change = _kind(own.change)
    if cell.change == "standard" and situation.standard and own_change == "emergency":
        own_change = "standard"  # what was authorised beforehand needs no change made in a hurry
    standing = policy.on_timeout if not own.expires_ms else own.on_timeout
    refused = may_trigger(policy, situation.risk, standard=situation.standard) if situation.triggered else ""
    added = "; and the runbook's own gate" if own.approvals else ""
    return Terms(
        approvals=_most(cell.approvals, own.approvals),
        change=_stronger(cell.change, own_change),
        freeze_override=cell.freeze_override,
        refused=cell.refused or refused,
        signed=policy.signed or cell.signed,
        expires_ms=_shortest(cell.expires or policy.expires, own.expires_ms),
        on_timeout=cell.on_timeout or standing,
        escalation=policy.escalation if cell.escalation is None else cell.escalation,
        because=f"the policy for {situation.words}{added}",
    )


def _most(first: Iterable[Needed], second: Iterable[Needed]) -> tuple[Needed, ...]:
    """Give the larger count of each role, sorted by role."""
    counts: dict[str, int] = {}
    for need in (*first, *second):
        counts[need.role] = max(need.count, counts.get(need.role, 0))
    return tuple(Needed(role=role, count=count) for role, count in sorted(counts.items()))


def _stronger(first: ChangeKind, second: ChangeKind) -> ChangeKind:
    return max(first, second, key=RANK.__getitem__)


def _shortest(first: int | None, second: int | None) -> int:
    """Give the shorter of two times of which one may be left open; 0 where both are."""
    return min((time for time in (first, second) if time), default=0)


def _kind(word: str) -> ChangeKind:
    """Read the kind of change of a planned gate; a word that nobody knows asks for the most."""
    return next((kind for kind in RANK if kind == word), "normal")
