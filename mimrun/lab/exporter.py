"""What the client of the lab goes through, as metrics for Prometheus: worked out from its notes, and from nothing else."""

from __future__ import annotations

import math
import sys
from collections import deque
from pathlib import Path
from typing import Final

from mimrun.errors import LabError
from mimrun.lab import loopback
from mimrun.lab.asking import ask
from mimrun.lab.part import Program
from mimrun.lab.writer import Failure, Write, parse

READY: Final = 10.0
LATELY: Final = 1.0
"""Seconds that a ratio is made of."""

_HEAD: Final = """\
# HELP client_writes_total Writes that the client has tried.
# TYPE client_writes_total counter
client_writes_total{{result="acknowledged"}} {acknowledged}
client_writes_total{{result="refused"}} {refused}
# HELP client_error_ratio Share of the writes of the last second that were not acknowledged.
# TYPE client_error_ratio gauge
client_error_ratio {ratio}
# HELP client_seconds_without_acknowledgement Seconds since a write was acknowledged.
# TYPE client_seconds_without_acknowledgement gauge
client_seconds_without_acknowledgement {silence}
"""


class Metrics:
    """Reads the client's notes on, and says what they come to.

    Arguments:
        notes: the client's file, one line per write.
    """

    def __init__(self, notes: Path) -> None:
        self._notes = notes
        self._read = 0
        self._acknowledged = self._refused = 0
        self._last = math.nan
        self._lately: deque[tuple[float, bool]] = deque()

    def text(self, now: float) -> str:
        """Give the metrics in Prometheus' text format.

        Arguments:
            now: the moment, by `time.monotonic()`, which counts the same in every process of the machine.
        """
        for entry in self._news():
            self._count(entry)
        while self._lately and self._lately[0][0] < now - LATELY:
            self._lately.popleft()
        tried = len(self._lately)
        refused = sum(1 for _, well in self._lately if not well)
        return _HEAD.format(
            acknowledged=self._acknowledged,
            refused=self._refused,
            ratio=_number(refused / tried if tried else math.nan),
            silence=_number(now - self._last),
        )

    def _news(self) -> list[Write | Failure]:
        """Give what was noted since the last look, in the order of time."""
        with self._notes.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._read += len(whole)
        notes = parse(whole.decode().splitlines(keepends=True))
        return sorted([*notes.acknowledged, *notes.failed], key=lambda entry: entry.sent)

    def _count(self, entry: Write | Failure) -> None:
        well = isinstance(entry, Write)
        self._acknowledged += well
        self._refused += not well
        if isinstance(entry, Write):
            self._last = entry.acknowledged
        self._lately.append((entry.sent, well))


class Exporter(Program):
    """Serves the client's metrics at `/metrics`.

    Arguments:
        folder: where its log is.
        notes: the client's file.
        net: the loopback net; it listens on `.122`.
    """

    def __init__(self, folder: Path, notes: Path, *, net: str = loopback.NET) -> None:
        super().__init__(folder, "exporter")
        self.notes = notes
        self.host = f"{net}.122"
        self.port = 0

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            LabError: it does not.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder = self.folder.resolve()
        self.port = self.port or loopback.free_ports([self.host])[0]
        argv = [
            sys.executable,
            "-P",
            "-m",
            "mimrun.lab.exporting",
            str(self.notes),
            self.host,
            str(self.port),
        ]
        child = self._launch(argv, environment={"PYTHONPATH": str(Path(__file__).parents[2])})
        try:
            self._await(
                child,
                self.is_ready,
                seconds=READY,
                where=f"{self.host}:{self.port}",
            )
        except BaseException:
            self.stop()
            raise

    def is_ready(self) -> bool:
        """Say whether it gives metrics."""
        try:
            return bool(self.text())
        except LabError:
            return False

    def text(self) -> str:
        """Give the metrics as Prometheus gets them.

        Raises:
            LabError: it does not answer.
        """
        answer = ask(self.host, self.port, "/metrics")
        if not isinstance(answer, str):
            raise LabError(f"http://{self.host}:{self.port}/metrics answers no metrics")
        return answer


def _number(value: float) -> str:
    return "NaN" if math.isnan(value) else f"{value:.6g}"
