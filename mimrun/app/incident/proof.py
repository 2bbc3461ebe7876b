"""What shows that an incident is contained: a step of one of its runs that was verified after something was changed."""

from __future__ import annotations

from collections.abc import Callable

from mimrun.app.home import Home
from mimrun.connector import Effect
from mimrun.errors import InputError, LogError, RefusedError
from mimrun.incident.stage import is_contained
from mimrun.log.entry import LogEntry
from mimrun.log.kinds import IncidentStaged, Kind, ManualAttested, RunCreated, StepIntent, StepVerified

_TOLD = frozenset(
    {Kind.RUN_CREATED, Kind.STEP_INTENT, Kind.STEP_VERIFIED, Kind.MANUAL_ATTESTED, Kind.INCIDENT_STAGED}
)


class _Proofs:
    """The verified steps of an incident: which of them show that it is contained, and why the others do not."""

    def __init__(self) -> None:
        self.standing: dict[int, LogEntry] = {}
        """By entry, in the order of the log."""
        self.why_not: dict[int, str] = {}
        """By entry."""
        self._changed: set[str] = set()
        self._undoing: dict[str, str] = {}
        self._contained = False

    def take(self, entry: LogEntry) -> None:
        """Take note of what is recorded next."""
        match entry.body:
            case StepIntent(effect=effect) if effect is not Effect.READ:
                self._changed.add(entry.run)
            case ManualAttested():
                self._changed.add(entry.run)
            case RunCreated(undo_of=undone) if undone:
                self._undoing[entry.run] = undone
                self._drop(lambda one: one.run == undone, f"{entry.run} took it back since")
            case IncidentStaged(stage=stage):
                if self._contained and not is_contained(stage):
                    self._drop(
                        lambda _: True, f"since then it was not contained any more (entry {entry.seq})"
                    )
                self._contained = is_contained(stage)
            case StepVerified():
                self._look(entry)
            case _:
                pass

    def _look(self, entry: LogEntry) -> None:
        key = _cell(entry)
        assert isinstance(entry.body, StepVerified)
        if not entry.body.passed:
            self._drop(lambda one: _cell(one) == key, f"it was not so any more at entry {entry.seq}")
            self.why_not[entry.seq] = "it was not what was expected of it"
        elif entry.run in self._undoing:
            self.why_not[entry.seq] = f"its run took back what {self._undoing[entry.run]} had done"
        elif entry.run not in self._changed:
            self.why_not[entry.seq] = (
                "its run had changed nothing by then, so that it is how things stood before"
            )
        else:
            self.standing[entry.seq] = entry

    def _drop(self, gone: Callable[[LogEntry], bool], why: str) -> None:
        for seq in [seq for seq, one in self.standing.items() if gone(one)]:
            del self.standing[seq]
            self.why_not[seq] = why


def _cell(entry: LogEntry) -> tuple[str, str, str, int]:
    return entry.run, entry.step, entry.target, getattr(entry.body, "iteration", 0)


def find_proof(home: Home, incident: str) -> LogEntry | None:
    """Give the last step of an incident that was verified, and is so still; None where nothing shows containment.

    A step counts once its run has changed something: what is looked at before that is how things stood, and shows
    nothing. A step whose last look failed does not count, nor does what was taken back since, nor what was seen before
    somebody said that the incident is not contained any more.
    """
    return next(reversed(_proofs(home, incident).standing.values()), None)


def why_no_proof(home: Home, incident: str) -> str:
    """Say why the step that was verified last does not show that an incident is contained; "" where none was verified."""
    why_not = _proofs(home, incident).why_not
    last = max(why_not, default=0)
    return f"entry {last}, the step that was looked at last, does not: {why_not[last]}" if last else ""


def require_proof(home: Home, incident: str, seq: int) -> LogEntry:
    """Give the step that somebody names as what shows containment; what counts is the same as for `find_proof`.

    Raises:
        InputError: there is no such entry, or it is no verified step of a run in this incident.
        RefusedError: it does not show that the incident is contained; says why.
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
    proofs = _proofs(home, incident)
    if seq not in proofs.standing:
        raise RefusedError(
            f"entry {seq}, step {entry.step} of {entry.run}, does not show that {incident} is contained:"
            f" {proofs.why_not[seq]}"
        )
    return entry


def _proofs(home: Home, incident: str) -> _Proofs:
    found = _Proofs()
    for entry in home.store.entries(inc=incident, kinds=_TOLD):
        found.take(entry)
    return found
