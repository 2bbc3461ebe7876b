"""The worker: a process that stays and goes on with what nobody is there for.

It takes over runs whose worker died, goes on behind gates that were decided and locks that came free, takes
back what was done for a time only, and does what the rules for alerts ask for. Several may run at once, beside
people and the engine: whoever has the lease executes, and the log takes each run that the timer or a rule asks
for once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Final

from structlog.typing import FilteringBoundLogger

from mimrun.app.anchor.timer import AnchorTimer, anchor_now
from mimrun.app.change.timer import ChangeTimer
from mimrun.app.decisions import verdict_of
from mimrun.app.execution import execute_run, incident_of
from mimrun.app.home import Home, open_home
from mimrun.app.killswitch import refuse_while_pulled
from mimrun.app.launching import stays_here
from mimrun.app.notice.timer import NoticeTimer
from mimrun.app.presence import stays
from mimrun.app.program_log import Event, about, program_log
from mimrun.app.reverts import TIMER, Started, start_due
from mimrun.app.rule.timer import RuleThread, heed_once
from mimrun.app.runs import load_plan, load_state
from mimrun.app.timeouts import is_due, take_back_late
from mimrun.catalog import Catalog
from mimrun.errors import LockError, MimrunError, RefusedError, SettingsError
from mimrun.run.hold.lock import missing_locks
from mimrun.run.record.due import Candidate, Why, due_work
from mimrun.run.record.state import RunState
from mimrun.run.record.summary import RunSummaries, RunSummary
from mimrun.run.record.transitions import RunStatus
from mimrun.run.walk.result import StepLabel
from mimrun.runbook.plan import Plan
from mimrun.settings import Settings

LOOK_S: Final = 1.0
"""How often a worker looks around; a dead worker's run is taken over within a few of these."""
_NAP_S: Final = 0.1
MOST: Final = 8
"""Runs that one worker executes at once."""
LAST_WAIT_S: Final = 5.0
"""How long a worker that stops waits for a checkpoint that it is giving away; the next one gives it again."""
FIRST_PAUSE_S: Final = 5.0
YIELDS_S: Final = 2.0
"""How long a gate that was just decided is left to whoever decided, who is about to go on with the run."""
LONGEST_PAUSE_S: Final = 300.0
"""How long a run is left alone that broke, or was refused, in this worker; twice as long each time."""


@dataclass(slots=True)
class Lookout:
    """Looks for runs to go on with. It remembers only what saves looking twice.

    Arguments:
        monotonic: a clock in seconds.
        settled: time-boxed changes that nobody has to look at any more.
        refused: runs whose changes could not be taken back, and until when they are left alone.
        known: plan and state of runs that it may go on with, as they were at their last entry.
        taken_back: runs that nobody has to look at any more, which ended since nobody decided in time.
        yields_s: how long a gate that was just decided is left to others.
    """

    monotonic: Callable[[], float] = time.monotonic
    settled: set[tuple[str, int]] = field(default_factory=set)
    refused: dict[str, float] = field(default_factory=dict)
    known: dict[str, _Known] = field(default_factory=dict)
    taken_back: set[str] = field(default_factory=set)
    yields_s: float = 0.0

    def due(self, home: Home, log: FilteringBoundLogger) -> list[tuple[str, Why]]:
        """Ask for what the timer is to take back, and give every run that a worker may go on with.

        Returns:
            nothing while the kill switch is pulled.

        Raises:
            LogError: the log cannot be read or written.
        """
        try:
            refuse_while_pulled(home)
        except RefusedError:
            return []
        alone = {run for run, until in self.refused.items() if self.monotonic() < until}
        for started in [*start_due(home, self.settled, alone), *self._late(home, alone)]:
            with about(**incident_of(home, started.forward)):
                self._tell(log, started)
        return due_work(list(self._candidates(home)))

    def _late(self, home: Home, alone: Collection[str]) -> Iterator[Started]:
        """Ask for the way back of runs that ended at a gate which nobody decided in time, where no process did."""
        for _, state in home.store.projections(RunSummaries.name):
            summary = RunSummary.decode(state)
            if is_due(summary) and summary.run not in alone and summary.run not in self.taken_back:
                started = take_back_late(home, summary.run)
                if started is None or started.undo:
                    self.taken_back.add(summary.run)
                if started is not None:
                    yield started

    def _tell(self, log: FilteringBoundLogger, started: Started) -> None:
        if started.undo:
            log.info(Event.REVERT_STARTED, run=started.undo, reason=f"it takes back {started.forward}")
        elif started.passes:
            self.refused[started.forward] = self.monotonic() + FIRST_PAUSE_S
            log.debug(Event.REVERT_REFUSED, run=started.forward, reason=started.why)
        else:
            self.refused[started.forward] = self.monotonic() + LONGEST_PAUSE_S
            log.warning(Event.REVERT_REFUSED, run=started.forward, reason=started.why)

    def _candidates(self, home: Home) -> Iterator[Candidate]:
        before, self.known = self.known, {}
        for _, state in home.store.projections(RunSummaries.name):
            summary = RunSummary.decode(state)
            if not summary.run or not _may_go_on(summary):
                continue
            known = before.get(summary.run)
            if known is None or known.last_seq != summary.last_seq:
                known = _Known(summary.last_seq)
            self.known[summary.run] = known
            if home.leases.is_held(summary.run):
                continue
            yield Candidate(
                summary,
                held=False,
                ready=_is_ready(home, summary, known) and self._is_left(summary, known),
                by_timer=summary.launched_by == TIMER,
                away=stays_here(known.plan_of(home, summary.run)),
            )

    def _is_left(self, summary: RunSummary, known: _Known) -> bool:
        """Say whether nobody else has gone on with a run that could be gone on with for a while."""
        if summary.waits_on != "gate":
            return True
        known.ready_since = self.monotonic() if known.ready_since is None else known.ready_since
        return self.monotonic() - known.ready_since >= self.yields_s


@dataclass(slots=True)
class _Known:
    """What was read of a run that waits, which its entries alone can change; read when it is asked for.

    Arguments:
        last_seq: the run's last entry when it was read.
        ready_since: when it was first seen that nothing holds it up any more.
    """

    last_seq: int
    ready_since: float | None = None
    plan: Plan | None = None
    state: RunState | None = None

    def plan_of(self, home: Home, run: str) -> Plan:
        """Give the run's plan."""
        self.plan = self.plan or load_plan(home, run)
        return self.plan

    def state_of(self, home: Home, run: str) -> RunState:
        """Give the run's state."""
        self.state = self.state or load_state(home, run)
        return self.state


def _may_go_on(summary: RunSummary) -> bool:
    """Say whether it is worth a look: most runs are over, or are a person's to go on with."""
    match summary.status:
        case RunStatus.RUNNING:
            return True
        case RunStatus.CREATED:
            return summary.launched_by == TIMER or summary.by_rule
        case RunStatus.WAITING:
            return summary.waits_on in ("gate", "lock")
        case _:
            return False


def _is_ready(home: Home, summary: RunSummary, known: _Known) -> bool:
    """Say whether what a run waits for does not hold it up any more."""
    if summary.status is not RunStatus.WAITING:
        return False
    if summary.waits_on == "gate":
        try:
            plan, state = known.plan_of(home, summary.run), known.state_of(home, summary.run)
            return verdict_of(home, state, plan) != "waiting"
        except (SettingsError, RefusedError):
            # A rules file that cannot be read opens no gate, and keeps the worker from no other run.
            return False
    if summary.waits_on == "lock":
        try:
            missing_locks(home.store, summary.run, known.plan_of(home, summary.run).locks)
        except LockError:
            return False
        return True
    return False


@dataclass(frozen=True, slots=True)
class Worked:
    """What a worker did with a run.

    Arguments:
        why: why it took it.
        status: how the run stands, or `broke`.
        detail: why it stands so.
    """

    run: str
    why: str
    status: str
    detail: str


class Worker:
    """Goes on with runs, each on a thread, until it is told to stop.

    Arguments:
        settings: of the home.
        catalog: the connectors; the installed ones where none is given.
        report: called with what became of each run.
        monotonic: a clock in seconds.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        catalog: Catalog | None = None,
        report: Callable[[Worked], None] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings, self._catalog, self._report = settings, catalog, report
        self._monotonic, self._log = monotonic, program_log(settings)
        self._lookout = Lookout(monotonic)
        self._anchors = AnchorTimer(
            settings, lambda: anchor_now(settings, catalog=catalog), monotonic=monotonic
        )
        self._notices = NoticeTimer(settings, monotonic=monotonic)
        self._changes = ChangeTimer(settings, monotonic=monotonic)
        self._hurried = threading.Event()  # set by a thread, and never by a signal
        self._rules = RuleThread(settings, catalog=catalog, hurry=self._hurried.set)
        self._active: dict[str, threading.Thread] = {}
        self._alone: dict[str, tuple[int, float]] = {}
        self._met: dict[str, tuple[str, int]] = {}
        self._stopping = False  # no event: its lock may be held just when a signal comes
        self._changed = threading.Condition()

    def stop(self) -> None:
        """Take nothing new, and leave each run after the step that is under way. Safe in a signal handler."""
        self._stopping = True

    def stay(self) -> None:
        """Work until `stop`, and until every run was left in order.

        Raises:
            LogError: the log cannot be read or written.
        """
        self._log.info(Event.WORKER_STARTED)
        self._lookout.yields_s = YIELDS_S
        try:
            with stays(self._settings), open_home(self._settings, catalog=self._catalog) as home:
                home.require_key()
                self._rules.start()
                while not self._stopping:
                    self._hurried.clear()
                    self._take(home)
                    self._anchors.look(home)
                    self._notices.look()
                    self._changes.look(home)
                    self._rest(LOOK_S)
        finally:
            self._stopping = True
            self._rules.stop()
            self._wait()
            self._rules.wait(LAST_WAIT_S)
            self._anchors.wait(LAST_WAIT_S)
            self._notices.wait(LAST_WAIT_S)
            self._changes.wait(LAST_WAIT_S)
            self._log.info(Event.WORKER_STOPPED)

    def once(self) -> None:
        """Look around once, and see through what is due: runs to their rest, and what follows from that.

        Raises:
            LogError: the log cannot be read or written.
        """
        with open_home(self._settings, catalog=self._catalog) as home:
            home.require_key()
            heed_once(home)
            while self._take(home):
                self._wait()
            self._anchors.look(home)
            self._notices.look()
            self._changes.look(home)
            self._anchors.wait()
            self._notices.wait()
            self._changes.wait()

    def _take(self, home: Home) -> bool:
        """Begin to execute what is due; says whether there was something."""
        took = False
        for run, why in self._lookout.due(home, self._log):
            _, until = self._alone.get(run, (0, 0.0))
            if run in self._active or self._monotonic() < until or len(self._active) >= MOST:
                continue
            if self._stopping:
                return took
            took = True
            again = why is Why.GATE and self._meets_again(home, run)
            thread = threading.Thread(
                target=self._execute, args=(run, why), kwargs={"again": again}, name=f"run-{run}"
            )
            with self._changed:
                self._active[run] = thread
            self._log.info(Event.WORKER_TOOK, run=run, reason=why.value, **incident_of(home, run))
            thread.start()
        return took

    def _meets_again(self, home: Home, run: str) -> bool:
        """Say whether a run is taken for the gate that it was taken for last, and nobody has said anything there since.

        Then the gate was open to whoever looked and not to whoever wanted to go through, as when a change system
        answers now and then; to try that each second would fill the log.
        """
        summary = RunSummary.decode(home.store.projection(RunSummaries.name, run))
        before, self._met[run] = self._met.get(run), (summary.waits_at, summary.decided)
        return before == self._met[run]

    def _execute(self, run: str, why: Why, *, again: bool) -> None:
        try:
            verdict = execute_run(
                self._settings,
                run,
                around_step=self._around,
                reason=f"a worker: {why}",
                catalog=self._catalog,
            )
            worked = Worked(run, why.value, verdict.status, verdict.detail)
        except Exception as exc:  # noqa: BLE001 - it stands in the program log; other runs are not to suffer
            worked = Worked(run, why.value, "broke", str(exc) if isinstance(exc, MimrunError) else repr(exc))
        if worked.status != "waiting":
            self._met.pop(run, None)
        if worked.status in ("broke", "refused") or (again and worked.status == "waiting"):
            tries = self._alone.get(run, (0, 0.0))[0]
            pause = min(FIRST_PAUSE_S * 2**tries, LONGEST_PAUSE_S)
            self._alone[run] = (tries + 1, self._monotonic() + pause)
        else:
            self._alone.pop(run, None)
        if self._report is not None:
            self._report(worked)
        with self._changed:
            del self._active[run]
            self._changed.notify_all()

    def _around(self, label: StepLabel, do: Callable[[], None]) -> None:
        """Leave a run between two steps when the worker is to stop; another one goes on with it."""
        if self._stopping:
            raise RefusedError(
                f"this worker stops in front of step {label.path}; another one goes on with it"
            )
        do()

    def _rest(self, seconds: float) -> None:
        end = self._monotonic() + seconds
        while not self._stopping and self._monotonic() < end and not self._hurried.wait(_NAP_S):
            pass

    def _wait(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._active)
