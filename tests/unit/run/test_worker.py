"""One worker with its lease, journal, stop and connections: what it may write, and what ends it."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from builders.entries import started
from builders.plans import a_plan, action
from builders.runs import RESPONDER, Bench
from builders.world import WORLD, World, words

from mimrun.app.decisions import request_cancel, resolve
from mimrun.app.runs import create_run, load_plan, load_state
from mimrun.connector import Failed, Ok
from mimrun.errors import LeaseError, LogError, RefusedError
from mimrun.log.entry import MAX_BLOB, Actor, Draft
from mimrun.log.sqlite.reader import LogReader
from mimrun.run.cell.connections import Connections
from mimrun.run.hold.lease import FileLease
from mimrun.run.hold.stop import Stop
from mimrun.run.journal import Journal
from mimrun.run.record.state import CellKey
from mimrun.runbook.node import StepOptions

Hooks = dict[str, Callable[[], object]]
WORKER = Actor("worker", "host:2", "engine", "lease")


def take_over(bench: Bench, run: str) -> None:
    """Another worker starts the run, as it could where the lease has failed: a copied home, a lost lock file."""
    with bench.home() as home:
        state = load_state(home, run)
        body = started(state.epoch + 1)
        home.store.append([Draft(WORKER, body, inc=state.incident, run=run, epoch=body.epoch)])


def test_an_outcome_that_comes_too_late_is_kept_as_evidence_and_changes_nothing(
    bench: Bench, hooks: Hooks
) -> None:
    run = bench.create(a_plan(bench.world, action("1", "hook", word="x"), action("2")))
    hooks["x"] = lambda: take_over(bench, run)
    verdict = bench.execute(run)
    assert verdict.status == "refused"
    assert "epoch 2 has taken over" in verdict.detail
    assert bench.kinds(run)[-1] == "step.evidence"
    assert words(bench.world) == ["a:x"]
    assert bench.execute(run).status == "in_doubt", "the next worker cannot know, and says so"
    assert words(bench.world) == ["a:x"]
    assert bench.is_intact()


def test_nothing_is_written_once_the_lease_is_let_go(bench: Bench) -> None:
    run = bench.create(a_plan(bench.world, action("1")))
    with bench.home() as home:
        lease = FileLease(home.settings.locks, run)
        journal = Journal(home.store, load_state(home, run), lease, WORKER)
        lease.release()
        size = home.store.head().size
        with pytest.raises(LeaseError, match="has let go of its lease"):
            journal.note(started(1))
        assert home.store.head().size == size


def test_what_is_held_is_written_in_front_of_the_next_entry_in_the_same_append(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, action("1")))
    with bench.home() as home:
        entries = {entry.kind.value: entry for entry in home.store.entries(run=run)}
    assert entries["step.started"].seq + 1 == entries["step.intent"].seq
    assert entries["step.outcome"].seq + 1 == entries["step.finished"].seq


def test_nothing_is_begun_behind_a_request_to_stop_however_shortly_before(bench: Bench, hooks: Hooks) -> None:
    """The watcher looks a few times a second; the log itself refuses the next intent at once."""
    run = bench.create(a_plan(bench.world, action("1", "hook", word="x"), action("2")))
    hooks["x"] = lambda: bench.cancel(run)
    verdict = bench.execute(run)
    assert (verdict.status, verdict.detail) == ("cancelled", "enough")
    assert words(bench.world) == ["a:x"]
    assert bench.kinds(run)[-2:] == ["step.finished", "run.ended"]


def test_a_request_to_stop_ends_waiting_between_two_attempts(bench: Bench) -> None:
    options = StepOptions(retries=1, delay_ms=3_600_000)
    step = action("1", "idempotent", word="x", answer="failed", options=options)
    run = bench.create(a_plan(bench.world, step))
    worker = threading.Thread(target=lambda: bench.execute(run))
    worker.start()
    end = time.monotonic() + 20
    while "step.outcome" not in bench.kinds(run) and time.monotonic() < end:
        time.sleep(0.02)
    bench.cancel(run)
    worker.join(20)
    assert not worker.is_alive()
    assert bench.state(run).status == "cancelled"


def test_a_stopped_run_that_is_in_doubt_asks_before_it_is_over(bench: Bench, hooks: Hooks) -> None:
    hosts = ["a", "b"]
    lost = action(
        "1", hosts=hosts, late=["colour"], word="x", answer="{{ 'lost' if colour == 'ca' else 'ok' }}"
    )
    run = bench.create(a_plan(bench.world, action("0", "hook", word="go"), lost, action("2"), hosts=hosts))
    hooks["go"] = lambda: None
    assert bench.execute(run).status == "in_doubt"
    bench.cancel(run)
    assert bench.execute(run).status == "in_doubt"
    with bench.home() as home:
        resolve(home, run, RESPONDER, step="1", target="a", resolution="applied", reason="saw it")
    assert bench.execute(run).status == "cancelled"
    assert bench.state(run).in_doubt() == []


def test_two_people_do_not_settle_the_same_doubt(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    run, _ = bench.run(a_plan(bench.world, action("1", word="x", answer="lost")))

    def settle(how: str) -> None:
        with bench.home() as home:
            resolve(home, run, RESPONDER, step="1", target="a", resolution=how, reason="saw it")  # type: ignore[arg-type]

    def meanwhile(home: object, name: str) -> object:
        monkeypatch.undo()
        state = load_state(home, name)  # type: ignore[arg-type]
        settle("skip")
        return state

    monkeypatch.setattr("mimrun.app.resolving.load_state", meanwhile)
    with pytest.raises(RefusedError, match="has moved on while you decided"):
        settle("applied")
    assert bench.execute(run).status == "succeeded", "the log is not left with a history that cannot be"


def test_a_run_that_has_ended_meanwhile_is_not_cancelled(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, action("1")))
    with bench.home() as home, pytest.raises(Exception, match="is over already: succeeded"):
        request_cancel(home, run, RESPONDER, "late")


def test_words_said_while_a_worker_takes_over_are_heard(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request to stop between reading the state and the worker's start counts."""
    run = bench.create(a_plan(bench.world, action("1")))

    def then_cancel(home: object, name: str) -> object:
        state = load_state(home, name)  # type: ignore[arg-type]
        bench.cancel(run)
        return state

    monkeypatch.setattr("mimrun.app.execution.load_state", then_cancel)
    assert bench.execute(run).status == "cancelled"
    assert words(bench.world) == []


def test_a_log_that_cannot_be_read_stops_the_worker(
    bench: Bench, hooks: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = bench.create(a_plan(bench.world, action("1", "hook", word="x"), action("2")))
    noticed, damaged, query, watch = threading.Event(), threading.Lock(), LogReader.query, Stop._watch

    def look_when_damaged(self: LogReader, statement: str, *given: object) -> list[Any]:
        """Keep whoever looks for requests from reading this one before it is damaged."""
        if threading.current_thread().name.startswith("stop-"):
            with damaged:
                return query(self, statement, *given)
        return query(self, statement, *given)

    def watch_and_tell(self: Stop) -> None:
        """Tell when whoever looks for requests has given up."""
        watch(self)
        noticed.set()

    monkeypatch.setattr(LogReader, "query", look_when_damaged)
    monkeypatch.setattr(Stop, "_watch", watch_and_tell)

    def damage() -> None:
        with damaged:
            bench.cancel(run)
            with closing(sqlite3.connect(bench.settings.log)) as db, db:
                for (name,) in db.execute("select name from sqlite_schema where type = 'trigger'").fetchall():
                    db.execute(f"drop trigger {name}")
                db.execute(
                    "update entry set data = cast(replace(cast(data as text), 'enough', 'enouhg') as blob)"
                    " where kind = 'run.cancel_requested'"
                )
        # A step that goes on before that would find a request to stop, and the run would end in order.
        assert noticed.wait(30)

    hooks["x"] = damage
    with pytest.raises(LogError):
        bench.execute(run)
    assert words(bench.world) == ["a:x"]


def test_the_first_reason_to_stop_is_kept(bench: Bench) -> None:
    run = bench.create(a_plan(bench.world, action("1")))
    with bench.home() as home, Stop(home.store, run, home.store.head().size) as stop:
        assert not stop.wanted()
        assert not stop.wait(0)
        stop.want("first")
        stop.want("second")
        assert stop.wanted()
        assert stop.wait(3600)
        assert stop.reason == "first"


def test_connectors_are_opened_once_for_each_target_and_all_closed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []
    monkeypatch.setattr(World, "close", lambda self: closed.append(self.settings.inventory_hostname))
    plan = a_plan(bench.world, action("1", hosts=["a", "b"]), hosts=["a", "b"])
    with Connections(WORLD, plan) as connections:
        first = connections.connector("world.once", "a")
        assert connections.connector("world.read", "a") is first
        assert connections.connector("world.read", "b") is not first
        assert closed == []
    assert sorted(closed) == ["a", "b"]


def test_a_connector_that_breaks_while_it_closes_disturbs_nobody(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: World) -> None:
        raise OSError("gone")

    monkeypatch.setattr(World, "close", broken)
    run, verdict = bench.run(a_plan(bench.world, action("1", hosts=["a", "b"]), hosts=["a", "b"]))
    assert verdict.status == "succeeded"
    assert bench.state(run).status == "succeeded"


def test_an_answer_beyond_all_bounds_is_an_outcome_and_no_crash(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    huge = {"text": "x" * (MAX_BLOB + 1)}
    monkeypatch.setattr(World, "_perform", lambda self, action, call: Ok(changed=True, data=huge))
    run, verdict = bench.run(a_plan(bench.world, action("1"), action("2")))
    assert verdict.status == "succeeded"
    cell = bench.state(run).cells[CellKey("1", "a")]
    assert cell.changed
    assert "too long" in cell.reason
    assert bench.is_intact()


def test_an_answer_with_odd_characters_is_an_outcome_and_no_crash(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = Failed("no \udcff \x1b[31m", clean=True, data={"text": "\udcff", "number": 1.5, "deep": [[["x"]]]})
    monkeypatch.setattr(World, "_perform", lambda self, action, call: odd)
    run, verdict = bench.run(a_plan(bench.world, action("1")))
    assert verdict.status == "failed"
    assert bench.state(run).cells[CellKey("1", "a")].clean
    assert bench.is_intact()


def test_a_plan_is_the_one_that_was_frozen(bench: Bench) -> None:
    plan = a_plan(bench.world, action("1"))
    run = bench.create(plan)
    with bench.home() as home:
        assert load_plan(home, run).digest == plan.digest
        assert create_run(home, plan, RESPONDER) != run
