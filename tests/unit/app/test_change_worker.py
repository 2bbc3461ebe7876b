"""A worker goes on when a change was approved elsewhere, and writes what came of it, with nobody there."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders import paper_changes as paper
from builders.plans import a_plan, action, gate
from builders.runs import RESPONDER, Bench

from mimrun.app.change.draft import content_of_plan
from mimrun.app.change.elsewhere import open_elsewhere
from mimrun.app.change.facts import changes_of
from mimrun.app.change.form import Form, fill_form, parse_when
from mimrun.app.change.timer import IDLE_S, ChangeTimer
from mimrun.app.runs import find_run
from mimrun.app.worker import Worker
from mimrun.errors import InputError, RunError
from mimrun.gate.change_link import change_of
from mimrun.gate.register import Content
from mimrun.log.kinds import Kind
from mimrun.log.moment import read_moment

PEOPLE = """\
people:
  responder: {roles: [responder]}
  alex: {roles: [change_manager], identities: {desk: [aromero]}}
"""
POLICY = """\
matrix:
  medium:
    other: {approvals: [{role: change_manager}], change: emergency}
    freeze: {freeze_override: true}
"""


@pytest.fixture
def desk(tmp_path: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Path:
    paper.install(monkeypatch)
    folder = tmp_path / "desk"
    folder.mkdir()
    bench.settings.people.write_text(PEOPLE)
    bench.settings.policy.write_text(POLICY)
    system = f"{{adapter: paper, url: 'paper:', folder: '{folder}'}}"
    bench.settings.changes.write_text(f"new_records: desk\nsystems: {{desk: {system}}}\n")
    return folder


def worked(bench: Bench) -> None:
    Worker(bench.settings, catalog=bench.catalog).once()


def test_a_worker_goes_on_with_what_was_approved_elsewhere_and_writes_the_result(
    bench: Bench, desk: Path
) -> None:
    run, _ = bench.run(a_plan(bench.world, gate("1"), action("2")))
    worked(bench)
    with bench.home() as home:
        assert find_run(home, run).status == "waiting"
    assert paper.additions(desk, "P1") == ["link"]
    paper.decide(desk, "P1", "aromero")
    worked(bench)
    with bench.home() as home:
        assert find_run(home, run).status == "succeeded"
    worked(bench)
    assert paper.additions(desk, "P1")[-2:] == ["ended", "result"]


def test_a_worker_makes_the_record_that_could_not_be_made_before(bench: Bench, desk: Path) -> None:
    (desk / "weather").write_text("down down down")
    run, _ = bench.run(a_plan(bench.world, gate("1"), action("2")))
    with bench.home() as home:
        (writing,) = change_of(home.store, run).under_way
    assert (writing.what, writing.attempts, writing.reason) == ("create", 1, "nobody is at the desk")
    assert not list(desk.glob("P*.json"))


def test_a_system_that_answers_now_and_then_does_not_fill_the_log(
    bench: Bench, desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = bench.run(a_plan(bench.world, gate("1"), action("2")))
    paper.decide(desk, "P1", "aromero")
    with bench.home() as home:
        size = home.store.head().size
        # Each time the worker looks the system allows it, and whoever executes the run finds it away.
        monkeypatch.setattr("mimrun.app.worker.verdict_of", lambda *_: "open")
        (desk / "weather").write_text("down " * 50)
        Worker(bench.settings, catalog=bench.catalog).once()
        assert find_run(home, run).status == "waiting"
        assert home.store.head().size - size < 15


def test_a_file_of_change_systems_that_is_broken_keeps_the_gate_closed_and_the_worker_at_work(
    bench: Bench, desk: Path
) -> None:
    run, _ = bench.run(a_plan(bench.world, gate("1"), action("2")))
    paper.decide(desk, "P1", "aromero")
    whole = bench.settings.changes.read_text()
    bench.settings.changes.write_text("systems: [")
    worked(bench)
    with bench.home() as home:
        assert find_run(home, run).status == "waiting"
    bench.settings.changes.write_text(whole)
    worked(bench)
    with bench.home() as home:
        assert find_run(home, run).status == "succeeded"


def test_a_result_that_could_not_be_announced_is_written_later_although_nothing_was_recorded_since(
    bench: Bench, desk: Path
) -> None:
    run, _ = bench.run(a_plan(bench.world, gate("1"), action("2")))
    paper.decide(desk, "P1", "aromero")
    assert bench.execute(run).status == "succeeded"
    now, whole = 0.0, bench.settings.changes.read_text()
    timer = ChangeTimer(bench.settings, monotonic=lambda: now)
    bench.settings.changes.write_text("systems: [")
    with bench.home() as home:
        timer.look(home)
        timer.wait()
        assert "result" not in paper.additions(desk, "P1")
        bench.settings.changes.write_text(whole)
        now += IDLE_S
        timer.look(home)
        timer.wait()
    assert paper.additions(desk, "P1")[-1] == "result"


def test_a_change_is_opened_elsewhere_once_whatever_becomes_of_the_answer(bench: Bench, desk: Path) -> None:
    plan = a_plan(bench.world, gate("1"), action("2"))
    with bench.home() as home:
        system, content = changes_of(home).file().system("desk"), content_of_plan(plan)
        (desk / "weather").write_text("lost")
        assert open_elsewhere(home, RESPONDER, system, content) == "P1"
        assert paper.read(desk, "P1")["digest"] == plan.digest
        (desk / "weather").write_text("lost down")
        with pytest.raises(RunError, match=r"look for \[mimrun change [0-9a-f]{16}\] there"):
            open_elsewhere(home, RESPONDER, system, content)
        (desk / "weather").write_text("down")
        with pytest.raises(RunError, match="nothing was made there"):
            open_elsewhere(home, RESPONDER, system, content)
        written = [e.body for e in home.store.entries(kinds={Kind.CHANGE_WRITTEN})]
    assert [one.status for one in written] == ["done", "unknown", "failed"]  # type: ignore[union-attr]
    assert sorted(path.name for path in desk.glob("P*.json")) == ["P1.json", "P2.json"]


NOW = read_moment("2026-11-22T03:00:00.000000Z")


@pytest.mark.parametrize(
    ("given", "moment"),
    [
        ("now", "2026-11-22T03:00:00+00:00"),
        ("+2h", "2026-11-22T05:00:00+00:00"),
        ("+1h30m", "2026-11-22T04:30:00+00:00"),
        ("+90d", "2027-02-20T03:00:00+00:00"),
        ("2026-11-22T22:00+02:00", "2026-11-22T20:00:00+00:00"),
        ("2026-11-22T22:00Z", "2026-11-22T22:00:00+00:00"),
    ],
)
def test_moments_are_read_as_people_write_them(given: str, moment: str) -> None:
    assert parse_when(given, NOW).isoformat() == moment


@pytest.mark.parametrize("given", ["", "soon", "+2", "+h", "-2h", "2026-13-01", "+9999d"])
def test_what_is_no_moment_is_refused_with_what_would_be(given: str) -> None:
    with pytest.raises(InputError, match="write 2026-11-22T03:00Z, now, or"):
        parse_when(given, NOW)


def test_a_form_takes_the_place_of_what_it_names_alone(tmp_path: Path) -> None:
    was = Content(type="normal", title="t", risk="low", backout="b", targets=("a",))
    (tmp_path / "why").write_text("because\n")
    now = fill_form(was, Form(justification=f"@{tmp_path}/why", targets=["x", "x", "y"]), NOW)
    assert (now.justification, now.targets, now.backout, now.title) == ("because", ("x", "y"), "b", "t")
    assert fill_form(was, Form(), NOW) == was
    for form, option in (
        (Form(justification="@/none"), "--justification"),
        (Form(test="x" * 70_000), "--test"),
    ):
        with pytest.raises(InputError, match=option):
            fill_form(was, form, NOW)
