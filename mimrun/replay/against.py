"""Trying a changed runbook on an incident: its plan is executed over what was said in the record of a run.

It is the executor of today, as for deciding again; but nothing says which entries it is to write. What it asks that
was asked then is answered as then; what people were asked then they answer as then; and where it asks anything else,
nobody knows what would have come of it, and it goes no further there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

from mimrun.errors import ErasedError
from mimrun.log import kinds
from mimrun.log.entry import Actor, Draft, LogEntry
from mimrun.log.store import RunStore
from mimrun.replay.cassette import Cassette
from mimrun.replay.comparison import CallNote, StepChange
from mimrun.replay.crowd import Crowd
from mimrun.replay.permits import PlayedPermit
from mimrun.replay.play import PlayedLog, Unanswered
from mimrun.replay.rig import Ground, executor_on
from mimrun.replay.standin import RecordedCatalog, RecordedLease
from mimrun.replay.steps import Pairs, changed_plan, pair
from mimrun.replay.tape import Tape
from mimrun.run.record.fold import fold
from mimrun.run.record.state import RunState
from mimrun.run.walk.result import Parked, Result
from mimrun.run.walk.way import LeftOff
from mimrun.runbook.plan import Plan

_WORKERS = 1000
"""So many times people may be waited for."""
_ENGINE = Actor("worker", "replay", "replay")


@dataclass(slots=True)
class Tried:
    """What came of trying a changed plan.

    Arguments:
        pairs: which step is which.
        entries: what the worker wrote.
        state: where the run stands in the end.
        whole: what is different in the runbook as a whole.
        stuck: why it goes no further, where it has not ended; "" else.
        unmatched, substituted, unused, erased: calls, see `Changed`.
        assumed: what is taken for granted that nobody said quite so.
        sessions: so many workers it took.
        ends_with_record: the recorded run was not over, and it goes no further where that has not.
    """

    pairs: Pairs
    entries: Sequence[LogEntry]
    state: RunState
    whole: tuple[StepChange, ...] = ()
    stuck: str = ""
    unmatched: list[CallNote] = field(default_factory=list)
    substituted: list[CallNote] = field(default_factory=list)
    unused: list[CallNote] = field(default_factory=list)
    erased: list[CallNote] = field(default_factory=list)
    assumed: list[str] = field(default_factory=list)
    sessions: int = 0
    ends_with_record: bool = False


class Trial:
    """Tries a changed plan on the record of a run.

    Arguments:
        run: the run's name.
        entries: the run's, in order.
        then: the recorded plan.
        now: the changed plan.
        source: the log that the entries are of, for their content.
    """

    def __init__(
        self, run: str, entries: Sequence[LogEntry], then: Plan, now: Plan, source: RunStore
    ) -> None:
        self._run, self._now, self._source = run, now, source
        self._then, self._tape = then, Tape(entries)
        self._pairs = pair(then, now)

    def play(self, *, assume_approved: bool = False, any_arguments: bool = False) -> Tried:
        """Execute the changed plan, as far as the record goes.

        Arguments:
            assume_approved: where nobody decided at a gate then, everybody who is asked agrees.
            any_arguments: a step that asks otherwise than then is answered as then.
        """
        created = next(e for e in self._tape.entries if isinstance(e.body, kinds.RunCreated))
        log = self._log(created, any_arguments=any_arguments)
        permit = PlayedPermit(self._tape, self._pairs, log.clock)
        crowd = Crowd(
            self._tape,
            self._pairs,
            log,
            permit,
            plan=self._now.digest,
            assume_approved=assume_approved,
        )
        log.behind = crowd.hear
        tried = Tried(self._pairs, log.known, RunState(), tuple(changed_plan(self._then, self._now)))
        tried.stuck = self._go_on(log, permit, crowd, tried)
        tried.state = fold(entry for entry in log.known if entry.run == self._run)
        tried.unmatched, tried.substituted, tried.erased = log.unmatched, log.substituted, log.erased
        tried.assumed = crowd.assumed
        tried.unused = self._unused(
            "it was done then, and was not reached now"
            if tried.stuck
            else "it was done then, and is not any more"
        )
        return tried

    def _log(self, created: LogEntry, *, any_arguments: bool) -> PlayedLog:
        assert isinstance(created.body, kinds.RunCreated)
        self._cassette = Cassette(self._tape, self._then, self._content)
        log = PlayedLog(
            self._run,
            self._cassette,
            self._pairs,
            self._source,
            begins=created.ts,
            any_arguments=any_arguments,
        )
        log.nodes = {node.path: node for node in self._now.walk()}
        body = created.body.model_copy(update={"plan": self._now.digest})
        log.write(Draft(created.actor, body, inc=created.inc, run=self._run))
        return log

    def _content(self, entry: LogEntry, name: str) -> bytes | None:
        with suppress(ErasedError):
            return self._source.blob(entry, name)
        return None

    def _go_on(self, log: PlayedLog, permit: PlayedPermit, crowd: Crowd, tried: Tried) -> str:
        """Let workers go on with the run until it ends; gives why it does not, or ""."""
        for epoch in range(1, _WORKERS + 1):
            tried.sessions = epoch
            try:
                result = self._session(log, permit, crowd, epoch)
            except Unanswered as exc:
                return f"nobody knows how it goes on: {exc.note.why}"
            except LeftOff:
                return "nobody knows how it goes on in one of its branches"
            if not isinstance(result, Parked):
                return ""
            state = fold(entry for entry in log.known if entry.run == self._run)
            if not crowd.answer(result, state):
                return f"nobody said then what it waits for: {result.reason}"
        return "it waits for people again and again"

    def _session(self, log: PlayedLog, permit: PlayedPermit, crowd: Crowd, epoch: int) -> Result:
        if epoch == 1:
            crowd.hear(None)
        state = fold(entry for entry in log.known if entry.run == self._run)
        bodies: list[kinds.Body] = [kinds.RunStarted(worker="replay", epoch=epoch, resumed=epoch > 1)]
        bodies += [
            kinds.LockTaken(resource=name, generation=1)
            for name in self._now.locks
            if name not in state.locks
        ]
        log.pass_time(timedelta(milliseconds=1).total_seconds())
        for body in bodies:
            log.write(Draft(_ENGINE, body, inc=state.incident, run=self._run, epoch=epoch))
        state = fold(entry for entry in log.known if entry.run == self._run)
        ground = Ground(
            log=log,
            lease=RecordedLease(self._run, epoch),
            turns=log.turns,
            hints=log,
            catalog=RecordedCatalog(log),
            clock=log.clock,
            worker="replay",
            gates=permit,
            guards=permit,
            secret=log.secret,
        )
        executor, crowd.stop = executor_on(ground, self._now, state)
        return executor.execute()

    def _unused(self, why: str) -> list[CallNote]:
        nodes = {node.path: node for node in self._then.walk()}
        return [
            CallNote(
                call.step,
                nodes[call.step].name if call.step in nodes else "",
                call.key.target,
                call.key.iteration + 1 if getattr(nodes.get(call.step), "loop", None) is not None else 0,
                call.action,
                why,
                call.attempts[0][0].seq,
            )
            for call in self._cassette.unused()
        ]


def begun(entries: Iterable[LogEntry]) -> list[LogEntry]:
    """Give the entries with which steps begin, in order."""
    first = (kinds.StepStarted, kinds.GateRequested, kinds.ManualRequested)
    found: dict[str, LogEntry] = {}
    for entry in entries:
        if isinstance(entry.body, first):
            found.setdefault(entry.step, entry)
    return list(found.values())
