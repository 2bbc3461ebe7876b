from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimrun.change_system import (
    ChangeApproval,
    ChangeRecord,
    ChangeState,
    ChangeVote,
    Conflict,
    Window,
)
from mimrun.gate.approval import Decision
from mimrun.gate.change import DECIDING, ChangeNeed, change_votes, check_change, refusal_of
from mimrun.gate.people import People, Person

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
SEGMENT = "sha256:" + "a" * 64
PLAN = "sha256:" + "b" * 64
RUNBOOK = "sha256:" + "c" * 64
OTHER = "sha256:" + "d" * 64
ACCOUNTS = {"asmith": "alex", "bdoe": "billie", "l1": "launcher", "svc": "asker"}


def person(id_: str, *accounts: str) -> Person:
    there = frozenset(("itsm", account) for account, owner in ACCOUNTS.items() if owner == id_)
    return Person(id_, id_, frozenset({"change_manager"}), frozenset(accounts), identities=there)


STAFF = (person("alex", "os-alex"), person("billie"), person("launcher", "os-l"), person("asker"))
PEOPLE = People({p.id: p for p in STAFF})


def need(**other: Any) -> ChangeNeed:
    given_: dict[str, Any] = {
        "kind": "normal",
        "run": "run-1",
        "digest": SEGMENT,
        "plan": PLAN,
        "runbook": RUNBOOK,
        "targets": frozenset({"db1", "db2"}),
        "excluded": frozenset({"launcher"}),
        "people": PEOPLE,
    }
    return ChangeNeed(**(given_ | other))


GOOD = ChangeRecord(
    system="itsm",
    ref="CHG0030001",
    type="normal",
    state=ChangeState.SCHEDULED,
    raw_state="-2",
    approval=ChangeApproval.APPROVED,
    votes=(ChangeVote("asmith", "approved", NOW - HOUR), ChangeVote("bdoe", None)),
    window=Window(NOW - HOUR, NOW + HOUR),
    conflicts_at=NOW - timedelta(minutes=5),
    targets=("db1", "db2", "db3"),
    requested_by="svc",
    run="run-1",
    digest=SEGMENT,
)
STANDARD = replace(
    GOOD, type="standard", digest=RUNBOOK, run="", votes=(), window=None, valid_until=NOW + 30 * 24 * HOUR
)

WRONG: list[tuple[str, dict[str, Any]]] = [
    ("type", {"type": "standard"}),
    ("type", {"type": "emergency"}),
    ("type", {"type": None}),
    ("state", {"state": None}),
    *(
        ("state", {"state": state})
        for state in ChangeState
        if state not in (ChangeState.SCHEDULED, ChangeState.IMPLEMENT)
    ),
    ("approval", {"approval": None}),
    *(("approval", {"approval": said}) for said in ChangeApproval if said is not ChangeApproval.APPROVED),
    ("votes", {"votes": ()}),
    ("votes", {"votes": (ChangeVote("asmith", None),)}),
    ("votes", {"votes": (ChangeVote("asmith", "approved"), ChangeVote("bdoe", "rejected", reason="no"))}),
    ("votes", {"votes": (ChangeVote("nobody", "approved"),)}),
    ("votes", {"votes": (ChangeVote("asmith", "approved"), ChangeVote("nobody", "approved"))}),
    ("votes", {"votes": (ChangeVote("l1", "approved"),)}),
    ("votes", {"votes": (ChangeVote("asmith", "approved", auth="claimed:os-l"),)}),
    ("votes", {"requested_by": "asmith"}),
    ("window", {"window": None}),
    ("window", {"window": Window(NOW + timedelta(seconds=1), NOW + HOUR)}),
    ("window", {"window": Window(NOW - HOUR, NOW - timedelta(seconds=1))}),
    ("on_hold", {"on_hold": True}),
    ("conflicts", {"conflicts": (Conflict("blackout", "CHG0030002"),)}),
    ("conflicts_at", {"conflicts_at": None}),
    ("conflicts_at", {"conflicts_at": NOW - timedelta(minutes=61)}),
    ("targets", {"targets": ("db1",)}),
    ("targets", {"targets": ()}),
    ("run", {"run": "run-2"}),
    ("run", {"run": "", "digest": ""}),
    ("digest", {"digest": OTHER}),
    ("digest", {"digest": RUNBOOK}),
    ("digest", {"digest": OTHER, "run": ""}),
    ("retrospective", {"retrospective": True}),
]


def test_a_record_that_says_everything_allows_it() -> None:
    assert check_change(GOOD, need(), NOW) == ()


@pytest.mark.parametrize(("field", "wrong"), WRONG)
def test_each_field_that_is_wrong_keeps_the_gate_closed_and_is_named(
    field: str, wrong: Mapping[str, Any]
) -> None:
    reasons = check_change(replace(GOOD, **wrong), need(), NOW)
    assert reasons
    assert all(len(reason) > 20 for reason in reasons)
    assert any(reason.startswith(field) for reason in reasons), reasons


@pytest.mark.parametrize("field", sorted(DECIDING | {"something_new"}))
def test_each_field_that_cannot_be_read_keeps_the_gate_closed_and_is_named(field: str) -> None:
    for record in (GOOD, STANDARD):
        kind = "standard" if record is STANDARD else "normal"
        unread = replace(record, unreadable={field: "the login may not read it"})
        reasons = check_change(unread, need(kind=kind), NOW)
        assert any(f"{field} could not be read: the login may not" in reason for reason in reasons)


def test_a_field_that_only_people_read_need_not_be_readable() -> None:
    assert check_change(replace(GOOD, unreadable={"url": "-", "backout": "-"}), need(), NOW) == ()


@pytest.mark.parametrize(
    "field", ["window", "on_hold", "conflicts", "conflicts_at", "targets", "requested_by", "run"]
)
def test_what_a_system_does_not_have_decides_nothing(field: str) -> None:
    empty: dict[str, Any] = {f.name: f.default for f in fields(ChangeRecord) if f.name == field}
    record = replace(GOOD, **empty, absent=frozenset({field}))
    assert check_change(record, need(), NOW) == ()


@pytest.mark.parametrize("field", ["type", "state", "approval", "votes"])
def test_a_system_without_what_decides_allows_nothing(field: str) -> None:
    reasons = check_change(replace(GOOD, absent=frozenset({field})), need(), NOW)
    assert any(reason.startswith(field) for reason in reasons)


def test_a_system_that_keeps_neither_run_nor_digest_allows_nothing() -> None:
    record = replace(GOOD, run="", digest="", absent=frozenset({"run", "digest"}))
    assert any(reason.startswith("run, digest") for reason in check_change(record, need(), NOW))


def test_a_record_may_name_the_plan_instead_of_the_run() -> None:
    assert check_change(replace(GOOD, run="", digest=PLAN), need(), NOW) == ()


def test_the_run_alone_does_not_help_where_other_steps_were_approved() -> None:
    assert any(
        "something else" in reason for reason in check_change(replace(GOOD, digest=OTHER), need(), NOW)
    )


def test_conflicts_may_be_answered_for_by_name() -> None:
    record = replace(GOOD, conflicts=(Conflict("blackout"),))
    assert check_change(record, need(overridden_by=("billie",)), NOW) == ()


@pytest.mark.parametrize(
    ("kind", "type_", "fits"),
    [
        ("emergency", "emergency", True),
        ("emergency", "normal", True),
        ("emergency", "standard", False),
        ("normal", "normal", True),
        ("normal", "emergency", False),
        ("standard", "normal", True),
        ("standard", "emergency", False),
    ],
)
def test_a_type_fits_or_asks_for_more(kind: str, type_: str, fits: bool) -> None:
    reasons = check_change(replace(GOOD, type=type_), need(kind=kind), NOW)  # type: ignore[arg-type]
    assert any(reason.startswith("type") for reason in reasons) != fits


def test_a_standard_change_allows_the_runbook_that_it_is_for() -> None:
    assert check_change(STANDARD, need(kind="standard"), NOW) == ()
    assert (
        check_change(replace(STANDARD, approval=ChangeApproval.NOT_REQUIRED), need(kind="standard"), NOW)
        == ()
    )


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("digest", {"digest": SEGMENT}),
        ("digest", {"digest": ""}),
        ("valid_until", {"valid_until": None}),
        ("valid_until", {"valid_until": NOW}),
        ("approval", {"approval": ChangeApproval.CANCELED}),
        ("state", {"state": ChangeState.CANCELED}),
        ("targets", {"targets": ("db1",)}),
        ("window", {"window": Window(NOW - 2 * HOUR, NOW - HOUR)}),
    ],
)
def test_a_standard_change_that_is_void_allows_nothing(field: str, wrong: Mapping[str, Any]) -> None:
    reasons = check_change(replace(STANDARD, **wrong), need(kind="standard"), NOW)
    assert [reason.split(" ")[0].rstrip(":,") for reason in reasons] == [field]


def test_approvals_given_there_are_votes_of_the_persons_behind_the_accounts() -> None:
    record = replace(GOOD, votes=(*GOOD.votes, ChangeVote("nobody", "approved")))
    (vote,) = change_votes(record, need(), NOW)
    assert (vote.person, vote.decision, vote.digest, vote.auth) == (
        "alex",
        Decision.APPROVED,
        SEGMENT,
        "change:itsm",
    )


def test_approvals_of_something_else_are_no_votes() -> None:
    for wrong in ({"digest": OTHER}, {"run": "run-2"}, {"run": "", "digest": ""}):
        assert change_votes(replace(GOOD, **wrong), need(), NOW) == ()  # type: ignore[arg-type]
    assert change_votes(STANDARD, need(kind="standard"), NOW) == ()


def test_a_record_that_was_rejected_or_called_off_will_never_allow_it() -> None:
    rejected = replace(
        GOOD, approval=ChangeApproval.REJECTED, votes=(ChangeVote("bdoe", "rejected", reason="too late"),)
    )
    assert refusal_of(rejected) == "change CHG0030001 was rejected in itsm by bdoe: too late"
    assert "canceled" in refusal_of(replace(GOOD, state=ChangeState.CANCELED))
    assert refusal_of(GOOD) == ""
    assert refusal_of(replace(rejected, unreadable={"approval": "gone"})) == ""


times = st.one_of(st.none(), st.integers(-7200, 7200).map(lambda s: NOW + timedelta(seconds=s)))
records = st.builds(
    ChangeRecord,
    system=st.just("itsm"),
    ref=st.just("CHG1"),
    type=st.sampled_from(["standard", "normal", "emergency", None]),
    state=st.sampled_from([*ChangeState, None]),
    approval=st.sampled_from([*ChangeApproval, None]),
    votes=st.lists(
        st.builds(
            ChangeVote,
            account=st.sampled_from([*ACCOUNTS, "nobody"]),
            decision=st.sampled_from(["approved", "rejected", None]),
        ),
        max_size=3,
    ).map(tuple),
    window=st.sampled_from([None, GOOD.window, Window(NOW - 2 * HOUR, NOW - HOUR)]),
    on_hold=st.booleans(),
    conflicts=st.sampled_from([(), (Conflict("blackout"),)]),
    conflicts_at=times,
    targets=st.sampled_from([(), ("db1",), ("db1", "db2")]),
    requested_by=st.sampled_from(["", "svc", "asmith", "l1"]),
    run=st.sampled_from(["", "run-1", "run-2"]),
    digest=st.sampled_from(["", SEGMENT, PLAN, RUNBOOK, OTHER]),
    valid_until=times,
    retrospective=st.booleans(),
    unreadable=st.dictionaries(st.sampled_from(sorted(DECIDING)), st.just("why"), max_size=1),
    absent=st.frozensets(st.sampled_from(sorted(DECIDING)), max_size=1),
)


@given(records)
def test_what_is_allowed_is_approved_by_somebody_else_for_just_this_in_its_time(record: ChangeRecord) -> None:
    if check_change(record, need(), NOW):
        return
    assert record.type == "normal"
    assert record.approval is ChangeApproval.APPROVED
    assert record.state in (ChangeState.SCHEDULED, ChangeState.IMPLEMENT)
    approvers = {vote.account for vote in record.votes if vote.decision == "approved"}
    assert approvers
    assert approvers <= {"asmith", "bdoe", "svc"} - ({record.requested_by} - {""} & {"asmith", "svc"})
    assert not any(vote.decision == "rejected" for vote in record.votes)
    assert not record.unreadable
    assert record.run in ("", "run-1")
    assert record.digest in ("", SEGMENT, PLAN)
    assert record.run or record.digest


@given(records)
def test_deciding_never_raises_and_says_the_same_twice(record: ChangeRecord) -> None:
    for kind in ("standard", "normal", "emergency"):
        assert check_change(record, need(kind=kind), NOW) == check_change(record, need(kind=kind), NOW)
