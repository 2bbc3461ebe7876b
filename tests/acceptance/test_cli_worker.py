from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest
from builders.commands import GATE, Desk, Running, mark, until

TAKEN_OVER_WITHIN_S = 5.0

SLOW = (
    "  - name: Take some time\n"
    "    local.shell: {cmd: 'echo begin >> marks; until [ -e go ]; do sleep 0.05; done; echo end >> marks'}\n"
    "    effect: {class: idempotent, reason: It only writes down that it was here.}\n"
)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def begin_worker(desk: Desk) -> Running:
    worker = desk.begin("worker", "--json")
    log = desk.home / "program.log"
    until(
        lambda: (
            log.exists()
            and f'"event": "worker_started", "level": "info", "pid": {worker.pid}' in log.read_text()
        )
    )
    return worker


def holder(desk: Desk) -> int:
    """Give the process that executes the latest run."""
    (file,) = (desk.home / "lock").glob("run-*.lock")
    return int(json.loads(file.read_text())["pid"])


def stop(worker: Running) -> list[dict[str, str]]:
    """Stop a worker in order; gives what it said it did."""
    worker.signal(signal.SIGTERM)
    said = worker.wait()
    assert (said.code, said.err) == (0, "")
    return [json.loads(line) for line in said.out.splitlines()]


def test_the_run_of_a_killed_process_is_taken_over_within_seconds_and_done_once(desk: Desk) -> None:
    book = desk.runbook(mark("first") + SLOW + mark("last"))
    first = desk.begin("run", "--direct", "--yes", book)
    until(lambda: "begin" in desk.marks())
    worker = begin_worker(desk)
    first.signal(signal.SIGKILL)
    first.wait()
    died = time.monotonic()
    until(lambda: desk.marks().count("begin") == 2)
    assert time.monotonic() - died < TAKEN_OVER_WITHIN_S
    desk.write("go", "")
    until(lambda: desk.status()["status"] == "succeeded")
    (did,) = stop(worker)
    assert (did["why"], did["status"]) == ("its worker died", "succeeded")
    assert desk.marks()[0] == "first"
    assert desk.marks().count("first") == desk.marks().count("last") == 1


def test_of_two_workers_the_other_goes_on_when_one_is_killed(desk: Desk) -> None:
    book = desk.runbook(mark("first") + SLOW + mark("last"))
    caller = desk.begin("run", "--direct", "--yes", book)
    until(lambda: "begin" in desk.marks())
    workers = {worker.pid: worker for worker in (begin_worker(desk), begin_worker(desk))}
    caller.signal(signal.SIGKILL)
    caller.wait()
    until(lambda: desk.marks().count("begin") == 2)
    killed = workers.pop(holder(desk))
    killed.signal(signal.SIGKILL)
    killed.wait()
    died = time.monotonic()
    until(lambda: desk.marks().count("begin") == 3)
    assert time.monotonic() - died < TAKEN_OVER_WITHIN_S
    (other,) = workers.values()
    assert holder(desk) == other.pid
    desk.write("go", "")
    until(lambda: desk.status()["status"] == "succeeded")
    stop(other)
    assert desk.marks().count("first") == desk.marks().count("last") == 1
    assert desk("log", "verify").code == 0


def test_a_worker_that_is_told_to_stop_finishes_its_step_and_leaves_the_rest(desk: Desk) -> None:
    book = desk.runbook(SLOW + mark("last"))
    caller = desk.begin("run", "--direct", "--yes", book)
    until(lambda: "begin" in desk.marks())
    worker = begin_worker(desk)
    caller.signal(signal.SIGKILL)
    caller.wait()
    until(lambda: desk.marks().count("begin") == 2)
    worker.signal(signal.SIGTERM)
    desk.write("go", "")
    said = worker.wait()
    assert said.code == 0
    assert "this worker stops in front of step 2" in said.out
    assert "end" in desk.marks()
    assert "last" not in desk.marks()
    assert desk.status()["status"] == "interrupted"
    assert json.loads(desk("worker", "--once", "--json").out)["status"] == "succeeded"
    assert desk.marks()[-1] == "last"


def test_a_worker_goes_on_behind_a_gate_that_was_decided_and_not_before(desk: Desk) -> None:
    assert desk.run(desk.runbook(GATE + mark("behind"))).code == 3
    assert desk("worker", "--once").out == ""
    assert desk("approve", "latest", "--as", "alex", "--yes").code == 0
    assert "its gate was decided" in desk("worker", "--once").out
    assert desk.marks() == ["behind"]


def test_what_is_done_for_a_time_only_is_taken_back_by_a_worker(desk: Desk) -> None:
    step = (
        "  - name: Raise the limit for a moment\n"
        "    local.shell: {cmd: 'echo raised >> marks'}\n"
        "    undo: {local.shell: {cmd: 'echo lowered >> marks'}}\n"
        "    revert_after: 1s\n"
    )
    worker = begin_worker(desk)
    assert desk.run(desk.runbook(step)).code == 0
    (due,) = desk("reverts", "list", "--all", "--json").json
    assert due["step"] == "1"
    until(lambda: desk.marks() == ["raised", "lowered"])
    until(lambda: desk("reverts", "list", "--all", "--json").json[0]["status"] == "done")
    assert desk("reverts", "list").out == "nothing is to be taken back\n"
    (did,) = stop(worker)
    assert did["why"] == "its time has come"
    undo = desk.status(did["run"])
    assert (undo["launched_by"], undo["status"]) == ("mimrun:timer", "succeeded")


def test_a_change_for_a_time_is_shown_and_can_be_made_one_for_good(desk: Desk) -> None:
    step = (
        "  - name: Raise the limit\n"
        "    local.shell: {cmd: 'echo raised >> marks'}\n"
        "    undo: {local.shell: {cmd: 'echo lowered >> marks'}}\n"
        "    revert_after: 1h\n"
    )
    assert desk.run(desk.runbook(step)).code == 0
    (due,) = desk.status()["reverts"]
    assert desk("runs", "--json").json[0]["reverts_at"] == due["due_at"]
    assert "is taken back at" in desk("status").out
    assert "scheduled" in desk("reverts", "list").out
    assert desk("reverts", "cancel", "latest", "1").code == 2
    assert desk("reverts", "cancel", "latest", "1", "--reason", "it proved itself").code == 0
    assert desk.status()["reverts"][0]["status"] == "cancelled"
    assert desk("reverts", "list", "--json").json == []
