"""Alerts for whoever looks at them: every one that came, in order, and what exactly it said."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from pydantic import JsonValue

from mimrun.app.home import Home
from mimrun.errors import ErasedError, InputError
from mimrun.incident.alert import Alert, Alerts, alert_without_labels, is_over, over_by
from mimrun.log.entry import LogEntry
from mimrun.log.kinds import AlertReceived, Kind
from mimrun.log.moment import write_moment

LISTED = 100
"""So many alerts are listed where nobody says otherwise."""


@dataclass(frozen=True, slots=True)
class AlertView:
    """An alert as a person sees it in a list.

    Arguments:
        seq: its entry in the log.
        at: when it was recorded.
        by: who sent it: `alert:SOURCE`, or the person who handed it in.
        said: what the entry says of it; labels and annotations are in `read_alert`.
    """

    seq: int
    at: datetime
    by: str
    said: AlertReceived

    def as_json(self) -> dict[str, JsonValue]:
        """The alert for `--json`."""
        said: dict[str, JsonValue] = self.said.model_dump(mode="json")
        return {"seq": self.seq, "at": write_moment(self.at), "by": self.by, **said}


def list_alerts(home: Home, *, after: int = 0, limit: int | None = LISTED) -> list[AlertView]:
    """Give the last alerts behind an entry, the oldest of them first.

    Arguments:
        after: the number of an entry; 0 is before the first.
        limit: so many at most; None is all.
    """
    return list(deque(_alerts(home, after), maxlen=limit))


def open_alerts(home: Home) -> list[AlertView]:
    """Give the last word on everything that is wrong by the alerts that came, the oldest first.

    What was resolved is not wrong any more, also where its resolution came before it; what only tells something never was.
    """
    last: dict[tuple[str, str], AlertView] = {}
    over: dict[tuple[str, str], str] = {}
    for alert in _alerts(home, 0):
        said = alert.said
        about = (said.source, said.fingerprint)
        if said.status == "resolved":
            if about in last and is_over(last[about].said.starts_at, over_by(said)):
                del last[about]
            over[about] = max(over.get(about, ""), over_by(said))
        elif said.status != "info" and not (said.starts_at and said.starts_at <= over.get(about, "")):
            last[about] = alert
    return sorted(last.values(), key=lambda one: one.seq)


def _alerts(home: Home, after: int) -> Iterator[AlertView]:
    for entry in home.store.entries(after=after, kinds={Kind.ALERT_RECEIVED}):
        if isinstance(entry.body, AlertReceived):
            yield AlertView(entry.seq, entry.ts, entry.actor.id, entry.body)


def find_alert(home: Home, seq: int) -> LogEntry:
    """Give the entry of an alert by its number.

    Raises:
        InputError: there is no such entry, or it is none of an alert.
    """
    if seq > home.store.head().size:
        raise InputError(f"the log has no entry {seq}; `mimrun alert list` has those of alerts")
    entry = home.store.entry(seq)
    if not isinstance(entry.body, AlertReceived):
        raise InputError(f"entry {seq} is no alert; it is of kind {entry.kind}")
    return entry


def read_alert(home: Home, entry: LogEntry) -> Alert:
    """Give an alert as it came; without labels, annotations and address where its content was erased.

    Raises:
        InputError: the entry is not that of an alert.
        TamperError: the content is not what was recorded.
        BlobKeyError: it cannot be read, because the key of the log's blobs is missing.
    """
    if not isinstance(entry.body, AlertReceived):
        raise InputError(f"entry {entry.seq} is no alert; it is of kind {entry.kind}")
    try:
        data = home.store.blob(entry, "alert")
    except ErasedError:
        data = None
    return alert_without_labels(entry.body) if data is None else Alert.decode(data)


def whole_alert(home: Home, entry: LogEntry) -> dict[str, JsonValue]:
    """Give all that an alert said, for `--json`: what the entry says of it, with labels, annotations and address.

    Raises:
        InputError, TamperError, BlobKeyError: as `read_alert` does.
    """
    alert = read_alert(home, entry)
    about: dict[str, JsonValue] = {"seq": entry.seq, "at": write_moment(entry.ts), "by": entry.actor.id}
    return {**about, **alert.model_dump(mode="json")}


def alert_seq(home: Home, key: str) -> int:
    """Give the entry of the alert with a key; 0 where it has not come."""
    return int(home.store.projection(Alerts.name, key))
