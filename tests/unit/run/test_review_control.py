"""What a third look found, at stopping, waiting and lifting: each of these was possible once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from builders.plans import a_plan, action, gate
from builders.runs import ALEX, BILLIE, RESPONDER, Bench, person
from builders.world import WORLD, World, words

from mimrun.app.killswitch import lift, pull, standing_of
from mimrun.app.stopping import request_resume, request_stop
from mimrun.app.worker import Worker
from mimrun.connector import Call, Failed
from mimrun.errors import GateError, StoreError
from mimrun.log.entry import Draft, LogEntry
from mimrun.log.kinds import Kind, RunWaiting
from mimrun.log.sqlite.store import SqliteStore
from mimrun.run.cell import attempt, watchdog
from mimrun.run.cell.watchdog import Left, watched
from mimrun.run.hold.killswitch import Latch
from mimrun.run.hold.lease import FileLease
from mimrun.run.hold.stop import Stop
from mimrun.run.journal import Journal
from mimrun.run.record.wish import Level


def before_append(
    monkeypatch: pytest.MonkeyPatch, when: Callable[[Draft], bool], do: Callable[[], object]
) -> None:
    """Do something once, just before an entry is appended."""
    append = SqliteStore.append

    def meanwhile(store: SqliteStore, drafts: Sequence[Draft], **more: Any) -> object:
        if any(when(draft) for draft in drafts):
            monkeypatch.undo()
            do()
        return append(store, drafts, **more)

    monkeypatch.setattr(SqliteStore, "append", meanwhile)


class Wanted(Stop):
    """Nobody wants anything."""

    def __init__(self) -> None:
        pass

    def ends_work(self) -> bool:
        return False

    def aborted_for(self) -> float:
        return 0.0


def break_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing be recorded."""

    def broken(store: SqliteStore, drafts: Sequence[Draft], **more: Any) -> object:
        raise StoreError("no space left on device")

    monkeypatch.setattr(SqliteStore, "append", broken)


def test_a_cancel_in_the_moment_of_taking_over_is_heard(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the worker writes first, nothing that people said before it is taken for known."""
    run = bench.create(a_plan(bench.world, gate("1"), action("2")))
    before_append(monkeypatch, lambda draft: draft.kind is Kind.RUN_MODE, lambda: bench.cancel(run))
    assert bench.execute(run).status == "cancelled"
    assert words(bench.world) == []


def test_a_run_that_is_to_end_does_not_rest_at_a_gate(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    run = bench.create(a_plan(bench.world, gate("1"), action("2")))
    before_append(monkeypatch, lambda draft: isinstance(draft.body, RunWaiting), lambda: bench.cancel(run))
    assert bench.execute(run).status == "cancelled"
    assert "run.waiting" not in bench.kinds(run)


def test_a_people_file_that_cannot_be_read_keeps_a_worker_from_no_other_run(bench: Bench) -> None:
    waits, _ = bench.run(a_plan(bench.world, gate("1"), action("2")))
    bench.settings.people.write_text("people: [")
    worked: list[str] = []
    Worker(bench.settings, catalog=WORLD, report=lambda one: worked.append(one.run)).once()
    assert worked == []
    assert bench.state(waits).waits_on == "gate"


def test_a_pull_over_a_file_that_is_left_over_is_not_lifted_by_one_person(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    pull(bench.settings, RESPONDER, "the first")
    with bench.home() as home:
        lift(home, RESPONDER, "mended")
        with monkeypatch.context() as died:
            died.setattr(Latch, "remove", lambda latch, name: None)
            assert lift(home, ALEX, "mended").pulled, "who lifted it died before the file was removed"
    with monkeypatch.context() as patched:
        break_log(patched)
        assert pull(bench.settings, BILLIE, "the second") != ""
    with bench.home() as home:
        assert "billie" in standing_of(home).why
        assert lift(home, ALEX, "a leftover?").pulled
        assert not lift(home, RESPONDER, "mended, too").pulled


def test_a_pull_in_the_moment_of_lifting_stays(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    pull(bench.settings, RESPONDER, "the first")
    append = SqliteStore.append

    def then_pull(store: SqliteStore, drafts: Sequence[Draft], **more: Any) -> object:
        entries = append(store, drafts, **more)
        with monkeypatch.context() as patched:
            break_log(patched)
            pull(bench.settings, BILLIE, "the second")
        return entries

    with bench.home() as home:
        lift(home, RESPONDER, "mended")
        with monkeypatch.context() as patched:
            patched.setattr(SqliteStore, "append", then_pull)
            standing = lift(home, ALEX, "mended")
        assert "billie" in standing.why
        assert standing.switch.pulled == 0, "the log does not know of it, and the file alone holds"


def test_a_thread_that_comes_to_run_when_nobody_waits_any_more_begins_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The machine was frozen between the start of the thread and its first step."""
    frozen: list[threading.Thread] = []

    def start(thread: threading.Thread) -> None:
        frozen.append(thread)

    monkeypatch.setattr(watchdog, "GRACE_S", 0.0)
    monkeypatch.setattr(threading.Thread, "start", start)
    begun: list[str] = []
    late: list[list[str]] = []

    def act() -> list[str]:
        begun.append("acted")
        return begun

    call = Call(key="k", deadline=time.monotonic())
    told: list[str] | Left = watched(act, call, Wanted(), late=late.append)
    assert isinstance(told, Left)
    frozen[0].run()
    assert (begun, late) == ([], [])


def test_who_cannot_be_asked_again_behind_a_freeze_leaves_the_act_undone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What happens once and was not begun is not in doubt because the people file cannot be read."""
    run, _ = bench.run(a_plan(bench.world, gate("1"), action("2")))
    bench.approve(run)
    known, write = bench.settings.people.read_text(), Journal.write

    def then_frozen(journal: Journal, *drafts: Draft) -> tuple[LogEntry, ...]:
        entries = write(journal, *drafts)
        if any(draft.kind is Kind.STEP_INTENT for draft in drafts):
            bench.settings.people.write_text("people: [")
        return entries

    with monkeypatch.context() as patched:
        patched.setattr(attempt, "FROZEN_S", -1.0)
        patched.setattr(Journal, "write", then_frozen)
        assert bench.execute(run).status == "refused"
    bench.settings.people.write_text(known)
    assert bench.execute(run).status == "succeeded"
    assert words(bench.world) == ["a:w2"]


def test_a_worker_that_was_replaced_before_its_thread_had_its_turn_does_not_act(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the last look and the act there is only the start of a thread, and it looks once more."""
    run, start = bench.create(a_plan(bench.world, action("1"))), threading.Thread.start

    def frozen(thread: threading.Thread) -> None:
        if thread.name.endswith("-at-work"):
            monkeypatch.setattr(FileLease, "held", lambda lease: False)
        start(thread)

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", frozen)
        assert bench.execute(run).status == "refused"
    monkeypatch.undo()
    assert words(bench.world) == []
    assert bench.execute(run).status == "in_doubt", (
        "its intent is on record, and nobody could say what came of it"
    )


def test_only_somebody_known_lets_a_paused_run_go_on(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, gate("1"), action("2")))
    with bench.home() as home:
        request_stop(home, run, person("stranger"), Level.PAUSE, "anybody may stop")
        with pytest.raises(GateError, match="stranger"):
            request_resume(home, run, person("stranger"))
        assert request_resume(home, run, RESPONDER)


def test_a_cancelled_run_is_cancelled_whatever_became_of_the_work_under_way(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that was ended by the cancel has an exit status too, and the run did not fail because of it."""
    run = bench.create(a_plan(bench.world, action("1", "idempotent", word="slow"), action("2")))
    ended = World._perform

    def until_stopped(world: World, act: Any, call: Call) -> Any:
        bench.cancel(run)
        assert call.stop.wait(20)
        return Failed("ended by SIGTERM", clean=False)

    monkeypatch.setattr(World, "_perform", until_stopped)
    verdict = bench.execute(run)
    monkeypatch.setattr(World, "_perform", ended)
    assert (verdict.status, verdict.exit_code) == ("cancelled", 7)
    assert "enough" in verdict.detail
    assert "ended by SIGTERM" in verdict.detail
    assert bench.kinds(run)[-1] == "run.ended"


def test_a_run_that_succeeds_without_a_host_says_which(bench: Bench) -> None:
    first = action(
        "1",
        "idempotent",
        hosts=["a", "b"],
        word="x",
        late=["colour"],
        answer="{{ 'failed' if colour == 'cb' else 'ok' }}",
    )
    run, verdict = bench.run(a_plan(bench.world, first, hosts=["a", "b"], failures=1))
    assert verdict.status == "succeeded"
    assert bench.state(run).reason == "without b: failed on the way, as 1 may"
