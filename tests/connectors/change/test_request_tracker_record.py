"""A ticket in every wrong form: what cannot be read is named, and nothing comes out approved that was not."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.change.request_tracker import RequestTrackerSettings
from connectors.change.request_tracker.history import Event, answer, event, marked
from connectors.change.request_tracker.record import Asked, Ticket, record_of
from mimrun.change_system import ChangeApproval, ChangeRecord, ChangeState

SETTINGS = RequestTrackerSettings(url="https://rt.example.org/REST/2.0/", token="env:X")
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def custom(number: int, name: str, *values: object) -> dict[str, Any]:
    return {"id": str(number), "name": name, "type": "customfield", "values": list(values)}


def ticket(**other: object) -> dict[str, Any]:
    return {
        "id": 7,
        "Type": "ticket",
        "Subject": "Fail over",
        "Status": "approved",
        "Creator": {"id": "svc-mimrun", "type": "user"},
        "Requestor": [],
        "CustomFields": [
            custom(2, "Change type", "normal"),
            custom(5, "Runbook"),
            custom(6, "Run", "r-7"),
            custom(7, "Digest", "sha256:aa"),
            custom(8, "Targets", "db1\ndb2"),
            custom(9, "Window start", "2026-11-22T10:00:00Z"),
            custom(10, "Window end", "2026-11-22T12:00:00Z"),
            custom(11, "Valid until"),
            custom(12, "Backout plan", "back"),
        ],
        "_hyperlinks": [],
    } | other


def row(number: int, kind: str, by: str = "alice", of: str = "7", **more: str) -> Event:
    value = {
        "id": str(number),
        "Type": kind,
        "ObjectId": of,
        "Creator": {"id": by},
        "Created": f"2026-11-22T09:00:{number:02}Z",
    }
    one = event(value | more, "7")
    assert one is not None
    return one


def moved(number: int, old: str, new: str, by: str = "alice") -> Event:
    return row(number, "Status", by, Field="Status", OldValue=old, NewValue=new)


HISTORY = (row(1, "Create", "svc-mimrun"), moved(2, "submitted", "approved"))


def read(
    value: object = None,
    events: tuple[Event, ...] = HISTORY,
    settings: RequestTrackerSettings = SETTINGS,
    **more: Any,
) -> ChangeRecord:
    return record_of("rt", Ticket("7", value or ticket(), "2", events, **more), settings)  # type: ignore[arg-type]


def test_a_whole_ticket_is_read_whole() -> None:
    record = read()
    assert record.unreadable == {}
    assert (record.approval, record.state) == (ChangeApproval.APPROVED, ChangeState.SCHEDULED)
    assert record.url == "https://rt.example.org/Ticket/Display.html?id=7"


@pytest.mark.parametrize("index", range(9))
@pytest.mark.parametrize("bad", [["a", "b"], [{}], ["x\u202ey"], "x", None, "gone", "twice"])
def test_every_custom_field_in_a_wrong_form_is_named(index: int, bad: object) -> None:
    value = ticket()
    one = value["CustomFields"][index]
    name = {
        "Change type": "type",
        "Window start": "window",
        "Window end": "window",
        "Valid until": "valid_until",
        "Backout plan": "backout",
    }.get(one["name"], one["name"].lower())
    if bad == "gone":
        del value["CustomFields"][index]
    elif bad == "twice":
        value["CustomFields"].append(copy.deepcopy(one))
    else:
        one["values"] = bad
    record = read(value)
    fine = (name == "targets" and bad == ["a", "b"]) or (name == "backout" and bad == ["x\u202ey"])
    assert (list(record.unreadable) == [name]) is not fine


@pytest.mark.parametrize(
    ("status", "events", "approval", "votes"),
    [
        ("draft", (), ChangeApproval.NOT_REQUESTED, []),
        ("submitted", (), ChangeApproval.REQUESTED, []),
        ("approved", (), None, []),
        ("implementing", HISTORY, ChangeApproval.APPROVED, ["alice"]),
        ("done", HISTORY, ChangeApproval.APPROVED, ["alice"]),
        ("cancelled", HISTORY, ChangeApproval.CANCELED, ["alice"]),
        (
            "rejected",
            (*HISTORY, moved(3, "approved", "rejected", "carol")),
            ChangeApproval.REJECTED,
            ["alice", "carol"],
        ),
        ("submitted", (*HISTORY, moved(3, "approved", "draft")), ChangeApproval.REQUESTED, []),
        ("approved", (*HISTORY, row(3, "Set", Field="Queue", OldValue="1", NewValue="3")), None, []),
        ("approved", (moved(2, "implementing", "implementing"),), None, []),
        ("approved", (row(2, "Set", Field="Status", OldValue="submitted", NewValue="approved"),), None, []),
        ("approved", (row(2, "Status", of="9", OldValue="submitted", NewValue="approved"),), None, []),
    ],
)
def test_a_state_counts_only_with_a_person_who_moved_it(
    status: str, events: tuple[Event, ...], approval: ChangeApproval | None, votes: list[str]
) -> None:
    record = read(ticket(Status=status), events)
    assert record.approval is approval
    assert ("approval" in record.unreadable) is (approval is None)
    assert [vote.account for vote in record.votes] == votes


def test_a_state_that_nobody_has_explained_is_unreadable_and_can_be_explained() -> None:
    assert "is in no state_map" in read(ticket(Status="parked")).unreadable["state"]
    known = SETTINGS.model_copy(update={"state_map": {"Parked": ChangeState.ASSESS}})
    record = read(ticket(Status="parked"), settings=known)
    assert (record.state, record.approval) == (ChangeState.ASSESS, ChangeApproval.REQUESTED)


def test_the_own_accounts_approval_is_none_and_is_named() -> None:
    record = read(events=(moved(2, "submitted", "approved", "SVC-mimrun"),))
    assert record.votes == ()
    assert "mimrun's own account" in record.unreadable["votes"]


def test_an_edit_before_the_approval_is_fine_and_one_after_the_first_of_two_is_not() -> None:
    edit = row(3, "CustomField", "bob", Field="7", OldValue="sha256:bb", NewValue="sha256:aa")
    assert read(events=(edit, moved(4, "submitted", "approved"))).unreadable == {}
    twice = (*HISTORY, edit, moved(4, "implementing", "approved", "carol"))
    assert list(read(events=twice).unreadable) == ["digest"]
    other = row(3, "CustomField", "bob", Field="4", OldValue="INC-1", NewValue="INC-2")
    assert read(events=(*HISTORY, other)).unreadable == {}


def asked(status: str, events: tuple[Event, ...] = HISTORY, **more: Any) -> Asked:
    values = {"relinked": False, "linked_to": ("7",)} | more
    return Asked("8", status, answer(events, status), **values)  # type: ignore[arg-type]


@pytest.mark.parametrize("status", ["open", "new", "stalled", "rejected", "deleted"])
def test_a_ticket_that_asks_besides_the_state_must_be_resolved(status: str) -> None:
    events = (moved(2, "open", status),)
    record = read(asked=(asked(status, events),))
    assert record.approval is not ChangeApproval.APPROVED


def test_both_ways_to_approve_count_together() -> None:
    record = read(asked=(asked("resolved", (moved(5, "open", "resolved", "carol"),)),))
    assert record.approval is ChangeApproval.APPROVED
    assert [vote.account for vote in record.votes] == ["alice", "carol"]


@pytest.mark.parametrize(
    "bad",
    [
        asked("resolved", ()),
        asked("resolved", (moved(5, "open", "resolved"),), relinked=True),
        asked("resolved", (moved(5, "open", "resolved"),), linked_to=("7", "9")),
        asked("resolved", (moved(5, "open", "resolved"),), linked_to=()),
    ],
)
def test_an_approval_ticket_with_a_doubt_keeps_it_closed(bad: Asked) -> None:
    tickets = SETTINGS.model_copy(update={"approvals": "tickets"})
    for settings in (SETTINGS, tickets):
        assert {"approval", "votes"} & set(read(asked=(bad,), settings=settings).unreadable)


def test_a_link_to_a_ticket_that_may_not_be_seen_keeps_it_closed() -> None:
    link = {"ref": "depends-on", "type": "ticket", "id": "9"}
    value = ticket(_hyperlinks=[link])
    assert read(value).unreadable == {"approval": "it depends on ticket 9, which this login may not see"}
    assert read(value, others=("9",)).unreadable == {}


def test_two_who_asked_and_approved_are_named() -> None:
    events = (moved(2, "submitted", "approved"), moved(3, "implementing", "approved", "carol"))
    record = read(ticket(Requestor=[{"id": "alice"}, {"id": "carol"}]), events)
    assert record.unreadable == {"requested_by": "alice, carol asked for it, and approved it themselves"}


def test_a_row_that_cannot_be_relied_on_is_none() -> None:
    good = {
        "id": "3",
        "Type": "Status",
        "ObjectId": "7",
        "Creator": {"id": "a"},
        "Created": "2026-11-22T09:00:00Z",
    }
    assert event(good, "7") is not None
    for name in ("id", "Type", "ObjectId", "Creator", "Created"):
        assert event({k: v for k, v in good.items() if k != name}, "7") is None
    assert event(good | {"id": "x3"}, "7") is None
    assert event(good | {"Created": "yesterday"}, "7") is None
    assert event(None, "7") is None


def test_a_mark_counts_from_the_own_account_alone() -> None:
    mark = {"Data": "mimrun: note [mimrun r-7 seq=8]\n"}
    assert marked([row(3, "Comment", "svc-mimrun", **mark)], "r-7 seq=8", "svc-mimrun")
    assert not marked([row(3, "Comment", "svc-mimrun", **mark)], "r-7 seq=80", "svc-mimrun")
    assert not marked([row(3, "Comment", "svc-mimrun", **mark)], "r-7 seq=", "svc-mimrun")
    assert not marked([row(3, "Comment", "bob", **mark)], "r-7 seq=8", "svc-mimrun")


@given(st.sampled_from(sorted(ticket())), ANY_JSON)
def test_no_value_breaks_a_reading_and_none_approves_what_was_not(name: str, value: object) -> None:
    record = read(ticket(Status="submitted") | {name: value}, ())
    assert record.approval is not ChangeApproval.APPROVED
    assert record.votes == ()


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["draft", "submitted", "approved", "rejected", "implementing"]),
            st.sampled_from(["alice", "carol"]),
        ),
        max_size=8,
    )
)
def test_votes_are_those_since_it_was_last_open(path: list[tuple[str, str]]) -> None:
    events, old = [], "draft"
    for number, (new, by) in enumerate(path):
        events.append(moved(number, old, new, by))
        old = new
    record = read(ticket(Status=old), tuple(events))
    last = max((n for n, (new, _) in enumerate(path) if new in ("draft", "submitted")), default=-1)
    since = [by for (new, by) in path[last + 1 :] if new in ("approved", "rejected")]
    assert {vote.account for vote in record.votes} <= set(since)
    if record.approval is ChangeApproval.APPROVED:
        assert {vote.decision for vote in record.votes} == {"approved"}


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"fields": {"digets": "x"}}, "nothing is called 'digets'"),
        ({"fields": {"key": ""}}, "a change could be made twice"),
        ({"state_map": {"parked": "parked"}}, "state_map"),
        ({"queue": ""}, "queue"),
        ({"approvals": "mail"}, "approvals"),
        ({"password": "x"}, "password"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(bad: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        RequestTrackerSettings(url="https://rt.example.org", token="env:X", **bad)  # type: ignore[arg-type]
