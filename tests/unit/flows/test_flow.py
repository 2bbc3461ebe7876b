"""Runs through a real engine and a real Prefect; the steps are small files."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from flows.execution import Standing
from flows.resuming import end_state

pytestmark = pytest.mark.needs("prefect")

Lab = Any
"""The class of the fixture `shared`; see conftest.py."""


def until(true: Callable[[], Any], seconds: float = 30.0) -> Any:
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)
    return found


def test_every_step_is_a_named_task_run_and_the_run_a_named_flow_run(shared: Lab) -> None:
    names = ["Fence the old primary", "Braces {and} %s are kept", "Tell people"]
    done = shared.execute("named", *({"name": name} for name in names))
    assert done == ["mode prefect", "step 1", "step 2", "step 3"]
    flow_run = shared.shows("named", "Completed")
    assert flow_run["parameters"] == {"run": "named", "home": str(shared.home)}
    tasks = until(lambda: len(found := shared.tasks("named")) == 3 and found)
    assert tasks == [(f"{n} {name}", "Completed", "") for n, name in enumerate(names, 1)]


def test_the_steps_of_branches_are_task_runs_of_the_same_flow_run(shared: Lab, tmp_path: Path) -> None:
    free = tmp_path / "free"
    branches = [{"name": f"Branch {n}", "wait_for": str(free)} for n in range(4)]
    shared.write("branches", {"name": "A", "at_once": branches}, {"name": "B"})
    assert shared.launcher.submit("branches")
    until(lambda: sum("branch" in line for line in shared.done("branches")) == 4)
    free.touch()
    shared.rest("branches")
    shared.shows("branches", "Completed")
    tasks = until(lambda: len(found := shared.tasks("branches")) == 5 and found)
    names = [f"1.branch.{n + 1} Branch {n}" for n in range(4)]
    assert sorted(tasks) == [*((name, "Completed", "") for name in names), ("2 B", "Completed", "")]


def test_a_failed_step_is_shown_with_its_reason_and_what_follows_is_not_run(shared: Lab) -> None:
    shared.execute("fails", {"name": "A"}, {"name": "B", "fail": "the disk is full"}, {"name": "C"})
    flow_run = shared.shows("fails", "Failed")
    assert flow_run["state"]["message"] == "the disk is full"
    tasks = until(lambda: len(found := shared.tasks("fails")) == 2 and found)
    assert tasks[1] == ("2 B", "Failed", "the disk is full")


def test_a_waiting_run_holds_no_thread_and_goes_on_in_the_same_flow_run(shared: Lab, tmp_path: Path) -> None:
    gate = tmp_path / "approved"
    done = shared.execute("gated", {"name": "A"}, {"name": "The gate", "gate": str(gate)}, {"name": "C"})
    assert done == ["mode prefect", "step 1"]
    assert shared.launcher.status().runs == ()
    waiting = shared.shows("gated", "AwaitingApproval")
    assert waiting["state"]["type"] == "PAUSED"
    assert "waits for an approval" in waiting["state"]["message"]
    gate.touch()
    done = shared.execute("gated")
    assert done == ["mode prefect", "step 1", "mode prefect", "step 2", "step 3"]
    ended = shared.shows("gated", "Completed")
    assert ended["id"] == waiting["id"]
    tasks = until(lambda: len(found := shared.tasks("gated")) == 3 and found)
    assert [name for name, _, _ in tasks] == ["1 A", "2 The gate", "3 C"]


@pytest.mark.parametrize(
    ("status", "waits_on", "name", "kind"),
    [
        ("waiting", "gate", "AwaitingApproval", "PAUSED"),
        ("waiting", "manual", "AwaitingManualStep", "PAUSED"),
        ("waiting", "lock", "AwaitingLock", "PAUSED"),
        ("waiting", "pause", "PausedByPerson", "PAUSED"),
        ("waiting", "killswitch", "KillSwitchPulled", "PAUSED"),
        ("in_doubt", "doubt", "InDoubt", "PAUSED"),
        ("succeeded", "", "Completed", "COMPLETED"),
    ],
)
def test_a_waiting_run_is_called_by_what_it_waits_for(
    status: str, waits_on: str, name: str, kind: str
) -> None:
    state = end_state(Standing(status, "why", waits_on), "why", "k")
    assert (state.name, state.type.value) == (name, kind)


def test_resuming_in_vain_leaves_the_picture_as_it_was(shared: Lab, tmp_path: Path) -> None:
    gate = tmp_path / "approved"
    shared.execute("vain", {"name": "The gate", "gate": str(gate)})
    shared.shows("vain", "AwaitingApproval")
    assert shared.execute("vain") == ["mode prefect", "mode prefect"]
    shared.shows("vain", "AwaitingApproval")


def test_what_happened_without_prefect_is_shown_after_a_while(shared: Lab, tmp_path: Path) -> None:
    shared.execute("aside", {"name": "The gate", "gate": str(tmp_path / "never")})
    shared.shows("aside", "AwaitingApproval")
    (shared.runs / "aside.verdict").write_text("cancelled")
    assert "so it stands" in shared.shows("aside", "Cancelled")["state"]["message"]


def test_a_run_that_another_process_holds_is_refused_and_done_by_one(shared: Lab, tmp_path: Path) -> None:
    shared.write("held", {"name": "A"})
    with (shared.runs / "held.lease").open("w") as lease:
        fcntl.flock(lease, fcntl.LOCK_EX)
        assert shared.execute("held") == []
        assert "another process" in shared.shows("held", "Refused")["state"]["message"]
    assert shared.execute("held") == ["mode prefect", "step 1"]
    shared.shows("held", "Completed")


def test_several_runs_go_on_at_once(shared: Lab, tmp_path: Path) -> None:
    free = tmp_path / "free"
    for run in ("one", "two"):
        shared.write(run, {"name": "A", "wait_for": str(free)})
        assert shared.launcher.submit(run)
    until(lambda: all("step 1" in shared.done(run) for run in ("one", "two")))
    assert shared.launcher.status().runs == ("one", "two")
    free.touch()
    for run in ("one", "two"):
        shared.rest(run)
        shared.shows(run, "Completed")


def test_what_a_run_starts_does_not_inherit_prefects_settings(shared: Lab) -> None:
    assert "environ " in shared.execute("environ", {"name": "A", "environ": True})


def test_the_api_wants_the_password_of_this_home(shared: Lab) -> None:
    assert shared.ask("/flows/count", {}, auth="mimrun:wrong")[0] == 401
    assert shared.ask("/flows/count", {})[0] == 200


def test_the_server_listens_on_loopback_only_and_serves_a_page_for_people(shared: Lab) -> None:
    url = urlsplit(shared.launcher.status().api_url)
    assert url.hostname == "127.0.0.1"
    listening = Path(f"/proc/{shared.server_pid()}/net/tcp").read_text().splitlines()[1:]
    mine = [line.split()[1] for line in listening if line.split()[1].endswith(f":{url.port:04X}")]
    assert "0100007F" in {place.split(":")[0] for place in mine}
    assert "00000000" not in {place.split(":")[0] for place in mine}
    with socket.create_connection((url.hostname, url.port), timeout=5) as line:
        line.sendall(b"GET /dashboard HTTP/1.0\r\nAccept: text/html\r\n\r\n")
        got = b""
        while piece := line.recv(65536):
            got += piece
    assert b"<title>Prefect" in got


def test_a_second_engine_for_a_home_leaves_at_once(shared: Lab) -> None:
    pid = shared.launcher.status().pid
    script = Path(__file__).with_name("engine_process.py")
    second = subprocess.run(
        [sys.executable, script, shared.home], env=shared.environ, timeout=30, check=False
    )
    assert second.returncode == 0
    assert shared.launcher.status().pid == pid


def test_the_api_killed_in_the_middle_stops_and_repeats_nothing_and_is_told_later(
    shared: Lab, tmp_path: Path
) -> None:
    free = tmp_path / "free"
    steps = [{"name": "A"}, {"name": "B", "wait_for": str(free)}, {"name": "C"}, {"name": "D"}]
    shared.write("lost", *steps)
    assert shared.launcher.submit("lost")
    until(lambda: "step 2" in shared.done("lost"))
    os.kill(shared.server_pid(), signal.SIGKILL)
    until(lambda: not shared.launcher.ready())
    free.touch()
    done = until(lambda: "step 4" in (found := shared.done("lost")) and found, 5)
    assert done[:3] == ["mode prefect", "step 1", "step 2"]
    assert done[3].startswith("mode direct prefect's api server ended")
    assert done[4:] == ["step 3", "step 4"]
    shared.rest("lost")
    shared.ready()
    assert "finished directly" in shared.shows("lost", "Completed")["state"]["message"]
    assert shared.execute("after", {"name": "A"}) == ["mode prefect", "step 1"]
    shared.shows("after", "Completed")
    until(lambda: shared.tasks("after") == [("1 A", "Completed", "")])


def test_an_api_that_hangs_does_not_hold_up_the_run(shared: Lab, tmp_path: Path) -> None:
    free = tmp_path / "free"
    shared.write("hangs", {"name": "A", "wait_for": str(free)}, {"name": "B"})
    assert shared.launcher.submit("hangs")
    until(lambda: "step 1" in shared.done("hangs"))
    server = shared.server_pid()
    os.kill(server, signal.SIGSTOP)
    try:
        until(lambda: not shared.launcher.ready())
        free.touch()
        done = until(lambda: "step 2" in (found := shared.done("hangs")) and found, 5)
        assert "mode direct prefect's api does not answer" in done
        shared.rest("hangs")
    finally:
        os.kill(server, signal.SIGCONT)
    shared.ready()
    shared.shows("hangs", "Completed")
