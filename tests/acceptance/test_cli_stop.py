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

    def hang_up(self) -> None:
        """Close the window."""
        os.close(self._end)

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


PRESS = "press Ctrl-C again to cancel the run"


def test_the_second_ctrl_c_cancels_and_ends_what_is_under_way(desk: Desk) -> None:
    terminal = Terminal(desk, "run", "--direct", desk.runbook(SLOW + mark("never")))
    terminal.shows("Go? [y/N]")
    terminal.type("y\n")
    until(lambda: desk.marks() == ["begun"])
    terminal.type("\x03")
    terminal.shows(PRESS)
    assert desk.status()["stop"] == "none", "nobody asked for anything yet"
    terminal.type("\x03")
    assert terminal.ends() == 4, terminal.screen
    assert "every process it had started is proven ended" in terminal.screen
    (desk.folder / "go").touch()
    assert desk.status()["status"] == "in_doubt"
    assert desk("resolve", "latest", "1", "--not-applied", "--reason", "it was ended").code == 0
    assert desk("resume", "--direct").code == 7
    assert desk.marks() == ["begun"]
    assert desk("log", "verify").code == 0


def test_who_does_not_press_again_stays_with_the_run(desk: Desk) -> None:
    terminal = Terminal(desk, "run", "--direct", "--yes", desk.runbook(SLOW + mark("last")))
    until(lambda: desk.marks() == ["begun"])
    terminal.type("\x03")
    terminal.shows(PRESS)
    (desk.folder / "go").touch()
    assert terminal.ends() == 0, terminal.screen
    assert desk.marks() == ["begun", "ended", "last"]


STUBBORN = (
    '  - {name: Stubborn, local.shell: {cmd: \'trap "" TERM; echo begun >> marks;'
    " while [ ! -e go ]; do sleep 0.05; done'}}\n"
)


def test_the_third_ctrl_c_aborts_and_leaves_it_in_doubt(desk: Desk) -> None:
    terminal = Terminal(desk, "run", "--direct", "--yes", desk.runbook(STUBBORN + mark("last")))
    until(lambda: desk.marks() == ["begun"])
    for _ in range(3):
        terminal.type("\x03")
    assert terminal.ends() == 4, terminal.screen
    assert desk.status()["stop"] == "abort"
    assert desk.marks() == ["begun"]


def test_a_worker_that_is_frozen_is_left_by_one_more_ctrl_c(desk: Desk) -> None:
    """Whatever mimrun itself hangs on: a person gets their terminal back."""
    terminal = Terminal(desk, "run", "--direct", "--yes", desk.runbook(STUBBORN))
    until(lambda: desk.marks() == ["begun"])
    for _ in range(4):
        os.kill(terminal.process.pid, signal.SIGINT)
        time.sleep(0.05)  # signals that come together are one
    assert terminal.ends() in (130, 4), terminal.screen


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


def test_a_terminal_that_is_closed_interrupts_the_run_and_no_more(desk: Desk) -> None:
    terminal = Terminal(desk, "run", "--direct", "--yes", desk.runbook(mark("one") + SLOW + mark("last")))
    until(lambda: "begun" in desk.marks())
    terminal.hang_up()
    assert terminal.process.wait(PATIENCE_S) == -signal.SIGHUP
    assert desk.status()["status"] == "interrupted"
    (desk.folder / "go").touch()
    until(lambda: "ended" in desk.marks())
    assert desk("resume", "--direct").code == 4, "who knows how far it came"
    assert desk("resolve", "latest", "2", "--applied", "--reason", "its words are there").code == 0
    assert desk("resume", "--direct").code == 0
    assert desk.marks() == ["one", "begun", "ended", "last"]
    assert desk("log", "verify").code == 0


def test_ctrl_c_while_people_are_waited_for_leaves_the_run_waiting(desk: Desk) -> None:
    terminal = Terminal(desk, "run", "--direct", "--yes", desk.runbook(GATE + mark("two")))
    terminal.shows("mimrun approve run-")
    terminal.shows("waiting for people")
    terminal.type("\x03")
    assert terminal.ends() == 130
    assert desk.status()["status"] == "waiting"


def test_an_interrupt_where_nobody_can_be_asked_cancels_the_run(desk: Desk) -> None:
    running = desk.begin("run", "--direct", "--yes", desk.runbook(SLOW + mark("never")))
    until(lambda: desk.marks() == ["begun"])
    running.signal(signal.SIGINT)
    said = running.wait()
    assert said.code == 4, said.err
    assert desk.status()["stop"] == "cancel"
    (desk.folder / "go").touch()
    assert desk.marks() == ["begun"]


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


def test_cancel_from_another_process_ends_what_is_under_way_and_says_so(desk: Desk) -> None:
    running = desk.begin("run", "--direct", "--yes", desk.runbook(SLOW + mark("never")))
    until(lambda: desk.marks() == ["begun"])
    said = desk("cancel", "latest", "--reason", "wrong cluster")
    assert said.code == 4
    assert "in_doubt" in said.out
    assert "mimrun resolve run-" in said.out
    assert running.wait().code == 4
    assert desk("resolve", "latest", "1", "--skip", "--reason", "it was ended").code == 0
    cancelled = desk("resume", "--direct", "--json")
    assert (cancelled.code, cancelled.json["reason"]) == (7, "wrong cluster")
    assert desk.marks() == ["begun"]
    assert desk("cancel", "latest").code == 5


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
