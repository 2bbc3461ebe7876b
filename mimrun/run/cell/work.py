"""Work: what is to be done in one cell, and how it is written down."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from pydantic import JsonValue

from mimrun import canonical
from mimrun.connector import Action, Failed, Ok, Outcome, Probed, Unknown, mask_json
from mimrun.log.entry import MAX_BLOB, Blob, Draft
from mimrun.log.kinds import StepEvidence, StepInDoubt, StepIntent, StepOutcome, StepProbed
from mimrun.output import Output, Stream
from mimrun.run.journal import Journal
from mimrun.run.record.key import idempotency_key
from mimrun.run.record.state import CellKey
from mimrun.runbook.node import PlannedCall, StepOptions
from mimrun.secret import Masker

NOT_TOLD: Final = "what was said about it is kept out of the log by no_log"


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


Until: TypeAlias = Callable[[Mapping[str, JsonValue]], bool]


@dataclass(frozen=True, slots=True)
class Told:
    """What came of one attempt.

    Arguments:
        output: what the target said meanwhile.
        took_ms: how long it took.
        performed: False where something came between the intent and the act.
        left: nobody waits for it any longer, and it may still be going on.
    """

    outcome: Outcome
    output: Output
    took_ms: int = 0
    performed: bool = True
    left: bool = False


class Recording:
    """Makes the entries about work: masked, cut to what the log takes, and silent where `no_log` says so.

    Arguments:
        journal: whose worker they are of.
        masker: takes secrets out of everything.
    """

    def __init__(self, journal: Journal, masker: Masker) -> None:
        self._journal, self._masker = journal, masker

    def intent(self, work: Work, action: Action, attempt: int) -> Draft:
        """Make the entry that an attempt begins with."""
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

    def outcome(self, work: Work, intent: int, told: Told) -> Draft:
        """Make the entry that an attempt ends with."""
        outcome, data = told.outcome, self.data(told.outcome)
        reason = "" if isinstance(outcome, Ok) else self.text(outcome.reason)
        if data is None:
            reason = f"{reason} (the answer is too long to be kept)".strip()
        body = StepOutcome(
            status=_STATUS[type(outcome)],
            changed=isinstance(outcome, Ok) and outcome.changed,
            clean=isinstance(outcome, Failed) and outcome.clean,
            unreachable=isinstance(outcome, Failed) and outcome.unreachable,
            reason=reason,
            dur_ms=told.took_ms,
            intent=intent,
            iteration=work.key.iteration,
            performed=told.performed,
        )
        return self._about(work, body, self._blobs(work, told, data or b""))

    def evidence(self, work: Work, intent: int, told: Told) -> Draft:
        """Make the entry of an answer that came when nobody waited for it any longer."""
        outcome, data = told.outcome, self.data(told.outcome)
        reason = "it came too late" if isinstance(outcome, Ok) else self.text(outcome.reason)
        body = StepEvidence(
            status=_STATUS[type(outcome)], reason=reason, intent=intent, iteration=work.key.iteration
        )
        return self._about(work, body, self._blobs(work, told, data or b""))

    def probed(self, work: Work, intent: int, found: Probed) -> Draft:
        """Make the entry of what a probe said."""
        body = StepProbed(
            finding=found.finding,
            reason=self.text(found.reason),
            intent=intent,
            iteration=work.key.iteration,
        )
        return self._journal.draft(body, step=work.key.step, target=work.key.target)

    def doubt(self, work: Work, intent: int, reason: str) -> Draft:
        """Make the entry that asks a person."""
        body = StepInDoubt(reason=self.text(reason), intent=intent, iteration=work.key.iteration)
        return self._journal.draft(body, step=work.key.step, target=work.key.target)

    def text(self, text: str) -> str:
        """Give a text with the secrets masked."""
        return self._masker.mask_text(text)

    def data(self, outcome: Outcome) -> bytes | None:
        """Give the answer as it is kept, masked; None where it is longer than the log takes."""
        data = self._json(outcome.data)
        return data if len(data) <= MAX_BLOB else None

    def _about(self, work: Work, body: StepOutcome | StepEvidence, blobs: list[Blob]) -> Draft:
        key, cell = work.key, self._journal.state.cell(work.key)
        return self._journal.draft(body, step=key.step, target=key.target, attempt=cell.attempts, blobs=blobs)

    def _blobs(self, work: Work, told: Told, data: bytes) -> list[Blob]:
        if work.options.no_log:
            return []
        blobs = [Blob("data", data, "data")] if told.outcome.data and data else []
        streams: dict[str, Stream] = {"stdout": told.output.stdout, "stderr": told.output.stderr}
        for name, stream in streams.items():
            if stream.size and name not in told.outcome.data:
                blobs.append(Blob(name, stream.text().encode(), "output"))
        return blobs

    def _json(self, value: object) -> bytes:
        """Give JSON with the secrets masked in its values; in its text, a masked number would break it."""
        plain = json.loads(json.dumps(value, default=str))
        return json.dumps(mask_json(plain, self._masker), sort_keys=True).encode()


def may_be_told(work: Work, outcome: Outcome) -> Outcome:
    """Give what may be told of an outcome: under `no_log` nothing that the target has said."""
    if not work.options.no_log:
        return outcome
    if isinstance(outcome, Ok) or (isinstance(outcome, Failed) and outcome.unreachable):
        return replace(outcome, data={})
    status = outcome.data.get("rc")
    reason = f"exit code {status}; {NOT_TOLD}" if isinstance(status, int) else NOT_TOLD
    return replace(outcome, reason=reason, data={})


_STATUS: Final[Mapping[type[Outcome], Literal["ok", "failed", "unknown"]]] = {
    Ok: "ok",
    Failed: "failed",
    Unknown: "unknown",
}
