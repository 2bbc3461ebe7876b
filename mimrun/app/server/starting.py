"""Starting a run at the server: the warm engine takes it, else a process of its own."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Final

from mimrun.app.home import Home
from mimrun.app.launching import find_launcher, hand_over
from mimrun.app.server.child import MODULE
from mimrun.errors import RunError

_LOOK_S: Final = 0.05
MOST: Final = 8
"""Runs that are executed in processes of their own at once, where the engine is not ready."""


def start_run(home: Home, run: str) -> str:
    """Have a run executed that was created, or that goes on after a decision; comes back at once.

    Of two who execute the same run only one gets its lease, so that asking twice does no harm.

    Returns:
        `prefect` where the engine has taken it, `direct` where a process of its own executes it.

    Raises:
        RunError: neither can be had; the run stands as it stood, and a worker or `mimrun resume` goes on with it.
    """
    launched = hand_over(find_launcher(home.settings), run, direct=False, patience_ms=0)
    if launched.mode == "direct":
        _CHILDREN.start(home, run, launched.reason)
    return launched.mode


def end_started(hurry: Callable[[], bool]) -> None:
    """Have every process that was started here leave its run after the step that is under way, and wait for that.

    Arguments:
        hurry: says whether to wait no longer; they end by themselves then.
    """
    _CHILDREN.end(hurry)


class _Children:
    """The processes that execute runs for this one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, home: Home, run: str, reason: str) -> None:
        with self._lock:
            self._running = {name: child for name, child in self._running.items() if child.poll() is None}
            if run in self._running:
                return
            if len(self._running) >= MOST:
                raise RunError(
                    f"{run} is on record and does not begin yet: the engine is not ready, and {MOST} runs are executed"
                    f" beside it; go on with it then, or `mimrun resume {run}`"
                )
            command = [sys.executable, "-P", "-m", MODULE, "execute", str(home.settings.home), run, reason]
            try:
                self._running[run] = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    cwd="/",
                    start_new_session=True,
                )
            except OSError as exc:
                raise RunError(f"{run} is on record, and no process can be started: {exc}") from exc

    def end(self, hurry: Callable[[], bool]) -> None:
        with self._lock:
            running = list(self._running.values())
        for child in running:
            if child.poll() is None:
                child.terminate()
        while any(child.poll() is None for child in running) and not hurry():
            time.sleep(_LOOK_S)


_CHILDREN: Final = _Children()
