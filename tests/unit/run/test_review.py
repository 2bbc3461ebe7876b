"""What a second look at the run room found: each of these was possible once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from builders.plans import a_plan, action, block, call, check, gate
from builders.runs import ALEX, BILLIE, RESPONDER, Bench
from builders.world import words

from mimrun.app import execution
from mimrun.app.decisions import decide, pending_gate
from mimrun.app.identity import Identity
from mimrun.app.runs import create_run
from mimrun.connector import Effect
from mimrun.errors import GateError, RunError, StoreError, TamperError
from mimrun.log.entry import Draft, LogEntry
from mimrun.log.kinds import Kind
from mimrun.log.sqlite.store import SqliteStore
from mimrun.run.cell import attempt
from mimrun.run.cell.guard import Halt
from mimrun.run.hold.stop import Stop
from mimrun.run.journal import Journal
from mimrun.run.record.fold import apply, fold
from mimrun.run.record.state import CellKey
from mimrun.run.record.transitions import CellStatus
from mimrun.run.walk.fanout import Fanout
from mimrun.runbook.node import StepOptions, TargetCalls

Hooks = dict[str, Callable[[], object]]


def test_steps_behind_a_gate_that_was_skipped_belong_to_the_gate_before_it(bench: Bench) -> None:
    plan = a_plan(bench.world, gate("1"), action("2"), gate("3", when="1 == 2"), action("4"))
    run, _ = bench.run(plan)
    with bench.home() as home:
        assert [node.path for node in pending_gate(home, run).segment.nodes] == ["2", "4"]
    bench.approve(run)
    assert bench.execute(run).status == "succeeded"
    assert words(bench.world) == ["a:w2", "a:w4"]


def test_a_gate_that_was_skipped_does_not_hide_that_the_one_before_it_is_not_open(
    bench: Bench, hooks: Hooks
) -> None:
    hooks["fired"] = lambda: bench.settings.people.write_text("people:\n  alex: {roles: [responder]}\n")
    fired = action("2", "hook", word="fired")
    run, _ = bench.run(a_plan(bench.world, gate("1"), fired, gate("3", when="1 == 2"), action("4")))
    bench.approve(run)
    assert bench.execute(run).status == "waiting"
    assert words(bench.world) == ["a:fired"]


def test_a_gate_inside_a_block_that_is_skipped_is_no_end_of_what_is_shown(bench: Bench) -> None:
    inner = block("2", [gate("2.block.1"), action("2.block.2")]).model_copy(update={"when": "1 == 2"})
    run, _ = bench.run(a_plan(bench.world, gate("1"), inner, action("3")))
    with bench.home() as home:
        assert [node.path for node in pending_gate(home, run).segment.nodes] == ["2.block.2", "3"]
    bench.approve(run)
    assert bench.execute(run).status == "succeeded"
    assert words(bench.world) == ["a:w3"]


def test_a_step_whose_hosts_have_all_failed_before_is_not_passed_over(bench: Bench) -> None:
    """The fence on the old primary must not be left out silently, with the promotion done after it."""
    first = action(
        "1", hosts=["a", "b"], late=["colour"], word="x", answer="{{ 'failed' if colour == 'cb' else 'ok' }}"
    )
    plan = a_plan(
        bench.world, first, action("2", hosts=["b"]), action("3", hosts=["a"]), hosts=["a", "b"], failures=1
    )
    run, verdict = bench.run(plan)
    assert verdict.status == "failed"
    assert "every host of the step had failed before: b" in verdict.detail
    assert words(bench.world) == ["a:x"]
    assert bench.is_intact()
    assert bench.state(run).finished["2"] == "failed"


def test_a_verification_in_doubt_asks_a_person_and_ends_nothing(bench: Bench) -> None:
    looking = check("true").model_copy(
        update={"action": "world.once", "args": {"word": "v", "answer": "lost"}, "effect": Effect.ONCE}
    )
    run, verdict = bench.run(a_plan(bench.world, action("1", verify=looking), action("2")))
    assert (verdict.status, verdict.exit_code) == ("in_doubt", 4)
    assert bench.state(run).cell(("1.verify", "a", 0)).status is CellStatus.IN_DOUBT  # type: ignore[arg-type]
    assert bench.execute(run).status == "in_doubt"
    assert words(bench.world) == ["a:w1", "a:v"]


def test_a_capture_in_doubt_asks_a_person_and_ends_nothing(bench: Bench) -> None:
    looking = call("once", word="c", answer="lost")
    run, verdict = bench.run(a_plan(bench.world, action("1", capture=looking), action("2")))
    assert (verdict.status, verdict.exit_code) == ("in_doubt", 4)
    assert bench.execute(run).status == "in_doubt"
    assert words(bench.world) == ["a:c"]


def test_an_answer_that_no_plan_can_hold_leaves_the_step_late_at_its_gate(bench: Bench) -> None:
    first = action("1", "read", options=StepOptions(register="seen"))
    third = action("3", late=["seen"], word="{{ seen.words | length / 2 }}")
    run, verdict = bench.run(a_plan(bench.world, first, gate("2"), third))
    assert verdict.status == "waiting"
    bench.approve(run)
    assert bench.execute(run).status == "failed"
    assert words(bench.world) == []


def test_a_loop_over_answers_has_an_end(bench: Bench) -> None:
    late = action("1", loop="{{ range(10001) | list }}", word="x")
    _, verdict = bench.run(a_plan(bench.world, late))
    assert verdict.status == "failed"
    assert "10000 are the most" in verdict.detail
    assert words(bench.world) == []


def test_what_could_not_be_recorded_weighs_more_than_a_wish_to_stop(
    bench: Bench, hooks: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = SqliteStore.append

    def full(store: SqliteStore, drafts: Sequence[Draft], **more: Any) -> object:
        if any(draft.kind is Kind.STEP_OUTCOME and draft.target == "b" for draft in drafts):
            raise StoreError("no space left on device")
        return append(store, drafts, **more)

    repeated, marked = call("idempotent", word="x", answer="failed"), call("hook", word="fired")
    both = action("1", options=StepOptions(retries=1, delay_ms=60_000)).model_copy(
        update={
            "targets": (
                TargetCalls(target="a", calls=(repeated,)),
                TargetCalls(target="b", calls=(marked,)),
            )
        }
    )
    run = bench.create(a_plan(bench.world, both, hosts=["a", "b"]))
    hooks["fired"] = lambda: bench.cancel(run)
    with monkeypatch.context() as patched:
        patched.setattr(SqliteStore, "append", full)
        with pytest.raises(StoreError, match="no space left"):
            bench.execute(run)
    assert words(bench.world) == ["b:fired"]
    assert bench.execute(run).status == "in_doubt", "the run is not over while an effect is unknown"
    assert words(bench.world) == ["b:fired"]


def test_who_sat_at_the_keyboard_cannot_approve_what_was_launched_in_another_name(bench: Bench) -> None:
    with bench.home() as home:
        claimed = Identity(RESPONDER.person, "claimed:alex")
        run = create_run(home, a_plan(bench.world, gate("1"), action("2")), claimed)
    bench.execute(run)
    with pytest.raises(GateError, match="alex asked for or launched this run"):
        bench.approve(run, ALEX)
    bench.approve(run, BILLIE)
    assert bench.execute(run).status == "succeeded"


def test_a_vote_on_an_earlier_request_is_none_on_the_next_whatever_the_moment(bench: Bench) -> None:
    """The log's time stands still while the clock is behind it: moments do not tell requests apart."""
    run, _ = bench.run(a_plan(bench.world, gate("1"), action("2")))
    bench.approve(run)
    with bench.home() as home:
        entries = [*home.store.entries(run=run)]
    asked = next(entry for entry in entries if entry.kind is Kind.GATE_REQUESTED)
    state = fold(entries)
    assert [vote.person for vote in state.gates["1"].votes] == ["alex"]
    apply(state, asked)
    assert state.gates["1"].votes == []


def test_what_was_planned_for_one_version_of_a_connector_is_not_performed_by_another(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = bench.create(a_plan(bench.world, action("1")))
    with monkeypatch.context() as patched:
        patched.setattr(execution, "connector_versions", lambda: {"world": "2"})
        verdict = bench.execute(run)
        assert (verdict.status, verdict.exit_code) == ("refused", 5)
        assert "the plan was made for world 1 (2 is installed)" in verdict.detail
        assert words(bench.world) == []
        bench.cancel(run)
        assert bench.execute(run).status == "cancelled"
    assert words(bench.world) == []


def test_a_segment_that_is_not_what_the_gate_asks_for_is_shown_to_nobody(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = bench.run(a_plan(bench.world, gate("1"), action("2")))
    blob = SqliteStore.blob

    def other(store: SqliteStore, entry: LogEntry, name: str) -> bytes | None:
        found = blob(store, entry, name) or b""
        return found.replace(b"w2", b"w3") if name == "segment" else found

    with monkeypatch.context() as patched, bench.home() as home:
        patched.setattr(SqliteStore, "blob", other)
        with pytest.raises(TamperError):
            pending_gate(home, run)


def test_a_watcher_that_breaks_stops_the_run_instead_of_leaving_it_unwatched(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = bench.run(a_plan(bench.world, gate("1"), action("2")))

    def broken(store: SqliteStore) -> object:
        raise ValueError("a bug")

    with bench.home() as home:
        monkeypatch.setattr(SqliteStore, "head", broken)
        with Stop(home.store, run, 0) as stop:
            assert stop.wait(5)
            with pytest.raises(RunError, match="a bug"):
                stop.wanted()


@pytest.mark.parametrize(("frozen_s", "status"), [(9.0, "succeeded"), (11.0, "waiting")])
def test_a_worker_that_was_frozen_behind_its_intent_asks_the_guards_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, frozen_s: float, status: str
) -> None:
    """SIGSTOP or a closed lid may last for hours; an approval may not be there any more afterwards."""
    run, _ = bench.run(a_plan(bench.world, gate("1"), action("2")))
    bench.approve(run)
    write = Journal.write
    now = 0.0

    def freeze(journal: Journal, *drafts: Draft) -> object:
        nonlocal now
        entries = write(journal, *drafts)
        if any(draft.kind is Kind.STEP_INTENT for draft in drafts):
            bench.settings.people.write_text("people:\n  alex: {roles: [responder]}\n")
            now += frozen_s
        return entries

    monkeypatch.setattr(Journal, "write", freeze)
    monkeypatch.setattr(attempt, "uptime", lambda: now)
    verdict = bench.execute(run)
    assert verdict.status == status, verdict.detail
    assert words(bench.world) == (["a:w2"] if status == "succeeded" else [])


@pytest.mark.parametrize("text", ["{{ seen.words | length }}", "{{ hostvars['a'].seen.words | length }}"])
def test_an_answer_that_is_asked_for_anew_behind_a_gate_is_the_one_that_is_used(
    bench: Bench, text: str
) -> None:
    looking = StepOptions(register="seen")
    late = "hostvars" if "hostvars" in text else "seen"
    steps = [action("3"), action("4", "read", options=looking), action("5", late=[late], word=text)]
    run, _ = bench.run(a_plan(bench.world, action("1", "read", options=looking), gate("2"), *steps))
    bench.approve(run)
    assert bench.execute(run).status == "succeeded"
    assert words(bench.world) == ["a:w3", "a:1"]


def test_a_plan_that_is_not_the_frozen_one_is_not_performed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = bench.create(a_plan(bench.world, action("1")))
    blob = SqliteStore.blob

    def other(store: SqliteStore, entry: LogEntry, name: str) -> bytes | None:
        return (blob(store, entry, name) or b"").replace(b"w1", b"w9")

    monkeypatch.setattr(SqliteStore, "blob", other)
    with pytest.raises(TamperError, match="not the one that was frozen"):
        bench.execute(run)
    assert words(bench.world) == []


def test_neither_rescue_nor_always_is_done_after_people_said_no(bench: Bench) -> None:
    guarded = block(
        "1",
        [gate("1.block.1"), action("1.block.2")],
        rescue=[action("1.rescue.1")],
        always=[action("1.always.1")],
    )
    run, _ = bench.run(a_plan(bench.world, guarded))
    with bench.home() as home:
        pending = pending_gate(home, run)
        decide(home, pending, ALEX, "rejected", digest=pending.request.digest, reason="not tonight")
    assert bench.execute(run).status == "failed"
    assert words(bench.world) == []


def test_no_run_ends_over_an_intent_without_an_outcome(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(fanout: Fanout, *_: object) -> object:
        fanout._journal.state.cell(CellKey("1", "a")).status = CellStatus.PERFORMING
        raise Halt("enough")

    run = bench.create(a_plan(bench.world, action("1")))
    with monkeypatch.context() as patched:
        patched.setattr(Fanout, "perform", lost)
        with pytest.raises(RunError, match="step 1 on a was begun and its outcome is not on record"):
            bench.execute(run)
    assert bench.execute(run).status == "succeeded"
