"""Deciding again: the executor of today goes through a frozen plan, over what the record says happened around it.

It is the executor that runs are executed with, and no copy of it: only what it stands on is another one. Its log is
the record, its clock the record's, its targets and people say what they said, and nothing else can be reached.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mimrun.errors import ErasedError, MimrunError
from mimrun.log.entry import Actor, LogEntry
from mimrun.log.store import RunStore
from mimrun.replay.follow import FollowedLog, Parting
from mimrun.replay.permits import AskingGuard, GuardPermit, RecordedPermit
from mimrun.replay.standin import RecordedCatalog, at_once, stand_in
from mimrun.replay.tape import Session, Tape
from mimrun.replay.targets import FollowedTargets
from mimrun.replay.turns import TapeOver
from mimrun.replay.wishes import RecordedStop
from mimrun.run.attempt import Attempts
from mimrun.run.connections import Connections
from mimrun.run.executor import Executor
from mimrun.run.facts import Facts
from mimrun.run.fanout import Fanout
from mimrun.run.fold import fold
from mimrun.run.journal import Journal
from mimrun.run.result import directly
from mimrun.run.waiting import PeopleSteps
from mimrun.run.walk import Parts, Walk
from mimrun.runbook.plan import Plan


@dataclass(frozen=True, slots=True)
class Redecided:
    """What came of deciding a run again.

    Arguments:
        parting: the first place at which today's code takes another course; None where there is none.
        compared: so many decisions came out the same.
        sessions: so many workers were replayed.
        erased: entries of which content was needed and is not there any more, with why.
        broke: why it could not be gone on with, such as content without which nothing is decided; "" else.
    """

    parting: Parting | None
    compared: int
    sessions: int
    erased: dict[int, str] = field(default_factory=dict)
    broke: str = ""

    @property
    def is_judged(self) -> bool:
        """Whether it is known that today's code decides the same, or not."""
        return not self.broke and not (self.parting and self.erased)


def redecide(run: str, entries: Sequence[LogEntry], plan: Plan, source: RunStore) -> Redecided:
    """Let today's executor decide a run again.

    Arguments:
        run: its name.
        entries: the run's, and those of the kill switch meanwhile, in order.
        plan: the frozen plan.
        source: the log that the entries are of, for their content.
    """
    tape = Tape(entries)
    log = FollowedLog(run, tape, source)
    replayed, broke = 0, ""
    for session in tape.sessions:
        log.begin(session)
        if session.began:
            broke = _replay(log, plan, session)
            replayed += 1
        if log.parting is not None or broke:
            break
        log.finish()
    return Redecided(log.parting, log.compared, replayed, log.erased, broke)


def _replay(log: FollowedLog, plan: Plan, session: Session) -> str:
    """Let a worker of today do what one of then did; gives why it could not, or "".

    A worker that ends with an error leaves no word of it in the log: where the record ends there as well, it is the
    same.
    """
    try:
        _executor(log, plan, session).execute()
    except TapeOver:
        return ""
    except ErasedError as exc:
        return str(exc)
    except MimrunError as exc:
        if not log.cursor.is_over:
            log.part(Parting(log.cursor.next(), None, said=f"stop with {type(exc).__name__}: {exc}"))
        return ""
    if not log.cursor.is_over:
        log.part(Parting(log.cursor.next(), None, said="do nothing more"))
    return ""


def _executor(log: FollowedLog, plan: Plan, session: Session) -> Executor:
    """Put today's executor together as a worker does, on other ground."""
    taken = log.tape.entries[: session.first]
    state = fold(entry for entry in taken if entry.run == log.run)
    actor = Actor("worker", taken[-1].actor.id, "replay")
    journal = Journal(log, state, log.lease, actor, locks=plan.locks)
    facts = Facts(plan, read=stand_in)
    catalog = RecordedCatalog(FollowedTargets(log, plan))
    stop = RecordedStop(log, log.run, state.seq, already=state.wish, hints=log)
    log.stop = stop
    gates = RecordedPermit(log.tape, lambda: log.cursor, log.moments)
    permit = GuardPermit(log.tape, lambda: log.cursor, log.moments)
    guard = AskingGuard(plan, journal, stop, permit, log.clock)
    guard.asks = permit.asks = {}
    attempts = Attempts(
        journal,
        guard,
        Connections(catalog, plan, watch=at_once),
        catalog=catalog,
        masker=facts.masker,
        stop=stop,
        clock=log.clock,
    )
    parts = Parts(
        Fanout(journal, attempts, facts, catalog, pool=log.turns.pool),
        PeopleSteps(plan, journal, facts, gates, log.clock),
        facts,
        pool=log.turns.pool,
        monotonic=lambda: log.turns.seconds,
    )
    walk = Walk(plan, journal, parts, stop=stop, clock=log.clock, around_step=directly)
    return Executor(plan, journal, walk, stop=stop)
