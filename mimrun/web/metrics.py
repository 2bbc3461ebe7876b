"""Figures for Prometheus: requests, alerts, runs, what waits, the log, and what is kept up beside the server.

Who asks has signed in with what is for reading, unless the server was started with --open-metrics.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from fastapi import Request, Response
from prometheus_client import CollectorRegistry, Histogram, ProcessCollector, generate_latest
from prometheus_client import Counter as Counted
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from mimrun.app.home import Home
from mimrun.app.killswitch import standing_of
from mimrun.app.rule.view import list_rules
from mimrun.app.runs import list_runs
from mimrun.app.server.keeping import Household
from mimrun.errors import MimrunError
from mimrun.run.record.transitions import TERMINAL
from mimrun.web.acting import Acting
from mimrun.web.route import does, new_router, open_to_all
from mimrun.web.security import App, Message, Receive, Scope, Send

FRESH_S: Final = 5.0
"""So long figures of the log count: whoever asks more often is no burden."""
_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_STREAMS: Final = "/events"

router: Final = new_router()
open_router: Final = new_router()


class Figures:
    """Everything that is counted at one server.

    Arguments:
        state: of the site: its home, feed, intake and household.
    """

    def __init__(self, state: Any) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self.requests = Counted(
            "mimrun_requests",
            "Requests by route and status",
            ("method", "route", "status"),
            registry=self._registry,
        )
        self.seconds = Histogram(
            "mimrun_request_seconds",
            "How long answers took",
            ("method", "route"),
            buckets=_BUCKETS,
            registry=self._registry,
        )
        ProcessCollector(registry=self._registry)
        self._registry.register(_OfHome(state))

    def text(self) -> bytes:
        """Give all of them, as Prometheus reads them."""
        return generate_latest(self._registry)

    def counting(self, app: App) -> App:
        """Give an application whose answers are counted."""

        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            began, status = time.perf_counter(), 500

            async def noted(message: Message) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = message["status"]
                await send(message)

            try:
                await app(scope, receive, noted)
            finally:
                self._count(scope, status, time.perf_counter() - began)

        return counted

    def _count(self, scope: Scope, status: int, took: float) -> None:
        # By the route and not by the path: who asks for a thousand names makes no thousand figures.
        route = getattr(scope.get("route"), "path", "") or (
            "/static" if "/static/" in scope["path"] else "none"
        )
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self.requests.labels(method, route, str(status)).inc()
        if route != _STREAMS:
            self.seconds.labels(method, route).observe(took)


_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class _OfHome:
    """Figures that are looked up when somebody asks for them."""

    def __init__(self, state: Any) -> None:
        self._state = state
        self._lock = threading.Lock()
        self._known: list[Metric] = []
        self._until = 0.0

    def collect(self) -> Iterator[Metric]:
        """Give them."""
        with self._lock:
            if time.monotonic() >= self._until:
                self._known = [*self._of_log(self._state.home)]
                self._until = time.monotonic() + FRESH_S
        yield from self._known
        yield from self._of_server()

    def _of_log(self, home: Home) -> Iterator[Metric]:
        try:
            runs = list_runs(home)
        except MimrunError:
            yield _gauge("mimrun_log_readable", "Whether the log can be read", 0)
            return
        yield _gauge("mimrun_log_readable", "Whether the log can be read", 1)
        yield _gauge("mimrun_log_entries", "Entries of the log", home.store.head().size)
        log = home.settings.log
        if not home.settings.store and log.exists():
            yield _gauge("mimrun_log_bytes", "Bytes of the log's file", log.stat().st_size)
        yield _labelled("mimrun_runs", "Runs by status", "status", Counter(view.status for view in runs))
        waits = Counter(
            v.summary.waits_on for v in runs if v.summary.status not in TERMINAL and v.summary.waits_on
        )
        waits.update({"gate": 0, "manual": 0, "lock": 0})
        yield _labelled("mimrun_waiting", "Runs that wait, by what for", "on", waits)
        yield from _of_rules(home)
        pulled = int(standing_of(home).pulled)
        yield _gauge("mimrun_kill_switch_pulled", "Whether everything stands still", pulled)

    def _of_server(self) -> Iterator[Metric]:
        yield _gauge("mimrun_event_streams", "Live streams that are open", self._state.streams.total)
        counts = self._state.alerts.intake.counts
        alerts = CounterMetricFamily(
            "mimrun_alerts", "Alerts by source and what became of them", labels=["source", "outcome"]
        )
        for outcome, numbers in (("accepted", counts.received()), ("duplicate", counts.duplicates())):
            for source, number in sorted(numbers.items()):
                alerts.add_metric([source, outcome], number)
        yield alerts
        refused = CounterMetricFamily(
            "mimrun_deliveries_refused", "Deliveries of alerts that were refused", labels=["reason"]
        )
        for reason, number in sorted(counts.refused().items()):
            refused.add_metric([reason], number)
        yield refused
        household: Household | None = getattr(self._state, "household", None)
        if household is not None:
            states = {
                name: int(state == "up") for name, state in household.states().items() if state != "left out"
            }
            yield _labelled(
                "mimrun_part_up", "Whether what is kept up beside the server is there", "part", states
            )


def _of_rules(home: Home) -> Iterator[Metric]:
    view = list_rules(home)
    yield _gauge("mimrun_rules", "Rules in force", len(view.rules))
    yield _gauge(
        "mimrun_rules_wrong",
        "Problems in files of rules; the last good ones stay in force",
        len(view.now.problems),
    )
    going = {one.rule.name: len(one.going_on) for one in view.rules}
    yield _labelled("mimrun_episodes", "Episodes that go on, by rule", "rule", going)
    yield _gauge("mimrun_storm", "Whether rules only propose, because of a storm", int(view.budget.storm))


def _gauge(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(name, about, value=value)


def _labelled(name: str, about: str, label: str, values: dict[str, int] | Counter[str]) -> Metric:
    family = GaugeMetricFamily(name, about, labels=[label])
    for key, value in sorted(values.items()):
        family.add_metric([key], value)
    return family


def _answer(request: Request) -> Response:
    figures: Figures = request.app.state.figures
    return Response(figures.text(), media_type=CONTENT_TYPE_LATEST)


@router.get("/metrics")
@does("status")
def metrics(request: Request, who: Acting) -> Response:  # noqa: ARG001 - whoever looks has signed in
    """Give the figures."""
    return _answer(request)


@open_router.get("/metrics")
@open_to_all
def open_metrics(request: Request) -> Response:
    """Give the figures to whoever asks."""
    return _answer(request)
