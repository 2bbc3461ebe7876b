"""GLPI: what its changes mean, what is written back, and everything that must keep a gate closed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from builders.answering import Answer
from builders.glpi import Instance, running
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from connectors.change.fields import Reading
from connectors.change.glpi import Glpi, GlpiSettings
from connectors.change.glpi.line import read_line, write_line
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

DIGEST = "sha256:" + "12" * 32
AT = datetime(2026, 11, 22, 3, 14, 15, tzinfo=UTC)
LINE = f"mimrun: type=normal run=run-7k2q digest={DIGEST}"


@pytest.fixture
def glpi_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Instance]:
    monkeypatch.setenv("GLPI_USER", "us3r-word")
    monkeypatch.setenv("GLPI_APP", "app-word")
    with running() as found:
        yield found


def settings(instance: Instance, **more: Any) -> GlpiSettings:
    usual = {"url": instance.url, "user_token": "env:GLPI_USER", "app_token": "env:GLPI_APP"}
    return GlpiSettings(**{**usual, **more})


@pytest.fixture
def glpi(glpi_at: Instance) -> Iterator[Glpi]:
    system = Glpi("glpi", settings(glpi_at, zone="Europe/Paris", validators=[41, 42]))
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
    }
    return ChangeDraft(**{**usual, **more})


@pytest.mark.parametrize("escapes", [0, 1, 2])
def test_an_approved_change_is_read_with_all_that_is_decided_from(
    glpi_at: Instance, glpi: Glpi, escapes: int
) -> None:
    glpi_at.escapes = escapes
    change = glpi_at.change(f"<p>Why &amp; how</p><p>{LINE}</p>", backoutplancontent="rewind")
    glpi_at.validate(change, 41, comment="go")
    glpi_at.validate(change, 0, items_id_target=42, itemtype_target="User")
    glpi_at.about(change, "db2", "db1")
    glpi_at.sub(change, "ChangeTask", begin="2026-11-22 03:00:00", end="2026-11-22 04:00:00")
    glpi_at.sub(change, "ChangeTask", begin="2026-11-22 05:00:00", end="2026-11-22 07:00:00")
    glpi_at.sub(change, "ChangeTask", begin=None, end=None)
    record = glpi.read(str(change["id"]))
    assert record.unreadable == {}
    assert (record.type, record.state, record.approval) == (
        "normal",
        ChangeState.SCHEDULED,
        ChangeApproval.APPROVED,
    )
    assert [(v.account, v.decision, v.reason) for v in record.votes] == [
        ("41", "approved", "go"),
        ("42", "approved", ""),
    ]
    assert record.window == Window(
        datetime(2026, 11, 22, 2, tzinfo=UTC), datetime(2026, 11, 22, 6, tzinfo=UTC)
    )
    assert (record.run, record.digest, record.targets) == ("run-7k2q", DIGEST, ("db1", "db2"))
    assert record.requested_by == "6"


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (f"<p>{LINE}</p><p>{LINE}</p>", "digest"),
        (f"<p>mimrun: digest={DIGEST} digest=sha256:00</p>", "digest"),
        ("<p>mimrun: colour=red</p>", "type"),
        ("<p>nothing</p>", "type"),
        ("<p>mimrun: type=gigantic</p>", "type"),
    ],
)
def test_a_line_that_is_not_clear_is_unreadable(
    glpi_at: Instance, glpi: Glpi, content: str, name: str
) -> None:
    assert name in glpi.read(str(glpi_at.change(content)["id"])).unreadable


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"status": 99}, "state"),
        ({"status": None}, "state"),
        ({"global_validation": 7}, "approval"),
        ({"global_validation": None}, "approval"),
        ({"users_id_recipient": []}, "requested_by"),
    ],
)
def test_a_field_that_cannot_be_read_is_named(
    glpi_at: Instance, glpi: Glpi, fields: dict[str, Any], name: str
) -> None:
    assert name in glpi.read(str(glpi_at.change(LINE, **fields)["id"])).unreadable


def test_a_validation_of_nobody_or_of_an_unknown_word_makes_the_votes_unreadable(
    glpi_at: Instance, glpi: Glpi
) -> None:
    by_group, odd = glpi_at.change(LINE), glpi_at.change(LINE)
    glpi_at.validate(by_group, 0, itemtype_target="Group", items_id_target=5)
    glpi_at.validate(odd, 41, 9)
    assert "nobody says who" in glpi.read(str(by_group["id"])).unreadable["votes"]
    assert "votes" in glpi.read(str(odd["id"])).unreadable


def test_a_change_that_waits_is_on_hold(glpi_at: Instance, glpi: Glpi) -> None:
    assert glpi.read(str(glpi_at.change(LINE, status=4)["id"])).on_hold


def test_an_hour_that_is_there_twice_is_unreadable(glpi_at: Instance, glpi: Glpi) -> None:
    change = glpi_at.change(LINE)
    glpi_at.sub(change, "ChangeTask", begin="2026-10-25 02:30:00", end="2026-10-25 05:00:00")
    assert "twice or never" in glpi.read(str(change["id"])).unreadable["window"]


def test_what_was_changed_after_it_was_approved_is_refused(glpi_at: Instance, glpi: Glpi) -> None:
    change = glpi_at.change(LINE)
    glpi_at.validate(change, 41, validation_date="2026-11-22 03:00:00")
    glpi_at.sub(change, "Log", id_search_option=21, date_mod="2026-11-22 02:59:00", user_name="responder (6)")
    glpi_at.sub(change, "Log", id_search_option=1, date_mod="2026-11-22 03:01:00", user_name="mallory (7)")
    assert glpi.read(str(change["id"])).unreadable == {}
    glpi_at.sub(change, "Log", id_search_option=21, date_mod="2026-11-22 03:01:00", user_name="mallory (7)")
    assert "mallory (7) changed" in glpi.read(str(change["id"])).unreadable["digest"]


def test_a_change_in_the_second_of_its_approval_is_taken_for_one_behind_it(
    glpi_at: Instance, glpi: Glpi
) -> None:
    change = glpi_at.change(LINE)
    glpi_at.validate(change, 41, validation_date="2026-11-22 03:00:00")
    glpi_at.sub(change, "Log", id_search_option=21, date_mod="2026-11-22 03:00:00", user_name="mallory (7)")
    assert "mallory (7) changed" in glpi.read(str(change["id"])).unreadable["digest"]


def test_an_approval_of_which_nobody_knows_when_proves_nothing(glpi_at: Instance, glpi: Glpi) -> None:
    change = glpi_at.change(LINE)
    glpi_at.validate(change, 41, validation_date=None)
    assert "not known when" in glpi.read(str(change["id"])).unreadable["votes"]
    without = Glpi("glpi", settings(glpi_at, history=False))
    assert without.read(str(change["id"])).unreadable == {}
    without.close()


def test_a_history_that_may_not_be_seen_is_refused_unless_it_is_not_wanted(
    glpi_at: Instance, glpi: Glpi
) -> None:
    change = glpi_at.change(LINE)
    glpi_at.hidden = {"Log"}
    with pytest.raises(Refused, match="Log"):
        glpi.read(str(change["id"]))
    without = Glpi("glpi", settings(glpi_at, history=False))
    assert without.read(str(change["id"])).digest == DIGEST
    without.close()


def test_lists_are_read_part_by_part(glpi_at: Instance, glpi: Glpi) -> None:
    change = glpi_at.change(LINE)
    for user in range(120):
        glpi_at.validate(change, user + 100)
    assert len(glpi.read(str(change["id"])).votes) == 120


def test_a_session_that_has_run_out_is_begun_anew(glpi_at: Instance, glpi: Glpi) -> None:
    change = glpi_at.change(LINE)
    glpi.read(str(change["id"]))
    glpi_at.sessions.clear()
    assert glpi.read(str(change["id"])).digest == DIGEST
    assert glpi_at.begun == 2
    glpi.close()
    assert glpi_at.sessions == set()


def test_a_change_is_made_its_validators_asked_and_found(glpi_at: Instance, glpi: Glpi) -> None:
    ref = glpi.create(draft())
    record = glpi.read(ref)
    assert (record.type, record.run, record.digest) == ("emergency", "run-7k2q", DIGEST)
    assert record.approval is ChangeApproval.REQUESTED
    assert [vote.account for vote in record.votes] == ["41", "42"]
    assert "&lt;primary&gt;" in glpi_at.rows["Change"][int(ref)]["content"]
    assert glpi.find("run-7k2q gate 3") == ref
    assert glpi.find("run-7k2q gate") == "", "a part of a key is not the key"


def test_follow_ups_are_written_once_and_an_end_that_is_not_allowed_is_said(
    glpi_at: Instance, glpi: Glpi
) -> None:
    change = glpi_at.change(LINE)
    ref = str(change["id"])
    note = Addition(what="started", key="run-7k2q seq=9", text="Work <began>.", url="https://m/runs/1", at=AT)
    assert glpi.add(ref, note).already is False
    assert glpi.add(ref, note).already is True
    glpi_at.rules = {6}
    assert "not allowed" in glpi.add(ref, Addition(what="close", key="k2", text="It worked.")).detail
    glpi_at.rules = set()
    assert glpi.add(ref, Addition(what="close", key="k3", text="It worked.")).detail == ""
    assert change["status"] == 6
    notes = glpi_at.subs[(change["id"], "ITILFollowup")]
    assert len(notes) == 3
    assert all(row["is_private"] == 1 for row in notes)
    assert "&lt;began&gt;" in notes[0]["content"]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(503, ["ERROR", "down"]), Unreachable),
        (Answer(200, body=b"<html>GLPI</html>"), Unreachable),
        (Answer(200, {"id": 999}), Unreachable),
        (Answer(404, ["ERROR_ITEM_NOT_FOUND", "Item not found"]), Refused),
        (Answer(401, ["ERROR_NOT_ALLOWED_IP", "no"]), Refused),
    ],
)
def test_an_outage_is_told_from_a_refusal(
    glpi_at: Instance, glpi: Glpi, answer: Answer, error: type[Exception]
) -> None:
    glpi_at.fault = answer
    with pytest.raises(error):
        glpi.read("11")
    glpi_at.fault = None


def test_a_lost_answer_to_a_making_is_one(glpi_at: Instance, glpi: Glpi) -> None:
    glpi_at.fault = Answer(502, body=b"")
    with pytest.raises(LostAnswer):
        glpi.create(draft())
    glpi_at.fault = None


@pytest.mark.parametrize("ref", ["", "0", "1/Log", "../1", "1 or 1=1"])
def test_a_reference_is_a_number(glpi: Glpi, ref: str) -> None:
    with pytest.raises(Refused, match="is not the number of a change"):
        glpi.read(ref)


def test_no_validation_is_ever_answered(glpi_at: Instance, glpi: Glpi) -> None:
    ref = glpi.create(draft())
    glpi.add(ref, Addition(what="close", key="k", text="done"))
    assert glpi_at.server is not None
    written = [a for a in glpi_at.server.seen if "Validation" in a.path and a.method != "GET"]
    assert [a.method for a in written] == ["POST", "POST"]
    assert not [a for a in written if b'"status"' in a.body]


WORDS = st.text(st.sampled_from("abcXYZ0189-_:.@/"), min_size=1, max_size=80)


@given(run=WORDS, digest=WORDS, before=st.text(max_size=50), after=st.text(max_size=50))
def test_a_line_that_was_written_is_read_again_whatever_stands_around_it(
    run: str, digest: str, before: str, after: str
) -> None:
    line = write_line({"type": "normal", "run": run, "digest": digest})
    around = [text.replace("mimrun", "").replace("<", "").replace("&", "") for text in (before, after)]
    read = read_line(f"<p>{around[0]}</p><p>{line}</p><p>{around[1]}</p>", Reading())
    assert read in ({}, {"type": "normal", "run": run, "digest": digest})


@pytest.mark.parametrize("wrong", [{"zone": "Mars/Olympus"}, {"validators": ["x"]}, {"colour": "red"}])
def test_settings_that_cannot_be_are_refused(glpi_at: Instance, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        settings(glpi_at, **wrong)
