"""The demo's alarm: whoever notices that clients suffer, and the rule of mimrun that knows what can be done about it.

Where Prometheus and Alertmanager are installed, they notice it by themselves. Where they are not, what Alertmanager
would have posted is put together from the client's own notes, and posted the same way.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from mimrun.app.demo.server import HOST, DemoServer
from mimrun.errors import LabError
from mimrun.incident.rule_file import LIMITS_FILE
from mimrun.lab import keeper, monitoring
from mimrun.lab.asking import ask
from mimrun.lab.failover import FailoverLab
from mimrun.lab.monitoring import ALERT, SERVICE, THRESHOLD, MonitoringLab
from mimrun.lab.postgres_server import write_secret
from mimrun.log.moment import write_moment
from mimrun.secret import Secret
from mimrun.settings import Settings

SOURCE: Final = "alertmanager"
RULE: Final = "orders-cannot-be-saved"
PATH: Final = f"/alerts/alertmanager?source={SOURCE}"
INVENTORY: Final = "inventories/demo.yaml"
"""In the demo's home: a copy of the lab's, for the rule, and for whoever launches something in the console."""

_SOURCES: Final = """\
# Written by `mimrun demo`.
sources:
  {source}: {{kind: alertmanager, token: "file:{token}"}}
"""
_RULES: Final = """\
# Written by `mimrun demo`.
rules:
  - name: {rule}
    title: Clients of a PostgreSQL pair cannot save anything
    match:
      source: {source}
      severity: critical
      labels: {{alertname: {alert}}}
    value: {{above: "{threshold}"}}
    group_by: [cluster]
    action: propose
    runbook: {runbook}
    inputs: {{cluster: {{label: cluster}}, balanced: {balanced}}}
    inventory: [{inventory}]
    expires: 30m
    # The demo may be played twice in a row.
    cool_down: 0s
    incident: {{title: Orders cannot be saved, impact: high, urgency: high, services: [{service}]}}
"""
_LIMITS: Final = """\
# Written by `mimrun demo`, which may be played twice in a row.
limits: {cool_down: 0s}
"""
_NEVER: Final = "0001-01-01T00:00:00Z"
"""How Alertmanager writes that something has no end yet."""


class Alarm:
    """Notices that the client's writes fail, and says so to mimrun, whose server runs as long.

    Arguments:
        settings: of the demo's home, which gets a source of alerts and a rule.
        lab: what is watched; it has been started.
        runbook: what the rule proposes.
    """

    def __init__(self, settings: Settings, lab: FailoverLab, runbook: str) -> None:
        self._settings, self._lab, self._runbook = settings, lab, runbook
        self.server = DemoServer(lab.folder / "server", settings)
        self._token = Secret(secrets.token_urlsafe(24))
        self._watch: MonitoringLab | None = None
        self._began = ""
        self._started = ExitStack()

    @property
    def watched(self) -> bool:
        """Whether real monitoring watches."""
        return self._watch is not None

    def start(self) -> None:
        """Start the server, and the monitoring where it is installed; wait until an alert would get through.

        Raises:
            LabError: one of them does not start.
        """
        self._lay()
        self._started.callback(self.server.stop)
        self.server.start()
        if not monitoring.is_installed():
            return
        self._watch = MonitoringLab(
            self._lab.folder / "monitoring",
            self._lab.writer.notes_path,
            self.server.url + PATH,
            token=self._token,
            cluster=self._lab.cluster,
        )
        self._started.callback(self._watch.stop)
        self._watch.start()

    def ring(self, now: datetime) -> None:
        """Say that clients suffer, where no monitoring does."""
        if self._watch is None:
            self._began = write_moment(now)
            self._post(self._tell())

    def calm(self, now: datetime) -> None:
        """Say that clients suffer no more, where no monitoring does."""
        if self._watch is None and self._began:
            self._post(self._tell(), write_moment(now))

    def stop(self) -> None:
        """Stop both, unless they were kept. It can be called again."""
        self._started.close()

    def keep(self) -> None:
        """Let both live on when this process has ended."""
        if self._watch is not None:
            self._watch.keep()
        keeper.release(self.server.folder)
        self._started.pop_all()

    def _lay(self) -> None:
        """Write who may send alerts, and the rule that heeds them, into the demo's home.

        Raises:
            OSError: the home cannot be written.
        """
        home = self._settings.home
        token = home / "alertmanager.token"
        write_secret(token, self._token.reveal() + "\n")
        self._settings.inventories.mkdir(exist_ok=True, mode=0o700)
        (home / INVENTORY).write_text(self._lab.inventory(), "utf-8")
        self._settings.alerts.write_text(_SOURCES.format(source=SOURCE, token=token), "utf-8")
        self._settings.rules.mkdir(exist_ok=True, mode=0o700)
        rules = _RULES.format(
            rule=RULE,
            source=SOURCE,
            alert=ALERT,
            threshold=THRESHOLD,
            runbook=self._runbook,
            balanced=str(self._lab.proxy is not None).lower(),
            inventory=INVENTORY,
            service=SERVICE,
        )
        (self._settings.rules / "demo.yaml").write_text(rules, "utf-8")
        (self._settings.rules / LIMITS_FILE).write_text(_LIMITS, "utf-8")

    def _tell(self) -> _Told:
        """Give what is to be said of the client, by its own notes."""
        ratio = self._ratio()
        labels = {
            "alertname": ALERT,
            "cluster": self._lab.cluster,
            "priority": "P1",
            "service": SERVICE,
            "severity": "critical",
        }
        said = {"summary": f"{ratio:.0%} of the writes of {SERVICE} fail", "value": f"{ratio:.3f}"}
        return _Told(f"demo-{self._lab.cluster}", labels, said, self._began)

    def _post(self, told: _Told, ends_at: str = "") -> None:
        """Post what Alertmanager would.

        Raises:
            LabError: it is not accepted.
        """
        ask(HOST, self.server.port, PATH, body=told.message(ends_at), token=self._token)

    def _ratio(self) -> float:
        """Give the share of the client's writes that failed since the primary died."""
        died = self._lab.died
        if died is None:
            raise LabError("nothing has died yet; there is nothing to be said of it")
        notes = self._lab.writer.notes()
        failed = sum(1 for failure in notes.failed if failure.sent >= died)
        well = sum(1 for write in notes.acknowledged if write.sent >= died)
        return failed / (failed + well) if failed + well else 0.0


@dataclass(frozen=True, slots=True)
class _Told:
    """What Alertmanager says of one thing."""

    fingerprint: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: str

    def message(self, ends_at: str) -> dict[str, Any]:
        """Give a message of its webhook, version 4; the thing is over where it has an end."""
        status = "resolved" if ends_at else "firing"
        group = {name: self.labels.get(name, "") for name in ("alertname", "cluster", "service")}
        alert = {
            "status": status,
            "labels": dict(self.labels),
            "annotations": dict(self.annotations),
            "startsAt": self.starts_at,
            "endsAt": ends_at or _NEVER,
            "generatorURL": "",
            "fingerprint": self.fingerprint,
        }
        return {
            "receiver": "mimrun",
            "status": status,
            "alerts": [alert],
            "groupLabels": group,
            "commonLabels": dict(self.labels),
            "commonAnnotations": dict(self.annotations),
            "externalURL": "",
            "version": "4",
            "groupKey": "{}:" + ",".join(f'{name}="{value}"' for name, value in group.items()),
            "truncatedAlerts": 0,
        }
