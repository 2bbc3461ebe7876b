"""A disk that is full and a database that somebody else holds: refused with a reason, nothing lost, and on it goes."""

from __future__ import annotations

import functools
import os
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from builders.history import keys_of, read
from builders.plans import a_plan, action
from builders.runs import Bench
from builders.world import lines

from mimrun.app import home as home_of
from mimrun.errors import StoreError
from mimrun.log.sqlite.store import SqliteStore
from mimrun.run.record.transitions import RunStatus

STEPS = 6
UNWRITABLE = 6
"""The exit code for a log that cannot be written."""


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with 16 MiB."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", tmp_path], check=True)
    yield tmp_path
    subprocess.run(["umount", "--lazy", tmp_path], check=True)


def fill(folder: Path, *, but: int) -> Path:
    """Fill a file system up to so many bytes."""
    ballast = folder / "ballast"
    room = os.statvfs(folder)
    with ballast.open("wb") as file:
        file.truncate(0)
        os.posix_fallocate(file.fileno(), 0, room.f_bavail * room.f_frsize - but)
    return ballast


@pytest.mark.needs("root")
@pytest.mark.parametrize("left", [4096, 16_384, 40_960, 65_536])
def test_full_disk_refuses_with_a_reason_and_the_run_goes_on_when_there_is_room(
    small: Path, tmp_path_factory: pytest.TempPathFactory, left: int
) -> None:
    bench = Bench(small)
    world = tmp_path_factory.mktemp("elsewhere") / "world"
    verbs = ("once", "probe", "idempotent")
    run = bench.create(a_plan(world, *(action(str(n + 1), verbs[n % 3]) for n in range(STEPS * 4))))
    with bench.home() as home:
        before = [entry.leaf() for entry in home.store.entries()]
    ballast = fill(small, but=left)
    with pytest.raises(StoreError) as refused:
        bench.execute(run)
    assert refused.value.exit_code == UNWRITABLE
    assert "disk" in str(refused.value) or "space" in str(refused.value)
    done = len(lines(world))
    ballast.unlink()
    with bench.home() as home:
        assert [entry.leaf() for entry in home.store.entries()][: len(before)] == before
    verdict = bench.execute(run)
    assert verdict.status == "succeeded", verdict
    assert done <= len(lines(world)) == STEPS * 4
    with bench.home() as home:
        assert not read(home.store.entries(run=run)).against(keys_of(lines(world)))
        assert home.store.rebuild()
    assert bench.is_intact()


def test_locked_database_is_refused_with_a_reason_and_the_run_goes_on_when_it_is_free(
    memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mimrun.log.sqlite.schema.LOCK_PATIENCE_MS", 300)
    bench = Bench(memory)
    run = bench.create(a_plan(bench.world, *(action(str(n + 1)) for n in range(3))))
    stranger = sqlite3.connect(bench.settings.log, isolation_level=None)
    stranger.execute("begin immediate")
    try:
        with pytest.raises(StoreError, match=r"locked.*end that program") as refused:
            bench.execute(run)
    finally:
        stranger.execute("rollback")
        stranger.close()
    assert refused.value.exit_code == UNWRITABLE
    assert not lines(bench.world), "nothing is done without its intent on record"
    assert bench.state(run).status is RunStatus.CREATED
    assert bench.execute(run).status == "succeeded"
    assert bench.is_intact()


def test_log_held_by_another_process_for_too_long_is_refused_with_a_reason(
    memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(memory)
    run = bench.create(a_plan(bench.world, action("1")))
    monkeypatch.setattr(home_of, "SqliteStore", functools.partial(SqliteStore, patience=0.5))
    holder = subprocess.Popen(
        [
            "flock",
            "--no-fork",
            "--exclusive",
            f"{bench.settings.log}-lock",
            "sh",
            "-c",
            "echo held; exec sleep 60",
        ],
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None
        with holder.stdout:
            assert holder.stdout.readline() == b"held\n"
        with pytest.raises(StoreError, match="another process has held its lock") as refused:
            bench.execute(run)
    finally:
        holder.kill()
        holder.wait()
    assert refused.value.exit_code == UNWRITABLE
    assert not lines(bench.world)
    assert bench.execute(run).status == "succeeded"
