"""Rules, runbooks and alerts in a real home with a real log."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from builders.runs import Bench

from mimrun.app.home import Home, open_home
from mimrun.incident.alert import Alert, alert_draft, alert_key
from mimrun.incident.episode import Episode, Episodes
from mimrun.log.entry import Actor, Draft
from mimrun.log.kinds import Kind, RuleFired
from mimrun.log.moment import utc_now, write_moment

DIGEST: Final = "sha256:" + "0" * 64
SOURCES: Final = """\
sources:
  prom: {kind: alertmanager, token: env:PROM_TOKEN, may_launch: true}
  quiet: {kind: alertmanager, token: env:QUIET_TOKEN}
"""
HEAD: Final = (
    "schema: mimrun/1\nname: {name}\nversion: {version}\ntitle: Test {name}\nstage: identification\n"
)
READING: Final = (
    HEAD
    + """\
owner: testers
risk: low
inputs:
  cluster: {{type: string, pattern: "[a-z][a-z0-9-]{{0,30}}", help: Name of the pair}}
{more}steps:
  - name: Look around
    local.command: {{argv: [cat, /etc/hostname]}}
    effect: {{class: read, reason: cat only looks.}}
"""
)
WRITING: Final = (
    HEAD
    + """\
owner: testers
risk: {risk}
inputs:
  cluster: {{type: string, pattern: "[a-z][a-z0-9-]{{0,30}}", help: Name of the pair}}
{more}steps:
  - name: Write it down
    local.command: {{argv: [sh, -c, 'echo "$0" >> marks', "{{{{ cluster }}}}"]}}
"""
)
_numbers = itertools.count(1)


def an_alert(name: str = "1", status: str = "firing", **given: Any) -> Alert:
    """Give an alert as its source has sent it; `name` tells what it is about."""
    number = next(_numbers)
    said: dict[str, Any] = {
        "source": "prom",
        "fingerprint": name,
        "status": status,
        "severity": "critical",
        "title": "Something is down",
        "labels": {"alertname": "Down", "cluster": "orders"},
        "raw_digest": DIGEST,
        "auth": "token",
        **given,
    }
    return Alert(**{"key": alert_key(said["source"], [str(number)]), **said})


def moment(seconds: float, *, since: datetime | None = None) -> str:
    """Give a moment, so many seconds from now."""
    return write_moment((since or utc_now()) + timedelta(seconds=seconds))


class Alarm:
    """A bench with rules and a library of its own.

    Arguments:
        bench: the home.
    """

    def __init__(self, bench: Bench) -> None:
        self.bench, self.settings = bench, bench.settings
        self.library = bench.settings.home.parent / "runbooks"
        self.library.mkdir(exist_ok=True)
        self.settings.rules.mkdir(exist_ok=True)
        self.settings.alerts.write_text(SOURCES)
        self.later = timedelta(0)
        self.runbook("look")

    def runbook(
        self, name: str, *, version: str = "1.0.0", form: str = READING, risk: str = "low", more: str = ""
    ) -> Path:
        """Write a runbook with the input `cluster`."""
        path = self.library / f"{name}@{version}.yaml"
        path.write_text(form.format(name=name, version=version, risk=risk, more=more))
        return path

    def rules(self, text: str, name: str = "test.yaml") -> Path:
        """Write a file of rules, whole at once."""
        path = self.settings.rules / name
        draft = self.settings.home / f".{name}"
        draft.write_text(text)
        draft.replace(path)
        return path

    def rule(self, *, name: str = "down", file: str = "test.yaml", **given: str) -> Path:
        """Write a file with one rule; every value is written as YAML has it."""
        said = {
            "title": "It is down",
            "match": "{labels: {alertname: Down}, auth: none}",
            "group_by": "[cluster]",
            "action": "launch",
            "runbook": "look",
            "inputs": "{cluster: {label: cluster}}",
            **given,
        }
        lines = "".join(f"    {key.rstrip('_')}: {value}\n" for key, value in said.items() if value)
        return self.rules(f"rules:\n  - name: {name}\n{lines}", file)

    @contextmanager
    def home(self) -> Iterator[Home]:
        """Open the home with the real connectors; its clock is ahead by `later`."""
        with open_home(self.settings) as home:
            yield replace(home, clock=lambda: utc_now() + self.later)


def send(home: Home, *alerts: Alert) -> list[int]:
    """Record alerts, as the intake does; gives their entries."""
    actor = Actor("system", "alert:prom", "intake", "token")
    return [entry.seq for entry in home.store.append([alert_draft(alert, actor) for alert in alerts])]


def firings(home: Home) -> list[RuleFired]:
    """Give what rules did, in order."""
    return [
        entry.body
        for entry in home.store.entries(kinds={Kind.RULE_FIRED})
        if isinstance(entry.body, RuleFired)
    ]


def outcomes(home: Home) -> list[tuple[str, str]]:
    """Give what rules did about which group."""
    return [(fired.group, fired.outcome) for fired in firings(home)]


def episodes(home: Home) -> dict[str, Episode]:
    """Give the last episode of each group."""
    return {key: Episode.decode(state) for key, state in home.store.projections(Episodes.name)}


def count(home: Home, *kinds: Kind) -> int:
    """Count entries."""
    return sum(1 for _ in home.store.entries(kinds=set(kinds)))


def note(home: Home, *drafts: Draft) -> None:
    """Record something else."""
    home.store.append(drafts)
