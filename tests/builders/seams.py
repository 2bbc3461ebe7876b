"""Where a simulation takes the place of the machine: clock, threads, lease, watcher, home, connector.

Everything else is what is installed: `execute_run` puts its own parts together.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import cache, lru_cache
from pathlib import Path
from random import Random
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

import pytest
from builders.world import World, WorldAction, WorldSettings

from mimrun.app import execution, killswitch, runs
from mimrun.app.home import Home
from mimrun.catalog import Catalog
from mimrun.connector import Call, Connector, Outcome, Probed
from mimrun.errors import LeaseError
from mimrun.run.cell import facts, guard, watchdog
from mimrun.run.hold.killswitch import Switch
from mimrun.run.hold.lease import FileLease
from mimrun.run.hold.lock import Holding
from mimrun.run.hold.stop import Stop
from mimrun.run.record.summary import RunSummary
from mimrun.runbook.plan import Plan, Segment
from mimrun.settings import Settings

if TYPE_CHECKING:
    from builders.simulation import Simulation, Worker

T = TypeVar("T")
NOWHERE = Path("/nonexistent/mimrun")


class Stage:
    """Which simulation is played now; there is one at a time in a process."""

    now: ClassVar[Simulation]


class SimulatedWorld(Connector[WorldSettings, WorldAction]):
    """The world of `builders.world`, with a simulation behind it."""

    name = "world"
    settings_type = WorldSettings
    actions = World.actions

    def open(self) -> None:
        """Nothing to open."""

    def close(self) -> None:
        """Nothing to close."""

    def _perform(self, action: WorldAction, call: Call) -> Outcome:
        return Stage.now.perform(self.settings.inventory_hostname, action, call)

    def _probe(self, action: WorldAction, call: Call) -> Probed:
        return Stage.now.probe(call)


CATALOG = Catalog(connectors={"world": SimulatedWorld})


class SimulatedLease(FileLease):
    """The right to execute a run, as long as the worker lives and nobody takes it away. There is no file."""

    def __init__(self, run: str, at_least: int) -> None:
        self.run = run
        self._take(at_least)

    def _take(self, at_least: int) -> int:
        stage = Stage.now
        holder = stage.holder
        if holder is not None and holder.alive and not holder.replaceable:
            raise LeaseError(f"run {self.run} is being executed by worker {holder.number}")
        self.worker = stage.worker
        self.epoch = stage.epoch = max(at_least, stage.epoch) + 1
        self.worker.epoch = self.epoch
        stage.holder = self.worker
        self._held = True
        return -1

    def held(self) -> bool:
        """Say whether the lease is still ours."""
        lost = Stage.now.holder is not self.worker and self.worker.notices
        return self._held and not lost

    def note_seen(self, seq: int) -> None:
        """Nobody looks."""

    def release(self) -> None:
        """Let go of the lease."""
        self._held = False
        if Stage.now.holder is self.worker:
            Stage.now.holder = None


class SimulatedLeases:
    """The leases of the simulated log."""

    def take(self, run: str, *, at_least: int = 0) -> SimulatedLease:
        """Take the one lease that there is."""
        return SimulatedLease(run, at_least)

    def is_held(self, run: str) -> bool:
        """Say whether a worker has it."""
        return Stage.now.holder is not None

    def holder_of(self, run: str) -> None:
        """Say nothing: no process is behind it."""


class SimulatedStop(Stop):
    """The watcher for a wish to stop, without a thread: it looks when the simulation lets it."""

    def __enter__(self) -> Self:
        self.worker: Worker = Stage.now.worker
        self.worker.stop = self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.worker.stop = None

    def notice(self) -> None:
        """Look now, as the watching thread does five times a second."""
        if not self._wanted.is_set():
            self._look()

    def knows(self) -> bool:
        """Say whether the wish has come here."""
        return self._wanted.is_set()

    def wait(self, seconds: float) -> bool:
        """Let time pass."""
        Stage.now.pass_time(seconds, self)
        return self._wanted.is_set()


class SimulatedTime(ModuleType):
    """The module `time`, with the simulation's clock."""

    CLOCK_BOOTTIME = time.CLOCK_BOOTTIME

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    @staticmethod
    def monotonic() -> float:
        return Stage.now.seconds

    perf_counter = time = monotonic

    @staticmethod
    def clock_gettime(clock: int) -> float:
        return Stage.now.seconds

    @staticmethod
    def sleep(seconds: float) -> None:
        Stage.now.pass_time(seconds, None)


class Flag:
    """A `threading.Event` of a process that has one thread."""

    def __init__(self) -> None:
        self._up = False

    def set(self) -> None:
        self._up = True

    def clear(self) -> None:
        self._up = False

    def is_set(self) -> bool:
        return self._up


class OneThread(ModuleType):
    """The module `threading` of a process that has one thread: nobody is ever waited for."""

    Event = Flag

    def __getattr__(self, name: str) -> Any:
        return getattr(threading, name)

    @staticmethod
    def Thread(**_: object) -> None:
        """Make no thread."""


class Task:
    """What `submit` gives: done when the pool is."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._work = work
        self._raised: Exception | None = None
        self._answer: Any = None

    def do(self) -> None:
        """Do it now. The death of the process is no `Exception`, and ends everything here."""
        try:
            self._answer = self._work()
        except Exception as exc:  # noqa: BLE001 - `result` raises it
            self._raised = exc

    def exception(self) -> Exception | None:
        """Give what it has raised."""
        return self._raised

    def result(self) -> Any:
        """Give what came of it."""
        if self._raised is not None:
            raise self._raised
        return self._answer


class InOrder:
    """A pool of threads without threads: tasks are done one after the other, in an order drawn by lot."""

    def __init__(self, max_workers: int | None = None, **_: object) -> None:
        self._tasks: list[Task] = []

    def submit(self, task: Callable[..., Any], *args: object, **named: object) -> Task:
        self._tasks.append(Task(lambda: task(*args, **named)))
        return self._tasks[-1]

    def shutdown(self, wait: bool = True, **_: object) -> None:
        Random(Stage.now.draw.random()).shuffle(self._tasks)
        while self._tasks:
            self._tasks.pop().do()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None:
            self.shutdown()


def watched(
    work: Callable[[], T],
    call: Call,
    stop: Stop,
    *,
    late: Callable[[T], None] = lambda _: None,
    ends: bool = True,
) -> T | watchdog.Left:
    """Wait for a connector as the watchdog does, without its thread: what hangs has hung when it comes back."""
    answer = work()
    hung = Stage.now.hangs(call, stop)
    if hung is None:
        return answer
    if hung:
        Stage.now.later.append((Stage.now.worker, lambda: late(answer)))
    return watchdog.Left("the connector did not come back")


class NoLatch:
    """The kill switch of a machine on which nobody pulls it; the one in the log is pulled."""

    def __init__(self, path: object) -> None:
        pass

    def reason(self) -> str:
        return ""


class Silent:
    """A program log that nobody reads."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: None


@contextmanager
def seams() -> Iterator[pytest.MonkeyPatch]:
    """Put the simulation in the place of the machine, as long as the `with` lasts."""
    with pytest.MonkeyPatch.context() as patch:
        replaced: Mapping[str, object] = {
            "open_home": lambda *_, **__: Stage.now.opened(),
            "Stop": SimulatedStop,
            "program_log": lambda *_: Silent(),
            "about": lambda **_: nullcontext(),
            "mask_with": lambda _: None,
            "people_reader": lambda *_: lambda: Stage.now.people,
            "connector_versions": dict,
            "Latch": NoLatch,
            "worker_name": lambda: f"simulated:{Stage.now.worker.number}",
        }
        for name, value in replaced.items():
            patch.setattr(execution, name, value)
        for module in (execution, runs):
            patch.setattr(module, "load_plan", lambda *_: Stage.now.plan)
        patch.setattr(killswitch, "Latch", NoLatch)
        patch.setattr(Home, "people", lambda *_: Stage.now.people)
        patch.setattr(Home, "leases", SimulatedLeases())
        _keep_summaries_whole(patch)
        _look_once(patch)
        clock, one_thread = SimulatedTime("time"), OneThread("threading")
        for name, loaded in [*sys.modules.items()]:
            if name.startswith("mimrun.run."):
                if getattr(loaded, "time", None) is time:
                    patch.setattr(loaded, "time", clock)
                if getattr(loaded, "threading", None) is threading:
                    patch.setattr(loaded, "threading", one_thread)
                if getattr(loaded, "watched", None) is watchdog.watched and loaded is not watchdog:
                    patch.setattr(loaded, "watched", watched)
                if getattr(loaded, "ThreadPoolExecutor", None) is ThreadPoolExecutor:
                    patch.setattr(loaded, "ThreadPoolExecutor", InOrder)
        yield patch


def _keep_summaries_whole(patch: pytest.MonkeyPatch) -> None:
    """Keep a run's summary as the value that it is, and not as JSON, where a schedule is not played in full."""
    encode, decode = RunSummary.encode, RunSummary.decode

    def kept(summary: RunSummary) -> bytes | RunSummary:
        return encode(summary) if Stage.now.full else summary

    def given(data: bytes | RunSummary) -> RunSummary:
        return data if isinstance(data, RunSummary) else decode(data)

    def changed(summary: RunSummary, *, update: Mapping[str, object]) -> RunSummary:
        other = RunSummary.__new__(RunSummary)
        for name in ("__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__"):
            object.__setattr__(other, name, getattr(summary, name))
        object.__setattr__(other, "__dict__", {**summary.__dict__, **update})
        return other

    for model in (Holding, Switch):
        # They are frozen, and seldom change: the same bytes need not be read again and again.
        patch.setattr(model, "model_validate_json", staticmethod(cache(model.model_validate_json)))
    patch.setattr(RunSummary, "model_copy", changed)
    patch.setattr(RunSummary, "encode", kept)
    patch.setattr(RunSummary, "decode", staticmethod(given))


def _look_once(patch: pytest.MonkeyPatch) -> None:
    """Work out only once what hangs on the plan alone, and on no schedule."""
    for module, name in (
        (facts, "scopes_of"),
        (facts, "secret_references"),
        (guard, "_gates_before"),
    ):
        patch.setattr(module, name, of_each_plan(getattr(module, name)))
    for name in ("people", "kill_switch"):
        patch.setattr(Settings, name, NOWHERE / name)
    patch.setattr(Segment, "decode", staticmethod(lru_cache(4096)(Segment.decode)))


def of_each_plan(work: Callable[[Plan], T]) -> Callable[[Plan], T]:
    """Do something with each plan but once."""
    known: dict[str, T] = {}

    def once(plan: Plan) -> T:
        if plan.digest not in known:
            known[plan.digest] = work(plan)
        return known[plan.digest]

    return once
