"""Grafana alerting: Alertmanager's form with the measured values, links to the dashboard, and an organisation."""

from __future__ import annotations

from mimrun.incident.alert import Alert, read_severity
from mimrun.incident.intake.address import address
from mimrun.incident.intake.alertmanager import ends_of, service_of, status_of, title_of
from mimrun.incident.intake.delivery import JSON, Delivery
from mimrun.incident.intake.payload import Piece, read_payload

_LINKS = ("silenceURL", "dashboardURL", "panelURL", "imageURL")


def read_grafana(delivery: Delivery) -> list[Alert]:
    """Give the alerts of a delivery.

    Raises:
        InputError: it is not Grafana's webhook.
    """
    delivery.require_type(JSON)
    body = read_payload(delivery.raw).mapping()
    org, more = body.at("orgId").text(), body.at("truncatedAlerts").is_true()
    return [_alert(delivery, piece.mapping(), org, more=more) for piece in body.at("alerts").items()]


def _alert(delivery: Delivery, piece: Piece, org: str, *, more: bool) -> Alert:
    status, fingerprint = status_of(piece), piece.at("fingerprint").need()
    labels, annotations = piece.at("labels").texts(), piece.at("annotations").texts()
    starts_at = piece.at("startsAt").time()
    links = {name: link for name in _LINKS if (link := address(piece.at(name).text()))}
    return delivery.alert(
        piece.where,
        [org, fingerprint, starts_at, status],
        # Two organisations of one Grafana may count the same.
        fingerprint=f"{org}:{fingerprint}" if org else fingerprint,
        status=status,
        severity=read_severity(labels.get("severity", "")),
        title=title_of(labels, annotations),
        service=service_of(labels),
        value=_value(piece),
        starts_at=starts_at,
        ends_at=ends_of(piece, status),
        labels=labels,
        annotations={**links, **annotations},
        url=address(piece.at("generatorURL").text()) or links.get("panelURL", ""),
        more=more,
    )


def _value(piece: Piece) -> str:
    """Give what was measured: one number as it is, several with their names."""
    values = piece.at("values").texts()
    if len(values) == 1:
        return next(iter(values.values()))
    return ", ".join(f"{name}={value}" for name, value in sorted(values.items()))
