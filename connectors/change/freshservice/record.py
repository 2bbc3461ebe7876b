"""A change of Freshservice and its approvals as a change record: pure, so that every way to read it can be tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from connectors.change.fields import Reading, at
from connectors.change.freshservice.settings import STATES, TYPES, FreshserviceSettings
from mimrun.change_system import ChangeApproval, ChangeRecord, ChangeVote
from mimrun.connector import Json

LACKS: Final = frozenset({"conflicts", "conflicts_at", "on_hold", "retrospective", "runbook", "valid_until"})
"""What Freshservice has no place for."""
WORDS: Final[Mapping[str, Literal["approved", "rejected", "open", "void"]]] = {
    "approved": "approved",
    "rejected": "rejected",
    "requested": "open",
    "pending": "open",
    "cancelled": "void",
    "peer_responded": "void",
}
"""What the status of one approval means; `void` is a word that nobody waits for any more."""


@dataclass(frozen=True, slots=True)
class Change:
    """All that a change record is made from."""

    value: Json
    approvals: Sequence[Json]


def record_of(system: str, change: Change, settings: FreshserviceSettings) -> ChangeRecord:
    """Read a change as a change record; whatever does not have its form is named as unreadable."""
    reading, value = Reading(), change.value
    ref = reading.text("ref", at(value, "id"), needed=True)
    said = [_said(row, reading) for row in change.approvals]
    raw = reading.text("state", at(value, "status"), needed=True)
    custom = {name: at(value, "custom_fields", settings.field(name)) for name in ("run", "digest", "targets")}
    return ChangeRecord(
        system=system,
        ref=ref,
        url=f"{settings.url}/a/changes/{ref}",
        type=reading.choice("type", at(value, "change_type"), TYPES),
        title=reading.words("title", at(value, "subject")),
        state=reading.choice("state", raw, {**STATES, **settings.state_map}) if raw else None,
        raw_state=raw,
        approval=_approval([word for word, _ in said]),
        votes=tuple(vote for _, vote in said if vote is not None),
        window=reading.window(at(value, "planned_start_date"), at(value, "planned_end_date")),
        targets=reading.names("targets", custom["targets"]),
        requested_by=reading.text("requested_by", at(value, "requester_id")),
        run=reading.text("run", custom["run"]),
        digest=reading.text("digest", custom["digest"]),
        version=reading.text("version", at(value, "updated_at")),
        backout=reading.words(
            "backout", at(value, "planning_fields", "backout_plan", "description_text") or ""
        ),
        unreadable={name: why for name, why in reading.unreadable.items() if name != "backout"},
        absent=LACKS,
    )


def _said(row: Json, reading: Reading) -> tuple[str, ChangeVote | None]:
    """Read one approver's word; one that cannot be read makes all votes unreadable."""
    account = reading.text("votes", at(row, "approver_id"), needed=True)
    word = reading.choice("votes", at(row, "approval_status", "name"), WORDS) or "open"
    when = reading.time("votes", at(row, "updated_at"))
    reason = reading.words("votes", at(row, "latest_remark"))
    match word:
        case "approved" | "rejected":
            return word, ChangeVote(account, word, when, reason)
        case "open":
            return word, ChangeVote(account, None)
        case _:
            return word, None


def _approval(said: Sequence[str]) -> ChangeApproval:
    """Say what came of asking: one rejection is one, and a word that is still waited for keeps it open."""
    if "rejected" in said:
        return ChangeApproval.REJECTED
    if "open" in said:
        return ChangeApproval.REQUESTED
    return ChangeApproval.APPROVED if "approved" in said else ChangeApproval.NOT_REQUESTED
