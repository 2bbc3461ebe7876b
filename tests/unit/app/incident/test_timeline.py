"""The timeline: everything of an incident in time order, each as a sentence, whatever somebody wrote."""

from __future__ import annotations

import itertools
import sqlite3
from datetime import timedelta

import pytest
from builders.every_kind import HOSTILE
from builders.incidents import alert, fired
from builders.plans import a_plan, action, check, gate, manual
from builders.runs import ALEX, RESPONDER, Bench

from mimrun.app.decisions import attest
from mimrun.app.incident import working
from mimrun.app.incident.declaring import Declaration, declare
from mimrun.app.incident.timeline import Line, recorded, timeline
from mimrun.app.manual_work import Place, Report, report_work, write_note
from mimrun.app.runs import create_run
from mimrun.errors import InputError

MILD = Declaration("It is slow", "low", "low")


def story(bench: Bench) -> str:
    """An incident in which an alert, a rule, a run with a gate and a manual step, a note and work by hand came."""
    with bench.home() as home:
        seq = alert(home)
        name = declare(home, RESPONDER, MILD)
        fired(home, name, seq, seq)
        plan = a_plan(bench.world, gate("1"), action("2", verify=check("True")), manual("3"))
        run = create_run(home, plan, RESPONDER, incident=name)
    bench.execute(run)
    bench.approve(run)
    bench.execute(run)
    with bench.home() as home:
        attest(home, run, ALEX, {})
        write_note(home, ALEX, Place(name), "it was the certificate")
    bench.execute(run)
    with bench.home() as home:
        working.move_stage(home, RESPONDER, name, "resolution")
    return name


def lines_of(bench: Bench, name: str) -> list[Line]:
    with bench.home() as home:
        return timeline(home, name)


def test_everything_that_happened_is_in_it_in_order(bench: Bench) -> None:
    lines = lines_of(bench, story(bench))
    assert [line.seq for line in lines] == sorted(line.seq for line in lines)
    firsts = [source for source, _ in itertools.groupby(line.source for line in lines)]
    assert firsts[:5] == ["alert", "incident", "rule", "run", "decision"]
    assert {"manual", "note", "step"} <= set(firsts)
    alerts = [line for line in lines if line.source == "alert"]
    assert [(line.inc, line.text) for line in alerts] == [
        ("", "prometheus says that something is wrong: Disk full, critical")
    ]


def test_each_line_is_a_sentence_that_names_people_and_steps(bench: Bench) -> None:
    said = [line.text for line in lines_of(bench, story(bench))]
    for sentence in (
        "responder opened the incident: It is slow",
        "responder says how bad it is: SEV4, P5 (impact low, urgency low)",
        "The rule disk-full told people on 2 alerts of db1",
        "alex approved step 1 (Gate 1), as change_manager",
        "Step 2 (Step 2) on a was verified",
        "alex noted: it was the certificate",
    ):
        assert sentence in said, said
    assert any(text.startswith("It is contained since ") and text.endswith("says responder") for text in said)
    assert any(text.startswith("alex signed that step 3") for text in said)


def test_work_by_hand_stands_where_it_was_done(bench: Bench) -> None:
    with bench.home() as home:
        name = declare(home, RESPONDER, MILD)
        done = home.clock() - timedelta(minutes=30)
        report_work(home, ALEX, Place(name), Report("restarted the switch", done, "db1"))
        report_work(home, ALEX, Place(name), Report("looked at it", home.clock()))
        first, *rest = timeline(home, name)
    assert (first.text, first.at) == ("alex did by hand on db1: restarted the switch", done)
    assert first.entered_later is not None
    assert first.entered_later > done
    assert first.seq > rest[0].seq
    assert rest[-1].entered_later is None


def test_reading_on_from_an_entry_gives_what_came_after_it_under_the_same_names(bench: Bench) -> None:
    name = story(bench)
    whole = lines_of(bench, name)
    with bench.home() as home:
        for line in whole:
            later = [one for one in timeline(home, name, after=line.seq) if one.inc]
            assert later == [one for one in whole if one.inc and one.seq > line.seq], line.kind
        rule = next(line for line in whole if line.source == "rule")
        assert [one.source for one in timeline(home, name, after=rule.seq - 1)][:2] == ["alert", "rule"]


def test_what_was_recorded_is_given_in_pieces_of_any_length(bench: Bench) -> None:
    name = story(bench)
    whole = sorted(lines_of(bench, name), key=lambda line: line.seq)
    with bench.home() as home:
        for limit in (1, 3, len(whole)):
            given, after = list[Line](), 0
            while piece := recorded(home, name, after=after, limit=limit):
                assert len(piece) <= limit
                given, after = [*given, *piece], piece[-1].seq
            assert given == whole


def test_what_somebody_wrote_is_text_and_nothing_else(bench: Bench) -> None:
    with bench.home() as home:
        name = declare(home, RESPONDER, MILD)
        write_note(home, ALEX, Place(name), HOSTILE)
        (note,) = (line for line in timeline(home, name) if line.source == "note")
    assert note.text == f"alex noted: {HOSTILE.strip()}"
    assert note.as_json()["text"] == note.text


def test_a_note_that_cannot_be_read_says_why(bench: Bench) -> None:
    with bench.home() as home:
        name = declare(home, RESPONDER, MILD)
        write_note(home, ALEX, Place(name), "a secret")
    bench.settings.blob_key_file.unlink()
    with bench.home() as home:
        (note,) = (line for line in timeline(home, name) if line.source == "note")
    assert note.text.startswith("alex noted: (blob 'text' of log entry")


def test_an_entry_that_was_changed_is_a_line_that_says_so(bench: Bench) -> None:
    name = story(bench)
    with bench.home() as home:
        (seq,) = (line.seq for line in timeline(home, name) if line.source == "note")
    database = sqlite3.connect(bench.settings.log)
    triggers = database.execute("select name from sqlite_master where type = 'trigger'").fetchall()
    for (trigger,) in triggers:
        database.execute(f"drop trigger {trigger}")
    database.execute("update entry set data = replace(data, 'alex', 'axel') where seq = ?", (seq,))
    database.commit()
    database.close()
    with bench.home() as home:
        lines = timeline(home, name)
    (line,) = (line for line in lines if line.seq == seq)
    assert (line.kind, line.source) == ("unreadable", "other")
    assert f"entry {seq} is not what was recorded" in line.text
    assert lines[-1].kind != "unreadable"


def test_an_incident_that_is_not_there_has_none(bench: Bench) -> None:
    with bench.home() as home, pytest.raises(InputError, match="has no incident"):
        timeline(home, "INC-19990101-XXXX")
