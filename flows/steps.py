"""A step of a run shown as a task run of Prefect, without Prefect having a say in it.

The step is done exactly once, whatever Prefect does: refuses, fails, hangs before, fails after. Nothing
here imports Prefect; what shows a step is given.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from flows.pulse import Health

_log = logging.getLogger("mimrun.engine.steps")

ENDS_PROCESS: Final = (KeyboardInterrupt, SystemExit)


class Label(Protocol):
    """What is shown of a step."""

    @property
    def path(self) -> str:
        """Its place in the runbook, such as "3.block.1"."""

    @property
    def name(self) -> str:
        """Its name in the runbook."""


class Once:
    """A step that is begun at most once, and remembers how it ended.

    Arguments:
        do: does the step; raises when the step failed.
    """

    def __init__(self, do: Callable[[], None]) -> None:
        self._do = do
        self.begun = False
        self.raised: BaseException | None = None

    def __call__(self) -> None:
        """Do the step; a second call does nothing and ends as the first one did."""
        if not self.begun:
            self.begun = True
            try:
                self._do()
            except BaseException as exc:
                self.raised = exc
                raise
        elif self.raised is not None:
            raise self.raised


@dataclass(frozen=True, slots=True)
class View:
    """How steps are shown, and how it is known that this still works.

    Arguments:
        show: shows one step by its title and calls it; may raise whatever it likes, before or after.
        health: what is known of Prefect's API.
        note: records in the run's log that it goes on directly, and why.
        ends_process: what is raised when this process is told to end; it is passed on at once.
    """

    show: Callable[[str, Once], None]
    health: Callable[[], Health]
    note: Callable[[str], None]
    ends_process: tuple[type[BaseException], ...] = ENDS_PROCESS


class Shown:
    """Does the steps of one run, each as a task run for as long as Prefect is there.

    Several branches of a run may do their steps at once, each on a thread of its own.

    Once Prefect is lost, the run goes on directly to its end: a picture with a hole in the middle would
    mislead more than one that ends.

    Arguments:
        view: how steps are shown.
    """

    def __init__(self, view: View) -> None:
        self._view = view
        self._losses = view.health().losses
        self._lock = threading.Lock()
        self.lost = ""
        """Why steps are not shown any more, or "" as long as they are."""

    def __call__(self, label: Label, do: Callable[[], None]) -> None:
        """Do one step.

        Raises:
            BaseException: what the step itself raised, and nothing of Prefect's.
        """
        self._look()
        if self.lost:
            do()
            return
        step = Once(do)
        self._show(label, step)
        if not step.begun:
            step()
        if step.raised is not None:
            raise step.raised
        self._look()

    def _show(self, label: Label, step: Once) -> None:
        try:
            self._view.show(f"{label.path} {label.name}", step)
        except self._view.ends_process:
            raise
        except BaseException as exc:  # noqa: BLE001 - whatever Prefect raises must not stop the step
            if step.raised is exc:
                return
            reason = f"prefect failed at step {label.path}: {type(exc).__name__}"
            _log.warning("%s: %s", reason, exc)
            if not step.begun:
                self._give_up(reason)

    def _look(self) -> None:
        health = self._view.health()
        if not self.lost and (not health.up or health.losses != self._losses):
            self._give_up(health.reason)

    def _give_up(self, reason: str) -> None:
        with self._lock:
            first = not self.lost
            self.lost = self.lost or reason
        if first:
            self._view.note(reason)
