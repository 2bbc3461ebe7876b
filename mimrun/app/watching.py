"""Watching: queries are asked, each on a thread of its own, and what they answer is recorded as alerts.

An alert goes the way of all others: in the name of a source of alerts.yaml, with its token, through the intake, which
knows what has come before. What it knows of series that are alerts already, a new process reads in the log.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Final, Protocol

from mimrun.app.alert.intake import Intake
from mimrun.app.alert.sources import read_source_secret
from mimrun.app.alert.view import open_alerts, read_alert
from mimrun.app.home import Home
from mimrun.app.program_log import Event, program_log
from mimrun.errors import MimrunError, SettingsError
from mimrun.incident.intake.payload import MAX_ALERTS, MAX_BYTES
from mimrun.incident.source_file import load_sources
from mimrun.incident.watch import Change, Sample, Seen, Series, Watch, Watches, alert_of, follow, unanswered
from mimrun.incident.watch_file import load_watches
from mimrun.log.moment import read_moment
from mimrun.secret import Secret, read_secret
from mimrun.settings import Settings

GROUP: Final = "mimrun.queries"
"""The group of entry points that ask queries."""
_NAP_S: Final = 0.2


class Ask(Protocol):
    """Asks a query once."""

    def __call__(
        self, address: str, query: str, *, token: Secret | None, timeout_s: float
    ) -> Sequence[Sample]:
        """Give the series of the answer.

        Raises:
            ConnectorError: there was no answer, or none that can be read.
        """


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of asking a query once.

    Arguments:
        samples: the answer.
        changes: the alerts that began with it or are over.
        recorded: they are in the log; else they are found again the next time.
        wrong: why there was none, or why it could not be recorded; "" where all went well.
    """

    watch: str
    samples: tuple[Sample, ...] = ()
    changes: tuple[Change, ...] = ()
    recorded: bool = True
    wrong: str = ""


def find_asker() -> Ask:
    """Give what asks Prometheus.

    Raises:
        SettingsError: nothing is installed that does.
    """
    for point in entry_points(group=GROUP, name="prometheus"):
        ask: Ask = point.load()
        return ask
    raise SettingsError(f"nothing is installed that asks queries (entry points {GROUP}); install mimrun anew")


def read_watches(settings: Settings) -> Watches:
    """Read what is to be asked.

    Raises:
        SettingsError: there is no watches.yaml, or it is not what it should be.
    """
    if not settings.watches.exists():
        raise SettingsError(
            f"{settings.watches} is not there; docs/how-to/watch-a-query.md says what goes into it"
        )
    return load_watches(settings.watches, load_sources(settings.alerts))


class Watching:
    """Asks the queries of a home, and records what is an alert.

    Arguments:
        home: opened, for as long as it watches.
        watches: what is asked, and in whose name it is recorded.
        told: called with what came of each time.
    """

    def __init__(
        self, home: Home, watches: Watches, ask: Ask, *, told: Callable[[Asked], None] = lambda _: None
    ) -> None:
        self._home, self._watches, self._ask, self._told = home, watches, ask, told
        self._intake, self._log = Intake(home), program_log(home.settings)
        self._stop, self._stopping = threading.Event(), False
        self._seen: dict[str, Seen] = _known(home, watches)
        self._failing: set[str] = set()

    def stop(self) -> None:
        """Ask no more. Safe in a signal handler."""
        self._stopping = True  # no event: its lock may be held just when a signal comes

    def once(self, watch: Watch) -> Asked:
        """Ask one query, and record what is an alert by it. What cannot be recorded is tried again the next time."""
        now, seen = self._home.clock(), self._seen.get(watch.name, Seen())
        samples: tuple[Sample, ...] = ()
        wrong, recorded = "", True
        try:
            token = read_secret(watch.token) if watch.token else None
            samples = tuple(
                self._ask(watch.address, watch.query, token=token, timeout_s=watch.timeout / 1000)
            )
            after, changes = follow(watch, seen, samples, now)
        except MimrunError as exc:
            wrong = str(exc)
            after, changes = unanswered(watch, seen, now)
        try:
            self._record(watch, changes)
            self._seen[watch.name] = after
        except MimrunError as exc:
            wrong, recorded = str(exc), False
        asked = Asked(watch.name, samples, tuple(changes), recorded, wrong)
        self._tell(asked)
        self._told(asked)
        return asked

    def stay(self) -> None:
        """Ask each query as often as it says, until `stop`; one that hangs holds up no other."""
        threads = [
            threading.Thread(target=self._follow, args=(watch,), name=f"watch-{watch.name}", daemon=True)
            for watch in self._watches.watches
        ]
        self._log.info(Event.WATCH_STARTED)
        for thread in threads:
            thread.start()
        while not self._stopping:
            time.sleep(_NAP_S)
        self._stop.set()
        for thread in threads:
            thread.join(2)
        self._log.info(Event.WATCH_STOPPED)

    def _follow(self, watch: Watch) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                self.once(watch)
            except Exception as exc:  # noqa: BLE001 - one watch must not end another, nor itself
                self._log.error(Event.WATCH_FAILED, watch=watch.name, reason=repr(exc))
            self._stop.wait(max(0.1, watch.every / 1000 - (time.monotonic() - began)))

    def _record(self, watch: Watch, changes: Sequence[Change]) -> None:
        if not changes:
            return
        headers = {"content-type": "application/json", "authorization": f"Bearer {self._token()}"}
        for alerts in _parts([alert_of(watch, change) for change in changes]):
            body = {"version": "4", "groupKey": f"watch/{watch.name}", "alerts": alerts}
            raw, source = json.dumps(body).encode(), self._watches.source
            self._intake.receive("alertmanager", raw, headers, self._home.clock(), source=source)

    def _token(self) -> str:
        source = load_sources(self._home.settings.alerts).by_name.get(self._watches.source)
        if source is None or not source.token:
            raise SettingsError(f"alerts.yaml has no source {self._watches.source!r} with a token any more")
        return read_source_secret(source.token[0]).reveal()

    def _tell(self, asked: Asked) -> None:
        """Tell the program log what went wrong, once until it goes well again."""
        if asked.wrong and asked.watch not in self._failing:
            self._failing.add(asked.watch)
            self._log.warning(Event.WATCH_FAILED, watch=asked.watch, reason=asked.wrong)
        elif not asked.wrong:
            self._failing.discard(asked.watch)


def _parts(alerts: Sequence[dict[str, object]]) -> Iterator[list[dict[str, object]]]:
    """Divide alerts into deliveries that the intake takes: a broken rack may be more than one has room for."""
    part, size = list[dict[str, object]](), 0
    for alert in alerts:
        length = len(json.dumps(alert))
        if part and (len(part) == MAX_ALERTS or size + length > MAX_BYTES // 2):
            yield part
            part, size = [], 0
        part.append(alert)
        size += length
    yield part


def _known(home: Home, watches: Watches) -> dict[str, Seen]:
    """Give the series that are alerts already, by the log."""
    names = {watch.name for watch in watches.watches}
    series: dict[str, dict[str, Series]] = {}
    for view in open_alerts(home):
        if view.said.source != watches.source or view.said.status != "firing" or not view.said.starts_at:
            continue
        labels: Mapping[str, str] = read_alert(home, home.store.entry(view.seq)).labels
        name = labels.get("watch" if labels.get("alertname") == "WatchUnanswered" else "alertname", "")
        if name in names:
            since = read_moment(view.said.starts_at)
            one = Series(labels, view.said.value, since=since, alert=since)
            series.setdefault(name, {})[view.said.fingerprint] = one
    return {name: Seen(found) for name, found in series.items()}


@contextmanager
def alone(settings: Settings, stopping: Callable[[], bool]) -> Iterator[bool]:
    """Wait until nobody else watches for this home on this machine; says whether that has come.

    Arguments:
        stopping: says whether to wait no longer.
    """
    settings.locks.mkdir(parents=True, exist_ok=True)
    file = os.open(settings.locks / "watch", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        mine = False
        while not mine and not stopping():
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                mine = True
            except BlockingIOError:
                time.sleep(_NAP_S)
        yield mine
    finally:
        os.close(file)
