"""The intake: from what somebody sent to alerts in the log, once each, durable before anybody is told that they are.

1. Nobody is answered before it is known who they are: the bytes are compared with every secret of their kind.
2. Secrets that mimrun knows are masked in the bytes, which are then read, bounded, by the form of their kind.
3. What has come before is left out: by a memory of what came last, and by the log itself, at the moment of writing.
4. All the rest of one delivery is recorded by one append, which deliveries that come at the same time share. Only
   then they count as accepted.
"""

from __future__ import annotations

import itertools
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from mimrun import canonical
from mimrun.app.alert.sources import InForce, SourcesInForce
from mimrun.app.home import Home
from mimrun.app.identity import Identity
from mimrun.errors import (
    AlertAuthError,
    AlertTooLargeError,
    AlertTypeError,
    InputError,
    IntakeClosedError,
    MimrunError,
    RefusedError,
)
from mimrun.incident.alert import Alert, Alerts, alert_draft
from mimrun.incident.intake.delivery import Delivery
from mimrun.incident.intake.payload import MAX_BYTES
from mimrun.incident.intake.proof import Sent, proven
from mimrun.incident.intake.reading import READERS, alerts_of
from mimrun.incident.source import Source
from mimrun.log.entry import Actor, Draft
from mimrun.log.store import View
from mimrun.runbook.suggestion import suggest

REMEMBERED: Final = 20_000
"""Keys of alerts that are recognised without asking the log."""
UNKNOWN: Final = "not accepted: see alerts.yaml, and the secret that the sender has"
"""What everybody is told who may not send alerts, whatever it is that was wrong."""
CONTENT_TYPES: Final = {"cloudevents": "application/cloudevents+json"}
"""What a file that a person hands in is taken for, where that is not plain JSON."""
_REASONS: Final[tuple[tuple[type[MimrunError], str], ...]] = (
    (AlertAuthError, "unknown_sender"),
    (AlertTooLargeError, "too_large"),
    (AlertTypeError, "content_type"),
    (IntakeClosedError, "closed"),
    (InputError, "malformed"),
    (MimrunError, "log"),
)
REASONS: Final = tuple(reason for _, reason in _REASONS)
"""Why a delivery is refused, in a word."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """What somebody sent, as it came.

    Arguments:
        kind: the last part of the address: `alertmanager`, `grafana`, ...
        headers: of the request; names may be in any case.
        at: when it came.
        source: which source it says it is; "" takes the one that it proves to be.
    """

    kind: str
    raw: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    at: datetime
    source: str = ""


@dataclass(frozen=True, slots=True)
class Received:
    """What became of a delivery.

    Arguments:
        source: whose it was.
        accepted: so many alerts of it are in the log now, and were not before.
        duplicates: so many had come before.
        alerts: the entries of all of these, in the order of the delivery.
    """

    source: str
    accepted: int
    duplicates: int
    alerts: tuple[int, ...]


class Counts:
    """What the intake of one process has done so far. Safe from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._received, self._duplicates = Counter[str](), Counter[str]()
        self._refused = Counter[str](dict.fromkeys(REASONS, 0))

    def count(self, what: Received | MimrunError) -> None:
        """Count a delivery."""
        with self._lock:
            if isinstance(what, Received):
                self._received[what.source] += what.accepted
                self._duplicates[what.source] += what.duplicates
            else:
                self._refused[next(reason for kind, reason in _REASONS if isinstance(what, kind))] += 1

    def received(self) -> dict[str, int]:
        """Give the alerts that are in the log, by source."""
        with self._lock:
            return dict(self._received)

    def duplicates(self) -> dict[str, int]:
        """Give the alerts that had come before, by source."""
        with self._lock:
            return dict(self._duplicates)

    def refused(self) -> dict[str, int]:
        """Give the deliveries that were refused, by reason."""
        with self._lock:
            return dict(self._refused)


@dataclass(slots=True)
class _Memory:
    """The keys of the alerts that came last, with their entries. Safe from several threads."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    seqs: OrderedDict[str, int] = field(default_factory=OrderedDict)

    def known(self, alerts: Sequence[Alert]) -> dict[str, int]:
        with self.lock:
            return {alert.key: self.seqs[alert.key] for alert in alerts if alert.key in self.seqs}

    def learn(self, seqs: Mapping[str, int]) -> None:
        with self.lock:
            for key, seq in seqs.items():
                self.seqs[key] = seq
                self.seqs.move_to_end(key)
            while len(self.seqs) > REMEMBERED:
                self.seqs.popitem(last=False)


class Intake:
    """Takes alerts in. Safe from several threads, and beside other processes on the same log.

    Arguments:
        home: opened, for as long as the intake is used.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._sources = SourcesInForce(home.settings)
        self._memory = _Memory()
        self.counts = Counts()

    def receive(
        self, kind: str, raw: bytes, headers: Mapping[str, str], now: datetime, *, source: str = ""
    ) -> Received:
        """Take in what a monitoring system sent; see `Arrival`.

        Raises:
            AlertAuthError: it came from nobody who may send alerts. The same for every reason.
            IntakeClosedError: nobody can tell that now. It is to come again.
            AlertTooLargeError: there is more of it than anybody reads.
            AlertTypeError: it is not of a content type that is read here.
            InputError: it has not the form of its kind; says where.
            StoreError: the log cannot be written. It is to come again.
        """
        (received,) = self.receive_all([Arrival(kind, raw, headers, now, source)])
        if isinstance(received, MimrunError):
            raise received
        return received

    def receive_all(self, arrivals: Sequence[Arrival]) -> list[Received | MimrunError]:
        """Take in what came at about the same time, with one append for all of it.

        Returns:
            for each what became of it, or why it was refused, as `receive` raises it. One that is refused stands in
            no other's way.
        """
        read = [self._read(arrival) for arrival in arrivals]
        taken = [one for one in read if isinstance(one, _Taken)]
        try:
            received: Iterator[Received | MimrunError] = iter(self._record(taken))
        except MimrunError as exc:
            received = itertools.repeat(exc)
        found = [next(received) if isinstance(one, _Taken) else one for one in read]
        for one in found:
            self.counts.count(one)
        return found

    def hand_in(self, kind: str, raw: bytes, identity: Identity, *, source: str = "") -> Received:
        """Take in what a person hands in, in their name; it launches nothing.

        Arguments:
            kind: what the bytes are of.
            source: a source of alerts.yaml of this kind, whose mapping and name count; "" takes the first there is.

        Raises:
            InputError: there is no such source, or the bytes have not the form of the kind.
            StoreError: the log cannot be written.
        """
        name, known = self._source(kind, source)
        headers = {"content-type": CONTENT_TYPES.get(kind, "application/json")}
        delivery = _masked(Delivery(name, known, "person", raw, headers), self._sources.now())
        (received,) = self._record([_Taken(name, alerts_of(delivery), identity.actor())])
        return received

    def _read(self, arrival: Arrival) -> _Taken | MimrunError:
        """Give the alerts of a delivery, or why it is refused."""
        try:
            if len(arrival.raw) > MAX_BYTES:
                raise AlertTooLargeError(
                    f"a delivery has at most {MAX_BYTES} bytes; let less be sent at once"
                )
            headers = {name.lower(): text for name, text in arrival.headers.items()}
            now = self._sources.now()
            keys = proven(
                now.keys.get(arrival.kind, ()), Sent(arrival.raw, headers, arrival.at), name=arrival.source
            )
            if keys is None:
                now.require_told(arrival.kind)
                raise AlertAuthError(UNKNOWN)
            delivery = _masked(Delivery(keys.name, keys.source, keys.auth, arrival.raw, headers), now)
            return _Taken(
                keys.name, alerts_of(delivery), Actor("system", f"alert:{keys.name}", "web", keys.auth)
            )
        except MimrunError as exc:
            return exc

    def _record(self, deliveries: Sequence[_Taken]) -> list[Received]:
        """Record what has not come before, and say what became of each delivery."""
        alerts = [alert for delivery in deliveries for alert in delivery.alerts]
        known, recorded = self._memory.known(alerts), dict[str, int]()
        while fresh := _fresh(deliveries, known):
            there = dict[str, int]()

            def check(view: View, keys: Sequence[str] = tuple(fresh), there: dict[str, int] = there) -> None:
                there.update(_known(view, keys))
                if there:
                    raise RefusedError("some of these have come meanwhile")

            try:
                entries = self._home.store.append([*fresh.values()], guard=check)
            except RefusedError:
                if not there:
                    raise
                # Another thread may be about to record them: what is not on disk by now is recorded here.
                known.update({key: seq for key in there if (seq := self._seq(key))})
                continue
            recorded = dict(zip(fresh, (entry.seq for entry in entries), strict=True))
            known.update(recorded)
        self._memory.learn(known)
        mine = set(recorded)
        return [_received(delivery, known, mine) for delivery in deliveries]

    def _seq(self, key: str) -> int:
        return int(self._home.store.projection(Alerts.name, key))

    def _source(self, kind: str, name: str) -> tuple[str, Source]:
        if kind not in READERS:
            raise InputError(f"no kind {kind!r}; {suggest(kind, READERS)}")
        known = {n: s for n, s in self._sources.now().sources.by_name.items() if s.kind == kind}
        if name and name not in known:
            hint = suggest(name, known) or f"{self._home.settings.alerts} names none"
            raise InputError(f"there is no source {name!r} of kind {kind}; {hint}")
        if known:
            name = name or next(iter(known))
            return name, known[name]
        if kind == "json":
            raise InputError(
                f"nothing says where in it is what: {self._home.settings.alerts} has no source of kind json"
            )
        return kind, Source.model_validate({"kind": kind})


@dataclass(frozen=True, slots=True)
class _Taken:
    """A delivery that was read.

    Arguments:
        source: whose it is.
        actor: who recorded its alerts.
    """

    source: str
    alerts: Sequence[Alert]
    actor: Actor


def _masked(delivery: Delivery, now: InForce) -> Delivery:
    """Take the secrets that mimrun knows out of what is read, but not out of what is said of its bytes."""
    digest, raw = canonical.digest_bytes(delivery.raw), now.masker.mask(delivery.raw)
    return replace(delivery, raw=raw, digest=digest)


def _fresh(deliveries: Sequence[_Taken], known: Mapping[str, int]) -> dict[str, Draft]:
    """Give what records each alert that has not come before, by its key."""
    found: dict[str, Draft] = {}
    for delivery in deliveries:
        for alert in delivery.alerts:
            if alert.key not in known and alert.key not in found:
                found[alert.key] = alert_draft(alert, delivery.actor)
    return found


def _known(view: View, keys: Sequence[str]) -> dict[str, int]:
    states = ((key, int(view.projection(Alerts.name, key))) for key in keys)
    return {key: seq for key, seq in states if seq}


def _received(delivery: _Taken, seqs: Mapping[str, int], fresh: set[str]) -> Received:
    """Say what became of a delivery; what it shares with one in front of it was that one's."""
    mine = {alert.key for alert in delivery.alerts} & fresh
    fresh -= mine
    return Received(
        delivery.source,
        len(mine),
        len(delivery.alerts) - len(mine),
        tuple(seqs[alert.key] for alert in delivery.alerts),
    )
