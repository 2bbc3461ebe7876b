"""Weighing a trial: where a changed plan leaves the course of the record, and what is different in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from mimrun.log import kinds
from mimrun.log.entry import LogEntry
from mimrun.replay.against import Tried, begun
from mimrun.replay.board import Board, Change, Changes, board_of, iteration_of, step_of
from mimrun.replay.comparison import Changed, Comparison, Divergence, Ending, Verdict
from mimrun.replay.decision import decision_of
from mimrun.replay.play import ENDS
from mimrun.replay.steps import Step, added, changed, removed, renamed, reordered, without_batch
from mimrun.replay.verdict import ending_of
from mimrun.run.record.fold import apply
from mimrun.run.record.state import RunState
from mimrun.run.record.transitions import TERMINAL

_UNDER_WAY = frozenset({"waiting", "running", "in_doubt"})
_GONE = "nothing: the step is not there any more"
_NEW = "nothing: there was no such step"
_UNDONE = "nothing: it is not done there any more"
_HERE = "do it as this step"


def weigh(run: str, entries: Sequence[LogEntry], tried: Tried, *, taken: Iterable[str]) -> Comparison:
    """Say what trying a changed plan came to.

    Arguments:
        entries: the recorded run's, in order.
        tried: what came of it.
        taken: what was taken from where, a line each.
    """
    own = [entry for entry in entries if entry.run == run]
    then = final_board(own)
    _end_with_the_record(then[1], tried)
    changes = _changes(tried)
    course = _Course(own, then, tried, frozenset(one.now for one in changes.reordered))
    divergence = course.first()
    recorded, replayed = ending_of(course.ended), _ending(tried)
    verdict: Verdict = "same" if divergence is None and changes.is_same else "differs"
    if tried.erased and not (tried.unmatched or changes.added or changes.removed or changes.reordered):
        verdict = "unknown"
    return Comparison(
        run=run,
        how="against",
        verdict=verdict,
        divergence=divergence,
        compared=course.alike,
        sessions=tried.sessions,
        recorded=recorded,
        replayed=replayed,
        taken=tuple(taken),
        missing=tuple(f"step {note.step} on {note.target}: {note.why}" for note in tried.erased),
        changes=changes,
    )


def _end_with_the_record(recorded: RunState, tried: Tried) -> None:
    """Let the trial of a run that was not over end where its record ends: nobody has asked any further by then."""
    if recorded.status in TERMINAL:
        return
    known = [note for note in tried.unmatched if tried.pairs.was(note.step) is not None]
    beyond = [note for note in known if not note.seq or note.why == ENDS]
    if beyond and len(beyond) == len(tried.unmatched):
        tried.unmatched, tried.ends_with_record = [], True
        tried.stuck = "the record ends here"


def _changes(tried: Tried) -> Changed:
    pairs = tried.pairs
    return Changed(
        added=tuple(added(pairs)),
        removed=tuple(removed(pairs)),
        renamed=tuple(renamed(pairs)),
        reordered=tuple(reordered(pairs)),
        changed=(*tried.whole, *changed(pairs)),
        unmatched=tuple(tried.unmatched),
        substituted=tuple(tried.substituted),
        unused=tuple(tried.unused),
        assumed=tuple(tried.assumed),
    )


def _ending(tried: Tried) -> Ending:
    """Give how the replay ended, or why it could not go on."""
    ending = ending_of(tried.state)
    if not tried.stuck:
        return ending
    status = "unknown" if tried.unmatched or tried.erased or tried.ends_with_record else ending.status
    return Ending(status, tried.stuck, ending.recap, ending.worked_ms)


@dataclass(frozen=True, slots=True)
class _Place:
    """A place in the record: what was begun there, and where that stands among all that was."""

    entry: LogEntry
    number: int


class _Course:
    """The course that a changed plan takes, held against that of the record.

    Arguments:
        recorded: the entries of the run.
        then: its board in the end, and where it stood.
        tried: what came of trying.
        moved: the places of the steps that stand elsewhere in the order.
    """

    def __init__(
        self,
        recorded: Sequence[LogEntry],
        then: tuple[Board, RunState],
        tried: Tried,
        moved: frozenset[str],
    ) -> None:
        self._tried, self._moved = tried, moved
        self._recorded = {entry.seq: entry for entry in recorded}
        self._first: datetime = recorded[0].ts
        self._began: dict[str, _Place] = {}
        for number, entry in enumerate(begun(recorded)):
            self._began.setdefault(without_batch(entry.step), _Place(entry, number))
        kept = {step.place for step in tried.pairs.of.values()}
        self._gone = {place: began for place, began in self._began.items() if place not in kept}
        self._now = {step.place: step for step in tried.pairs.now}
        self._names = {node.path: node.name for step in tried.pairs.now for node in step.nodes}
        self._names_then = {node.path: node.name for step in tried.pairs.then for node in step.nodes}
        self._then, self.ended = then
        self.alike = 0
        """So many times a step came to the same on a target."""

    def first(self) -> Divergence | None:
        """Give the first place at which the course is another one; None where there is none."""
        return next(self._all(), None)

    def _all(self) -> Iterator[Divergence]:
        state, changes = RunState(), Changes()
        board: Board = {}
        begins = {entry.seq for entry in begun(self._tried.entries)}
        passed: set[str] = set()
        for entry in self._tried.entries:
            apply(state, entry)
            for change in changes.take(entry, state):
                board.setdefault(change.step, {})[change.target] = change.word
            if entry.seq in begins:
                yield from self._at_begin(entry, passed)
            if isinstance(entry.body, kinds.StepFinished):
                yield from self._at_end(entry, board)
        yield from self._where_nobody_knows()
        yield from self._at_the_end(state, passed)

    def _at_begin(self, entry: LogEntry, passed: set[str]) -> Iterator[Divergence]:
        """Hold the beginning of a step against the record."""
        place = without_batch(entry.step)
        was = self._tried.pairs.was(entry.step)
        if was is None:
            yield self._divergence(entry.step, "", None, _NEW, decision_of(entry))
            return
        began = self._began.get(was.place)
        passed.add(was.place)
        if began is None and self.ended.status not in TERMINAL:
            return  # the record ends before it
        if began is None:
            yield self._divergence(entry.step, "", None, "nothing: it was not begun then", decision_of(entry))
            return
        yield from self._left_out(began.number, passed)
        if entry.step in self._moved or place in self._moved:
            said = f"{decision_of(began.entry)}, as number {began.number + 1} of all steps"
            yield self._divergence(entry.step, "", began.entry, said, decision_of(entry))
        elif _is_batched_otherwise(was, self._now[place]):
            yield self._divergence(entry.step, "", began.entry, decision_of(began.entry), decision_of(entry))

    def _left_out(self, before: int, passed: set[str]) -> Iterator[Divergence]:
        """Give the steps that were begun before a place in the record, and are gone."""
        for place, began in self._gone.items():
            if began.number < before and place not in passed:
                passed.add(place)
                yield self._divergence(began.entry.step, "", began.entry, decision_of(began.entry), _GONE)

    def _at_end(self, entry: LogEntry, board: Board) -> Iterator[Divergence]:
        """Hold what came of a step on each target against the record."""
        was = self._tried.pairs.was(entry.step)
        if was is None:
            return
        paths = _paths_then(self._now.get(without_batch(entry.step)), was, entry.step)
        for target, word in sorted(board.get(entry.step, {}).items()):
            then = _then(self._then, paths if not target else [node.path for node in was.nodes], target)
            if then in _UNDER_WAY and self.ended.status not in TERMINAL:
                continue  # the record ends before it was over
            if then == word:
                self.alike += bool(target)
            elif target or (then and paths):
                where = self._entry_of(was, target)
                yield self._divergence(entry.step, target, where, then or "nothing", word)
        yield from self._left_undone(entry.step, was)
        yield from self._answered_otherwise(entry.step, was)

    def _left_undone(self, step: str, was: Step) -> Iterator[Divergence]:
        """Give what a step did then and does not any more: on a host, or for an item, that is left out now."""
        now = self._now[without_batch(step)]
        here = dict(zip((node.path for node in now.nodes), now.batches, strict=True)).get(step, ())
        paths = {node.path for node in was.nodes}
        for note in self._tried.unused:
            entry = self._recorded[note.seq]
            # A look that is not made any more changes nothing by itself; what it would have shown is asked elsewhere.
            if note.step not in paths or step_of(entry.step) != entry.step:
                continue
            if note.target in here or note.target not in now.targets:
                yield self._divergence(step, note.target, entry, decision_of(entry), _UNDONE, item=note.item)

    def _answered_otherwise(self, step: str, was: Step) -> Iterator[Divergence]:
        """Give what a step does in another order of items, or in the place of another step."""
        paths, last = {node.path for node in was.nodes}, dict[str, int]()
        for note in self._tried.substituted:
            entry = self._recorded.get(note.seq)
            if note.step != step or entry is None:
                continue
            if step_of(entry.step) not in paths:
                said = f"{decision_of(entry)}, as step {step_of(entry.step)}"
                yield self._divergence(step, note.target, entry, said, _HERE, item=note.item)
            elif entry.seq < last.get(note.target, 0):
                said = f"{decision_of(entry)}, as item {iteration_of(entry) + 1}"
                yield self._divergence(
                    step, note.target, entry, said, f"do it as item {note.item}", item=note.item
                )
            last[note.target] = max(entry.seq, last.get(note.target, 0))

    def _entry_of(self, was: Step, target: str) -> LogEntry | None:
        """Give the last entry of the record about a step on a target."""
        paths = {node.path for node in was.nodes}
        about = (
            entry
            for entry in self._recorded.values()
            if step_of(entry.step) in paths and entry.target == target
        )
        return max(about, key=lambda entry: entry.seq, default=None)

    def _where_nobody_knows(self) -> Iterator[Divergence]:
        for note in (*self._tried.unmatched, *self._tried.erased):
            entry = self._recorded.get(note.seq)
            said = decision_of(entry) if entry is not None else self._told_then(note.step, note.target)
            today = f"do {note.action}, and {note.why}" if note.action else note.why
            yield self._divergence(note.step, note.target, entry, said, today, item=note.item)

    def _told_then(self, step: str, target: str) -> str:
        """Say what the record has in the place of a call that nothing is on record of."""
        was = self._tried.pairs.was(step)
        if was is None:
            return _NEW
        word = _then(self._then, [node.path for node in was.nodes], target)
        return "leave it out" if word == "skipped" else "nothing of the kind"

    def _at_the_end(self, state: RunState, passed: set[str]) -> Iterator[Divergence]:
        if not self._tried.stuck:
            yield from self._left_out(len(self._began) + 1, passed)
        over = {state.status, self.ended.status} & TERMINAL
        if over and state.status != self.ended.status and not self._tried.ends_with_record:
            today = self._tried.stuck or state.reason
            told = f"{state.status.value}: {today}" if today else state.status.value
            yield self._divergence("", "", None, self.ended.status.value, told)

    def _divergence(
        self, step: str, target: str, entry: LogEntry | None, recorded: str, today: str, *, item: int = 0
    ) -> Divergence:
        offset = int((entry.ts - self._first).total_seconds() * 1000) if entry is not None else 0
        return Divergence(
            step=step,
            name=self._names_then.get(step, "") if today == _GONE else self._names.get(step, ""),
            target=target,
            item=item,
            seq=entry.seq if entry is not None else 0,
            offset_ms=offset,
            recorded=recorded,
            today=today,
        )


def _is_batched_otherwise(was: Step, now: Step) -> bool:
    """Say whether the same hosts are worked on in other batches: at once, one after the other, or in another order."""
    then, today = ([frozenset(hosts) for hosts in step.batches] for step in (was, now))
    return then != today and frozenset().union(*then) == frozenset().union(*today)


def final_board(entries: Iterable[LogEntry]) -> tuple[Board, RunState]:
    """Give the board of a run as it is in the end, and where it stands then."""
    state, changes = RunState(), Changes()
    found: list[Change] = []
    for entry in entries:
        apply(state, entry)
        found += changes.take(entry, state)
    return board_of(found), state


def _then(board: Board, paths: Sequence[str], target: str) -> str:
    """Give where a step of then stood in the end, on a target or as a whole ("")."""
    words = [board[path][target] for path in paths if target in board.get(path, {})]
    return words[-1] if words else ""


def _paths_then(now: Step | None, was: Step, path: str) -> list[str]:
    """Give the paths of then of a step on the very same hosts: of those of its batches."""
    hosts = dict(zip((n.path for n in now.nodes), now.batches, strict=True)).get(path, ()) if now else ()
    return [n.path for n, batch in zip(was.nodes, was.batches, strict=True) if set(batch) == set(hosts)]
