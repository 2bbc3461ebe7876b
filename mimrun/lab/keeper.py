"""The keeper: a small process that ends the lab when the process that started it is gone.

The starter holds one end of a pipe and says which folders to guard. When it ends, by whatever cause,
the kernel closes its end; the keeper then ends every process of the folders that are still guarded.
A part that is to stay up (`mimrun demo --keep`) is released first.
"""

from __future__ import annotations

import atexit
import os
import select
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

from mimrun.lab import leftover, process

LOOK: Final = 1.0
"""Seconds between two looks at the starter, for the case that a fork of it holds the pipe open."""

_lock = threading.Lock()
_keeper: subprocess.Popen[bytes] | None = None
_owner = 0


def guard(folder: Path) -> None:
    """See to it that all processes of a part's folder end with this process."""
    _tell("guard", folder)


def release(folder: Path) -> None:
    """Let the processes of a part's folder live on after this process."""
    _tell("release", folder)


def _tell(word: str, folder: Path) -> None:
    with _lock:
        pipe = _running().stdin
        assert pipe is not None
        # A keeper that was killed guards nothing; the parts still stop in the ordinary way.
        with suppress(BrokenPipeError):
            pipe.write(f"{word} {folder}\n".encode())
            pipe.flush()


def _running() -> subprocess.Popen[bytes]:
    global _keeper, _owner  # noqa: PLW0603 - one keeper per process is the point
    if _keeper is None or _owner != os.getpid() or _keeper.poll() is not None:
        package = Path(__file__).parents[2]
        starter = process.look(os.getpid())
        assert starter is not None
        _keeper = subprocess.Popen(
            [sys.executable, "-m", "mimrun.lab.keeper", str(starter.pid), str(starter.started)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(package)},
            start_new_session=True,
        )
        _owner = os.getpid()
        atexit.register(_dismiss, _keeper)
    return _keeper


def _dismiss(keeper: subprocess.Popen[bytes]) -> None:
    if _owner == os.getpid() and keeper.stdin is not None:
        with suppress(BrokenPipeError):
            keeper.stdin.close()
        keeper.wait(timeout=30)


def watch(starter: process.Process) -> None:
    """Be the keeper: take words from the standard input until the starter is gone, then clear up."""
    guarded: list[Path] = []
    rest = b""
    gone = False
    while not gone:
        # The last words may still lie in the pipe when the starter has gone: look at it first, then read.
        alive = starter.is_running()
        ready, _, _ = select.select([0], [], [], LOOK if alive else 0)
        data = os.read(0, 65536) if ready else b""
        gone = (bool(ready) and not data) or (not alive and not ready)
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            word, _, text = line.decode().partition(" ")
            folder = Path(text)
            guarded = [other for other in guarded if other != folder]
            if word == "guard":
                guarded.append(folder)
    for folder in reversed(guarded):
        leftover.stop_all(folder)


if __name__ == "__main__":
    # Ctrl-C and a closed terminal are for the starter; the keeper goes when the starter has gone.
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    watch(process.Process(int(sys.argv[1]), int(sys.argv[2]), process.boot_id()))
