"""A run handed in for execution: claimed by exactly one thread, and asked for its end by others.

Nothing here imports Prefect.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Literal, Protocol, TypeAlias

from flows.steps import Label

Mode: TypeAlias = Literal["prefect", "direct"]
AroundStep: TypeAlias = Callable[[Label, Callable[[], None]], None]


class Ending(Protocol):
    """How an execution ended."""

    @property
    def status(self) -> str:
        """succeeded, failed, cancelled, waiting, in_doubt or refused."""

    @property
    def detail(self) -> str:
        """The same in a sentence."""

    @property
    def waits_on(self) -> str:
        """What for, where it waits: gate, manual, lock, pause or killswitch."""


class Executor(Protocol):
    """What the engine needs of mimrun."""

    def execute(self, run: str, around_step: AroundStep | None, mode: Mode, reason: str) -> Ending:
        """Execute a run until it ends or waits.

        Arguments:
            run: its id.
            around_step: called around each step; None does the steps bare.
            mode: how it is driven, for the log.
            reason: why it is not driven through Prefect, or "".
        """

    def note(self, run: str, reason: str) -> None:
        """Record that the run goes on directly from here, and why."""

    def name(self, run: str) -> str:
        """Give the name of its flow run: `<runbook name> <run id>`."""

    def standing(self, run: str) -> Ending | None:
        """Say how a run stands that nobody here executes.

        Returns:
            an ending, or `interrupted`; None where another process executes it or it is not known.
        """

    def due(self) -> list[str]:
        """Ask for what is to be taken back by now, and give the runs that do it and wait to be executed."""

    def leave(self) -> None:
        """Leave every run in front of its next step, from now on."""


class Submission:
    """One execution of one run.

    Arguments:
        run: its id.
        executor: does it.
    """

    def __init__(self, run: str, executor: Executor) -> None:
        self.run = run
        self.executor = executor
        self.claimed = threading.Event()
        self.done = threading.Event()
        self.ending: Ending | None = None
        self.error: BaseException | None = None
        self.lost = ""
        """Why Prefect has not seen all of it, or "" when it has."""
        self.followed = False
        """A flow run has been entered for it."""
        self._claim = threading.Lock()

    def perform(self, around_step: AroundStep | None, mode: Mode, reason: str = "") -> bool:
        """Execute the run, unless somebody does already.

        Returns:
            False when somebody does; wait for `done` then.

        Raises:
            BaseException: what the executor raised; `error` keeps it too.
        """
        if not self._claim.acquire(blocking=False):
            return False
        self.claimed.set()
        try:
            self.ending = self.executor.execute(self.run, around_step, mode, reason)
        except BaseException as exc:
            self.error = exc
            raise
        finally:
            self.done.set()
        return True
