"""Alerts: what a monitoring system said, in one form whichever system it was.

Everything in an alert is somebody else's text: it is bounded here, kept as it is, and never a template, an
argument or a path. Times and texts that are too long are cut; a fingerprint that is too long is hashed, since two
things must not become one.

An alert may come twice (`key` says so), and `resolved` before the `firing` that it ends: whoever acts upon alerts
compares what has the same source, fingerprint and `starts_at`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, StringConstraints, ValidationError

from mimrun import canonical
from mimrun.errors import TamperError
from mimrun.log.entry import Actor, Blob, Draft, LogEntry
from mimrun.log.field import Digest, Moment, clean_text
from mimrun.log.kinds import AlertReceived
from mimrun.log.moment import write_moment

Status: TypeAlias = Literal["firing", "resolved", "acknowledged", "info"]
"""How it stands with what the alert is about; `info` tells something and asks for nothing."""
Severity: TypeAlias = Literal["critical", "high", "warning", "info", "unknown"]
"""How bad its source says that it is. Unknown is as bad as high, and never enough to launch something."""
Auth: TypeAlias = Literal["signature", "token", "person", "none"]
"""How it is known who sent it: signed bytes, a token, a person who recorded it, not at all."""

NAME_LENGTH: Final = 200
"""Characters of a fingerprint, and of the name of a label."""
TEXT_LENGTH: Final = 4_096
"""Characters of the value of a label or an annotation, and of an address."""
LABELS: Final = 200
"""So many labels, and so many annotations, an alert may have."""

SEVERITIES: Final[Mapping[str, Severity]] = {
    **dict.fromkeys(
        ("critical", "crit", "emergency", "emerg", "fatal", "disaster", "page", "blocker"), "critical"
    ),
    **dict.fromkeys(("p1", "sev1", "sev-1", "s1"), "critical"),
    **dict.fromkeys(("high", "error", "err", "major", "alert", "p2", "sev2", "sev-2", "s2"), "high"),
    **dict.fromkeys(
        ("warning", "warn", "medium", "average", "minor", "p3", "sev3", "sev-3", "s3"), "warning"
    ),
    **dict.fromkeys(("info", "information", "informational", "notice", "low", "debug", "none", "ok"), "info"),
    **dict.fromkeys(("p4", "p5", "sev4", "sev5", "sev-4", "sev-5", "s4", "s5"), "info"),
}
"""What monitoring systems call a severity, in lower case, and what it is here."""


def _cut(length: int) -> BeforeValidator:
    return BeforeValidator(lambda value: clean_text(value, length) if isinstance(value, str) else value)


def _fingerprint(value: object) -> object:
    if not isinstance(value, str):
        return value
    text = value.encode("utf-8", "backslashreplace")
    # What is empty stays so, and is refused.
    return text.decode() if len(text.decode()) <= NAME_LENGTH else canonical.digest_bytes(text)


Line: TypeAlias = Annotated[str, _cut(200)]
Short: TypeAlias = Annotated[str, _cut(64)]
Text: TypeAlias = Annotated[str, _cut(TEXT_LENGTH)]
LabelName: TypeAlias = Annotated[str, _cut(NAME_LENGTH)]
Fingerprint: TypeAlias = Annotated[
    str, BeforeValidator(_fingerprint), StringConstraints(min_length=1, max_length=200)
]


class Alert(BaseModel):
    """One alert.

    Arguments:
        source: the name under which the system that sent it stands in `alerts.yaml`.
        key: tells it from its repetitions; the same alert has the same key whenever it is sent.
        fingerprint: tells what it is about from everything else that this source watches.
        title: one line.
        service: what is affected, as the source calls it, or "".
        value: what was measured, as text, or "".
        starts_at, ends_at: by the clock of the source; RFC 3339 in UTC, or "" where it did not say.
        url: where its source shows it, without credentials; nothing here ever fetches it.
        auth: how it is known who sent it.
        raw_digest: of the bytes that it came in.
        more: its source left out others that belong to it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: Short
    key: Digest
    fingerprint: Fingerprint
    status: Status
    severity: Severity = "unknown"
    title: Line = ""
    service: Short = ""
    value: Short = ""
    starts_at: Moment = ""
    ends_at: Moment = ""
    labels: dict[LabelName, Text] = {}
    annotations: dict[LabelName, Text] = {}
    url: Text = ""
    auth: Auth = "none"
    raw_digest: Digest
    more: bool = False

    def encode(self) -> bytes:
        """Give the bytes that the log keeps: canonical JSON."""
        value: dict[str, Any] = self.model_dump(mode="json")
        for texts in ("labels", "annotations"):
            value[texts] = _in_order(value[texts])
        return json.dumps(dict(sorted(value.items())), separators=(",", ":"), ensure_ascii=False).encode()

    @classmethod
    def decode(cls, data: bytes) -> Alert:
        """Read what `encode` gave.

        Raises:
            TamperError: nobody's `encode` gave it.
        """
        try:
            return cls.model_validate_json(data)
        except ValidationError as exc:
            raise TamperError(f"these bytes are not an alert: {data[:80]!r}") from exc


def _in_order(texts: Mapping[str, str]) -> dict[str, str]:
    """Sort names as RFC 8785 does: by the units of UTF-16."""
    return dict(sorted(texts.items(), key=lambda pair: pair[0].encode("utf-16-be")))


def alert_key(source: str, parts: Iterable[str]) -> str:
    """Give the key of an alert.

    Arguments:
        source: the name of what sent it.
        parts: what its source tells one from its repetition by, such as fingerprint, beginning and status.
    """
    texts = [clean_text(part, TEXT_LENGTH) for part in (source, *parts)]
    return canonical.digest(["mimrun/alert/1", *texts])


def read_severity(text: str) -> Severity:
    """Say how bad something is that a monitoring system calls by a word."""
    return SEVERITIES.get(text.strip().lower(), "unknown")


def alert_draft(alert: Alert, actor: Actor) -> Draft:
    """Give what records an alert.

    Arguments:
        actor: the system that sent it, or the person who hands it in.
    """
    body = AlertReceived(
        source=alert.source,
        key=alert.key,
        fingerprint=alert.fingerprint,
        status=alert.status,
        severity=alert.severity,
        title=alert.title,
        service=alert.service,
        value=alert.value,
        starts_at=alert.starts_at,
        ends_at=alert.ends_at,
        auth=alert.auth,
        raw_digest=alert.raw_digest,
        more=alert.more,
    )
    return Draft(actor, body, blobs=(Blob("alert", alert.encode(), "data"),))


def over_by(resolved: Alert | AlertReceived) -> str:
    """Give the moment by which what a resolution is about was over: what began until then is; "" is all of it."""
    return resolved.starts_at or resolved.ends_at


def is_over(starts_at: str, over: str) -> bool:
    """Say whether a resolution ends what began at a moment: not what began again after it.

    Arguments:
        starts_at: "" where its source did not say.
        over: as `over_by` gives it.
    """
    return not starts_at or not over or starts_at <= over


def alert_without_labels(body: AlertReceived) -> Alert:
    """Give what an entry itself says of an alert: all that is left where its content was erased."""
    return Alert.model_validate(body.model_dump())


class Alerts:
    """The projector: an alert's key → the entry that has it; what comes again is recognised by it."""

    name: Final = "alerts/1"

    def empty(self) -> bytes:
        """An alert that has not come."""
        return b"0"

    def key(self, entry: LogEntry) -> str | None:
        """The entry of an alert touches its key."""
        return entry.body.key if isinstance(entry.body, AlertReceived) else None

    def apply(self, state: bytes, entry: LogEntry, blobs: Mapping[str, bytes]) -> bytes:
        """Keep the first entry that has the key."""
        return state if int(state) else str(entry.seq).encode()


def read_time(value: object) -> str:
    """Read when something was, as a monitoring system writes it; "" where it says that it was never.

    Arguments:
        value: RFC 3339 with any number of decimals, or seconds or milliseconds since 1970.

    Raises:
        ValueError: it is no time, or has no zone.
    """
    if value is None or value == "":
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("is no time")
    try:
        if isinstance(value, str):
            moment = datetime.fromisoformat(value.strip())
            if moment.tzinfo is None:
                raise ValueError("has no time zone")
            if moment.year == 1:
                return ""  # Go's zero time: it has not happened
            moment = moment.astimezone(UTC)
        else:
            moment = datetime.fromtimestamp(value / 1000 if abs(value) > 1e11 else value, UTC)
        return write_moment(moment)
    except (ValueError, OverflowError, OSError) as exc:
        raise ValueError("has no time zone" if "zone" in str(exc) else "is no time") from exc
