"""The command line from end to end: what each command does, says and ends with."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from builders.commands import GATE, MANUAL, Desk, mark

from mimrun.cli.commands import BY_NAME


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def run_of(desk: Desk) -> str:
    return str(desk("runs", "--json").json[0]["run"])


def test_a_run_from_the_plan_to_the_proof(desk: Desk) -> None:
    book = desk.runbook(mark("one") + GATE + MANUAL + mark("two"))
    planned = desk("plan", book, "--json").json
    ran = desk.run(book)
    assert ran.code == 3, ran.err
    assert "waits for 1 change_manager" in ran.out
    assert "next: mimrun approve run-" in ran.out
    assert desk.marks() == ["one"]
    waiting = desk.status()
    assert (waiting["status"], waiting["waits_on"], waiting["waits_at"]) == ("waiting", "gate", "2")
    assert waiting["plan"] == planned["digest"]
    digest = waiting["gates"]["2"]["digest"]

    approved = desk("approve", "latest", "--as", "alex", "--digest", digest[7:19])
    assert approved.code == 0, approved.err
    assert "echo two >> marks" in approved.out, "whoever agrees sees exactly what will run"
    assert "approved by alex as change_manager; the gate is open" in approved.out
    assert f"go on with: mimrun resume {waiting['run']}" in approved.out
    assert "next: mimrun resume" in desk("status").out

    resumed = desk("resume", "--direct")
    assert resumed.code == 3, resumed.err
    assert "to do:\n    Call them" in resumed.out
    attested = desk("attest", "latest", "--as", "alex", "-e", "link=https://desk.example.org/1")
    assert attested.code == 0, attested.err
    assert "next: mimrun resume" in desk("status").out

    done = desk("resume", "--direct", "--json")
    assert done.code == 0, done.err
    assert done.json["status"] == "succeeded"
    assert done.json["recap"]["changed"] == 2
    assert desk.marks() == ["one", "two"]
    assert desk("log", "verify").code == 0
    assert desk("log", "rebuild").code == 0


def test_json_is_the_only_thing_on_standard_output(desk: Desk) -> None:
    book = desk.runbook(mark("one") + GATE)
    ran = desk.run(book, "--json")
    assert (ran.code, ran.json["status"], ran.json["waits_on"]) == (3, "waiting", "gate")
    name = ran.json["run"]
    assert [run["run"] for run in desk("runs", "--json").json] == [name]
    decided = desk("approve", name, "--as", "alex", "--yes", "--json")
    assert decided.json == {
        "run": name,
        "result": "approved by alex as change_manager; the gate is open",
        "resumed": False,
        "next": f"mimrun resume {name}",
        "gate": {"stands": "open", "approvers": ["alex"], "opened_by": "approvals"},
    }
    assert desk("resume", name, "--direct", "--json").json["status"] == "succeeded"
    lines = desk("log", "show", name, "--json").out.splitlines()
    assert {json.loads(line)["run"] for line in lines} == {name}
    assert desk("log", "verify", "--json").json["ok"] is True
    exported = desk("log", "export", "all", "-o", "all.mimlog", "--json").json
    assert exported["entries"] >= len(lines)
    assert desk("log", "verify", "all.mimlog", "--json").json["ok"] is True
    assert desk("runbook", "list", "--json").json[0]["name"] == "test"
    assert desk("runbook", "show", "test", "--json").json["version"] == "1.0.0"
    assert desk("schema").json["$schema"]
    assert {check["name"] for check in desk("doctor", "--json").json} >= {"log", "people", "prefect"}
    assert desk("undo", name, "--show", "--json").json["exit_code"] == 1, "an error is JSON, too"


def test_a_log_shown_with_its_texts_is_still_one_object_a_line(desk: Desk) -> None:
    desk.run(desk.runbook("  - {name: Say, local.command: {argv: [echo, hello]}}\n"))
    shown = [json.loads(line) for line in desk("log", "show", "latest", "--blobs", "--json").out.splitlines()]
    texts = [line["blobs"].get("stdout", "") for line in shown]
    assert "hello\n" in texts or any("hello" in line["blobs"].get("data", "") for line in shown)
    assert all(line["entry"]["run"].startswith("run-") for line in shown)


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_the_help_of_every_command_has_an_example(desk: Desk, name: str) -> None:
    said = desk(name, "--help")
    assert said.code == 0
    assert re.search(rf"^ *mimrun {name}", said.out, re.MULTILINE), said.out


def test_the_front_page_lists_every_command_and_every_exit_code(desk: Desk) -> None:
    out = desk("--help").out
    for name in BY_NAME:
        assert re.search(rf"^  {name} ", out, re.MULTILINE)
    for code in (*range(8), 130):
        assert re.search(rf"\b{code}  \w", out)
    assert desk().code in (0, 2)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("aprove",), "did you mean 'approve'?"),
        (("frobnicate",), "see `mimrun --help`"),
        (("run", "--drect"), "--direct"),
        (("log", "shwo"), "show"),
        (("runbook", "show", "tset"), "did you mean"),
    ],
)
def test_a_slip_of_the_finger_is_answered_with_what_was_meant(
    desk: Desk, words: tuple[str, ...], hint: str
) -> None:
    desk.runbook(mark("one"))
    said = desk(*words)
    assert said.code == 2
    assert hint in said.err, said.err


def test_nothing_is_coloured_when_it_is_piped(desk: Desk) -> None:
    del desk.env["NO_COLOR"]
    book = desk.runbook(mark("one") + GATE + mark("two"))
    for words in (
        ("run", "--direct", "--yes", book),
        ("plan", book),
        ("status",),
        ("runs",),
        ("log", "show"),
        ("log", "verify"),
        ("runbook", "list"),
        ("doctor",),
        ("approve", "latest", "--as", "alex", "--yes"),
        ("frob",),
    ):
        said = desk(*words)
        assert "\x1b" not in said.out + said.err, words


def test_a_reader_that_goes_away_early_is_no_error_to_talk_about(desk: Desk) -> None:
    for _ in range(3):
        desk.run(desk.runbook("".join(mark(f"w{n}") for n in range(20))))
    process = desk.begin("log", "show", "--blobs")
    process.out.readline()
    process.out.close()
    assert process.wait().err == ""


def test_exit_codes_are_what_the_front_page_says(desk: Desk) -> None:
    assert desk.run(desk.runbook(mark("x"), name="fine")).code == 0
    failing = desk.runbook("  - {name: Break, local.command: {argv: ['false']}}\n", name="failing")
    assert desk.run(failing).code == 1
    assert desk("plan", "nosuch.yaml").code == 2
    gated = desk.runbook(GATE + mark("y"), name="gated")
    assert desk.run(gated).code == 3
    doubtful = "  - {name: Hang, local.command: {argv: [sleep, '60']}, timeout: 1s}\n"
    lost = desk.run(desk.runbook(doubtful, name="doubtful"))
    assert lost.code == 4, lost.out + lost.err
    assert desk("resume", "latest", "--direct").code == 4
    assert desk("approve", "latest", "--as", "alex", "--yes").code == 5
    settled = desk("resolve", "latest", "1", "--skip", "--reason", "looked")
    assert settled.code == 0, settled.err
    assert "go on with: mimrun resume" in settled.out
    rests = desk("status").out
    assert "next: mimrun resume" in rests
    assert "nothing is in doubt any more" in rests
    assert "it is not known" not in rests
    assert desk("resume", "--direct").code == 0
    assert desk("resume", "--direct").code == 5, "it is over"
    assert desk.run(gated).code == 3
    cancelled = desk("cancel", "latest", "--reason", "wrong cluster")
    assert cancelled.code == 0
    assert "cancelled" in cancelled.out
    assert desk.status()["status"] == "cancelled"
    assert desk("cancel", "latest").code == 5, "it is over"


def test_a_run_is_found_by_the_beginning_of_its_name(desk: Desk) -> None:
    desk.run(desk.runbook(mark("one")))
    name = run_of(desk)
    for said in (name, name[:9], name[4:], name[4:8], "latest"):
        assert desk("status", said, "--json").json["run"] == name
    assert desk("status", "run-zzzz").code == 2
    assert "the last ones are: run-" in desk("status", "run-zzzz").err


def test_commands_that_need_a_run_say_so_where_there_is_none(desk: Desk) -> None:
    for words in (("status",), ("resume",), ("cancel",), ("approve",), ("undo",), ("log", "show", "latest")):
        said = desk(*words)
        assert said.code == 2, words
        assert "none yet" in said.err


def test_commands_that_need_a_home_name_the_command_that_makes_one(tmp_path: Path, desk: Desk) -> None:
    said = desk("runs", "--home", str(tmp_path / "elsewhere"))
    assert said.code == 2
    assert "mimrun init" in said.err
    assert not (tmp_path / "elsewhere").exists()


def test_nobody_there_to_ask_means_nothing_is_done(desk: Desk) -> None:
    before = desk.size()
    said = desk("run", "--direct", desk.runbook(mark("one")))
    assert said.code == 2
    assert "give --yes" in said.err
    assert desk.marks() == []
    assert desk.size() == before


def test_undo_takes_back_what_was_done_in_reverse(desk: Desk) -> None:
    steps = "".join(
        f"  - name: Make {word}\n"
        f"    local.shell: {{cmd: 'echo {word} >> marks'}}\n"
        f"    undo: {{local.shell: {{cmd: 'echo back-{word} >> marks'}}}}\n"
        for word in ("a", "b")
    )
    desk.run(desk.runbook(steps + mark("stays", name="Leave a trace")))
    first = run_of(desk)
    shown = desk("undo", first, "--show")
    assert "stays as it is: 3 Leave a trace" in shown.out
    assert desk("undo", first, "--yes", "--direct").code == 0
    assert desk.marks() == ["a", "b", "stays", "back-b", "back-a"]
    again = desk("undo", first, "--yes", "--direct")
    assert again.code == 1
    assert "has been taken back by run-" in again.err
    assert len(desk.marks()) == 5


def test_an_incident_can_hold_several_runs_and_must_be_known(desk: Desk) -> None:
    book = desk.runbook(mark("one"))
    desk.run(book)
    incident = desk.status()["incident"]
    assert desk.run(book, "--incident", incident).code == 0
    assert {run["incident"] for run in desk("runs", "--json").json} == {incident}
    before = desk.size()
    said = desk.run(book, "--incident", "INC-19990101-XXXX")
    assert said.code == 2
    assert "no incident 'INC-19990101-XXXX'" in said.err
    assert desk.size() == before
