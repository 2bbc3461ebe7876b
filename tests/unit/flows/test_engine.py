"""The engine's decisions, with a Prefect that misbehaves as no real one can be made to on command."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from flows import engine as module
from flows.engine import Engine
from flows.pulse import Health
from flows.submission import Ending, Submission


@dataclass(frozen=True)
class Verdict:
    status: str
    detail: str = ""
    waits_on: str = ""


@dataclass
class Executor:
    """Remembers what it was asked for; ends as it is told."""

    endings: list[str] = field(default_factory=lambda: ["succeeded"])
    calls: list[tuple[str, str, str]] = field(default_factory=list)
    hold: threading.Event | None = None
    began: threading.Event = field(default_factory=threading.Event)
    looks: int = 0
    left: bool = False

    def execute(self, run: str, around_step: object, mode: str, reason: str) -> Verdict:
        self.calls.append((run, mode, reason))
        ending = self.endings.pop(0) if len(self.endings) > 1 else self.endings[0]
        self.began.set()
        if self.hold is not None:
            assert self.hold.wait(10)
        if ending == "error":
            raise RuntimeError("the log is on fire")
        return Verdict(ending)

    def note(self, run: str, reason: str) -> None:
        raise AssertionError("nothing was shown")

    def name(self, run: str) -> str:
        return f"small {run}"

    def standing(self, run: str) -> None:
        return None

    def leave(self) -> None:
        self.left = True

    def due(self) -> list[str]:
        self.looks += 1
        if self.looks == 1:
            raise OSError("the log is away for a moment")
        return ["reverts"] if not self.calls else []


@dataclass
class Api:
    url: str = "http://127.0.0.1:1/api"
    pid: int | None = None
    health: Health = field(default_factory=lambda: Health(up=True))


class Prefect:
    def __init__(self, drive: Callable[[Submission], None]) -> None:
        self._drive = drive
        self.settled: list[tuple[str, str, str]] = []
        self.refuse_settling = 0

    def drive(self, submission: Submission) -> None:
        self._drive(submission)

    def settle(self, run: str, name: str, ending: Ending) -> None:
        if self.refuse_settling:
            self.refuse_settling -= 1
            raise ConnectionError("not yet")
        self.settled.append((run, name, ending.status))

    def reconcile(self, active: Callable[[str], bool], standing: Callable[[str], Ending | None]) -> None:
        assert not active("nobody's")


def well(submission: Submission) -> None:
    submission.perform(lambda label, do: do(), "prefect")


def make(executor: Executor, drive: Callable[[Submission], None] = well) -> tuple[Engine, Prefect, Api]:
    engine, prefect, api = Engine(), Prefect(drive), Api()
    engine.attach(api)
    engine.connect(prefect, executor)  # type: ignore[arg-type]
    return engine, prefect, api


def rest(engine: Engine) -> None:
    end = time.monotonic() + 10
    while engine.busy:
        assert time.monotonic() < end
        time.sleep(0.005)


def take(engine: Engine, run: str) -> Any:
    return engine.answer({"do": "execute", "run": run})["accepted"]


def test_a_run_is_driven_through_prefect() -> None:
    executor = Executor()
    engine, prefect, _ = make(executor)
    assert take(engine, "r")
    rest(engine)
    engine.settle()
    assert executor.calls == [("r", "prefect", "")]
    assert prefect.settled == []


def test_what_is_to_be_taken_back_is_looked_for_now_and_then_and_driven_like_any_run() -> None:
    executor, now = Executor(), [0.0]
    engine = Engine(clock=lambda: now[0])
    engine.take_due()
    engine.attach(Api())
    engine.connect(Prefect(well), executor)  # type: ignore[arg-type]
    engine.take_due()
    engine.take_due()
    assert (executor.looks, executor.calls) == (1, []), "once in two seconds, and a failure is no end"
    now[0] += module.LOOK_S
    engine.take_due()
    rest(engine)
    assert executor.calls == [("reverts", "prefect", "")]


def test_a_prefect_that_hangs_before_the_run_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.05)
    executor, late = Executor(), threading.Event()

    def hang(submission: Submission) -> None:
        assert late.wait(10)
        assert not submission.perform(None, "prefect"), "Prefect comes too late"

    engine, _, _ = make(executor, hang)
    assert take(engine, "r")
    rest(engine)
    late.set()
    assert [mode for _, mode, _ in executor.calls] == ["direct"]
    assert "did not start" in executor.calls[0][2]


@pytest.mark.parametrize("failure", [ConnectionError("no"), KeyboardInterrupt(), SystemExit(1)])
def test_a_prefect_that_fails_before_the_run_leads_to_a_direct_run(failure: BaseException) -> None:
    def fail(submission: Submission) -> None:
        raise failure

    executor = Executor()
    engine, _, _ = make(executor, fail)
    assert take(engine, "r")
    rest(engine)
    assert executor.calls == [("r", "direct", f"prefect failed: {type(failure).__name__}")]


def test_a_prefect_that_returns_without_having_begun_leads_to_a_direct_run() -> None:
    executor = Executor()
    engine, _, _ = make(executor, lambda submission: None)
    assert take(engine, "r")
    rest(engine)
    assert executor.calls == [("r", "direct", "prefect did not start the run")]


def test_what_prefect_lost_is_told_later_and_again_until_it_is_taken() -> None:
    def lose(submission: Submission) -> None:
        well(submission)
        raise ConnectionError("gone")

    now = [0.0]
    executor = Executor()
    engine = Engine(clock=lambda: now[0])
    prefect, api = Prefect(lose), Api()
    engine.attach(api)
    engine.connect(prefect, executor)  # type: ignore[arg-type]
    assert take(engine, "r")
    rest(engine)
    assert executor.calls == [("r", "prefect", "")], "the run itself was whole"
    api.health = Health(up=False)
    now[0] = 1
    engine.settle()
    api.health = Health(up=True, losses=1)
    prefect.refuse_settling = 1
    end = time.monotonic() + 10
    while not prefect.settled:
        assert time.monotonic() < end
        now[0] += 1
        engine.settle()
        time.sleep(0.001)
    assert prefect.settled == [("r", "small r", "succeeded")]
    engine.settle()
    assert len(prefect.settled) == 1


def test_a_run_handed_in_while_it_is_about_to_wait_is_looked_at_once_more() -> None:
    executor = Executor(endings=["waiting", "succeeded"], hold=threading.Event())
    engine, _, _ = make(executor)
    assert take(engine, "r")
    assert executor.began.wait(5)
    assert take(engine, "r"), "the approval came just now"
    executor.hold.set()  # type: ignore[union-attr]
    rest(engine)
    assert len(executor.calls) == 2


def test_a_run_handed_in_twice_is_executed_once_when_it_ends() -> None:
    executor = Executor(hold=threading.Event())
    engine, _, _ = make(executor)
    assert take(engine, "r")
    assert executor.began.wait(5)
    assert take(engine, "r")
    executor.hold.set()  # type: ignore[union-attr]
    rest(engine)
    assert len(executor.calls) == 1


def test_an_executor_that_raises_leaves_the_engine_working() -> None:
    executor = Executor(endings=["error", "succeeded"])
    engine, prefect, _ = make(executor)
    assert take(engine, "a")
    rest(engine)
    assert take(engine, "b")
    rest(engine)
    assert [run for run, _, _ in executor.calls] == ["a", "b"]
    assert prefect.settled == []


def test_nothing_is_accepted_while_prefect_is_not_ready() -> None:
    executor = Executor()
    engine, _, api = make(executor)
    api.health = Health(up=False)
    assert engine.answer({"do": "ping"})["ready"] is False
    assert not take(engine, "r")
    assert executor.calls == []


def test_it_does_not_stop_under_a_run_unless_forced_and_then_takes_no_more() -> None:
    executor = Executor(hold=threading.Event())
    engine, _, _ = make(executor)
    assert take(engine, "r")
    refused = engine.answer({"do": "stop"})
    assert refused["stopping"] is False
    assert refused["runs"] == ["r"]
    assert engine.answer({"do": "stop", "force": True})["stopping"] is True
    assert not take(engine, "s")
    executor.hold.set()  # type: ignore[union-attr]
    rest(engine)


def test_when_it_is_to_leave_it_takes_no_more_and_ends_when_its_runs_are_left() -> None:
    executor = Executor(hold=threading.Event())
    engine, _, _ = make(executor)
    assert take(engine, "a")
    assert executor.began.wait(10)
    assert engine.answer({"do": "leave"})["stopping"]
    assert executor.left, "each run is left in front of its next step"
    assert not take(engine, "b")
    assert engine.busy
    assert not engine.idle_enough
    assert executor.hold is not None
    executor.hold.set()
    rest(engine)
    assert engine.idle_enough


def test_it_is_idle_after_the_last_run_and_for_the_longest_time_anyone_asked_for() -> None:
    now = [0.0]
    engine = Engine(10, lambda: now[0])
    now[0] = 50
    assert not engine.idle_enough, "it may still be waking"
    now[0] = 71
    assert engine.idle_enough, "it has not become ready"
    engine.connect(Prefect(well), Executor())  # type: ignore[arg-type]
    assert not engine.idle_enough
    engine.answer({"do": "wake", "idle_exit": 5})
    now[0] += 9
    assert not engine.idle_enough, "it has promised ten seconds to somebody"
    now[0] += 2
    assert engine.idle_enough
    engine.answer({"do": "wake", "idle_exit": None})
    now[0] += 9999
    assert not engine.idle_enough, "`mimrun up` keeps it"
    engine.answer({"do": "wake", "idle_exit": 5})
    now[0] += 9999
    assert not engine.idle_enough


@pytest.mark.parametrize("question", [{}, {"do": "execute"}, {"do": "execute", "run": 3}, {"do": "dance"}])
def test_a_question_it_does_not_know_is_refused_in_words(question: dict[str, Any]) -> None:
    engine, _, _ = make(Executor())
    answer = engine.answer(question)
    assert answer["accepted"] is False
    assert answer["reason"]
