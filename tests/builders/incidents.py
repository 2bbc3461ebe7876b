"""Alerts, and rules that heed them, in the log of a real home."""

from __future__ import annotations

from mimrun.app.home import Home
from mimrun.log.entry import Actor, Draft
from mimrun.log.kinds import AlertReceived, RuleFired

DIGEST = "sha256:" + "0" * 64
RULE = Actor("system", "rule:disk-full", "engine", "")


def alert(home: Home, starts_at: str = "") -> int:
    """Record an alert, as the intake does; gives its entry."""
    body = AlertReceived(
        source="prometheus",
        key=DIGEST,
        fingerprint="f",
        status="firing",
        severity="critical",
        title="Disk full",
        starts_at=starts_at,
        auth="token",
        raw_digest=DIGEST,
    )
    return home.store.append([Draft(Actor("system", "prometheus", "web", "token"), body)])[0].seq


def fired(home: Home, incident: str, *alerts: int) -> None:
    """Record that a rule heeded alerts for an incident."""
    body = RuleFired(
        rule="disk-full",
        rules=DIGEST,
        episode="e1",
        group="db1",
        outcome="notified",
        alerts=alerts,
        count=len(alerts),
    )
    home.store.append([Draft(RULE, body, inc=incident)])
