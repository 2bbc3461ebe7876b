"""mimrun as the engine sees it: execute a run, note that it goes on directly, give it a name."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from flows.submission import AroundStep, Mode
from mimrun.app.anchor.giving import Tried
from mimrun.app.anchor.timer import AnchorTimer, anchor_now
from mimrun.app.execution import StepLabel, Verdict, directly, execute_run, note_mode
from mimrun.app.home import open_home
from mimrun.app.program_log import program_log
from mimrun.app.runs import find_run, load_plan
from mimrun.app.worker import Lookout
from mimrun.errors import InputError, MimrunError, RefusedError
from mimrun.run.record.due import Why
from mimrun.settings import Settings, load_settings

STANDS: Final = frozenset({"succeeded", "failed", "cancelled", "waiting", "in_doubt", "interrupted"})
"""Where a run can stand that somebody has begun to execute."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a run stands that nobody executes.

    Arguments:
        status: a verdict's word, or `interrupted`.
        detail: why, for a person.
        waits_on: what for, where it waits.
    """

    status: str
    detail: str
    waits_on: str = ""


class RunExecutor:
    """Executes the runs of one home.

    Arguments:
        home: mimrun's home.
    """

    def __init__(self, home: Path) -> None:
        self._settings = load_settings(os.environ, home)
        self._lookout = Lookout()
        self._leaving = threading.Event()

    def leave(self) -> None:
        """Leave every run in front of its next step, from now on; a worker, or the next engine, goes on with it."""
        self._leaving.set()

    def execute(self, run: str, around_step: AroundStep | None, mode: Mode, reason: str) -> Verdict:
        """Execute a run until it ends or waits.

        Raises:
            LogError: the log cannot be written or is not intact.
        """
        inner = around_step or directly

        def around(label: StepLabel, do: Callable[[], None]) -> None:
            if self._leaving.is_set():
                raise RefusedError(f"the engine ends in front of step {label.path}; a worker goes on with it")
            inner(label, do)

        return execute_run(self._settings, run, around_step=around, mode=mode, reason=reason)

    def note(self, run: str, reason: str) -> None:
        """Record that the run goes on directly from here, and why.

        Raises:
            LogError: the log cannot be written.
        """
        note_mode(self._settings, run, "direct", reason)

    def name(self, run: str) -> str:
        """Give the name of its flow run: `<runbook name> <run id>`.

        Raises:
            MimrunError: there is no such run, or its plan is not what was frozen.
        """
        with open_home(self._settings, watched=False) as home:
            return f"{load_plan(home, run).runbook.name} {run}"

    def due(self) -> list[str]:
        """Ask for what is to be taken back by now, and give the runs that do it and wait to be executed.

        What else nobody is there for is a worker's: a person who uses the engine is there.

        Raises:
            MimrunError: the log cannot be read or written.
        """
        with open_home(self._settings) as home:
            due = self._lookout.due(home, program_log(self._settings))
        return [run for run, why in due if why is Why.TIMER]

    def standing(self, run: str) -> Standing | None:
        """Say how a run stands according to the log.

        Returns:
            None where a process executes it now, where nobody has begun, or where this home does not
            know it.
        """
        try:
            with open_home(self._settings) as home:
                view = find_run(home, run)
        except InputError:
            return None
        if view.held or view.summary.run != run or view.status not in STANDS:
            return None
        return Standing(view.status, view.summary.reason, view.summary.waits_on)


class LogAnchoring:
    """Gives the log's checkpoints to places outside, as long as the engine is there.

    Arguments:
        home: mimrun's home.
    """

    def __init__(self, home: Path) -> None:
        self._home, self._settings = home, load_settings(os.environ, home)
        self._timer = AnchorTimer(self._settings, self._give)
        self._shown = False

    def look(self, *, shown: bool) -> None:
        """Begin to give what is due.

        Arguments:
            shown: Prefect is there to show it.

        Raises:
            MimrunError: the log cannot be opened.
        """
        if self._timer.sleeps:
            return
        self._shown = shown
        with open_home(self._settings) as home:
            self._timer.look(home)

    def _give(self) -> None:
        giving = _Giving(self._settings)
        if self._shown:
            from flows.anchoring import show  # noqa: PLC0415 - Prefect, which has been set up by now

            show(giving, str(self._home))
        else:
            giving()


class _Giving:
    """Gives what is due, at most once, and remembers what came of it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.begun = False
        self._tried: Sequence[Tried] = ()
        self._raised: MimrunError | None = None

    def __call__(self) -> Sequence[Tried]:
        """Give what is due; a second call gives the answer of the first."""
        if not self.begun:
            self.begun = True
            try:
                self._tried = anchor_now(self._settings)
            except MimrunError as exc:
                self._raised = exc
        if self._raised is not None:
            raise self._raised
        return self._tried
