from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from mimrun.errors import LeaseError, StoreError
from mimrun.run.lease import FileLease, is_held


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
