"""The turnstile: one at a time, in the order of coming, whoever dies where."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest

from mimrun.log.sqlite.turnstile import Turnstile

ROOT = Path(__file__).parents[3]
HOLDER = """
import sys
from pathlib import Path
from mimrun.log.sqlite.turnstile import Turnstile
turnstile = Turnstile(Path(sys.argv[1]))
print("comes", flush=True)
turnstile.enter()
print("is in", flush=True)
sys.stdin.readline()
"""


def another(path: Path) -> subprocess.Popen[str]:
    """A process that enters and stays."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert says(process) == "comes"
    return process


def says(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def kill(process: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGKILL)
    process.communicate()


def await_true(check: Callable[[], object]) -> None:
    until = time.monotonic() + 30
    while not check():
        assert time.monotonic() < until, "it did not come"
        time.sleep(0.005)


def drawn(path: Path) -> int:
    return int.from_bytes(Path(f"{path}-turn").read_bytes()[:8], "little")


def await_drawn(path: Path, count: int) -> None:
    await_true(lambda: drawn(path) == count)


def test_those_who_wait_are_let_in_in_the_order_of_coming(tmp_path: Path) -> None:
    path, order = tmp_path / "x", list[int]()

    def come(number: int) -> None:
        with closing(Turnstile(path)) as turnstile:
            turnstile.enter()
            order.append(number)
            turnstile.leave()

    with closing(Turnstile(path)) as first:
        first.enter()
        threads = []
        for number in range(12):
            threads.append(threading.Thread(target=come, args=(number,)))
            threads[-1].start()
            await_drawn(path, number + 2)
        first.leave()
        # Who comes back stands behind all of them, although it runs already.
        first.enter()
        assert order == list(range(12))
        first.leave()
        for thread in threads:
            thread.join(30)


def test_nobody_is_in_together_with_another(tmp_path: Path) -> None:
    path, inside, most, entries = tmp_path / "x", [0], [0], [0]

    def come() -> None:
        with closing(Turnstile(path)) as turnstile:
            for _ in range(200):
                turnstile.enter()
                inside[0] += 1
                most[0], entries[0] = max(most[0], inside[0]), entries[0] + 1
                inside[0] -= 1
                turnstile.leave()

    threads = [threading.Thread(target=come) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (most[0], entries[0]) == (1, 1200)


def test_the_lock_of_a_process_that_died_is_free(tmp_path: Path) -> None:
    path = tmp_path / "x"
    process = another(path)
    assert says(process) == "is in"
    with closing(Turnstile(path)) as turnstile:
        assert not turnstile.try_enter()
        kill(process)
        turnstile.enter()
        turnstile.leave()


def test_one_that_dies_in_the_queue_lets_nobody_in_too_early(tmp_path: Path) -> None:
    path, order = tmp_path / "x", list[str]()
    with closing(Turnstile(path)) as inside, closing(Turnstile(path)) as behind:
        inside.enter()
        dead = another(path)
        await_drawn(path, 2)

        def come() -> None:
            behind.enter()
            order.append("behind")
            behind.leave()

        thread = threading.Thread(target=come)
        thread.start()
        await_drawn(path, 3)
        kill(dead)
        # The place before it in the queue is free now, and the lock is not.
        thread.join(0.2)
        assert thread.is_alive()
        order.append("inside")
        inside.leave()
        thread.join(30)
        assert order == ["inside", "behind"]


@pytest.mark.parametrize("content", [b"", b"x", b"\xff" * 8, (2**62).to_bytes(8, "little"), b"\0" * 100])
def test_a_file_that_makes_no_sense_costs_nothing_but_an_order(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x"
    (tmp_path / "x-turn").write_bytes(content)
    with closing(Turnstile(path)) as one, closing(Turnstile(path)) as other:
        for turnstile in (one, other, one):
            turnstile.enter()
            turnstile.leave()
        assert drawn(path) == 3
        one.enter()
        assert not other.try_enter()
        one.leave()
        assert other.try_enter()
        other.leave()
