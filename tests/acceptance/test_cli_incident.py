"""Incidents on the real command line: declared, worked on, told, and closed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from builders.commands import GATE, Desk, mark, until
from builders.every_kind import HOSTILE

from mimrun.app.home import operating_system_user

VERIFIED = (
    "  - name: Restart it\n"
    "    local.shell: {cmd: 'echo restarted >> marks'}\n"
    "    verify: {local.shell: {cmd: cat marks}, expect: result.stdout != ''}\n"
)
MILD = ("--impact", "low", "--urgency", "low")
BAD = ("--impact", "high", "--urgency", "high")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def declare(desk: Desk, *words: str, title: str = "nobody can pay") -> str:
    """Declare an incident; gives its name."""
    said = desk("incident", "declare", title, *words, "--json")
    assert said.code == 0, said.err
    return str(said.json["incident"])


def test_somebody_who_may_declares_the_priority_with_it_and_others_are_told_who_may(desk: Desk) -> None:
    alex = desk("incident", "declare", "nobody", "can", "pay", *BAD, "--as", "alex")
    assert alex.code == 0, alex.err
    assert "declared by alex: SEV2, P1 (impact high, urgency high)  nobody can pay" in alex.out
    assert "P1 counts at gates from now on" in alex.out
    other = desk("incident", "declare", "nobody can pay", *BAD, "--service", "payments")
    assert "P1 is assessed, and counts at gates once it is declared" in other.out
    assert "major_incident_manager or service_desk may: alex" in other.out
    as_json = desk("incident", "declare", "x", *BAD, "--json").json
    assert (as_json["priority_counts"], as_json["who_may_prioritize"]["people"]) == (False, ["alex"])
    listed = desk("incident", "list").out
    assert listed.count("(P1)") == 2
    assert listed.count("SEV2") == 3


def test_the_whole_way_of_an_incident(desk: Desk) -> None:
    name = declare(desk, *MILD, "--detected", "5m ago", "--text", "since the release")
    assert desk("incident", "assign", "latest", "technical_lead", "billie").code == 0
    assert desk("incident", "stage", "latest", "containment").code == 0
    early = desk("incident", "stage", "latest", "resolution")
    assert (early.code, "nothing shows that" in early.err) == (5, True)
    book = desk.runbook(mark("one") + VERIFIED)
    apart = desk.run(desk.runbook(mark("apart"), name="apart"))
    assert f"{name} is open (nobody can pay): does it belong there? --incident {name}" in apart.out
    ran = desk.run(book, "--incident", name)
    assert ran.code == 0, ran.err
    assert f"belongs to {name}: nobody can pay" in ran.out
    assert desk.status()["incident"] == name
    contained = desk("incident", "stage", name[:14], "resolution")
    assert contained.code == 0, contained.err
    assert f"{name}: in resolution now: contained since" in contained.out
    shown = desk("incident", "show", name, "--json").json
    verified = json.loads(
        next(
            line
            for line in desk("log", "show", "--json", "--incident", name).out.splitlines()
            if json.loads(line)["kind"] == "step.verified"
        )
    )
    assert (shown["verified"], shown["clocks"]["contained"]["at"]) == (verified["seq"], verified["ts"])
    not_yet = desk("incident", "close", name)
    assert (not_yet.code, "it is not resolved" in not_yet.err) == (5, True)
    resolved = desk("incident", "resolve", name, "fixed", "--cause", "disk_full", "--text", "swept it")
    assert resolved.code == 0, resolved.err
    assert f"next: mimrun incident close {name}" in resolved.out
    assert desk("incident", "close", name).code == 0
    late = desk.run(book, "--incident", name)
    assert (late.code, f"{name} is closed" in late.err) == (5, True)
    assert desk("incident", "list", "--open").out.startswith("in none of the 2 incidents is anything left")
    again = desk("incident", "reopen", name, "--reason", "the errors are back", "--json").json
    assert (again["status"], again["stage"], again["reopened"]) == ("open", "containment", 1)
    checked = desk("log", "verify", "--states")
    assert checked.code == 0, checked.out + checked.err
    human = desk("incident", "show", name).out
    assert "◉ containment" in human
    assert "reopened 1 x" in human
    assert "technical_lead          billie" in human


def test_an_incident_names_what_waits_in_it_and_then_what_was_shown(desk: Desk) -> None:
    name = declare(desk, *MILD)
    desk.run(desk.runbook(GATE + VERIFIED), "--incident", name)
    run = desk.status()["run"]
    shown = desk("incident", "show", name).out
    assert f"next: mimrun status {run}   (it waits: " in shown
    assert "resolution   (once" not in shown
    assert desk("approve", "latest", "--as", "alex", "--yes").code == 0
    assert desk("resume", "latest", "--direct").code == 0
    shown = desk("incident", "show", name).out
    assert f"next: mimrun incident stage {name} resolution   (a step has shown that it is contained)" in shown
    assert "mimrun status" not in shown


def test_the_timeline_tells_all_of_it_in_sentences(desk: Desk) -> None:
    name = declare(desk, *MILD)
    desk.run(desk.runbook(VERIFIED), "--incident", name)
    desk("incident", "note", "latest", "it was", "the certificate")
    desk("did", "restarted the switch", "--at", "15m ago", "--target", "db1")
    told = desk("incident", "timeline", "latest")
    assert told.code == 0, told.err
    out = " ".join(told.out.split())
    for sentence in (
        "responder opened the incident: nobody can pay",
        "responder asked for A test of the command line",
        "Step 1 (Restart it) on localhost was verified",
        "responder noted: it was the certificate",
        "responder did by hand on db1: restarted the switch (entered at",
    ):
        assert sentence in out, told.out
    assert told.out.index("did by hand") < told.out.index("opened the incident")
    lines = desk("incident", "timeline", "latest", "--json").json
    assert len(lines) == len({line["seq"] for line in lines})
    only = desk("incident", "timeline", "latest", "--source", "note,manual", "--json").json
    assert [line["source"] for line in only] == ["manual", "note"]
    assert desk("incident", "timeline", "latest", "--last", "2", "--json").json == lines[-2:]
    after = desk("incident", "timeline", "latest", "--after", str(lines[-1]["seq"]), "--json").json
    assert all(line["seq"] > lines[-1]["seq"] for line in after)


def test_the_timeline_goes_on_while_things_happen_and_ends_with_the_incident(desk: Desk) -> None:
    declare(desk, *MILD)
    following = desk.begin("incident", "timeline", "latest", "--follow")
    until(lambda: "opened the incident" in following.out.readline(), "the timeline begins")
    desk("incident", "note", "latest", "something new")
    until(lambda: "something new" in following.out.readline(), "the note is told")
    desk("incident", "resolve", "latest", "no_fault")
    desk("incident", "close", "latest")
    said = following.wait()
    assert said.code == 0, said.err
    assert "closed the incident" in said.out


def test_a_gate_asks_by_the_priority_that_was_declared_with_the_incident(desk: Desk) -> None:
    (desk.home / "policy.yaml").write_text(
        "matrix: {low: {P1: none, other: {approvals: [{role: change_manager}]}, freeze: none}}\n"
    )
    calm = declare(desk, *BAD)
    book = desk.runbook(mark("one"))
    assert desk.run(book, "--incident", calm).code == 3
    urgent = declare(desk, *BAD, "--as", "alex")
    ran = desk.run(book, "--incident", urgent)
    assert ran.code == 0, ran.err
    assert desk.marks() == ["one"]


def test_an_incident_with_a_run_that_waits_is_not_closed(desk: Desk) -> None:
    name = declare(desk, *MILD)
    desk.run(desk.runbook(GATE + mark("one")), "--incident", name)
    desk("incident", "resolve", "latest", "no_fault")
    shown = desk("incident", "show", "--json").json
    (why,) = shown["blocks_closing"]
    assert "is not over: it is waiting" in why
    assert "cannot be closed: run-" in desk("incident", "show").out
    refused = desk("incident", "close", "latest", "--json")
    assert (refused.code, refused.json["kind"]) == (5, "RefusedError")


def test_times_links_and_assessments_are_told_and_checked(desk: Desk) -> None:
    parent, child = declare(desk, *MILD), declare(desk, *MILD)
    assert desk("incident", "link", child, "parent", parent).code == 0
    assert desk("incident", "link", child, "record", "INC0010042").code == 0
    assert desk("incident", "show", parent, "--json").json["children"] == [child]
    guess = desk("incident", "time", child, "started", "20m ago", "--estimate", "--json").json
    assert guess["clocks"]["started"]["source"] == "estimate"
    assert desk("incident", "time", child, "detected", "15m ago").code == 0
    worse = desk("incident", "assess", child, "--impact", "high", "--flag", "security", "--json").json
    assert (worse["impact"], worse["urgency"], worse["assessed_priority"]) == ("high", "low", "P3")
    human = desk("incident", "show", child).out
    for words in (
        f"part of {parent}",
        "record INC0010042",
        "an estimate",
        "impact high, urgency low, security",
    ):
        assert words in human, human


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("declare", " "), "say what is broken"),
        (("declare", "x", "--impact", "hihg"), "did you mean 'high'"),
        (("declare", "x", "--flag", "securty"), "did you mean 'security'"),
        (("declare", "x", "--started", "noon"), "is not a moment"),
        (("declare", "x", "--parent", "INC-19990101-XXXX"), "has no incident"),
        (("show", "INC-19990101-XXXX"), "has no incident"),
        (("stage", "latest", "containmnet"), "did you mean 'containment'"),
        (("stage", "latest", "resolution", "--verified", "1"), "no verified step"),
        (("assign", "latest", "technical_leed"), "did you mean 'technical_lead'"),
        (("assign", "latest", "scribe", "alexx"), "did you mean 'alex'"),
        (("assign", "latest", "scribe", "alex", "--nobody"), "not both"),
        (("resolve", "latest", "fixt"), "did you mean 'fixed'"),
        (("time", "latest", "startd", "5m ago"), "did you mean 'started'"),
        (("time", "latest", "started", "2099-01-01T10:00"), "from now"),
        (("link", "latest", "paren", "x"), "did you mean 'parent'"),
        (("link", "latest", "parent", "latest"), "with itself"),
        (("timeline", "latest", "--source", "notes"), "did you mean 'note'"),
        (("timeline", "latest", "--follow", "--json"), "--follow is for people"),
        (("declare", "x", "--as", "nobody"), "nobody"),
    ],
)
def test_bad_words_are_refused_with_what_was_meant_and_change_nothing(
    desk: Desk, words: tuple[str, ...], why: str
) -> None:
    declare(desk, *MILD)
    size = desk.size()
    said = desk("incident", *words)
    assert (said.code, why in said.err + said.out) == (2, True), said
    assert "Traceback" not in said.err
    assert desk.size() == size


def test_hostile_words_cannot_forge_a_line_on_the_terminal(desk: Desk) -> None:
    hostile = HOSTILE.replace("\x00", "")
    name = declare(desk, *MILD, "--service", hostile[:60], title=hostile)
    desk("incident", "note", name, "-", stdin=hostile)
    for words in (("show",), ("list",), ("timeline",)):
        out = desk("incident", *words).out
        assert not set("\x1b\x07\x7f\x9b\u202e\u200b\u2028\u2029\r") & set(out), words
        assert "esc" in out


def test_the_table_is_shown_and_what_is_wrong_in_it_is_named_at_its_place(desk: Desk) -> None:
    own = desk("incident", "table")
    assert "mimrun's own" in own.out
    assert desk("incident", "table", "--json").json["file"] is None
    file = desk.home / "incidents.yaml"
    file.write_text("critical_services: [payments]\nflags: {payroll: salaries are late}\n")
    shown = desk("incident", "table", "--json").json
    assert (shown["critical_services"], shown["flags"]["payroll"]) == (["payments"], "salaries are late")
    severe = desk("incident", "declare", "x", *BAD, "--service", "payments", "--json").json
    assert severe["severity"] == "SEV1"
    file.write_text("matrix:\n  hihg: {}\n")
    wrong = desk("incident", "table")
    assert (wrong.code, "incidents.yaml:2:3:" in wrong.err, "did you mean 'high'" in wrong.err) == (
        2,
        True,
        True,
    )
    still = desk("incident", "declare", "x", *BAD)
    assert still.code == 0, still.err
    assert "incidents" in desk("policy", "history").out


def test_a_token_to_record_declares_and_one_to_read_does_not(desk: Desk) -> None:
    people = f"people: {{alex: {{roles: [service_desk], accounts: ['{operating_system_user()}']}}}}\n"
    (desk.home / "people.yaml").write_text(people)
    tokens = {}
    for scope in ("read", "record"):
        words = ("--scope", scope, "--expires", "1h")
        made = desk("token", "create", f"{scope}-only", *words)
        assert made.code == 0, made.err
        tokens[scope] = made.out.strip()
    looking = desk("incident", "declare", "x", *BAD, MIMRUN_TOKEN=tokens["read"])
    assert (looking.code, "needs the scope 'record'" in looking.err) == (5, True)
    recording = desk("incident", "declare", "x", *BAD, "--json", MIMRUN_TOKEN=tokens["record"])
    assert recording.code == 0, recording.err
    # alex may say how urgent it is, and this token may not.
    assert (recording.json["priority"], recording.json["opened_by"]) == (None, "alex")


def test_an_incident_is_named_in_one_way_everywhere(desk: Desk) -> None:
    name = declare(desk, *MILD)
    desk.run(desk.runbook(mark("one")), "--incident", "latest")
    for words in (
        ("log", "show", "--incident", "latest", "--json"),
        ("log", "export", name[:14], "--format", "jsonl", "-o", "-"),
        ("log", "export", "latest", "--json"),
        ("note", "x", "--incident", "latest"),
        ("change", "open", "--title", "x", "--incident", name[:-1], "--json"),
        ("policy", "explain", "--runbook", desk.runbook(mark("one")), "--incident", "latest"),
    ):
        said = desk(*words)
        assert said.code == 0, (words, said.err)
    assert (desk.folder / f"{name}.mimlog").exists()
