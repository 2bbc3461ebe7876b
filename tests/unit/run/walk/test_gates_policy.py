"""Gates under a policy: what opens by itself, what voids what people said, and what comes of nobody's answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from builders.plans import a_plan, action, call, gate
from builders.runs import ALEX, BILLIE, RESPONDER, Bench, person
from builders.world import words

from mimrun.app.decisions import decide, override_freeze, pending_gate
from mimrun.app.execution import Verdict
from mimrun.app.home import Home
from mimrun.app.identity import Identity
from mimrun.app.priority import prioritize, priority_reader
from mimrun.app.runs import find_run, list_runs, load_plan
from mimrun.app.withdrawal import withdraw
from mimrun.app.worker import Worker
from mimrun.errors import GateError, InputError, RefusedError
from mimrun.gate.policy_file import load_policy
from mimrun.log.entry import LogEntry
from mimrun.log.kinds import GateOpened, GateRequested, Kind
from mimrun.log.moment import utc_now
from mimrun.log.sqlite.store import SqliteStore
from mimrun.run.journal import Journal
from mimrun.runbook.launch import with_launch_gate
from mimrun.runbook.model import OnTimeout
from mimrun.runbook.node import StepOptions
from mimrun.runbook.plan import Plan

Hooks = dict[str, Callable[[], object]]

PEOPLE = """\
people:
  responder: {roles: [responder]}
  alex: {roles: [change_manager, service_desk]}
  billie: {roles: [change_manager]}
  eve: {roles: [executive]}
  finn: {roles: [freeze_approver]}
"""
EVE, FINN = person("eve", "executive"), person("finn", "freeze_approver")

ASKS_NOTHING = "matrix: {medium: {other: none, freeze: none}}\n"
ASKS_ONE = "matrix: {medium: {other: {approvals: [{role: change_manager}]}, freeze: none}}\n"
ASKS_TWO = "matrix: {medium: {other: {approvals: [{role: change_manager, count: 2}]}, freeze: none}}\n"


@pytest.fixture
def ruled(bench: Bench) -> Bench:
    """A home whose policy asks for one change manager."""
    bench.settings.people.write_text(PEOPLE)
    bench.settings.policy.write_text(ASKS_ONE)
    return bench


def launched(bench: Bench, *nodes: object) -> tuple[str, Verdict]:
    """Create and execute a plan with the gate in front of its launch."""
    return bench.run(with_launch_gate(a_plan(bench.world, *nodes)))  # type: ignore[arg-type]


def said(bench: Bench, run: str, kind: Kind) -> list[LogEntry]:
    with bench.home() as home:
        return [entry for entry in home.store.entries(run=run) if entry.kind is kind]


def test_a_launch_waits_for_what_the_policy_asks_for(ruled: Bench) -> None:
    run, verdict = launched(ruled, action("1"))
    assert verdict.waits_on == "gate"
    assert verdict.detail == "'The launch is allowed' needs 1 change_manager"
    asked = said(ruled, run, Kind.GATE_REQUESTED)[-1].body
    assert isinstance(asked, GateRequested)
    assert asked.because == "the policy for a change of medium risk with no priority declared"
    ruled.approve(run)
    assert ruled.execute(run).status == "succeeded"
    assert words(ruled.world) == ["a:w1"]


def test_terms_that_ask_for_nothing_open_the_gate_and_say_so(ruled: Bench) -> None:
    ruled.settings.policy.write_text(ASKS_NOTHING)
    run, verdict = launched(ruled, action("1"))
    assert verdict.status == "succeeded"
    opened = said(ruled, run, Kind.GATE_OPENED)[-1].body
    assert isinstance(opened, GateOpened)
    assert (opened.by, opened.because) == (
        "policy",
        "the policy for a change of medium risk with no priority declared",
    )
    assert ruled.is_intact()


def test_a_launch_gate_whose_policy_is_gone_stays_closed(ruled: Bench) -> None:
    run, _ = launched(ruled, action("1"))
    ruled.settings.policy.unlink()
    for _ in range(2):
        verdict = ruled.execute(run)
        assert (verdict.status, verdict.waits_on) == ("waiting", "gate")
        assert "the policy that asked for somebody's word here is gone" in verdict.detail
    assert words(ruled.world) == []
    ruled.settings.policy.write_text(ASKS_ONE)
    assert ruled.execute(run).detail == "'The launch is allowed' needs 1 change_manager"
    ruled.approve(run)
    assert ruled.execute(run).status == "succeeded"


def test_a_policy_that_cannot_be_read_opens_no_gate_and_ends_no_run(ruled: Bench) -> None:
    run, _ = launched(ruled, action("1"))
    ruled.approve(run)
    ruled.settings.policy.write_text("matrix: [")
    verdict = ruled.execute(run)
    assert (verdict.status, verdict.exit_code) == ("refused", 5)
    assert "policy.yaml" in verdict.detail
    ruled.settings.policy.write_text(ASKS_ONE)
    assert ruled.execute(run).status == "succeeded"


def test_the_policy_is_added_to_the_runbook_s_own_gate(ruled: Bench) -> None:
    ruled.settings.policy.write_text(ASKS_TWO)
    _, verdict = ruled.run(a_plan(ruled.world, gate("1"), action("2")))
    assert verdict.detail.startswith("'Gate 1' needs 2 change_manager; change: ")


def test_a_policy_that_asks_for_more_since_voids_what_people_said(ruled: Bench) -> None:
    run, _ = launched(ruled, action("1"))
    ruled.approve(run)
    ruled.settings.policy.write_text(ASKS_TWO)
    assert ruled.execute(run).waits_on == "gate"
    closed = said(ruled, run, Kind.GATE_CLOSED)[-1]
    assert "what is asked for has changed: the policy for a change" in str(closed.body)
    assert words(ruled.world) == []
    ruled.approve(run)
    assert ruled.execute(run).waits_on == "gate", "the first approval was for other terms"
    ruled.approve(run, BILLIE)
    assert ruled.execute(run).status == "succeeded"


def test_a_policy_edited_amid_a_run_stops_it_and_asks_anew(ruled: Bench, hooks: Hooks) -> None:
    hooks["fired"] = lambda: ruled.settings.policy.write_text(ASKS_TWO)
    run, _ = launched(ruled, action("1", "hook", word="fired"), action("2"))
    ruled.approve(run)
    verdict = ruled.execute(run)
    assert verdict.detail == "'The launch is allowed' needs 2 change_manager"
    assert words(ruled.world) == ["a:fired"]
    kinds = [kind for kind in ruled.kinds(run) if kind.startswith(("gate.", "guard."))]
    assert kinds[-3:] == ["guard.tripped", "gate.closed", "gate.requested"]
    ruled.approve(run)
    ruled.approve(run, BILLIE)
    assert ruled.execute(run).status == "succeeded"
    assert words(ruled.world) == ["a:fired", "a:w2"]
    assert ruled.is_intact()


def test_nobody_decides_on_terms_that_are_not_in_force_any_more(ruled: Bench) -> None:
    run, _ = launched(ruled, action("1"))
    ruled.settings.policy.write_text(ASKS_TWO)
    with pytest.raises(RefusedError, match="have it asked anew"):
        ruled.approve(run)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Give what moves every worker's and person's clock on by so many seconds."""
    ahead = [0.0]
    original = Home.__init__

    def later() -> datetime:
        return utc_now() + timedelta(seconds=ahead[0])

    def init(self: Home, *args: object, **kwargs: object) -> None:
        original(self, *args, **kwargs)  # type: ignore[arg-type]
        object.__setattr__(self, "clock", later)

    monkeypatch.setattr(Home, "__init__", init)
    defaults = {**(SqliteStore.__init__.__kwdefaults__ or {}), "clock": later}
    monkeypatch.setattr(SqliteStore.__init__, "__kwdefaults__", defaults)

    def move(seconds: float) -> None:
        ahead[0] += seconds

    return move


CHAIN = ASKS_ONE + "expires: 10m\non_timeout: escalate\nescalation: [executive]\n"


def test_who_is_asked_besides_may_decide_and_after_them_nobody_is_left(
    ruled: Bench, clock: Callable[[float], None]
) -> None:
    ruled.settings.policy.write_text(CHAIN)
    run, _ = launched(ruled, action("1"))
    with pytest.raises(GateError, match="this gate needs change_manager"):
        ruled.approve(run, EVE)
    clock(601)
    assert "executive may decide besides" in ruled.execute(run).detail
    assert said(ruled, run, Kind.GATE_ESCALATED)[-1].body.to == "executive"  # type: ignore[attr-defined]
    ruled.approve(run, EVE)
    assert ruled.execute(run).status == "succeeded"
    run, _ = launched(ruled, action("1"))
    for _ in range(2):
        clock(601)
        verdict = ruled.execute(run)
    assert verdict.status == "failed"
    assert "everybody who could be asked was asked" in verdict.detail
    assert ruled.is_intact()


def test_a_worker_escalates_by_itself(ruled: Bench, clock: Callable[[float], None]) -> None:
    ruled.settings.policy.write_text(CHAIN)
    run, _ = launched(ruled, action("1"))
    worker = Worker(ruled.settings, catalog=ruled.catalog)
    worker.once()
    assert said(ruled, run, Kind.GATE_ESCALATED) == []
    clock(601)
    worker.once()
    assert len(said(ruled, run, Kind.GATE_ESCALATED)) == 1
    clock(601)
    worker.once()
    assert ruled.state(run).status == "failed"


def undone(bench: Bench) -> Plan:
    first = action("1", undo=call("once", word="back"))
    return a_plan(bench.world, first, gate("2", expires_ms=600_000, on_timeout=OnTimeout.UNDO), action("3"))


def test_what_was_done_is_taken_back_where_nobody_decided_in_time(
    bench: Bench, clock: Callable[[float], None]
) -> None:
    run, _ = bench.run(undone(bench))
    clock(601)
    verdict = bench.execute(run)
    assert verdict.status == "failed"
    with bench.home() as home:
        back = list_runs(home)[0].summary
        assert load_plan(home, back.run).undo_of == run
    assert verdict.detail.endswith(f"{back.run} takes it back")
    Worker(bench.settings, catalog=bench.catalog).once()
    assert words(bench.world) == ["a:w1", "a:back"]
    Worker(bench.settings, catalog=bench.catalog).once()
    with bench.home() as home:
        assert len(list_runs(home)) == 2


def test_a_worker_takes_back_what_the_one_before_it_ended_and_did_not_live_to(
    bench: Bench, clock: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = bench.run(undone(bench))
    clock(601)
    with monkeypatch.context() as patch:
        patch.setattr("mimrun.app.execution.take_back_late", lambda *_: None)
        assert bench.execute(run).status == "failed"
    Worker(bench.settings, catalog=bench.catalog).once()
    assert words(bench.world) == ["a:w1", "a:back"]


def test_nothing_is_taken_back_where_somebody_rejected(bench: Bench) -> None:
    run, _ = bench.run(undone(bench))
    with bench.home() as home:
        pending = pending_gate(home, run)
        decide(home, pending, ALEX, "rejected", digest=pending.request.digest, reason="no")
    bench.execute(run)
    Worker(bench.settings, catalog=bench.catalog).once()
    assert words(bench.world) == ["a:w1"]


def back(bench: Bench, run: str, who: Identity = ALEX, reason: str = "it has changed since") -> None:
    with bench.home() as home:
        withdraw(home, run, who, reason)


def test_an_approval_that_was_taken_back_opens_nothing(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, gate("1"), action("2")))
    bench.approve(run)
    back(bench, run)
    assert bench.execute(run).waits_on == "gate"
    bench.approve(run)
    assert bench.execute(run).status == "succeeded"
    assert bench.is_intact()


def test_an_approval_is_taken_back_while_the_run_reads_behind_the_gate(bench: Bench, hooks: Hooks) -> None:
    """The gate is open and not used: nothing was changed by it yet."""
    read = action("2", "read", options=StepOptions(register="seen"))
    plan = a_plan(bench.world, gate("1"), read, action("3"))
    run = bench.create(plan)
    bench.execute(run)
    bench.approve(run)
    taken: list[str] = []

    note = Journal.write

    def write(journal: Journal, *drafts: object) -> object:
        if not taken and any(getattr(d, "step", "") == "3" for d in drafts):
            taken.append("now")
            back(bench, run)
        return note(journal, *drafts)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "write", write)
        verdict = bench.execute(run)
    assert taken
    assert verdict.waits_on == "gate"
    assert words(bench.world) == []
    assert bench.is_intact()
    bench.approve(run)
    assert bench.execute(run).status == "succeeded"


def test_what_was_used_is_not_taken_back(bench: Bench, hooks: Hooks) -> None:
    refused: list[str] = []

    def fired() -> None:
        with pytest.raises(RefusedError, match="what was approved has begun"):
            back(bench, run)
        refused.append("yes")

    hooks["fired"] = fired
    run, _ = bench.run(a_plan(bench.world, gate("1"), action("2", "hook", word="fired")))
    bench.approve(run)
    assert bench.execute(run).status == "succeeded"
    assert refused
    with pytest.raises(RefusedError, match="no approval that could be taken back"):
        back(bench, run)


def test_only_who_approved_takes_back_and_says_why(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, gate("1"), action("2")))
    bench.approve(run)
    for who, error, reason in (
        (BILLIE, GateError, "x"),
        (RESPONDER, GateError, "x"),
        (ALEX, InputError, " "),
    ):
        with pytest.raises(error):
            back(bench, run, who, reason)
    claimed = replace(ALEX, auth="claimed:somebody")
    back(bench, run, claimed)
    assert bench.execute(run).waits_on == "gate"


def test_a_freeze_is_overridden_by_somebody_else_and_only_in_a_freeze(ruled: Bench) -> None:
    run, _ = launched(ruled, action("1"))
    with ruled.home() as home:
        pending = pending_gate(home, run)
        with pytest.raises(GateError, match="nothing is frozen"):
            override_freeze(home, pending, FINN, digest=pending.request.digest, reason="now")
        with pytest.raises(InputError, match="needs a reason"):
            override_freeze(home, pending, FINN, digest=pending.request.digest, reason=" ")


FREEZES = (
    "matrix: {medium: {other: {approvals: [{role: change_manager}]}, freeze: {freeze_override: true}}}\n"
)


ALWAYS = """\
name: frozen
timezone: UTC
closed:
  - weekly: {days: [mon, tue, wed, thu, fri, sat, sun], from: "00:00", to: "00:00"}
    reason: stock-taking
"""


def freeze(bench: Bench) -> None:
    """Close a calendar for everything, all the time."""
    bench.settings.calendars.mkdir(exist_ok=True)
    (bench.settings.calendars / "frozen.yaml").write_text(ALWAYS)


def allow(bench: Bench, run: str) -> None:
    with bench.home() as home:
        pending = pending_gate(home, run)
        override_freeze(home, pending, FINN, digest=pending.request.digest, reason="customers cannot pay")


def test_a_freeze_that_begins_amid_a_run_stops_it_until_somebody_else_allows_it(
    ruled: Bench, hooks: Hooks
) -> None:
    hooks["fired"] = lambda: freeze(ruled)
    ruled.settings.policy.write_text(FREEZES)
    run, _ = launched(ruled, action("1", "hook", word="fired"), action("2"))
    ruled.approve(run)
    verdict = ruled.execute(run)
    assert "1 freeze_approver; 'frozen' is closed until " in verdict.detail
    assert "(stock-taking)" in verdict.detail
    assert words(ruled.world) == ["a:fired"]
    ruled.approve(run)
    assert ruled.execute(run).waits_on == "gate", "who approves the plan does not lift the freeze"
    allow(ruled, run)
    assert ruled.execute(run).status == "succeeded"
    assert words(ruled.world) == ["a:fired", "a:w2"]
    assert ruled.is_intact()


def test_a_freeze_that_is_over_asks_anew_for_what_is_asked_without_it(ruled: Bench) -> None:
    ruled.settings.policy.write_text(FREEZES)
    freeze(ruled)
    run, verdict = launched(ruled, action("1"))
    assert "1 freeze_approver" in verdict.detail
    (ruled.settings.calendars / "frozen.yaml").unlink()
    assert ruled.execute(run).detail == "'The launch is allowed' needs 1 change_manager"
    ruled.approve(run)
    assert ruled.execute(run).status == "succeeded"


def test_an_old_declaration_lends_its_urgency_to_no_run(ruled: Bench) -> None:
    ruled.settings.policy.write_text(
        "matrix: {medium: {P1: none, other: {approvals: [{role: change_manager}]}, freeze: none}}\n"
        "prioritize: [responder]\npriority_lasts: 2h\n"
    )
    run, _ = launched(ruled, action("1"))
    with ruled.home() as home:
        incident = find_run(home, run).summary.incident
        prioritize(home, RESPONDER, incident, "P1", "nobody can pay")
        reader = priority_reader(home, incident, lambda: load_policy(home.settings.policy))
        assert reader() == "P1"
        late = replace(home, clock=lambda: utc_now() + timedelta(hours=3))
        assert priority_reader(late, incident, lambda: load_policy(home.settings.policy))() is None
        prioritize(late, RESPONDER, incident, "P1", "still nobody can")
