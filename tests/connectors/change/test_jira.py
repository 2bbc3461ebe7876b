"""Jira Service Management: what its requests mean, what is written back, and everything that must keep a gate closed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from builders.answering import Answer
from builders.jira import Site, running
from pydantic import ValidationError

from connectors.change.jira import Jira, JiraSettings
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

DIGEST = "sha256:" + "ef" * 32
AT = datetime(2026, 11, 22, 3, 14, 15, tzinfo=UTC)
NAMES = ("type", "run", "digest", "key", "targets", "window_start", "window_end", "backout")
FIELDS = {name: f"customfield_{10050 + number}" for number, name in enumerate(NAMES)}


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("JIRA_TOKEN", "t0ken-word")
    with running() as found:
        yield found


def settings(site: Site, **more: Any) -> JiraSettings:
    usual = {
        "url": site.url,
        "email": "mimrun@example.org",
        "token": "env:JIRA_TOKEN",
        "fields": FIELDS,
        "service_desk": "3",
        "request_types": {"emergency": "77"},
    }
    return JiraSettings(**{**usual, **more})


@pytest.fixture
def jira(site: Site) -> Iterator[Jira]:
    system = Jira("jira", settings(site))
    yield system
    system.close()


def custom(**values: Any) -> dict[str, Any]:
    usual = {"type": {"value": "Normal"}, "run": "run-7k2q", "digest": DIGEST, "targets": "db1, db2"}
    return {FIELDS[name]: value for name, value in {**usual, **values}.items()}


def draft(**more: Any) -> ChangeDraft:
    usual: dict[str, Any] = {
        "key": "run-7k2q gate 3",
        "type": "emergency",
        "title": "Promote the standby",
        "risk": "high",
        "justification": "the primary is gone",
        "plan": "1. promote",
        "backout": "rewind",
        "targets": ("db1", "db2"),
        "run": "run-7k2q",
        "digest": DIGEST,
        "window": Window(AT, AT.replace(hour=5)),
    }
    return ChangeDraft(**{**usual, **more})


def test_an_approved_request_is_read_with_all_that_is_decided_from(site: Site, jira: Jira) -> None:
    times = {"window_start": "2026-11-22T02:00:00.000+0000", "window_end": "2026-11-22T07:00:00.000+0100"}
    issue = site.issue(**custom(**times, backout="rewind"))
    site.approve(issue, "Peer review", {"acc-bob": "approved"})
    site.approve(issue, "Change manager", {"acc-alice": "approved", "acc-eve": "pending"}, final="approved")
    record = jira.read(issue["key"])
    assert record.unreadable == {}
    assert (record.type, record.state, record.approval) == (
        "normal",
        ChangeState.SCHEDULED,
        ChangeApproval.APPROVED,
    )
    said = {vote.account: vote.decision for vote in record.votes}
    assert said == {"acc-bob": "approved", "acc-alice": "approved", "acc-eve": None}
    assert record.window == Window(
        datetime(2026, 11, 22, 2, tzinfo=UTC), datetime(2026, 11, 22, 6, tzinfo=UTC)
    )
    assert (record.run, record.digest, record.targets) == ("run-7k2q", DIGEST, ("db1", "db2"))
    assert record.requested_by == "acc-responder"


@pytest.mark.parametrize(
    ("steps", "approval"),
    [
        ([], ChangeApproval.NOT_REQUESTED),
        ([("CM", "pending")], ChangeApproval.REQUESTED),
        ([("CM", "approved"), ("CAB", "pending")], ChangeApproval.REQUESTED),
        ([("CM", "approved"), ("CAB", "approved")], ChangeApproval.APPROVED),
        ([("CM", "approved"), ("CAB", "declined")], ChangeApproval.REJECTED),
        ([("CM", "declined"), ("CM", "approved")], ChangeApproval.APPROVED),
        ([("CM", "approved"), ("CM", "pending")], ChangeApproval.REQUESTED),
    ],
)
def test_each_step_counts_as_it_was_answered_last(
    site: Site, jira: Jira, steps: list[tuple[str, str]], approval: ChangeApproval
) -> None:
    issue = site.issue(**custom())
    for name, word in steps:
        site.approve(issue, name, {"acc-alice": word})
    assert jira.read(issue["key"]).approval is approval


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        (custom(type={"value": "Gigantic"}), "type"),
        (custom(type=None), "type"),
        ({**custom(), "status": "Somewhere"}, "state"),
        (custom(window_start="tomorrow", window_end="2026-11-22T07:00:00.000+0000"), "window"),
        (custom(window_start="2026-11-22T07:00:00.000+0000"), "window"),
        (custom(digest=["x"]), "digest"),
        (custom(targets=7.5), "targets"),
        ({**custom(), "reporter": {"accountId": {"x": 1}}}, "requested_by"),
    ],
)
def test_a_field_that_cannot_be_read_is_named(
    site: Site, jira: Jira, fields: dict[str, Any], name: str
) -> None:
    assert name in jira.read(site.issue(**fields)["key"]).unreadable


def test_a_field_that_the_site_has_no_more_is_unreadable(site: Site, jira: Jira) -> None:
    issue = site.issue(**custom())
    del issue["fields"][FIELDS["digest"]]
    assert "no such field" in jira.read(issue["key"]).unreadable["digest"]


def test_a_decision_that_nobody_knows_makes_the_votes_unreadable(site: Site, jira: Jira) -> None:
    issue = site.issue(**custom())
    site.approve(issue, "CM", {"acc-alice": "abstained"}, final="approved")
    assert "votes" in jira.read(issue["key"]).unreadable


def test_approvals_are_read_page_by_page(site: Site, jira: Jira) -> None:
    site.page = 2
    issue = site.issue(**custom())
    for number in range(7):
        site.approve(issue, f"Step {number}", {f"acc-{number}": "approved"})
    assert len(jira.read(issue["key"]).votes) == 7


def test_what_was_changed_after_it_was_approved_is_refused(site: Site, jira: Jira) -> None:
    issue = site.issue(**custom())
    early = (datetime.now(UTC) - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%S.000+0000")
    late = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%S.000+0000")
    site.edit(issue, FIELDS["digest"], DIGEST, early)
    site.approve(issue, "CM", {"acc-alice": "approved"})
    assert jira.read(issue["key"]).unreadable == {}
    site.edit(issue, "summary", "another title", late)
    assert jira.read(issue["key"]).unreadable == {}
    site.edit(issue, FIELDS["digest"], "sha256:" + "00" * 32, late)
    assert "Mallory changed it" in jira.read(issue["key"]).unreadable["digest"]


def test_an_approval_of_which_nobody_knows_when_proves_nothing(site: Site, jira: Jira) -> None:
    issue = site.issue(**custom())
    del site.approve(issue, "CM", {"acc-alice": "approved"})["completedDate"]
    assert "not known when" in jira.read(issue["key"]).unreadable["votes"]


def test_a_history_that_does_not_say_what_was_changed_proves_nothing(site: Site, jira: Jira) -> None:
    issue = site.issue(**custom())
    site.approve(issue, "CM", {"acc-alice": "approved"})
    issue["changelog"]["histories"].append({"created": "2026-11-22T03:00:00.000+0000"})
    issue["changelog"]["total"] = len(issue["changelog"]["histories"])
    assert "does not say what" in jira.read(issue["key"]).unreadable["digest"]


def test_a_history_that_is_cut_off_proves_nothing(site: Site, jira: Jira) -> None:
    issue = site.issue(**custom())
    site.approve(issue, "CM", {"acc-alice": "approved"})
    issue["changelog"]["total"] = 250
    assert "not all there" in jira.read(issue["key"]).unreadable["digest"]


def test_states_of_ones_own_are_configured_and_compared_without_case(site: Site) -> None:
    system = Jira("jira", settings(site, state_map={"Bereit": "scheduled"}))
    assert system.read(site.issue(**custom(), status="BEREIT")["key"]).state is ChangeState.SCHEDULED
    system.close()


def test_a_request_is_made_filled_in_and_found(site: Site, jira: Jira) -> None:
    ref = jira.create(draft())
    record = jira.read(ref)
    assert (record.type, record.run, record.digest) == ("emergency", "run-7k2q", DIGEST)
    assert record.targets == ("db1", "db2")
    assert record.window == Window(AT, AT.replace(hour=5))
    assert jira.find("run-7k2q gate 3") == ref
    site.issues[ref]["fields"][FIELDS["key"]] = "run-7k2q gate 3 (copy)"
    assert jira.find("run-7k2q gate 3") == "", "words are not the key"


def test_a_field_that_is_on_no_screen_is_said(site: Site, jira: Jira) -> None:
    site.screen.discard(FIELDS["digest"])
    with pytest.raises(Refused, match=r"customfield_10052.*not on the appropriate screen"):
        jira.create(draft())


@pytest.mark.parametrize("kind", ["standard", "normal"])
def test_a_type_without_a_request_type_is_not_made(jira: Jira, kind: str) -> None:
    with pytest.raises(Refused, match="no request type is named"):
        jira.create(draft(type=kind))


def test_notes_links_and_states_are_written_once(site: Site, jira: Jira) -> None:
    issue = site.issue(**custom())
    started = Addition(
        what="started", key="run-7k2q seq=9", text="Work began.", url="https://m/runs/1", at=AT
    )
    assert jira.add(issue["key"], started).already is False
    assert jira.add(issue["key"], started).already is True
    assert issue["fields"]["status"]["name"] == "Implementing"
    assert site.links[issue["key"]][0]["object"]["url"] == "https://m/runs/1"
    assert (
        jira.add(issue["key"], Addition(what="close", key="k2", text="It failed.", successful=False)).detail
        == ""
    )
    assert issue["fields"]["status"]["name"] == "Failed"
    bodies = [row["body"] for row in site.comments[issue["key"]]]
    assert len(bodies) == 2
    assert "2026-11-22 03:14:15 UTC" in bodies[0]
    assert all(row["public"] is False for row in site.comments[issue["key"]])


def test_a_mark_behind_many_comments_is_found(site: Site, jira: Jira) -> None:
    issue = site.issue(**custom())
    site.comments[issue["key"]] = [{"body": f"comment {n}"} for n in range(120)] + [{"body": "x [mimrun k9]"}]
    assert jira.add(issue["key"], Addition(what="note", key="k9", text="again")).already is True


def test_a_state_that_no_transition_leads_to_is_said(site: Site, jira: Jira) -> None:
    issue = site.issue(**custom(), status="Open")
    added = jira.add(issue["key"], Addition(what="started", key="k", text="Work began.", at=AT))
    assert "no transition leads from here to Implementing" in added.detail
    assert len(site.comments[issue["key"]]) == 1


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(503, {"errorMessages": ["down"]}), Unreachable),
        (Answer(200, body=b"<html>Log in with your Atlassian account</html>"), Unreachable),
        (Answer(401, {"errorMessages": ["no"]}), Refused),
        (Answer(404, {"errorMessages": ["no"]}), Refused),
        (Answer(200, {"key": "OPS-999"}), Refused),
    ],
)
def test_an_outage_is_told_from_a_refusal(
    site: Site, jira: Jira, answer: Answer, error: type[Exception]
) -> None:
    site.fault = answer
    with pytest.raises(error):
        jira.read("OPS-1")


def test_a_lost_answer_to_a_making_is_one(site: Site, jira: Jira) -> None:
    site.fault = Answer(502, {})
    with pytest.raises(LostAnswer):
        jira.create(draft())


@pytest.mark.parametrize("ref", ["", "ops-1", "OPS-0", "OPS-1/comment", "OPS-1 OR 1=1", "../OPS-1"])
def test_a_reference_is_the_key_of_an_issue(jira: Jira, ref: str) -> None:
    with pytest.raises(Refused, match="is not the key of an issue"):
        jira.read(ref)


@pytest.mark.parametrize("key", ['x" OR project = SECRET', "x\\", "", "x\ny"])
def test_a_key_cannot_be_a_query(jira: Jira, key: str) -> None:
    with pytest.raises(Refused, match="cannot be looked for"):
        jira.find(key)


def test_no_approval_is_ever_given(site: Site, jira: Jira) -> None:
    ref = jira.create(draft())
    jira.add(ref, Addition(what="close", key="k", text="done"))
    assert site.server is not None
    assert not [asked for asked in site.server.seen if "approval" in asked.path and asked.method != "GET"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"fields": {"run": "customfield_1", "digest": "customfield_2", "key": "customfield_3"}},
        {"fields": {**FIELDS, "colour": "customfield_9"}},
        {"fields": {**FIELDS, "run": "Run"}},
        {"service_desk": ""},
        {"kind": "server"},
    ],
)
def test_settings_that_cannot_be_are_refused(site: Site, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        settings(site, **wrong)
