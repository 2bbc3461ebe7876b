"""The executor: walks a frozen plan from wherever the log says it is, to its end or to a person.

It keeps nothing of its own. A first start, a resume after `kill -9` and a resume after an approval are
the same walk: what the log says is finished is taken up, what is open is settled, the rest is done.
"""

from __future__ import annotations

from typing import Final, assert_never

from mimrun.errors import GateError, InputError, RunError
from mimrun.log.kinds import GateClosed, Recap, RunEnded, RunWaiting
from mimrun.run.cell.compare import standing
from mimrun.run.hold.stop import Halt, Stop
from mimrun.run.hold.worktime import TimeOver
from mimrun.run.journal import Journal
from mimrun.run.record.transitions import CellStatus
from mimrun.run.walk.handlers import waiting_handlers
from mimrun.run.walk.result import Cancelled, Denied, Done, Failed, Parked, Result
from mimrun.run.walk.walk import Walk
from mimrun.runbook.plan import Plan

_NAMED: Final = 5


class Executor:
    """Executes one plan for one run.

    Arguments:
        plan: the frozen plan.
        journal: the worker's journal; it has the state.
        walk: goes through the plan.
        stop: a person's wish to stop.
    """

    def __init__(self, plan: Plan, journal: Journal, walk: Walk, *, stop: Stop) -> None:
        self._plan, self._journal, self._walk, self._stop = plan, journal, walk, stop

    def execute(self) -> Result:
        """Go on with the run until it ends or needs a person, and record which.

        Raises:
            LogError: the log cannot be written, or is not what was recorded.
            LeaseError: another worker has taken over.
        """
        while True:
            result = self._settled(self._until_it_rests())
            if not isinstance(result, Parked) or self._parked(result):
                return self._recorded(result)
            # Somebody took a pause back, or asked for the end, in the moment in which the run was about to rest.
            self._stop.catch_up()

    def _parked(self, result: Parked) -> bool:
        try:
            self._journal.note(RunWaiting(on=result.on, reason=result.reason), step=result.step)
        except Halt:
            return False
        return True

    def _recorded(self, result: Result) -> Result:
        match result:
            case Done():
                left = standing(self._plan, self._journal.state)
                said = f"partly taken back: {left}" if left else self._without()
                return self._end("succeeded", said, Done(left))
            case Failed(reason) if self._stop.ends_work():
                # What a person stopped did not fail by itself, whatever became of the work under way.
                reason = f"{self._stop.reason}; {reason}"
                return self._end("cancelled", reason, Cancelled(reason))
            case Failed(reason) | Denied(reason):
                return self._end("failed", reason, result)
            case Cancelled(reason):
                return self._end("cancelled", reason, result)
            case Parked():
                return result
            case _:
                assert_never(result)

    def _until_it_rests(self) -> Result:
        while True:
            try:
                return self._walk.whole()
            except TimeOver as over:
                return Failed(over.reason)
            except Halt as halt:
                if halt.waits == "again":
                    continue
                if halt.gate is None:
                    return Parked(halt.waits, "", halt.reason) if halt.waits else Cancelled(halt.reason)
                if halt.waits == "gate":
                    # What people said holds; something else has to pass first.
                    return Parked("gate", halt.gate, halt.reason)
                # The gate is not open any more: void it, and walk again, which asks people anew.
                body = GateClosed(
                    digest=self._journal.state.gates[halt.gate].digest, reason="void", detail=halt.reason
                )
                self._journal.note(body, step=halt.gate)
            except GateError as exc:
                return Denied(str(exc))
            except InputError as exc:
                return Failed(str(exc))

    def _settled(self, result: Result) -> Result:
        """Let nothing be over, however it ended, while it is not known of some effect whether it happened.

        Raises:
            RunError: an intent has no outcome; a resume settles it.
        """
        if isinstance(result, Parked) and result.on in ("gate", "manual", "doubt"):
            return result
        cells = self._journal.state.cells
        begun = sorted(key for key, cell in cells.items() if cell.status is CellStatus.PERFORMING)
        if begun:
            where = f"step {begun[0].step} on {begun[0].target}"
            raise RunError(f"{where} was begun and its outcome is not on record; resume the run to settle it")
        doubts = sorted(self._journal.state.in_doubt())
        if not doubts:
            return result
        shown = ", ".join(f"{key.step} on {key.target}" for key in doubts[:5])
        return Parked("doubt", doubts[0].step, f"it is not known whether it happened: {shown}")

    def _end(self, status: str, reason: str, result: Result) -> Result:
        if status != "succeeded":
            still = (
                standing(self._plan, self._journal.state),
                waiting_handlers(self._plan, self._journal.state),
            )
            reason = "; ".join(part for part in (reason, *still) if part)
        recap = Recap(**self._journal.state.recap())
        plan = self._plan
        # The way back, and a second try on the hosts that failed, say nothing of the runbook.
        runbook = "" if plan.undo_of or plan.retry_of else plan.runbook.name
        body = {"status": status, "reason": reason, "recap": recap, "runbook": runbook}
        self._journal.note(RunEnded.model_validate(body))
        return result

    def _without(self) -> str:
        """Name the hosts that a run has lost, where it succeeded because so many may fail; "" where it lost none."""
        lost = sorted(self._walk.lost)
        shown = ", ".join(lost[:_NAMED]) + (f" and {len(lost) - _NAMED} more" if len(lost) > _NAMED else "")
        return f"without {shown}: failed on the way, as {self._plan.max_failures} may" if lost else ""
