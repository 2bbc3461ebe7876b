"""A run that a real Request Tracker decides about: approved, rejected, edited, away, and told how it went."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from builders.commands import Desk, Said, mark, until

from mimrun.app.home import operating_system_user
from mimrun.lab.request_tracker import SERVICE, RequestTracker

pytestmark = pytest.mark.needs("request_tracker")
Do = Callable[..., Any]
USER = operating_system_user()
PEOPLE = f"""\
shared: ['{USER}']
people:
  responder: {{roles: [responder], accounts: ['{USER}'], identities: {{rt: [carol]}}}}
  alex: {{roles: [change_manager], identities: {{rt: [alice]}}}}
"""
POLICY = """\
matrix:
  low:
    other: {approvals: [{role: change_manager}], change: emergency}
    freeze: {freeze_override: true}
"""


@pytest.fixture
def do(request_tracker: RequestTracker) -> Do:
    """What a person does in RT."""

    def send(who: str, method: str, path: str, body: object = None) -> Any:
        header = {"Authorization": f"token {request_tracker.tokens[who].reveal()}"}
        url = f"{request_tracker.url}/REST/2.0/{path}"
        answer = httpx.request(method, url, json=body, headers=header, timeout=60)
        assert answer.is_success, answer.text
        return answer.json()

    return send


@pytest.fixture
def desk(tmp_path: Path, request_tracker: RequestTracker) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    (desk.home / "people.yaml").write_text(PEOPLE)
    (desk.home / "policy.yaml").write_text(POLICY)
    (desk.home / "changes.yaml").write_text(
        "new_records: rt\n"
        "run_url: https://mimrun.example.org/runs/{run}\n"
        "write_back: [link, note, started, ended, result, close]\n"
        "systems:\n"
        f"  rt: {{adapter: request_tracker, url: '{request_tracker.url}', timeout_s: 60, stale_after: 1s,\n"
        f"       token: 'file:{request_tracker.token_file}'}}\n"
    )
    yield desk
    assert desk("log", "verify").code == 0


@pytest.fixture
def ref(desk: Desk) -> str:
    """The ticket of a run that waits."""
    said = desk.run(desk.runbook(mark("one")))
    assert (said.code, desk.marks()) == (3, []), said.out + said.err
    found = re.search(r"rt:([0-9]+)", desk("status", "latest").out)
    assert found is not None, desk("status", "latest").out
    return found[1]


def go_on(desk: Desk) -> Said:
    return desk("resume", "--direct")


def decide(do: Do, who: str, ref: str, status: str, reason: str) -> None:
    body = {"ContentType": "text/plain", "Content": reason, "Status": status}
    do(who, "POST", f"ticket/{ref}/comment", body)


def why(desk: Desk) -> str:
    return " ".join(desk("status", "latest").out.split())


def test_a_change_that_somebody_else_approves_lets_the_run_go_on_and_is_told_of_it(
    desk: Desk, do: Do, ref: str
) -> None:
    assert go_on(desk).code == 3
    run = desk.status()["run"]
    decide(do, "alice", ref, "approved", "go")
    said = go_on(desk)
    assert (said.code, desk.marks()) == (0, ["one"]), said.out + said.err
    synced = desk("change", "sync")
    assert synced.code == 0, synced.out + synced.err
    ticket = do("bob", "GET", f"ticket/{ref}")
    fields = {f["name"]: f["values"] for f in ticket["CustomFields"]}
    links = [link["_url"] for link in ticket["_hyperlinks"] if link["ref"] == "refers-to"]
    assert links == [f"https://mimrun.example.org/runs/{run}"]
    assert fields["Run"] == [run]
    assert fields["Digest"][0].startswith("sha256:")
    assert ticket["Status"] == "done"
    assert "1970" not in ticket["Started"] + ticket["Resolved"]
    rows = do("bob", "GET", f"ticket/{ref}/history?per_page=100&fields=Type,Data")["items"]
    told = [
        row["Data"].split()[1]
        for row in rows
        if row["Type"] == "Comment" and row["Data"].startswith("mimrun")
    ]
    assert [what for what in told if what != "note"] == ["link", "started", "ended", "result", "close"]
    assert desk("change", "sync").code == 0
    again = do("bob", "GET", f"ticket/{ref}/history?per_page=100")["items"]
    assert len(again) == len(rows)


def test_a_change_that_is_rejected_ends_the_run_with_that_reason(desk: Desk, do: Do, ref: str) -> None:
    decide(do, "alice", ref, "rejected", "the standby is behind")
    said = go_on(desk)
    assert said.code in (1, 5)
    assert desk.marks() == []
    assert "the standby is behind" in why(desk) + said.out + said.err


def test_neither_mimruns_account_nor_the_launchers_own_opens_the_gate(desk: Desk, do: Do, ref: str) -> None:
    decide(do, SERVICE, ref, "approved", "me")
    assert do("bob", "GET", f"ticket/{ref}")["Status"] == "submitted"
    assert go_on(desk).code == 3
    # The launcher may approve changes over there: it is the same person, and does not count.
    decide(do, "carol", ref, "approved", "my own")
    assert go_on(desk).code == 3
    assert desk.marks() == []
    assert "carol (responder) asked for or launched the run" in why(desk)


def test_a_normal_change_that_people_wrote_is_linked_and_lets_the_run_go_on(desk: Desk, do: Do) -> None:
    (desk.home / "policy.yaml").write_text(POLICY.replace("emergency", "normal"))
    assert desk.run(desk.runbook(mark("one"))).code == 3
    assert "a normal change is needed, and none is linked" in why(desk)
    status = desk.status()
    now = datetime.now(UTC)
    fields = {
        "Change type": "normal",
        "Run": status["run"],
        "Digest": status["gates"]["0"]["digest"],
        "Targets": "localhost",
        "Window start": f"{now - timedelta(hours=1):%Y-%m-%d %H:%M:%S}",
        "Window end": f"{now + timedelta(hours=1):%Y-%m-%d %H:%M:%S}",
    }
    body = {"Queue": "Changes", "Subject": "Write one", "Status": "submitted", "CustomFields": fields}
    ref = str(do("bob", "POST", "ticket", body)["id"])
    linked = desk("change", "link", status["run"], f"rt:{ref}")
    assert linked.code == 0, linked.out + linked.err
    assert go_on(desk).code == 3
    assert "approval is requested; it must be approved" in why(desk)
    decide(do, "alice", ref, "approved", "go")
    said = go_on(desk)
    assert (said.code, desk.marks()) == (0, ["one"]), said.out + said.err + why(desk)


def test_an_account_that_nobody_is_known_behind_opens_nothing(desk: Desk, do: Do, ref: str) -> None:
    people = desk.home / "people.yaml"
    people.write_text(PEOPLE.replace("rt: [alice]", "rt: [somebody]"))
    decide(do, "alice", ref, "approved", "go")
    assert go_on(desk).code == 3
    assert "nobody is known behind 'alice' of rt" in why(desk)
    people.write_text(PEOPLE)
    assert go_on(desk).code == 0


def test_fields_that_are_edited_after_the_approval_keep_the_gate_closed_and_are_named(
    desk: Desk, do: Do, ref: str
) -> None:
    decide(do, "alice", ref, "approved", "go")
    edits = {"Digest": "sha256:" + "0" * 64, "Targets": "elsewhere", "Window end": "2040-01-01 00:00:00"}
    do("bob", "PUT", f"ticket/{ref}", {"CustomFields": edits})
    assert go_on(desk).code == 3
    for field in ("digest", "targets", "window"):
        assert f"{field} could not be read: bob changed it on" in why(desk)
    assert desk.marks() == []


def test_a_request_tracker_that_is_away_keeps_the_gate_closed_and_is_asked_again(
    desk: Desk, do: Do, ref: str, request_tracker: RequestTracker
) -> None:
    decide(do, "alice", ref, "approved", "go")
    request_tracker.stop()
    try:
        assert go_on(desk).code == 3
        assert f"change rt:{ref} cannot be read" in why(desk)
        assert "it is asked again" in why(desk)
        assert desk.marks() == []
    finally:
        request_tracker.start()
    assert go_on(desk).code == 0
    assert desk.marks() == ["one"]


@pytest.mark.heavy
def test_a_change_that_could_not_be_made_is_made_once_when_request_tracker_is_back(
    desk: Desk, do: Do, request_tracker: RequestTracker
) -> None:
    request_tracker.stop()
    try:
        assert desk.run(desk.runbook(mark("one"))).code == 3
        assert "an emergency change is made in rt" in why(desk)
        assert "cannot be reached" in why(desk)
    finally:
        request_tracker.start()
    until(lambda: "create to rt" in desk("change", "sync").out, "what did not get through rests for a while")
    found = re.search(r"rt:([0-9]+)", why(desk))
    assert found is not None, why(desk)
    run = desk.status()["run"]
    query = f"Queue%3D'Changes'+AND+'CF.{{Run}}'%3D'{run}'"
    assert [item["id"] for item in do("bob", "GET", f"tickets?query={query}")["items"]] == [found[1]]
    decide(do, "alice", found[1], "approved", "go")
    assert go_on(desk).code == 0
