"""What a source sends along to prove who it is: for trying the way in, as the monitoring system itself would go it."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from mimrun.incident.intake.proof import GRAFANA_HEADERS, Keys, webhook_secret
from mimrun.incident.source import SourceKind


def proof_of(keys: Keys, raw: bytes, now: datetime, id_: str) -> dict[str, str]:
    """Give the headers that prove that bytes come from a source; none where anybody may send under its name.

    Arguments:
        id_: of the delivery, where one is signed along.
    """
    if keys.tokens:
        return {"Authorization": f"Bearer {keys.tokens[0].decode()}"}
    return _SIGNERS[keys.source.kind](keys, raw, now, id_) if keys.secrets else {}


def _grafana(keys: Keys, raw: bytes, now: datetime, _id: str) -> dict[str, str]:
    header, timed = keys.source.signature_header or GRAFANA_HEADERS[0], keys.source.timestamp_header
    time = str(int(now.timestamp()))
    signed = f"{time}:".encode() + raw if timed else raw
    signature = hmac.digest(keys.secrets[0], signed, "sha256").hex()
    return {header: signature, **({timed: time} if timed else {})}


def _pagerduty(keys: Keys, raw: bytes, _now: datetime, _id: str) -> dict[str, str]:
    return {"X-PagerDuty-Signature": f"v1={hmac.digest(keys.secrets[0], raw, 'sha256').hex()}"}


def _standard(keys: Keys, raw: bytes, now: datetime, id_: str) -> dict[str, str]:
    time = str(int(now.timestamp()))
    digest = hmac.digest(webhook_secret(keys.secrets[0]), f"{id_}.{time}.".encode() + raw, "sha256")
    signature = f"v1,{base64.b64encode(digest).decode()}"
    return {"Webhook-Id": id_, "Webhook-Timestamp": time, "Webhook-Signature": signature}


_SIGNERS: Final[Mapping[SourceKind, Callable[[Keys, bytes, datetime, str], dict[str, str]]]] = {
    "grafana": _grafana,
    "pagerduty": _pagerduty,
    "cloudevents": _standard,
    "json": _standard,
}
