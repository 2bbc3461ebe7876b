"""A row of `change_request` and what belongs to it as a change record: pure, so that every way to read it can be tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from connectors.change.fields import MISSING, Found, Reading, approved_since, at
from connectors.change.servicenow.settings import ServiceNowSettings
from mimrun.change_system import ChangeApproval, ChangeRecord, ChangeType, ChangeVote, Conflict
from mimrun.connector import Json

FIELDS: Final = (
    "sys_id",
    "number",
    "short_description",
    "type",
    "state",
    "approval",
    "on_hold",
    "start_date",
    "end_date",
    "requested_by.user_name",
    "cmdb_ci.name",
    "backout_plan",
    "unauthorized",
    "correlation_id",
    "correlation_display",
    "sys_mod_count",
)
"""The columns that are asked for."""

TYPES: Final[Mapping[str, ChangeType]] = {
    "standard": "standard",
    "normal": "normal",
    "emergency": "emergency",
}
APPROVALS: Final = {
    "not requested": ChangeApproval.NOT_REQUESTED,
    "requested": ChangeApproval.REQUESTED,
    "approved": ChangeApproval.APPROVED,
    "rejected": ChangeApproval.REJECTED,
    "cancelled": ChangeApproval.CANCELED,
    "not_required": ChangeApproval.NOT_REQUIRED,
}
UNASKED: Final = ("cancelled", "not_required", "duplicate", "not requested")
"""Rows of approvers whose word nobody waits for any more."""
LACKS: Final = frozenset({"runbook", "valid_until"})
"""What a change of ServiceNow has no place for."""
PROTECTED: Final = {
    "type": "type",
    "start_date": "window",
    "end_date": "window",
    "correlation_id": "run",
    "correlation_display": "digest",
    "cmdb_ci": "targets",
    "backout_plan": "backout",
}
"""The columns that an approval is about, and the field of the record that each is read into."""
RUN: Final = "mimrun:"
"""What stands in front of the run in `correlation_id`, where other tools write theirs as well."""


@dataclass(frozen=True, slots=True)
class Change:
    """All that a change record is made from.

    Arguments:
        row: of change_request, as the Table interface gives it with `sysparm_display_value=all`.
        approvers: rows of sysapproval_approver.
        affected: rows of task_ci.
        conflicts: the answer of the search for conflicts; MISSING where it was not asked.
        audit: rows of sys_audit, or why they could not be read; None where they were not asked for.
    """

    row: Json
    approvers: Sequence[Json]
    affected: Sequence[Json]
    conflicts: Found = MISSING
    audit: Sequence[Json] | str | None = None


def record_of(system: str, change: Change, settings: ServiceNowSettings) -> ChangeRecord:
    """Read a change as a change record; whatever does not have its form is named as unreadable."""
    reading, row = Reading(), change.row
    ref = reading.text("ref", value_of(row, "number"), needed=True)
    raw = number(value_of(row, "state"))
    votes = _votes(change.approvers, reading)
    conflicts, looked = _conflicts(change.conflicts, reading, settings)
    _changed(change, votes, reading)
    kind = reading.choice("type", value_of(row, "type"), TYPES)
    return ChangeRecord(
        system=system,
        ref=ref,
        url=f"{settings.url}/nav_to.do?uri=change_request.do?sys_id={sys_id(row)}",
        type=kind,
        title=reading.words("title", value_of(row, "short_description")),
        state=reading.choice("state", raw, settings.states()),
        raw_state=f"{raw} {shown_of(row, 'state')}".strip() if isinstance(raw, str) else "",
        approval=reading.choice("approval", value_of(row, "approval"), APPROVALS),
        votes=votes,
        window=reading.window(value_of(row, "start_date"), value_of(row, "end_date"), zone=UTC),
        on_hold=reading.flag("on_hold", value_of(row, "on_hold"), empty=True),
        conflicts=conflicts,
        conflicts_at=looked,
        targets=_targets(change, reading),
        requested_by=reading.text("requested_by", value_of(row, "requested_by.user_name")),
        run=_run(reading.text("run", value_of(row, "correlation_id"))),
        digest=reading.text("digest", value_of(row, "correlation_display")),
        version=reading.text("version", value_of(row, "sys_mod_count")),
        backout=reading.words("backout", value_of(row, "backout_plan")),
        retrospective=reading.flag("retrospective", value_of(row, "unauthorized"), empty=True),
        unreadable=reading.unreadable,
        absent=LACKS if settings.check_conflicts else LACKS | {"conflicts", "conflicts_at"},
    )


def value_of(row: Json, column: str) -> Found:
    """Give the value of a column; with `sysparm_display_value=all` it stands beside what is shown."""
    found = at(row, column)
    return at(found, "value") if isinstance(found, dict) else found


def shown_of(row: Json, column: str) -> str:
    """Give what is shown for a column."""
    found = at(row, column, "display_value")
    return found if isinstance(found, str) else ""


def sys_id(row: Json) -> str:
    """Give the id of a row; "" where it has none."""
    found = value_of(row, "sys_id")
    return found if isinstance(found, str) else ""


def number(value: Found) -> Found:
    """Give a number as it is written in tables: the Change interface gives "3.0" where the Table interface gives "3"."""
    if isinstance(value, str) and value.endswith(".0") and value.removesuffix(".0").lstrip("-").isdecimal():
        return value.removesuffix(".0")
    return value


def _run(text: str) -> str:
    return text.removeprefix(RUN) if text.startswith(RUN) else ""


def _votes(rows: Sequence[Json], reading: Reading) -> tuple[ChangeVote, ...]:
    """Read what approvers said; a row that cannot be read makes all of them unreadable."""
    votes = []
    for row in rows:
        state = reading.text("votes", value_of(row, "state"), needed=True)
        if state in UNASKED:
            continue
        account = reading.text("votes", value_of(row, "approver.user_name"), needed=True)
        when = reading.time("votes", value_of(row, "sys_updated_on"), zone=UTC)
        reason = reading.words("votes", value_of(row, "comments"))
        match state:
            case "approved" | "rejected":
                votes.append(ChangeVote(account, state, when, reason))
            case "requested":
                votes.append(ChangeVote(account, None))
            case _:
                reading.miss(
                    "votes", f"{account} is in the state {state!r}, which is not among those that are known"
                )
    return tuple(votes)


def _targets(change: Change, reading: Reading) -> tuple[str, ...]:
    names = {reading.text("targets", value_of(row, "ci_item.name"), needed=True) for row in change.affected}
    return tuple(sorted({reading.text("targets", value_of(change.row, "cmdb_ci.name")), *names} - {""}))


def _conflicts(
    answer: Found, reading: Reading, settings: ServiceNowSettings
) -> tuple[tuple[Conflict, ...], datetime | None]:
    """Read the conflicts, and when they were looked for. Its status and its count say "Conflict" and 1 for none."""
    if not settings.check_conflicts:
        return (), None
    rows = at(answer, "result", "conflicts")
    if not isinstance(rows, list):
        reading.miss("conflicts", "the search for conflicts gave no list of them")
        return (), None
    looked = reading.time("conflicts_at", at(answer, "result", "last_run"), zone=UTC)
    found = []
    for row in rows:
        kind = reading.text("conflicts", value_of(row, "type"), needed=True)
        found.append(Conflict(kind, shown_of(row, "change")))
    return tuple(found), looked


def _changed(change: Change, votes: Sequence[ChangeVote], reading: Reading) -> None:
    """Call unreadable what was changed after it was approved, where the instance keeps who changed what.

    What was changed in the same second counts as changed afterwards: nobody can tell which came first.
    """
    approved = None if change.audit is None else approved_since(votes, reading)
    if change.audit is None or approved is None:
        return
    if isinstance(change.audit, str):
        reading.miss(
            "digest", f"sys_audit cannot be read ({change.audit}), so nobody knows whether it was changed"
        )
        return
    for row in change.audit:
        column, inner = value_of(row, "fieldname"), Reading()
        when = inner.time("at", value_of(row, "sys_created_on"), zone=UTC, needed=True)
        name = PROTECTED.get(column) if isinstance(column, str) else None
        if name and (when is None or when >= approved):
            who = inner.words("who", value_of(row, "user")) or "somebody"
            reading.miss(name, f"{who} changed {column} after it was approved")
