"""A change of GLPI and what belongs to it as a change record: pure, so that every way to read it can be tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal
from zoneinfo import ZoneInfo

from connectors.change.fields import Reading, approved_since, at
from connectors.change.glpi.line import read_line
from connectors.change.glpi.settings import STATES, GlpiSettings
from mimrun.change_system import ChangeApproval, ChangeRecord, ChangeType, ChangeVote, Window
from mimrun.connector import Json

TYPES: Final[Mapping[str, ChangeType]] = {
    "standard": "standard",
    "normal": "normal",
    "emergency": "emergency",
}
APPROVALS: Final = {
    "1": ChangeApproval.NOT_REQUESTED,
    "2": ChangeApproval.REQUESTED,
    "3": ChangeApproval.APPROVED,
    "4": ChangeApproval.REJECTED,
}
WORDS: Final[Mapping[str, Literal["none", "open", "approved", "rejected"]]] = {
    "1": "none",
    "2": "open",
    "3": "approved",
    "4": "rejected",
}
WAITS: Final = "4"
CONTENT: Final = "21"
"""The number by which searches and the history name the description."""
LACKS: Final = frozenset({"conflicts", "conflicts_at", "retrospective", "runbook", "valid_until"})
"""What GLPI has no place for."""


@dataclass(frozen=True, slots=True)
class Change:
    """All that a change record is made from.

    Arguments:
        validations, tasks: rows of ChangeValidation and ChangeTask.
        items: the things that the change is about, by their own rows.
        history: rows of Log; None where they are not looked at.
    """

    value: Json
    validations: Sequence[Json]
    tasks: Sequence[Json]
    items: Sequence[Json]
    history: Sequence[Json] | None = None


def record_of(system: str, change: Change, settings: GlpiSettings) -> ChangeRecord:
    """Read a change as a change record; whatever does not have its form is named as unreadable."""
    reading, value = Reading(), change.value
    ref = reading.text("ref", at(value, "id"), needed=True)
    raw = reading.text("state", at(value, "status"), needed=True)
    line = read_line(at(value, "content"), reading)
    votes = tuple(vote for row in change.validations if (vote := _vote(row, reading, settings)) is not None)
    _changed(change, votes, reading, settings)
    names = {reading.text("targets", at(row, "name"), needed=True) for row in change.items}
    return ChangeRecord(
        system=system,
        ref=ref,
        url=f"{settings.url}/front/change.form.php?id={ref}",
        type=None if "type" in reading.unreadable else reading.choice("type", line.get("type"), TYPES),
        title=reading.words("title", at(value, "name")),
        state=reading.choice("state", raw, {**STATES, **settings.state_map}) if raw else None,
        raw_state=raw,
        approval=reading.choice("approval", at(value, "global_validation"), APPROVALS),
        votes=tuple(
            vote for row in change.validations if (vote := _vote(row, reading, settings)) is not None
        ),
        window=_window(change.tasks, reading, settings),
        on_hold=raw == WAITS,
        targets=tuple(sorted(names - {""})),
        requested_by=reading.text("requested_by", at(value, "users_id_recipient")),
        run=reading.text("run", line.get("run")),
        digest=reading.text("digest", line.get("digest")),
        version=reading.text("version", at(value, "date_mod")),
        backout=reading.words("backout", at(value, "backoutplancontent")),
        unreadable=reading.unreadable,
        absent=LACKS,
    )


def _vote(row: Json, reading: Reading, settings: GlpiSettings) -> ChangeVote | None:
    """Read what one validator said; a row that cannot be read makes all votes unreadable."""
    word = reading.choice("votes", at(row, "status"), WORDS) or "open"
    if word == "none":
        return None
    kind, who = at(row, "itemtype_target"), at(row, "users_id_validate")
    if isinstance(kind, str) and kind not in ("", "User") and who in (0, "0", None):
        if word != "open":
            reading.miss("votes", f"a {kind} has validated, and nobody says who")
        return None
    if who in (0, "0", None) or not isinstance(who, int | str):
        who = at(row, "items_id_target")
    account = reading.text("votes", who, needed=True)
    when = (
        reading.time("votes", at(row, "validation_date"), zone=ZoneInfo(settings.zone))
        if word != "open"
        else None
    )
    reason = reading.words("votes", at(row, "comment_validation"))
    return ChangeVote(account, None if word == "open" else word, when, reason)


def _changed(change: Change, votes: Sequence[ChangeVote], reading: Reading, settings: GlpiSettings) -> None:
    """Call the line unreadable where the description was changed after it was approved.

    What was changed in the same second counts as changed afterwards: nobody can tell which came first.
    """
    approved = None if change.history is None else approved_since(votes, reading)
    if change.history is None or approved is None:
        return
    for row in change.history:
        if str(at(row, "id_search_option")) != CONTENT:
            continue
        inner = Reading()
        when = inner.time("at", at(row, "date_mod"), zone=ZoneInfo(settings.zone), needed=True)
        if when is None or when >= approved:
            who = inner.words("who", at(row, "user_name"), longest=60) or "somebody"
            for name in ("digest", "run", "type"):
                reading.miss(name, f"{who} changed the description after it was approved")


def _window(tasks: Sequence[Json], reading: Reading, settings: GlpiSettings) -> Window | None:
    """Read when the change is planned: from the beginning of its first planned task to the end of its last."""
    windows = []
    for row in tasks:
        found = reading.window(at(row, "begin"), at(row, "end"), zone=ZoneInfo(settings.zone))
        windows += [found] if found is not None else []
    if not windows or "window" in reading.unreadable:
        return None
    return Window(min(one.start for one in windows), max(one.end for one in windows))
