"""Alerts as monitoring systems send them, and sources that may send them."""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

from mimrun.incident.intake.delivery import Delivery
from mimrun.incident.source import Source

CASES = Path(__file__).resolve().parents[1] / "cases" / "alerts"
TOKEN = "a-token-for-tests-0123456789"
SECRET = "a-secret-for-tests-0123456789"
JSON_TYPE = {"content-type": "application/json"}
BEARER = {**JSON_TYPE, "authorization": f"Bearer {TOKEN}"}

MAPPING: dict[str, Any] = {
    "alerts": "events",
    "fingerprint": "component.id",
    "title": "component.name",
    "status": {"path": "state", "values": {"up": "resolved"}, "otherwise": "firing"},
    "severity": {"path": "level", "values": {"3": "critical", "2": "warning"}},
    "service": {"constant": "payments"},
    "value": "measure.ms.1",
    "starts_at": "at",
    "url": "link",
    "labels": {"vendor": "$.page.name", "app": ["tags", "app.kubernetes.io/name"]},
    "annotations": {"event": "id"},
}
"""How the recorded page of a vendor's status is read."""


def case(name: str) -> bytes:
    """Give a recorded payload."""
    return (CASES / name).read_bytes()


def value(name: str) -> Any:
    """Give a recorded payload as JSON, to change it."""
    return json.loads(case(name))


def delivery(
    kind: str, body: bytes | object, *, headers: dict[str, str] | None = None, **source: object
) -> Delivery:
    """Give a delivery of a source of a kind; what is no bytes is sent as JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = {"kind": kind, "token": "env:X", **({"mapping": MAPPING} if kind == "json" else {}), **source}
    return Delivery("monitor", Source.model_validate(given), "token", raw, headers or JSON_TYPE)


def storm(number: int, *, alerts: int = 1, status: str = "firing", name: str = "StormAlert") -> bytes:
    """Give one of many deliveries of Alertmanager, each about something else."""
    body = value("alertmanager.json")
    one = body["alerts"][0]
    body["alerts"] = [
        {
            **one,
            "status": status,
            "fingerprint": f"{number:08x}{inner:08x}",
            "labels": {**one["labels"], "alertname": name},
        }
        for inner in range(alerts)
    ]
    return json.dumps(body).encode()


def hexadecimal(secret: str, signed: bytes) -> str:
    """Sign as Grafana and PagerDuty do."""
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
