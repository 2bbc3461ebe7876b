"""Comparisons: what a replay came to, for a person and for a machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from pydantic import JsonValue

from mimrun.replay.difference import Difference

Verdict: TypeAlias = Literal["same", "differs", "unknown"]
"""`unknown` where the record does not have any more what would be needed to tell."""

_CODES: Final[Mapping[Verdict, int]] = {"same": 0, "differs": 1, "unknown": 5}


@dataclass(frozen=True, slots=True)
class Divergence:
    """The first place at which another course is taken.

    Arguments:
        step, name: where in the plan; "" for the run as a whole.
        target, item: the host, and the item of a loop, from 1; 0 where the step has no loop.
        seq: the entry that is on record there; 0 where none is.
        offset_ms: how long after the run was asked for.
        recorded, today: what was decided, and what is decided now, in words; "" for nothing.
        differences: what is different in a decision of the same kind.
    """

    step: str
    name: str
    target: str
    item: int
    seq: int
    offset_ms: int
    recorded: str
    today: str
    differences: tuple[Difference, ...] = ()

    def as_json(self) -> dict[str, JsonValue]:
        """The divergence for machines."""
        return {
            "step": self.step,
            "name": self.name,
            "target": self.target,
            "item": self.item,
            "seq": self.seq,
            "offset_ms": self.offset_ms,
            "recorded": self.recorded,
            "today": self.today,
            "differences": [{**one._asdict()} for one in self.differences],
        }


@dataclass(frozen=True, slots=True)
class StepChange:
    """A step that is not in a changed runbook as it was in the recorded one.

    Arguments:
        name: what it is called now, or was where it is gone.
        was, now: where it stood in the plan, and where it stands; "" for nowhere.
        what: what is different, part by part.
        before: of a step that stands elsewhere in the order, the step that it now comes before; "" where it is the last.
    """

    name: str
    was: str = ""
    now: str = ""
    what: tuple[Difference, ...] = ()
    before: str = ""

    def as_json(self) -> dict[str, JsonValue]:
        """The change for machines."""
        return {
            "name": self.name,
            "was": self.was,
            "now": self.now,
            "what": [{**one._asdict()} for one in self.what],
            "before": self.before,
        }


@dataclass(frozen=True, slots=True)
class CallNote:
    """Something that is to be known of one call of a changed runbook, or of one recorded call.

    Arguments:
        step, name, target, item, action: which call.
        why: what is to be known.
        seq: the entry of the record that it is about; 0 for none.
    """

    step: str
    name: str
    target: str
    item: int
    action: str
    why: str
    seq: int = 0

    def as_json(self) -> dict[str, JsonValue]:
        """The note for machines."""
        return {
            "step": self.step,
            "name": self.name,
            "target": self.target,
            "item": self.item,
            "action": self.action,
            "why": self.why,
            "seq": self.seq,
        }


@dataclass(frozen=True, slots=True)
class Changed:
    """What is different between the plan of a run and that of a changed runbook.

    Arguments:
        added, removed, renamed, reordered, changed: steps.
        unmatched: calls for which nothing is on record: what comes of them nobody knows.
        substituted: calls that were answered by what is on record under another name, or as people allowed.
        unused: recorded calls that the changed runbook does not make.
        assumed: what people said of something that is not quite what is asked now.
    """

    added: tuple[StepChange, ...] = ()
    removed: tuple[StepChange, ...] = ()
    renamed: tuple[StepChange, ...] = ()
    reordered: tuple[StepChange, ...] = ()
    changed: tuple[StepChange, ...] = ()
    unmatched: tuple[CallNote, ...] = ()
    substituted: tuple[CallNote, ...] = ()
    unused: tuple[CallNote, ...] = ()
    assumed: tuple[str, ...] = ()

    @property
    def is_same(self) -> bool:
        """Whether the same is done, in the same order. What is only written otherwise is no difference."""
        return not (self.added or self.removed or self.reordered or self.unmatched)

    def as_json(self) -> dict[str, JsonValue]:
        """The changes for machines."""
        return {
            **{
                word: [change.as_json() for change in getattr(self, word)]
                for word in ("added", "removed", "renamed", "reordered", "changed")
            },
            **{
                word: [note.as_json() for note in getattr(self, word)]
                for word in ("unmatched", "substituted", "unused")
            },
            "assumed": list(self.assumed),
        }


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended, or where it was left.

    Arguments:
        status: of the run; `unknown` where a replay could not tell how it goes on.
        reason: why.
        recap: how many hosts ended how, in Ansible's words.
        worked_ms: how long it was at work; waiting for people does not count.
    """

    status: str
    reason: str = ""
    recap: Mapping[str, int] = field(default_factory=dict)
    worked_ms: int = 0

    def as_json(self) -> dict[str, JsonValue]:
        """The ending for machines."""
        return {
            "status": self.status,
            "reason": self.reason,
            "recap": {**self.recap},
            "worked_ms": self.worked_ms,
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a replay came to.

    Arguments:
        run: which was replayed.
        how: over its own plan, or that of a changed runbook.
        verdict: whether it came to the same.
        divergence: the first place at which it did not; None where there is none.
        compared: so many decisions came out the same.
        sessions: so many workers were replayed.
        recorded, replayed: how the run ended, and how its replay.
        taken: what was taken from where, a line each.
        missing: what the record does not have any more, a line each.
        changes: how a changed runbook differs; None where the recorded plan was replayed.
    """

    run: str
    how: Literal["redecide", "against"]
    verdict: Verdict
    divergence: Divergence | None
    compared: int
    sessions: int
    recorded: Ending
    replayed: Ending
    taken: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    changes: Changed | None = None

    @property
    def exit_code(self) -> int:
        """0 where it is the same, 1 where it differs, 5 where the record does not have what is needed to tell."""
        return _CODES[self.verdict]

    def as_json(self) -> dict[str, JsonValue]:
        """The comparison for machines."""
        return {
            "run": self.run,
            "how": self.how,
            "verdict": self.verdict,
            "exit_code": self.exit_code,
            "divergence": self.divergence.as_json() if self.divergence else None,
            "compared": self.compared,
            "sessions": self.sessions,
            "recorded": self.recorded.as_json(),
            "replayed": self.replayed.as_json(),
            "taken": list(self.taken),
            "missing": list(self.missing),
            "changes": self.changes.as_json() if self.changes is not None else None,
        }
