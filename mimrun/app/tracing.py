"""Tracing: a run's spans sent to an OpenTelemetry collector, where somebody has set one up.

The incident log is the truth and this a courtesy: it reads what is on record, on threads of its own, and a
collector that is slow, wrong or gone costs a run nothing. Nothing is loaded where no collector is named.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from structlog.typing import FilteringBoundLogger

from mimrun.app.home import Home
from mimrun.app.program_log import Event
from mimrun.log.kinds import Kind
from mimrun.run.record.spans import Span, Spans

LEAVE_S: Final = 1.0
"""How long a process that is done with a run waits for the collector to take what is left."""
_LOOK_S: Final = 0.25
_QUEUED: Final = 10_000
"""Spans that wait for the collector; what comes beyond that is not sent."""
_BATCH: Final = 256

_PLACES: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_LEFT: Final = frozenset({Kind.RUN_WAITING, Kind.RUN_ENDED})
"""With these a worker leaves a run in order."""

Send = Callable[[Sequence[Span]], bool]
"""Gives spans to the collector; says whether it has taken them."""


def is_wanted(environ: Mapping[str, str]) -> bool:
    """Say whether the environment names a collector, in the words of OpenTelemetry's own specification.

    OTEL_TRACES_EXPORTER is `otlp` or `none`; without it an address is enough. OTEL_SDK_DISABLED turns all off.
    """
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporters = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if exporters:
        return "otlp" in [one.strip() for one in exporters.split(",")]
    return any(environ.get(name, "").strip() for name in _PLACES)


@contextmanager
def traced(home: Home, run: str, log: FilteringBoundLogger, environ: Mapping[str, str]) -> Iterator[None]:
    """Send the spans of a run for as long as the `with` lasts, where that is wanted and possible.

    1. Spans that end from now on are sent; those of a worker that has died before us, too, once more.
    2. Nothing that goes wrong here comes out. The program log says once that spans were not taken.
    3. At the end what is left has a second; then it is let go of.

    Arguments:
        run: the run's full name.
        log: the program log.
        environ: the environment, for the variables of OpenTelemetry.
    """
    if not is_wanted(environ):
        yield
        return
    follower = _Follower(home, run, log)
    follower.start()
    try:
        yield
    finally:
        follower.finish()


def _connect() -> tuple[Send, Callable[[], object]]:
    from mimrun.app.otlp import sender  # noqa: PLC0415 - the SDK takes 0.3 s, and few have it

    return sender()


class _Follower:
    """Reads a run's entries on one thread, and hands spans over on another, which alone waits for others."""

    def __init__(self, home: Home, run: str, log: FilteringBoundLogger) -> None:
        self._home, self._run, self._log = home, run, log
        self._waiting: queue.Queue[Span | None] = queue.Queue(_QUEUED)
        self._done = threading.Event()
        self._lost, self._why = 0, "the collector did not take them; see OTEL_*"
        self._close: Callable[[], object] = lambda: None
        # Daemons: a process that ends is not held up by what nobody takes.
        self._reader = threading.Thread(target=self._read, name=f"spans-{run}", daemon=True)
        self._sender = threading.Thread(target=self._hand_over, name=f"otlp-{run}", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._reader.start()
        self._sender.start()

    def finish(self) -> None:
        """Read up to the end, and give the collector a moment for what is left."""
        self._done.set()
        self._reader.join(LEAVE_S)
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait(None)
        self._sender.join(LEAVE_S)
        if self._sender.is_alive() or self._lost:
            self._log.warning(Event.SPANS_NOT_SENT, reason=self._why)
        with contextlib.suppress(Exception):
            self._close()

    def _read(self) -> None:
        # The log is read by others who say what is wrong with it.
        with contextlib.suppress(Exception):
            spans, store = Spans(self._home.store.log, self._run), self._home.store
            seq = self._catch_up(spans)
            while True:
                last = self._done.is_set()
                for entry in store.follow(seq, 0 if last else _LOOK_S, run=self._run):
                    seq = entry.seq
                    self._put(spans.take(entry))
                if last:
                    return

    def _catch_up(self, spans: Spans) -> int:
        """Take what is on record; put again what a worker may not have sent that did not leave in order."""
        seq, again = 0, list[Span]()
        for entry in self._home.store.entries(run=self._run):
            seq = entry.seq
            again += spans.take(entry)
            if entry.kind in _LEFT:
                again.clear()
        self._put(again)
        return seq

    def _put(self, spans: Sequence[Span]) -> None:
        for span in spans:
            try:
                self._waiting.put_nowait(span)
            except queue.Full:
                self._lost += 1

    def _hand_over(self) -> None:
        try:
            send, self._close = _connect()
        except Exception as exc:  # noqa: BLE001 - not installed, or set up in a way that it refuses
            self._why = f"{type(exc).__name__}: install mimrun[otel], and see OTEL_*"
            send = _nobody
        ends = False
        while not ends:
            batch = self._next()
            ends = batch[-1] is None
            spans = [span for span in batch if span is not None]
            try:
                taken = not spans or send(spans)
            except Exception:  # noqa: BLE001 - a courtesy: whatever it is, it is not the run's
                taken = False
            self._lost += 0 if taken else len(spans)

    def _next(self) -> list[Span | None]:
        """Give what waits, at least one; None is the last word."""
        batch = [self._waiting.get()]
        while len(batch) < _BATCH and batch[-1] is not None:
            try:
                batch.append(self._waiting.get_nowait())
            except queue.Empty:
                break
        return batch


def _nobody(_: Sequence[Span]) -> bool:
    """Send nothing to nobody."""
    return False
