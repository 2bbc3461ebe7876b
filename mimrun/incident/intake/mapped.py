"""JSON of any form, by a mapping that says where in it is what: paths, constants and tables, and never a template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mimrun.errors import InputError
from mimrun.incident.alert import Alert, Severity, Status, read_severity
from mimrun.incident.intake.address import address, without_credentials
from mimrun.incident.intake.delivery import JSON, Delivery
from mimrun.incident.intake.payload import Piece, read_payload
from mimrun.incident.source import STATUSES, TOP, AlertMapping, Take


def read_mapped(delivery: Delivery) -> list[Alert]:
    """Give the alerts of a delivery.

    Raises:
        InputError: it has not what the mapping asks for.
    """
    kind = delivery.content_type()
    if not kind.endswith("+json"):
        delivery.require_type(JSON)
    assert delivery.source.mapping is not None
    return map_alerts(delivery, delivery.source.mapping, read_payload(delivery.raw))


def map_alerts(
    delivery: Delivery, mapping: AlertMapping, body: Piece, known: Sequence[str] = ()
) -> list[Alert]:
    """Give the alerts in a body.

    Arguments:
        known: what tells one from its repetition, where the mapping does not say.

    Raises:
        InputError: it has not what the mapping asks for.
    """
    pieces = body.at(*mapping.alerts).items() if mapping.alerts else [body]
    return [_alert(delivery, mapping, Found(piece, body), known) for piece in pieces]


@dataclass(frozen=True, slots=True)
class Found:
    """Where a mapping looks.

    Arguments:
        piece: the alert.
        top: the whole that it is in.
    """

    piece: Piece
    top: Piece

    def at(self, take: Take) -> Piece:
        """Give what stands where a mapping says."""
        if take.path[:1] == (TOP,):
            return self.top.at(*take.path[1:])
        return self.piece.at(*take.path)

    def text(self, take: Take) -> str:
        """Give the text that a mapping takes from there."""
        if take.constant:
            return take.constant
        found = self.at(take).text() if take.path else ""
        if take.values:
            return take.values.get(found, take.otherwise)
        return found or take.otherwise

    def time(self, take: Take) -> str:
        """Give the moment that a mapping takes from there; a number written as a text is one, too.

        Raises:
            InputError: what stands there is no time.
        """
        found = self.at(take) if take.path else Piece(take.constant or None, "")
        if isinstance(found.value, str) and found.value.isascii() and found.value.isdigit():
            found = Piece(int(found.value[:16]), found.where)
        return found.time()


def _alert(delivery: Delivery, mapping: AlertMapping, found: Found, known: Sequence[str]) -> Alert:
    fingerprint = found.text(mapping.fingerprint)
    if not fingerprint:
        raise InputError(
            f"{found.at(mapping.fingerprint).name} is missing: it tells what the alert is about (fingerprint)"
        )
    status, starts_at = _status(mapping, found), found.time(mapping.starts_at)
    own_key = [found.text(take) for take in mapping.key]
    labels = {
        **(found.at(Take(path=mapping.all_labels)).texts() if mapping.all_labels else {}),
        **{name: without_credentials(found.text(take)) for name, take in mapping.labels.items()},
    }
    annotations = {name: without_credentials(found.text(take)) for name, take in mapping.annotations.items()}
    return delivery.alert(
        found.piece.where,
        own_key or known or [fingerprint, starts_at, status],
        fingerprint=fingerprint,
        status=status,
        severity=_severity(mapping, found),
        title=found.text(mapping.title) or fingerprint,
        service=found.text(mapping.service),
        value=found.text(mapping.value),
        starts_at=starts_at,
        ends_at=found.time(mapping.ends_at),
        labels=labels,
        annotations={name: text for name, text in annotations.items() if text},
        url=address(found.text(mapping.url)),
    )


def _status(mapping: AlertMapping, found: Found) -> Status:
    word = found.text(mapping.status)
    status = STATUSES.get(word.strip().lower())
    if status is None:
        raise InputError(
            f"{found.at(mapping.status).name}: the status {word[:60]!r} is not known; name it in the mapping's `values`"
        )
    return status


def _severity(mapping: AlertMapping, found: Found) -> Severity:
    return read_severity(found.text(mapping.severity))
