"""A proposal of a rule: why, exactly what would run, and one tap."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from builders.console import Browser, values_of
from builders.plans import a_plan, action
from builders.rules import an_alert
from builders.runs import Bench
from builders.world import words

from mimrun.app.execution import execute_run
from mimrun.app.home import Home
from mimrun.app.rule.drafts import proposal_draft, rule_actor
from mimrun.app.rule.proposals import find_proposal
from mimrun.app.runs import list_runs
from mimrun.incident.alert import alert_draft
from mimrun.log.entry import Actor, Draft
from mimrun.log.kinds import IncidentOpened, RuleFired
from mimrun.log.moment import utc_now

OTHER = "sha256:" + "1" * 64
INC = "INC-20261122-7K2Q"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def going(bench: Bench, home: Home, person: str = "responder") -> Browser:
    """Give a browser at a server that executes runs before it answers."""
    return Browser(home, person, start=lambda _, run: execute_run(bench.settings, run, catalog=bench.catalog))


def proposed(bench: Bench, home: Home, for_: timedelta = timedelta(hours=1)) -> str:
    """Record an alert, and what a rule records that proposes a plan for it."""
    alert = an_alert(title="<b>The primary</b> is down", value="12 > 3", labels={"cluster": "orders"})
    (entry,) = home.store.append([alert_draft(alert, Actor("system", "alert:prom", "web", "token"))])
    actor = rule_actor("primary-down")
    fired = RuleFired(
        rule="primary-down",
        rules=OTHER,
        episode="ep-1",
        group="cluster=orders",
        outcome="proposed",
        proposal="prop-1",
        alerts=(entry.seq,),
        count=1,
        reason="12 is above 3 for 2 minutes",
    )
    plan = a_plan(bench.world, action("1"))
    home.store.append(
        [
            Draft(actor, IncidentOpened(title="The primary is down"), inc=INC),
            Draft(actor, fired, inc=INC),
            proposal_draft("primary-down", "prop-1", plan, INC, utc_now() + for_),
        ]
    )
    return "prop-1"


def test_a_proposal_says_why_and_is_launched_with_one_tap(bench: Bench) -> None:
    with bench.home() as home:
        name, browser = proposed(bench, home), going(bench, home)
        page = browser.get(f"/proposals/{name}")
        text = page.one("main").text
        for said in (
            "primary-down",
            "cluster=orders",
            "12 is above 3",
            "<b>The primary</b> is down",
            "12 > 3",
        ):
            assert said in text, said
        assert "world.once word=w1" in text
        after = browser.press(page, "Launch exactly this")
        assert "succeeded" in after.one(id="run-head").text
        (view,) = list_runs(home)
        assert (view.summary.launched_by, view.summary.incident) == ("responder", INC)
        again = browser.press(page, "Launch exactly this")
        assert again.one("h1").text == after.one("h1").text
        sent = {**values_of(page.one("form", action=f"/proposals/{name}/take")), "once": "from another page"}
        assert "took it already" in browser.client.post(f"/proposals/{name}/take", data=sent).text
        assert len(list_runs(home)) == 1
        assert "launched it" in browser.get(f"/proposals/{name}").text
    assert words(bench.world) == ["a:w1"]


def test_what_waits_says_what_each_proposal_is_about(bench: Bench) -> None:
    with bench.home() as home:
        proposed(bench, home)
        page = Browser(home, "responder").get("/")
    assert "proposed by primary-down for cluster=orders" in page.one("main").text


def test_another_digest_launches_nothing(bench: Bench) -> None:
    with bench.home() as home:
        name, browser = proposed(bench, home), going(bench, home)
        for digest in (OTHER, ""):
            page = browser.post(f"/proposals/{name}/take", 409, digest=digest)
            assert "That is not what is proposed" in page.text
        assert list_runs(home) == []


def test_a_proposal_is_dismissed_with_a_reason(bench: Bench) -> None:
    with bench.home() as home:
        name, browser = proposed(bench, home), going(bench, home)
        page = browser.get(f"/proposals/{name}")
        assert "say why it is not launched" in browser.press(page, "Dismiss it", 400).text
        after = browser.press(page, "Dismiss it", reason="we do it by hand")
        assert "responder let it be" in after.text
        assert "we do it by hand" in after.text
        assert not [one for one in after.all("button") if one.text == "Launch exactly this"]
        assert find_proposal(home, name).state == "dismissed"


def test_one_whose_time_is_up_says_how_to_launch_it_yourself(bench: Bench) -> None:
    with bench.home() as home:
        name = proposed(bench, home, timedelta(seconds=-1))
        browser = going(bench, home)
        page = browser.get(f"/proposals/{name}")
        assert "Its time is up" in page.text
        digest = find_proposal(home, name).digest
        late = browser.post(f"/proposals/{name}/take", 409, digest=digest)
        assert "Refused; nothing was launched" in late.text
        assert "Its time is up" in late.text, "it is the page that was pressed on"
        assert list_runs(home) == []


def test_an_auditor_takes_nothing(bench: Bench) -> None:
    people = bench.settings.people
    people.write_text(people.read_text() + "  ada: {roles: [auditor]}\n")
    with bench.home() as home:
        name, browser = proposed(bench, home), going(bench, home, "ada")
        page = browser.get(f"/proposals/{name}")
        assert not [one for one in page.all("button") if one.text in ("Launch exactly this", "Dismiss it")]
        digest = find_proposal(home, name).digest
        assert browser.send(f"/proposals/{name}/take", digest=digest).status_code == 403
        assert browser.send(f"/proposals/{name}/dismiss", reason="x").status_code == 403
