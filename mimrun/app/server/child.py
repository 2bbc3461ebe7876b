"""Processes that a server starts: the worker, and the execution of a run where no engine is ready.

    python -m mimrun.app.server.child work HOME
    python -m mimrun.app.server.child execute HOME RUN REASON

On SIGTERM each leaves its runs in order, after the step that is under way. The worker also ends when the server does,
however that ends: its standard input is then closed.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from mimrun.app.execution import StepLabel, execute_run
from mimrun.app.worker import Worker
from mimrun.errors import MimrunError, RefusedError
from mimrun.settings import load_settings

MODULE: Final = "mimrun.app.server.child"


def main(words: Sequence[str]) -> int:
    """Be such a process; gives its exit status."""
    match words:
        case ["work", home]:
            return _told(lambda: _work(Path(home)))
        case ["execute", home, run, reason]:
            return _told(lambda: _execute(Path(home), run, reason))
        case _:
            return 2


def _told(do: Callable[[], int]) -> int:
    try:
        return do()
    except MimrunError as exc:
        sys.stderr.write(f"{exc}\n")
        return exc.exit_code


def _work(home: Path) -> int:
    worker = Worker(load_settings(os.environ, home=home))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: worker.stop())

    def listen() -> None:
        while os.read(0, 4096):
            pass
        worker.stop()

    threading.Thread(target=listen, name="server", daemon=True).start()
    worker.stay()
    return 0


def _execute(home: Path, run: str, reason: str) -> int:
    leave = _Leave()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: leave.now())
    settings = load_settings(os.environ, home=home)
    return execute_run(settings, run, around_step=leave.around, reason=reason).exit_code


class _Leave:
    """Leaves a run between two steps, once it was asked for. No event: its lock may be held just when a signal comes."""

    def __init__(self) -> None:
        self._asked = False

    def now(self) -> None:
        """Begin no further step."""
        self._asked = True

    def around(self, label: StepLabel, do: Callable[[], None]) -> None:
        """Do a step, unless it was asked for to leave."""
        if self._asked:
            raise RefusedError(f"the server stops in front of step {label.path}; a worker goes on with it")
        do()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
