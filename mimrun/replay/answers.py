"""Recorded answers: what a target said to an attempt, read back from what a worker made of it.

The log has what came of an attempt in the end, behind the probes and the last word of the worker of then. What the
connector had answered is read from both, so that today's code makes of it what it makes of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from mimrun.connector import Effect, Failed, Finding, Ok, Outcome, Probed, Unknown
from mimrun.log import kinds
from mimrun.log.entry import LogEntry
from mimrun.replay.board import iteration_of

_LAST_WORD: Final = re.compile(r"(?P<reason>.*) \(attempt (?P<attempt>\d+) of \d+\)", re.DOTALL)
_PROBED: Final = "; a probe "
_NOT_PERFORMED: Final = "not performed: "
_REPEATED: Final = (Effect.READ, Effect.IDEMPOTENT)
DIED: Final = Unknown("the worker ended before it recorded an outcome")


@dataclass(frozen=True, slots=True)
class Answer:
    """What is on record of one attempt.

    Arguments:
        outcome: what the connector answered.
        findings: what its probes found, in order.
        kept: the entry with what came of it; None where the worker died before.
        held_back: something stood against the act at the last moment, and it was not performed.
        abandoned_after: so many probes were made when an abort ended them; None where none did.
    """

    outcome: Outcome
    findings: tuple[Probed, ...] = ()
    kept: LogEntry | None = None
    held_back: bool = False
    abandoned_after: int | None = None


def answer_of_attempt(intent: LogEntry, behind: Iterable[LogEntry], *, retries: int) -> Answer:
    """Read what a target said to an attempt.

    Arguments:
        intent: with which it began.
        behind: what was recorded of the same step and target after that, in order.
        retries: how many more attempts the author allows after the first.
    """
    said = list(_until_next(intent, behind))
    found = [entry for entry in said if isinstance(entry.body, kinds.StepProbed)]
    kept = next((entry for entry in said if isinstance(entry.body, kinds.StepOutcome)), None)
    if kept is None:
        return Answer(DIED, tuple(finding_of(entry) for entry in found))
    assert isinstance(kept.body, kinds.StepOutcome)
    assert isinstance(intent.body, kinds.StepIntent)
    body, effect = kept.body, intent.body.effect
    if not body.performed:
        reason = body.reason.removeprefix(_NOT_PERFORMED)
        return Answer(Failed(reason, clean=True), kept=kept, held_back=True)
    doubted = any(isinstance(entry.body, kinds.StepInDoubt) for entry in said)
    left = _abandoned(body, effect, len(found), doubted=doubted)
    findings = tuple(finding_of(entry, kept if entry is found[-1] else None) for entry in found)
    lost = bool(found) or _was_lost(body, effect, intent.attempt, retries)
    outcome = Unknown(_lost_reason(body.reason)) if lost else outcome_of(body)
    return Answer(outcome, findings, kept, abandoned_after=left)


def outcome_of(body: kinds.StepOutcome) -> Outcome:
    """Give what an entry says as a connector says it. The data stays where it is: whoever needs it reads it there."""
    if body.status == "ok":
        return Ok(changed=body.changed)
    if body.status == "failed":
        return Failed(body.reason, clean=body.clean, unreachable=body.unreachable)
    return Unknown(body.reason)


def _until_next(intent: LogEntry, behind: Iterable[LogEntry]) -> Iterable[LogEntry]:
    """Give what was recorded of an attempt before the next one of the same cell, or of a look beside it."""
    for entry in behind:
        if isinstance(entry.body, kinds.StepIntent):
            return
        if entry.step == intent.step and iteration_of(entry) == iteration_of(intent):
            yield entry


def finding_of(entry: LogEntry, behind: LogEntry | None = None) -> Probed:
    """Give what a probe said.

    Arguments:
        entry: what was recorded of it.
        behind: what was recorded next; where that is the outcome, the worker has made it of this answer.
    """
    body = entry.body
    assert isinstance(body, kinds.StepProbed)
    made = behind.body if behind is not None else None
    if body.finding is Finding.APPLIED and isinstance(made, kinds.StepOutcome) and not made.changed:
        return Probed(body.finding, body.reason, outcome=outcome_of(made))
    return Probed(body.finding, body.reason)


def _abandoned(body: kinds.StepOutcome, effect: Effect, probes: int, *, doubted: bool) -> int | None:
    """Say after how many probes an abort ended the attempt; None where it did not."""
    if body.status != "unknown":
        return None
    if effect is Effect.IDEMPOTENT and doubted:
        return 0
    if effect is Effect.PROBE and (not probes or "; aborted before a probe could tell" in body.reason):
        return probes
    return None


def _was_lost(body: kinds.StepOutcome, effect: Effect, attempt: int, retries: int) -> bool:
    """Say whether a failure was an answer that got lost, of which the worker of then said the last word.

    Where the author allows another attempt, it was not the number of attempts that made it the last.
    """
    if body.status != "failed" or effect not in _REPEATED or attempt <= retries:
        return False
    found = _LAST_WORD.fullmatch(body.reason)
    return found is not None and int(found["attempt"]) == attempt


def _lost_reason(reason: str) -> str:
    told = reason.partition(_PROBED)[0].partition("; aborted before ")[0]
    found = _LAST_WORD.fullmatch(told)
    return (found["reason"] if found else told) or "the answer was lost"
