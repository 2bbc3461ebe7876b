"""One cell: intent, action, outcome, until the cell is at rest.

The order is the promise. The intent is durable before the action is performed; an action whose answer
is lost, or whose worker died, is settled by what its effect class allows and never by a guess.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Final, assert_never

from pydantic import JsonValue

from mimrun.catalog import Catalog
from mimrun.connector import (
    Action,
    Call,
    Effect,
    Failed,
    Ok,
    Outcome,
    Refused,
    Unknown,
)
from mimrun.errors import LeaseError, RefusedError
from mimrun.log.kinds import StepFinished, StepIntent
from mimrun.output import Output
from mimrun.run.cell import watchdog
from mimrun.run.cell.answer import answer_of
from mimrun.run.cell.connections import Connections
from mimrun.run.cell.guard import Guard
from mimrun.run.cell.look import Looks
from mimrun.run.cell.move import Move, is_late, last_word, next_move, timeout_ms, within
from mimrun.run.cell.watchdog import Left
from mimrun.run.cell.work import Recording, Told, may_be_told
from mimrun.run.cell.work import Until as Until  # noqa: PLC0414 - who hands work in finds it here
from mimrun.run.cell.work import Work as Work  # noqa: PLC0414 - likewise
from mimrun.run.hold.stop import Halt, Stop
from mimrun.run.journal import Journal
from mimrun.run.record.state import Cell, CellKey
from mimrun.run.record.transitions import CellStatus
from mimrun.secret import MASK, Masker

FROZEN_S: Final = 10.0
"""So old may what the guards have said be when the action is performed."""

_SIT_S: Final = 0.2
"""So often it is looked whether there is still something to wait for."""

_DEAD: Final = Unknown("the worker ended before it recorded an outcome")


class Attempts:
    """Performs cells: as often as the effect class and the author allow.

    Arguments:
        journal: where intents and outcomes go.
        guard: asked before each intent.
        connections: the run's open connectors.
        catalog: the action types.
        masker: takes secrets out of everything that is recorded.
        stop: ends waiting between attempts.
        clock: the present moment, UTC.
    """

    def __init__(
        self,
        journal: Journal,
        guard: Guard,
        connections: Connections,
        *,
        catalog: Catalog,
        masker: Masker,
        stop: Stop,
        clock: Callable[[], datetime],
    ) -> None:
        self._journal, self._guard, self._stop, self._clock = journal, guard, stop, clock
        self._connections, self._catalog, self._masker = connections, catalog, masker
        self._recording = Recording(journal, masker)
        self._looks = Looks(
            journal, connections, self._recording, catalog=catalog, masker=masker, stop=stop, clock=clock
        )

    def work(self, work: Work, until: Until | None = None) -> Cell:
        """Bring a cell to rest, from wherever the log says it is.

        Arguments:
            until: says whether the answer is the one the author waits for.

        Raises:
            Halt: somebody asked to stop, or the gate is not open any more.
            LogError: the log cannot be written; nothing more is begun.
        """
        while True:
            cell = self._journal.state.cell(work.key)
            unmet = bool(until and cell.status is CellStatus.OK and not until(self.answer(work.key)))
            late = is_late(cell, work.options, self._clock())
            retries = work.options.retries
            move = next_move(cell, work.call.effect, retries=retries, until_unmet=unmet, late=late)
            match move:
                case Move.STOP:
                    return cell
                case Move.DOUBT:
                    self._journal.write(self._recording.doubt(work, cell.intent, cell.reason))
                case Move.SETTLE:
                    self.settle(work)
                case Move.TRY:
                    if cell.attempts > cell.voided:
                        self._pause(work.options.delay_ms / 1000)
                    # What the run itself has left bounds it as well: its time is not over only where it began.
                    left_ms = max(1, int(self._guard.time_left() * 1000))
                    bound = min(timeout_ms(cell, work.options, self._clock()), left_ms)
                    self._try(replace(work, options=within(work.options, bound)), cell.attempts + 1)
                case _:
                    assert_never(move)

    def settle(self, work: Work) -> Cell:
        """Record what became of an attempt whose worker died, where there is one; begin nothing."""
        cell = self._journal.state.cell(work.key)
        if cell.status is CellStatus.PERFORMING:
            self._sit_out(cell)
            self._settle(work, cell.intent, Told(_DEAD, Output(self._masker)))
        return cell

    def _sit_out(self, cell: Cell) -> None:
        """Wait until what another worker has begun cannot be under way any more.

        On one machine it is gone. On another it may be frozen, or cut off, and be at it until the deadline
        that its intent recorded, and for as long as its connector may take to end the work. An abort does not wait: the cell is then in doubt.

        Raises:
            LeaseError: this worker was replaced in turn.
        """
        lease = self._journal.lease
        intent = self._journal.store.entry(cell.intent)
        assert isinstance(intent.body, StepIntent)
        allowed = intent.body.deadline_ms + round(watchdog.GRACE_S * 1000)
        while lease.quarantine(intent.epoch, intent.ts, allowed) > 0 and not self._stop.aborted_for():
            if not lease.held():
                raise LeaseError(f"run {self._journal.state.run}: the lease is not held any more")
            time.sleep(min(lease.quarantine(intent.epoch, intent.ts, allowed), _SIT_S))

    def _pause(self, seconds: float) -> None:
        """Wait between two attempts, but not longer than until somebody asks to stop or the run's time is over."""
        if self._stop.wait(min(seconds, self._guard.time_left())):
            self.heed_stop()

    def answer(self, key: CellKey) -> dict[str, JsonValue]:
        """Give the recorded answer of a cell, as templates see it."""
        return answer_of(self._journal.store, self._journal.state.cell(key))

    def heed_stop(self) -> None:
        """Go no further where somebody asked to stop.

        Raises:
            Halt: somebody did.
        """
        if self._stop.wanted():
            raise self._stop.halt()

    def look(self, work: Work) -> tuple[bytes, str]:
        """Read once, without an intent, what whoever asks is about to record.

        Returns:
            the whole answer as JSON, masked; or nothing, and why it could not be had.
        """
        if work.call.effect is not Effect.READ:
            return b"", f"{work.call.action} is no reading"
        action = self._catalog.action(work.call.action).model_validate(work.call.args)
        output = Output(self._masker)
        most = min(work.options.timeout_ms, max(1, int(self._guard.time_left() * 1000)))
        bounded = replace(work, options=within(work.options, most))
        outcome = self._perform(work, action, self._looks.call(bounded, output, 1), intent=0)
        if isinstance(outcome, Left):
            return b"", self._recording.text(outcome.reason)
        if isinstance(outcome, Ok):
            outcome = self._whole(work, outcome, output)
        if not isinstance(outcome, Ok):
            return b"", self._recording.text(outcome.reason)
        data = self._recording.data(outcome)
        return (b"", "the answer is too long to be kept") if data is None else (data, "")

    def _try(self, work: Work, attempt: int) -> None:
        """Make one attempt: guards, intent, a last look, the act, its outcome; see `semantics.md`."""
        looked = uptime()
        self._guard.check(work.path, changes=work.call.effect is not Effect.READ)
        action = self._catalog.action(work.call.action).model_validate(work.call.args)
        output = Output(self._masker)
        call = self._looks.call(work, output, attempt)
        try:
            intent = self._journal.write(self._recording.intent(work, action, attempt))[0].seq
        except Halt:
            # The log knew before we did; whoever else works at this run is to know it, too.
            self._stop.catch_up()
            raise
        began = time.monotonic()
        why = self._why_not_any_more(work, looked)
        if why:
            told = Told(Failed(f"not performed: {why}", clean=True), output, performed=False)
            self._journal.write(self._recording.outcome(work, intent, told))
            return
        outcome = self._perform(
            work, action, replace(call, deadline=began + work.options.timeout_ms / 1000), intent=intent
        )
        took_ms = int((time.monotonic() - began) * 1000)
        if isinstance(outcome, Left):
            # What the target said so far may still grow, on a thread of which nobody knows how far it is.
            nothing = Output(self._masker)
            self._settle(work, intent, Told(Unknown(outcome.reason), nothing, took_ms, left=True))
            return
        if work.whole and isinstance(outcome, Ok):
            outcome = self._whole(work, outcome, output)
        self._settle(work, intent, Told(outcome, output, took_ms))

    def _why_not_any_more(self, work: Work, looked: float) -> str:
        """Look a last time, behind the intent; "" where nothing stands against the act.

        1. The lease, the wish to stop and the kill switch, without asking the log.
        2. All the guards, where this worker, or the whole machine, was frozen since they were asked.
        """
        if not self._journal.lease.held():
            return "the lease is not held any more"
        if self._stop.wanted():
            return self._stop.reason or "stopped"
        if uptime() - looked > FROZEN_S:
            try:
                self._guard.check(work.path, changes=work.call.effect is not Effect.READ)
            except (Halt, RefusedError) as exc:
                # What refuses, such as a people file that cannot be read, does so again in front of the next intent.
                return str(exc)
        return ""

    def _perform(self, work: Work, action: Action, call: Call, *, intent: int) -> Outcome | Left:
        """Let the connector act. A reading without an intent of its own (0) is ended only by an abort."""
        name, target = work.call.action, work.key.target
        try:
            connector = self._connections.take(name, target)
        except Refused as exc:
            return Failed(str(exc), clean=True)

        def late(outcome: Outcome) -> None:
            connector.close()
            told = Told(may_be_told(work, outcome), Output(self._masker))
            if intent:
                self._journal.keep_late(self._recording.evidence(work, intent, told))

        def act() -> Outcome:
            if intent and not self._journal.lease.held():
                # The machine was frozen before this thread had its turn; what it says now is evidence only.
                return Failed("not performed: the lease is not held any more", clean=True)
            return connector.perform(action, call)

        outcome = self._connections.watch(act, call, self._stop, late=late, ends=bool(intent))
        if isinstance(outcome, Left):
            self._connections.leave(connector)
        else:
            self._connections.give_back(name, target, connector)
        return outcome

    def _whole(self, work: Work, outcome: Ok, output: Output) -> Outcome:
        """Refuse an answer that is not all of it: an undo that puts it back would destroy the rest."""
        output.finish()
        if work.options.no_log:
            return Failed("no_log keeps the answer out of the log, and nothing else keeps it", clean=True)
        if output.stdout.left_out or outcome.data.get("truncated") is True:
            return Failed("the answer is too long to be kept as a whole", clean=True)
        if self._masker.longest and MASK in json.dumps(outcome.data, default=str):
            return Failed("the answer holds a secret of this run, which is not kept", clean=True)
        return outcome

    def _settle(self, work: Work, intent: int, told: Told) -> None:
        """Record what came of an intent; where nobody knows, ask the target first if it can tell."""
        outcome, effect = self._last_word(work, told), work.call.effect
        if told.outcome is _DEAD and not isinstance(outcome, Ok) and self._stop.ends_work():
            ended = self._looks.end(work)
            outcome = replace(outcome, reason=f"{outcome.reason}; {ended}") if ended else outcome
        if isinstance(outcome, Unknown) and effect is Effect.PROBE and not self._stop.aborted_for():
            outcome = self._looks.probe(work, intent, outcome, left=told.left)
        if outcome is not told.outcome:
            told = replace(told, outcome=outcome)
        told.output.finish()
        drafts = [self._recording.outcome(work, intent, told)]
        if isinstance(outcome, Unknown) and (
            effect in (Effect.PROBE, Effect.ONCE)
            or (effect is Effect.IDEMPOTENT and self._stop.aborted_for())
        ):
            drafts.append(self._recording.doubt(work, intent, outcome.reason))
        if isinstance(outcome, Ok) and work.ends_step:
            drafts.append(self._journal.draft(StepFinished(status="ok", reason=""), step=work.path))
        self._journal.write(*drafts)

    def _last_word(self, work: Work, told: Told) -> Outcome:
        """Turn a lost answer into a failure where it may be repeated and is not going to be.

        A cancelled run repeats nothing. In one that is aborted, what may have an effect is in doubt.
        """
        effect, ends = work.call.effect, self._stop.ends_work()
        outcome = told.outcome if told.outcome is _DEAD else may_be_told(work, told.outcome)
        if self._stop.aborted_for() and effect is not Effect.READ:
            return outcome
        if told.outcome is _DEAD and not ends:
            return outcome  # an attempt whose worker died is made again
        cell = self._journal.state.cell(work.key)
        last = ends or is_late(cell, work.options, self._clock())
        return last_word(outcome, effect, attempts=cell.attempts, retries=0 if last else work.options.retries)


def uptime() -> float:
    """Give seconds that pass also while the machine is suspended (CLOCK_BOOTTIME, time(7))."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
