"""Approvals as tickets of their own in a real Request Tracker: given, refused, taken away, borrowed."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import closing

import httpx
import pytest

from connectors.change.request_tracker import RequestTracker, RequestTrackerSettings
from mimrun.change_system import ChangeApproval, ChangeDraft, ChangeState
from mimrun.lab.request_tracker import RequestTracker as Lab

pytestmark = pytest.mark.needs("request_tracker")
QUEUE = "Changes by ticket"
Do = Callable[..., httpx.Response]


@pytest.fixture(scope="module")
def do(request_tracker: Lab) -> Do:
    """What a person does in RT, where the queue asks by tickets."""
    request_tracker.run_setup("--queue", QUEUE, "--approval-tickets")

    def send(who: str, method: str, path: str, body: object = None) -> httpx.Response:
        header = {"Authorization": f"token {request_tracker.tokens[who].reveal()}"}
        url = f"{request_tracker.url}/REST/2.0/{path}"
        answer = httpx.request(method, url, json=body, headers=header, timeout=60)
        assert answer.is_success, answer.text
        return answer

    return send


@pytest.fixture
def rt(request_tracker: Lab, do: Do) -> Iterator[RequestTracker]:
    settings = RequestTrackerSettings(
        url=request_tracker.url,
        token=f"file:{request_tracker.token_file}",
        timeout_s=60,
        queue=QUEUE,
        approvals="tickets",
    )
    with closing(RequestTracker("rt", settings)) as system:
        yield system


def made(rt: RequestTracker) -> str:
    return rt.create(
        ChangeDraft(
            key=f"r-{secrets.token_hex(6)} seq=4",
            type="normal",
            title="Fail over",
            risk="high",
            justification="because",
            plan="promote",
            backout="back",
            run="r-7",
            digest="sha256:aa",
        )
    )


def approval_of(do: Do, ref: str) -> str:
    found = do("alice", "GET", f"tickets?query=DependedOnBy%3D{ref}").json()["items"]
    return str(found[0]["id"])


def test_an_approval_that_is_open_is_asked_for_and_one_that_is_resolved_is_given(
    rt: RequestTracker, do: Do
) -> None:
    ref = made(rt)
    record = rt.read(ref)
    assert (record.approval, record.state, record.votes) == (
        ChangeApproval.REQUESTED,
        ChangeState.AUTHORIZE,
        (),
    )
    ticket = approval_of(do, ref)
    do("svc-mimrun", "PUT", f"ticket/{ticket}", {"Status": "resolved"})
    assert rt.read(ref).approval is ChangeApproval.REQUESTED
    do("alice", "PUT", f"ticket/{ticket}", {"Status": "resolved"})
    record = rt.read(ref)
    assert (record.approval, record.state) == (ChangeApproval.APPROVED, ChangeState.SCHEDULED)
    assert [(v.account, v.decision) for v in record.votes] == [("alice", "approved")]
    assert record.unreadable == {}
    do("bob", "PUT", f"ticket/{ref}", {"CustomFields": {"Digest": "sha256:bb"}})
    assert list(rt.read(ref).unreadable) == ["digest"]


def test_an_approval_that_is_rejected_refuses_the_change(rt: RequestTracker, do: Do) -> None:
    ref = made(rt)
    do("alice", "PUT", f"ticket/{approval_of(do, ref)}", {"Status": "rejected"})
    record = rt.read(ref)
    assert record.approval is ChangeApproval.REJECTED
    assert [(v.account, v.decision) for v in record.votes] == [("alice", "rejected")]


def test_the_state_alone_approves_nothing_where_tickets_do(rt: RequestTracker, do: Do) -> None:
    ref = made(rt)
    do("alice", "PUT", f"ticket/{ref}", {"Status": "approved"})
    record = rt.read(ref)
    assert (record.approval, record.votes) == (ChangeApproval.REQUESTED, ())


def test_an_approval_of_another_change_cannot_be_borrowed(rt: RequestTracker, do: Do) -> None:
    first, second = made(rt), made(rt)
    given, open_ = approval_of(do, first), approval_of(do, second)
    do("alice", "PUT", f"ticket/{given}", {"Status": "resolved"})
    links = {"AddDependsOn": int(given), "DeleteDependsOn": int(open_)}
    do("bob", "PUT", f"ticket/{second}", links)  # who may not touch approvals links none
    assert rt.read(second).approval is ChangeApproval.REQUESTED
    assert rt.read(first).unreadable == {}
    do("alice", "PUT", f"ticket/{second}", links)
    record = rt.read(second)
    assert record.approval is None
    assert "approval" in record.unreadable
    # Nor is the first one still sure of it: its approval stands for two changes now.
    assert "was not made for this ticket" in rt.read(first).unreadable["approval"]


def test_an_approval_that_was_taken_away_is_named(rt: RequestTracker, do: Do) -> None:
    ref = made(rt)
    do("alice", "PUT", f"ticket/{ref}", {"DeleteDependsOn": int(approval_of(do, ref))})
    record = rt.read(ref)
    assert record.approval is None
    assert record.unreadable["approval"] == "alice took a ticket away that it depended on"


def test_a_change_may_depend_on_another_that_approves_nothing(rt: RequestTracker, do: Do) -> None:
    first, second = made(rt), made(rt)
    do("bob", "PUT", f"ticket/{second}", {"AddDependsOn": int(first)})
    record = rt.read(second)
    assert record.unreadable == {}
    assert record.approval is ChangeApproval.REQUESTED
