"""Two machines and one log in PostgreSQL: a worker dies or freezes on one, and the other goes on with its run."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from builders.history import keys_of, read
from builders.log_places import BLOB_KEY, Schema, a_schema, a_server
from builders.plans import a_plan, action
from builders.runs import RESPONDER, Bench
from builders.world import HOOKS, lines, words

from mimrun.app import home as home_of
from mimrun.app.home import lay_home
from mimrun.app.stopping import request_stop
from mimrun.app.worker import Worked, Worker
from mimrun.connector import Effect
from mimrun.lab.postgres_server import CLIENT, Instance
from mimrun.log.entry import Draft, LogEntry
from mimrun.log.holder import this_process
from mimrun.log.kinds import Kind, StepEvidence
from mimrun.log.postgres.schema import GRANTS
from mimrun.log.postgres.store import PostgresStore
from mimrun.log.proof.verify import verify
from mimrun.run.cell import watchdog
from mimrun.run.record.transitions import RunStatus
from mimrun.run.record.wish import Level
from mimrun.runbook.node import StepOptions
from mimrun.runbook.plan import Plan
from mimrun.settings import LEASE_TTL_MS, Settings

pytestmark = pytest.mark.needs("postgres")

SHORT_MS = 2_000
"""A worker whose store answers no sooner than after a second still keeps its lease."""
PATIENCE_S = 30.0


@pytest.fixture(scope="module")
def server() -> Iterator[Instance]:
    with a_server("127.0.52") as server:
        yield server


@pytest.fixture
def schema(server: Instance) -> Iterator[Schema]:
    with a_schema(server) as schema:
        yield schema


class Machine(Bench):
    """A machine with a home folder of its own, on a log that others use as well.

    Arguments:
        folder: the home, and the world, are in it.
        schema: where the log is.
        name: the machine's name; another one is another boot as well.
    """

    def __init__(self, folder: Path, schema: Schema, name: str, ttl_ms: int = SHORT_MS) -> None:
        super().__init__(folder)
        place = f"{schema.database.url}?schema={schema.name}"
        owner = Settings(
            home=folder / name,
            store=f"{schema.owner.url}?schema={schema.name}",
            store_password=schema.owner.password,
            blob_key=BLOB_KEY.reference,
        )
        lay_home(owner)
        schema.execute(GRANTS.format(schema=schema.name, role=CLIENT))
        self.settings = Settings(
            home=folder / name,
            store=place,
            store_password=schema.database.password,
            lease_ttl_ms=ttl_ms,
            blob_key=BLOB_KEY.reference,
        )
        self.settings.people.write_text((folder / "home" / "people.yaml").read_text())
        self.settings.log.with_name("log.db").unlink(missing_ok=True)
        self.name = name

    def become(self) -> None:
        """Let this process be one of this machine."""
        home_of.this_process = lambda: replace(this_process(), host=self.name, boot=f"boot of {self.name}")  # type: ignore[attr-defined]

    @contextmanager
    def worker(
        self, run: str, hook: Callable[[], object], *, behind_intent: Callable[[], object] | None = None
    ) -> Iterator[int]:
        """A process of this machine that executes a run; it is dead when the `with` ends.

        Arguments:
            hook: called in the middle of the second step.
            behind_intent: called when the intent of the second step is on record, before the last look.
        """
        child = os.fork()
        if child == 0:
            code = 9
            try:
                self.become()
                HOOKS["hold"] = hook
                if behind_intent is not None:
                    _call_behind_intent(behind_intent)
                sys.stderr.write(f"{self.name}: {self.execute(run)}\n")  # shown where the test fails
                code = 0
            except BaseException:  # noqa: BLE001 - likewise
                traceback.print_exc()
            finally:
                os._exit(code)
        try:
            yield child
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def _call_behind_intent(call: Callable[[], object]) -> None:
    append = PostgresStore.append

    def appended(self: PostgresStore, drafts: Sequence[Draft], **more: Any) -> tuple[LogEntry, ...]:
        entries = append(self, drafts, **more)
        if any(entry.kind is Kind.STEP_INTENT and entry.step == "2" for entry in entries):
            call()
        return entries

    PostgresStore.append = appended  # type: ignore[method-assign]  # in a child that ends with it


@pytest.fixture
def one(tmp_path: Path, schema: Schema) -> Machine:
    return Machine(tmp_path, schema, "one")


@pytest.fixture
def two(tmp_path: Path, schema: Schema, one: Machine, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """The machine that this process is on."""
    monkeypatch.setattr(home_of, "this_process", home_of.this_process)
    machine = Machine(tmp_path, schema, "two")
    machine.become()
    return machine


@pytest.fixture(autouse=True)
def _short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connector gets half a second behind its deadline here, as everything is shorter."""
    monkeypatch.setattr(watchdog, "GRACE_S", 0.5)


def state_of(child: int) -> str:
    """Give the kernel's letter for what a process does: T stands still, Z has come to its end."""
    return Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0]


def wait_for(check: Callable[[], object], seconds: float = PATIENCE_S) -> None:
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, "it does not come about"
        time.sleep(0.02)


def the_plan(world: Path, *, timeout_s: float, effect: Effect = Effect.PROBE) -> Plan:
    """A word, then one in the middle of which the worker is held, then another."""
    options = StepOptions(delay_ms=1, timeout_ms=int(timeout_s * 1000))
    held = action("2", "hook", options=options, word="hold")
    (target,) = held.targets
    calls = tuple(one.model_copy(update={"effect": effect}) for one in target.calls)
    held = held.model_copy(update={"targets": (target.model_copy(update={"calls": calls}),)})
    return a_plan(world, action("1", "probe", word="first"), held, action("3", "probe", word="last"))


def intent_of(machine: Machine, run: str, step: str = "2") -> LogEntry | None:
    """The last intent of a step."""
    with machine.home() as home:
        found = [e for e in home.store.entries(run=run, kinds={Kind.STEP_INTENT}) if e.step == step]
    return found[-1] if found else None


def judge(machine: Machine, run: str) -> None:
    with machine.home() as home:
        flaws = read(home.store.entries(run=run)).against(keys_of(lines(machine.world)))
        assert home.store.rebuild()
        assert verify(home.store).ok
    assert not flaws, flaws


def take_over(machine: Machine, run: str, seconds: float) -> float:
    """Let a worker of this machine look around until the run has ended; gives the seconds until it took it."""
    begun, told = time.monotonic(), list[Worked]()
    worker = Worker(machine.settings, catalog=machine.catalog, report=told.append)
    thread = threading.Thread(target=worker.stay)
    thread.start()
    took = 0.0
    try:
        while time.monotonic() < begun + PATIENCE_S + seconds and not told:
            if not took and machine.state(run).epoch > 1:
                took = time.monotonic() - begun
            time.sleep(0.02)
    finally:
        worker.stop()
        thread.join(30)
    assert [worked.status for worked in told] == ["succeeded"]
    assert 0 < took < seconds
    return took


def test_a_run_goes_on_with_on_the_other_machine_when_its_worker_was_killed(
    one: Machine, two: Machine
) -> None:
    killed_and_taken_over(one, two, within_s=SHORT_MS / 1000 * 1.5 + 2)


@pytest.mark.heavy
def test_a_run_is_taken_over_across_machines_within_45_seconds(
    tmp_path: Path, schema: Schema, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(home_of, "this_process", home_of.this_process)
    one, two = (Machine(tmp_path, schema, name, LEASE_TTL_MS) for name in ("one", "two"))
    two.become()
    took = killed_and_taken_over(one, two, within_s=45)
    assert took > 20  # nobody was in a hurry


def killed_and_taken_over(one: Machine, two: Machine, within_s: float) -> float:
    run = one.create(the_plan(one.world, timeout_s=1))
    with one.worker(run, lambda: time.sleep(600)) as child:
        wait_for(lambda: intent_of(two, run))
        os.kill(child, signal.SIGKILL)
        refused = two.execute(run)
        assert refused.status == "refused"
        assert "on one" in refused.detail
        HOOKS["hold"] = lambda: None
        took = take_over(two, run, within_s)
    state = two.state(run)
    assert state.status is RunStatus.SUCCEEDED
    assert words(two.world) == ["a:first", "a:hold", "a:last"]
    judge(two, run)
    return took


def test_what_a_worker_of_another_machine_has_begun_is_let_come_to_its_deadline(
    one: Machine, two: Machine
) -> None:
    run = one.create(the_plan(one.world, timeout_s=4))
    HOOKS["hold"] = lambda: None
    with one.worker(run, lambda: time.sleep(600)) as child:
        wait_for(lambda: intent_of(two, run))
        os.kill(child, signal.SIGKILL)
        wait_for(lambda: two.execute(run).status == "succeeded")
    with two.home() as home:
        intents = [e for e in home.store.entries(run=run, kinds={Kind.STEP_INTENT}) if e.step == "2"]
        (probed, *_) = home.store.entries(run=run, kinds={Kind.STEP_PROBED})
    assert (probed.ts - intents[0].ts).total_seconds() >= 4
    judge(two, run)


def test_an_abort_does_not_wait_for_the_deadline(one: Machine, two: Machine) -> None:
    run = one.create(the_plan(one.world, timeout_s=600))
    with one.worker(run, lambda: time.sleep(600)) as child:
        wait_for(lambda: intent_of(two, run))
        os.kill(child, signal.SIGKILL)
        with two.home() as home:
            request_stop(home, run, RESPONDER, Level.ABORT, "enough")
        wait_for(lambda: two.execute(run).status == "in_doubt")


def test_on_the_same_machine_a_killed_worker_is_replaced_at_once(two: Machine) -> None:
    two.settings = replace(two.settings, lease_ttl_ms=LEASE_TTL_MS)  # nobody waits for its lease to run out
    run = two.create(the_plan(two.world, timeout_s=600))
    HOOKS["hold"] = lambda: None
    with two.worker(run, lambda: time.sleep(600)) as child:
        wait_for(lambda: intent_of(two, run))
        os.kill(child, signal.SIGKILL)
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    begun = time.monotonic()
    assert two.execute(run).status == "succeeded"
    assert time.monotonic() - begun < 5
    judge(two, run)


@pytest.mark.parametrize("where", ["in the middle of the act", "behind its intent"])
def test_a_frozen_worker_that_was_replaced_does_not_act_when_it_wakes_up(
    one: Machine, two: Machine, where: str, tmp_path: Path
) -> None:
    run = one.create(the_plan(one.world, timeout_s=0.5))
    # To this very thread, which so does nothing more; the kernel stops the whole process with it.
    stop = lambda: signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)  # noqa: E731
    hook = stop if where == "in the middle of the act" else (lambda: None)
    HOOKS["hold"] = lambda: None
    with one.worker(run, hook, behind_intent=None if hook is stop else stop) as child:
        wait_for(lambda: state_of(child) == "T")
        before = lines(one.world)
        wait_for(lambda: two.execute(run).status == "succeeded")
        after = lines(one.world)
        os.kill(child, signal.SIGCONT)
        wait_for(lambda: state_of(child) == "Z")
    late = words(one.world)[len(after) :]
    with two.home() as home:
        evidence = [e.body for e in home.store.entries(run=run, kinds={Kind.STEP_EVIDENCE})]
        epochs = [e.epoch for e in home.store.entries(run=run, kinds={Kind.STEP_INTENT}) if e.seq > 0]
    assert len(before) == 1
    assert epochs == sorted(epochs)
    if hook is stop:
        # It stood behind its last look: that one act is done late, known as evidence, and nothing follows it.
        assert late == ["a:hold"]
        assert [type(body) for body in evidence] == [StepEvidence]
    else:
        assert late == []
        judge(two, run)
