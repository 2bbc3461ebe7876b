"""The page of a gate: exactly what would run is shown, and what was shown is what is agreed to."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from builders.console import Browser
from builders.plans import a_plan, action, call, gate
from builders.runs import Bench
from builders.who_may import FROZEN, NOTHING_FROZEN, ONE, PEOPLE, SIGNED
from builders.world import words
from pydantic import JsonValue

from mimrun.app.execution import execute_run
from mimrun.app.home import Home
from mimrun.runbook.launch import with_launch_gate
from mimrun.runbook.node import StepOptions


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def going(bench: Bench, home: Home, person: str) -> Browser:
    """Give a browser at a server that executes runs before it answers."""
    return Browser(home, person, start=lambda _, run: execute_run(bench.settings, run, catalog=bench.catalog))


def waiting(bench: Bench) -> str:
    """Give a run that waits at a gate."""
    plan = a_plan(
        bench.world,
        gate("1"),
        action("2", undo=call("once", word="back"), word="there", hosts=("a",)),
        action("3", word="for good", options=StepOptions(irreversible=True), hosts=("b",)),
        hosts=("a", "b"),
    )
    return bench.run(plan)[0]


def test_a_gate_shows_exactly_what_would_run_and_what_can_be_undone(bench: Bench) -> None:
    run = waiting(bench)
    with bench.home() as home:
        page = Browser(home).get(f"/runs/{run}/gate")
    text = page.one("main").text
    digest = bench.state(run).gates["1"].digest
    assert digest[7:] in text.replace(" ", "")
    assert "world.once word=there" in text
    assert "undo: world.once word=back" in text
    assert 'world.once word="for good"' in text
    assert "no way back behind it" in text
    facts = dict(zip([one.text for one in page.all("dt")], [one.text for one in page.all("dd")], strict=True))
    assert facts["Can be undone"] == "2 Step 2"
    assert facts["Cannot be undone"] == "3 Step 3"
    assert facts["Targets"] == "2: a, b"
    assert "1 change_manager" in facts["Needs"]


def test_where_nobody_can_be_reached_the_page_has_the_command_that_goes_past_the_gates(bench: Bench) -> None:
    inputs: dict[str, JsonValue] = {"word": "it's off", "times": 3, "pin": {"secret": "env:PIN"}}
    run, _ = bench.run(a_plan(bench.world, gate("1"), inputs=inputs))
    with bench.home() as home:
        launcher = Browser(home, "responder").get(f"/runs/{run}/gate")
        alex = Browser(home)
        decided = alex.press(alex.get(f"/runs/{run}/gate"), "Approve exactly this")
    commands = [one.text for one in launcher.one(id="decide").all("code", class_="command")]
    assert commands[0] == f'mimrun cancel {run} --reason "the glass is broken"'
    begin, _, end = commands[1].partition(" --incident ")
    assert shlex.split(begin)[:2] == ["mimrun", "run"]
    assert sorted(shlex.split(begin)[3:]) == ["pin=env:PIN", "times:=3", "word=it's off"]
    assert end.endswith('--break-glass "why it cannot wait"')
    assert "--break-glass" not in decided.text


def test_what_was_approved_runs_without_a_script(bench: Bench) -> None:
    run = waiting(bench)
    with bench.home() as home:
        alex = going(bench, home, "alex")
        page = alex.press(alex.get(f"/runs/{run}/gate"), "Approve exactly this", reason="it must be")
        assert "succeeded" in page.one(id="run-head").text
        told = [one.text for one in page.all("div", class_="notice")]
        assert any("Approved, as change_manager" in one for one in told), told
        votes = [entry for entry in home.store.entries(run=run) if entry.kind.value == "gate.decided"]
    assert [(one.actor.id, one.actor.via) for one in votes] == [("alex", "web")]
    assert words(bench.world) == ["a:there", "b:for"]


def test_a_word_on_another_digest_is_refused_and_what_is_asked_now_is_shown(bench: Bench) -> None:
    run = waiting(bench)
    with bench.home() as home:
        alex = going(bench, home, "alex")
        for digest in ("sha256:" + "0" * 64, "", bench.state(run).gates["1"].digest[:19]):
            page = alex.post(f"/runs/{run}/approve", 409, digest=digest)
            assert "What would run has changed since you looked" in page.text
    assert bench.state(run).gates["1"].votes == []
    assert words(bench.world) == []


def test_a_rejection_needs_a_reason_and_ends_the_run(bench: Bench) -> None:
    run = waiting(bench)
    with bench.home() as home:
        alex = going(bench, home, "alex")
        page = alex.get(f"/runs/{run}/gate")
        assert "say why you refuse it" in alex.press(page, "Reject it", 400).text
        page = alex.press(page, "Reject it", reason="the standby is two hours behind")
        assert "failed" in page.one(id="run-head").text
        assert "the standby is two hours behind" in page.text
    assert words(bench.world) == []


def test_who_asked_for_it_is_told_why_they_cannot_approve_and_refused_when_posting_anyway(
    bench: Bench,
) -> None:
    run = waiting(bench)
    digest = bench.state(run).gates["1"].digest
    with bench.home() as home:
        browser = going(bench, home, "responder")
        page = browser.get(f"/runs/{run}/gate")
        decide = page.one(id="decide").text
        assert "You cannot approve this" in decide
        assert "responder asked for or launched this run" in decide
        assert not [one for one in page.all("form") if one.attributes.get("action", "").endswith("/approve")]
        assert browser.send(f"/runs/{run}/approve", digest=digest).status_code == 403
        assert browser.send(f"/runs/{run}/reject", digest=digest, reason="no").status_code == 403
    assert bench.state(run).gates["1"].votes == []


def test_an_approval_is_taken_back_while_another_is_missing(bench: Bench) -> None:
    two = gate("1", count=2)
    run, _ = bench.run(a_plan(bench.world, two, action("2")))
    with bench.home() as home:
        alex = going(bench, home, "alex")
        page = alex.press(alex.get(f"/runs/{run}/gate"), "Approve exactly this")
        assert "1 change_manager" in page.one("main").text
        assert "approved by alex as change_manager" in page.text
        assert "has decided here already" in page.one(id="decide").text
        page = alex.press(page, "Take it back", reason="the standby has fallen behind")
        assert "withdrawn by alex" in page.text
    assert [vote.decision.value for vote in bench.state(run).gates["1"].votes] == ["approved", "withdrawn"]


def test_a_freeze_is_overridden_by_a_form_of_its_own(bench: Bench) -> None:
    bench.settings.people.write_text(PEOPLE)
    bench.settings.policy.write_text(ONE)
    bench.settings.calendars.mkdir()
    (bench.settings.calendars / "frozen.yaml").write_text(FROZEN)
    run, _ = bench.run(with_launch_gate(a_plan(bench.world, action("1"))))
    with bench.home() as home:
        page = Browser(home, "change_manager").get(f"/runs/{run}/gate")
        assert "frozen" in page.one("main").text
        assert "Allow it in the freeze" not in page.text
        freezer = going(bench, home, "freeze_approver")
        page = freezer.press(freezer.get(f"/runs/{run}/gate"), "Allow it in the freeze", reason="people wait")
        assert "freeze override approved by freeze_approver" in page.text
    votes = bench.state(run)
    gate_state = next(iter(votes.gates.values()))
    assert [vote.purpose for vote in gate_state.votes] == ["freeze_override"]


def test_where_only_signed_approvals_count_the_page_says_how(bench: Bench) -> None:
    bench.settings.people.write_text(PEOPLE)
    bench.settings.policy.write_text(SIGNED)
    run, _ = bench.run(with_launch_gate(a_plan(bench.world, action("1"))))
    with bench.home() as home:
        decide = Browser(home, "change_manager").get(f"/runs/{run}/gate").one(id="decide").text
    assert f"mimrun approve {run} --sign" in decide


def test_a_gate_that_was_passed_tells_who_agreed(bench: Bench) -> None:
    run = waiting(bench)
    bench.approve(run)
    bench.execute(run)
    with bench.home() as home:
        page = Browser(home).get(f"/runs/{run}/gate")
    assert "approved by alex as change_manager" in page.text
    assert "Nothing is left to decide" in page.one(id="decide").text
    assert "world.once word=there" in page.text


def test_a_page_hears_that_its_gate_has_changed(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, gate("1", count=2), action("2")))
    with bench.home() as home:
        browser = Browser(home, "billie")
        news = browser.get(f"/runs/{run}/gate").one(id="gate-news").attributes["hx-get"]
        assert browser.ask(news).status_code == 204
        bench.approve(run)
        assert "has changed since you loaded the page" in browser.ask(news).text


def test_a_run_without_a_gate_says_so(bench: Bench) -> None:
    bench.settings.people.write_text(PEOPLE)
    bench.settings.policy.write_text(NOTHING_FROZEN)
    run, _ = bench.run(a_plan(bench.world, action("1")))
    with bench.home() as home:
        assert "has come to no gate" in Browser(home, "responder").get(f"/runs/{run}/gate", 400).text
