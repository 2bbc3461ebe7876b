"""PagerDuty, webhook version 3: what happens to an incident there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mimrun.incident.alert import Alert, Severity, Status, read_severity
from mimrun.incident.intake.address import address
from mimrun.incident.intake.delivery import JSON, Delivery
from mimrun.incident.intake.payload import Piece, read_payload

PING: Final = "pagey.ping"
"""What is sent to try the way; it tells of nothing."""
REOPENED: Final = "incident.reopened"
STATUSES: Final[Mapping[str, Status]] = {
    "incident.triggered": "firing",
    "incident.unacknowledged": "firing",
    REOPENED: "firing",
    "incident.acknowledged": "acknowledged",
    "incident.resolved": "resolved",
}
"""What an event says about how it stands; every other one only tells something."""
_URGENCY: Final[Mapping[str, Severity]] = {"high": "high", "low": "warning"}


def read_pagerduty(delivery: Delivery) -> list[Alert]:
    """Give the alert of a delivery; none where it only tries the way.

    Raises:
        InputError: it is not PagerDuty's webhook.
    """
    delivery.require_type(JSON)
    event = read_payload(delivery.raw).mapping().at("event").mapping()
    kind = event.at("event_type").need()
    return [] if kind == PING else [_alert(delivery, event, kind)]


def _alert(delivery: Delivery, event: Piece, kind: str) -> Alert:
    data, id_ = event.at("data").mapping(), event.at("id").need()
    status = STATUSES.get(kind, "info")
    # A note, a task or an update of the status is about the incident that it belongs to.
    about = data.at("incident") if data.at("incident", "id").value else data
    occurred = event.at("occurred_at").time()
    labels = {
        "event_type": kind,
        "number": data.at("number").text(),
        "priority": data.at("priority", "summary").text(),
        "urgency": data.at("urgency").text(),
        "service": data.at("service", "summary").text(),
        "escalation_policy": data.at("escalation_policy", "summary").text(),
        "incident_type": data.at("incident_type", "name").text(),
        "incident_key": data.at("incident_key").text(),
        "agent": event.at("agent", "summary").text(),
    }
    return delivery.alert(
        event.where,
        [id_],
        fingerprint=about.at("id").need(),
        status=status,
        severity=_severity(labels),
        title=_title(data, about, kind),
        service=labels["service"],
        starts_at=_began(kind, data.at("created_at").time(), occurred),
        ends_at=occurred if status == "resolved" else "",
        labels={name: text for name, text in labels.items() if text},
        annotations=_annotations(event, data),
        url=address(data.at("html_url").text() or data.at("self").text()),
    )


def _began(kind: str, created: str, occurred: str) -> str:
    """Give when it began. One that is opened again keeps when it was made, although it was over meanwhile."""
    if STATUSES.get(kind) == "resolved":
        return ""  # by when it was over counts, and not which beginning of it
    return occurred if kind == REOPENED else created or occurred


def _severity(labels: Mapping[str, str]) -> Severity:
    by_priority = read_severity(labels["priority"])
    return by_priority if by_priority != "unknown" else _URGENCY.get(labels["urgency"], "unknown")


def _title(data: Piece, about: Piece, kind: str) -> str:
    return data.at("title").text() or about.at("summary").text() or f"PagerDuty: {kind}"


def _annotations(event: Piece, data: Piece) -> dict[str, str]:
    said = {
        "occurred_at": event.at("occurred_at").text(),
        "content": data.at("content").text() or data.at("message").text(),
        "resolve_reason": data.at("resolve_reason").text(),
        "conference_number": data.at("conference_bridge", "conference_number").text(),
        "conference_url": address(data.at("conference_bridge", "conference_url").text()),
    }
    return {name: text for name, text in said.items() if text}
