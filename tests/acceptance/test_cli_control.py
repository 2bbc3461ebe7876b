"""Steering runs from outside: pause and resume, abort, a frozen worker, the kill switch, locks, breakers."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from builders.commands import GATE, Desk, mark, until

SLOW = "  - {name: Slow, local.shell: {cmd: 'echo begun >> marks; while [ ! -e go ]; do sleep 0.05; done; echo ended >> marks'}}\n"
LOCKS = "locks: [orders]\n"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    (tmp_path / "go").touch()  # whatever a killed command has left running ends by itself


def test_a_paused_run_finishes_its_step_and_goes_on_when_it_is_resumed(desk: Desk) -> None:
    running = desk.begin("run", "--direct", "--yes", desk.runbook(SLOW + mark("last")))
    until(lambda: desk.marks() == ["begun"])
    said = desk("pause", "--reason", "the standby lags")
    assert said.code == 0
    assert "pause asked for; what is under way is finished first" in said.out
    (desk.folder / "go").touch()
    assert running.wait().code == 3
    status = desk.status()
    assert (status["status"], status["waits_on"], status["reason"]) == (
        "waiting",
        "pause",
        "the standby lags",
    )
    assert desk.marks() == ["begun", "ended"]
    assert "waiting (pause)" in desk("runs").out
    assert "mimrun resume run-" in desk("status").out
    resumed = desk("resume", "--direct")
    assert (resumed.code, desk.marks()) == (0, ["begun", "ended", "last"])
    assert desk("pause").code == 5, "it is over"


def test_a_pause_that_is_taken_back_at_once_stops_nothing(desk: Desk) -> None:
    running = desk.begin("run", "--direct", "--yes", desk.runbook(SLOW + mark("last")))
    until(lambda: desk.marks() == ["begun"])
    assert desk("pause").code == 0
    watching = desk.begin("resume", "--direct")
    until(lambda: desk.status()["stop"] == "none")
    (desk.folder / "go").touch()
    assert running.wait().code == 0
    watched = watching.wait()
    assert watched.code == 0, watched.err
    assert desk.marks() == ["begun", "ended", "last"]


def test_a_pause_between_people_and_the_next_step_is_kept(desk: Desk) -> None:
    assert desk.run(desk.runbook(GATE + mark("two"))).code == 3
    assert desk("pause", "--reason", "wait").code == 0
    assert desk("approve", "latest", "--as", "alex", "--yes").code == 0
    assert desk("resume", "--direct").code == 0, "to resume is to let it go on"
    assert desk.marks() == ["two"]


def test_abort_waits_for_no_target(desk: Desk) -> None:
    running = desk.begin("run", "--direct", "--yes", desk.runbook(SLOW + mark("never")))
    until(lambda: desk.marks() == ["begun"])
    began = time.monotonic()
    said = desk("abort", "latest", "--reason", "the data centre burns")
    assert time.monotonic() - began < 8
    assert (said.code, "in_doubt" in said.out) == (4, True)
    assert running.wait().code == 4
    assert desk("cancel").code == 5, "an abort is more than a cancel"
    assert desk("log", "verify").code == 0


def test_a_frozen_worker_is_named_and_can_be_killed(desk: Desk) -> None:
    running = desk.begin("run", "--direct", "--yes", desk.runbook(SLOW + mark("never")))
    until(lambda: desk.marks() == ["begun"])
    running.signal(signal.SIGSTOP)
    said = desk("abort", "latest")
    assert said.code == 5
    assert f"process {running.pid}" in said.err
    assert "is stopped (SIGSTOP)" in said.err
    assert "--kill-worker" in said.err
    killed = desk("abort", "latest", "--kill-worker")
    assert killed.code == 4, killed.err
    assert "in_doubt" in killed.out
    assert running.wait().code == -signal.SIGKILL


def test_cancel_ends_what_nobody_executes(desk: Desk) -> None:
    running = desk.begin("run", "--direct", "--yes", desk.runbook(mark("one") + SLOW + mark("never")))
    until(lambda: "begun" in desk.marks())
    running.signal(signal.SIGKILL)
    running.wait()
    said = desk("cancel", "--reason", "it is lost")
    assert (said.code, "in_doubt" in said.out) == (4, True), said.err
    assert "are proven ended on this machine" in " ".join(said.out.split())
    (desk.folder / "go").touch()
    assert desk.marks() == ["one", "begun"]
    assert desk("cancel", "--json").code == 4, "asked again it says the same"


def test_the_kill_switch_rests_everything_within_a_second_and_two_people_lift_it(desk: Desk) -> None:
    steps = "".join(
        f"  - {{name: S{n}, local.shell: {{cmd: 'sleep 0.2; echo {n} >> marks'}}}}\n" for n in range(60)
    )
    book = desk.runbook(steps)
    both = [desk.begin("run", "--direct", "--yes", book) for _ in range(2)]
    until(lambda: len(desk.marks()) > 2)
    said = desk("kill-switch", "pull", "--reason", "the wrong hosts")
    pulled = time.monotonic()
    assert said.code == 0
    ended = [running.wait() for running in both]
    assert time.monotonic() - pulled < 3, "a second, and the end of two processes"
    assert [one.code for one in ended] == [3, 3], [one.err for one in ended]
    assert {run["waits_on"] for run in desk("runs", "--json").json} == {"killswitch"}
    assert "EVERYTHING STANDS STILL" in desk("status").err
    for words in (["run", "--direct", "--yes", book], ["resume", "--direct"]):
        refused = desk(*words)
        assert refused.code == 5, words
        assert "the kill switch was pulled by responder" in refused.err
        assert "the wrong hosts" in refused.err
    assert desk("doctor").code == 1
    assert desk("kill-switch", "lift", "--reason", "mended").code == 0
    assert desk("kill-switch", "lift", "--reason", "really").code == 5, "one person counts once"
    assert desk("kill-switch", "show", "--json").json["agreed"] == ["responder"]
    lifted = desk("kill-switch", "lift", "--reason", "I agree", "--as", "alex")
    assert "is lifted" in lifted.out
    assert not (desk.home / "kill-switch").exists()
    assert desk("kill-switch", "show").out.strip() == "the kill switch is not pulled"
    assert desk("cancel", "latest").code == 0
    assert desk("log", "verify").code == 0


def test_the_kill_switch_works_while_the_log_does_not(desk: Desk) -> None:
    log = desk.home / "log.db"
    log.rename(desk.home / "gone")
    said = desk("kill-switch", "pull", "--reason", "no log")
    assert said.code == 0
    assert "only one of log and file has it" in said.err
    (desk.home / "gone").rename(log)
    book = desk.runbook(mark("x"))
    assert desk.run(book).code == 5
    shown = desk("kill-switch", "show", "--json").json
    assert (shown["pulled"], shown["log"], shown["file"]) == (True, False, True)
    assert "written while the log was not" in shown["next"]
    assert desk("kill-switch", "lift", "--reason", "mended", "--as", "alex").code == 0
    assert desk.run(book).code == 5, "one of two"
    assert desk("kill-switch", "lift", "--reason", "mended", "--as", "billie").code == 0
    assert desk.run(book).code == 0


def test_where_only_the_log_has_the_switch_it_is_pulled_too(desk: Desk) -> None:
    assert desk("kill-switch", "pull", "--reason", "stop").code == 0
    (desk.home / "kill-switch").unlink()
    book = desk.runbook(mark("x"))
    assert desk.run(book).code == 5
    assert "the file is gone" in desk("kill-switch", "show").out
    for who in ("alex", "billie"):
        assert desk("kill-switch", "lift", "--reason", "x", "--as", who).code == 0
    assert desk.run(book).code == 0


def test_a_runbook_whose_lock_is_held_is_refused_before_a_run_is_made_and_can_wait_for_it(desk: Desk) -> None:
    first = desk.runbook(SLOW, more=LOCKS)
    second = desk.runbook(mark("second"), name="other", more=LOCKS)
    running = desk.begin("run", "--direct", "--yes", first)
    until(lambda: desk.marks() == ["begun"])
    size = desk.size()
    refused = desk.run(second)
    assert refused.code == 5
    assert "orders is held by run-" in refused.err
    assert "launched by responder" in refused.err
    assert "--wait-for-locks" in refused.err
    assert desk.size() == size, "nothing was made"
    timed_out = desk.run(second, "--wait-for-locks", "1s")
    assert timed_out.code == 5
    assert "after 1s of waiting" in timed_out.err
    assert desk.run(second, MIMRUN_LOCK_PATIENCE="1").code == 5
    assert desk.run(second, "--wait-for-locks", "soon").code == 2
    shown = desk("locks", "--json").json
    assert [(one["resource"], one["status"], one["why"]) for one in shown] == [
        ("orders", "running", "the run is at work")
    ]
    waiting = desk.begin("run", "--direct", "--yes", second, "--wait-for-locks", "1m")
    time.sleep(0.5)  # until it waits; nothing shows that in the log, which is the point
    (desk.folder / "go").touch()
    assert running.wait().code == 0
    done = waiting.wait()
    assert done.code == 0, done.err
    assert "waiting: orders is held by run-" in done.out
    assert desk.marks() == ["begun", "ended", "second"]
    assert desk("locks").out.strip() == "no run holds a lock"


def test_a_lock_of_a_dead_run_is_shown_and_can_be_taken(desk: Desk) -> None:
    book = desk.runbook(SLOW, more=LOCKS)
    running = desk.begin("run", "--direct", "--yes", book)
    until(lambda: desk.marks() == ["begun"])
    at_work = desk("unlock", "orders", "--reason", "x")
    assert at_work.code == 5
    assert "is being executed" in at_work.err
    running.signal(signal.SIGKILL)
    running.wait()
    shown = desk("locks", "--json").json[0]
    assert "its worker is gone" in shown["why"]
    assert shown["next"] == f"mimrun resume {shown['run']}"
    assert "orders" in desk("locks").out
    assert desk("unlock", "orders", "--reason", "the run is lost").code == 0
    assert desk("locks").out.strip() == "no run holds a lock"
    (desk.folder / "go").touch()


def test_a_runbook_that_failed_three_times_is_refused_until_somebody_has_looked(desk: Desk) -> None:
    book = desk.runbook("  - {name: Fail, local.shell: {cmd: 'test -e good'}}\n")
    assert [desk.run(book).code for _ in range(2)] == [1, 1]
    (desk.folder / "good").touch()
    assert desk.run(book).code == 0, "one success closes it"
    (desk.folder / "good").unlink()
    assert [desk.run(book).code for _ in range(3)] == [1, 1, 1]
    size = desk.size()
    refused = desk.run(book)
    assert refused.code == 5
    assert "the last 3 runs of test failed" in refused.err
    assert desk.size() == size
    listed = desk("breaker", "list", "--json").json
    assert [(one["runbook"], one["open"], len(one["failures"])) for one in listed] == [("test", True, 3)]
    assert desk("breaker", "close", "test").code == 2, "it needs a reason"
    assert desk("breaker", "close", "other", "--reason", "x").code == 5
    assert desk("breaker", "close", "test", "--reason", "the file was missing").code == 0
    (desk.folder / "good").touch()
    assert desk.run(book).code == 0
    assert desk("breaker", "list").out.strip() == "no runbook failed lately"


def test_sigterm_ends_a_worker_as_a_crash_does(desk: Desk) -> None:
    running = desk.begin("run", "--direct", "--yes", desk.runbook(SLOW))
    until(lambda: desk.marks() == ["begun"])
    os.kill(running.pid, signal.SIGTERM)
    assert running.wait().code == -signal.SIGTERM
    assert desk.status()["status"] == "interrupted"


def test_at_high_risk_a_doubt_is_settled_by_two_people_with_evidence(desk: Desk) -> None:
    book = desk.runbook(SLOW + mark("last"))
    path = Path(book)
    path.write_text(path.read_text().replace("risk: low", "risk: high"))
    running = desk.begin("run", "--direct", "--yes", book)
    until(lambda: desk.marks() == ["begun"])
    running.signal(signal.SIGKILL)
    running.wait()
    assert desk("resume", "--direct").code == 4
    shown = desk("status").out
    assert "--not-applied" in shown
    assert "it did not happen: do it now" in shown
    desk.write("journal.txt", "it ran")
    words = ["resolve", "latest", "1", "--applied", "--reason", "saw it"]
    first = desk(*words, "--evidence", "@journal.txt")
    assert (first.code, "responder proposed" in first.out) == (0, True), first.err
    assert "responder proposed applied, because saw it" in desk("status").out
    assert desk.status()["cells"][0]["proposed"]["by"] == "responder"
    assert desk(*words).code == 5, "one person is not two"
    assert desk(*words, "--evidence", "@nothing.txt").code == 2
    assert desk(*words, "--as", "alex").code == 0
    (desk.folder / "go").touch()
    assert desk("resume", "--direct").code == 0
    assert "last" in desk.marks()
