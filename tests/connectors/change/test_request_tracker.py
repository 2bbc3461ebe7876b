"""Changes in a real Request Tracker 5: what is read there, and what is written back."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from connectors.change.request_tracker import RequestTracker, RequestTrackerSettings
from mimrun.change_system import (
    Addition,
    ChangeApproval,
    ChangeDraft,
    ChangeRecord,
    ChangeState,
    Refused,
    SettingsError,
    Unreachable,
    Window,
)
from mimrun.lab.request_tracker import RequestTracker as Lab

pytestmark = pytest.mark.needs("request_tracker")
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
Do = Callable[..., httpx.Response]


@pytest.fixture
def settings(request_tracker: Lab) -> RequestTrackerSettings:
    return RequestTrackerSettings(
        url=request_tracker.url, token=f"file:{request_tracker.token_file}", timeout_s=60
    )


@pytest.fixture
def rt(settings: RequestTrackerSettings) -> Iterator[RequestTracker]:
    with closing(RequestTracker("rt", settings)) as system:
        yield system


@pytest.fixture
def do(request_tracker: Lab) -> Do:
    """What a person does in RT."""

    def send(who: str, method: str, path: str, body: object = None) -> httpx.Response:
        header = {"Authorization": f"token {request_tracker.tokens[who].reveal()}"}
        url = f"{request_tracker.url}/REST/2.0/{path}"
        answer = httpx.request(method, url, json=body, headers=header, timeout=60)
        assert answer.is_success, answer.text
        return answer

    return send


def draft(**other: object) -> ChangeDraft:
    key = f"r-{secrets.token_hex(6)} seq=4"
    one = ChangeDraft(
        key=key,
        type="emergency",
        title="Fail over to db2",
        risk="high",
        justification="db1 is dead",
        plan="1. fence db1\n2. promote db2",
        backout="rewind db1 and fail back",
        test="select 1",
        targets=("db1", "db2"),
        window=Window(NOON, NOON + timedelta(hours=2)),
        run="r-7",
        digest="sha256:" + "ab" * 32,
        requested_by="alex",
        incident="INC-1",
    )
    return replace(one, **other)  # type: ignore[arg-type]


def approve(do: Do, ref: str, who: str = "alice", word: str = "looks right") -> None:
    body = {"ContentType": "text/plain", "Content": word, "Status": "approved"}
    do(who, "POST", f"ticket/{ref}/comment", body)


def move(do: Do, who: str, ref: str, status: str) -> None:
    do(who, "PUT", f"ticket/{ref}", {"Status": status})


def set_field(do: Do, ref: str, **fields: str) -> None:
    do("bob", "PUT", f"ticket/{ref}", {"CustomFields": {k.replace("_", " "): v for k, v in fields.items()}})


def voted(record: ChangeRecord) -> list[tuple[str, str | None]]:
    return [(vote.account, vote.decision) for vote in record.votes]


def test_what_was_asked_for_is_read_back(rt: RequestTracker, request_tracker: Lab) -> None:
    asked = draft()
    ref = rt.create(asked)
    record = rt.read(ref)
    assert record.unreadable == {}
    assert record == ChangeRecord(
        system="rt",
        ref=ref,
        url=f"{request_tracker.url}/Ticket/Display.html?id={ref}",
        type="emergency",
        title="Fail over to db2",
        state=ChangeState.AUTHORIZE,
        raw_state="submitted",
        approval=ChangeApproval.REQUESTED,
        window=asked.window,
        targets=("db1", "db2"),
        run="r-7",
        digest=asked.digest,
        version=record.version,
        backout="rewind db1 and fail back",
        absent=frozenset({"conflicts", "conflicts_at", "on_hold", "retrospective"}),
    )
    assert record.version.isdecimal()


def test_a_change_is_found_by_its_key_and_another_persons_copy_of_it_is_not(
    rt: RequestTracker, do: Do
) -> None:
    asked = draft()
    body = {"Queue": "Changes", "Subject": "mine", "CustomFields": {"mimrun key": asked.key}}
    do("bob", "POST", "ticket", body)
    assert rt.find(asked.key) == ""
    ref = rt.create(asked)
    assert rt.find(asked.key) == ref
    assert rt.find(f"{asked.key}0") == ""


def test_a_key_that_could_say_more_to_a_search_is_refused(rt: RequestTracker) -> None:
    for key in ("x' OR id > 0 OR Subject = 'x", "x\\", "x%\n", "", "x" * 121):
        with pytest.raises(Refused, match="cannot be a key"):
            rt.find(key)


def test_who_approved_when_and_why_is_read_from_the_history(rt: RequestTracker, do: Do) -> None:
    ref = rt.create(draft())
    approve(do, ref, word="looks right \N{SNOWMAN}")
    record = rt.read(ref)
    (vote,) = record.votes
    assert (vote.account, vote.decision, vote.reason) == ("alice", "approved", "looks right \N{SNOWMAN}")
    assert vote.at is not None
    assert abs(vote.at - datetime.now(UTC)) < timedelta(minutes=5)
    assert (record.state, record.approval) == (ChangeState.SCHEDULED, ChangeApproval.APPROVED)
    assert record.unreadable == {}


def test_a_refusal_is_read_with_its_reason(rt: RequestTracker, do: Do) -> None:
    ref = rt.create(draft())
    move(do, "alice", ref, "rejected")
    do("alice", "POST", f"ticket/{ref}/comment", {"ContentType": "text/plain", "Content": "not today"})
    do("bob", "POST", f"ticket/{ref}/comment", {"ContentType": "text/plain", "Content": "why?"})
    record = rt.read(ref)
    assert [(v.account, v.decision, v.reason) for v in record.votes] == [("alice", "rejected", "not today")]
    assert (record.state, record.approval) == (ChangeState.CANCELED, ChangeApproval.REJECTED)


def test_neither_mimruns_account_nor_whoever_asks_can_approve(rt: RequestTracker, do: Do) -> None:
    ref = rt.create(draft())
    for who in ("svc-mimrun", "bob"):
        move(do, who, ref, "approved")
        assert rt.read(ref).approval is ChangeApproval.REQUESTED


def test_what_was_said_before_it_was_asked_anew_is_void(rt: RequestTracker, do: Do) -> None:
    ref = rt.create(draft())
    approve(do, ref)
    move(do, "bob", ref, "draft")
    record = rt.read(ref)
    assert (record.approval, record.votes) == (ChangeApproval.NOT_REQUESTED, ())
    move(do, "bob", ref, "submitted")
    assert rt.read(ref).approval is ChangeApproval.REQUESTED
    approve(do, ref, "carol")
    assert voted(rt.read(ref)) == [("carol", "approved")]


def test_every_field_that_is_changed_after_the_approval_is_named(rt: RequestTracker, do: Do) -> None:
    ref = rt.create(draft())
    set_field(do, ref, Digest="sha256:" + "ef" * 32)
    approve(do, ref)
    assert rt.read(ref).unreadable == {}
    changes = {
        "Digest": "sha256:" + "cd" * 32,
        "Run": "r-8",
        "Targets": "db1\ndb2\ndb3",
        "Change_type": "standard",
        "Runbook": "other",
        "Window_end": "2026-11-30 12:00:00",
        "Valid_until": "2027-11-30 12:00:00",
    }
    set_field(do, ref, **changes)
    why = rt.read(ref).unreadable
    assert set(why) == {"digest", "run", "targets", "type", "runbook", "window", "valid_until"}
    for said in why.values():
        assert said.startswith("bob changed it on ")
        assert said.endswith("after it was approved")
    # Asked for and approved anew, it is what it is now that was looked at.
    move(do, "bob", ref, "draft")
    move(do, "bob", ref, "submitted")
    approve(do, ref)
    assert rt.read(ref).unreadable == {}


def test_only_tickets_of_the_queue_of_changes_are_read(
    rt: RequestTracker, do: Do, request_tracker: Lab
) -> None:
    request_tracker.run_setup("--queue", "Other changes")
    other = str(do("bob", "POST", "ticket", {"Queue": "Other changes", "Subject": "x"}).json()["id"])
    with pytest.raises(Refused, match=f"ticket {other} is not a change of queue Changes"):
        rt.read(other)
    # Moved over with an approval that was given elsewhere: nobody here has given one.
    do("bob", "PUT", f"ticket/{other}", {"Status": "submitted"})
    move(do, "alice", other, "approved")
    do("bob", "PUT", f"ticket/{other}", {"Queue": "Changes"})
    record = rt.read(other)
    assert record.votes == ()
    assert "names nobody who moved it into an approved state" in record.unreadable["approval"]


@pytest.mark.parametrize("ref", ["0", "1/history", "../queue/1", "1?x=y", "x", "", "\u0661", "9" * 13])
def test_what_is_no_number_of_a_ticket_is_not_asked_for(rt: RequestTracker, ref: str) -> None:
    with pytest.raises(Refused, match="is not the number of a ticket"):
        rt.read(ref)


def test_a_ticket_that_is_not_there_is_refused(rt: RequestTracker) -> None:
    with pytest.raises(Refused, match="there is no such record"):
        rt.read("999999")


def test_a_merged_ticket_is_not_the_one_that_was_named(rt: RequestTracker, do: Do) -> None:
    first, second = rt.create(draft()), rt.create(draft())
    do("bob", "PUT", f"ticket/{first}", {"MergeInto": int(second)})
    with pytest.raises(Refused, match=f"ticket {first} was merged into another one"):
        rt.read(first)


def test_an_approval_that_is_merged_into_a_ticket_is_not_its_own(rt: RequestTracker, do: Do) -> None:
    approved, other = rt.create(draft()), rt.create(draft())
    approve(do, approved)
    do("bob", "PUT", f"ticket/{approved}", {"MergeInto": int(other)})
    record = rt.read(other)
    assert (record.votes, record.approval) == ((), ChangeApproval.REQUESTED)


def test_a_person_who_asked_and_approved_is_named_as_the_one_who_asked(rt: RequestTracker, do: Do) -> None:
    ref = rt.create(draft())
    do("bob", "PUT", f"ticket/{ref}", {"Requestor": ["bob", "alice"]})
    assert rt.read(ref).requested_by in ("alice", "bob")
    approve(do, ref)
    assert rt.read(ref).requested_by == "alice"
    assert voted(rt.read(ref)) == [("alice", "approved")]


def test_a_persons_own_ticket_names_them_as_the_one_who_asked(rt: RequestTracker, do: Do) -> None:
    made = do("bob", "POST", "ticket", {"Queue": "Changes", "Subject": "x", "Status": "submitted"})
    record = rt.read(str(made.json()["id"]))
    assert record.requested_by == "bob"
    assert record.unreadable == {"type": "it is empty"}
    assert (record.targets, record.window, record.run, record.digest) == ((), None, "", "")


def test_a_long_history_is_read_to_its_end(rt: RequestTracker, do: Do) -> None:
    ref = rt.create(draft())
    # What the account may not see is missing from the pages: a short page is not the last one.
    for n in range(22):
        do("bob", "PUT", f"ticket/{ref}", {"Subject": f"title {n}"})
    approve(do, ref)
    with closing(RequestTracker("rt", rt.settings)) as narrow:
        pages = []
        whole = narrow._web.ask

        def ten(method: str, path: str, **more: object) -> object:
            params = more.get("params")
            if path.endswith("/history") and isinstance(params, dict):
                more["params"] = {**params, "per_page": "10"}
                pages.append(params["page"])
            return whole(method, path, **more)  # type: ignore[arg-type]

        narrow._web.ask = ten  # type: ignore[method-assign,assignment]
        assert voted(narrow.read(ref)) == [("alice", "approved")]
    assert pages == ["1", "2", "3"]


def test_additions_are_made_once_and_hold_link_times_and_result(rt: RequestTracker, do: Do) -> None:
    ref = rt.create(draft())
    approve(do, ref)
    run = "https://mimrun.example.org/runs/r-7"
    steps = [
        Addition(what="link", key="r-7 seq=8", text="run r-7", url=run),
        Addition(what="started", key="r-7 seq=9", text="work began", at=NOON),
        Addition(what="ended", key="r-7 seq=20", text="work ended", at=NOON + timedelta(minutes=9)),
        Addition(what="result", key="r-7 seq=21", text="2 of 2 hosts", url=f"{run}/evidence"),
        Addition(what="close", key="r-7 seq=22", text="done"),
    ]
    for step in steps:
        assert (rt.add(ref, step).already, rt.add(ref, step).already) == (False, True)
    ticket = do("bob", "GET", f"ticket/{ref}").json()
    assert ticket["Started"] == "2026-11-22T12:00:00Z"
    assert ticket["Status"] == "done"
    assert ticket["Resolved"] != "1970-01-01T00:00:00Z"
    assert run in [link.get("_url") for link in ticket["_hyperlinks"] if link["ref"] == "refers-to"]
    rows = do("bob", "GET", f"ticket/{ref}/history?per_page=100&fields=Type,Data").json()["items"]
    subjects = [row["Data"].strip() for row in rows if row["Type"] == "Comment"]
    assert subjects[1:] == [f"mimrun: {step.what} [mimrun {step.key}]" for step in steps]
    record = rt.read(ref)
    assert (record.state, record.approval) == (ChangeState.CLOSED, ChangeApproval.APPROVED)
    assert record.unreadable == {}


def test_an_addition_of_somebody_else_with_the_same_key_hides_nothing(rt: RequestTracker, do: Do) -> None:
    ref = rt.create(draft())
    forged = {"ContentType": "text/plain", "Content": "x", "Subject": "[mimrun r-7 seq=8]"}
    do("bob", "POST", f"ticket/{ref}/comment", forged)
    assert rt.add(ref, Addition(what="note", key="r-7 seq=8", text="a note")).already is False


def test_what_request_tracker_did_not_take_is_said(rt: RequestTracker) -> None:
    ref = rt.create(draft())
    added = rt.add(ref, Addition(what="close", key="r-7 seq=9", text="over", successful=False))
    assert "Status was not taken" in added.detail
    assert "can't change status from 'submitted' to 'failed'" in added.detail


def test_a_field_that_the_queue_does_not_have_is_named_before_anything_is_made(
    settings: RequestTrackerSettings, do: Do
) -> None:
    named = settings.model_copy(update={"fields": {"digest": "Fingerprint"}})
    with closing(RequestTracker("rt", named)) as system:
        asked = draft()
        with pytest.raises(Refused, match="does not have one custom field Fingerprint that svc-mimrun may"):
            system.create(asked)
        with pytest.raises(Refused, match="does not have one custom field Fingerprint"):
            system.find(asked.key)


def test_a_field_that_does_not_take_what_is_given_is_named_and_the_ticket_found_again(
    rt: RequestTracker,
) -> None:
    asked = draft(risk="enormous")
    with pytest.raises(Refused, match=r"ticket \d+ is made, and Request Tracker did not take Risk"):
        rt.create(asked)
    assert rt.find(asked.key) != ""


def test_a_field_of_the_record_that_the_ticket_lacks_is_unreadable(
    settings: RequestTrackerSettings, rt: RequestTracker
) -> None:
    ref = rt.create(draft())
    named = settings.model_copy(update={"fields": {"digest": "Fingerprint", "runbook": ""}})
    with closing(RequestTracker("rt", named)) as system:
        record = system.read(ref)
    assert list(record.unreadable) == ["digest"]
    assert "runbook" in record.absent


def test_a_ticket_that_somebody_changes_meanwhile_is_read_and_written_anew(
    rt: RequestTracker, do: Do
) -> None:
    ref = rt.create(draft())
    approve(do, ref)
    whole, times = rt._web.ask, 2

    def meddled(method: str, path: str, **more: object) -> object:
        nonlocal times
        if times and (method == "PUT" or path.endswith("/history")):
            times -= 1
            do("bob", "PUT", f"ticket/{ref}", {"Subject": f"title {times}"})
        return whole(method, path, **more)  # type: ignore[arg-type]

    rt._web.ask = meddled  # type: ignore[method-assign,assignment]
    assert rt.read(ref).title == "title 0"
    times = 2
    assert rt.add(ref, Addition(what="started", key="r-7 seq=9", text="began", at=NOON)).detail == ""
    times = 100
    with pytest.raises(Unreachable, match="is being changed while it is read"):
        rt.read(ref)


def test_an_approval_and_an_edit_at_once_never_give_an_approved_edit(rt: RequestTracker, do: Do) -> None:
    for n in range(3):
        ref = rt.create(draft())
        edited = "sha256:" + f"{n}d" * 32
        both = [
            threading.Thread(target=approve, args=(do, ref)),
            threading.Thread(target=set_field, args=(do, ref), kwargs={"Digest": edited}),
        ]
        for one in both:
            one.start()
        for one in both:
            one.join(60)
        record = rt.read(ref)
        assert record.digest == edited
        # Either the edit came first, and what was approved is what stands there, or it is named.
        events = rt._history(ref, rt._ticket(ref))
        order = [e.kind for e in events if e.kind in ("Status", "CustomField")]
        assert ("digest" in record.unreadable) is (order == ["Status", "CustomField"])


def test_a_token_that_is_not_accepted_is_refused_and_not_shown(
    settings: RequestTrackerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RT_TOKEN", "1-33-0123456789abcdef")
    with (
        closing(RequestTracker("rt", settings.model_copy(update={"token": "env:RT_TOKEN"}))) as system,
        pytest.raises(Refused, match="the login is not accepted") as caught,
    ):
        system.read("1")
    assert "0123456789abcdef" not in str(caught.value)
    with pytest.raises(SettingsError, match="RT_NONE"):
        RequestTracker("rt", settings.model_copy(update={"token": "env:RT_NONE"}))


def test_a_token_of_another_account_writes_nothing(
    settings: RequestTrackerSettings, request_tracker: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RT_TOKEN", request_tracker.tokens["bob"].reveal())
    with closing(RequestTracker("rt", settings.model_copy(update={"token": "env:RT_TOKEN"}))) as system:
        with pytest.raises(Refused, match="the token is not that of svc-mimrun"):
            system.create(draft())
        with pytest.raises(Refused, match="the token is not that of svc-mimrun"):
            system.find(draft().key)
        with pytest.raises(Refused, match="the token is not that of svc-mimrun"):
            system.add("1", Addition(what="note", key="k", text="x"))


def test_a_request_tracker_that_is_down_changes_nothing(settings: RequestTrackerSettings) -> None:
    gone = settings.model_copy(update={"url": "http://127.0.0.1:9"})
    with closing(RequestTracker("rt", gone)) as system:
        with pytest.raises(Unreachable, match="cannot be reached"):
            system.read("1")
        with pytest.raises(Unreachable, match="cannot be reached"):
            system.create(draft())


def test_pages_for_people_where_answers_should_be_are_not_read(settings: RequestTrackerSettings) -> None:
    # The address of the pages with something before it, as behind a proxy that was set up wrongly.
    wrong = settings.model_copy(update={"url": f"{settings.url}/NoAuth"})
    with closing(RequestTracker("rt", wrong)) as system, pytest.raises((Refused, Unreachable)):
        system.read("1")
