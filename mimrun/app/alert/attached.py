"""The alerts of an incident: those that rules heeded when they opened it, or found it open."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from mimrun.app.alert.view import AlertView
from mimrun.app.home import Home
from mimrun.errors import LogError
from mimrun.log.kinds import AlertReceived, Kind, RuleEnded, RuleFired

SHOWN: Final = 20
"""So many are shown where nobody says otherwise."""


@dataclass(frozen=True, slots=True)
class AttachedAlert:
    """An alert that a rule attached to an incident.

    Arguments:
        alert: as it came.
        over: what it was about is over, as far as the rule knows.
    """

    alert: AlertView
    over: bool


def attached_alerts(home: Home, incident: str, limit: int = SHOWN) -> list[AttachedAlert]:
    """Give the alerts that rules attached to an incident, the newest first.

    Arguments:
        limit: so many at most.
    """
    episodes: dict[int, str] = {}
    ended: set[str] = set()
    for entry in home.store.entries(inc=incident, kinds={Kind.RULE_FIRED, Kind.RULE_ENDED}):
        match entry.body:
            case RuleFired() as fired:
                episodes.update(dict.fromkeys(fired.alerts, fired.episode))
            case RuleEnded() as over:
                ended.add(over.episode)
            case _:
                pass
    found = []
    for seq in sorted(episodes, reverse=True)[:limit]:
        with suppress(LogError):
            alert = home.store.entry(seq)
            if isinstance(alert.body, AlertReceived):
                view = AlertView(alert.seq, alert.ts, alert.actor.id, alert.body)
                found.append(AttachedAlert(view, episodes[seq] in ended))
    return found
