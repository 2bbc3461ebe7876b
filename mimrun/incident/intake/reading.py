"""From a delivery to its alerts, by what its source speaks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from mimrun.incident.alert import Alert
from mimrun.incident.intake.alertmanager import read_alertmanager
from mimrun.incident.intake.cloudevents import read_cloudevents
from mimrun.incident.intake.delivery import Delivery
from mimrun.incident.intake.grafana import read_grafana
from mimrun.incident.intake.mapped import read_mapped
from mimrun.incident.intake.pagerduty import read_pagerduty
from mimrun.incident.source import SourceKind

READERS: Final[Mapping[SourceKind, Callable[[Delivery], list[Alert]]]] = {
    "alertmanager": read_alertmanager,
    "grafana": read_grafana,
    "pagerduty": read_pagerduty,
    "cloudevents": read_cloudevents,
    "json": read_mapped,
}
"""What reads the deliveries of a kind."""


def alerts_of(delivery: Delivery) -> list[Alert]:
    """Give the alerts of a delivery, each once, in the order in which they stand there.

    Raises:
        InputError: it is not in the form of its kind; nothing of it is taken then.
        AlertTypeError: its content type is not one of that kind.
        AlertTooLargeError: it is larger than anybody reads.
    """
    found: dict[str, Alert] = {}
    for alert in READERS[delivery.source.kind](delivery):
        found.setdefault(alert.key, alert)
    return list(found.values())
