"""Plain sentences: one for each kind of entry, with what things are called, and never broken by what somebody wrote."""

from __future__ import annotations

from dataclasses import replace

import pytest
from builders.every_kind import HOSTILE, entry_of

from mimrun.log.entry import Actor
from mimrun.log.export.plain import LENGTH, SENTENCES, plain_of
from mimrun.log.export.telling import TEACH, Names, span
from mimrun.log.kinds import GateRequested, Kind, RoleCount, StepOutcome, StepStarted


def test_every_kind_has_a_sentence() -> None:
    assert set(SENTENCES) == set(Kind)


@pytest.mark.parametrize("kind", list(Kind))
def test_a_sentence_begins_with_somebody_or_something_and_names_no_kind(kind: Kind) -> None:
    entry = replace(entry_of(kind), actor=Actor("person", "alex", "cli", "os-user"))
    text = plain_of(entry, Names())
    assert text
    assert text[0].isupper() or text.split()[0] in ("alex", "some", "run-7k2qd9xm")
    assert kind.value not in text
    assert "None" not in text
    assert "{" not in text


@pytest.mark.parametrize("kind", list(Kind))
def test_what_somebody_wrote_is_in_it_as_it_is_and_bounded(kind: Kind) -> None:
    text = plain_of(entry_of(kind, HOSTILE), Names(), "said " * 1000)
    assert len(text) == LENGTH
    assert text.endswith("…")


def test_steps_are_called_what_their_runbook_calls_them() -> None:
    names = Names()
    begun = entry_of(Kind.STEP_STARTED)
    body = StepStarted(name="Promote the standby", form="action", targets=("db2",), count=1)
    names.learn(replace(begun, body=body))
    done = StepOutcome(
        status="ok", changed=True, clean=True, unreachable=False, reason="", dur_ms=1200, intent=1
    )
    said = plain_of(replace(entry_of(Kind.STEP_OUTCOME), target="db2", body=done), names)
    assert said == "Step 3.block.1 (Promote the standby) on db2 is done (something changed, 1.2 s)"


def test_what_is_looked_at_for_a_step_is_called_after_it() -> None:
    names = Names()
    names.learn(
        replace(
            entry_of(Kind.STEP_STARTED), step="2", body=StepStarted(name="Restart", form="action", targets=())
        )
    )
    entry = replace(entry_of(Kind.STEP_PROBED), step="2.verify", target="db1")
    assert "the check of step 2 (Restart) on db1" in plain_of(entry, names)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"status": "failed"}, "failed half done after 500 ms: no space left"),
        ({"status": "failed", "clean": True}, "failed after 500 ms: no space left"),
        ({"status": "failed", "clean": True, "unreachable": True}, "could not be reached"),
        ({"status": "ok"}, "is done (nothing to change, 500 ms)"),
        ({"status": "unknown"}, "Nobody knows what became of step"),
        ({"status": "failed", "performed": False}, "was not begun"),
    ],
)
def test_an_outcome_says_how_bad_it_is(changes: dict[str, object], said: str) -> None:
    usual = {"changed": False, "clean": False, "unreachable": False, "dur_ms": 500, "intent": 1}
    body = StepOutcome.model_validate({**usual, "reason": "no space left", **changes})
    assert said in plain_of(replace(entry_of(Kind.STEP_OUTCOME), body=body), Names())


def test_a_gate_says_whom_it_asks_and_until_when() -> None:
    entry = entry_of(Kind.GATE_REQUESTED)
    assert isinstance(entry.body, GateRequested)
    needs = (RoleCount(role="change_manager", count=2),)
    asked = {"approvals": needs, "change": "emergency", "freeze_override": True, "title": "People agree"}
    body = entry.body.model_copy(update=asked)
    names = Names()
    names.learn(replace(entry, body=body))
    said = plain_of(replace(entry, body=body), names)
    assert (
        "(People agree) asks for 2 x change_manager, a change record (emergency), a freeze approver" in said
    )
    assert said.endswith("until 2026-11-22 03:00 UTC")


def test_rules_and_workers_are_called_what_they_are() -> None:
    created = replace(entry_of(Kind.RUN_CREATED), actor=Actor("system", "rule:disk-full", "engine", ""))
    assert plain_of(created, Names()).startswith("The rule disk-full launched")
    evidence = replace(entry_of(Kind.STEP_EVIDENCE), actor=Actor("worker", "host-7", "engine", "lease"))
    assert plain_of(evidence, Names()).startswith("The worker host-7, which had lost the run")


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "0 ms"),
        (999, "999 ms"),
        (1_000, "1.0 s"),
        (9_999, "10.0 s"),
        (12_400, "12 s"),
        (185_000, "3:05 min"),
        (3_723_000, "1:02:03 h"),
    ],
)
def test_how_long_something_took_is_said_as_people_say_it(milliseconds: int, text: str) -> None:
    assert span(milliseconds) == text


def test_the_kinds_that_teach_names_are_those_that_are_learnt_from() -> None:
    for kind in Kind:
        names = Names()
        names.learn(entry_of(kind))
        learnt = bool(names.runs or names.steps or names.actions)
        assert learnt == (kind in TEACH)
