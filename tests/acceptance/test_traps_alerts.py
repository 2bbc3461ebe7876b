"""Traps that other executors fell into where alerts start something; the numbers are those of `test_traps.py`."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders.rules import WRITING, Alarm, an_alert, count, episodes, firings, outcomes, send
from builders.runs import RESPONDER, Bench

from mimrun.app.rule.heeding import Heeding
from mimrun.app.rule.proposals import find_proposal, list_proposals, proposal_plan, take_proposal
from mimrun.app.runs import list_runs, load_plan
from mimrun.errors import LockError, RefusedError
from mimrun.log.entry import Draft
from mimrun.log.kinds import Kind, LockTaken


@pytest.fixture
def alarm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Alarm:
    alarm = Alarm(Bench(tmp_path))
    monkeypatch.setenv("MIMRUN_RUNBOOKS", str(alarm.library))
    return alarm


def test_trap_04_no_rule_lets_two_runs_work_on_one_resource_at_once(alarm: Alarm) -> None:
    """Neither by itself, nor by a proposal that somebody takes beside it."""
    alarm.runbook("look", version="1.1.0", more='locks: ["the network"]\n')
    alarm.rules(
        "rules:\n"
        "  - {name: a, title: A, match: {labels: {alertname: Down}}, action: launch, runbook: look, inputs: {cluster: a}}\n"
        "  - {name: b, title: B, match: {labels: {alertname: Down}}, action: launch, runbook: look, inputs: {cluster: b}}\n"
        "  - {name: c, title: C, match: {labels: {alertname: Down}}, action: propose, runbook: look, inputs: {cluster: c}}\n"
    )
    with alarm.home() as home:
        send(home, an_alert())
        Heeding(home).look()
        assert [fired.outcome for fired in firings(home)] == ["launched", "held", "proposed"]
        (view,) = list_proposals(home)
        run = list_runs(home)[0].summary.run
        home.store.append(
            [Draft(RESPONDER.actor(), LockTaken(resource="the network", generation=1), run=run)]
        )
        with pytest.raises(LockError, match="the network"):
            take_proposal(home, RESPONDER, view.name, view.digest)


def test_trap_08_a_proposal_is_taken_once_and_too_old_by_the_clock(alarm: Alarm) -> None:
    alarm.rule(action="propose", expires="1s")
    with alarm.home() as home:
        send(home, an_alert())
        Heeding(home).look()
        (view,) = list_proposals(home)
        alarm.later += alarm.later.resolution * 2_000_000
        assert find_proposal(home, view.name).state == "expired"
        with pytest.raises(RefusedError, match="could be taken until"):
            take_proposal(home, RESPONDER, view.name, view.digest)


def test_trap_12_what_waits_for_people_is_in_the_log_and_not_in_a_process(alarm: Alarm) -> None:
    alarm.runbook("write", form=WRITING)
    alarm.rule(runbook="write", for_="1m")
    with alarm.home() as home:
        send(home, an_alert())
        assert Heeding(home).look() == 0
    alarm.later += alarm.later.resolution * 61_000_000
    with alarm.home() as home:
        assert Heeding(home).look() == 1, "another process knows since when it burns"
    with alarm.home() as home:
        (view,) = list_proposals(home)
        assert proposal_plan(home, view.name).digest == view.digest


def test_trap_15_a_rule_a_source_and_a_runbook_that_are_broken_take_no_other_with_them(alarm: Alarm) -> None:
    alarm.rules("rules: [{name: good, title: Good, action: notify}]\n", "good.yaml")
    alarm.rule(name="gone", file="gone.yaml")
    with alarm.home() as home:
        heeding = Heeding(home)
        heeding.look()
        (alarm.library / "look@1.0.0.yaml").write_text("no runbook: [")
        alarm.rules("no rules: [", "broken.yaml")
        alarm.settings.alerts.write_text("sources: {prom: {kind: nothing}}\n")
        send(home, an_alert())
        Heeding(home).look()
        assert {(fired.rule, fired.outcome) for fired in firings(home)} == {
            ("good", "notified"),
            ("gone", "failed"),
        }


def test_trap_17_what_was_proposed_is_what_runs_whatever_is_edited_afterwards(alarm: Alarm) -> None:
    path = alarm.library / "look@1.0.0.yaml"
    alarm.rule(action="propose")
    with alarm.home() as home:
        send(home, an_alert())
        Heeding(home).look()
        (view,) = list_proposals(home)
        plan = proposal_plan(home, view.name)
        path.write_text(path.read_text().replace("1.0.0", "1.0.1").replace("/etc/hostname", "/etc/passwd"))
        run = take_proposal(home, RESPONDER, view.name, view.digest)
        assert load_plan(home, run) == plan
        alarm.rule(name="now", file="now.yaml")
        send(home, an_alert("2", labels={"alertname": "Down", "cluster": "billing"}))
        Heeding(home).look()
        assert "with other content" not in firings(home)[-1].reason
        versions = [view.version for view in list_proposals(home)]
        assert versions[-1] == "1.0.0"


def test_trap_18_a_rule_that_is_deleted_leaves_its_history(alarm: Alarm) -> None:
    path = alarm.rule()
    with alarm.home() as home:
        send(home, an_alert())
        Heeding(home).look()
        path.unlink()
        send(home, an_alert(status="resolved"))
        assert Heeding(home).look() == 0
        assert episodes(home)["down cluster=orders"].outcome == "launched"
        assert count(home, Kind.RULE_FIRED) == 1
        assert list_runs(home)[0].summary.launched_by == "rule:down"
        alarm.rule()
        assert Heeding(home).look() == 1, "it is over, and so it ends"
        assert outcomes(home) == [("cluster=orders", "launched")]
