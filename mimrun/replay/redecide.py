"""Deciding again: the executor of today goes through a frozen plan, over what the record says happened around it.

It is the executor that runs are executed with, and no copy of it: only what it stands on is another one. Its log is
the record, its clock the record's, its targets and people say what they said, and nothing else can be reached.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mimrun.errors import ErasedError, MimrunError
from mimrun.log.entry import LogEntry
from mimrun.log.store import RunStore
from mimrun.replay.follow import FollowedLog
from mimrun.replay.parting import Parting
from mimrun.replay.permits import GuardPermit, RecordedPermit
from mimrun.replay.rig import Ground, executor_on
from mimrun.replay.standin import RecordedCatalog
from mimrun.replay.tape import Session, Tape
from mimrun.replay.targets import FollowedTargets
from mimrun.replay.turns import TapeOver
from mimrun.run.executor import Executor
from mimrun.run.record.fold import fold
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
    except Exception as exc:  # noqa: BLE001 - a bug of today's code ends a worker, too
        log.part(Parting(log.cursor.next(), None, said=f"break with {type(exc).__name__}: {exc}"))
        return ""
    if not log.cursor.is_over:
        log.part(Parting(log.cursor.next(), None, said="do nothing more"))
    return ""


def _executor(log: FollowedLog, plan: Plan, session: Session) -> Executor:
    """Let a worker of today take over where one of then did."""
    taken = log.tape.entries[: session.first]
    state = fold(entry for entry in taken if entry.run == log.run)
    guards = GuardPermit(log.tape, lambda: log.cursor, log.moments)
    guards.asks = {}
    ground = Ground(
        log=log,
        lease=log.lease,
        turns=log.turns,
        hints=log,
        catalog=RecordedCatalog(FollowedTargets(log, plan)),
        clock=log.clock,
        worker=taken[-1].actor.id,
        gates=RecordedPermit(log.tape, lambda: log.cursor, log.moments),
        guards=guards,
        secret=log.secret,
    )
    executor, log.stop = executor_on(ground, plan, state)
    return executor
