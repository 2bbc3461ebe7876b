"""The page of alerts, and what rules made of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from builders.console import Browser, Element
from builders.runs import RESPONDER, Bench

from mimrun.app.alert.paging import PAGE, alerts_before
from mimrun.app.home import Home
from mimrun.app.incident.declaring import Declaration, declare
from mimrun.incident.alert import Alert, Severity, Status, alert_draft, alert_key
from mimrun.log.entry import Actor, Draft
from mimrun.log.kinds import RuleFired, StormBegan

DIGEST = "sha256:" + "0" * 64


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with Bench(tmp_path).home() as home:
        yield home


def send(
    home: Home, *titles: str, status: Status = "firing", severity: Severity = "critical", source: str = "prom"
) -> list[int]:
    """Record alerts; gives their entries."""
    drafts = [
        alert_draft(
            Alert(
                source=source,
                key=alert_key(source, [title, status]),
                fingerprint=title,
                status=status,
                severity=severity,
                title=title,
                raw_digest=DIGEST,
                value="97",
                labels={"job": title},
            ),
            Actor("system", f"alert:{source}", "web", "token"),
        )
        for title in titles
    ]
    return [entry.seq for entry in home.store.append(drafts)]


def rows(page: Element) -> list[Element]:
    return page.one("section", id="alerts").all("tr", data_row="")


def test_an_empty_list_teaches_how_alerts_come(home: Home) -> None:
    page = Browser(home).get("/alerts")
    assert "No alert has come yet." in page.text
    assert "/alerts/alertmanager" in page.text
    assert "mimrun alert send" in page.text


def test_the_newest_alert_comes_first(home: Home) -> None:
    send(home, "Disk full", "Latency")
    found = rows(Browser(home).get("/alerts"))
    assert [row.all("a")[0].text for row in found] == ["Latency", "Disk full"]
    assert "▲ firing" in found[0].text
    assert "nothing" in found[0].text


def test_alerts_are_chosen_by_how_they_stand(home: Home) -> None:
    send(home, "Disk full")
    send(home, "Latency", status="resolved")
    page = Browser(home).get("/alerts?status=resolved")
    assert [row.all("a")[0].text for row in rows(page)] == ["Latency"]
    assert "No alert is so." in Browser(home).get("/alerts?status=info").text


def test_what_a_rule_made_of_an_alert_stands_beside_it(home: Home) -> None:
    (seq,) = send(home, "Disk full")
    incident = declare(home, RESPONDER, Declaration("The disk is full"))
    fired = RuleFired(
        rule="disk",
        rules=DIGEST,
        episode="ep1",
        group="db1",
        outcome="proposed",
        proposal="prop-1",
        alerts=(seq,),
        count=1,
    )
    home.store.append([Draft(Actor("system", "rule:disk"), fired, inc=incident)])
    browser = Browser(home)
    (row,) = rows(browser.get("/alerts"))
    assert "proposed disk" in row.text
    assert row.one("a", href="/proposals/prop-1")
    assert row.one("a", href=f"/incidents/{incident}")
    page = browser.get(f"/incidents/{incident}")
    assert "Disk full" in page.one("aside").text
    assert '"job":"Disk full"' in browser.get(f"/log/{seq}").one("pre", aria_label="alert").text


def test_many_alerts_are_read_in_pages(home: Home) -> None:
    seqs = send(home, *(f"alert {number}" for number in range(PAGE + 5)))
    first = alerts_before(home)
    assert [one.seq for one, _ in first.alerts] == seqs[::-1][:PAGE]
    second = alerts_before(home, first.before)
    assert [one.seq for one, _ in second.alerts] == seqs[::-1][PAGE:]
    assert second.before == 0
    page = Browser(home).get("/alerts")
    (older,) = page.all("a", rel="next")
    assert len(rows(Browser(home).get(older.attributes["href"]))) == 5


def test_a_storm_is_said_loudly_and_ended_by_somebody_who_may(home: Home) -> None:
    incident = declare(home, RESPONDER, Declaration("A storm"))
    began = StormBegan(incident=incident, reason="21 runs in an hour")
    home.store.append([Draft(Actor("system", "rules"), began, inc=incident)])
    browser = Browser(home)
    assert "21 runs in an hour" in browser.get("/").text
    page = browser.get("/alerts")
    assert "A storm: rules only propose" in page.text
    page = browser.press(page, "Let rules launch again", reason="the switch is replaced")
    assert "Rules may launch again." in page.text
    assert "A storm" not in browser.get("/alerts").text


def test_rules_that_are_refused_are_said_loudly(home: Home) -> None:
    home.settings.rules.mkdir(exist_ok=True)
    (home.settings.rules / "disk.yaml").write_text("name: disk\nmatsch: {}\n")
    page = Browser(home).get("/alerts")
    assert "Rules are refused" in page.text
    assert "matsch" in page.text
