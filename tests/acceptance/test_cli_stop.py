"""Stopping, dying and going on: Ctrl-C, kill, cancel from elsewhere, and two at the same time."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from builders.commands import GATE, PATIENCE_S, Desk, mark, until

SLOW = "  - {name: Slow, local.shell: {cmd: 'echo begun >> marks; while [ ! -e go ]; do sleep 0.05; done; echo ended >> marks'}}\n"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    (tmp_path / "go").touch()  # whatever a killed command has left running ends by itself


def _take_terminal() -> None:
    """Make the terminal on standard input the controlling one, so that Ctrl-C is a signal."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Terminal:
    """A command on a terminal of its own, as a person has it."""

    def __init__(self, desk: Desk, *words: str) -> None:
        self.screen = ""
        self._end, theirs = pty.openpty()
        self.process = subprocess.Popen(
            desk.cold(*words),
            cwd=desk.folder,
            env=desk.env,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=_take_terminal,  # noqa: PLW1509 - a terminal is taken from inside
        )
        os.close(theirs)

    def shows(self, words: str) -> None:
        """Wait until the words are on the screen, behind what was waited for before."""
        end = time.monotonic() + PATIENCE_S
        while words not in self.screen:
            assert time.monotonic() < end, f"{words!r} never came: {self.screen}"
            assert self._read(), f"{words!r} never came: {self.screen}"
        self.screen = self.screen.split(words, 1)[1]

    def type(self, keys: str) -> None:
        """Press keys."""
        self.sleeps()
        os.write(self._end, keys.encode())

    def sleeps(self) -> None:
        """Wait until the command waits for keys; a signal between its question and that moment would wait, too."""
        stat = Path(f"/proc/{self.process.pid}/stat")
        seen = 0
        while seen < 5:
            state = stat.read_text().rsplit(")", 1)[1].split()[0]
            seen = seen + 1 if state == "S" else 0
            time.sleep(0.01)

    def ends(self) -> int:
        """Wait for the end; gives the exit code."""
        while self._read():
            pass
        os.close(self._end)
        return self.process.wait(PATIENCE_S)

    def _read(self) -> bool:
        if not select.select([self._end], [], [], PATIENCE_S)[0]:
            self.process.kill()
            return False
        try:
            data = os.read(self._end, 65536)
        except OSError:
            return False
        self.screen += data.decode(errors="replace")
        return bool(data)


def intents(desk: Desk) -> list[str]:
    lines = desk("log", "show", "latest", "--json").out.splitlines()
    return [e["step"] for e in map(json.loads, lines) if e["kind"] == "step.intent"]


def test_ctrl_c_asks_and_stops_the_run_when_its_step_is_finished(desk: Desk) -> None:
    book = desk.runbook(SLOW + mark("never"))
    terminal = Terminal(desk, "run", "--direct", book)
    terminal.shows("Go? [y/N]")
    terminal.type("y\n")
    until(lambda: desk.marks() == ["begun"])
    terminal.type("\x03")
    terminal.shows("Cancel the run when the step that is under way is finished?")
    terminal.type("y\n")
    until(lambda: desk.status()["cancel"])
    (desk.folder / "go").touch()
    assert terminal.ends() == 7, terminal.screen
    assert desk.marks() == ["begun", "ended"], "the step was not cut in two"
    assert desk.status()["status"] == "cancelled"
    assert desk("log", "verify").code == 0


def test_who_answers_no_stays_with_the_run(desk: Desk) -> None:
    terminal = Terminal(desk, "run", "--direct", "--yes", desk.runbook(SLOW + mark("last")))
    until(lambda: desk.marks() == ["begun"])
    terminal.type("\x03")
    terminal.shows("Cancel the run")
    terminal.type("n\n")
    (desk.folder / "go").touch()
    assert terminal.ends() == 0, terminal.screen
    assert desk.marks() == ["begun", "ended", "last"]


def test_a_second_ctrl_c_leaves_at_once_and_a_resume_asks_what_happened(desk: Desk) -> None:
    terminal = Terminal(desk, "run", "--direct", "--yes", desk.runbook(SLOW + mark("last")))
    until(lambda: desk.marks() == ["begun"])
    terminal.type("\x03")
    terminal.shows("Cancel the run")
    terminal.type("\x03")
    assert terminal.ends() == 130
    assert "mimrun status run-" in terminal.screen
    assert desk.status()["status"] == "interrupted"
    assert "next: mimrun resume" in desk("status").out
    assert desk("resume", "--direct").code == 4
    assert "next: mimrun resolve" in desk("status").out


def test_ctrl_c_at_the_question_does_nothing_at_all(desk: Desk) -> None:
    before = desk.size()
    for keys, code in (("\x03", 130), ("n\n", 7), ("\n", 7), ("\x04", 130)):
        terminal = Terminal(desk, "run", "--direct", desk.runbook(mark("x")))
        terminal.shows("Go? [y/N]")
        terminal.type(keys)
        assert terminal.ends() == code, (keys, terminal.screen)
        assert "Traceback" not in terminal.screen
    assert desk.marks() == []
    assert desk.size() == before


def test_a_run_that_waits_for_people_goes_on_by_itself_when_they_have_decided(desk: Desk) -> None:
    terminal = Terminal(desk, "run", "--direct", "--yes", desk.runbook(GATE + mark("two")))
    terminal.shows("mimrun approve run-")
    assert desk("approve", "latest", "--as", "alex", "--yes").code == 0
    assert terminal.ends() == 0, terminal.screen
    assert "approved by alex" in terminal.screen
    assert desk.marks() == ["two"]


def test_ctrl_c_while_people_are_waited_for_leaves_the_run_waiting(desk: Desk) -> None:
    terminal = Terminal(desk, "run", "--direct", "--yes", desk.runbook(GATE + mark("two")))
    terminal.shows("mimrun approve run-")
    terminal.shows("waiting for people")
    terminal.type("\x03")
    assert terminal.ends() == 130
    assert desk.status()["status"] == "waiting"


def test_an_interrupt_where_nobody_can_be_asked_stops_the_run_in_order(desk: Desk) -> None:
    running = desk.begin("run", "--direct", "--yes", desk.runbook(SLOW + mark("never")))
    until(lambda: desk.marks() == ["begun"])
    running.signal(signal.SIGINT)
    until(lambda: desk.status()["cancel"])
    (desk.folder / "go").touch()
    said = running.wait()
    assert said.code == 7, said.err
    assert desk.marks() == ["begun", "ended"]


def test_a_killed_run_is_shown_as_interrupted_and_goes_on_without_repeating(desk: Desk) -> None:
    running = desk.begin("run", "--direct", "--yes", desk.runbook(mark("one") + SLOW + mark("last")))
    until(lambda: "begun" in desk.marks())
    running.signal(signal.SIGKILL)
    assert running.wait().code == -signal.SIGKILL
    assert desk.status()["status"] == "interrupted"
    assert desk("runs").out.count("interrupted") == 1
    assert desk("resume", "--direct").code == 4, "who knows how far it came"
    (desk.folder / "go").touch()
    until(lambda: "ended" in desk.marks())
    assert desk("resolve", "latest", "2", "--applied", "--reason", "its words are there").code == 0
    assert desk("resume", "--direct").code == 0
    assert desk.marks() == ["one", "begun", "ended", "last"]
    assert intents(desk) == ["1", "2", "3"]
    assert desk("log", "verify").code == 0


def test_a_run_that_is_executed_is_refused_to_a_second_process_and_can_be_followed(desk: Desk) -> None:
    running = desk.begin("run", "--direct", "--yes", desk.runbook(SLOW))
    until(lambda: desk.marks() == ["begun"])
    refused = desk("resume", "--direct")
    assert refused.code == 5
    assert "mimrun status run-" in refused.err
    assert desk("resume", "--direct", "--json").json["exit_code"] == 5
    follower = desk.begin("status", "latest", "--follow")
    (desk.folder / "go").touch()
    assert running.wait().code == 0
    followed = follower.wait()
    assert followed.code == 0
    assert "succeeded: ok=1" in followed.out
    assert desk.marks() == ["begun", "ended"]


def test_cancel_from_another_process_stops_after_the_step(desk: Desk) -> None:
    running = desk.begin("run", "--direct", "--yes", desk.runbook(SLOW + mark("never")))
    until(lambda: desk.marks() == ["begun"])
    said = desk("cancel", "latest", "--reason", "wrong cluster")
    assert said.code == 0
    assert "the step that is under way is finished first" in said.out
    (desk.folder / "go").touch()
    ended = running.wait()
    assert ended.code == 7, ended.err
    assert "cancelled" in ended.out
    assert desk.marks() == ["begun", "ended"]
    assert desk.status()["reason"] == "wrong cluster"


def test_two_runs_at_the_same_time_do_not_disturb_each_other(desk: Desk) -> None:
    book = desk.runbook("".join(mark(f"w{n}") for n in range(5)))
    both = [desk.begin("run", "--direct", "--yes", book) for _ in range(2)]
    assert [running.wait().code for running in both] == [0, 0]
    assert sorted(desk.marks()) == sorted([f"w{n}" for n in range(5)] * 2)
    assert len({run["run"] for run in desk("runs", "--json").json}) == 2
    assert desk("log", "verify").code == 0


def test_two_first_runs_at_the_same_time_share_one_home(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    book = desk.runbook(mark("x"))
    for attempt in range(3):
        fresh = str(tmp_path / f"home{attempt}")
        both = [desk.begin("run", "--direct", "--yes", book, "--home", fresh) for _ in range(2)]
        said = [running.wait() for running in both]
        assert [one.code for one in said] == [0, 0], [one.err for one in said]
        assert desk("log", "verify", "--home", fresh).code == 0
