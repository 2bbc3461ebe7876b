"""Alerts by the page, the newest first, with what rules made of each."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile
from typing import Final

from mimrun.app.alert.view import AlertView
from mimrun.app.home import Home
from mimrun.log.kinds import AlertReceived, Kind, RuleFired

PAGE: Final = 100
_WINDOW: Final = 50_000
"""Places of the log that are looked at together."""


@dataclass(frozen=True, slots=True)
class Heeded:
    """What a rule made of an alert."""

    rule: str
    outcome: str
    incident: str
    run: str = ""
    proposal: str = ""


@dataclass(frozen=True, slots=True)
class AlertPage:
    """Some alerts.

    Arguments:
        alerts: the newest first, each with what rules made of it.
        before: where the next page begins; 0 where there is none.
    """

    alerts: tuple[tuple[AlertView, tuple[Heeded, ...]], ...]
    before: int


def alerts_before(home: Home, before: int = 0, *, status: str = "", source: str = "") -> AlertPage:
    """Give the newest alerts.

    Arguments:
        before: only what is before this entry; 0 for the end of the log.
        status, source: only these; "" for all.
    """
    size = home.store.head().size
    end = min(before or size + 1, size + 1)
    found: list[AlertView] = []
    while end > 1 and len(found) <= PAGE:
        begin = max(end - _WINDOW, 1)
        rows = home.store.entries(after=begin - 1, kinds={Kind.ALERT_RECEIVED})
        inside = [
            AlertView(entry.seq, entry.ts, entry.actor.id, entry.body)
            for entry in takewhile(lambda one: one.seq < end, rows)  # noqa: B023 - read at once
            if isinstance(entry.body, AlertReceived)
        ]
        found += [
            one
            for one in reversed(inside)
            if status in ("", one.said.status) and source in ("", one.said.source)
        ]
        end = begin
    page = found[:PAGE]
    heeded = _heeded(home, page[-1].seq) if page else {}
    return AlertPage(
        tuple((one, tuple(heeded.get(one.seq, ()))) for one in page),
        page[-1].seq if len(found) > PAGE else 0,
    )


def _heeded(home: Home, after: int) -> dict[int, list[Heeded]]:
    """Say what rules made of alerts behind an entry."""
    found: dict[int, list[Heeded]] = {}
    for entry in home.store.entries(after=after, kinds={Kind.RULE_FIRED}):
        if isinstance(entry.body, RuleFired):
            said = Heeded(entry.body.rule, entry.body.outcome, entry.inc, entry.run, entry.body.proposal)
            for seq in entry.body.alerts:
                found.setdefault(seq, []).append(said)
    return found
