"""What the demo can say at its end, worked out of the log: the order of things, and what was proven."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import JsonValue

from mimrun.app.demo.console import ConsoleDoor
from mimrun.log import kinds
from mimrun.log.entry import LogEntry
from mimrun.log.kind import Kind
from mimrun.runbook.node import PlannedAction
from mimrun.runbook.plan import Plan


@dataclass(frozen=True, slots=True)
class Moment:
    """One line of the timeline.

    Arguments:
        at: when.
        text: what happened.
        seq: the entry of the log that says so; 0 for what was seen from outside.
    """

    at: datetime
    text: str
    seq: int = 0

    def as_json(self, begin: datetime) -> dict[str, JsonValue]:
        """The line for `--json`, with its distance from the beginning."""
        return {"after_ms": after_ms(begin, self.at), "text": self.text, "seq": self.seq}


@dataclass(frozen=True, slots=True)
class FenceProof:
    """Whether the old primary was proven fenced before the promotion was begun, by the log alone.

    Arguments:
        fenced: the entry that records the fence.
        proven: the entry that records the look from outside, after which the step was passed.
        promoting: the entry that records the intent to promote.
    """

    fenced: int
    proven: int
    promoting: int

    @property
    def holds(self) -> bool:
        """Fence, proof, and only then the promotion; or no promotion at all."""
        return not self.promoting or 0 < self.fenced < self.proven < self.promoting

    def __str__(self) -> str:
        if not self.promoting:
            return "no split brain: no promotion was begun"
        return (
            f"no split brain: the old primary was fenced (entry {self.fenced}) and seen to be gone (entry"
            f" {self.proven}) before the promotion was begun (entry {self.promoting})"
        )


@dataclass(frozen=True, slots=True)
class Held:
    """One thing that must hold for the demo to have worked.

    Arguments:
        text: what was promised, as a sentence that is true or not.
        ok: whether it is.
    """

    text: str
    ok: bool


@dataclass(frozen=True, slots=True)
class Report:
    """How a demo ended.

    Arguments:
        demo: which one.
        home: where its log is.
        run, incident: the run, and the incident that it opened.
        mode: `prefect` or `direct`.
        begin: the moment that the timeline counts from.
        timeline: what happened, in order.
        held: what was promised.
        figures: numbers, for `--json`.
        next: commands to look further, with what they are for.
        console: how to get into the console, where it stays up.
    """

    demo: str
    home: str
    run: str
    incident: str
    mode: str
    begin: datetime
    timeline: Sequence[Moment]
    held: Sequence[Held]
    figures: Mapping[str, JsonValue] = field(default_factory=dict)
    next: Sequence[tuple[str, str]] = ()
    console: ConsoleDoor | None = None

    @property
    def ok(self) -> bool:
        """Whether everything that was promised holds."""
        return all(each.ok for each in self.held)

    def as_json(self) -> dict[str, JsonValue]:
        """The report for `--json`."""
        return {
            "ok": self.ok,
            "demo": self.demo,
            "home": self.home,
            "run": self.run,
            "incident": self.incident,
            "mode": self.mode,
            "timeline": [moment.as_json(self.begin) for moment in self.timeline],
            "held": [{"text": each.text, "ok": each.ok} for each in self.held],
            **self.figures,
            **({"console": self.console.as_json()} if self.console is not None else {}),
            "next": [{"command": command, "for": purpose} for command, purpose in self.next],
        }


def after_ms(begin: datetime, at: datetime) -> int:
    """Give the milliseconds from one moment to another."""
    return round((at - begin).total_seconds() * 1000)


def timeline(plan: Plan, entries: Iterable[LogEntry]) -> list[Moment]:
    """Give what a person wants to be told of a run: steps that ended, and what people said."""
    names = {node.path: node.name for node in plan.walk()}
    actions = {node.path for node in plan.walk() if isinstance(node, PlannedAction)}
    entries = (e for e in entries if e.kind != Kind.STEP_FINISHED or e.step in actions)
    told = ((entry, _told(entry, names)) for entry in entries)
    return [Moment(entry.ts, text, entry.seq) for entry, text in told if text]


def fence_proof(plan: Plan, entries: Sequence[LogEntry]) -> FenceProof:
    """Find the fence, the proof that it stands, and the beginning of the promotion in a run's log."""
    fence, promote = _fence_step(plan), _step_of(plan, "postgres.promote")
    fenced = proven = promoting = 0
    for entry in entries:
        match entry.body:
            case kinds.StepOutcome(status="ok") if entry.step == fence:
                fenced = entry.seq
            case kinds.StepVerified(passed=True) if entry.step == fence:
                proven = entry.seq
            case kinds.StepIntent() if entry.step == promote and not promoting:
                promoting = entry.seq
            case _:
                pass
    return FenceProof(fenced, proven, promoting)


def _fence_step(plan: Plan) -> str:
    """Find the step that runs the inventory's fence command."""
    for node in plan.walk():
        if isinstance(node, PlannedAction):
            for target in node.targets:
                fence = plan.vars_of(target.target).get("postgres_fence")
                if fence and any(call.args.get("argv") == fence for call in target.calls):
                    return node.path
    return ""


def _step_of(plan: Plan, action: str) -> str:
    found = (node.path for node in plan.walk() if isinstance(node, PlannedAction) and node.action == action)
    return next(found, "")


def _told(entry: LogEntry, names: Mapping[str, str]) -> str:
    name = names.get(entry.step, "")
    match entry.body:
        case kinds.RunCreated(launched_by=person):
            return f"{person} starts the runbook"
        case kinds.GateRequested():
            return f"waits for people: {name}"
        case kinds.GateDecided(decision=decision, role=role):
            return f"{decision} by {entry.actor.id} as {role}"
        case kinds.ManualRequested(role=role):
            return f"waits for {role}: {name}"
        case kinds.ManualAttested():
            return f"done, says {entry.actor.id}: {name}"
        case kinds.StepFinished(status=status):
            return "" if status == "skipped" else f"{_WORDS.get(status, status)}: {name}"
        case kinds.RunEnded(status=status):
            return f"the run has {status}"
        case _:
            return ""


_WORDS = {"ok": "done", "failed": "FAILED"}
