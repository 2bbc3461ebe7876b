"""Prometheus Alertmanager, webhook version 4.

The status of the whole is a roll-up of a group, so that each alert's own one counts. A group that Alertmanager cut
(`max_alerts`) says so, and its alerts then say that there are more.
"""

from __future__ import annotations

from mimrun.incident.alert import Alert, Status, read_severity
from mimrun.incident.intake.address import address
from mimrun.incident.intake.delivery import JSON, Delivery
from mimrun.incident.intake.payload import Piece, read_payload

VERSION = "4"
TITLE = ("summary", "title", "message", "description")
"""Annotations that say in a line what it is; the first that is there."""


def read_alertmanager(delivery: Delivery) -> list[Alert]:
    """Give the alerts of a delivery.

    Raises:
        InputError: it is not one of version 4.
    """
    delivery.require_type(JSON)
    body = read_payload(delivery.raw).mapping()
    version = body.at("version")
    if version.value != VERSION:
        raise version.wrong(f"must be {VERSION!r}: the webhook of Alertmanager")
    more = body.at("truncatedAlerts").is_true()
    return [_alert(delivery, piece.mapping(), more=more) for piece in body.at("alerts").items()]


def _alert(delivery: Delivery, piece: Piece, *, more: bool) -> Alert:
    status, fingerprint = status_of(piece), piece.at("fingerprint").need()
    labels, annotations = piece.at("labels").texts(), piece.at("annotations").texts()
    starts_at = piece.at("startsAt").time()
    return delivery.alert(
        piece.where,
        [fingerprint, starts_at, status],
        fingerprint=fingerprint,
        status=status,
        severity=read_severity(labels.get("severity", "")),
        title=title_of(labels, annotations),
        service=service_of(labels),
        value=annotations.get("value", ""),
        starts_at=starts_at,
        ends_at=ends_of(piece, status),
        labels=labels,
        annotations=annotations,
        url=address(piece.at("generatorURL").text()),
        more=more,
    )


def status_of(piece: Piece) -> Status:
    """Give the status of an alert of Alertmanager's form.

    Raises:
        InputError: it has none of the two that there are.
    """
    match piece.at("status").value:
        case "firing":
            return "firing"
        case "resolved":
            return "resolved"
        case _:
            raise piece.at("status").wrong("must be 'firing' or 'resolved'")


def ends_of(piece: Piece, status: Status) -> str:
    """Give when it was over; what fires has a time there at which nobody would hear of it any more.

    Raises:
        InputError: what stands there is no time.
    """
    ends_at = piece.at("endsAt").time()
    return ends_at if status == "resolved" else ""


def title_of(labels: dict[str, str], annotations: dict[str, str]) -> str:
    """Give the line that says what it is."""
    said = next((text for name in TITLE if (text := annotations.get(name, "").strip())), "")
    return said or labels.get("alertname", "") or "an alert without a name"


def service_of(labels: dict[str, str]) -> str:
    """Give what is affected, as far as usual labels tell."""
    return labels.get("service") or labels.get("app") or labels.get("job") or ""
