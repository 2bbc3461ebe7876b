"""Stopping: levels, the watcher, the kill switch, and connectors that do not come back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from builders.entries import entry
from builders.plans import a_plan, action, gate
from builders.runs import ALEX, BILLIE, RESPONDER, Bench
from builders.world import WORLD, words
from hypothesis import given
from hypothesis.strategies import lists, sampled_from

from mimrun.app.identity import Identity
from mimrun.app.killswitch import lift, pull, standing_of
from mimrun.app.stopping import request_resume, request_stop
from mimrun.connector import Call, Effect
from mimrun.errors import GateError, KillSwitchError, LeaseError, RefusedError
from mimrun.gate.people import Person
from mimrun.log.entry import Actor, Draft, LogEntry
from mimrun.log.kinds import (
    KillswitchPulled,
    Kind,
    RunAbortRequested,
    RunCancelRequested,
    RunPauseRequested,
    RunResumeRequested,
    RunStarted,
)
from mimrun.log.sqlite.store import SqliteStore
from mimrun.run.cell import watchdog
from mimrun.run.cell.connections import Connections
from mimrun.run.cell.watchdog import Left, watched
from mimrun.run.hold.killswitch import Latch
from mimrun.run.hold.stop import Stop
from mimrun.run.journal import Journal
from mimrun.run.record.state import CellKey
from mimrun.run.record.transitions import CellStatus
from mimrun.run.record.wish import Level, Wish, wish_after
from mimrun.runbook.node import StepOptions

Hooks = dict[str, Callable[[], object]]
SHORT = StepOptions(timeout_ms=50, delay_ms=1)


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody wait long for a connector."""
    monkeypatch.setattr(watchdog, "GRACE_S", 0.1)
    monkeypatch.setattr(watchdog, "ABORT_S", 0.1)


@pytest.fixture
def hangs(hooks: Hooks) -> Iterator[threading.Event]:
    """A connector that ignores everything until it is let go."""
    go = threading.Event()
    hooks["hang"] = lambda: go.wait(30)
    yield go
    go.set()


def ask(bench: Bench, run: str, level: Level, reason: str = "enough") -> None:
    with bench.home() as home:
        request_stop(home, run, RESPONDER, level, reason)


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


# What people want.

BODIES = {
    "pause": RunPauseRequested(reason="p"),
    "resume": RunResumeRequested(),
    "cancel": RunCancelRequested(reason=""),
    "abort": RunAbortRequested(reason="a"),
}


@given(lists(sampled_from([*BODIES])))
def test_a_stronger_wish_stays_and_only_a_pause_is_taken_back(words: list[str]) -> None:
    wish = Wish()
    for number, word in enumerate(words, start=1):
        wish = wish_after(wish, entry(BODIES[word], number))
    strongest = max((w for w in words if w in ("cancel", "abort")), key=["cancel", "abort"].index, default="")
    if strongest:
        assert wish.level is Level[strongest.upper()]
        assert wish.reason == {"cancel": "cancelled", "abort": "a"}[strongest]
    else:
        paused = bool(words) and words[-1] == "pause"
        assert wish.level is (Level.PAUSE if paused else Level.NONE)


def test_a_weaker_wish_is_refused_and_the_same_one_is_recorded_once(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, gate("1")))
    ask(bench, run, Level.CANCEL)
    ask(bench, run, Level.CANCEL)
    assert bench.kinds(run).count("run.cancel_requested") == 1
    with pytest.raises(RefusedError, match="is asked to cancel already: enough"):
        ask(bench, run, Level.PAUSE)
    assert bench.execute(run).status == "cancelled"
    with pytest.raises(RefusedError, match="is over already"):
        ask(bench, run, Level.ABORT)


def test_a_worker_sees_a_wish_and_its_withdrawal_within_a_moment(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, gate("1")))
    seen: list[int] = []
    with bench.home() as home, Stop(home.store, run, home.store.head().size, seen=seen.append) as stop:
        began = time.monotonic()
        ask(bench, run, Level.PAUSE, "wait")
        assert stop.wait(5)
        assert time.monotonic() - began < 1
        assert (stop.level, stop.reason, stop.ends_work()) == (Level.PAUSE, "wait", False)
        assert stop.halt().waits == "pause"
        with bench.home() as other:
            assert request_resume(other, run, RESPONDER)
            assert not request_resume(other, run, RESPONDER)
        until(lambda: not stop.wanted())
        ask(bench, run, Level.ABORT, "now")
        until(lambda: stop.aborted_for() > 0)
        assert (stop.ends_work(), stop.halt().waits) == (True, None)
        until(lambda: seen and seen[-1] == home.store.head().size)


# Pause.


def test_a_pause_lets_begun_targets_finish_and_begins_no_other(bench: Bench, hooks: Hooks) -> None:
    hooks["pause"] = lambda: ask(bench, run, Level.PAUSE, "lunch")
    run = bench.create(a_plan(bench.world, action("1", "hook", word="pause"), action("2")))
    verdict = bench.execute(run)
    assert (verdict.status, verdict.detail, verdict.exit_code) == ("waiting", "lunch", 3)
    assert words(bench.world) == ["a:pause"]
    assert bench.state(run).waits_on == "pause"
    assert bench.execute(run).status == "waiting", "to execute is not to resume"
    with bench.home() as home:
        request_resume(home, run, RESPONDER)
    assert bench.execute(run).status == "succeeded"
    assert words(bench.world) == ["a:pause", "a:w2"]


def test_a_doubt_is_asked_for_also_while_the_run_is_paused(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, action("1", word="x", answer="lost")))
    ask(bench, run, Level.PAUSE)
    assert bench.execute(run).status == "in_doubt"


def test_a_pause_that_is_taken_back_while_the_run_comes_to_rest_does_not_rest_it(
    bench: Bench, hooks: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooks["pause"] = lambda: ask(bench, run, Level.PAUSE)
    run = bench.create(a_plan(bench.world, action("1", "hook", word="pause"), action("2")))
    write = Journal.write

    def resumed(journal: Journal, *drafts: Draft) -> tuple[LogEntry, ...]:
        if any(draft.kind is Kind.RUN_WAITING for draft in drafts):
            with bench.home() as home:
                request_resume(home, run, RESPONDER)
        return write(journal, *drafts)

    monkeypatch.setattr(Journal, "write", resumed)
    assert bench.execute(run).status == "succeeded"
    assert "run.waiting" not in bench.kinds(run)


# What the log refuses, whatever the worker knows.


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> None:
    """A watcher that sees nothing of the log."""
    monkeypatch.setattr(Stop, "_look", lambda stop: None)


@pytest.mark.usefixtures("blind")
@pytest.mark.parametrize(("level", "status"), [(Level.PAUSE, "waiting"), (Level.CANCEL, "cancelled")])
def test_an_intent_behind_a_wish_is_refused_before_the_watcher_knows(
    bench: Bench, hooks: Hooks, level: Level, status: str
) -> None:
    hooks["ask"] = lambda: ask(bench, run, level)
    run = bench.create(a_plan(bench.world, action("1", "hook", word="ask"), action("2")))
    assert bench.execute(run).status == status
    assert words(bench.world) == ["a:ask"]
    assert bench.kinds(run).count("step.intent") == 1


@pytest.mark.usefixtures("blind")
def test_an_intent_is_refused_where_only_the_log_knows_of_the_switch(bench: Bench, hooks: Hooks) -> None:
    def only_log() -> None:
        with bench.home() as home:
            home.store.append([Draft(Actor("person", "alex"), KillswitchPulled(reason="stop"))])

    hooks["pull"] = only_log
    run, verdict = bench.run(a_plan(bench.world, action("1", "hook", word="pull"), action("2", "read")))
    assert verdict.status == "waiting"
    assert bench.state(run).waits_on == "killswitch"
    assert bench.kinds(run).count("step.intent") == 1


@pytest.mark.usefixtures("blind")
def test_a_worker_that_was_replaced_begins_nothing(bench: Bench, hooks: Hooks) -> None:
    def replace() -> None:
        with bench.home() as home:
            later = Draft(
                Actor("worker", "other"), RunStarted(worker="other", epoch=9, resumed=True), run=run
            )
            home.store.append([later])

    hooks["replace"] = replace
    run = bench.create(a_plan(bench.world, action("1", "hook", word="replace"), action("2")))
    assert bench.execute(run).status == "refused"
    assert words(bench.world) == ["a:replace"]
    assert bench.kinds(run)[-1] == "step.evidence"


# The kill switch.


def test_a_switch_that_is_pulled_behind_the_intent_leaves_the_act_undone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last look needs no log: the file alone is enough, and the act counts as not begun."""
    latch, write, pulled = Latch(bench.settings.kill_switch), Journal.write, False

    def then_pull(journal: Journal, *drafts: Draft) -> tuple[LogEntry, ...]:
        nonlocal pulled
        entries = write(journal, *drafts)
        if not pulled and any(draft.kind is Kind.STEP_INTENT for draft in drafts):
            latch.pull("alex", "2026-01-01T00:00:00.000000Z", "stop")
            pulled = True
        return entries

    monkeypatch.setattr(Journal, "write", then_pull)
    run, verdict = bench.run(a_plan(bench.world, action("1")))
    assert (verdict.status, bench.state(run).waits_on) == ("waiting", "killswitch")
    assert words(bench.world) == []
    assert bench.state(run).cell(CellKey("1", "a")).status is CellStatus.READY
    latch.remove(latch.read().latch)
    assert bench.execute(run).status == "succeeded", "what happens once was not begun, and is begun now"
    assert words(bench.world) == ["a:w1"]
    assert bench.is_intact()


def test_a_run_rests_within_a_second_when_the_switch_is_pulled(bench: Bench, hooks: Hooks) -> None:
    hooks["pull"] = lambda: pull(bench.settings, RESPONDER, "stop")
    slow = StepOptions(retries=5, delay_ms=60_000)
    plan = a_plan(
        bench.world,
        action("1", "hook", word="pull"),
        action("2", "idempotent", word="x", answer="failed", options=slow),
    )
    began = time.monotonic()
    run, verdict = bench.run(plan)
    assert verdict.status == "waiting"
    assert "the kill switch was pulled by responder" in verdict.detail
    assert time.monotonic() - began < 3
    with bench.home() as home, pytest.raises(KillSwitchError, match="stop"):
        bench.create(a_plan(home.settings.home, action("1")))
    assert bench.execute(run).status == "refused"
    ask(bench, run, Level.CANCEL)
    assert bench.execute(run).status == "cancelled", "what only ends may end"


def test_two_people_lift_the_switch_and_each_must_be_known_and_have_a_role(bench: Bench) -> None:
    bench.settings.people.write_text(
        "people:\n  responder: {roles: [responder], accounts: [root]}\n  alex: {roles: [change_manager]}\n"
        "  billie: {roles: [service_desk]}\n"
    )
    pull(bench.settings, RESPONDER, "stop")
    with bench.home() as home:
        with pytest.raises(GateError, match="casey is not known"):
            lift(home, Identity(Person("casey", "casey"), "os-user"), "x")
        with pytest.raises(GateError, match="needs change_manager or responder"):
            lift(home, BILLIE, "x")
        alex = Identity(Person("alex", "alex", frozenset({"change_manager"})), "claimed:root")
        assert lift(home, alex, "x").pulled
        owner = Identity(home.people().person("responder"), "os-user")
        with pytest.raises(GateError, match="has agreed already"):
            lift(home, owner, "the account behind that claim is theirs")
        assert standing_of(home).advice.startswith("alex agreed")


def test_one_keyboard_does_not_lift_the_switch_alone_whoever_is_claimed_at_it_last(bench: Bench) -> None:
    pull(bench.settings, RESPONDER, "stop")
    with bench.home() as home:
        alex = Identity(home.people().person("alex"), "claimed:responder")
        assert lift(home, RESPONDER, "x").pulled
        with pytest.raises(GateError, match=r"at the account responder, which counts as well.*under shared"):
            lift(home, alex, "x")
        bench.settings.people.write_text(bench.settings.people.read_text() + "shared: [responder]\n")
        assert not lift(home, alex, "there they share an account").pulled


def test_an_agreement_that_the_log_does_not_take_lifts_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    pull(bench.settings, RESPONDER, "stop")
    with bench.home() as home:
        lift(home, RESPONDER, "x")
        with monkeypatch.context() as patched:

            def broken(store: SqliteStore, drafts: object, guard: object = None) -> None:
                raise KeyError("no disk")

            patched.setattr(SqliteStore, "append", broken)
            with pytest.raises(KeyError):
                lift(home, ALEX, "x")
        assert standing_of(home).pulled
        assert bench.settings.kill_switch.exists()
        assert not lift(home, ALEX, "x").pulled


def test_a_file_that_was_left_over_after_the_lifting_is_removed_without_two_more_people(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    pull(bench.settings, RESPONDER, "stop")
    with bench.home() as home:
        lift(home, RESPONDER, "x")
        monkeypatch.setattr(Latch, "remove", lambda latch, name: None)
        assert lift(home, ALEX, "x").pulled, "a crash came before the file was removed"
        monkeypatch.undo()
        assert "is left over" in standing_of(home).advice
        assert not lift(home, BILLIE, "x").pulled
        with pytest.raises(RefusedError, match="is not pulled"):
            lift(home, BILLIE, "x")


def test_a_latch_that_says_nothing_readable_is_pulled_all_the_same(tmp_path: Path) -> None:
    latch = Latch(tmp_path / "kill-switch")
    assert latch.reason() == ""
    latch.path.write_text("x")
    assert "is there" in latch.reason()
    assert Latch(tmp_path / "kill-switch" / "below").reason() == ""


# Connectors that do not come back.


@pytest.mark.usefixtures("hurry")
@pytest.mark.parametrize(
    ("verb", "effect", "status"),
    [("hook", Effect.ONCE, "in_doubt"), ("hook", Effect.IDEMPOTENT, "succeeded")],
)
def test_a_connector_that_ignores_its_deadline_does_not_hold_the_run(
    bench: Bench, hooks: Hooks, verb: str, effect: Effect, status: str
) -> None:
    go, calls = threading.Event(), list[int]()

    def hang_once() -> None:
        calls.append(1)
        if len(calls) == 1:
            go.wait(30)

    hooks["hang"] = hang_once
    options = StepOptions(timeout_ms=50, delay_ms=1, retries=1)
    node = action("1", verb, word="hang", options=options)
    call = node.targets[0].calls[0].model_copy(update={"effect": effect})
    node = node.model_copy(update={"targets": (node.targets[0].model_copy(update={"calls": (call,)}),)})
    run, verdict = bench.run(a_plan(bench.world, node))
    assert verdict.status == status, verdict.detail
    before = bench.state(run)
    go.set()
    until(lambda: "step.evidence" in bench.kinds(run))
    after = bench.state(run)
    assert (after.cells, after.status) == (before.cells, before.status), "evidence changes nothing"
    with bench.home() as home:
        told = next(iter(home.store.entries(run=run, kinds={Kind.STEP_EVIDENCE})))
    assert getattr(told.body, "status", "") == "ok"
    assert bench.is_intact()


@pytest.mark.usefixtures("hurry")
def test_what_is_left_behind_may_still_act_so_that_not_there_yet_is_a_doubt(
    bench: Bench, hangs: threading.Event
) -> None:
    node = action("1", "hook", word="hang", options=SHORT)
    call = node.targets[0].calls[0].model_copy(update={"effect": Effect.PROBE})
    node = node.model_copy(update={"targets": (node.targets[0].model_copy(update={"calls": (call,)}),)})
    run = bench.create(a_plan(bench.world, node))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("mimrun.run.cell.look.PROBE_PAUSES_S", (0.0,))
        assert bench.execute(run).status == "in_doubt"
    assert "not there yet" in bench.state(run).cell(CellKey("1", "a")).reason
    hangs.set()
    until(lambda: words(bench.world) == ["a:hang"])


@pytest.mark.usefixtures("hurry")
def test_an_abort_waits_for_no_connector_and_keeps_what_comes_later(
    bench: Bench, hooks: Hooks, hangs: threading.Event
) -> None:
    hang = hooks["hang"]

    def abort_and_hang() -> None:
        ask(bench, run, Level.ABORT, "fire")
        hang()

    hooks["hang"] = abort_and_hang
    run = bench.create(a_plan(bench.world, action("1", "hook", word="hang"), action("2")))
    began = time.monotonic()
    verdict = bench.execute(run)
    assert time.monotonic() - began < 2.5
    assert (verdict.status, verdict.exit_code) == ("in_doubt", 4)
    assert "aborted: fire" in bench.state(run).cell(CellKey("1", "a")).reason
    hangs.set()
    until(lambda: "step.evidence" in bench.kinds(run))
    assert bench.execute(run).status == "in_doubt"


def test_an_abort_with_nothing_under_way_ends_the_run(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, gate("1"), action("2")))
    ask(bench, run, Level.ABORT)
    assert bench.execute(run).status == "cancelled"


def test_a_connection_that_was_left_is_never_used_again(bench: Bench) -> None:
    with Connections(WORLD, a_plan(bench.world, action("1"))) as connections:
        first = connections.take("world.once", "a")
        connections.leave(first)
        assert connections.take("world.once", "a") is not first


class Wanted(Stop):
    """A wish without a log."""

    def __init__(self, level: Level) -> None:
        self._wish, self._aborted_at = Wish(level, "x"), time.monotonic() - 60


@pytest.mark.parametrize(
    ("level", "ends", "told"),
    [
        (Level.PAUSE, True, False),
        (Level.KILL_SWITCH, True, False),
        (Level.CANCEL, True, True),
        (Level.CANCEL, False, False),
    ],
)
def test_only_who_ends_work_sets_the_stop_of_a_call(level: Level, ends: bool, told: bool) -> None:
    call = Call(key="k", deadline=time.monotonic() + 60)
    heard = watched(lambda: [call.stop.wait(0.3)], call, Wanted(level), ends=ends)
    assert heard == [told]


def test_an_abort_leaves_also_a_look_that_settles_a_doubt() -> None:
    call, go = Call(key="k", deadline=time.monotonic() + 60), threading.Event()
    try:
        assert isinstance(watched(lambda: [go.wait(30)], call, Wanted(Level.ABORT), ends=False), Left)
        assert call.stop.is_set()
    finally:
        go.set()


def test_what_breaks_on_the_thread_of_a_connector_comes_out() -> None:
    def broken() -> list[int]:
        raise LeaseError("a bug")

    with pytest.raises(LeaseError, match="a bug"):
        watched(broken, Call(key="k", deadline=time.monotonic() + 60), Wanted(Level.NONE))
