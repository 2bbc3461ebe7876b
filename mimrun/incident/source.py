"""Sources: the monitoring systems that may send alerts, and where in what they send is what."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BeforeValidator, Field

from mimrun.incident.alert import SEVERITIES, Status
from mimrun.runbook.model import Part

SourceKind: TypeAlias = Literal["alertmanager", "grafana", "pagerduty", "cloudevents", "json"]
"""What is spoken; each has an address of its own: `/alerts/KIND`."""
MAPPED: Final = frozenset({"cloudevents", "json"})
"""Kinds whose content may be arranged as one likes, so that a mapping says what is what."""

TOP: Final = "$"
"""How a path begins that starts at the top of what was sent, and not at the alert in it."""

_SEGMENT: Final = re.compile(r"[^.\s]{1,100}")


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _path(value: object) -> object:
    """Read `a.b.0.c`; a key with a dot in it needs the path as a list."""
    if not isinstance(value, str):
        return (
            [str(part) if type(part) is int else part for part in value] if isinstance(value, list) else value
        )
    segments = value.split(".")
    if not all(_SEGMENT.fullmatch(segment) for segment in segments):
        raise ValueError(f"{value!r} is no path; write labels.severity, or [labels, a.key.with.dots]")
    return segments


def _take(value: object) -> object:
    return {"path": value} if isinstance(value, str | list) else value


References: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(_listed), Field(max_length=8)]
Path: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(_path), Field(max_length=16)]


class Take(Part):
    """Where a text is taken from. A path alone may be written as it is."""

    path: Path = Field(
        (), description="Keys and numbers from the alert down: `labels.severity`, `items.0.id`."
    )
    constant: str = Field("", max_length=500, description="Instead of a path: always this.")
    values: dict[str, str] = Field({}, description="What is found, and what it means here.")
    otherwise: str = Field("", max_length=500, description="Where nothing is found, or nothing of `values`.")


From: TypeAlias = Annotated[Take, BeforeValidator(_take)]


class AlertMapping(Part):
    """Where in what was sent is what."""

    alerts: Path = Field((), description="The list of the alerts, where several come together.")
    fingerprint: From = Field(description="What it is about: the same as long as it is the same trouble.")
    title: From = Field(Take.model_construct(), description="One line for people.")
    status: From = Field(
        Take.model_construct(constant="firing"),
        description="`firing`, `resolved`, `acknowledged` or `info`; usual words are understood without `values`.",
    )
    severity: From = Field(
        Take.model_construct(),
        description="`critical`, `high`, `warning`, `info`; usual words are understood without `values`.",
    )
    service: From = Field(Take.model_construct(), description="What is affected.")
    value: From = Field(Take.model_construct(), description="What was measured.")
    starts_at: From = Field(
        Take.model_construct(), description="RFC 3339, or seconds or milliseconds since 1970."
    )
    ends_at: From = Field(Take.model_construct(), description="Likewise.")
    url: From = Field(Take.model_construct(), description="Where it can be looked at.")
    labels: dict[str, From] = Field({}, max_length=100, description="Labels, by name.")
    all_labels: Path = Field((), description="A mapping whose every key becomes a label.")
    annotations: dict[str, From] = Field({}, max_length=100, description="Annotations, by name.")
    key: tuple[From, ...] = Field(
        (),
        max_length=8,
        description="What tells an alert from its repetition; usually fingerprint, beginning, status.",
    )


class Source(Part):
    """A monitoring system that may send alerts. Exactly one of `token`, `secrets` and `unauthenticated` is there."""

    kind: SourceKind = Field(description="What it speaks.")
    token: References = Field(
        (), description="References of the tokens that it sends; several while one replaces another."
    )
    secrets: References = Field(
        (), description="References of the secrets that it signs with; several while one replaces another."
    )
    unauthenticated: bool = Field(
        False, description="Anybody may send under this name; then nothing is ever launched."
    )
    may_launch: bool = Field(
        False, description="Whether its alerts may make rules launch something, as far as the policy allows."
    )
    signature_header: str = Field(
        "", pattern=r"^[A-Za-z0-9-]{0,80}$", description="Grafana: the header with the signature."
    )
    timestamp_header: str = Field(
        "",
        pattern=r"^[A-Za-z0-9-]{0,80}$",
        description="Grafana: the header with the time that is signed, too; old ones are refused then.",
    )
    mapping: AlertMapping | None = Field(None, description="cloudevents, json: where in it is what.")


@dataclass(frozen=True, slots=True)
class Sources:
    """What `alerts.yaml` says.

    Arguments:
        by_name: in the order of the file.
    """

    by_name: Mapping[str, Source] = field(default_factory=dict)
    file: str = "alerts.yaml"

    def launchable(self) -> frozenset[str]:
        """Give the names of the sources whose alerts may make a rule launch something."""
        return frozenset(name for name, source in self.by_name.items() if source.may_launch)

    def as_json(self) -> dict[str, Any]:
        """The sources for `--json`; references only, and no secret."""
        return {
            name: source.model_dump(mode="json", exclude_defaults=True)
            for name, source in self.by_name.items()
        }


STATUSES: Final[Mapping[str, Status]] = {
    **dict.fromkeys(("firing", "fired", "alerting", "triggered", "trigger", "open", "opened"), "firing"),
    **dict.fromkeys(("active", "problem", "down", "critical", "reopened", "created", "create"), "firing"),
    **dict.fromkeys(("resolved", "resolve", "ok", "closed", "close", "recovered", "recovery"), "resolved"),
    **dict.fromkeys(("cleared", "inactive", "up", "normal", "ended"), "resolved"),
    **dict.fromkeys(("acknowledged", "acknowledge", "acked", "ack"), "acknowledged"),
    "info": "info",
}
"""What monitoring systems call a status, in lower case, and what it is here."""

MEANT: Final[Mapping[str, frozenset[str]]] = {
    "status": frozenset({"firing", "resolved", "acknowledged", "info"}),
    "severity": frozenset({*SEVERITIES.values(), "unknown"}),
}
"""What the tables of a mapping may make of a word."""
