"""What keeps rules from doing too much: pre-approval, freezes, breakers, locks, rates, storms, and races."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path

import pytest
from builders.rules import HEAD, WRITING, Alarm, an_alert, count, firings, outcomes, send
from builders.runs import ALEX, BILLIE, RESPONDER, person

from mimrun.app.change.records import find_change
from mimrun.app.change.register import decide_change
from mimrun.app.change.standard import Template, add_standard, revoke_standard
from mimrun.app.execution import execute_run
from mimrun.app.home import Home
from mimrun.app.incident.view import find_incident, list_incidents
from mimrun.app.plans import prepare_plan
from mimrun.app.rule.heeding import Heeding
from mimrun.app.rule.proposals import list_proposals
from mimrun.app.rule.resuming import resume_rules
from mimrun.app.runs import create_run, list_runs
from mimrun.errors import GateError, InputError, RefusedError
from mimrun.incident.alert import Alert
from mimrun.incident.storm import budget_in
from mimrun.log.entry import Draft
from mimrun.log.kinds import Kind, LockTaken
from mimrun.log.moment import utc_now

MINUTE = timedelta(minutes=1)
NO_STANDARD = "it changes something, and no valid standard change stands for it"


def cluster(name: str, **given: str) -> Alert:
    return an_alert(name, labels={"alertname": "Down", "cluster": name}, **given)


def pre_approve(home: Home, runbook: str = "write") -> str:
    """Have a runbook allowed beforehand, by somebody else than asked for it."""
    until = utc_now() + timedelta(days=30)
    ref = add_standard(home, BILLIE, Template(runbook, "all", until, "well understood"))
    decide_change(home, ref, ALEX, "approved")
    return ref


def test_a_pre_approved_runbook_is_launched_until_its_change_is_revoked(alarm: Alarm) -> None:
    alarm.runbook("write", form=WRITING)
    alarm.rule(runbook="write", cool_down="0s")
    alarm.rules("limits: {cool_down: 0s}\n", "limits.yaml")
    with alarm.home() as home:
        ref = pre_approve(home)
        send(home, cluster("orders"))
        Heeding(home).look()
        (run,) = list_runs(home)
        assert (run.summary.launched_by, outcomes(home)) == ("rule:down", [("cluster=orders", "launched")])
        revoke_standard(home, ref, BILLIE, "it failed twice")
        send(home, cluster("billing"))
        Heeding(home).look()
        assert firings(home)[-1].outcome == "proposed"
        assert firings(home)[-1].reason == NO_STANDARD


def test_another_content_of_the_runbook_is_not_pre_approved(alarm: Alarm) -> None:
    alarm.runbook("write", form=WRITING)
    alarm.rule(runbook="write")
    with alarm.home() as home:
        pre_approve(home)
        alarm.runbook("write", form=WRITING, version="1.0.1")
        send(home, cluster("orders"))
        Heeding(home).look()
        assert [(fired.outcome, fired.reason) for fired in firings(home)] == [("proposed", NO_STANDARD)]


INCLUDING = (
    HEAD
    + """\
owner: testers
risk: {risk}
inputs:
  cluster: {{type: string, pattern: "[a-z][a-z0-9-]{{0,30}}", help: Name of the pair}}
{more}steps:
  - name: Do as the other says
    block:
      - name: The other
        include: {{runbook: inner@1.0.0, inputs: {{cluster: "{{{{ cluster }}}}"}}}}
"""
)


@pytest.mark.parametrize(("edited", "outcome"), [("", "launched"), ("inner", "proposed")])
def test_another_content_of_what_a_runbook_includes_is_not_pre_approved_either(
    alarm: Alarm, edited: str, outcome: str
) -> None:
    inner = alarm.runbook("inner", form=WRITING)
    alarm.runbook("outer", form=INCLUDING)
    alarm.rule(runbook="outer")
    with alarm.home() as home:
        ref = pre_approve(home, "outer")
        assert "echo" in find_change(home, ref).text().implementation
        if edited:
            inner.write_text(inner.read_text().replace("echo", "rm -f marks; echo"))
        send(home, cluster("orders"))
        Heeding(home).look()
        assert [fired.outcome for fired in firings(home)] == [outcome]


@pytest.mark.parametrize(
    ("risk", "policy", "reason"),
    [
        ("high", "", "an alert may not launch a change of high risk"),
        ("low", "triggers: {launch: [read_only]}\n", "an alert may not launch a change of low risk"),
        ("medium", "triggers: {pre_authorised: []}\n", "an alert may not launch a change of medium risk"),
        ("low", "triggers: {lunch: []}\n", "nobody can say whether alerts may launch it"),
    ],
)
def test_what_the_policy_does_not_let_alerts_launch_is_proposed(
    alarm: Alarm, risk: str, policy: str, reason: str
) -> None:
    alarm.runbook("write", form=WRITING, risk=risk)
    alarm.rule(runbook="write")
    with alarm.home() as home:
        pre_approve(home)
        if policy:
            alarm.settings.policy.write_text(policy)
        send(home, cluster("orders"))
        Heeding(home).look()
        (fired,) = firings(home)
        assert fired.outcome == "proposed"
        assert fired.reason.startswith(reason)


def test_in_a_freeze_nothing_that_changes_is_launched(alarm: Alarm) -> None:
    alarm.runbook("write", form=WRITING)
    alarm.rule(runbook="write")
    now = utc_now()
    begins, ends = (f"{now + timedelta(hours=hours):%Y-%m-%d %H:%M}" for hours in (-1, 1))
    alarm.settings.calendars.mkdir()
    (alarm.settings.calendars / "end.yaml").write_text(
        f"name: Year end\ntimezone: UTC\nclosed:\n  - once: {{from: {begins}, to: {ends}}}\n    reason: year end\n"
    )
    with alarm.home() as home:
        pre_approve(home)
        send(home, cluster("orders"))
        Heeding(home).look()
        assert [fired.outcome for fired in firings(home)] == ["proposed"]
        assert "'Year end' is closed until" in firings(home)[0].reason


def test_a_runbook_that_failed_several_times_is_proposed(alarm: Alarm) -> None:
    alarm.runbook("look", version="2.0.0")
    path = alarm.library / "look@2.0.0.yaml"
    path.write_text(path.read_text().replace("cat, /etc/hostname", "'false'"))
    alarm.rule(cool_down="0s")
    alarm.rules("limits: {runs_per_runbook: 9}\n", "limits.yaml")
    with alarm.home() as home:
        for name in ("a", "b", "c"):
            send(home, cluster(name))
            Heeding(home).look()
            execute_run(alarm.settings, list_runs(home)[0].summary.run)
        send(home, cluster("d"))
        Heeding(home).look()
        assert [outcome for _, outcome in outcomes(home)] == ["launched"] * 3 + ["proposed"]
        assert "breaker" in firings(home)[-1].reason


def test_two_episodes_do_not_work_on_one_resource_at_a_time(alarm: Alarm) -> None:
    alarm.runbook("look", version="1.1.0", more='locks: ["the network"]\n')
    alarm.rule()
    alarm.rules("limits: {cool_down: 5m}\n", "limits.yaml")
    with alarm.home() as home:
        heeding = Heeding(home)
        send(home, cluster("orders"), cluster("billing"))
        heeding.look()
        (run,) = list_runs(home)
        assert outcomes(home) == [("cluster=orders", "launched"), ("cluster=billing", "held")]
        assert firings(home)[1].reason == (
            f"it waits: {run.summary.run}, which is created, is for the network as well"
        )
        execute_run(alarm.settings, run.summary.run)
        assert Heeding(home).look() == 0, "it rests for a while"
        alarm.later = 6 * MINUTE
        assert Heeding(home).look() == 1
        assert outcomes(home)[2:] == [("cluster=billing", "launched")]


def test_what_a_person_has_locked_is_waited_for(alarm: Alarm) -> None:
    alarm.runbook("look", version="1.1.0", more='locks: ["the network"]\n')
    alarm.runbook("wait", form=WRITING, more='locks: ["the network"]\n')
    alarm.rule()
    with alarm.home() as home:
        run = create_run(home, prepare_plan(home, "wait", ["cluster=orders"], []), RESPONDER)
        home.store.append(
            [Draft(RESPONDER.actor(), LockTaken(resource="the network", generation=1), run=run)]
        )
        send(home, cluster("orders"))
        Heeding(home).look()
        assert outcomes(home) == [("cluster=orders", "held")]
        assert run in firings(home)[0].reason


def test_a_rule_may_skip_instead(alarm: Alarm) -> None:
    alarm.runbook("look", version="1.1.0", more='locks: ["the network"]\n')
    alarm.rule(concurrency="skip")
    with alarm.home() as home:
        send(home, cluster("orders"), cluster("billing"))
        Heeding(home).look()
        assert outcomes(home) == [("cluster=orders", "launched"), ("cluster=billing", "notified")]
        assert firings(home)[1].reason.startswith("it is skipped: run-")


def test_a_run_that_goes_on_is_waited_for_by_the_next_episode_of_its_group(alarm: Alarm) -> None:
    alarm.rule(cool_down="0s")
    with alarm.home() as home:
        heeding = Heeding(home)
        for status in ("firing", "resolved", "firing"):
            send(home, cluster("orders", status=status))
            heeding.look()
        assert [outcome for _, outcome in outcomes(home)] == ["launched", "held"]
        execute_run(alarm.settings, list_runs(home)[0].summary.run)
        assert Heeding(home).look() == 1
        assert [outcome for _, outcome in outcomes(home)] == ["launched", "held", "launched"]


def test_one_run_too_many_of_a_runbook_begins_a_storm_with_one_parent_incident(alarm: Alarm) -> None:
    alarm.rule(incident="{impact: high, urgency: high}")
    with alarm.home() as home:
        heeding = Heeding(home)
        for name in "abcdef":
            send(home, cluster(name))
            heeding.look()
        assert [outcome for _, outcome in outcomes(home)] == ["launched"] * 3 + ["proposed"] * 3
        storm = budget_in(home.store)
        parent = find_incident(home, storm.incident)
        assert storm.reason == "3 runs of look were launched within the hour; 3 may be"
        assert parent.title == "A storm of alerts: rules launch nothing"
        assert len(parent.state.children) == 3
        assert count(home, Kind.STORM_BEGAN) == 1
        assert {view.incident for view in list_proposals(home)} == {storm.incident}
        assert len(list_incidents(home)) == 4


def test_so_many_runs_of_all_runbooks_are_launched_in_an_hour(alarm: Alarm) -> None:
    alarm.rules("limits: {runs_per_hour: 4, runs_per_runbook: 9}\n", "limits.yaml")
    alarm.rule()
    with alarm.home() as home:
        send(home, *[cluster(name) for name in "abcdef"])
        Heeding(home).look()
        assert [outcome for _, outcome in outcomes(home)] == ["launched"] * 4 + ["proposed"] * 2
        assert budget_in(home.store).reason == "4 runs were launched within the hour; 4 may be"


def test_after_an_hour_there_is_room_again(alarm: Alarm) -> None:
    alarm.rule()
    with alarm.home() as home:
        send(home, *[cluster(name) for name in "abc"])
        Heeding(home).look()
        alarm.later = 61 * MINUTE
        send(home, cluster("d"))
        Heeding(home).look()
        assert [outcome for _, outcome in outcomes(home)] == ["launched"] * 4


def test_people_are_not_asked_without_end_and_what_is_left_is_held_until_the_storm_is_over(
    alarm: Alarm,
) -> None:
    alarm.rules("limits: {asks_per_hour: 5}\n", "limits.yaml")
    alarm.rule(action="propose")
    with alarm.home() as home:
        heeding = Heeding(home)
        send(home, *[cluster(f"c{number}") for number in range(20)])
        heeding.look()
        assert [outcome for _, outcome in outcomes(home)] == ["proposed"] * 10 + ["held"] * 10
        assert count(home, Kind.STORM_BEGAN) == 1
        send(home, *[cluster(f"c{number}", status="resolved") for number in range(12, 20)])
        heeding.look()
        was = resume_rules(home, RESPONDER, "the network is back")
        assert was.incident
        assert Heeding(home).look() == 2, "of those that were held back two burn still"
        assert [outcome for _, outcome in outcomes(home)][20:] == ["proposed"] * 2


def test_who_ends_a_storm_has_a_role_and_a_reason(alarm: Alarm) -> None:
    alarm.rule()
    with alarm.home() as home:
        with pytest.raises(RefusedError, match="there is no storm"):
            resume_rules(home, RESPONDER, "why not")
        send(home, *[cluster(name) for name in "abcd"])
        Heeding(home).look()
        with pytest.raises(InputError, match="say why rules may launch again"):
            resume_rules(home, RESPONDER, "")
        with pytest.raises(GateError, match="stranger is not known"):
            resume_rules(home, person("stranger", "responder"), "it is over")
        resume_rules(home, ALEX, "it is over")
        send(home, cluster("e"))
        Heeding(home).look()
        assert outcomes(home)[-1] == ("cluster=e", "launched"), "what was launched before does not count"


def test_of_many_who_heed_the_same_alerts_each_episode_has_one_run(alarm: Alarm) -> None:
    alarm.rules("limits: {runs_per_hour: 100, runs_per_runbook: 100}\n", "limits.yaml")
    alarm.rule()
    names = [f"c{number}" for number in range(12)]
    ready, broken = threading.Barrier(4), list[BaseException]()

    def heed() -> None:
        try:
            with alarm.home() as home:
                heeding = Heeding(home)
                ready.wait(30)
                while {fired.group for fired in firings(home)} != {f"cluster={name}" for name in names}:
                    heeding.look()
        except BaseException as exc:
            broken.append(exc)
            raise

    threads = [threading.Thread(target=heed) for _ in range(3)]
    with alarm.home() as home:
        for thread in threads:
            thread.start()
        ready.wait(30)
        for name in names:
            send(home, cluster(name), cluster(name))
        for thread in threads:
            thread.join(60)
        assert not broken
        assert sorted(outcomes(home)) == sorted((f"cluster={name}", "launched") for name in names)
        assert len(list_runs(home)) == len(names)
        assert len(list_incidents(home)) == len(names)


def test_a_run_that_alerts_launched_stops_where_the_policy_does_not_let_them_any_more(alarm: Alarm) -> None:
    """The terms are asked for anew before every effect; a run of a rule is not a run of a person."""
    alarm.runbook("write", form=WRITING)
    alarm.rule(runbook="write")
    alarm.settings.policy.write_text("triggers: {launch: [read_only, low]}\n")
    marks = Path("marks")
    with alarm.home() as home:
        pre_approve(home)
        send(home, cluster("orders"))
        Heeding(home).look()
        (run,) = list_runs(home)
        assert run.summary.launched_by == "rule:down"
        alarm.settings.policy.write_text("triggers: {launch: [read_only], pre_authorised: []}\n")
        verdict = execute_run(alarm.settings, run.summary.run)
        assert verdict.status != "succeeded"
        assert "an alert may not launch" in verdict.detail
    assert not marks.exists()
