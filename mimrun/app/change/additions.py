"""What is written to the change record of a run, from the run's own entries: pure, and bounded."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from mimrun.change_system import Addition, AdditionKind
from mimrun.connector import Effect
from mimrun.log.entry import LogEntry
from mimrun.log.kinds import (
    ChangeLinked,
    GateClosed,
    GateDecided,
    GateOpened,
    Kind,
    RunEnded,
    StepInDoubt,
    StepIntent,
    StepOutcome,
)
from mimrun.log.moment import write_moment

MOST_NOTES: Final = 50
"""Work notes on one record; the log has all of it."""

TELLING: Final = frozenset(
    {
        Kind.CHANGE_LINKED,
        Kind.GATE_DECIDED,
        Kind.GATE_OPENED,
        Kind.GATE_CLOSED,
        Kind.STEP_INTENT,
        Kind.STEP_OUTCOME,
        Kind.STEP_IN_DOUBT,
        Kind.RUN_ENDED,
    }
)
"""The kinds of entries that something may be written about."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What additions are made for.

    Arguments:
        name: of the record, with its system.
        linked: the entry that linked the run to it.
        began: that work began is written already, and `notes` work notes are.
        title: of the run.
        url: of the run's page, or "".
        wanted: the kinds of additions that the system is to have.
    """

    run: str
    incident: str
    name: str
    linked: int
    began: bool
    notes: int
    title: str
    url: str
    wanted: Collection[AdditionKind]


def additions(entries: Iterable[LogEntry], scene: Scene) -> Iterator[tuple[LogEntry, Addition]]:
    """Give what is to be written about entries, in their order, each with the entry that it is about.

    Arguments:
        entries: of the run, those that nothing was written about yet.
    """
    began, notes = scene.began, scene.notes
    for entry in entries:
        for addition in _of(entry, scene, began=began):
            if addition.what not in scene.wanted:
                continue
            if addition.what == "note":
                notes += 1
                if notes > MOST_NOTES:
                    continue
                if notes == MOST_NOTES:
                    addition = _last(addition)  # noqa: PLW2901 - it stands in its place
            began = began or addition.what == "started"
            yield entry, addition


def _of(entry: LogEntry, scene: Scene, *, began: bool) -> Iterator[Addition]:
    match entry.body:
        case ChangeLinked() if entry.seq == scene.linked:
            text = f"{scene.run} of {scene.incident} is done under this change: {scene.title}"
            yield _addition(entry, scene, "link", text)
        case GateDecided() as body:
            reason = f": {body.reason}" if body.reason else ""
            text = f"gate {entry.step}: {entry.actor.id} {body.decision} as {body.role}{reason}"
            yield _addition(entry, scene, "note", text)
        case GateOpened() as body:
            yield _addition(entry, scene, "note", f"gate {entry.step} is open, by {_words(body.by)}")
        case GateClosed() as body:
            yield _addition(entry, scene, "note", f"gate {entry.step} is closed: {body.detail}")
        case StepIntent() as body if not began and body.effect is not Effect.READ and not body.check_mode:
            yield _addition(entry, scene, "started", f"{scene.run}: work began with step {entry.step}")
        case StepOutcome() as body if body.status == "failed":
            on = f" on {entry.target}" if entry.target else ""
            yield _addition(entry, scene, "note", f"step {entry.step}{on} failed: {body.reason}")
        case StepInDoubt() as body:
            on = f" on {entry.target}" if entry.target else ""
            yield _addition(entry, scene, "note", f"step {entry.step}{on} is in doubt: {body.reason}")
        case RunEnded() as body:
            yield from _end(entry, body, scene, began=began)
        case _:
            return


def _end(entry: LogEntry, body: RunEnded, scene: Scene, *, began: bool) -> Iterator[Addition]:
    if began:
        yield _addition(entry, scene, "ended", f"{scene.run}: work ended")
    counts = ", ".join(f"{count} {name}" for name, count in body.recap.model_dump().items() if count)
    why = f": {body.reason}" if body.reason else ""
    evidence = f"evidence: entries of {scene.run} in the log {entry.log} up to {entry.seq}"
    text = f"{scene.run} {body.status}{why}; {counts or 'nothing was done'}; {evidence}"
    good = body.status == "succeeded"
    yield _addition(entry, scene, "result", text, successful=good)
    if began:
        yield _addition(entry, scene, "close", text, successful=good)


def _addition(
    entry: LogEntry, scene: Scene, what: AdditionKind, text: str, *, successful: bool = True
) -> Addition:
    return Addition(
        what=what,
        key=f"{scene.run} seq={entry.seq} {what}",
        text=f"{text} ({write_moment(entry.ts)[:19]}Z)",
        url=scene.url if what in ("link", "result", "close") else "",
        at=entry.ts if what in ("started", "ended") else None,
        successful=successful,
    )


def _last(addition: Addition) -> Addition:
    return Addition(
        what="note", key=addition.key, text=f"{addition.text}; more is in mimrun's log, and not written here"
    )


def _words(by: str) -> str:
    return by.replace("_", " ")
