"""The alerts of an incident: those that rules heeded when they opened it, or found it open."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from mimrun.app.alert.view import AlertView
from mimrun.app.home import Home
from mimrun.errors import LogError
from mimrun.log.kinds import AlertReceived, Kind, RuleFired

SHOWN: Final = 20
"""So many are shown where nobody says otherwise."""


def attached_alerts(home: Home, incident: str, limit: int = SHOWN) -> list[AlertView]:
    """Give the alerts that rules attached to an incident, the newest first.

    Arguments:
        limit: so many at most.
    """
    seqs: set[int] = set()
    for entry in home.store.entries(inc=incident, kinds={Kind.RULE_FIRED}):
        if isinstance(entry.body, RuleFired):
            seqs.update(entry.body.alerts)
    found = []
    for seq in sorted(seqs, reverse=True)[:limit]:
        with suppress(LogError):
            alert = home.store.entry(seq)
            if isinstance(alert.body, AlertReceived):
                found.append(AlertView(alert.seq, alert.ts, alert.actor.id, alert.body))
    return found
