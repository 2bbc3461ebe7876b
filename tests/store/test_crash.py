"""Killed processes and full disks: what was acknowledged is there, and the log verifies."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path

import pytest
from builders.log_places import Place

from mimrun.errors import StoreError
from mimrun.log.proof.verify import verify
from mimrun.log.sequenced import SequencedStore
from mimrun.log.sqlite.store import SqliteStore, create_log
from tests.store.conftest import ACTOR, ORIGIN, Counter, note, started

ROOT = Path(__file__).parents[2]


def appender(place: Place, run: str, count: int = 0) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("appender.py")), place.address, run, str(count)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
    )


def acknowledged(process: subprocess.Popen[str], count: int) -> list[int]:
    assert process.stdout is not None
    return [int(process.stdout.readline()) for _ in range(count)]


def append_much(store: SequencedStore, seqs: list[int] | None = None) -> None:
    """Append two megabytes, noting what was acknowledged."""
    for _ in range(100):
        (entry,) = store.append([note("x" * 20_000, run="run-1")])
        if seqs is not None:
            seqs.append(entry.seq)


def kill(process: subprocess.Popen[str]) -> list[int]:
    """Kill it; give what it had acknowledged besides. A line cut short was not written to its end."""
    process.send_signal(signal.SIGKILL)
    assert process.stdout is not None
    rest = process.stdout.read().splitlines(keepends=True)
    process.stdout.close()
    assert process.wait(30) == -signal.SIGKILL
    return [int(line) for line in rest if line.endswith("\n")]


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 40])
def test_killed_after_any_append_nothing_acknowledged_is_lost(place: Place, count: int) -> None:
    process = appender(place, "run-1")
    seqs = acknowledged(process, count)
    seqs += kill(process)
    with place.open(projectors=[Counter()]) as store:
        assert {entry.seq for entry in store.entries(run="run-1")} >= set(seqs)
        # Both drafts of an append are there, or neither.
        assert store.head().size % 2 == 1
        assert verify(store).ok
        assert store.projection("count/1", "run-1").count(b";") == store.head().size - 1
        assert store.rebuild()
        assert store.append([started()])[0].seq == store.head().size


def test_processes_that_append_at_once_and_are_killed_leave_one_intact_chain(place: Place) -> None:
    processes = {run: appender(place, run) for run in ("a", "b", "c")}
    seqs = {run: acknowledged(process, 15) for run, process in processes.items()}
    seqs = {run: seqs[run] + kill(process) for run, process in processes.items()}
    with place.open(projectors=[Counter()]) as store:
        for run, expected in seqs.items():
            assert {entry.seq for entry in store.entries(run=run)} >= set(expected)
        report = verify(store)
        assert report.ok, str(report)
        assert store.rebuild()


def test_two_processes_at_once_each_get_their_turn(place: Place) -> None:
    processes = {run: appender(place, run, 60) for run in ("a", "b")}
    for process in processes.values():
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        assert len(output.splitlines()) == 60
    with place.open() as store:
        assert store.head().size == 241
        assert [len(list(store.entries(run=run))) for run in ("a", "b")] == [120, 120]
        assert verify(store).ok


def test_a_process_that_is_stopped_while_others_append_holds_nobody_up_for_good(place: Place) -> None:
    stopped = appender(place, "stopped")
    acknowledged(stopped, 3)
    stopped.send_signal(signal.SIGSTOP)
    try:
        with place.open(projectors=[Counter()], patience=0.5) as store:
            # It may have been stopped in the middle of a transaction: then an append says so in time.
            try:
                store.append([started("other")])
            except StoreError as exc:
                assert "held it" in str(exc) or "held its lock for 0.5 s" in str(exc)  # noqa: PT017 - both ways are right
            stopped.send_signal(signal.SIGCONT)
            acknowledged(stopped, 1)
            assert store.append([started("other")])[0].run == "other"
            assert verify(store).ok
    finally:
        stopped.send_signal(signal.SIGCONT)
        kill(stopped)


def test_a_log_whose_file_may_not_grow_refuses_and_loses_nothing(path: Path) -> None:
    # The limit holds for this process alone and is lifted again, so the store meets a real write error.
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with SqliteStore(path, projectors=[Counter()]) as store:
        store.append([started()])
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 4096, hard))
        try:
            with pytest.raises(StoreError, match="cannot be written") as refusal:
                append_much(store)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert str(path) in str(refusal.value)
        size = store.head().size
        assert verify(store).ok
        assert store.append([started()])[0].seq == size + 1
        assert verify(store).ok
        assert store.rebuild()


@pytest.fixture
def small_disk(tmp_path: Path) -> Generator[Path]:
    """A file system of one megabyte."""
    place = tmp_path / "small"
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "mimrun-test", place], check=False)
    if made.returncode != 0:
        pytest.skip("no file system can be mounted here, though this is root")
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.mark.needs("root")
def test_a_full_disk_refuses_and_loses_nothing(small_disk: Path) -> None:
    path = small_disk / "log.db"
    create_log(path, ORIGIN, ACTOR)
    filler = small_disk / "filler"
    seqs: list[int] = []
    with SqliteStore(path, projectors=[Counter()]) as store:
        seqs.append(store.append([started()])[-1].seq)
        filler.write_bytes(bytes(300_000))
        with pytest.raises(StoreError, match="no space is left on its disk; free some, then go on"):
            append_much(store, seqs)
        assert [entry.seq for entry in store.entries(run="run-1")] == seqs
        assert verify(store).ok
        filler.unlink()
        assert store.append([started()])[0].seq == seqs[-1] + 1
        assert verify(store).ok


@pytest.mark.needs("root")
def test_a_disk_too_full_for_the_memory_file_is_said_to_be_full_or_failed(small_disk: Path) -> None:
    path = small_disk / "log.db"
    create_log(path, ORIGIN, ACTOR)
    filler = small_disk / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    full = "SQLITE_IOERR_SHM.*its disk is full or has failed; free some space.*else look at the system's log"
    with pytest.raises(StoreError, match=full):
        SqliteStore(path, projectors=[Counter()])
    # What it says to do is what helps.
    filler.unlink()
    with SqliteStore(path, projectors=[Counter()]) as store:
        assert store.append([started()])
        assert verify(store).ok
