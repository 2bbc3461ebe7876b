"""Execution: a worker takes a run's lease and goes on with it until it ends or needs a person.

The flow in `flows`, the CLI and `resume` all come through here; there is no other way to an effect.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal, assert_never

from structlog.typing import FilteringBoundLogger

from mimrun.app.change.timer import write_at_rest
from mimrun.app.home import Home, open_home, people_reader
from mimrun.app.killswitch import refuse_while_pulled
from mimrun.app.lock_files import forget_locks
from mimrun.app.notice.timer import tell
from mimrun.app.permits import permits_of
from mimrun.app.plans import connector_versions
from mimrun.app.program_log import Event, about, mask_with, program_log
from mimrun.app.runs import find_run, load_plan, load_state
from mimrun.app.takeover import Mode, take_over
from mimrun.app.timeouts import take_back_late
from mimrun.app.tracing import traced
from mimrun.catalog import Catalog
from mimrun.errors import LeaseError, MimrunError, RefusedError, TamperError
from mimrun.log.entry import Actor, Draft
from mimrun.log.kinds import RunMode
from mimrun.run.cell.attempt import Attempts
from mimrun.run.cell.connections import Connections
from mimrun.run.cell.facts import Facts
from mimrun.run.cell.guard import Guard
from mimrun.run.executor import Executor
from mimrun.run.hold.killswitch import Latch
from mimrun.run.hold.stop import Stop
from mimrun.run.journal import Journal
from mimrun.run.record.summary import RunSummaries, RunSummary
from mimrun.run.record.transitions import TERMINAL
from mimrun.run.record.wish import Level
from mimrun.run.walk.fanout import Fanout
from mimrun.run.walk.result import (
    AroundStep,
    Cancelled,
    Denied,
    Done,
    Failed,
    Parked,
    Result,
    StepFailed,
    StepLabel,
    directly,
)
from mimrun.run.walk.waiting import PeopleSteps
from mimrun.run.walk.walk import Parts, Walk
from mimrun.runbook.plan import Plan
from mimrun.settings import Settings

__all__ = ["AroundStep", "Mode", "StepFailed", "StepLabel", "Verdict", "directly", "execute_run", "note_mode"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Where a worker left a run.

    Arguments:
        status: the run's end, or what it waits for; `refused` when this worker did not act at all.
        detail: why, for a person.
        exit_code: what the command line ends with.
        waits_on: what for, where it waits: gate, manual, lock, pause or killswitch.
    """

    status: Literal["succeeded", "failed", "cancelled", "waiting", "in_doubt", "refused"]
    detail: str
    exit_code: int
    waits_on: str = ""


def execute_run(
    settings: Settings,
    run: str,
    *,
    around_step: AroundStep = directly,
    mode: Mode = "direct",
    reason: str = "",
    catalog: Catalog | None = None,
) -> Verdict:
    """Execute a run, or go on with it, in this process.

    Arguments:
        run: the run's full name.
        around_step: called around each step.
        mode: what drives the run, for the log.
        reason: why it is driven so, for the log.
        catalog: the connectors; the installed ones where none is given.

    Returns:
        where the run was left. A run that fails is a verdict and not an exception; so is a run that
        another process holds.

    Raises:
        LogError: the log cannot be written or is not intact; the run stops where it is.
    """
    log = program_log(settings)
    with (
        about(run=run),
        open_home(settings, catalog=catalog) as home,
        traced(home, run, log, os.environ),
    ):
        steps = _Steps(log, around_step)
        with about(**incident_of(home, run)):
            try:
                verdict = _with_way_back(home, run, _execute(home, run, steps, mode, reason))
            except RefusedError as exc:
                log.info(Event.RUN_REFUSED, reason=str(exc))
                return Verdict("refused", str(exc), exc.exit_code)
            except Exception as exc:
                # What mimrun can explain needs no traceback; everything else is a bug.
                bug, step = not isinstance(exc, MimrunError), steps.step_of(exc)
                error = type(exc).__name__
                log.error(Event.RUN_BROKE, error=error, reason=str(exc), exc_info=bug, **step)
                raise
            # Whoever stays would do it, too; where nobody does, people are told by the process that was there.
            tell(home)
            write_at_rest(home, run)
            return verdict


def _with_way_back(home: Home, run: str, verdict: Verdict) -> Verdict:
    """Ask for the way back where nobody decided in time and the gate says so; say which run it is."""
    started = take_back_late(home, run) if verdict.status == "failed" else None
    if started is None:
        return verdict
    back = f"{started.undo} takes it back" if started.undo else f"it is not taken back yet: {started.why}"
    return replace(verdict, detail=f"{verdict.detail}; {back}")


def note_mode(settings: Settings, run: str, mode: Mode, reason: str) -> None:
    """Record that a run is driven differently from now on.

    Raises:
        LogError: the log cannot be written.
    """
    with open_home(settings) as home, about(run=run, **incident_of(home, run)):
        view = find_run(home, run)
        actor = Actor("worker", worker_name(), "engine")
        home.store.append(
            [Draft(actor, RunMode(mode=mode, reason=reason), inc=view.summary.incident, run=view.summary.run)]
        )
        program_log(settings).warning(Event.RUN_MODE_CHANGED, mode=mode, reason=reason)


def incident_of(home: Home, run: str) -> dict[str, str]:
    """Give the incident of a run as the program log tells it; nothing where there is no such run."""
    summary = RunSummary.decode(home.store.projection(RunSummaries.name, run))
    return {"incident": summary.incident} if summary.incident else {}


def worker_name() -> str:
    """Name this process as a worker: `host:pid`."""
    return f"{platform.node()[:100]}:{os.getpid()}"


def _execute(home: Home, run: str, around_step: AroundStep, mode: Mode, reason: str) -> Verdict:
    before = find_run(home, run).summary
    if before.status in TERMINAL:
        raise LeaseError(f"{run} is over already: {before.status}; nothing is left to do")
    plan = load_plan(home, run)
    if plan.digest != before.plan:
        raise TamperError(
            f"{run} was asked for with plan {before.plan[:19]}, not {plan.digest[:19]}; nothing was done"
        )
    ending = before.wish.level >= Level.CANCEL
    if not ending:
        # What only ends may end also now; everything else stands still.
        refuse_while_pulled(home)
        _require_connectors(plan)
    facts = Facts(plan)
    if home.settings.token is not None:
        facts.masker.learn(home.settings.token)
    mask_with(facts.masker)
    with home.leases.take(run, at_least=before.epoch) as lease:
        state = load_state(home, run)
        if not ending:
            facts.remember({path for path in state.started if state.finished.get(path) != "skipped"})
        actor = Actor("worker", worker_name(), "engine", "lease")
        journal = Journal(home.store, state, lease, actor, locks=plan.locks, keep=_keeping(home.settings))
        log = program_log(home.settings)
        log.info(Event.RUN_TAKEN, mode=mode, reason=reason, epoch=lease.epoch, resumed=state.epoch > 0)
        waits = take_over(journal, plan, mode, reason)
        if waits is not None:
            verdict = _verdict(waits)
        else:
            with _executor(home, plan, facts, journal, around_step) as executor:
                verdict = _verdict(executor.execute())
        log.info(Event.RUN_LEFT, status=verdict.status, reason=verdict.detail)
    forget_locks(home)
    return verdict


def _require_connectors(plan: Plan) -> None:
    """See that what performs the plan is what it was made and approved for. A run that is to end may end.

    Raises:
        RefusedError: another version of a connector is installed.
    """
    installed = connector_versions()
    other = [
        f"{name} {version} ({installed[name]} is installed)"
        for name, version in sorted(plan.connectors.items())
        if installed.get(name, version) != version
    ]
    if other:
        raise RefusedError(
            f"the plan was made for {', '.join(other)}, so that something else would run than was looked at;"
            " install that version again, or cancel the run and plan it anew"
        )


class _Steps:
    """Lets the program log know which step is under way, that it failed, and where a run broke.

    Arguments:
        around: called around each step.
    """

    def __init__(self, log: FilteringBoundLogger, around: AroundStep) -> None:
        self._log, self._around = log, around
        self._broken: list[tuple[BaseException, str]] = []

    def __call__(self, label: StepLabel, do: Callable[[], None]) -> None:
        """Do a step, with what is told inside bound to it."""

        def noted() -> None:
            try:
                do()
            except StepFailed as exc:
                self._log.warning(Event.STEP_FAILED, reason=str(exc))
                if (
                    exc.__cause__ is not None
                ):  # what came out of it goes on past the driver, and is told again
                    self._broken.append((exc.__cause__, label.path))
                raise

        with about(step=label.path):
            self._around(label, noted)

    def step_of(self, error: Exception) -> dict[str, str]:
        """Give the step that an error came out of, as the program log tells it; nothing where it was none."""
        found = [path for one, path in self._broken if one is error]
        return {"step": found[0]} if found else {}


def _keeping(settings: Settings) -> Callable[[Draft], object]:
    """Give what records an answer that comes when the worker that asked for it, and its log, are gone."""

    def keep(draft: Draft) -> None:
        with open_home(settings) as home:
            home.store.append([draft])

    return keep


@contextmanager
def _executor(
    home: Home, plan: Plan, facts: Facts, journal: Journal, around_step: AroundStep
) -> Iterator[Executor]:
    state = journal.state
    people = people_reader(home.settings.people, home.clock, plan.runbook.owner)
    permit = permits_of(home, plan, state.run, state.incident, people=people, actor=journal.actor)
    with (
        Stop(
            home.store,
            state.run,
            state.seq,
            already=state.wish,
            latch=Latch(home.settings.kill_switch),
            seen=journal.lease.note_seen,
        ) as stop,
        Connections(home.catalog, plan) as connections,
    ):
        guard = Guard(plan, journal, stop, permit, home.clock)
        attempts = Attempts(
            journal,
            guard,
            connections,
            catalog=home.catalog,
            masker=facts.masker,
            stop=stop,
            clock=home.clock,
        )
        parts = Parts(
            Fanout(journal, attempts, facts, home.catalog),
            PeopleSteps(plan, journal, facts, permit, home.clock),
            facts,
        )
        walk = Walk(plan, journal, parts, stop=stop, clock=home.clock, around_step=around_step)
        yield Executor(plan, journal, walk, stop=stop)


def _verdict(result: Result) -> Verdict:
    match result:
        case Done(left):
            return Verdict("succeeded", left, 1 if left else 0)
        case Failed(reason) | Denied(reason):
            return Verdict("failed", reason, 1)
        case Cancelled(reason):
            return Verdict("cancelled", reason, 7)
        case Parked(on, _, reason):
            return Verdict("in_doubt", reason, 4) if on == "doubt" else Verdict("waiting", reason, 3, on)
        case _:
            assert_never(result)
