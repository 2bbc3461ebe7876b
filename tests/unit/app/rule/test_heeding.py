"""Rules over a real log: what fires, once, with everything that belongs to it in one append."""

from __future__ import annotations

from datetime import timedelta

import pytest
from builders.rules import SOURCES, WRITING, Alarm, an_alert, count, episodes, firings, moment, outcomes, send
from builders.runs import ALEX, RESPONDER

from mimrun.app.home import Home
from mimrun.app.incident.view import find_incident, list_incidents
from mimrun.app.incident.working import close, resolve
from mimrun.app.killswitch import lift, pull
from mimrun.app.rule.heeding import Heeding, seq_before
from mimrun.app.rule.proposals import dismiss_proposal, list_proposals, proposal_plan, take_proposal
from mimrun.app.runs import list_runs, load_plan
from mimrun.log.kinds import Kind
from mimrun.log.moment import utc_now

MINUTE = timedelta(minutes=1)


def test_an_alert_launches_a_runbook_that_only_reads_in_an_incident_of_its_own(alarm: Alarm) -> None:
    alarm.rule(incident="{title: Primary down, impact: high, urgency: high, services: [orders]}")
    with alarm.home() as home:
        heeding = Heeding(home)
        heeding.look()
        (seq,) = send(home, an_alert())
        assert heeding.look() == 1
        (run,) = list_runs(home)
        assert (run.summary.launched_by, run.summary.title) == ("rule:down", "Test look")
        assert load_plan(home, run.summary.run).inputs == {"cluster": "orders"}
        incident = find_incident(home, run.summary.incident)
        assert incident.title == "Primary down (cluster=orders)"
        assert (incident.state.impact, incident.state.urgency, incident.state.services) == (
            "high",
            "high",
            ("orders",),
        )
        (fired,) = home.store.entries(kinds={Kind.RULE_FIRED})
        assert (fired.inc, fired.run) == (run.summary.incident, run.summary.run)
        assert (fired.actor.kind, fired.actor.id) == ("system", "rule:down")
        assert firings(home)[0].alerts == (seq,)
        recorded = Kind.RULES_RECORDED
        kinds = [entry.kind.value for entry in home.store.entries(after=seq) if entry.kind is not recorded]
        assert kinds == [
            "incident.opened",
            "incident.assessed",
            "plan.frozen",
            "run.created",
            "rule.fired",
        ]


def test_the_same_again_and_more_of_the_group_launch_nothing_more(alarm: Alarm) -> None:
    alarm.rule()
    with alarm.home() as home:
        heeding = Heeding(home)
        send(home, an_alert("1"))
        heeding.look()
        for name in ("1", "2", "3"):
            send(home, an_alert(name))
            heeding.look()
        send(home, an_alert("1", "resolved"))
        heeding.look()
        assert outcomes(home) == [("cluster=orders", "launched")]
        send(home, an_alert("2", "resolved"), an_alert("3", "resolved"))
        heeding.look()
        assert count(home, Kind.RULE_ENDED) == 1
        assert len(list_runs(home)) == 1


def test_a_clock_that_was_set_back_keeps_no_rule_from_firing(alarm: Alarm) -> None:
    alarm.rule()
    alarm.later = -timedelta(hours=5)
    with alarm.home() as home:
        send(home, an_alert())
        Heeding(home).look()
        assert outcomes(home) == [("cluster=orders", "launched")]


def test_a_proposal_that_nobody_took_in_time_is_made_anew_while_it_burns(alarm: Alarm) -> None:
    alarm.rule(action="propose", expires="30m")
    with alarm.home() as home:
        heeding = Heeding(home)
        send(home, an_alert())
        heeding.look()
        (first,) = list_proposals(home)
        alarm.later = 29 * MINUTE
        assert (heeding.look(), Heeding(home).look()) == (0, 0)
        alarm.later = 31 * MINUTE
        assert heeding.look() == 1
        assert Heeding(home).look() == 0
        second, before = list_proposals(home)
        assert (second.state, second.burns, before.name, before.state) == (
            "open",
            True,
            first.name,
            "expired",
        )
        assert (second.incident, second.said.episode) == (first.incident, first.said.episode)
        assert firings(home)[1].reason == f"nobody took {first.name} in time, and it still burns"
        take_proposal(home, ALEX, second.name, second.digest)
        alarm.later = 120 * MINUTE
        assert (heeding.look(), Heeding(home).look()) == (0, 0)
        assert len(list_runs(home)) == 1


@pytest.mark.parametrize("seen_to", ["dismissed", "resolved", "over"])
def test_what_somebody_has_seen_to_is_not_proposed_anew(alarm: Alarm, seen_to: str) -> None:
    alarm.rule(action="propose")
    with alarm.home() as home:
        heeding = Heeding(home)
        send(home, an_alert())
        heeding.look()
        (proposal,) = list_proposals(home)
        if seen_to == "dismissed":
            dismiss_proposal(home, RESPONDER, proposal.name, "a drill")
        elif seen_to == "resolved":
            resolve(home, RESPONDER, proposal.incident, "no_fault")
        else:
            send(home, an_alert(status="resolved"))
        alarm.later = 61 * MINUTE
        heeding.look()
        Heeding(home).look()
        assert len(list_proposals(home)) == 1


def test_nothing_is_proposed_anew_while_the_kill_switch_is_pulled(alarm: Alarm) -> None:
    alarm.rule(action="propose", expires="30m")
    with alarm.home() as home:
        heeding = Heeding(home)
        send(home, an_alert())
        heeding.look()
        pull(home.settings, RESPONDER, "all of it stops")
        alarm.later = 31 * MINUTE
        heeding.look()
        Heeding(home).look()
        assert outcomes(home) == [("cluster=orders", "proposed")]


def test_asking_anew_begins_no_storm_and_leaves_room_for_what_is_new(alarm: Alarm) -> None:
    alarm.rule(action="propose", expires="30m")
    alarm.rules("limits: {asks_per_hour: 4}\n", "limits.yaml")
    with alarm.home() as home:
        heeding = Heeding(home)
        for name in ("a", "b", "c"):
            send(home, an_alert(name, labels={"alertname": "Down", "cluster": name}))
        heeding.look()
        alarm.later = 31 * MINUTE
        heeding.look()
        assert (len(list_proposals(home)), count(home, Kind.STORM_BEGAN)) == (3, 0)
        alarm.rules("limits: {asks_per_hour: 8}\n", "limits.yaml")
        Heeding(home).look()
        assert (len(list_proposals(home)), count(home, Kind.STORM_BEGAN)) == (4, 0)


def test_what_was_proposed_is_not_launched_later(alarm: Alarm) -> None:
    alarm.rule(action="launch", expires="30m")
    with alarm.home() as home:
        heeding = Heeding(home)
        send(home, an_alert(source="quiet"))
        heeding.look()
        alarm.settings.alerts.write_text(SOURCES.replace("QUIET_TOKEN}", "QUIET_TOKEN, may_launch: true}"))
        alarm.later = 31 * MINUTE
        Heeding(home).look()
        assert [fired.outcome for fired in firings(home)] == ["proposed", "proposed"]


def test_each_group_is_an_episode(alarm: Alarm) -> None:
    alarm.rule()
    with alarm.home() as home:
        for cluster in ("orders", "billing", "orders"):
            labels = {"alertname": "Down", "cluster": cluster}
            send(home, an_alert(cluster, labels=labels))
        Heeding(home).look()
        assert outcomes(home) == [("cluster=orders", "launched"), ("cluster=billing", "launched")]


def test_after_a_restart_nothing_is_done_twice(alarm: Alarm) -> None:
    alarm.rule()
    with alarm.home() as home:
        send(home, an_alert())
        assert [Heeding(home).look() for _ in range(3)] == [1, 0, 0]
        # The next worker finds out that it is over, although it never saw it burn.
        send(home, an_alert(status="resolved"))
        assert [Heeding(home).look() for _ in range(2)] == [1, 0]
        assert not episodes(home)["down cluster=orders"].goes_on


def test_an_alert_that_is_over_when_it_is_heeded_launches_nothing(alarm: Alarm) -> None:
    alarm.rule()
    with alarm.home() as home:
        at = moment(-10)
        send(home, an_alert(starts_at=at), an_alert(status="resolved", starts_at=at))
        # They overtook each other on their way.
        late = moment(-20)
        send(home, an_alert("2", "resolved", starts_at=late), an_alert("2", starts_at=late))
        assert Heeding(home).look() == 0
        assert not firings(home)


def test_what_may_not_be_launched_is_proposed_with_the_reason(alarm: Alarm) -> None:
    alarm.runbook("write", form=WRITING)
    alarm.rule(runbook="write")
    with alarm.home() as home:
        send(home, an_alert())
        Heeding(home).look()
        (view,) = list_proposals(home)
        assert (view.state, view.rule, view.runbook, view.burns) == ("open", "down", "write", True)
        assert view.said.reason == "it changes something, and no valid standard change stands for it"
        assert find_incident(home, view.incident).title == "It is down (cluster=orders)"
        assert proposal_plan(home, view.name).inputs == {"cluster": "orders"}
        assert not list_runs(home)


@pytest.mark.parametrize(
    ("alert", "reason"),
    [
        ({"auth": "none"}, "nobody has proven that prom sent it (none)"),
        ({"auth": "person"}, "nobody has proven that prom sent it (person)"),
        ({"source": "quiet"}, "quiet may not launch anything: alerts.yaml does not say `may_launch: true`"),
        ({"source": "gone"}, "gone may not launch anything: alerts.yaml does not say `may_launch: true`"),
        ({"severity": "unknown"}, "its severity is not known"),
    ],
)
def test_who_may_not_launch_proposes(alarm: Alarm, alert: dict[str, str], reason: str) -> None:
    alarm.rule()
    with alarm.home() as home:
        send(home, an_alert(**alert))
        Heeding(home).look()
        assert [(fired.outcome, fired.reason) for fired in firings(home)] == [("proposed", reason)]


def test_a_stranger_who_joins_in_does_not_keep_a_run_from_being_launched(alarm: Alarm) -> None:
    """What is proven alone is enough; a forged alert beside it neither launches nor prevents."""
    alarm.rule()
    with alarm.home() as home:
        send(home, an_alert("1", auth="none"), an_alert("2"))
        Heeding(home).look()
        assert outcomes(home) == [("cluster=orders", "launched")]


def test_a_stranger_does_not_make_up_the_number(alarm: Alarm) -> None:
    alarm.rule(count="{at_least: 2, within: 10m}")
    with alarm.home() as home:
        send(home, an_alert("1", auth="none"), an_alert("2"))
        Heeding(home).look()
        assert outcomes(home) == [("cluster=orders", "proposed")]


def test_a_label_that_the_runbook_does_not_allow_is_a_failure_that_people_see(alarm: Alarm) -> None:
    alarm.rule()
    with alarm.home() as home:
        hostile = "x; {{ 7*7 }} $(reboot)"
        send(home, an_alert(labels={"alertname": "Down", "cluster": hostile}))
        Heeding(home).look()
        (fired,) = firings(home)
        assert fired.outcome == "failed"
        assert "cluster: 'x; {{ 7*7 }} $(reboot)' does not fit the pattern" in fired.reason
        (incident,) = list_incidents(home)
        assert incident.title == 'It is down (cluster="x; {{ 7*7 }} $(reboot)")'
        assert not list_runs(home)


def test_what_an_alert_says_is_data_to_the_last(alarm: Alarm) -> None:
    """Where the runbook allows any text, it is that text: not rendered, not split, not a file, not a secret."""
    more = "  note: {type: string}\n"
    alarm.runbook("look", version="2.0.0", more=more)
    path = alarm.library / "look@2.0.0.yaml"
    path.write_text(path.read_text().replace("cat, /etc/hostname", 'echo, "{{ note }}"'))
    alarm.rule(inputs="{cluster: orders, note: {label: note}}", group_by="[note]")
    hostile = ["{{ 7*7 }}", "@/etc/passwd", "a=b; $(reboot)", "env:HOME", "<b>\n&amp;", "[1, 2]", '{"a": 1}']
    alarm.rules("limits: {runs_per_runbook: 20}\n", "limits.yaml")
    with alarm.home() as home:
        for number, text in enumerate(hostile):
            send(home, an_alert(str(number), labels={"alertname": "Down", "note": text}))
        Heeding(home).look()
        assert [fired.outcome for fired in firings(home)] == ["launched"] * len(hostile)
        plans = [load_plan(home, run.summary.run) for run in reversed(list_runs(home))]
        assert [plan.inputs["note"] for plan in plans] == hostile
        assert [plan.nodes[0].targets[0].calls[0].args["argv"] for plan in plans] == [  # type: ignore[union-attr]
            ["echo", text] for text in hostile
        ]


def test_a_mistake_in_one_rule_does_not_silence_the_others(
    alarm: Alarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mimrun.app.rule import planning  # noqa: PLC0415 - to break it

    alarm.rules(
        "rules:\n"
        "  - {name: bad, title: Bad, action: propose, runbook: look, inputs: {cluster: orders}}\n"
        "  - {name: good, title: Good, action: notify}\n"
    )

    def broken(*_: object) -> object:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(planning, "prepare_plan", broken)
    with alarm.home() as home:
        send(home, an_alert())
        Heeding(home).look()
        assert [(fired.rule, fired.outcome, fired.reason) for fired in firings(home)] == [
            ("bad", "failed", "the plan cannot be made: RuntimeError('a mistake')"),
            ("good", "notified", ""),
        ]


def test_a_surge_of_tickets_proposes_and_executes_nothing(alarm: Alarm) -> None:
    """Tickets of different people about one service within a while; a desk is no monitoring system that may launch."""
    alarm.runbook("write", form=WRITING)
    alarm.rule(
        match="{labels: {kind: ticket}}",
        count="{at_least: 3, within: 10m, distinct_by: [reporter]}",
        group_by="[alert.service]",
        ends_after="30m",
        runbook="write",
        inputs="{cluster: orders}",
    )
    with alarm.home() as home:
        heeding = Heeding(home)
        for number, reporter in enumerate(["ann", "ann", "ann", "bob"]):
            labels = {"kind": "ticket", "reporter": reporter}
            send(home, an_alert(f"T{number}", source="quiet", service="shop", labels=labels))
            assert heeding.look() == 0, "three tickets of one person are no surge"
        send(
            home, an_alert("T9", source="quiet", service="shop", labels={"kind": "ticket", "reporter": "cyd"})
        )
        assert heeding.look() == 1
        assert outcomes(home) == [("alert.service=shop", "proposed")]
        assert not list_runs(home)


def test_a_rule_that_only_notifies_opens_no_incident_unless_it_names_one(alarm: Alarm) -> None:
    alarm.rules(
        "rules:\n"
        "  - {name: quiet, title: Quiet, action: notify}\n"
        "  - {name: loud, title: Loud, action: notify, incident: {impact: low, urgency: low}}\n"
    )
    with alarm.home() as home:
        send(home, an_alert())
        Heeding(home).look()
        assert outcomes(home) == [("all", "notified"), ("all", "notified")]
        assert [one.title for one in list_incidents(home)] == ["Loud"]


def test_the_next_episode_of_a_group_belongs_to_its_incident_while_that_is_open(alarm: Alarm) -> None:
    alarm.rule(action="propose", cool_down="0s")

    def episode(home: Home) -> str:
        heeding = Heeding(home)
        send(home, an_alert())
        heeding.look()
        send(home, an_alert(status="resolved"))
        heeding.look()
        return list_proposals(home)[0].incident

    with alarm.home() as home:
        first, second = episode(home), episode(home)
        assert first == second
        resolve(home, RESPONDER, first, "no_fault")
        third = episode(home)
        assert third != first
        resolve(home, RESPONDER, third, "no_fault")
        dismiss_proposal(home, RESPONDER, "latest", "it got well by itself")
        close(home, RESPONDER, third)
        assert episode(home) not in (first, third)


def test_while_it_cools_down_a_group_waits_and_then_fires_if_it_still_burns(alarm: Alarm) -> None:
    alarm.rule(action="notify", runbook="", inputs="", cool_down="10m")
    with alarm.home() as home:
        heeding = Heeding(home)
        for status in ("firing", "resolved", "firing", "resolved", "firing"):
            send(home, an_alert(status=status))
            heeding.look()
        assert len(firings(home)) == 1
        alarm.later = 9 * MINUTE
        assert heeding.look() == 0
        alarm.later = 11 * MINUTE
        assert heeding.look() == 1
        assert len(firings(home)) == 2


def test_a_rule_waits_for_as_long_as_it_says(alarm: Alarm) -> None:
    alarm.rule(for_="5m")
    with alarm.home() as home:
        heeding = Heeding(home)
        send(home, an_alert())
        assert heeding.look() == 0
        alarm.later = 4 * MINUTE
        assert heeding.look() == 0
        alarm.later = 6 * MINUTE
        # Also a process that has just begun knows since when it burns.
        assert Heeding(home).look() == 1


def test_what_nobody_resolves_is_over_after_a_time(alarm: Alarm) -> None:
    alarm.rule(ends_after="1h")
    with alarm.home() as home:
        heeding = Heeding(home)
        send(home, an_alert())
        heeding.look()
        alarm.later = 61 * MINUTE
        assert heeding.look() == 1
        assert not episodes(home)["down cluster=orders"].goes_on
        assert heeding.look() == 0


def test_nothing_fires_while_the_kill_switch_is_pulled_and_then_what_still_burns(alarm: Alarm) -> None:
    alarm.rule()
    with alarm.home() as home:
        heeding = Heeding(home)
        pull(alarm.settings, RESPONDER, "stop")
        for cluster in ("orders", "billing"):
            send(home, an_alert(cluster, labels={"alertname": "Down", "cluster": cluster}))
        assert heeding.look() == 2
        assert outcomes(home) == [("cluster=orders", "held"), ("cluster=billing", "held")]
        assert "stop" in firings(home)[0].reason
        assert not list_runs(home)
        send(home, an_alert("billing", "resolved"))
        heeding.look()
        lift(home, RESPONDER, "go on")
        lift(home, ALEX, "go on")
        assert Heeding(home).look() == 1
        assert outcomes(home)[2:] == [("cluster=orders", "launched")]
        assert len({fired.episode for fired in firings(home)}) == 2
        assert len(list_runs(home)) == 1


def test_the_place_in_the_log_before_a_moment_is_found(alarm: Alarm) -> None:
    with alarm.home() as home:
        first = send(home, *[an_alert(str(n)) for n in range(5)])
        middle = utc_now()
        send(home, *[an_alert(str(n)) for n in range(5)])
        assert seq_before(home.store, middle) == first[-1]
        assert seq_before(home.store, middle - timedelta(days=1)) == 0
        assert seq_before(home.store, utc_now() + MINUTE) == home.store.head().size
