"""Alerts of the past, for trying rules on them: from the log, or from a file of JSON that somebody kept.

A line of a file is an alert as `mimrun alert show --json` or `mimrun alert list --json` prints it, or the body of a
webhook as a monitoring system sent it. Nobody proves anything here: what is read launches nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

from pydantic import ValidationError

from mimrun.app.alert.view import read_alert
from mimrun.app.home import Home
from mimrun.app.rule.backtest import Recorded
from mimrun.errors import InputError, LogError
from mimrun.incident.alert import Alert, Auth
from mimrun.incident.intake.delivery import JSON, Delivery
from mimrun.incident.intake.reading import alerts_of
from mimrun.incident.source import Source, SourceKind, Sources
from mimrun.log.kinds import AlertReceived, Kind
from mimrun.log.moment import read_moment

_OURS: Final = frozenset({"source", "key", "fingerprint", "status", "raw_digest"})


def past_of_log(home: Home, after: int = 0) -> Iterator[Recorded]:
    """Give the alerts of the log behind an entry, with their labels."""
    for entry in home.store.entries(after=after, kinds={Kind.ALERT_RECEIVED}):
        yield Recorded(entry.seq, entry.ts, read_alert(home, entry))


def past_of_lines(lines: Iterable[str], file: str, sources: Sources, home: Home | None) -> list[Recorded]:
    """Read alerts that somebody kept, a JSON document on each line, or one that is a list of them.

    Arguments:
        file: for messages.
        sources: say what the bodies of webhooks are of, and by which mapping a generic one is read.
        home: has the labels of alerts that were kept without them; None where there is none.

    Raises:
        InputError: a line is no alert; says which.
    """
    reader, text = _Reader(file, sources, home), [line for line in lines if line.strip()]
    if len(text) > 1 and not _is_whole(text[0]):
        text = ["".join(text)]
    for number, line in enumerate(text, 1):
        reader.line(number, line)
    return reader.found


class _Reader:
    """Collects alerts, and keeps their times in order."""

    def __init__(self, file: str, sources: Sources, home: Home | None) -> None:
        self._file, self._sources, self._home = file, sources, home
        self.found: list[Recorded] = []

    def line(self, number: int, line: str) -> None:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as exc:
            raise InputError(f"{self._file}:{number}: is not JSON: {exc}") from exc
        for one in _each(value):
            if not isinstance(one, dict):
                raise InputError(f"{self._file}:{number}: is neither an alert nor the body of a webhook")
            try:
                self._ours(number, one) if one.keys() >= _OURS else self._body(number, one)
            except (InputError, ValueError) as exc:
                raise InputError(f"{self._file}:{number}: {exc}") from exc

    def _ours(self, number: int, value: Mapping[str, Any]) -> None:
        """Read an alert that mimrun has printed."""
        given = {name: one for name, one in value.items() if name in Alert.model_fields}
        try:
            alert = Alert.model_validate(given)
        except ValidationError as exc:
            first = exc.errors(include_url=False, include_input=False)[0]
            raise InputError(f"{'.'.join(map(str, first['loc']))}: {first['msg'].lower()}") from exc
        if "labels" not in value:
            alert = self._from_log(alert, value.get("seq"))
        at = value.get("at")
        self._add(number, alert, read_moment(at) if isinstance(at, str) else None)

    def _from_log(self, alert: Alert, seq: object) -> Alert:
        """Give an alert that was kept without its labels as the log has it; without them no rule can be tried."""
        if self._home is not None and isinstance(seq, int) and seq > 0:
            with suppress(LogError):
                entry = self._home.store.entry(seq)
                if isinstance(entry.body, AlertReceived) and entry.body.key == alert.key:
                    return read_alert(self._home, entry)
        raise InputError("it has no labels, nor has this log; `mimrun alert list --json` prints them")

    def _body(self, number: int, value: Mapping[str, Any]) -> None:
        """Read the body of a webhook."""
        kind = _kind_of(value)
        named = [(name, one) for name, one in self._sources.by_name.items() if one.kind == kind]
        if not named and kind == "json":
            raise InputError("nobody knows what it is: alerts.yaml has no source of kind json with a mapping")
        name, source = named[0] if named else (kind, Source.model_validate({"kind": kind}))
        proof: Auth = "none" if source.unauthenticated else "signature" if source.secrets else "token"
        raw = json.dumps(value).encode()
        delivery = Delivery(name, source, proof, raw, {"content-type": _TYPES.get(kind, JSON)})
        for alert in alerts_of(delivery):
            at = alert.ends_at if alert.status == "resolved" else alert.starts_at
            self._add(number, alert, read_moment(at) if at else None)

    def _add(self, number: int, alert: Alert, at: datetime | None) -> None:
        if self.found:
            last = self.found[-1].at
            at = last if at is None else max(last, at)
        if at is None:
            raise InputError("says no time: write `at` into it, as RFC 3339 in UTC")
        self.found.append(Recorded(number, at, alert))


_TYPES: Final[Mapping[str, str]] = {"cloudevents": "application/cloudevents+json"}


def _is_whole(line: str) -> bool:
    """Say whether a line is a JSON document by itself; else the file is one, over many lines."""
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _each(value: object) -> list[object]:
    """Give what a document has: a list is as `mimrun alert list` prints it, the newest first."""
    if not isinstance(value, list):
        return [value]
    newest_first = all(isinstance(one, dict) and one.keys() >= _OURS for one in value)
    return value[::-1] if newest_first else value


def _kind_of(value: Mapping[str, Any]) -> SourceKind:
    """Say what a body is of, by what only that kind has."""
    if "specversion" in value:
        return "cloudevents"
    if isinstance(value.get("event"), dict) and "event_type" in value["event"]:
        return "pagerduty"
    if "groupKey" in value and isinstance(value.get("alerts"), list):
        return "grafana" if "orgId" in value else "alertmanager"
    return "json"
