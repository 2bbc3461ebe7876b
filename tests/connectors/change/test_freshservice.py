"""Freshservice: what its changes mean, what is written back, and everything that must keep a gate closed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from builders.answering import Answer
from builders.freshservice import Account, running
from pydantic import ValidationError

from connectors.change.freshservice import Freshservice, FreshserviceSettings
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

DIGEST = "sha256:" + "cd" * 32
AT = datetime(2026, 11, 22, 3, 14, 15, tzinfo=UTC)


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    monkeypatch.setenv("FS_KEY", "k3y-word-9")
    with running() as found:
        yield found


def settings(account: Account, **more: Any) -> FreshserviceSettings:
    return FreshserviceSettings(**{"url": account.url, "api_key": "env:FS_KEY", "requester_id": 77, **more})


@pytest.fixture
def fresh(account: Account) -> Iterator[Freshservice]:
    system = Freshservice("fs", settings(account, approvers=[501, 502]))
    yield system
    system.close()


def draft(**more: Any) -> ChangeDraft:
    usual: dict[str, Any] = {
        "key": "run-7k2q gate 3",
        "type": "emergency",
        "title": "Promote the standby",
        "risk": "high",
        "justification": "the <primary> is gone",
        "plan": "1. promote",
        "backout": "rewind",
        "targets": ("db1", "db2"),
        "run": "run-7k2q",
        "digest": DIGEST,
        "window": Window(AT, AT.replace(hour=5)),
    }
    return ChangeDraft(**{**usual, **more})


def test_an_approved_change_is_read_with_all_that_is_decided_from(
    account: Account, fresh: Freshservice
) -> None:
    custom = {
        "mimrun_run": "run-7k2q",
        "mimrun_digest": DIGEST,
        "mimrun_targets": "db1\ndb2",
        "mimrun_key": None,
    }
    change = account.change(
        custom_fields=custom,
        planned_start_date="2026-11-22T02:00:00Z",
        planned_end_date="2026-11-22T07:00:00+01:00",
    )
    account.approve(change, 501, remark="go")
    account.approve(change, 502, "peer_responded")
    record = fresh.read(str(change["id"]))
    assert record.unreadable == {}
    assert (record.type, record.state, record.approval) == (
        "normal",
        ChangeState.SCHEDULED,
        ChangeApproval.APPROVED,
    )
    assert [(vote.account, vote.decision, vote.reason) for vote in record.votes] == [
        ("501", "approved", "go")
    ]
    assert record.window == Window(
        datetime(2026, 11, 22, 2, tzinfo=UTC), datetime(2026, 11, 22, 6, tzinfo=UTC)
    )
    assert (record.run, record.digest, record.targets) == ("run-7k2q", DIGEST, ("db1", "db2"))
    assert record.requested_by == "77"


@pytest.mark.parametrize(
    ("words", "approval"),
    [
        ([], ChangeApproval.NOT_REQUESTED),
        (["cancelled"], ChangeApproval.NOT_REQUESTED),
        (["requested"], ChangeApproval.REQUESTED),
        (["approved", "requested"], ChangeApproval.REQUESTED),
        (["approved", "approved"], ChangeApproval.APPROVED),
        (["approved", "rejected"], ChangeApproval.REJECTED),
        (["approved", "peer_responded"], ChangeApproval.APPROVED),
    ],
)
def test_the_approvals_alone_say_what_came_of_asking(
    account: Account, fresh: Freshservice, words: list[str], approval: ChangeApproval
) -> None:
    change = account.change(approval_status=1)
    for number, word in enumerate(words):
        account.approve(change, 500 + number, word)
    assert fresh.read(str(change["id"])).approval is approval


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"status": 9}, "state"),
        ({"status": None}, "state"),
        ({"change_type": 12}, "type"),
        ({"planned_start_date": "tomorrow", "planned_end_date": "2026-11-22T07:00:00Z"}, "window"),
        ({"planned_start_date": "2026-11-22T07:00:00Z"}, "window"),
        ({"planned_start_date": "2026-11-22T02:00:00", "planned_end_date": "2026-11-22T07:00:00"}, "window"),
        ({"custom_fields": {}}, "digest"),
        ({"custom_fields": {"mimrun_run": ["x"]}}, "run"),
        ({"requester_id": {"id": 7}}, "requested_by"),
    ],
)
def test_a_field_that_cannot_be_read_is_named(
    account: Account, fresh: Freshservice, fields: dict[str, Any], name: str
) -> None:
    assert name in fresh.read(str(account.change(**fields)["id"])).unreadable


def test_a_word_of_an_approver_that_nobody_knows_makes_the_votes_unreadable(
    account: Account, fresh: Freshservice
) -> None:
    change = account.change()
    account.approve(change, 501)
    account.approve(change, 502, "maybe")
    record = fresh.read(str(change["id"]))
    assert "votes" in record.unreadable
    assert record.approval is not ChangeApproval.APPROVED


def test_many_approvers_are_read_page_by_page(account: Account, fresh: Freshservice) -> None:
    change = account.change()
    for number in range(230):
        account.approve(change, 1000 + number)
    assert len(fresh.read(str(change["id"])).votes) == 230


def test_a_change_is_made_planned_and_its_approvers_asked(account: Account, fresh: Freshservice) -> None:
    ref = fresh.create(draft())
    row = account.changes[int(ref)]
    assert (row["change_type"], row["risk"], row["status"]) == (4, 3, 1)
    assert row["planning_fields"]["backout_plan"]["description"] == "rewind"
    assert "&lt;primary&gt;" in row["description"]
    record = fresh.read(ref)
    assert (record.run, record.digest, record.targets) == ("run-7k2q", DIGEST, ("db1", "db2"))
    assert record.window == Window(AT, AT.replace(hour=5))
    assert record.approval is ChangeApproval.REQUESTED
    assert fresh.find("run-7k2q gate 3") == ref
    assert fresh.find("run-7k2q gate 4") == ""


def test_fields_that_the_form_has_not_are_named(account: Account, fresh: Freshservice) -> None:
    account.columns.discard("mimrun_digest")
    with pytest.raises(Refused, match="did not keep mimrun_digest"):
        fresh.create(draft())


def test_too_many_requests_are_waited_for(account: Account, fresh: Freshservice) -> None:
    change = account.change()
    account.limits = 1
    assert fresh.read(str(change["id"])).ref == str(change["id"])


def test_notes_are_written_once_and_a_change_is_closed_with_what_its_form_needs(account: Account) -> None:
    account.columns.add("change_result_explanation")
    account.mandatory = {"change_result_explanation"}
    change = account.change()
    ref = str(change["id"])
    without = Freshservice("fs", settings(account))
    assert "missing_field" in without.add(ref, Addition(what="close", key="k1", text="It worked.")).detail
    without.close()
    system = Freshservice(
        "fs", settings(account, close_fields={"change_result_explanation": "see the notes"})
    )
    note = Addition(what="started", key="run-7k2q seq=9", text="Work <began>.", url="https://m/runs/1", at=AT)
    assert system.add(ref, note).already is False
    assert system.add(ref, note).already is True
    assert system.add(ref, Addition(what="close", key="k2", text="It worked.")).detail == ""
    system.close()
    assert change["status"] == 6
    bodies = [row["body"] for row in account.notes[change["id"]]]
    assert len(bodies) == 3
    assert "&lt;began&gt;" in bodies[1]
    assert "2026-11-22 03:14:15 UTC" in bodies[1]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(503, {"message": "down"}), Unreachable),
        (Answer(200, body=b"<html>Sign in</html>"), Unreachable),
        (Answer(200, {"change": []}), Unreachable),
        (Answer(401, {"message": "You have to be logged in"}), Refused),
        (Answer(404, body=b""), Refused),
        (Answer(429, {"message": "limit"}, headers={"Retry-After": "600"}), Unreachable),
    ],
)
def test_an_outage_is_told_from_a_refusal(
    account: Account, fresh: Freshservice, answer: Answer, error: type[Exception]
) -> None:
    account.fault = answer
    with pytest.raises(error):
        fresh.read("1001")


def test_a_lost_answer_to_a_making_is_one(account: Account, fresh: Freshservice) -> None:
    account.fault = Answer(502, {"message": "gateway"})
    with pytest.raises(LostAnswer):
        fresh.create(draft())


@pytest.mark.parametrize("ref", ["", "CHN-", "0", "1/approvals", "1?x=1", "../1", "CHN-1 2"])
def test_a_reference_is_a_number(fresh: Freshservice, ref: str) -> None:
    with pytest.raises(Refused, match="is not the number of a change"):
        fresh.read(ref)


def test_the_number_that_people_say_is_read_as_well(account: Account, fresh: Freshservice) -> None:
    change = account.change()
    assert fresh.read(f"CHN-{change['id']}").ref == str(change["id"])


def test_no_approval_is_ever_given(account: Account, fresh: Freshservice) -> None:
    ref = fresh.create(draft())
    fresh.add(ref, Addition(what="close", key="k", text="done"))
    assert account.server is not None
    asked = [a for a in account.server.seen if "approval" in a.path and a.method != "GET"]
    assert [a.path for a in asked] == [f"/api/v2/changes/{ref}/approval_groups"]


@pytest.mark.parametrize(
    "wrong", [{"requester_id": 0}, {"fields": {"rnu": "x"}}, {"fields": {"run": ""}}, {"approval": "nobody"}]
)
def test_settings_that_cannot_be_are_refused(account: Account, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        settings(account, **wrong)
