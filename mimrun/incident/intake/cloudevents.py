"""CloudEvents 1.0 over HTTP: structured, batched, and binary, where the headers hold what is not the data."""

from __future__ import annotations

from typing import Final

from mimrun.canonical import Json
from mimrun.incident.alert import Alert, Status, read_severity
from mimrun.incident.intake.address import address
from mimrun.incident.intake.delivery import JSON, Delivery
from mimrun.incident.intake.mapped import map_alerts
from mimrun.incident.intake.payload import Piece, read_payload
from mimrun.incident.source import STATUSES

STRUCTURED: Final = "application/cloudevents+json"
BATCHED: Final = "application/cloudevents-batch+json"
_ATTRIBUTE: Final = "ce-"
_SPEC: Final = "1.0"


def read_cloudevents(delivery: Delivery) -> list[Alert]:
    """Give the alerts of a delivery.

    Raises:
        InputError: it is no event of version 1.0.
    """
    if "ce-specversion" in delivery.headers:
        return [_alert(delivery, _binary(delivery))]
    kind = delivery.require_type(STRUCTURED, BATCHED)
    body = read_payload(delivery.raw)
    return [_alert(delivery, piece) for piece in (body.items() if kind == BATCHED else [body])]


def _binary(delivery: Delivery) -> Piece:
    """Put the event of headers and body together as it would stand in a structured one."""
    delivery.require_type(JSON)
    data = read_payload(delivery.raw).value if delivery.raw else None
    event: dict[str, Json] = {
        name.removeprefix(_ATTRIBUTE): value
        for name, value in delivery.headers.items()
        if name.startswith(_ATTRIBUTE)
    }
    return Piece({**event, "data": data}, "")


def _alert(delivery: Delivery, event: Piece) -> Alert:
    if event.mapping().at("specversion").value != _SPEC:
        raise event.at("specversion").wrong(f"must be {_SPEC!r}")
    id_, source, kind = (event.at(name).need() for name in ("id", "source", "type"))
    mapping = delivery.source.mapping
    if mapping is not None:
        return map_alerts(delivery, mapping, event, [source, id_])[0]
    data = event.at("data")
    subject = event.at("subject").text()
    said = {name: data.at(name).text() for name in ("title", "summary", "message", "service", "value")}
    return delivery.alert(
        event.where,
        [source, id_],
        fingerprint=data.at("fingerprint").text() or f"{source} {subject or kind}",
        status=_status(data, kind),
        severity=read_severity(data.at("severity").text()),
        title=said["title"] or said["summary"] or said["message"] or f"{kind} {subject}".strip(),
        service=said["service"],
        value=said["value"],
        starts_at=event.at("time").time(),
        labels={**data.at("labels").texts(), "type": kind, "source": source, "subject": subject},
        annotations=data.at("annotations").texts(),
        url=address(data.at("url").text()),
    )


def _status(data: Piece, kind: str) -> Status:
    """Give the status that the data says, else the last word of the type; an event is one only to tell something."""
    said = data.at("status").text().strip().lower()
    return STATUSES.get(said) or STATUSES.get(kind.rpartition(".")[2].lower()) or "info"
