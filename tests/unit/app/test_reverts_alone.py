"""Changes for a time: what a failure left, who may approve their way back, and who is there to do it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from builders.commands import Desk
from builders.drawer import CATALOG
from builders.plans import a_plan, action, call, gate
from builders.runs import ALEX, Bench, person
from builders.world import words

from mimrun.app.decisions import decide, pending_gate
from mimrun.app.home import Home
from mimrun.app.presence import nobody_stays, stays
from mimrun.app.reverts import list_reverts, start_due
from mimrun.app.worker import Worker
from mimrun.errors import GateError
from mimrun.log.moment import utc_now
from mimrun.runbook.node import StepOptions
from mimrun.settings import Settings

FOR_AN_HOUR = StepOptions(delay_ms=1, revert_after_ms=3_600_000)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, CATALOG)


@contextmanager
def later(bench: Bench, hours: int = 2) -> Iterator[Home]:
    with bench.home() as home:
        yield replace(home, clock=lambda: utc_now() + timedelta(hours=hours))


@pytest.mark.parametrize(("answer", "scheduled"), [("failed", True), ("unreachable", False)])
def test_what_a_failure_may_have_left_half_done_is_taken_back_at_its_time(
    bench: Bench, answer: str, *, scheduled: bool
) -> None:
    back = call("once", word="back")
    step = action("1", word="x", answer=answer, undo=back, options=FOR_AN_HOUR)
    _, verdict = bench.run(a_plan(bench.world, step))
    assert verdict.status == "failed"
    with later(bench) as home:
        assert [view.status.value for view in list_reverts(home)] == ["overdue"] * scheduled
        for started in start_due(home, set()):
            assert bench.execute(started.undo).status == "succeeded"
    assert words(bench.world) == ["a:back"] * scheduled


def test_who_launched_the_change_does_not_approve_its_way_back(bench: Bench) -> None:
    bench.settings.people.write_text(
        "people:\n  responder: {roles: [responder, change_manager]}\n  alex: {roles: [change_manager]}\n"
    )
    long = StepOptions(delay_ms=1, revert_after_ms=30 * 3_600_000)
    step = action("2", word="x", undo=call("once", word="back"), options=long)
    run, _ = bench.run(a_plan(bench.world, gate("1"), step))
    bench.approve(run)
    assert bench.execute(run).status == "succeeded"
    with later(bench, 31) as home:
        (started,) = start_due(home, set())
    assert bench.execute(started.undo).status == "waiting"
    with bench.home() as home:
        pending = pending_gate(home, started.undo)
        with pytest.raises(GateError, match="responder asked for or launched this run"):
            decide(
                home,
                pending,
                person("responder", "change_manager"),
                "approved",
                digest=pending.request.digest,
            )
    bench.approve(started.undo, ALEX)
    assert bench.execute(started.undo).status == "succeeded"


def test_a_way_back_that_needs_somebodys_environment_says_so(bench: Bench) -> None:
    step = action("1", word="x", undo=call("once", ("token",), word="{{ token }}"), options=FOR_AN_HOUR)
    plan = a_plan(bench.world, step, inputs={"token": {"secret": "env:PORTAL_TOKEN"}})
    bench.run(plan)
    with later(bench) as home:
        (started,) = start_due(home, set())
        (view,) = list_reverts(home)
    Worker(bench.settings, catalog=CATALOG).once()
    assert words(bench.world) == ["a:x"]
    assert view.status.value == "under_way"
    assert "the secret token is read with the environment of this command" in view.why
    assert f"`mimrun resume {started.undo}`" in view.why


def test_somebody_is_there_for_as_long_as_a_process_holds_its_place(bench: Bench) -> None:
    assert "start `mimrun worker`" in nobody_stays(bench.settings)
    with stays(bench.settings), stays(bench.settings):
        assert nobody_stays(bench.settings) == ""
    assert nobody_stays(bench.settings)


TIMED = """\
  - name: Let more in
    local.command: {argv: ["true"]}
    undo: {local.command: {argv: ["true"]}}
    revert_after: 2h
"""


def test_before_the_go_and_in_the_doctor_it_is_said_that_nobody_is_there(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    book = desk.runbook(TIMED)
    assert "no worker and no kept engine" in desk("plan", book).err
    assert desk("plan", book, "--json").json["warnings"]
    ran = desk("run", "--direct", "--yes", book)
    assert (ran.code, "no worker and no kept engine" in ran.err) == (0, True)
    assert "no worker and no kept engine" in desk("reverts", "list").err
    checks = {one["name"]: one for one in desk("doctor", "--json").json}
    assert (checks["worker"]["ok"], checks["worker"]["cure"]) == (False, "mimrun worker")
    assert "1 changes are to be taken back" in checks["worker"]["found"]
    with stays(Settings(home=desk.home)):
        assert desk("plan", book).err == ""
        assert desk("plan", book, "--json").json["warnings"] == []
        assert desk("reverts", "list").err == ""
        checks = {one["name"]: one for one in desk("doctor", "--json").json}
        assert checks["worker"]["ok"] is True
