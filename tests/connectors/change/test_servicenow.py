"""ServiceNow: what its records mean, what is written back, and everything that must keep a gate closed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from builders.answering import Answer
from builders.servicenow import Instance, running
from pydantic import ValidationError

from connectors.change.servicenow import ServiceNow, ServiceNowSettings
from mimrun.change_system import (
    Addition,
    ChangeApproval,
    ChangeDraft,
    ChangeState,
    LostAnswer,
    Refused,
    Unreachable,
    Window,
)

DIGEST = "sha256:" + "ab" * 32
AT = datetime(2026, 11, 22, 3, 14, 15, tzinfo=UTC)


@pytest.fixture
def instance() -> Iterator[Instance]:
    with running() as found:
        yield found


@pytest.fixture
def now(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> Iterator[ServiceNow]:
    monkeypatch.setenv("SN_PASSWORD", "s3cr3t-word")
    system = ServiceNow("sn", settings(instance))
    yield system
    system.close()


def settings(instance: Instance, **more: Any) -> ServiceNowSettings:
    usual = {
        "url": instance.url,
        "user": "svc-mimrun",
        "password": "env:SN_PASSWORD",
        "assignment_group": "db",
    }
    return ServiceNowSettings(**{**usual, **more})


def draft(**more: Any) -> ChangeDraft:
    usual: dict[str, Any] = {
        "key": "run-7k2q gate 3",
        "type": "emergency",
        "title": "Promote the standby",
        "risk": "high",
        "justification": "the primary is gone",
        "plan": "1. promote",
        "backout": "rewind",
        "targets": ("db2",),
        "run": "run-7k2q",
        "digest": DIGEST,
        "requested_by": "responder",
        "incident": "INC-1",
    }
    return ChangeDraft(**{**usual, **more})


def test_an_approved_change_is_read_with_all_that_is_decided_from(
    instance: Instance, now: ServiceNow
) -> None:
    change = instance.change(
        start_date="2026-11-22 02:00:00",
        end_date="2026-11-22 06:00:00",
        requested_by=instance.user("responder"),
        correlation_id="mimrun:run-7k2q",
        correlation_display=DIGEST,
        backout_plan="rewind",
        short_description="Promote",
    )
    instance.affect(change, "db1", "db2")
    instance.approve(change, "alice", comments="go")
    instance.approve(change, "bob", "requested")
    record = now.read(change["number"])
    assert record.unreadable == {}
    assert (record.type, record.state, record.approval) == (
        "normal",
        ChangeState.SCHEDULED,
        ChangeApproval.APPROVED,
    )
    assert [(v.account, v.decision, v.reason) for v in record.votes] == [
        ("alice", "approved", "go"),
        ("bob", None, ""),
    ]
    assert record.window == Window(
        datetime(2026, 11, 22, 2, tzinfo=UTC), datetime(2026, 11, 22, 6, tzinfo=UTC)
    )
    assert record.targets == ("db1", "db2")
    assert (record.run, record.digest, record.requested_by) == ("run-7k2q", DIGEST, "responder")
    assert record.conflicts == ()
    assert record.conflicts_at is not None
    assert not record.retrospective


def test_a_search_that_says_conflict_and_names_none_found_none(instance: Instance, now: ServiceNow) -> None:
    change = instance.change()
    assert now.read(change["number"]).conflicts == ()
    instance.conflicts = [
        {
            "change": {"display_value": "CHG0030009", "value": "afbf"},
            "type": {"display_value": "Blackout", "value": "blackout"},
        }
    ]
    (conflict,) = now.read(change["number"]).conflicts
    assert (conflict.type, conflict.with_) == ("blackout", "CHG0030009")


@pytest.mark.parametrize(
    ("column", "value", "name"),
    [
        ("type", "major", "type"),
        ("state", "17", "state"),
        ("state", "", "state"),
        ("approval", "duplicate", "approval"),
        ("approval", "", "approval"),
        ("on_hold", "perhaps", "on_hold"),
        ("unauthorized", "perhaps", "retrospective"),
        ("start_date", "22.11.2026 03:00", "window"),
        ("end_date", "2026-11-22 06:00:00", "window"),
        ("correlation_display", "sha256:\u202eabc", "digest"),
        ("correlation_id", "mimrun:" + "x" * 300, "run"),
    ],
)
def test_a_column_that_cannot_be_read_is_named(
    instance: Instance, now: ServiceNow, column: str, value: str, name: str
) -> None:
    record = now.read(instance.change(**{column: value})["number"])
    assert name in record.unreadable


def test_an_approver_in_a_state_nobody_knows_makes_the_votes_unreadable(
    instance: Instance, now: ServiceNow
) -> None:
    change = instance.change()
    instance.approve(change, "alice")
    instance.approve(change, "bob", "delegated to a dog")
    assert "votes" in now.read(change["number"]).unreadable


def test_words_that_nobody_waits_for_are_no_votes(instance: Instance, now: ServiceNow) -> None:
    change = instance.change()
    for state in ("cancelled", "not_required", "duplicate", "not requested"):
        instance.approve(change, f"a-{state[:3]}", state)
    assert now.read(change["number"]).votes == ()


def test_a_number_of_the_other_interface_is_read_as_the_same(instance: Instance, now: ServiceNow) -> None:
    assert now.read(instance.change(state="-1.0")["number"]).state is ChangeState.IMPLEMENT


def test_states_of_ones_own_are_configured(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SN_PASSWORD", "s3cr3t-word")
    system = ServiceNow("sn", settings(instance, state_map={"17": "scheduled"}))
    assert system.read(instance.change(state="17")["number"]).state is ChangeState.SCHEDULED
    system.close()


def test_a_run_that_another_tool_wrote_is_not_ours(instance: Instance, now: ServiceNow) -> None:
    assert now.read(instance.change(correlation_id="jenkins-4711")["number"]).run == ""


def test_many_approvers_are_read_page_by_page(instance: Instance, now: ServiceNow) -> None:
    change = instance.change()
    for number in range(230):
        instance.approve(change, f"approver{number}")
    assert len(now.read(change["number"]).votes) == 230


def test_what_was_changed_after_it_was_approved_is_refused_where_the_instance_tells(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SN_PASSWORD", "s3cr3t-word")
    change = instance.change(correlation_display=DIGEST)
    vote = instance.approve(change, "alice")
    system = ServiceNow("sn", settings(instance, audit=True))
    assert "cannot be read" in system.read(change["number"]).unreadable["digest"]
    instance.hidden.clear()
    assert system.read(change["number"]).unreadable == {}
    vote["sys_updated_on"] = "2026-11-22 03:00:00"
    instance.insert(
        "sys_audit",
        {
            "documentkey": change["sys_id"],
            "fieldname": "correlation_display",
            "user": "mallory",
            "sys_created_on": "2026-11-22 03:00:01",
        },
    )
    assert "mallory changed" in system.read(change["number"]).unreadable["digest"]
    system.close()


def test_an_approval_of_which_nobody_knows_when_proves_nothing(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SN_PASSWORD", "s3cr3t-word")
    change = instance.change(correlation_display=DIGEST)
    instance.approve(change, "alice")["sys_updated_on"] = ""
    instance.hidden.clear()
    system = ServiceNow("sn", settings(instance, audit=True))
    assert "not known when" in system.read(change["number"]).unreadable["votes"]
    system.close()


def test_a_change_is_made_with_its_digest_and_asks_for_approval(instance: Instance, now: ServiceNow) -> None:
    ref = now.create(draft())
    (row,) = instance.tables["change_request"]
    assert (row["number"], row["state"], row["type"]) == (ref, "-3", "emergency")
    record = now.read(ref)
    assert (record.run, record.digest, record.targets) == ("run-7k2q", DIGEST, ("db2",))
    assert record.requested_by == "responder"
    assert now.find("run-7k2q gate 3") == ref
    assert now.find("run-7k2q gate 4") == ""


def test_fields_that_were_ignored_are_named(instance: Instance, now: ServiceNow) -> None:
    instance.read_only = {"correlation_display"}
    with pytest.raises(Refused, match="did not take correlation_display"):
        now.create(draft())
    assert now.find(draft().key) != "", "it is found and not made twice"


def test_a_state_that_cannot_be_reached_says_which_condition_fails(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SN_PASSWORD", "s3cr3t-word")
    system = ServiceNow("sn", settings(instance, assignment_group=""))
    with pytest.raises(Refused, match="Assignment group is filled"):
        system.create(draft())
    system.close()


def test_a_standard_change_is_not_made_from_here(now: ServiceNow) -> None:
    with pytest.raises(Refused, match="template"):
        now.create(draft(type="standard"))


def test_times_notes_and_the_end_are_written_once(instance: Instance, now: ServiceNow) -> None:
    change = instance.change()
    started = Addition(
        what="started", key="run-7k2q seq=9", text="Work began.", url="https://m/runs/1", at=AT
    )
    assert now.add(change["number"], started).already is False
    assert (change["work_start"], change["state"]) == ("2026-11-22 03:14:15", "-1")
    assert now.add(change["number"], started).already is True
    now.add(change["number"], Addition(what="ended", key="k2", text="Work ended.", at=AT))
    added = now.add(change["number"], Addition(what="close", key="k3", text="It worked.", successful=True))
    assert added.detail == ""
    assert (change["state"], change["close_code"], change["close_notes"]) == ("3", "successful", "It worked.")
    notes = [row["value"] for row in instance.tables["sys_journal_field"]]
    assert len(notes) == 3
    assert "https://m/runs/1" in notes[0]
    assert "[mimrun run-7k2q seq=9]" in notes[0]


def test_what_the_instance_did_not_take_is_said_and_the_note_is_written(
    instance: Instance, now: ServiceNow
) -> None:
    instance.read_only = {"work_start"}
    change = instance.change()
    added = now.add(change["number"], Addition(what="started", key="k", text="Work began.", at=AT))
    assert "work_start was not taken" in added.detail
    assert len(instance.tables["sys_journal_field"]) == 1


def test_a_rejected_change_is_read_as_rejected_with_the_reason(instance: Instance, now: ServiceNow) -> None:
    change = instance.change(state="-5", approval="rejected")
    instance.approve(change, "alice", "rejected", "not in the quarter's end")
    record = now.read(change["number"])
    assert record.approval is ChangeApproval.REJECTED
    assert record.votes[0].reason == "not in the quarter's end"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(503, {"error": "down"}), Unreachable),
        (Answer(200, body=b"<html>Sign in</html>"), Unreachable),
        (Answer(200, {"result": {"not": "a list"}}), Unreachable),
        (Answer(401, {"error": {"message": "User Not Authenticated"}}), Refused),
        (Answer(302, headers={"Location": "https://sso.example.org"}), Refused),
    ],
)
def test_an_outage_is_told_from_a_refusal(
    instance: Instance, now: ServiceNow, answer: Answer, error: type[Exception]
) -> None:
    instance.fault = answer
    with pytest.raises(error):
        now.read("CHG0030001")


def test_a_lost_answer_to_a_making_is_one(instance: Instance, now: ServiceNow) -> None:
    instance.fault = Answer(502, {"error": "gateway"})
    with pytest.raises(LostAnswer):
        now.create(draft())


@pytest.mark.parametrize("ref", ["CHG0030001^ORnumber=CHG2", "", "../x", "a b", "CHG*"])
def test_a_reference_cannot_be_a_query(now: ServiceNow, ref: str) -> None:
    with pytest.raises(Refused, match="is not the number of a change"):
        now.read(ref)


def test_a_change_that_is_not_there_is_said(now: ServiceNow) -> None:
    with pytest.raises(Refused, match="there is no change CHG9"):
        now.read("CHG9")


def test_no_approval_is_ever_given(instance: Instance, now: ServiceNow) -> None:
    ref = now.create(draft())
    now.add(ref, Addition(what="close", key="k", text="done"))
    assert instance.server is not None
    assert not [asked for asked in instance.server.seen if "approval" in asked.path and asked.method != "GET"]
    assert not [a for a in instance.server.seen if a.body and b'"approval"' in a.body]


@pytest.mark.parametrize(
    "wrong",
    [
        {"user": "", "password": ""},
        {"token": "env:T"},
        {"user": "u", "password": "", "token": "env:T"},
        {"state_map": {"17": "sideways"}},
        {"colour": "red"},
    ],
)
def test_settings_that_cannot_be_are_refused(instance: Instance, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        settings(instance, **wrong)
