from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from builders import paper_changes as paper
from builders.plans import a_plan, action, gate
from builders.runs import ALEX, BILLIE, RESPONDER, Bench

from mimrun.app.change.facts import changes_of
from mimrun.app.change.linking import find_record, link_change
from mimrun.app.change.records import find_change, list_changes
from mimrun.app.change.register import decide_change, open_change, submit_change
from mimrun.app.change.scribe import write_due
from mimrun.app.home import Home
from mimrun.app.permits import permits_of
from mimrun.app.runs import create_run, list_runs, load_plan, load_state
from mimrun.change_system import ChangeState
from mimrun.errors import GateError, InputError
from mimrun.gate.change_link import change_of
from mimrun.gate.register import Content, registered_in
from mimrun.log.kinds import Kind
from mimrun.log.moment import write_moment
from mimrun.runbook.plan import Plan

PEOPLE = """\
people:
  responder: {roles: [responder], identities: {desk: [rita]}}
  alex: {roles: [change_manager, service_desk], identities: {desk: [aromero]}}
  billie: {roles: [change_manager]}
"""
POLICY = """\
matrix:
  medium:
    other: {approvals: [{role: change_manager}], change: KIND, pre_authorised: true}
    freeze: {freeze_override: true}
"""


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    paper.install(monkeypatch)
    folder = tmp_path / "desk"
    folder.mkdir()
    return folder


def governed(bench: Bench, kind: str = "emergency", desk: Path | None = None) -> Plan:
    """Let the policy ask for a change, and give a plan that changes something behind a gate."""
    bench.settings.people.write_text(PEOPLE)
    bench.settings.policy.write_text(POLICY.replace("KIND", kind))
    if desk is not None:
        bench.settings.changes.write_text(
            "new_records: desk\nrun_url: 'https://m.example.org/runs/{run}'\n"
            f"systems: {{desk: {{adapter: paper, url: 'paper:', folder: '{desk}', stale_after: 1s}}}}\n"
        )
    return a_plan(bench.world, gate("1"), action("2"))


def settled(home: Home, run: str, *, later: bool = False) -> None:
    """Write everything that is to be written, also what still rests."""
    now = home.clock() + (timedelta(hours=1) if later else timedelta())
    write_due(home, changes_of(home).file(), run=run, now=now)


def test_a_gate_that_needs_an_emergency_change_opens_one_in_the_register(bench: Bench) -> None:
    run, verdict = bench.run(governed(bench))
    assert verdict.status == "waiting"
    with bench.home() as home:
        (view,) = list_changes(home)
        link = change_of(home.store, run)
        content = view.text()
    assert (link.name, view.was.state) == ("register:CHG-1", ChangeState.AUTHORIZE)
    assert (content.run, content.type, content.targets) == (run, "emergency", ("a",))
    assert "world.once" in content.implementation
    assert "no undo" in content.backout


def test_an_approval_of_the_record_is_the_vote_of_the_person_and_the_run_goes_on(bench: Bench) -> None:
    run, _ = bench.run(governed(bench))
    with bench.home() as home:
        decide_change(home, "CHG-1", ALEX, "approved", reason="service is down")
    assert bench.execute(run).status == "succeeded"
    with bench.home() as home:
        settled(home, run)
        assert find_change(home, "CHG-1").was.state is ChangeState.REVIEW
        assert change_of(home.store, run).under_way == ()
    assert bench.is_intact()


def test_a_rejection_of_the_record_ends_the_run_with_its_reason(bench: Bench) -> None:
    run, _ = bench.run(governed(bench))
    with bench.home() as home:
        decide_change(home, "CHG-1", ALEX, "rejected", reason="the standby is behind")
    verdict = bench.execute(run)
    assert verdict.status == "failed"
    assert "the standby is behind" in verdict.detail


def test_one_word_at_the_gate_allows_the_change_that_was_made_for_it(bench: Bench) -> None:
    run, _ = bench.run(governed(bench))
    bench.approve(run, ALEX)
    assert bench.execute(run).status == "succeeded"
    with bench.home() as home:
        assert [said.person for said in registered_in(home.store, "CHG-1").said] == ["alex"]


def test_a_word_at_the_gate_allows_no_change_that_somebody_else_made(bench: Bench) -> None:
    plan = governed(bench, "normal")
    run, _ = bench.run(plan)
    with bench.home() as home:
        ref = open_change(home, BILLIE.actor(), normal(plan, home.clock()))
        submit_change(home, ref, BILLIE)
        submit_change(home, ref, BILLIE)
        link_change(home, run, find_record(home, ref), RESPONDER)
    bench.approve(run, ALEX)
    assert bench.execute(run).status == "waiting"
    with bench.home() as home:
        assert registered_in(home.store, ref).said == ()


def test_whoever_launched_the_run_does_not_approve_its_record(bench: Bench) -> None:
    run, _ = bench.run(governed(bench))
    bench.settings.people.write_text(PEOPLE.replace("[responder]", "[responder, change_manager]"))
    with bench.home() as home, pytest.raises(GateError, match="asked for CHG-1"):
        decide_change(home, "CHG-1", RESPONDER, "approved")
    assert run


def test_asking_the_same_gate_again_makes_no_second_record(bench: Bench) -> None:
    run, _ = bench.run(governed(bench))
    for _ in range(3):
        assert bench.execute(run).status == "waiting"
    with bench.home() as home:
        assert len(list_changes(home)) == 1


def test_a_normal_change_is_linked_by_a_person(bench: Bench) -> None:
    plan = governed(bench, "normal")
    run, verdict = bench.run(plan)
    assert verdict.status == "waiting"
    with bench.home() as home:
        now = home.clock()
        ref = open_change(home, BILLIE.actor(), normal(plan, now))
        submit_change(home, ref, BILLIE)
        submit_change(home, ref, BILLIE)
        link_change(home, run, find_record(home, ref), RESPONDER)
        decide_change(home, ref, ALEX, "approved")
    assert bench.execute(run).status == "succeeded"


def normal(plan: Plan, now: datetime, **other: str) -> Content:
    usual = {"digest": plan.digest, "requested_by": "billie"} | other
    return Content(
        type="normal",
        title="Promote",
        risk="medium",
        justification="j",
        implementation="i",
        backout="b",
        test="t",
        targets=("a", "b"),
        window_start=write_moment(now - timedelta(hours=1)),
        window_end=write_moment(now + timedelta(hours=1)),
        **usual,  # type: ignore[arg-type]
    )


def test_a_record_that_names_no_run_counts_for_one_run(bench: Bench, desk: Path) -> None:
    plan, now = governed(bench, "normal", desk), datetime.now(UTC)
    window = [(now + timedelta(hours=hours)).isoformat() for hours in (-1, 1)]
    paper.write(
        desk,
        "P1",
        key="",
        type="normal",
        title="t",
        plan="",
        backout="",
        run="",
        digest=plan.digest,
        state="authorize",
        approval="requested",
        votes=[],
        additions=[],
        window=window,
        targets=[target.name for target in plan.targets],
    )
    paper.decide(desk, "P1", "aromero")
    runs = []
    with bench.home() as home:
        for _ in range(4):
            runs.append(create_run(home, plan, RESPONDER))
            link_change(home, runs[-1], find_record(home, "P1"), RESPONDER)
    assert bench.execute(runs[1]).status == "waiting", "another one is under way with it"
    bench.cancel(runs[0])
    assert bench.execute(runs[0]).status == "cancelled"
    assert bench.execute(runs[1]).status == "succeeded", "the first one has changed nothing"
    for late in runs[2:]:
        found = bench.execute(late)
        assert (found.status, f"one run alone, which is {runs[1]}" in found.detail) == ("waiting", True)


def test_a_record_for_another_plan_opens_nothing(bench: Bench) -> None:
    plan = governed(bench, "normal")
    run, _ = bench.run(plan)
    with bench.home() as home:
        ref = open_change(home, BILLIE.actor(), normal(plan, home.clock(), digest="sha256:" + "e" * 64))
        submit_change(home, ref, BILLIE)
        submit_change(home, ref, BILLIE)
        link_change(home, run, find_record(home, ref), RESPONDER)
        decide_change(home, ref, ALEX, "approved")
    assert bench.execute(run).status == "waiting"


def test_a_valid_standard_change_stands_in_and_an_edited_runbook_voids_it(bench: Bench) -> None:
    plan = governed(bench, "normal")
    with bench.home() as home:
        text = Content(
            type="standard",
            title="Restart",
            risk="low",
            justification="well understood",
            runbook="test@1.0.0",
            digest=plan.runbook.digest,
            hosts="a:b",
            valid_until=write_moment(home.clock() + timedelta(days=30)),
            requested_by="billie",
        )
        ref = open_change(home, BILLIE.actor(), text)
        submit_change(home, ref, BILLIE)
        changes = changes_of(home)
        assert changes.standard_for(plan, home.clock()) == ""
        decide_change(home, ref, ALEX, "approved")
        assert changes.standard_for(plan, home.clock()) == ref
        assert changes.standard_for(plan, home.clock() + timedelta(days=31)) == ""
        edited = plan.runbook.model_copy(update={"digest": "sha256:" + "f" * 64})
        other = Plan.decode(plan.model_copy(update={"runbook": edited}).encode())
        assert changes.standard_for(other, home.clock()) == ""
        wider = Plan.decode(
            plan.model_copy(
                update={"targets": (*plan.targets, plan.targets[0].model_copy(update={"name": "z"}))}
            ).encode()
        )
        assert changes.standard_for(wider, home.clock()) == ""


def test_a_record_is_made_in_the_other_system_and_its_approver_is_a_voter(bench: Bench, desk: Path) -> None:
    run, verdict = bench.run(governed(bench, desk=desk))
    assert verdict.status == "waiting"
    record = paper.read(desk, "P1")
    assert (record["run"], record["type"]) == (run, "emergency")
    paper.decide(desk, "P1", "aromero")
    assert bench.execute(run).status == "succeeded"
    with bench.home() as home:
        settled(home, run)
        reads = [entry.body for entry in home.store.entries(run=run, kinds={Kind.CHANGE_READ})]
    told = paper.additions(desk, "P1")
    assert told[0] == "link"
    assert "started" in told
    assert told[-2:] == ["ended", "result"]
    assert len(reads) == 2, "one reading before the approval and one behind it"
    assert f"https://m.example.org/runs/{run}" in str(paper.read(desk, "P1")["additions"][0])


def test_an_approver_nobody_knows_opens_nothing_and_is_named(bench: Bench, desk: Path) -> None:
    run, _ = bench.run(governed(bench, desk=desk))
    paper.decide(desk, "P1", "stranger")
    assert bench.execute(run).status == "waiting"
    assert "nobody is known behind 'stranger'" in standing_reasons(bench, run)


def standing_reasons(bench: Bench, run: str) -> str:
    """Give what speaks against a run's record, as its gate says it."""
    with bench.home() as home:
        plan, state = load_plan(home, run), load_state(home, run)
        node = plan.node("1")
        request = permits_of(home, plan, run, state.incident).request(node, state)  # type: ignore[arg-type]
        assert request.change is not None
        return "; ".join(request.change.reasons)


def test_a_system_that_is_down_keeps_the_gate_closed_and_says_since_when(bench: Bench, desk: Path) -> None:
    run, _ = bench.run(governed(bench, desk=desk))
    paper.decide(desk, "P1", "aromero")
    (desk / "weather").write_text("down " * 10)
    assert bench.execute(run).status == "waiting"
    said = standing_reasons(bench, run)
    assert "desk:P1 cannot be read since" in said
    assert "nobody is at the desk; it is asked again" in said
    (desk / "weather").write_text("")
    assert bench.execute(run).status == "succeeded"
    with bench.home() as home:
        problems = [e.body for e in home.store.entries(run=run, kinds={Kind.CHANGE_READ})]
    assert [bool(one.problem) for one in problems] == [False, True, False]  # type: ignore[union-attr]


def test_a_system_that_is_down_when_the_record_is_to_be_made_is_asked_again(bench: Bench, desk: Path) -> None:
    (desk / "weather").write_text("down")
    run, verdict = bench.run(governed(bench, desk=desk))
    assert verdict.status == "waiting"
    assert "is not there yet: nobody is at the desk; it is tried again" in standing_reasons(bench, run)
    with bench.home() as home:
        settled(home, run)
        assert not change_of(home.store, run).is_linked, "it rests first"
        settled(home, run, later=True)
        assert change_of(home.store, run).name == "desk:P1"


def test_a_lost_answer_makes_no_second_record(bench: Bench, desk: Path) -> None:
    (desk / "weather").write_text("fine lost")
    run, _ = bench.run(governed(bench, desk=desk))
    assert (desk / "P1.json").exists()
    with bench.home() as home:
        assert change_of(home.store, run).under_way[0].unknown
        settled(home, run, later=True)
        assert change_of(home.store, run).name == "desk:P1"
    assert not (desk / "P2.json").exists()
    assert paper.calls(desk).count("create") == 1


def test_a_record_that_was_made_before_a_crash_is_found_by_its_key(
    bench: Bench, desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Crash(BaseException):
        pass

    def crash(*_: object) -> bool:
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr("mimrun.app.change.making.settle", crash)
        with pytest.raises(Crash):
            bench.run(governed(bench, desk=desk))
    with bench.home() as home:
        (link,) = [one for one in [change_of(home.store, run_of(home))] if one.under_way]
        settled(home, link.run, later=True)
        assert change_of(home.store, link.run).name == "desk:P1"
    assert not (desk / "P2.json").exists()


def run_of(home: Home) -> str:
    return list_runs(home)[0].summary.run


def test_additions_come_once_whatever_the_weather(bench: Bench, desk: Path) -> None:
    run, _ = bench.run(governed(bench, desk=desk))
    paper.decide(desk, "P1", "aromero")
    assert bench.execute(run).status == "succeeded"
    (desk / "weather").write_text("lost down lost lost down fine lost")
    with bench.home() as home:
        for _ in range(12):
            settled(home, run, later=True)
        left = change_of(home.store, run)
    assert left.under_way == ()
    assert left.given_up == ()
    texts = [text for _, text in paper.read(desk, "P1")["additions"]]
    assert len(texts) == len(set(texts)) >= 4
    assert bench.is_intact()


def test_what_a_system_refuses_is_given_up_at_last_and_the_rest_is_written(bench: Bench, desk: Path) -> None:
    run, _ = bench.run(governed(bench, desk=desk))
    (desk / "weather").write_text("refused " * 5)
    with bench.home() as home:
        for _ in range(6):
            settled(home, run, later=True)
        left = change_of(home.store, run)
    assert [one.what for one in left.given_up] == ["link"]
    assert "this hand may not write here" in left.given_up[0].reason
    assert left.under_way == ()


def test_a_run_that_was_not_linked_to_anything_is_told_nowhere(bench: Bench) -> None:
    run, verdict = bench.run(a_plan(bench.world, action("1")))
    assert verdict.status == "succeeded"
    with bench.home() as home:
        assert write_due(home, changes_of(home).file()) == []
        assert change_of(home.store, run).run == ""


def test_only_a_record_that_is_there_and_may_allow_something_is_linked(bench: Bench, desk: Path) -> None:
    run, _ = bench.run(governed(bench, desk=desk))
    with bench.home() as home:
        with pytest.raises(InputError, match="there is no record P9"):
            find_record(home, "P9")
        with pytest.raises(InputError, match="the register has no change"):
            find_record(home, "register:CHG-9")
        paper.decide(desk, "P1", "aromero", "rejected", "no")
        with pytest.raises(InputError, match="allows nothing any more"):
            find_record(home, "desk:P1")
        (desk / "weather").write_text("down")
        found = find_record(home, "P1")
        assert "nobody has seen P1" in found.warning
        assert link_change(home, run, found, RESPONDER).name == "desk:P1"
