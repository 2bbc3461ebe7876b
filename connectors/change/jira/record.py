"""A request of a service desk and its approvals as a change record: pure, so that every way to read it can be tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from connectors.change.fields import Found, Reading, approved_since, at
from connectors.change.jira.settings import JiraSettings
from mimrun.change_system import ChangeApproval, ChangeRecord, ChangeType, ChangeVote
from mimrun.connector import Json

TYPES: Final[Mapping[str, ChangeType]] = {
    "standard": "standard",
    "normal": "normal",
    "emergency": "emergency",
}
LACKS: Final = frozenset({"conflicts", "conflicts_at", "on_hold", "retrospective", "runbook", "valid_until"})
"""What a request has no place for."""
DECISIONS: Final[Mapping[str, Literal["approved", "rejected", "open"]]] = {
    "approved": "approved",
    "declined": "rejected",
    "pending": "open",
}
PROTECTED: Final = {
    "type": "type",
    "run": "run",
    "digest": "digest",
    "targets": "targets",
    "window_start": "window",
    "window_end": "window",
    "backout": "backout",
}
"""What an approval is about, and the field of the record that each is read into."""


@dataclass(frozen=True, slots=True)
class Request:
    """All that a change record is made from.

    Arguments:
        issue: with its history.
        approvals: of the request, all of them.
    """

    issue: Json
    approvals: Sequence[Json]


@dataclass(frozen=True, slots=True)
class _Step:
    """One approval: a step of the workflow at which people were asked."""

    name: str
    asked: datetime | None
    said: str
    votes: tuple[ChangeVote, ...]


def record_of(system: str, request: Request, settings: JiraSettings) -> ChangeRecord:
    """Read a request as a change record; whatever does not have its form is named as unreadable."""
    reading, issue = Reading(), request.issue
    custom = _Custom(at(issue, "fields"), settings)
    ref = reading.text("ref", at(issue, "key"), needed=True)
    raw = reading.text("state", at(issue, "fields", "status", "name"), needed=True)
    steps = _last_of_each([_step(row, reading, settings) for row in request.approvals])
    votes = tuple(vote for step in steps for vote in step.votes)
    _changed(issue, votes, reading, settings)
    window = "window_start" in settings.fields and "window_end" in settings.fields
    absent = LACKS | {
        name for name, holds in _OPTIONAL.items() if not all(h in settings.fields for h in holds)
    }
    return ChangeRecord(
        system=system,
        ref=ref,
        url=f"{settings.url}/browse/{ref}",
        type=reading.choice("type", custom.plain("type"), TYPES),
        title=reading.words("title", at(issue, "fields", "summary")),
        state=reading.choice("state", raw, settings.states()) if raw else None,
        raw_state=raw,
        approval=_approval(steps),
        votes=votes,
        window=reading.window(custom.plain("window_start"), custom.plain("window_end")) if window else None,
        targets=reading.names("targets", custom.plain("targets")) if "targets" in settings.fields else (),
        requested_by=reading.text("requested_by", at(issue, "fields", "reporter", settings.account)),
        run=reading.text("run", custom.plain("run")),
        digest=reading.text("digest", custom.plain("digest")),
        version=reading.text("version", at(issue, "fields", "updated")),
        backout=reading.words("backout", custom.plain("backout")) if "backout" in settings.fields else "",
        unreadable=reading.unreadable,
        absent=absent,
    )


_OPTIONAL: Final = {"window": ("window_start", "window_end"), "targets": ("targets",)}


class _Custom:
    """The custom fields of an issue, by what they hold."""

    def __init__(self, fields: Found, settings: JiraSettings) -> None:
        self._fields, self._settings = fields, settings

    def plain(self, name: str) -> Found:
        """Give the value of a field; a choice from a list has it inside."""
        found = at(self._fields, self._settings.fields[name])
        return at(found, "value") if isinstance(found, dict) else found


def _step(row: Json, reading: Reading, settings: JiraSettings) -> _Step:
    """Read one approval; a word in it that cannot be read makes all votes unreadable."""
    name = reading.text("votes", at(row, "name"), needed=True)
    asked = reading.time("votes", at(row, "createdDate", "iso8601"))
    done = at(row, "completedDate", "iso8601") if isinstance(at(row, "completedDate"), dict) else None
    when = reading.time("votes", done)
    said = reading.choice("votes", at(row, "finalDecision"), DECISIONS) or "open"
    people = at(row, "approvers")
    votes = []
    if not isinstance(people, list):
        reading.miss("votes", "an approval names no list of approvers")
        people = []
    for one in people:
        account = reading.text("votes", at(one, "approver", settings.account), needed=True)
        word = reading.choice("votes", at(one, "approverDecision"), DECISIONS) or "open"
        votes.append(ChangeVote(account, None if word == "open" else word, None if word == "open" else when))
    return _Step(name, asked, said, tuple(votes))


def _last_of_each(steps: Sequence[_Step]) -> list[_Step]:
    """Leave out what was asked again: of the approvals of one name the last counts."""
    last: dict[str, _Step] = {}
    for step in steps:
        before = last.get(step.name)
        if before is None or before.asked is None or (step.asked is not None and step.asked >= before.asked):
            last[step.name] = step
    return list(last.values())


def _approval(steps: Sequence[_Step]) -> ChangeApproval:
    said = [step.said for step in steps]
    if "rejected" in said:
        return ChangeApproval.REJECTED
    if "open" in said:
        return ChangeApproval.REQUESTED
    return ChangeApproval.APPROVED if said else ChangeApproval.NOT_REQUESTED


def _changed(issue: Json, votes: Sequence[ChangeVote], reading: Reading, settings: JiraSettings) -> None:
    """Call unreadable what was changed after it was approved, or may have been.

    What was changed in the same second counts as changed afterwards: nobody can tell which came first.
    """
    approved = approved_since(votes, reading)
    if approved is None:
        return
    histories, total = at(issue, "changelog", "histories"), at(issue, "changelog", "total")
    if not isinstance(histories, list) or not isinstance(total, int) or total > len(histories):
        reading.miss(
            "digest", "the history of the issue is not all there, so nobody knows whether it was changed"
        )
        return
    holds = {id_: PROTECTED[name] for name, id_ in settings.fields.items() if name in PROTECTED}
    for row in histories:
        inner = Reading()
        when = inner.time("at", at(row, "created"), needed=True)
        items = at(row, "items")
        if not isinstance(items, list):
            reading.miss("digest", "the history has a part that does not say what was changed")
            continue
        for item in items:
            id_ = at(item, "fieldId")
            if isinstance(id_, str) and id_ in holds and (when is None or when >= approved):
                who = inner.words("who", at(row, "author", "displayName")) or "somebody"
                reading.miss(holds[id_], f"{who} changed it after it was approved")
