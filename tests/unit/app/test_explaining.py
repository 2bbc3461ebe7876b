"""Why a gate is closed, in words: the rule, what is missing, and who could."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from builders.plans import a_plan, action, at_risk, gate
from builders.runs import ALEX, RESPONDER, Bench, person

from mimrun.app.decisions import decide, pending_gate
from mimrun.app.explaining import Explanation, Wanted, explain_plan, explain_run, terms_words
from mimrun.app.priority import prioritize
from mimrun.app.runs import find_run
from mimrun.gate.terms import Terms
from mimrun.runbook.launch import with_launch_gate
from mimrun.runbook.model import Needed, OnTimeout, Risk
from mimrun.runbook.plan import Plan

PEOPLE = """\
people:
  responder: {roles: [responder], accounts: [root]}
  devon: {roles: [responder]}
  gone: {roles: [responder], active: false}
  alex: {roles: [change_manager, service_desk]}
  billie: {roles: [change_manager]}
  casey: {roles: [major_incident_manager]}
"""


@pytest.fixture
def governed(bench: Bench) -> Bench:
    bench.settings.people.write_text(PEOPLE)
    bench.settings.policy.write_text("expires: 20m\n")
    return bench


def a_change(bench: Bench, risk: Risk = Risk.LOW) -> Plan:
    return with_launch_gate(at_risk(a_plan(bench.world, action("1")), risk))


def explained(bench: Bench, plan: Plan, **wanted: str) -> Explanation:
    with bench.home() as home:
        return explain_plan(home, plan, Wanted(RESPONDER, **wanted))  # type: ignore[arg-type]  # a priority


def text(found: Explanation, about: str) -> str:
    return "\n".join(line.text for line in found.lines if line.about == about)


def test_who_would_launch_is_not_among_those_who_could_allow_it(governed: Bench) -> None:
    found = explained(governed, a_change(governed))
    assert found.who == (("responder", ("devon",)),)
    assert text(found, "asks") == (
        "1 responder; for 20m, then change_manager and major_incident_manager and executive are asked"
    )
    assert "matrix.low.other is not in" in text(found, "rule")


def test_a_priority_that_the_run_would_bring_counts(governed: Bench) -> None:
    found = explained(governed, a_change(governed), priority="P1")
    assert text(found, "asks") == "it asks for nothing, and opens by itself"
    assert found.who == ()


def test_a_role_that_nobody_else_has_is_told(governed: Bench) -> None:
    governed.settings.people.write_text("people:\n  responder: {roles: [responder]}\n")
    found = explained(governed, a_change(governed))
    assert "nobody is left who could; give somebody else the role responder in people.yaml" in text(
        found, "open"
    )


def test_a_plan_without_a_gate_says_why_it_has_none(bench: Bench) -> None:
    reading = a_plan(bench.world, action("1", "read"))
    assert "nothing is changed" in text(explained(bench, reading), "note")
    change = a_plan(bench.world, action("1"))
    assert "`mimrun policy init` writes one" in text(explained(bench, change), "note")
    bench.settings.policy.write_text("signed: false\n")
    assert "when there was no policy" in text(explained(bench, change), "note")


def test_without_a_policy_the_runbooks_own_gate_is_the_rule(bench: Bench) -> None:
    found = explained(bench, a_plan(bench.world, gate("1"), action("2")))
    assert "test@1.0.0, step 1: the runbook's own gate" in text(found, "rule")
    assert "only the gates that runbooks write count" in text(found, "rule")
    assert found.who == (("change_manager", ("alex", "billie")),)


def test_a_waiting_gate_says_what_is_missing_and_leaves_out_who_has_agreed(governed: Bench) -> None:
    plan = at_risk(a_plan(governed.world, gate("1", count=2), action("2")), Risk.LOW)
    run, verdict = governed.run(plan)
    assert verdict.exit_code == 3
    with governed.home() as home:
        before = explain_run(home, run)
        assert before.stands == "waiting"
        assert before.who == (("change_manager", ("alex", "billie")), ("responder", ("devon",)))
    governed.approve(run)
    with governed.home() as home:
        after = explain_run(home, run)
    assert dict(after.who)["change_manager"] == ("billie",)
    assert "1 change_manager" in text(after, "missing")


def test_a_rejected_run_says_that_it_is_over(governed: Bench) -> None:
    run, _ = governed.run(at_risk(a_plan(governed.world, gate("1"), action("2")), Risk.LOW))
    with governed.home() as home:
        pending = pending_gate(home, run)
        decide(home, pending, ALEX, "rejected", digest=pending.request.digest, reason="not now")
    governed.execute(run)
    with governed.home() as home:
        found = explain_run(home, run)
    assert found.stands == "closed"
    assert "is over" in text(found, "note")


def test_a_declared_priority_is_named_with_who_said_so(governed: Bench) -> None:
    run, _ = governed.run(at_risk(a_plan(governed.world, gate("1"), action("2")), Risk.LOW))
    with governed.home() as home:
        casey = person("casey", "major_incident_manager")
        incident = find_run(home, run).summary.incident
        prioritize(home, casey, incident, "P3", "a few customers")
        found = explain_run(home, run)
    assert f"{incident} is P3: casey, a few customers" in text(found, "rule")
    assert "nobody declared" not in text(found, "note")


def test_a_freeze_that_refuses_says_when_it_is_over(governed: Bench) -> None:
    now = datetime.now(UTC)
    governed.settings.calendars.mkdir()
    (governed.settings.calendars / "a.yaml").write_text(
        "name: Fair\ntimezone: UTC\nclosed:\n  - once:\n"
        f"      from: {now - timedelta(days=1):%Y-%m-%d %H:%M}\n      to: {now + timedelta(days=1):%Y-%m-%d %H:%M}\n"
    )
    found = explained(governed, a_change(governed, Risk.HIGH))
    assert "break-glass" in text(found, "open")
    assert f"or wait until the calendars are open, at {now + timedelta(days=1):%Y-%m-%d %H:%M} UTC" in text(
        found, "open"
    )
    assert "matrix.high.freeze" in text(found, "rule")
    assert "frozen until" in text(found, "rule")
    assert found.as_json()["stands"] == "not asked"


@pytest.mark.parametrize(
    ("asks", "words"),
    [
        (Terms(expires_ms=60_000), "nothing"),
        (Terms(expires_ms=60_000, refused="not now"), "nobody can allow it: not now"),
        (
            Terms(expires_ms=60_000, approvals=(Needed(role="a", count=2),), signed=True),
            "2 a, signed with their own keys; for 1m, then the run fails",
        ),
        (
            Terms(expires_ms=60_000, change="emergency", freeze_override=True, on_timeout=OnTimeout.UNDO),
            "1 freeze_approver (freeze override), an emergency change; for 1m, then the run fails, and what it did is taken back",
        ),
        (
            Terms(expires_ms=60_000, change="normal", on_timeout=OnTimeout.ESCALATE),
            "a normal change; for 1m, then they are asked",
        ),
    ],
)
def test_terms_are_told_on_one_line(asks: Terms, words: str) -> None:
    assert terms_words(asks) == words
