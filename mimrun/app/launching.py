"""Launching: handing a run to Prefect when it is there, and to this process when it is not.

Prefect is a courtesy and never a condition: a responder who said go waits for it for a few seconds at
most. Launchers are found by the entry-point group `mimrun.launchers`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol

from mimrun.app.takeover import Mode
from mimrun.errors import MimrunError
from mimrun.run.cell.secrets import secret_references
from mimrun.runbook.plan import Plan
from mimrun.secret import is_of_this_process
from mimrun.settings import Settings

GROUP = "mimrun.launchers"
_LOOK_S = 0.05


class EngineStatus(Protocol):
    """What a launcher says of its engine."""

    @property
    def running(self) -> bool:
        """A process answers."""

    @property
    def ready(self) -> bool:
        """It can execute a run now."""


class Launcher(Protocol):
    """Something that executes runs in the background: the third door."""

    def lay_template(self) -> bool:
        """Do once what makes a later start fast; says whether there was something to do."""

    def wake(self, idle_exit_s: int | None) -> None:
        """Begin to start the engine when there is none; returns at once."""

    def ready(self) -> bool:
        """Say whether a run can be handed over now."""

    def submit(self, run: str) -> bool:
        """Hand a run over; says whether it was taken."""

    def up(self, wait_s: float) -> EngineStatus:
        """Start the engine and keep it."""

    def down(self, *, force: bool = False) -> bool:
        """Stop the engine, with `force` also while it executes runs; says whether there was one."""

    def leave(self) -> bool:
        """Have the engine end as soon as it has left every run after the step that is under way; returns at once."""

    def status(self) -> EngineStatus:
        """Look at the engine."""


@dataclass(frozen=True, slots=True)
class Launched:
    """How a run is driven.

    Arguments:
        mode: `prefect` when the engine has taken it, `direct` when this process must execute it.
        reason: why it is direct, for the log and the responder.
    """

    mode: Mode
    reason: str = ""


def find_launcher(settings: Settings) -> Launcher | None:
    """Give the installed launcher, or None where there is none."""
    for point in entry_points(group=GROUP):
        make: Callable[[Path], Launcher] = point.load()
        return make(settings.home)
    return None


def wake(settings: Settings, idle_exit_s: int = 600) -> Launcher | None:
    """Begin to wake the engine while the responder reads the plan. A failure is not worth a word yet."""
    launcher = find_launcher(settings)
    if launcher is not None:
        try:
            launcher.wake(idle_exit_s)
        except (MimrunError, OSError):
            return launcher
    return launcher


def stays_here(plan: Plan) -> str:
    """Say why a plan can only be executed by the process that a person called, or ""."""
    references = secret_references(plan)
    mine = [name for name, reference in references.items() if is_of_this_process(reference)]
    return f"the secret {', '.join(mine)} is read with the environment of this command" if mine else ""


def hand_over(
    launcher: Launcher | None,
    run: str,
    *,
    direct: bool,
    patience_ms: int,
    monotonic: Callable[[], float] = time.monotonic,
) -> Launched:
    """Hand a run to Prefect, or say why this process must execute it.

    Arguments:
        direct: a person wants Prefect left out.
        patience_ms: how long to wait for an engine that is still waking.
    """
    if direct:
        return Launched("direct", "asked for with --direct")
    if launcher is None:
        return Launched("direct", "no launcher is installed")
    end = monotonic() + patience_ms / 1000
    while True:
        try:
            if launcher.ready() and launcher.submit(run):
                return Launched("prefect")
        except (MimrunError, OSError) as exc:
            return Launched("direct", f"Prefect is not to be had: {exc}")
        if not patience_ms:
            return Launched("direct", "no engine is up; `mimrun up` keeps one warm")
        if monotonic() >= end:
            return Launched("direct", f"Prefect was not ready {patience_ms / 1000:g} s after the go")
        time.sleep(_LOOK_S)
