"""What came of alerts is told over the channels, once, and says what to type next."""

from __future__ import annotations

from builders.rules import WRITING, Alarm, an_alert, send

from mimrun.app.notice.event import Notice, NoticeEvent, notice_of
from mimrun.app.notice.text import TEXTS, facts_of
from mimrun.app.rule.heeding import Heeding
from mimrun.app.rule.proposals import list_proposals
from mimrun.runbook.expression import render


def told(alarm: Alarm, alerts: int = 1) -> list[Notice]:
    with alarm.home() as home:
        labels = [{"alertname": "Down", "cluster": f"c{number}"} for number in range(alerts)]
        send(home, *[an_alert(f"{number}", labels=one) for number, one in enumerate(labels)])
        Heeding(home).look()
        return [notice for entry in home.store.entries() if (notice := notice_of(entry)) is not None]


def said(notice: Notice, link: str = "") -> str:
    return str(render(TEXTS[notice.event], facts_of(notice, notice.event, link)))


def test_a_proposal_says_what_would_run_and_how_it_is_launched(alarm: Alarm) -> None:
    alarm.runbook("write", form=WRITING)
    alarm.rule(runbook="write", action="propose")
    (notice,) = told(alarm)
    with alarm.home() as home:
        (view,) = list_proposals(home)
    assert (notice.event, notice.incident) == (NoticeEvent.PROPOSED, view.incident)
    assert said(notice).splitlines()[-1] == f"Look at it and launch it: mimrun proposal take {view.name}"
    assert view.digest in said(notice)
    assert f"https://m.example.org/proposals/{view.name} or: " in said(notice, "https://m.example.org/")


def test_a_launch_and_a_failure_are_told_and_what_is_held_back_is_not(alarm: Alarm) -> None:
    alarm.rule()
    (notice,) = told(alarm)
    assert notice.event is NoticeEvent.RULE_FIRED
    assert notice.run
    assert said(notice).startswith("The rule down launched because of 1 alerts (cluster=c0).")
    assert said(notice).splitlines()[-1] == f"mimrun status {notice.run}"


def test_a_storm_is_told_once_with_how_it_ends(alarm: Alarm) -> None:
    alarm.rules("limits: {runs_per_runbook: 1, asks_per_hour: 2}\n", "limits.yaml")
    alarm.rule()
    notices = told(alarm, alerts=9)
    assert [notice.event.value for notice in notices] == ["rule_fired", "storm", "proposed", "proposed"]
    (storm,) = [notice for notice in notices if notice.event is NoticeEvent.STORM]
    assert "mimrun rule resume --reason WHY" in said(storm)
