from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mimrun.errors import LeaseError, StoreError
from mimrun.run.hold.lease import FileLease, FileLeases, is_held, remove_lock


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[int]:
    """Another process that holds the lease of run-1 until it is ended."""
    ready, say = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            with FileLease(tmp_path, "run-1"):
                os.write(say, b"!")
                signal.pause()
        finally:
            os._exit(0)
    os.close(say)
    assert os.read(ready, 1) == b"!"
    os.close(ready)
    yield child
    try:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    except (ProcessLookupError, ChildProcessError):
        pass


def test_a_second_process_is_refused_and_told_who_has_it(tmp_path: Path, holder: int) -> None:
    with pytest.raises(LeaseError, match=rf"run-1 is being executed by process {holder}; follow it with"):
        FileLease(tmp_path, "run-1")
    assert is_held(tmp_path, "run-1")


def test_a_second_worker_in_the_same_process_is_refused_too(tmp_path: Path) -> None:
    with FileLease(tmp_path, "run-1"), pytest.raises(LeaseError):
        FileLease(tmp_path, "run-1")


def test_the_lease_of_another_run_is_free(tmp_path: Path, holder: int) -> None:
    with FileLease(tmp_path, "run-2") as lease:
        assert lease.held()


def test_kill_frees_the_lease_at_once(tmp_path: Path, holder: int) -> None:
    os.kill(holder, signal.SIGKILL)
    os.waitpid(holder, 0)
    assert not is_held(tmp_path, "run-1")
    with FileLease(tmp_path, "run-1") as lease:
        assert lease.epoch == 2


def test_a_process_that_is_only_stopped_keeps_the_lease(tmp_path: Path, holder: int) -> None:
    os.kill(holder, signal.SIGSTOP)
    os.waitpid(holder, os.WUNTRACED)
    with pytest.raises(LeaseError):
        FileLease(tmp_path, "run-1")
    os.kill(holder, signal.SIGCONT)


def test_the_epoch_only_grows(tmp_path: Path) -> None:
    seen = []
    for at_least in (0, 0, 7, 3):
        with FileLease(tmp_path, "run-1", at_least=at_least) as lease:
            seen.append(lease.epoch)
    assert seen == [1, 2, 8, 9]


def test_the_log_knows_the_epoch_where_the_file_is_lost(tmp_path: Path) -> None:
    with FileLease(tmp_path, "run-1", at_least=4):
        pass
    (tmp_path / "run-1.lock").unlink()
    with FileLease(tmp_path, "run-1", at_least=5) as lease:
        assert lease.epoch == 6


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"epoch": "x"}', b"\xff\xfe"])
def test_a_broken_lock_file_stops_nobody(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run-1.lock").write_bytes(content)
    with FileLease(tmp_path, "run-1", at_least=2) as lease:
        assert lease.epoch == 3


def test_after_release_it_is_not_held_and_releasing_again_does_nothing(tmp_path: Path) -> None:
    lease = FileLease(tmp_path, "run-1")
    assert lease.held()
    lease.release()
    lease.release()
    assert not lease.held()
    assert not is_held(tmp_path, "run-1")


def test_nobody_holds_what_was_never_asked_for(tmp_path: Path) -> None:
    assert not is_held(tmp_path, "run-1")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be opened"):
        FileLease(tmp_path / "file" / "lock", "run-1")


def test_asking_does_not_get_in_the_way_of_taking(tmp_path: Path) -> None:
    with FileLease(tmp_path, "run-1"):
        pass
    for _ in range(50):
        assert not is_held(tmp_path, "run-1")
        FileLease(tmp_path, "run-1").release()


REMOVALS: list[Callable[[Path], object]] = [
    lambda folder: (folder / "run-1.lock").unlink(),
    lambda folder: (folder / "run-1.lock").rename(folder / "run-1.bak"),
    lambda folder: shutil.copy(folder / "run-1.lock", folder / "copy").rename(folder / "run-1.lock"),
    lambda folder: folder.rename(folder.with_name("moved")),
    shutil.rmtree,
]


@pytest.mark.parametrize("remove", REMOVALS)
def test_a_worker_whose_lock_file_is_taken_away_begins_nothing_any_more(
    tmp_path: Path, remove: Callable[[Path], object]
) -> None:
    folder = tmp_path / "lock"
    with FileLease(folder, "run-1") as first:
        assert first.held()
        remove(folder)
        assert not first.held()
        with FileLease(folder, "run-1", at_least=1) as second:
            assert second.held()
            assert not first.held()
            assert second.epoch == 2


def test_a_lock_file_is_removed_where_nobody_holds_it(tmp_path: Path) -> None:
    with FileLease(tmp_path, "run-1"):
        assert not remove_lock(tmp_path, "run-1")
        assert is_held(tmp_path, "run-1")
    assert remove_lock(tmp_path, "run-1")
    assert not remove_lock(tmp_path, "run-1")
    assert list(tmp_path.iterdir()) == []


def test_the_lock_files_of_runs_that_are_over_are_removed_and_others_stay(tmp_path: Path) -> None:
    for run in ("run-1", "run-2", "run-3"):
        FileLease(tmp_path, run).release()
    (tmp_path / "worker").touch()
    with FileLease(tmp_path, "run-4"):
        assert FileLeases(tmp_path).forget(lambda run: run != "run-2") == 2
        assert {path.name for path in tmp_path.iterdir()} == {"run-2.lock", "run-4.lock", "worker"}
    assert FileLeases(tmp_path / "none").forget(lambda run: True) == 0


def contend(folder: Path, witness: Path, seconds: float) -> int:
    """Take and let go of a lease and remove its file for a while; gives 1 where two had it at once."""
    end, took = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        try:
            with FileLease(folder, "run-1"):
                took += 1
                os.close(os.open(witness, os.O_CREAT | os.O_EXCL))
                time.sleep(0)
                witness.unlink()
        except LeaseError:
            pass
        except FileExistsError:
            return 1
        remove_lock(folder, "run-1")
    return 0 if took else 2


def test_of_many_that_take_and_remove_at_once_never_two_have_the_lease(tmp_path: Path) -> None:
    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            code = 3
            try:
                code = contend(tmp_path / "lock", tmp_path / "witness", 0.7)
            finally:
                os._exit(code)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0, 0, 0]
