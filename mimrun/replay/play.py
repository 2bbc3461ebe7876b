"""Playing: a worker of today executes a changed plan in a log of its own, and the cassette answers for the targets.

Here nothing says in which order threads write. They take turns, so that the same plan over the same cassette takes the
same course each time; and time passes as long as each answer took then.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NoReturn

import orjson

from mimrun.connector import Call, Failed, Finding, Ok, Outcome, Probed
from mimrun.errors import ErasedError, InputError, SettingsError
from mimrun.log import kinds
from mimrun.log.entry import Draft, LogEntry
from mimrun.log.store import Guard, RunStore
from mimrun.replay.answers import Answer
from mimrun.replay.board import iteration_of, step_of
from mimrun.replay.cassette import Asked, Cassette, Match, RecordedCall, call_of
from mimrun.replay.comparison import CallNote
from mimrun.replay.scratch import Scratch, entry_of
from mimrun.replay.standin import stand_in, why_unread
from mimrun.replay.steps import Pairs
from mimrun.replay.turns import Turns
from mimrun.run.record.key import idempotency_key
from mimrun.run.record.state import CellKey
from mimrun.run.walk.roster import Roster
from mimrun.run.walk.way import LeftOff
from mimrun.runbook.node import Node, PlannedAction, PlannedNode, TargetCalls
from mimrun.secret import Secret

ENDS: Final = "the record ends before it was answered"


class Unanswered(LeftOff):
    """Nobody knows what comes of a call: a branch goes no further here, and so does the run.

    Arguments:
        note: which call, and why.
        erased: what was said is not on record any more.
    """

    def __init__(self, note: CallNote, *, erased: bool = False) -> None:
        super().__init__(Roster(), begun=True)
        self.note, self.erased = note, erased


@dataclass(slots=True, eq=False)
class _Open:
    """An attempt that is under way."""

    call: RecordedCall
    intent: LogEntry
    answer: Answer
    probes: int = 0


class PlayedLog(Scratch):
    """The log of a worker that executes a changed plan.

    Arguments:
        run: its name: that of the recorded run, so that templates see the same.
        cassette: what targets said.
        pairs: which step is which.
        source: the log of the recorded run, for content.
        begins: the moment at which it begins.
        any_arguments: a call with other arguments than then is answered all the same.
    """

    def __init__(
        self,
        run: str,
        cassette: Cassette,
        pairs: Pairs,
        source: RunStore,
        *,
        begins: datetime,
        any_arguments: bool = False,
    ) -> None:
        super().__init__(run)
        self._cassette, self._pairs, self._source = cassette, pairs, source
        self._begins, self._any = begins, any_arguments
        self.turns = Turns(self._unstick, late=self._is_late)
        self.nodes: Mapping[str, Node] = {}
        self._blobs: dict[tuple[int, str], bytes | LogEntry] = {}
        self._matched: dict[CellKey, RecordedCall] = {}
        self._said: list[LogEntry] = []
        """What on the record the last append stands for: intents and answers."""
        self._open: dict[str, _Open] = {}
        self._ended: dict[str, tuple[LogEntry, float]] = {}
        """By the key of a cell, the recorded end of its last attempt, and when that was here."""
        self._cells: dict[str, CellKey] = {}
        self._working: dict[int, str] = {}
        """By thread, the key of the cell that it is at."""
        self.unmatched: list[CallNote] = []
        self.substituted: list[CallNote] = []
        self.erased: list[CallNote] = []
        self.behind: Callable[[LogEntry], object] = lambda _: None
        """Called behind each intent and each answer, with its entry on record: people may say something then."""

    def clock(self) -> datetime:
        """The moment, by the time that answers and people took then."""
        return self._begins + timedelta(seconds=self.turns.seconds)

    def pass_time(self, seconds: float) -> None:
        """Let time pass while nobody is at work."""
        self.turns.advance(self.turns.seconds + max(seconds, 0.0))

    # What the worker asks of its log.

    def append(self, drafts: Sequence[Draft], *, guard: Guard | None = None) -> tuple[LogEntry, ...]:
        """Write.

        Raises:
            Unanswered: nobody knows what would come of an intent.
            Halt: somebody asked to stop.
        """
        for draft in drafts:
            if isinstance(draft.body, kinds.StepOutcome):
                self._let_time_pass(draft)
        if guard is not None:
            guard(self)
        for draft in drafts:
            if isinstance(draft.body, kinds.StepIntent):
                self._ask(draft, draft.body)
        made = tuple([self.write(draft) for draft in drafts])
        said, self._said = self._said, []
        for entry in said:
            self.behind(entry)
        return made

    def write(self, draft: Draft, content: LogEntry | None = None) -> LogEntry:
        """Record a draft.

        Arguments:
            content: an entry of the recorded run whose content is that of this one.
        """
        entry = entry_of(draft, len(self.known) + 1, self.clock())
        for blob in draft.blobs:
            self._blobs[entry.seq, blob.n] = blob.data
        if isinstance(draft.body, kinds.StepOutcome):
            content = self._close(draft)
        for ref in content.blobs if content is not None else ():
            assert content is not None
            self._blobs[entry.seq, ref.n] = content
        self.take(entry)
        return entry

    def blob(self, entry: LogEntry, name: str) -> bytes | None:
        """The content of one of an entry's blobs.

        Raises:
            Unanswered: it is what a target said then, and was erased.
        """
        kept = self._blobs.get((entry.seq, name))
        if kept is None or isinstance(kept, bytes):
            return kept
        try:
            return self._source.blob(kept, name)
        except ErasedError as exc:
            key = CellKey(entry.step, entry.target, iteration_of(entry))
            note = self._note(key, "", f"what was said then is needed here, and was erased: {exc}", kept.seq)
            self.erased.append(note)
            raise Unanswered(note, erased=True) from exc

    def secret(self, reference: str) -> Secret:
        """Give what stands for a secret.

        Raises:
            SettingsError: it could not be fetched then.
        """
        for entry in self._cassette.untold:
            if why := why_unread(entry, reference):
                raise SettingsError(why)
        return stand_in(reference)

    # What targets said.

    def _ask(self, draft: Draft, body: kinds.StepIntent) -> None:
        """Find the answer to an intent, before it is recorded."""
        key = CellKey(draft.step, draft.target, body.iteration)
        call = self._matched.get(key)
        if call is None:
            call = self._matched[key] = self._find(draft, body, key)
        if call.given >= len(call.attempts):
            times = len(call.attempts)
            why = f"it was tried {times} {'time' if times == 1 else 'times'} then, and is tried once more now"
            self._give_up(key, body.action, why)
        intent, answer = call.attempts[call.given]
        call.given += 1
        self._wait_as_then(body.key, intent)
        self._open[body.key] = _Open(call, intent, answer)
        self._said.append(intent)
        self._cells[body.key] = key
        self._working[threading.get_ident()] = body.key
        if answer.kept is None:
            self._give_up(key, body.action, ENDS, intent.seq)

    def _find(self, draft: Draft, body: kinds.StepIntent, key: CellKey) -> RecordedCall:
        asked = self._asked(draft, body, key)
        match = self._cassette.find(asked, any_arguments=self._any)
        if match is None and (entry := self._cassette.failed_before(asked)) is not None:
            raise InputError(getattr(entry.body, "reason", ""))
        if match is None:
            near = self._cassette.nearest(asked)
            self._give_up(
                key, body.action, self._why_none(asked, near), near.attempts[0][0].seq if near else 0
            )
        if match.how != "same":
            self.substituted.append(self._substitute(key, match))
        return match.call

    def _asked(self, draft: Draft, body: kinds.StepIntent, key: CellKey) -> Asked:
        was = self._pairs.was(step_of(key.step))
        data = next((blob.data for blob in draft.blobs if blob.n == "args"), None)
        return Asked(
            key=key,
            was=_place_then(was.nodes if was else (), key.target),
            action=body.action,
            args=orjson.loads(data) if data else None,
            digest=body.args_digest,
            call=call_of(self.nodes.get(step_of(key.step)), key),
            node=self.nodes.get(step_of(key.step)),
        )

    def _why_none(self, asked: Asked, near: RecordedCall | None) -> str:
        if near is None or not near.attempts:
            return "nothing of the kind was asked of this target then"
        if near.given:
            return "what was said to it then was given to another call"
        found = self._cassette.differences(asked, near)
        told = "; ".join(
            f"{one.what}: {one.recorded or 'nothing'} → {one.today or 'nothing'}" for one in found
        )
        return f"it was asked otherwise then: {told}"

    def _give_up(self, key: CellKey, action: str, why: str, seq: int = 0) -> NoReturn:
        note = self._note(key, action, why, seq)
        self.unmatched.append(note)
        raise Unanswered(note)

    def _substitute(self, key: CellKey, match: Match) -> CallNote:
        call = match.call
        if match.how == "elsewhere":
            why = f"answered by what was said to step {call.step} then"
        elif match.how == "item":
            why = f"answered by what was said to item {call.key.iteration + 1} then"
        else:
            told = "; ".join(f"{one.what}: {one.recorded} → {one.today}" for one in match.differences)
            why = f"answered as it was then, although it is asked otherwise: {told}"
        return self._note(key, call.action, why, call.attempts[0][0].seq)

    def _note(self, key: CellKey, action: str, why: str, seq: int) -> CallNote:
        step = step_of(key.step)
        node = self.nodes.get(step)
        looped = isinstance(node, PlannedAction) and node.loop is not None
        name = node.name if node is not None else ""
        return CallNote(step, name, key.target, key.iteration + 1 if looped else 0, action, why, seq)

    def _let_time_pass(self, draft: Draft) -> None:
        """Let an attempt take as long as it took then, with the time that it took to record it."""
        opened = self._open_at(draft)
        kept = opened.answer.kept if opened is not None else None
        if opened is None or kept is None:
            return
        whole = (kept.ts - opened.intent.ts).total_seconds()
        alive = kept.epoch == opened.intent.epoch
        self.turns.sleep(whole if alive else getattr(kept.body, "dur_ms", 0) / 1000)

    def _wait_as_then(self, key: str, intent: LogEntry) -> None:
        """Let as much time pass in front of another attempt as then, so that deadlines come when they came."""
        before = self._ended.get(key)
        if before is not None and before[0].epoch == intent.epoch:
            kept, at = before
            gap = (intent.ts - kept.ts).total_seconds()
            self.turns.sleep(max(0.0, at + gap - self.turns.seconds))

    def _open_at(self, draft: Draft) -> _Open | None:
        key = CellKey(draft.step, draft.target, iteration_of(draft))
        return self._open.get(idempotency_key(self.run, key))

    def _close(self, draft: Draft) -> LogEntry | None:
        """Give the recorded entry whose content is that of an outcome."""
        key = CellKey(draft.step, draft.target, iteration_of(draft))
        opened = self._open.pop(idempotency_key(self.run, key), None)
        if opened is None or opened.answer.kept is None:
            return None
        self._ended[idempotency_key(self.run, key)] = (opened.answer.kept, self.turns.seconds)
        self._said.append(opened.answer.kept)
        return opened.answer.kept

    def perform(self, call: Call) -> Outcome:
        """Give the answer to the attempt that is open, or to the look behind one."""
        opened = self._open.get(call.key)
        if opened is not None:
            return opened.answer.outcome
        left = self._left(call.key)
        if left is None:
            return Failed("nothing is on record of this look", clean=True)
        data = self._content(left, "data")
        reason = getattr(left.body, "reason", "")
        if data is None:
            return Failed(reason or "what it found was erased", clean=True)
        return Ok(changed=False, data=orjson.loads(data))

    def _left(self, key: str) -> LogEntry | None:
        cell = self._cells.get(key)
        call = self._matched.get(cell) if cell is not None else None
        return call.left if call is not None else None

    def _content(self, entry: LogEntry, name: str) -> bytes | None:
        try:
            return self._source.blob(entry, name)
        except ErasedError:
            return None

    def refused(self, action: str) -> str:
        """What a connector refused then is found by its step."""
        return ""

    def probe(self, call: Call) -> Probed:
        """Give what a probe found; the last one that was made then is the last one now."""
        opened = self._open.get(call.key)
        if opened is None or opened.probes >= len(opened.answer.findings):
            call.stop.set()
            return Probed(Finding.UNKNOWN, "nothing is on record of this probe")
        opened.probes += 1
        if opened.probes == len(opened.answer.findings):
            call.stop.set()
        return opened.answer.findings[opened.probes - 1]

    def said(self) -> frozenset[int]:
        """Give the entries of the record that a call can stand for: its intents, and what was answered."""
        attempts = [attempt for call in self._cassette.calls.values() for attempt in call.attempts]
        answers = (answer.kept.seq for _, answer in attempts if answer.kept is not None)
        return frozenset([*(intent.seq for intent, _ in attempts), *answers])

    def recorded_call(self, key: CellKey) -> RecordedCall | None:
        """Give the recorded call that answers for a cell."""
        return self._matched.get(key)

    # What the record tells of moments.

    def _unstick(self, sleeps: bool) -> bool:  # noqa: FBT001 - `Turns` calls it
        """Begin what was begun late then, when there is nothing else to do but to let time pass."""
        return not sleeps and self.turns.begin_late(lambda _: 0)

    def _is_late(self, arguments: tuple[object, ...]) -> bool:
        """Say whether a host, or a branch, was left alone then since others had failed before its turn came."""
        node = next((one for one in arguments if isinstance(one, PlannedNode)), None)
        target = next((one.target for one in arguments if isinstance(one, TargetCalls)), None)
        if node is None:
            return False
        if target is not None:
            was = self._pairs.was(node.path)
            return was is not None and (_place_then(was.nodes, target), target) in self._cassette.left_alone
        inside = [step for step in self._pairs.now if f"{step.path}.".startswith(f"{node.path}.")]
        then = [was for step in inside if (was := self._pairs.was(step.path)) is not None]
        return bool(then) and not any(one.path in self._cassette.begun for was in then for one in was.nodes)

    def is_abandoned(self) -> bool:
        """Say whether an abort ended the attempt that this thread is at."""
        opened = self._open.get(self._working.get(threading.get_ident(), ""))
        after = opened.answer.abandoned_after if opened is not None else None
        return opened is not None and after is not None and opened.probes >= after

    def ended(self) -> bool:
        """Say whether it was noticed that the run is to end: that is at once here."""
        return True


def _place_then(nodes: Sequence[Node], target: str) -> str:
    """Give the path of a step of then for a host; in batches it has one for each."""
    for node in nodes:
        if isinstance(node, PlannedAction) and any(one.target == target for one in node.targets):
            return node.path
    return nodes[0].path if nodes else ""
