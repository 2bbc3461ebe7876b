"""A real Prometheus on loopback: it asks exporters four times a second and tells an Alertmanager what it thinks of it.

Its rules are its own, as in production: what is a threshold, and for how long, stands in them.
"""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mimrun.errors import LabError
from mimrun.lab import account, loopback
from mimrun.lab.asking import ask
from mimrun.lab.part import Program, installed

READY: Final = 25.0
"""Seconds until it has met its targets and its Alertmanager; it looks for both only every five."""
OFTEN: Final = "250ms"
"""How often it asks its targets and judges its rules."""


@dataclass(frozen=True, slots=True)
class Target:
    """Something that has metrics at `/metrics`.

    Arguments:
        job: what it is.
        host, port: its address.
        labels: what all of its metrics get besides.
    """

    job: str
    host: str
    port: int
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AlertRule:
    """A threshold of Prometheus: what must be true, for how long, and what is said then.

    Arguments:
        name: the alert's name.
        expr: in PromQL.
        hold: how long it must be true, as Prometheus writes it: `2s`.
        labels, annotations: what the alert carries; templates of Prometheus.
    """

    name: str
    expr: str
    hold: str = "0s"
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


class Prometheus(Program):
    """A Prometheus with targets, rules, and one Alertmanager.

    Arguments:
        folder: where its settings, its data and its log are.
        targets: what it asks.
        rules: what it alerts of.
        alertmanager: the address, `host:port`, of whom it tells.
        net: the loopback net; it listens on `.120`.
    """

    def __init__(
        self,
        folder: Path,
        targets: Sequence[Target],
        rules: Sequence[AlertRule],
        *,
        alertmanager: str,
        net: str = loopback.NET,
    ) -> None:
        super().__init__(folder, "prometheus")
        self.targets, self.rules = tuple(targets), tuple(rules)
        self.alertmanager = alertmanager
        self.host = f"{net}.120"
        self.port = 0

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{self.host}:{self.port}"

    def start(self) -> None:
        """Start it and wait until an alert would reach the Alertmanager and every target has answered it.

        Raises:
            LabError: it is not installed or does not start.
        """
        program = find()
        owner = account.ordinary()
        self._lay_out(owner, work="data")
        self.port = self.port or loopback.free_ports([self.host])[0]
        for name, settings in (("prometheus.yml", self._settings()), ("rules.yml", self._rules())):
            (self.folder / name).write_text(json.dumps(settings, indent=2) + "\n")
            (self.folder / name).chmod(0o644)
        child = self._launch(
            [
                program,
                f"--config.file={self.folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={self.folder / 'data'}",
                "--storage.tsdb.retention.time=1d",
                f"--web.listen-address={self.host}:{self.port}",
                f"--web.external-url={self.url}",
                "--log.level=warn",
            ],
            owner=owner,
        )
        try:
            self._await(child, self.is_ready, seconds=READY, where=self.url)
        except BaseException:
            self.stop()
            raise

    def is_ready(self) -> bool:
        """Say whether it knows its Alertmanager, and all of its targets have answered."""
        try:
            known = self._data("/api/v1/alertmanagers")["activeAlertmanagers"]
            active = self._data("/api/v1/targets?state=active")["activeTargets"]
        except LabError:
            return False
        return bool(known) and [one["health"] for one in active] == ["up"] * len(self.targets)

    def value(self, query: str) -> float | None:
        """Give what a query comes to now; None where it comes to nothing.

        Arguments:
            query: in PromQL, with one value at most.

        Raises:
            LabError: it refuses, or does not answer.
        """
        found = self._data("/api/v1/query?" + urllib.parse.urlencode({"query": query}))["result"]
        return float(found[0]["value"][1]) if found else None

    def alerts(self) -> list[dict[str, Any]]:
        """Give the alerts that are pending or firing now.

        Raises:
            LabError: it does not answer.
        """
        found: list[dict[str, Any]] = self._data("/api/v1/alerts")["alerts"]
        return found

    def _data(self, path: str) -> Any:
        return ask(self.host, self.port, path)["data"]

    def _settings(self) -> dict[str, Any]:
        jobs = [
            {
                "job_name": target.job,
                "static_configs": [
                    {"targets": [f"{target.host}:{target.port}"], "labels": dict(target.labels)}
                ],
            }
            for target in self.targets
        ]
        return {
            "global": {
                "scrape_interval": OFTEN,
                "scrape_timeout": "200ms",
                "evaluation_interval": OFTEN,
                "external_labels": {"site": "lab"},
            },
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": [self.alertmanager]}]}]},
            "rule_files": ["rules.yml"],
            "scrape_configs": jobs,
        }

    def _rules(self) -> dict[str, Any]:
        rules = [
            {
                "alert": rule.name,
                "expr": rule.expr,
                "for": rule.hold,
                "labels": dict(rule.labels),
                "annotations": dict(rule.annotations),
            }
            for rule in self.rules
        ]
        return {"groups": [{"name": "lab", "rules": rules}]}


def is_installed() -> bool:
    """Say whether this machine has a Prometheus."""
    return installed("prometheus") is not None


def find() -> str:
    """Give Prometheus' path.

    Raises:
        LabError: it is not installed.
    """
    found = installed("prometheus")
    if found is None:
        raise LabError(
            "prometheus is not installed here; install it with: "
            "apt-get install --no-install-recommends prometheus"
        )
    return found
