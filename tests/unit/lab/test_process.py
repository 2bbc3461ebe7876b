"""Processes known by number and start time."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mimrun.lab import leftover, process


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "300"]) as child:
        yield child
        child.kill()


def seen(child: subprocess.Popen[bytes]) -> process.Process:
    found = process.look(child.pid)
    assert found is not None
    return found


def test_a_number_that_is_used_again_is_another_process(sleeper: subprocess.Popen[bytes]) -> None:
    now = seen(sleeper)
    earlier = dataclasses.replace(now, started=now.started - 1)
    other_boot = dataclasses.replace(now, boot="another")
    assert [p.is_running() for p in (now, earlier, other_boot)] == [True, False, False]
    earlier.send(signal.SIGKILL)
    other_boot.send(signal.SIGKILL)
    assert now.is_running()


def test_a_zombie_does_not_run(sleeper: subprocess.Popen[bytes]) -> None:
    now = seen(sleeper)
    os.kill(sleeper.pid, signal.SIGKILL)
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert not now.is_running()


def test_ending_takes_what_was_started_along_and_does_not_wait_for_the_deaf(tmp_path: Path) -> None:
    script = (
        "import signal, subprocess, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "print(subprocess.Popen(['sleep', '300']).pid, flush=True); signal.pause()"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as deaf:
        assert deaf.stdout is not None
        grandchild = process.look(int(deaf.stdout.readline()))
        top = process.look(deaf.pid)
        assert grandchild is not None
        assert top is not None
        assert process.end([top], grace=0.2) == []
    assert not grandchild.is_running()


def test_a_record_of_ours_is_believed_and_broken_ones_are_passed_over(
    tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    assert process.write_down(tmp_path / "part", "sleeper", sleeper.pid) == seen(sleeper)
    records = tmp_path / "part" / process.RECORDS
    (records / "broken.json").write_text("{")
    (records / "strange.json").write_text(json.dumps({"pid": 1, "who": "me"}))
    assert process.written_down(tmp_path) == [seen(sleeper)]
    assert leftover.stop_all(tmp_path) == 1
    assert leftover.find_all(tmp_path) == []


@pytest.mark.needs("root")
def test_a_record_that_another_user_has_planted_is_not_believed(
    tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    process.write_down(tmp_path, "planted", sleeper.pid)
    os.chown(tmp_path / process.RECORDS, 65534, 65534)
    assert process.written_down(tmp_path) == []


def test_the_mark_is_found_in_the_folder_and_below_and_not_beside_it(tmp_path: Path) -> None:
    env = process.environment(tmp_path / "lab" / "part")
    with subprocess.Popen(["sleep", "300"], env=env) as child:
        assert [p.pid for p in process.marked(tmp_path / "lab")] == [child.pid]
        assert process.marked(tmp_path / "lab" / "part") == [seen(child)]
        assert process.marked(tmp_path / "la") == []
        child.kill()
