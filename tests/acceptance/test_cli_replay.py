"""Replaying on the command line: told again, decided again, tried with a changed runbook; nothing is touched."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from builders.commands import GATE, MANUAL, Desk, mark

SEALED = """
import sys

BANNED = ("connectors", "paramiko", "httpx", "psycopg", "ldap3", "dns", "prefect", "hvac", "keyring")
TOUCHES = ("socket.", "subprocess.", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.system", "ctypes.dlopen")

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BANNED:
            raise AssertionError(f"{name} is imported")
        return None

sys.meta_path.insert(0, Refuse())

from mimrun.cli import main
import mimrun.cli.replay

def audit(event, args):
    if event.startswith(TOUCHES):
        raise AssertionError(f"{event} {args}")

sys.addaudithook(audit)
sys.exit(main())
"""
"""The command line in a process that loads no connector, opens no socket and starts no process."""


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


LOOK = "  - {name: Look, local.command: {argv: [cat, marks], changed: false}, register: seen}\n"
LAST = "  - {name: Last, local.shell: {cmd: 'echo last >> marks'}, when: seen.stdout | length == 4}\n"
STEPS = mark("one") + GATE + LOOK + MANUAL + LAST


def recorded(desk: Desk, steps: str = STEPS) -> str:
    """Make a run with a gate and a manual step, to its end; gives the path of its runbook."""
    book = desk.runbook(steps)
    assert desk.run(book).code == 3
    assert desk("approve", "latest", "--as", "alex", "--yes").code == 0
    assert desk("resume", "latest", "--direct").code == 3
    assert desk("attest", "latest", "--as", "alex", "-e", "link=https://desk.example/1").code == 0
    assert desk("resume", "latest", "--direct").code == 0
    return book


def test_a_run_is_told_with_who_waited_for_whom(desk: Desk) -> None:
    recorded(desk)
    said = desk("replay", "latest")
    assert said.code == 0, said.err
    lines = said.out.splitlines()
    assert lines[0].startswith("run-")
    told = "\n".join(lines)
    for words in (
        "+0:00:00.000  responder asks for 'A test of the command line'",
        "'Write one' begins on localhost (local.shell)",
        "gate 'People agree' asks 1 change_manager",
        "alex agrees at 'People agree' as change_manager, after",
        "service_desk is asked to do 'Tell the desk'",
        "alex signs that 'Tell the desk' is done, after",
        "'Last' on localhost: changed in",
        "1 Write one  localhost changed",
        "succeeded after",
    ):
        assert words in told
    assert "local.shell (once)" not in told
    assert "local.shell (once)" in desk("replay", "latest", "--all").out


def test_frames_for_machines_have_the_board_as_what_changed(desk: Desk) -> None:
    recorded(desk)
    told = desk("replay", "latest", "--json").json
    assert [row["name"] for row in told["rows"]][:2] == ["Write one", "People agree"]
    assert told["count"] == len(told["frames"])
    changes = [change for frame in told["frames"] for change in frame["changes"]]
    assert ["1", "localhost", "running"] in changes
    assert changes.index(["1", "localhost", "running"]) < changes.index(["1", "localhost", "changed"])
    assert told["frames"][-1]["status"] == "succeeded"


def test_a_run_is_told_in_time(desk: Desk) -> None:
    desk.run(desk.runbook(mark("one")))
    assert desk("replay", "latest", "--speed", "1000").code == 0


def test_what_a_target_said_cannot_forge_a_line(desk: Desk) -> None:
    cmd = r"printf 'gone\033[2J\n+0:00:09.999 forged\n' >&2; exit 3"
    desk.run(
        desk.runbook(f'  - {{name: Fail, local.shell: {{cmd: "{cmd.replace(chr(92), chr(92) * 2)}"}}}}\n')
    )
    said = desk("replay", "latest", "--all")
    assert said.code == 0, said.err
    assert "\x1b" not in said.out
    assert not any(line.startswith("+0:00:09.999") for line in said.out.splitlines())
    assert "\x1b" not in desk("replay", "latest", "--json").out


def test_a_run_is_decided_the_same_again(desk: Desk) -> None:
    recorded(desk)
    said = desk("replay", "latest", "--redecide")
    assert (said.code, "it comes to the same again" in said.out) == (0, True), said.err
    found = desk("replay", "latest", "--redecide", "--json").json
    assert (found["verdict"], found["exit_code"], found["divergence"]) == ("same", 0, None)
    assert found["compared"] > 15


def test_the_runbook_itself_takes_the_same_course(desk: Desk) -> None:
    book = recorded(desk)
    said = desk("replay", "latest", "--against", book)
    assert (said.code, "it comes to the same again" in said.out) == (0, True), said.out + said.err
    assert "hosts, variables and groups: the one host of the record's plan" in said.out
    found = desk("replay", "latest", "--against", "test@1.0.0", "--json").json
    assert (found["verdict"], found["replayed"]["status"]) == ("same", "succeeded")


def test_a_changed_runbook_is_tried_and_what_nobody_knows_is_said(desk: Desk) -> None:
    recorded(desk)
    steps = mark("one") + GATE + mark("new") + LOOK + MANUAL + LAST
    book = desk.runbook(steps, version="1.1.0")
    said = desk("replay", "latest", "--against", book)
    assert said.code == 1, said.err
    assert "added     step 3 Write new" in said.out
    assert "nothing on record for step 3 Write new on localhost (local.shell)" in said.out
    found = desk("replay", "latest", "--against", book, "--json").json
    assert found["exit_code"] == 1
    assert found["replayed"]["status"] == "unknown"
    assert found["divergence"]["step"] == "3"
    assert [change["name"] for change in found["changes"]["added"]] == ["Write new"]


def test_another_condition_leaves_a_step_out_and_that_is_the_divergence(desk: Desk) -> None:
    recorded(desk)
    book = desk.runbook(STEPS.replace("== 4", "> 4"), version="1.1.0")
    found = desk("replay", "latest", "--against", book, "--json").json
    assert found["divergence"]["name"] == "Last"
    assert (found["divergence"]["recorded"], found["divergence"]["today"]) == ("ok", "skipped")
    (change,) = found["changes"]["changed"]
    assert change["what"][0]["what"] == "when"
    assert [note["name"] for note in found["changes"]["unused"]] == ["Last"]


def test_inputs_come_from_the_record_and_can_be_given_anew(desk: Desk) -> None:
    more = "inputs: {word: {type: string, pattern: '[a-z]+'}, again: {type: boolean, default: false}}\n"
    steps = "  - {name: Write it, local.command: {argv: [touch, '{{ word }}']}}\n"
    book = desk.runbook(steps, more=more)
    assert desk.run(book, "word=first").code == 0
    same = desk("replay", "latest", "--against", book, "--json")
    assert same.code == 0, same.out + same.err
    assert any("inputs from the record: again, word" in line for line in same.json["taken"])
    other = desk("replay", "latest", "--against", book, "word=second", "--json").json
    assert other["changes"]["unmatched"][0]["why"].startswith("it was asked otherwise then: argv")
    wrong = desk("replay", "latest", "--against", book, "wort=x")
    assert (wrong.code, "did you mean 'word'" in wrong.err) == (2, True)


def test_options_that_do_not_fit_are_refused(desk: Desk) -> None:
    book = recorded(desk)
    both = desk("replay", "latest", "--redecide", "--against", book)
    assert (both.code, "give one of them" in both.err) == (2, True)
    alone = desk("replay", "latest", "word=x")
    assert (alone.code, "belong to --against" in alone.err) == (2, True)
    assert desk("replay", "run-nosuch").code == 2


def test_an_undo_run_is_told_and_decided_again_and_no_runbook_is_tried_on_it(desk: Desk) -> None:
    step = "  - {name: Mark, local.shell: {cmd: 'echo x >> marks'}, undo: {local.shell: {cmd: 'rm marks'}}}\n"
    book = desk.runbook(step)
    desk.run(book)
    assert desk("undo", "latest", "--direct", "--yes").code == 0
    assert desk("replay", "latest").code == 0
    assert desk("replay", "latest", "--redecide").code == 0
    refused = desk("replay", "latest", "--against", book)
    assert (refused.code, "takes back" in refused.err) == (2, True)


def fingerprint(desk: Desk) -> dict[str, Any]:
    """Give what the log and the library are: every byte of their files, and how many entries there are."""
    files = sorted(p for p in desk.home.rglob("*") if p.is_file() and p.suffix in (".db", ".yaml", ".key"))
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files} | {
        "size": desk.size()
    }


def sealed(desk: Desk, *words: str, around: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run a command in a process that may touch nothing."""
    return subprocess.run(
        [*around, sys.executable, "-c", SEALED, *words],
        cwd=desk.folder,
        env={**desk.env, "MIMRUN_RUNBOOKS": str(desk.folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


WAYS = (["replay", "latest"], ["replay", "latest", "--redecide"], ["replay", "latest", "--against", "test"])


@pytest.mark.parametrize("words", WAYS, ids=["told", "decided again", "tried"])
def test_no_connector_is_loaded_nothing_is_touched_and_nothing_is_written(
    desk: Desk, words: list[str]
) -> None:
    recorded(desk)
    before, marks = fingerprint(desk), desk.marks()
    said = sealed(desk, *words)
    assert said.returncode == 0, said.stdout + said.stderr
    assert (fingerprint(desk), desk.marks()) == (before, marks)


def test_the_seal_holds(desk: Desk) -> None:
    """What the tests above rely on: a command that does something is not let through."""
    said = sealed(desk, "run", "--direct", "--yes", desk.runbook(mark("one")))
    assert said.returncode != 0
    assert "AssertionError" in said.stderr
    assert desk.marks() == []


@pytest.mark.needs("netns")
@pytest.mark.parametrize("words", WAYS, ids=["told", "decided again", "tried"])
def test_it_needs_no_network(desk: Desk, words: list[str]) -> None:
    recorded(desk)
    said = sealed(desk, *words, around=("unshare", "-n"))
    assert said.returncode == 0, said.stdout + said.stderr


def test_the_record_can_be_read_while_a_run_is_going_on(desk: Desk) -> None:
    wait = "  - {name: Wait, local.shell: {cmd: 'while [ ! -e go ]; do sleep 0.05; done'}}\n"
    running = desk.begin("run", "--direct", "--yes", desk.runbook(mark("one") + wait))
    try:
        told = threading.Event()
        while not told.is_set():
            said = desk("replay", "latest")
            if "'Wait' begins" in said.out:
                told.set()
        assert desk("replay", "latest", "--redecide").code == 0
    finally:
        (desk.folder / "go").touch()
        assert running.wait().code == 0
    assert json.loads(desk("replay", "latest", "--json").out)["status"] == "succeeded"
