"""What shows that an incident is contained: a step of one of its runs that was verified after something was changed."""

from __future__ import annotations

from mimrun.app.home import Home
from mimrun.connector import Effect
from mimrun.errors import InputError, LogError, RefusedError
from mimrun.log.entry import LogEntry
from mimrun.log.kinds import Kind, ManualAttested, RunCreated, StepIntent, StepVerified

_TOLD = frozenset({Kind.RUN_CREATED, Kind.STEP_INTENT, Kind.STEP_VERIFIED, Kind.MANUAL_ATTESTED})


def find_proof(home: Home, incident: str) -> LogEntry | None:
    """Give the last step of an incident that was verified, and is so still; None where nothing shows containment.

    A step counts once its run has changed something: what is looked at before that is how things stood, and shows
    nothing. A step whose last look failed does not count, nor does what was taken back since.
    """
    changed: set[str] = set()
    undoing: set[str] = set()
    passed: dict[tuple[str, str, str, int], LogEntry] = {}
    for entry in home.store.entries(inc=incident, kinds=_TOLD):
        match entry.body:
            case StepIntent(effect=effect) if effect is not Effect.READ:
                changed.add(entry.run)
            case ManualAttested():
                changed.add(entry.run)
            case RunCreated(undo_of=undone) if undone:
                undoing.add(entry.run)
                passed = {key: one for key, one in passed.items() if one.run != undone}
            case StepVerified() as body:
                key = (entry.run, entry.step, entry.target, body.iteration)
                passed.pop(key, None)
                if body.passed and entry.run in changed - undoing:
                    passed[key] = entry
            case _:
                pass
    return max(passed.values(), key=lambda entry: entry.seq, default=None)


def require_proof(home: Home, incident: str, seq: int) -> LogEntry:
    """Give the step that somebody names as what shows containment.

    Raises:
        InputError: there is no such entry, or it is no verified step of a run in this incident.
        RefusedError: what was expected of that step was not so.
    """
    try:
        entry = home.store.entry(seq)
    except LogError as exc:
        raise InputError(str(exc)) from exc
    if not isinstance(entry.body, StepVerified) or entry.inc != incident:
        where = f" of {entry.inc}" if entry.inc and entry.inc != incident else ""
        raise InputError(
            f"entry {seq} is {entry.kind.value}{where}, and no verified step of {incident};"
            f" `mimrun incident timeline {incident}` shows its entries"
        )
    if not entry.body.passed:
        raise RefusedError(f"entry {seq}: step {entry.step} of {entry.run} was not what was expected of it")
    return entry
