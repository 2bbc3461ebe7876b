"""Waking, ending and losing the engine, with real processes."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.environment import Rooms
from flows.launcher import PrefectLauncher, Status
from mimrun.errors import RunError

pytestmark = pytest.mark.needs("prefect")

Lab = Any


def until(true: Callable[[], Any], seconds: float = 30.0) -> Any:
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)
    return found


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def test_without_an_engine_everything_says_so(tmp_path: Path) -> None:
    launcher = PrefectLauncher(tmp_path)
    assert launcher.status() == Status()
    assert not launcher.ready()
    assert not launcher.submit("run-1")
    assert not launcher.down()


def test_down_spares_a_run_unless_forced_and_proves_that_engine_and_server_are_gone(
    make_lab: Callable[[], Lab], tmp_path: Path
) -> None:
    lab = make_lab()
    lab.start()
    lab.ready()
    pids = [lab.launcher.status().pid, lab.server_pid()]
    lab.write("busy", {"name": "A", "wait_for": str(tmp_path / "never")})
    assert lab.launcher.submit("busy")
    until(lambda: "step 1" in lab.done("busy"))
    with pytest.raises(RunError, match="busy"):
        lab.launcher.down()
    assert lab.launcher.ready()
    assert lab.launcher.down(force=True)
    assert all(gone(pid) for pid in pids)
    assert not Rooms(lab.home).socket.exists()
    assert lab.process.wait(5) == 0


def test_a_killed_engine_takes_its_server_along_and_the_next_one_takes_its_place(
    make_lab: Callable[[], Lab], tmp_path: Path
) -> None:
    lab = make_lab()
    lab.start()
    lab.ready()
    free = tmp_path / "free"
    lab.write("cut", {"name": "A"}, {"name": "B", "wait_for": str(free)}, {"name": "C"})
    assert lab.launcher.submit("cut")
    until(lambda: "step 2" in lab.done("cut"))
    server = lab.server_pid()
    lab.process.kill()
    lab.process.wait()
    until(lambda: gone(server), 5)
    assert not lab.launcher.status().running
    free.touch()
    lab.start()
    lab.ready()
    crashed = lab.shows("cut", "Crashed")
    assert "mimrun resume" in crashed["state"]["message"]
    assert lab.execute("cut")[-2:] == ["mode prefect", "step 3"]
    assert lab.shows("cut", "Completed")["id"] == crashed["id"]
    server = lab.server_pid()
    shutil.rmtree(lab.home)
    assert lab.process.wait(15) == 0, "an engine whose home is removed ends"
    until(lambda: gone(server), 5)


def test_the_engine_of_mimrun_wakes_detached_and_ends_when_idle(
    cache: Path, make_lab: Callable[[], Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    lab = make_lab()
    began = time.monotonic()
    lab.launcher.wake(2)
    assert time.monotonic() - began < 1.0, "waking does not wait"
    try:
        status = until(lambda: (s := lab.launcher.status()).ready and s, 60)
        assert status.version
        assert os.getsid(status.pid) != os.getsid(0)
        assert Path(f"/proc/{status.pid}/cwd").readlink() == Path("/")
        assert Path(f"/proc/{status.pid}/fd/0").readlink() == Path("/dev/null")
        parent = Path(f"/proc/{status.pid}/stat").read_text().rpartition(")")[2].split()[1]
        assert int(parent) != os.getpid(), "nobody here could leave it behind as a zombie"
        lab.launcher.wake(2)
        assert lab.launcher.status().pid == status.pid
        rooms = Rooms(lab.home)
        for file in (rooms.log, rooms.password, rooms.database, rooms.socket):
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
        until(lambda: gone(status.pid), 20)
    finally:
        lab.launcher.down()


def test_an_engine_that_is_stopped_is_not_waited_for(make_lab: Callable[[], Lab]) -> None:
    lab = make_lab()
    lab.start()
    until(lambda: lab.launcher.status().running)
    os.kill(lab.process.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        assert not lab.launcher.submit("run-1")
        assert time.monotonic() - began < 4
    finally:
        os.kill(lab.process.pid, signal.SIGCONT)
