"""Watches: a query that is asked again and again, and when what it answers is an alert. Deciding is pure.

Two numbers, and not one: what begins above the first is over only below the second, so that a value that trembles
around one number is one alert and not many.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import Field

from mimrun.incident.rule import Number, read_measure
from mimrun.log.moment import write_moment
from mimrun.runbook.duration import Duration
from mimrun.runbook.model import Part, Slug, Title

MOST: Final = 2_000
"""Series that one query may answer with; of more, the first."""
Bad: TypeAlias = Literal["critical", "high", "warning", "info"]
LabelName: TypeAlias = Annotated[str, Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$", max_length=100)]


class Watch(Part):
    """One query, and when what it answers is an alert.

    Arguments:
        for_: how long it must be so, in milliseconds, as the other times here.
    """

    name: Slug = Field(description="How it is called; the label `alertname` of its alerts.")
    address: str = Field(
        pattern=r"^https?://[^\s/?#@]+(/[^\s?#@]*)?$",
        max_length=500,
        description="Where it is asked: http://HOST:PORT, before /api/v1/query.",
    )
    token: str = Field(
        "", description="The reference of a secret that is sent as a bearer token, or nothing."
    )
    query: str = Field(min_length=1, max_length=4000, description="The query, in PromQL.")
    every: Duration = Field(15_000, ge=1000, description="How often it is asked.")
    timeout: Duration = Field(10_000, ge=100, le=60_000, description="How long it is waited for an answer.")
    above: Number | None = Field(None, description="An alert begins when the value is more than this.")
    below: Number | None = Field(None, description="Or less than this; one of the two, or neither.")
    clear: Number | None = Field(
        None,
        description="It is over when the value is back to this, or beyond; as above or below where left out.",
    )
    for_: Duration = Field(0, alias="for", description="So long it must be so before it is an alert.")
    gone_after: Duration = Field(
        600_000, description="A series that is not in the answer any more is over after so long."
    )
    blind_after: Duration = Field(
        120_000, description="After so long without an answer the watch itself is an alert."
    )
    severity: Bad = Field("warning", description="How bad it is.")
    title: Title = Field(description="What it is, in a line.")
    labels: dict[LabelName, str] = Field({}, max_length=50, description="Labels besides those of the series.")

    @property
    def any_answer(self) -> bool:
        """Whether every series that is answered is an alert, whatever its value."""
        return self.above is None and self.below is None

    def begins(self, value: Decimal) -> bool:
        """Say whether a value is one at which an alert begins."""
        if self.any_answer:
            return True
        return (self.above is not None and value > Decimal(self.above)) or (
            self.below is not None and value < Decimal(self.below)
        )

    def is_over(self, value: Decimal) -> bool:
        """Say whether a value is one at which an alert is over."""
        if self.above is not None:
            return value <= Decimal(self.clear or self.above)
        return self.below is not None and value >= Decimal(self.clear or self.below)


class Watches(Part):
    """Everything that `watches.yaml` says."""

    source: str = Field(
        description="The source of alerts.yaml, of kind alertmanager, in whose name alerts are recorded."
    )
    watches: tuple[Watch, ...] = Field((), max_length=100, description="What is asked.")


@dataclass(frozen=True, slots=True)
class Sample:
    """One series of an answer, with its value as text."""

    labels: Mapping[str, str]
    value: str


@dataclass(frozen=True, slots=True)
class Series:
    """How it stands with one series.

    Arguments:
        since: since when it is so; None while it is not.
        alert: since when it is an alert; None while it is none.
        heard: when it was in an answer last.
    """

    labels: Mapping[str, str]
    value: str = ""
    since: datetime | None = None
    alert: datetime | None = None
    heard: datetime | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """An alert that begins, or is over."""

    fingerprint: str
    status: Literal["firing", "resolved"]
    labels: Mapping[str, str]
    value: str
    starts_at: datetime
    ends_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of the series of a watch, by their fingerprints, and since when nothing was answered."""

    series: Mapping[str, Series] = field(default_factory=dict)
    unanswered: datetime | None = None


def follow(watch: Watch, seen: Seen, samples: Iterable[Sample], now: datetime) -> tuple[Seen, list[Change]]:
    """Say what is known after an answer, and which alerts begin or are over with it.

    Arguments:
        samples: the answer; a value that is no number says only that the series is still there.
        now: the moment of the answer.
    """
    series, changes = dict(seen.series), list[Change]()
    for fingerprint, sample in _first(watch, samples):
        number = read_measure(sample.value)
        was = series.get(fingerprint, Series(sample.labels))
        one = replace(was, labels=sample.labels, value=sample.value, heard=now)
        if number is not None or watch.any_answer:
            one = _after(watch, one, number or Decimal(0), now)
        series[fingerprint] = one
        changes += _changed(fingerprint, was, one, now)
    for fingerprint, was in list(series.items()):
        if was.heard is None:  # known from before this process began: it has its time to be heard of, too
            series[fingerprint] = replace(was, heard=now)
        elif was.heard != now and (watch.any_answer or _is_gone(watch, was.heard, now)):
            changes += _changed(fingerprint, was, replace(was, alert=None), now)
            del series[fingerprint]
    blind = series.pop(_blind(watch), None)
    if blind is not None and blind.alert is not None:
        changes += _changed(_blind(watch), blind, replace(blind, alert=None), now)
    return Seen({key: one for key, one in series.items() if one.since is not None}), changes


def unanswered(watch: Watch, seen: Seen, now: datetime) -> tuple[Seen, list[Change]]:
    """Say what is known where nothing was answered: what was an alert stays one, and after a while not to know is one."""
    since = seen.unanswered or now
    key = _blind(watch)
    was = seen.series.get(key, Series({"watch": watch.name}))
    if was.alert is not None or now - since < timedelta(milliseconds=watch.blind_after):
        return replace(seen, unanswered=since), []
    one = replace(was, since=since, alert=since, heard=now)
    return Seen({**seen.series, key: one}, since), _changed(key, was, one, now)


def fingerprint_of(watch: str, labels: Mapping[str, str]) -> str:
    """Name a series of a watch."""
    text = json.dumps([watch, sorted(labels.items())], ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:32]


def alert_of(watch: Watch, change: Change) -> dict[str, object]:
    """Give an alert as Alertmanager writes it: what the intake reads."""
    blind = change.fingerprint == _blind(watch)
    labels = {**change.labels, **watch.labels, "severity": watch.severity, "alertname": watch.name}
    if blind:
        labels["alertname"] = "WatchUnanswered"
    title = f"the watch {watch.name} gets no answer: nobody knows how it is" if blind else watch.title
    return {
        "status": change.status,
        "labels": labels,
        "annotations": {"summary": title, "value": change.value},
        "startsAt": write_moment(change.starts_at),
        "endsAt": write_moment(change.ends_at) if change.ends_at is not None else "",
        "generatorURL": "",
        "fingerprint": change.fingerprint,
    }


def _first(watch: Watch, samples: Iterable[Sample]) -> Iterable[tuple[str, Sample]]:
    found: dict[str, Sample] = {}
    for sample in samples:
        if len(found) >= MOST:
            break
        found.setdefault(fingerprint_of(watch.name, sample.labels), sample)
    return found.items()


def _after(watch: Watch, was: Series, value: Decimal, now: datetime) -> Series:
    if was.alert is not None:
        return replace(was, since=None, alert=None) if watch.is_over(value) else was
    if not watch.begins(value):
        return replace(was, since=None)
    since = was.since or now
    ripe = now - since >= timedelta(milliseconds=watch.for_)
    return replace(was, since=since, alert=since if ripe else None)


def _changed(fingerprint: str, was: Series, one: Series, now: datetime) -> list[Change]:
    if was.alert is None and one.alert is not None:
        return [Change(fingerprint, "firing", one.labels, one.value, one.alert)]
    if was.alert is not None and one.alert is None:
        return [Change(fingerprint, "resolved", one.labels, one.value, was.alert, now)]
    return []


def _is_gone(watch: Watch, heard: datetime, now: datetime) -> bool:
    return now - heard >= timedelta(milliseconds=watch.gone_after)


def _blind(watch: Watch) -> str:
    """Name what stands for the watch itself."""
    return fingerprint_of(watch.name, {"": "unanswered"})
