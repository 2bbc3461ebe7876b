"""One cell: intent, action, outcome, until the cell is at rest.

The order is the promise. The intent is durable before the action is performed; an action whose answer
is lost, or whose worker died, is settled by what its effect class allows and never by a guess.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, Literal, assert_never

from pydantic import JsonValue

from mimrun import canonical
from mimrun.catalog import Catalog
from mimrun.connector import (
    Action,
    AnyConnector,
    Call,
    Effect,
    Failed,
    Finding,
    Ok,
    Outcome,
    Probed,
    Refused,
    Unknown,
    mask_json,
)
from mimrun.log.entry import MAX_BLOB, Blob, Draft
from mimrun.log.kinds import StepFinished, StepInDoubt, StepIntent, StepOutcome, StepProbed
from mimrun.output import Output, Stream
from mimrun.run.answer import answer_of
from mimrun.run.connections import Connections
from mimrun.run.guard import Guard, Halt
from mimrun.run.journal import Journal, Stopped
from mimrun.run.key import idempotency_key
from mimrun.run.move import Move, last_word, next_move
from mimrun.run.state import Cell, CellKey
from mimrun.run.stop import Stop
from mimrun.run.transitions import CellStatus
from mimrun.runbook.node import PlannedCall, StepOptions
from mimrun.secret import MASK, Masker

PROBE_PAUSES_S: Final = (0.0, 1.0, 5.0)
"""How long to wait before each look of a probe."""

FROZEN_S: Final = 10.0
"""So old may what the guards have said be when the action is performed."""

NOT_TOLD: Final = "what was said about it is kept out of the log by no_log"

_DEAD: Final = Unknown("the worker ended before it recorded an outcome")


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be done in one cell.

    Arguments:
        key: which cell.
        path: the step of the plan that the cell belongs to.
        call: the action, fully rendered.
        options: the author's keywords.
        ends_step: an answer is the end of the whole step: it has no other cell, and nothing judges it.
        shown: the arguments as the log may have them, where a secret went into them; else None.
        whole: the answer is of use only when nothing of it was cut off or masked.
    """

    key: CellKey
    path: str
    call: PlannedCall
    options: StepOptions
    ends_step: bool = False
    shown: JsonValue = None
    whole: bool = False


Until = Callable[[Mapping[str, JsonValue]], bool]


class Attempts:
    """Performs cells: as often as the effect class and the author allow.

    Arguments:
        journal: where intents and outcomes go.
        guard: asked before each intent.
        connections: the run's open connectors.
        catalog: the action types.
        masker: takes secrets out of everything that is recorded.
        stop: ends waiting between attempts.
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
    ) -> None:
        self._journal, self._guard, self._stop = journal, guard, stop
        self._connections, self._catalog, self._masker = connections, catalog, masker

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
            move = next_move(cell, work.call.effect, retries=work.options.retries, until_unmet=unmet)
            match move:
                case Move.STOP:
                    return cell
                case Move.DOUBT:
                    self._journal.write(self._doubt(work, cell.intent, cell.reason))
                case Move.SETTLE:
                    self._settle(work, cell.intent, _DEAD, Output(self._masker), time.monotonic())
                case Move.TRY:
                    if cell.attempts > cell.voided and self._stop.wait(work.options.delay_ms / 1000):
                        raise Halt(self._stop.reason)
                    self._try(work, cell.attempts + 1)
                case _:
                    assert_never(move)

    def answer(self, key: CellKey) -> dict[str, JsonValue]:
        """Give the recorded answer of a cell, as templates see it."""
        return answer_of(self._journal.store, self._journal.state.cell(key))

    def heed_stop(self) -> None:
        """Go no further where somebody asked to stop.

        Raises:
            Halt: somebody did.
        """
        if self._stop.wanted():
            raise Halt(self._stop.reason)

    def look(self, work: Work) -> tuple[bytes, str]:
        """Read once, without an intent, what whoever asks is about to record.

        Returns:
            the whole answer as JSON, masked; or nothing, and why it could not be had.
        """
        if work.call.effect is not Effect.READ:
            return b"", f"{work.call.action} is no reading"
        action = self._catalog.action(work.call.action).model_validate(work.call.args)
        output = Output(self._masker)
        outcome = self._perform(work, action, self._call(work, output, 1))
        if isinstance(outcome, Ok):
            outcome = self._whole(work, outcome, output)
        if not isinstance(outcome, Ok):
            return b"", self._text(outcome.reason)
        data = self._data(outcome)
        return (b"", "the answer is too long to be kept") if data is None else (data, "")

    def _try(self, work: Work, attempt: int) -> None:
        looked = uptime()
        self._guard.check(work.path, changes=work.call.effect is not Effect.READ)
        action = self._catalog.action(work.call.action).model_validate(work.call.args)
        output = Output(self._masker)
        call = self._call(work, output, attempt)
        try:
            intent = self._journal.write(self._intent(work, action, attempt))[0].seq
        except Stopped as exc:
            self._stop.want(str(exc))
            raise Halt(str(exc)) from exc
        began = time.monotonic()
        # Between the durable intent and the effect only what needs no I/O is looked at again.
        outcome: Outcome
        if self._stop.wanted() or not self._journal.lease.held():
            outcome = Failed("stopped before it was performed", clean=True)
        elif uptime() - looked > FROZEN_S and (why := self._why_not_any_more(work)):
            outcome = Failed(f"not performed: {why}", clean=True)
        else:
            call = replace(call, deadline=began + work.options.timeout_ms / 1000)
            outcome = self._perform(work, action, call)
        if work.whole and isinstance(outcome, Ok):
            outcome = self._whole(work, outcome, output)
        self._settle(work, intent, outcome, output, began)

    def _why_not_any_more(self, work: Work) -> str:
        """Ask the guards again after this worker, or the whole machine, was frozen behind its intent."""
        try:
            self._guard.check(work.path, changes=work.call.effect is not Effect.READ)
        except Halt as halt:
            return halt.reason
        return ""

    def _perform(self, work: Work, action: Action, call: Call) -> Outcome:
        try:
            connector = self._connections.connector(work.call.action, work.key.target)
        except Refused as exc:
            return Failed(str(exc), clean=True)
        return connector.perform(action, call)

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

    def _settle(self, work: Work, intent: int, outcome: Outcome, output: Output, began: float) -> None:
        """Record what came of an intent; where nobody knows, ask the target first if it can tell."""
        cell = self._journal.state.cell(work.key)
        if outcome is not _DEAD:
            outcome = last_word(
                _told(work, outcome), work.call.effect, attempts=cell.attempts, retries=work.options.retries
            )
        if isinstance(outcome, Unknown) and work.call.effect is Effect.PROBE:
            outcome = self._probe(work, intent, outcome)
        output.finish()
        drafts = [self._outcome(work, intent, outcome, output, int((time.monotonic() - began) * 1000))]
        if isinstance(outcome, Unknown) and work.call.effect in (Effect.PROBE, Effect.ONCE):
            drafts.append(self._doubt(work, intent, outcome.reason))
        if isinstance(outcome, Ok) and work.ends_step:
            drafts.append(self._journal.draft(StepFinished(status="ok", reason=""), step=work.path))
        self._journal.write(*drafts)

    def _probe(self, work: Work, intent: int, lost: Unknown) -> Outcome:
        action = self._catalog.action(work.call.action).model_validate(work.call.args)
        found = Probed(Finding.UNKNOWN, "the probe was not asked")
        for pause in PROBE_PAUSES_S:
            self._stop.wait(pause)
            found = self._look(work, action)
            told = StepProbed(
                finding=found.finding,
                reason=self._text(found.reason),
                intent=intent,
                iteration=work.key.iteration,
            )
            self._journal.note(told, step=work.key.step, target=work.key.target)
            match found.finding:
                case Finding.APPLIED:
                    return _told(work, _as_probed(lost, found))
                case Finding.NOT_APPLIED:
                    return Failed(
                        f"{lost.reason}; a probe proves that nothing happened: {found.reason}", clean=True
                    )
                case Finding.UNKNOWN:
                    continue
                case _:
                    assert_never(found.finding)
        return Unknown(f"{lost.reason}; a probe cannot tell: {found.reason}")

    def _look(self, work: Work, action: Action) -> Probed:
        try:
            connector: AnyConnector = self._connections.connector(work.call.action, work.key.target)
        except Refused as exc:
            return Probed(Finding.UNKNOWN, str(exc))
        cell = self._journal.state.cell(work.key)
        call = self._call(work, Output(self._masker), cell.attempts)
        begun = self._journal.store.entry(cell.intent).ts
        found = connector.probe(action, replace(call, age=(datetime.now(UTC) - begun).total_seconds()))
        return replace(found, reason=NOT_TOLD, data={}) if work.options.no_log else found

    def _call(self, work: Work, output: Output, attempt: int) -> Call:
        return Call(
            key=idempotency_key(self._journal.state.run, work.key),
            deadline=time.monotonic() + work.options.timeout_ms / 1000,
            output=output,
            become=work.options.become,
            environment=work.options.environment,
            attempt=attempt,
            effect=work.call.effect,
        )

    def _intent(self, work: Work, action: Action, attempt: int) -> Draft:
        args = action.model_dump(mode="json", by_alias=True) if work.shown is None else work.shown
        kept = b"" if work.options.no_log else self._json(args)
        body = StepIntent(
            action=work.call.action,
            effect=work.call.effect,
            key=idempotency_key(self._journal.state.run, work.key),
            args_digest=canonical.digest_bytes(kept),
            deadline_ms=work.options.timeout_ms,
            check_mode=False,
            iteration=work.key.iteration,
        )
        blobs = [Blob("args", kept, "plan")] if kept else []
        key = work.key
        return self._journal.draft(body, step=key.step, target=key.target, attempt=attempt, blobs=blobs)

    def _outcome(self, work: Work, intent: int, outcome: Outcome, output: Output, took_ms: int) -> Draft:
        data = self._data(outcome)
        reason = "" if isinstance(outcome, Ok) else self._text(outcome.reason)
        if data is None:
            reason = f"{reason} (the answer is too long to be kept)".strip()
        body = StepOutcome(
            status=_STATUS[type(outcome)],
            changed=isinstance(outcome, Ok) and outcome.changed,
            clean=isinstance(outcome, Failed) and outcome.clean,
            unreachable=isinstance(outcome, Failed) and outcome.unreachable,
            reason=reason,
            dur_ms=took_ms,
            intent=intent,
            iteration=work.key.iteration,
        )
        blobs = [] if work.options.no_log else self._outcome_blobs(outcome, output, data or b"")
        key, cell = work.key, self._journal.state.cell(work.key)
        return self._journal.draft(body, step=key.step, target=key.target, attempt=cell.attempts, blobs=blobs)

    def _data(self, outcome: Outcome) -> bytes | None:
        """Give the answer as it is kept, masked; None where it is longer than the log takes."""
        data = self._json(outcome.data)
        return data if len(data) <= MAX_BLOB else None

    def _outcome_blobs(self, outcome: Outcome, output: Output, data: bytes) -> list[Blob]:
        blobs = [Blob("data", data, "data")] if outcome.data and data else []
        streams: dict[str, Stream] = {"stdout": output.stdout, "stderr": output.stderr}
        for name, stream in streams.items():
            if stream.size and name not in outcome.data:
                blobs.append(Blob(name, stream.text().encode(), "output"))
        return blobs

    def _doubt(self, work: Work, intent: int, reason: str) -> Draft:
        body = StepInDoubt(reason=self._text(reason), intent=intent, iteration=work.key.iteration)
        return self._journal.draft(body, step=work.key.step, target=work.key.target)

    def _text(self, text: str) -> str:
        return self._masker.mask_text(text)

    def _json(self, value: object) -> bytes:
        """Give JSON with the secrets masked in its values; in its text, a masked number would break it."""
        plain = json.loads(json.dumps(value, default=str))
        return json.dumps(mask_json(plain, self._masker), sort_keys=True).encode()


def _as_probed(lost: Unknown, found: Probed) -> Outcome:
    """Give the outcome of an action that happened and whose answer was lost."""
    if isinstance(found.outcome, Failed):
        return replace(found.outcome, reason=f"{lost.reason}; a probe found: {found.outcome.reason}")
    return found.outcome or Ok(changed=True, data=found.data)


def _told(work: Work, outcome: Outcome) -> Outcome:
    """Give what may be told of an outcome: under `no_log` nothing that the target has said."""
    if not work.options.no_log:
        return outcome
    if isinstance(outcome, Ok) or (isinstance(outcome, Failed) and outcome.unreachable):
        return replace(outcome, data={})
    status = outcome.data.get("rc")
    reason = f"exit code {status}; {NOT_TOLD}" if isinstance(status, int) else NOT_TOLD
    return replace(outcome, reason=reason, data={})


def uptime() -> float:
    """Give seconds that pass also while the machine is suspended (CLOCK_BOOTTIME, time(7))."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


_STATUS: Final[Mapping[type[Outcome], Literal["ok", "failed", "unknown"]]] = {
    Ok: "ok",
    Failed: "failed",
    Unknown: "unknown",
}
