"""Driving: having a run executed, showing it, and staying with it for as long as somebody watches."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import typer
from rich.console import Console

from mimrun.app.decisions import verdict_of
from mimrun.app.execution import Verdict, execute_run
from mimrun.app.following import RESTING, Follower
from mimrun.app.home import Home
from mimrun.app.identity import identify
from mimrun.app.launching import Launched, Launcher, hand_over, stays_here
from mimrun.app.runs import find_run, load_plan
from mimrun.app.stopping import request_stop
from mimrun.cli.interrupts import Interrupts
from mimrun.cli.patience import when_free
from mimrun.cli.progress import Progress, recap_json
from mimrun.cli.status import print_needs
from mimrun.cli.terminal import console, print_json
from mimrun.errors import LockError, RefusedError, SettingsError
from mimrun.log.kinds import Kind
from mimrun.run.hold.lock import missing_locks
from mimrun.run.record.transitions import TERMINAL, RunStatus
from mimrun.run.record.wish import Level
from mimrun.runbook.plan import Plan

EXITS: Final = {
    RunStatus.SUCCEEDED: 0,
    RunStatus.FAILED: 1,
    RunStatus.WAITING: 3,
    RunStatus.IN_DOUBT: 4,
    RunStatus.CANCELLED: 7,
}

_LOOK_S: Final = 0.25
_DECIDED_S: Final = 2.0
_FORGET_S: Final = 10.0
"""So long the first Ctrl-C counts on a terminal."""
_DECISIONS: Final = frozenset(
    {Kind.GATE_DECIDED, Kind.MANUAL_ATTESTED, Kind.MANUAL_CONFIRMED}
    | {Kind.RUN_CANCEL_REQUESTED, Kind.RUN_ABORT_REQUESTED}
)


@dataclass(frozen=True, slots=True)
class Wishes:
    """How a person wants a run to be driven.

    Arguments:
        launcher: hands the run to Prefect; None leaves Prefect out.
        patience_ms: how long to wait for an engine that is waking.
        stay: go on by itself when people have decided.
        as_json: the end goes to standard output as JSON, and everything before it to standard error.
        lock_patience_ms: how long to wait for locks that others hold.
    """

    launcher: Launcher | None
    patience_ms: int = 0
    stay: bool = False
    as_json: bool = False
    lock_patience_ms: int = 0


def drive(home: Home, run: str, wishes: Wishes) -> int:
    """Have a run executed, and show it until it ends, waits for a person, or is left alone.

    Returns:
        the exit code that says how it stands.

    Raises:
        RefusedError: this process may not execute it, and nobody else does.
        LogError: the log cannot be written or is not intact; the run stops where it is.
    """
    with _interrupts(run) as interrupts:
        return _Drive(home, run, wishes, interrupts).whole()


def follow(home: Home, run: str, wishes: Wishes) -> int:
    """Show what another process does with a run, as `drive` would.

    Returns:
        the exit code that says how it stands.
    """
    with _interrupts(run) as interrupts:
        return _Drive(home, run, wishes, interrupts).whole(watch=True)


def _interrupts(run: str) -> Interrupts:
    return Interrupts(
        f"left; see how it stands with: mimrun status {run}", before_leaving=3 if sys.stdin.isatty() else 2
    )


class _Drive:
    """One person's look at one run."""

    def __init__(self, home: Home, run: str, wishes: Wishes, interrupts: Interrupts) -> None:
        self._home, self._run, self._wishes, self._interrupts = home, run, wishes, interrupts
        self._plan: Plan = load_plan(home, run)
        self._out: Console = console(stderr=wishes.as_json)
        self._progress = Progress(self._out, self._plan)
        self._follower = Follower(home, run)
        self._heeded, self._pressed_at = 0, 0.0
        self._lock_end = time.monotonic() + wishes.lock_patience_ms / 1000

    def whole(self, *, watch: bool = False) -> int:
        """Drive the run for as long as there is something to do and somebody who watches.

        Arguments:
            watch: another process executes it already.
        """
        while True:
            self._follower.catch_up()
            if watch and self._follower.state.status in RESTING:
                return self._conclude()
            launched = Launched("prefect") if watch else self._launch()
            if launched.mode == "prefect":
                self._watch()
            else:
                self._execute(launched.reason)
            watch = False
            if not self._wait_for_locks() and not (self._wishes.stay and self._wait_for_people()):
                return self._conclude()

    def _launch(self) -> Launched:
        if self._wishes.launcher is None:
            return Launched("direct", "asked for with --direct")
        here = stays_here(self._plan)
        if here:
            return Launched("direct", here)
        return hand_over(self._wishes.launcher, self._run, direct=False, patience_ms=self._wishes.patience_ms)

    def _execute(self, reason: str) -> None:
        """Execute the run on a thread of this process; where somebody else does already, watch it."""
        verdicts: list[Verdict] = []
        errors: list[BaseException] = []

        def work() -> None:
            try:
                verdicts.append(execute_run(self._home.settings, self._run, reason=reason))
            except BaseException as exc:  # noqa: BLE001 - raised again below, in the thread that is watched
                errors.append(exc)

        worker = threading.Thread(target=work, name="executor")
        worker.start()
        try:
            for seen in self._follower.until_rest(worker.is_alive, self._heed):
                self._progress.show(seen)
        finally:
            worker.join()
        if errors:
            raise errors[0]
        if verdicts[0].status == "refused":
            if not find_run(self._home, self._run).held:
                raise RefusedError(verdicts[0].detail)
            self._watch()

    def _watch(self) -> None:
        """Show what another process does with the run."""
        self._follower.interrupted = False
        for seen in self._follower.until_rest(between=self._heed):
            self._progress.show(seen)

    def _heed(self) -> None:
        """Say what steps wait for, and take up what was pressed: on a terminal the first Ctrl-C only says what the next ones do.

        Then, and where nobody can be told: one cancels the run, one more aborts it, and one more leaves.
        """
        self._progress.tick(datetime.now(UTC))
        presses = self._interrupts.presses()
        if sys.stdin.isatty():
            if presses == 1 and not self._heeded:
                self._warn()
            presses -= 1
        for level in (Level.CANCEL, Level.ABORT)[self._heeded : max(presses, 0)]:
            self._heeded += 1
            with contextlib.suppress(RefusedError):  # it has ended meanwhile, or somebody asked for more
                identity = identify(self._home.people(), None)
                request_stop(self._home, self._run, identity, level, "Ctrl-C at the keyboard")

    def _warn(self) -> None:
        """Say what Ctrl-C does; when it is not pressed again, forget that it was."""
        if not self._pressed_at:
            self._pressed_at = time.monotonic()
            typer.echo(
                "\npress Ctrl-C again to cancel the run: what is under way is ended, nothing new is begun"
                f" (`mimrun pause {self._run}` lets it finish)",
                err=True,
            )
        elif time.monotonic() - self._pressed_at > _FORGET_S:
            self._interrupts.forgive()
            self._pressed_at = 0.0

    def _wait_for_locks(self) -> bool:
        """Stay with a run that waits for a lock for as long as was asked for; says whether they are free."""
        state, left = self._follower.state, self._lock_end - time.monotonic()
        if (state.status, state.waits_on) != (RunStatus.WAITING, "lock") or left <= 0:
            return False

        def leave() -> None:
            if self._interrupts.presses():
                raise KeyboardInterrupt

        store, needed = self._home.store, self._plan.locks
        try:
            when_free(
                lambda: missing_locks(store, self._run, needed), int(left * 1000) + 1, self._out, heed=leave
            )
        except LockError:
            return False
        return True

    def _wait_for_people(self) -> bool:
        """Stay at a gate or a manual step until people have decided; says whether to go on."""
        state = self._follower.state
        if state.status is not RunStatus.WAITING or state.waits_on not in ("gate", "manual"):
            return False
        print_needs(self._out, self._home, self._run)
        look = time.monotonic() + _DECIDED_S
        with self._out.status("waiting for people; Ctrl-C leaves, the run stays"):
            while find_run(self._home, self._run).summary.status is RunStatus.WAITING:
                if state.waits_on == "gate" and time.monotonic() >= look:
                    if self._is_decided():
                        return True
                    look = time.monotonic() + _DECIDED_S
                if self._interrupts.presses():
                    raise KeyboardInterrupt
                for seen in self._follower.news(_LOOK_S):
                    self._progress.show(seen)
                    if seen.entry.kind in _DECISIONS:
                        return True
        # Somebody else goes on with it; there may be more to see.
        return find_run(self._home, self._run).summary.status not in TERMINAL

    def _is_decided(self) -> bool:
        """Say whether the gate is decided by what is no entry of the run: a change record, or time."""
        try:
            return verdict_of(self._home, self._follower.state, self._plan) != "waiting"
        except (RefusedError, SettingsError):
            return False  # a rules file that cannot be read opens no gate

    def _conclude(self) -> int:
        state = self._follower.state
        if self._wishes.as_json:
            print_json(recap_json(state, interrupted=self._follower.interrupted))
        else:
            self._progress.recap(state)
            print_needs(self._out, self._home, self._run)
        if state.status not in RESTING:
            typer.echo(f"{self._run} was interrupted; go on with: mimrun resume {self._run}", err=True)
            return 1
        if state.status is RunStatus.SUCCEEDED and state.reason:
            typer.echo(state.reason, err=True)
            return EXITS[RunStatus.FAILED]
        return EXITS[state.status]
