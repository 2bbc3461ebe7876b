"""Traps that other runbook executors are known to have fallen into, each held shut by a test of its name.

Where a trap was found is in the page that compares mimrun with others: docs/explanation/compared.md.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from builders.commands import Desk, mark, until
from builders.plans import a_plan, action, block, gate, manual
from builders.runs import ALEX, BILLIE, RESPONDER, Bench, person
from builders.world import HOOKS, WORLD, World, lines, words

from mimrun.app.checking import Prospect, check_plan
from mimrun.app.decisions import attest, decide, pending_gate, resolve
from mimrun.app.runs import create_run, find_run, load_plan, load_state
from mimrun.catalog import Catalog
from mimrun.errors import GateError, InputError, LeaseError, LockError, RefusedError, StoreError
from mimrun.log.entry import Actor
from mimrun.log.kinds import RunStarted, StepStarted
from mimrun.log.sqlite.store import SqliteStore
from mimrun.run.hold.lease import FileLease
from mimrun.run.journal import Journal
from mimrun.runbook.allowance import allowed, exceeded
from mimrun.runbook.node import StepOptions
from mimrun.runbook.plan import Plan

HOSTS = [f"h{number:02}" for number in range(50)]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def hooks() -> Iterator[dict[str, Callable[[], object]]]:
    yield HOOKS
    HOOKS.clear()


def failing_on(path: str, hosts: list[str], failing: int) -> object:
    """Give a step that fails on the first so many of its hosts."""
    step = action(path, "idempotent", hosts=hosts, word="done")
    spoilt = [
        target.model_copy(
            update={
                "calls": tuple(
                    c.model_copy(update={"args": {**c.args, "answer": "failed"}}) for c in target.calls
                )
            }
        )
        if number < failing
        else target
        for number, target in enumerate(step.targets)
    ]
    return step.model_copy(update={"targets": tuple(spoilt)})


def allowing(plan: Plan, failures: int) -> Plan:
    return Plan.decode(plan.model_copy(update={"max_failures": failures}).encode())


@pytest.mark.parametrize(
    ("failing", "ends"), [(0, "succeeded"), (4, "succeeded"), (5, "succeeded"), (6, "failed")]
)
def test_trap_01_ten_percent_of_fifty_stops_at_the_sixth_failure_and_never_at_the_fifth(
    bench: Bench, failing: int, ends: str
) -> None:
    budget = allowed("10%", len(HOSTS))
    assert (budget, exceeded(5, budget), exceeded(6, budget)) == (5, False, True)
    plan = a_plan(bench.world, failing_on("1", HOSTS, failing), action("2", hosts=HOSTS), hosts=HOSTS)  # type: ignore[arg-type]
    _, verdict = bench.run(allowing(plan, budget))
    assert verdict.status == ends
    assert sum(word.endswith(":w2") for word in words(bench.world)) == (
        50 - failing if ends == "succeeded" else 0
    )


def test_trap_02_a_step_that_failed_on_all_its_hosts_stops_the_run_though_the_budget_is_left(
    bench: Bench,
) -> None:
    first = failing_on("1", ["a", "b"], 2)
    plan = a_plan(bench.world, first, action("2", hosts=["c"]), hosts=["a", "b", "c"])  # type: ignore[arg-type]
    _, verdict = bench.run(allowing(plan, 3))
    assert verdict.status == "failed"
    assert words(bench.world) == []


def test_trap_03_what_was_under_way_when_the_budget_ran_out_is_told_apart_from_what_was_not_begun(
    bench: Bench,
) -> None:
    many = [f"h{number:03}" for number in range(120)]
    plan = a_plan(bench.world, failing_on("1", many, 60), hosts=many)  # type: ignore[arg-type]
    run, verdict = bench.run(allowing(plan, 0))
    assert verdict.status == "failed"
    recap = bench.state(run).recap()
    assert recap["failed"] >= 1
    assert recap["skipped"] >= 120 - 60 - 50, "what was not begun is named as such"
    assert sum(recap[word] for word in ("ok", "failed", "skipped")) == 120, "no host is without a word"


def test_trap_04_nothing_lets_two_runs_work_on_one_host_at_once(
    bench: Bench, hooks: dict[str, Callable[[], object]]
) -> None:
    plan = a_plan(bench.world, action("1", "hook", word="slow"), gate("2"), action("3"))
    locked = Plan.decode(plan.model_copy(update={"locks": ("host/a",)}).encode())
    hooks["slow"] = lambda: None
    first, _ = bench.run(locked)
    with pytest.raises(LockError, match=first):
        bench.create(locked)
    assert words(bench.world) == ["a:slow"]
    bench.cancel(first)
    bench.execute(first)
    assert bench.run(locked)[1].status == "waiting"
    assert words(bench.world) == ["a:slow", "a:slow"]


def test_trap_05_nobody_approves_alone_whatever_roles_they_have(bench: Bench) -> None:
    boss = person("boss", "responder", "change_manager", "admin")
    with bench.home() as home:
        run = create_run(home, a_plan(bench.world, gate("1"), action("2")), boss)
    bench.execute(run)
    with pytest.raises(GateError, match="boss"):
        bench.approve(run, boss)
    assert words(bench.world) == []


def test_trap_06_who_may_run_a_runbook_may_not_thereby_approve_it(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, gate("1"), action("2")))
    with pytest.raises(GateError):
        bench.approve(run, person("casey", "responder"))


def test_trap_06_an_empty_list_of_approvers_is_an_error_and_not_everybody(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    said = desk("runbook", "lint", desk.runbook("  - {name: Anybody, gate: {approvals: []}}\n" + mark("x")))
    assert said.code == 2
    assert "approvals" in said.out + said.err


def test_trap_07_votes_are_counted_by_person_and_again_at_every_use(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, gate("1", count=2), action("2")))
    bench.approve(run)
    with pytest.raises(GateError):
        bench.approve(run)
    assert bench.execute(run).status == "waiting"
    people = bench.settings.people.read_text()
    bench.approve(run, BILLIE)
    bench.settings.people.write_text(people.replace("[change_manager, service_desk]", "[service_desk]"))
    assert bench.execute(run).status == "waiting", "the first voter's role is gone, and so is the vote"
    assert words(bench.world) == []


def test_trap_08_an_approval_is_too_old_by_the_clock_and_not_by_a_cleaner(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, gate("1", expires_ms=1), action("2")))
    with pytest.raises(GateError, match="expired"):
        bench.approve(run)
    assert bench.execute(run).status == "failed"


def test_trap_08_a_run_goes_on_once_however_often_it_is_told_to(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, gate("1"), action("2")))
    bench.approve(run)
    assert bench.execute(run).status == "succeeded"
    assert bench.execute(run).status == "refused"
    assert words(bench.world) == ["a:w2"]


def test_trap_09_an_approval_does_not_do_again_what_came_before_it(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, action("1"), gate("2"), action("3")))
    bench.approve(run)
    assert bench.execute(run).status == "succeeded"
    assert words(bench.world) == ["a:w1", "a:w3"]


def test_trap_10_what_cannot_be_read_closes_a_gate_and_never_opens_it(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, gate("1"), action("2")))
    bench.approve(run)
    bench.settings.people.write_text("people: {alex: {roles: change_manager, until: }")
    assert bench.execute(run).status == "refused"
    assert words(bench.world) == []


def test_trap_11_every_item_on_every_host_is_a_thing_of_its_own(bench: Bench) -> None:
    inner = action("1.block.1", loop=["x", "x", "y"], late=["item"], word="{{ item }}", hosts=["a", "b"])
    plan = a_plan(bench.world, block("1", [inner]), action("2", hosts=["a", "b"], word="x"), hosts=["a", "b"])
    _, verdict = bench.run(plan)
    assert verdict.status == "succeeded"
    keys = [line.split()[2] for line in lines(bench.world)]
    assert len(keys) == len(set(keys)) == 8


def test_trap_12_a_manual_step_that_waits_is_in_the_log_and_not_in_a_process(bench: Bench) -> None:
    run, verdict = bench.run(a_plan(bench.world, manual("1", role="service_desk"), action("2")))
    assert verdict.status == "waiting"
    with bench.home() as home:  # another process, after a restart
        view = find_run(home, run)
        assert (view.held, view.summary.waits_on, view.summary.waits_at) == (False, "manual", "1")
        attest(home, run, ALEX, {})
    assert bench.execute(run).status == "succeeded"


def test_trap_13_a_lock_is_kept_in_doubt_and_freed_when_the_run_is_over(bench: Bench) -> None:
    def locked(*nodes: object) -> Plan:
        plan = a_plan(bench.world, *nodes)  # type: ignore[arg-type]
        return Plan.decode(plan.model_copy(update={"locks": ("host/a",)}).encode())

    doubtful, verdict = bench.run(locked(action("1", answer="lost", word="x")))
    assert verdict.status == "in_doubt"
    with pytest.raises(LockError, match="in_doubt"):
        bench.create(locked(action("1")))
    with bench.home() as home:
        for who in (ALEX, BILLIE):
            if load_state(home, doubtful).in_doubt():
                resolve(home, doubtful, who, step="1", resolution="applied", reason="it is in the world")
    assert bench.execute(doubtful).status == "succeeded"
    assert bench.run(locked(action("1")))[1].status == "succeeded"


def test_trap_13_a_run_that_never_began_holds_nothing(bench: Bench) -> None:
    plan = a_plan(bench.world, action("1"))
    locked = Plan.decode(plan.model_copy(update={"locks": ("host/a",)}).encode())
    bench.create(locked)
    _, verdict = bench.run(locked)
    assert verdict.status == "succeeded"


def test_trap_14_a_worker_that_was_replaced_changes_nothing_any_more(bench: Bench) -> None:
    run = bench.create(a_plan(bench.world, action("1")))
    with bench.home() as home, FileLease(bench.settings.locks, run, at_least=0) as lease:
        zombie = Journal(home.store, bench.state(run), lease, Actor("worker", "zombie:1", "engine", "lease"))
        home.store.append([zombie.draft(RunStarted(worker="zombie:1", epoch=lease.epoch, resumed=False))])
        (bench.settings.locks / f"{run}.lock").unlink()  # the worst case: nothing keeps the second one out
        assert bench.execute(run).status == "succeeded"
        with pytest.raises(LeaseError):
            zombie.note(StepStarted(name="late", form="x", targets=("a",)), step="1")
    assert words(bench.world) == ["a:w1"]


def test_trap_15_a_connector_that_is_broken_takes_no_other_with_it(bench: Bench) -> None:
    broken = EntryPoint("broken", "no_such_module_anywhere:Connector", "mimrun.connectors")
    catalog = Catalog({"world": World}, {"broken": broken})
    assert catalog.action("world.once").verb == "once"
    with pytest.raises(InputError, match="broken"):
        catalog.action("broken.verb")


def test_trap_16_a_killed_run_goes_on_with_its_own_plan_though_the_runbook_has_changed(
    tmp_path: Path,
) -> None:
    desk = Desk(tmp_path)
    steps = (
        mark("one")
        + "  - {name: Wait, local.shell: {cmd: 'until [ -e go ]; do sleep 0.05; done'},"
        + " effect: {class: idempotent, reason: it only waits}}\n"
    )
    book = desk.runbook(steps + mark("two"))
    started = desk.begin("run", "--direct", "--yes", book)
    until(lambda: desk.status().get("step") == "2")
    os.kill(started.pid, signal.SIGKILL)
    started.wait()
    Path(book).write_text(Path(book).read_text().replace("two", "three"))
    desk.write("go", "")
    said = desk("resume", "--direct")
    assert said.code == 0, said.err
    assert desk.marks() == ["one", "two"]


def test_trap_17_what_was_planned_is_what_runs_whatever_is_edited_afterwards(bench: Bench) -> None:
    plan = a_plan(bench.world, action("1", word="as-planned"))
    run = bench.create(plan)
    with bench.home() as home:
        assert load_plan(home, run).digest == plan.digest
    bench.execute(run)
    assert words(bench.world) == ["a:as-planned"]


def test_trap_17_a_version_that_ran_keeps_its_content(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    assert desk.run(desk.runbook(mark("one"))).code == 0
    said = desk.run(desk.runbook(mark("other")))
    assert said.code == 2
    assert "1.0.0" in said.err
    assert desk.marks() == ["one"]


def test_trap_18_a_runbook_that_is_deleted_leaves_its_history_and_its_way_back(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    undo = "    undo: {local.shell: {cmd: 'echo back >> marks'}}\n"
    book = desk.runbook("  - name: One\n    local.shell: {cmd: 'echo one >> marks'}\n" + undo)
    assert desk.run(book).code == 0
    Path(book).unlink()
    assert desk.status()["status"] == "succeeded"
    assert desk("log", "verify").code == 0
    said = desk("undo", "latest", "--direct", "--yes")
    assert said.code == 0, said.err
    assert desk.marks() == ["one", "back"]


def test_trap_19_what_check_mode_cannot_know_is_unknown_and_never_undefined_or_ok(bench: Bench) -> None:
    plan = a_plan(
        bench.world,
        action("1", options=StepOptions(register="done", delay_ms=1)),
        action("2", "idempotent", when="done.changed"),
    )
    told = [forecast for step in check_plan(plan, WORLD) for forecast in step]
    assert [forecast.prospect for forecast in told] == [Prospect.UNKNOWN, Prospect.UNKNOWN]
    assert "'done', which is not known" in told[1].detail


def test_trap_20_a_secret_is_nowhere_in_what_is_recorded_before_it_is_used(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    book = desk.runbook(
        "  - name: Use it\n    local.command: {argv: [printf, '%s', '{{ token }}']}\n",
        more="inputs: {token: {type: secret}}\n",
    )
    said = desk.run(book, "token=env:CANARY", CANARY="canary-7f3d-in-the-mine")
    assert said.code == 0, said.err
    assert "canary-7f3d" not in said.out + said.err
    for file in desk.home.rglob("*"):
        assert not file.is_file() or b"canary-7f3d" not in file.read_bytes(), file


def test_trap_21_a_run_at_a_gate_is_held_by_no_process_and_comes_back_from_the_log(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, action("1"), gate("2"), action("3")))
    with bench.home() as home:
        assert not find_run(home, run).held
    bench.approve(run)
    code = (
        "import sys; from pathlib import Path; from builders.world import WORLD; from mimrun.settings import Settings;"
        "from mimrun.app.execution import execute_run;"
        "print(execute_run(Settings(home=Path(sys.argv[1])), sys.argv[2], catalog=WORLD).status)"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    words_ = [sys.executable, "-c", code, str(bench.settings.home), run]
    other = subprocess.run(words_, env=env, capture_output=True, text=True, timeout=60, check=True)
    assert other.stdout.strip() == "succeeded"
    assert words(bench.world) == ["a:w1", "a:w3"]


def test_trap_22_what_cannot_be_recorded_is_not_done(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    append = SqliteStore.append

    def full(self: SqliteStore, drafts: object, **more: object) -> object:
        if any(draft.kind.value == "step.intent" for draft in drafts):  # type: ignore[attr-defined]
            raise StoreError("no space left on device; nothing was recorded")
        return append(self, drafts, **more)  # type: ignore[arg-type]

    run = bench.create(a_plan(bench.world, action("1")))
    monkeypatch.setattr(SqliteStore, "append", full)
    with pytest.raises(StoreError):
        bench.execute(run)
    assert words(bench.world) == []
    monkeypatch.undo()
    assert bench.execute(run).status == "succeeded"
    assert words(bench.world) == ["a:w1"]


def test_trap_22_a_decision_that_cannot_be_recorded_was_not_made(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = bench.run(a_plan(bench.world, gate("1"), action("2")))

    def full(self: SqliteStore, drafts: object, **more: object) -> object:
        raise StoreError("no space left on device; nothing was recorded")

    with bench.home() as home:
        pending = pending_gate(home, run)
        monkeypatch.setattr(SqliteStore, "append", full)
        with pytest.raises(StoreError):
            decide(home, pending, ALEX, "approved", digest=pending.request.digest)
    monkeypatch.undo()
    assert bench.execute(run).status == "waiting"


def test_every_trap_has_its_test() -> None:
    names = [name for name in globals() if name.startswith("test_trap_")]
    assert {int(name[10:12]) for name in names} == set(range(1, 23))
    assert RefusedError.exit_code == 5
    assert RESPONDER.person.id == "responder"
