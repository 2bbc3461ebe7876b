"""The demo's monitoring: an exporter beside the client, Prometheus with a threshold, and Alertmanager, which tells mimrun."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Final

from mimrun.errors import LabError
from mimrun.lab import alertmanager, keeper, loopback, prometheus
from mimrun.lab.alertmanager import Alertmanager
from mimrun.lab.exporter import Exporter
from mimrun.lab.part import Part
from mimrun.lab.prometheus import AlertRule, Prometheus, Target
from mimrun.secret import Secret

ALERT: Final = "OrdersCannotBeSaved"
SERVICE: Final = "orders"
THRESHOLD: Final = 0.5
"""The share of writes that may fail; beyond it the alert fires at once."""


class MonitoringLab(Part):
    """Watches a client that writes, and posts an alert when too many of its writes fail.

    Arguments:
        folder: where everything is kept; the servers' user must be able to enter it.
        notes: the client's file; see `Writer.notes_path`.
        webhook: the address that Alertmanager posts to.
        token: what it shows there.
        cluster: the pair's name, a label of the alert.
        net: the loopback net of all parts.
    """

    def __init__(
        self,
        folder: Path,
        notes: Path,
        webhook: str,
        *,
        token: Secret | None = None,
        cluster: str = "demo",
        net: str = loopback.NET,
    ) -> None:
        self.folder, self.cluster = folder, cluster
        self.exporter = Exporter(folder / "exporter", notes, net=net)
        self.alertmanager = Alertmanager(folder / "alertmanager", webhook, token=token, net=net)
        self._net = net
        self._prometheus: Prometheus | None = None
        self._started = ExitStack()

    @property
    def prometheus(self) -> Prometheus:
        """The Prometheus, once started."""
        if self._prometheus is None:
            raise LabError("the monitoring has not been started; call start()")
        return self._prometheus

    def start(self) -> None:
        """Start all three, and wait until an alert would get through.

        Raises:
            LabError: one of them is not installed or does not start; those that did are stopped again.
        """
        require()
        try:
            for part in (self.exporter, self.alertmanager):
                self._started.callback(part.stop)
                part.start()
            asked = Target(
                "client",
                self.exporter.host,
                self.exporter.port,
                {"service": SERVICE, "cluster": self.cluster},
            )
            self._prometheus = Prometheus(
                self.folder / "prometheus",
                [asked],
                [threshold()],
                alertmanager=f"{self.alertmanager.host}:{self.alertmanager.port}",
                net=self._net,
            )
            self._started.callback(self._prometheus.stop)
            self._prometheus.start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop all three, the last one first. It can be called again."""
        self._started.close()

    def keep(self) -> None:
        """Let all three live on when this process has ended."""
        for part in (self.exporter, self.alertmanager, self.prometheus):
            keeper.release(part.folder)
        self._started.pop_all()


def threshold() -> AlertRule:
    """Give the one rule of the demo's Prometheus: more than half of the client's writes fail."""
    return AlertRule(
        ALERT,
        f"client_error_ratio > {THRESHOLD}",
        labels={"severity": "critical", "priority": "P1"},
        annotations={
            "summary": "{{ $value | humanizePercentage }} of the writes of {{ $labels.service }} fail",
            "description": "Clients of the PostgreSQL pair {{ $labels.cluster }} cannot save anything.",
            "value": "{{ $value }}",
        },
    )


def is_installed() -> bool:
    """Say whether this machine has all that it takes."""
    return prometheus.is_installed() and alertmanager.is_installed()


def require() -> None:
    """Make sure that it can be started.

    Raises:
        LabError: something is not installed.
    """
    prometheus.find()
    alertmanager.find()
