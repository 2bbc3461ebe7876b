"""A real Alertmanager on loopback that tells one address of every alert, and again until it was heard.

It groups by alert, cluster and service, and waits for nothing: in a lab an alert is to come at once.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from mimrun.errors import LabError
from mimrun.lab import account, loopback
from mimrun.lab.asking import ask
from mimrun.lab.part import Program, installed
from mimrun.lab.postgres_server import write_secret
from mimrun.secret import Secret

PROGRAMS: Final = ("prometheus-alertmanager", "alertmanager")
"""Debian's name, and the project's own."""
READY: Final = 15.0
RECEIVER: Final = "mimrun"


class Alertmanager(Program):
    """An Alertmanager with one receiver, a webhook.

    Arguments:
        folder: where its settings, its state and its log are.
        webhook: the address that alerts are posted to.
        token: what it shows there, as a bearer token; None for nothing.
        net: the loopback net; it listens on `.121`.
        group_by: the labels by which alerts come in one message.
    """

    def __init__(
        self,
        folder: Path,
        webhook: str,
        *,
        token: Secret | None = None,
        net: str = loopback.NET,
        group_by: Sequence[str] = ("alertname", "cluster", "service"),
    ) -> None:
        super().__init__(folder, "alertmanager")
        self.webhook, self.group_by = webhook, tuple(group_by)
        self.host = f"{net}.121"
        self.port = 0
        self._token = token

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{self.host}:{self.port}"

    def start(self) -> None:
        """Start it and wait until it is ready; once started, it keeps its port.

        Raises:
            LabError: it is not installed or does not start.
        """
        program = find()
        owner = account.ordinary()
        self._lay_out(owner, work="data")
        self.port = self.port or loopback.free_ports([self.host])[0]
        if self._token is not None:
            write_secret(self._token_file, self._token.reveal(), owner=owner)
        settings = self.folder / "alertmanager.yml"
        settings.write_text(json.dumps(self._settings(), indent=2) + "\n")
        settings.chmod(0o644)
        child = self._launch(
            [
                program,
                f"--config.file={settings}",
                f"--storage.path={self.folder / 'data'}",
                f"--web.listen-address={self.host}:{self.port}",
                f"--web.external-url={self.url}",
                # Otherwise it opens a port on all addresses, to find others of its kind.
                "--cluster.listen-address=",
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
        """Say whether it takes alerts."""
        try:
            ask(self.host, self.port, "/-/ready")
        except LabError:
            return False
        return True

    def alerts(self) -> list[dict[str, Any]]:
        """Give the alerts that it knows now, as its API does.

        Raises:
            LabError: it does not answer.
        """
        found: list[dict[str, Any]] = ask(self.host, self.port, "/api/v2/alerts")
        return found

    def silence(self, alertname: str, *, why: str, seconds: float = 3600.0) -> str:
        """Keep it quiet about an alert for a while.

        Returns:
            The silence's id.

        Raises:
            LabError: it refuses, or does not answer.
        """
        now = datetime.now(UTC)
        matcher = {"name": "alertname", "value": alertname, "isRegex": False, "isEqual": True}
        wanted = {
            "matchers": [matcher],
            "startsAt": now.isoformat(),
            "endsAt": (now + timedelta(seconds=seconds)).isoformat(),
            "createdBy": "lab",
            "comment": why,
        }
        return str(ask(self.host, self.port, "/api/v2/silences", body=wanted)["silenceID"])

    @property
    def _token_file(self) -> Path:
        return self.folder / "token"

    def _settings(self) -> dict[str, Any]:
        shown = {"authorization": {"type": "Bearer", "credentials_file": str(self._token_file)}}
        hook: dict[str, Any] = {"url": self.webhook, "send_resolved": True, "max_alerts": 0}
        if self._token is not None:
            hook["http_config"] = shown
        return {
            "route": {
                "receiver": RECEIVER,
                "group_by": list(self.group_by),
                "group_wait": "0s",
                "group_interval": "1s",
                "repeat_interval": "1h",
            },
            "receivers": [{"name": RECEIVER, "webhook_configs": [hook]}],
        }


def is_installed() -> bool:
    """Say whether this machine has an Alertmanager."""
    return installed(*PROGRAMS) is not None


def find() -> str:
    """Give Alertmanager's path.

    Raises:
        LabError: it is not installed.
    """
    found = installed(*PROGRAMS)
    if found is None:
        raise LabError(
            "alertmanager is not installed here; install it with: "
            "apt-get install --no-install-recommends prometheus-alertmanager"
        )
    return found
