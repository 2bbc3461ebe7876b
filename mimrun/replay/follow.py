"""Following: a worker of today writes its log, and each entry of it is held against the recorded one.

The record says in which order the threads of then have written. A thread whose entry is not due yet waits, so that
today's threads see what those of then have seen. When nobody has the entry that is due, today's code has taken another
course; the first such place is where they part.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import islice
from typing import Any, Final

from mimrun.errors import ErasedError, SettingsError
from mimrun.log import kinds
from mimrun.log.entry import Draft, LogEntry
from mimrun.log.kinds import Kind
from mimrun.log.store import Guard, RunStore
from mimrun.replay.board import step_of
from mimrun.replay.difference import differences
from mimrun.replay.parting import Parting, Wanting, ends_with_an_abort, likeness
from mimrun.replay.scratch import Scratch
from mimrun.replay.standin import RecordedLease, stand_in, why_unread
from mimrun.replay.tape import FOLLOWS, RESTS, Cursor, Lane, Session, Tape, lane_of
from mimrun.replay.turns import TapeOver, Turns
from mimrun.replay.wishes import RecordedStop
from mimrun.run.hold.stop import Halt, halt_of
from mimrun.run.record.wish import WISHES, Level, Wish, wish_after
from mimrun.run.walk.tally import NOT_BEGUN
from mimrun.runbook.node import PlannedNode, TargetCalls
from mimrun.secret import Secret

_AGREED: Final = frozenset({"segment", "plan"})
"""Content without which nobody knows what was agreed to; a worker goes no further without it."""


class FollowedLog(Scratch):
    """The log of a replayed worker: what it writes is what was written, or the replay is over.

    Arguments:
        run: its name.
        tape: the record.
        source: the log that it is read from, for content.
    """

    def __init__(self, run: str, tape: Tape, source: RunStore) -> None:
        super().__init__(run)
        self.tape, self._source = tape, source
        self.cursor = Cursor(tape, Session(0, 0, 0))
        self.turns = Turns(self._unstick, late=self._is_late)
        self.stop: RecordedStop | None = None
        self._at = self._heard = 0
        self._roused = False
        self._asked: Halt | None = None
        """What people asked for last, in this session."""
        self._wanting: list[Wanting] = []
        self._begun: set[str] = set()
        self.lease = RecordedLease(run, 0)
        self.working: dict[int, Lane] = {}
        """By thread, the lane of the intent that it wrote last."""
        self._last: dict[Lane, LogEntry] = {}
        self.open: dict[str, LogEntry] = {}
        """By the key of a cell, the intent that was written and has no outcome yet."""
        self.parting: Parting | None = None
        self.erased: dict[int, str] = {}
        """Entries of which content was asked for that was erased, and why it is not there."""
        self.compared = 0
        """Decisions that were made again, and came out the same."""

    def begin(self, session: Session) -> None:
        """Let the record stand where a worker has just taken over."""
        self._feed(session.first)
        self.cursor, self.stop = Cursor(self.tape, session), None
        self.turns = Turns(self._unstick, late=self._is_late)
        self.lease = RecordedLease(self.run, session.epoch)
        self._wanting, self.working, self.open, self._roused = [], {}, {}, False
        self._last, self._asked = {}, None
        self._move()

    def finish(self) -> None:
        """Take up what is left of the session on the tape, from whomever it is."""
        self._feed(self.cursor.session.end)

    def clock(self) -> datetime:
        """The moment, as near as the record tells it: each decision was made just before it was recorded.

        That another attempt is made was decided as soon as the one before was over.
        """
        lane = self.working.get(threading.get_ident())
        own = next(self.cursor.coming(lane), None) if lane is not None else None
        if lane is not None and own is not None and own.kind is Kind.STEP_INTENT:
            return self._last.get(lane, own).ts
        entry = own or self.cursor.next()
        return entry.ts if entry is not None else self.known[-1].ts

    def moments(self) -> tuple[datetime, datetime]:
        """Between which moments of the record it is now."""
        return self.known[-1].ts, self.clock()

    def _feed(self, place: int) -> None:
        for entry in self.tape.entries[self._at : place]:
            self.take(entry)
            self._heard += 1
            self._note_wish(entry)
        self._at = max(self._at, place)

    def _note_wish(self, entry: LogEntry) -> None:
        """Note that people asked for a stop, also where they took it back before anybody noticed."""
        if isinstance(entry.body, kinds.KillswitchPulled):
            self._asked = halt_of(Wish(Level.KILL_SWITCH, entry.body.reason))
        elif entry.kind in WISHES and (wish := wish_after(Wish(), entry)).level:
            self._asked = halt_of(wish)

    def _move(self) -> None:
        """Take up what others said before the next decision, and set the clock."""
        self._feed(self.cursor.place)
        first, entry = self.tape.entries[self.cursor.session.first - 1].ts, self.cursor.next()
        self.turns.advance(((entry or self.known[-1]).ts - first).total_seconds())

    def take(self, entry: LogEntry) -> None:
        """Let an entry be on record from now on."""
        super().take(entry)
        if entry.kind is Kind.STEP_STARTED:
            self._begun.add(entry.step)

    # What the worker asks of its log.

    def append(self, drafts: Sequence[Draft], *, guard: Guard | None = None) -> tuple[LogEntry, ...]:
        """Write, when its place on the tape has come.

        Raises:
            TapeOver: the tape ends here, or holds something else.
            Halt: somebody asked to stop.
        """
        written = tuple([self._append(draft, guard) for draft in drafts if draft.kind not in FOLLOWS])
        if any(draft.kind in (Kind.RUN_ENDED, *FOLLOWS) for draft in drafts):
            self._let_go([draft for draft in drafts if draft.kind in FOLLOWS])
        return written

    def _let_go(self, drafts: Sequence[Draft]) -> None:
        """Hold the locks that are let go of against those of the record, where today's code does so, or the run has ended.

        Raises:
            TapeOver: they are others.
        """
        session = self.cursor.session
        then = {
            entry.body.resource: entry
            for entry in self.tape.entries[session.first : session.end]
            if isinstance(entry.body, kinds.LockReleased) and entry.epoch == session.epoch
        }
        now = {draft.body.resource: draft for draft in drafts if isinstance(draft.body, kinds.LockReleased)}
        for name in sorted(then.keys() ^ now.keys()):
            said = "" if name in now else f"keep the lock {name}"
            self.part(Parting(then.get(name), now.get(name), said=said))
            raise TapeOver

    def _append(self, draft: Draft, guard: Guard | None) -> LogEntry:
        wanting = Wanting(draft)
        while True:
            if guard is not None:
                guard(self)
            self._look_up(wanting)
            self._wanting.append(wanting)
            self.turns.wait(lambda: self._may_go_on(wanting))
            self._wanting.remove(wanting)
            if self.turns.over:
                raise TapeOver
            if wanting.halted:
                raise self._halt()
            if self._is_due(wanting):
                return self._written(draft)

    def _look_up(self, wanting: Wanting) -> None:
        wanting.place = self.cursor.expected(lane_of(wanting.draft))
        there = self.tape.entries[wanting.place] if wanting.place is not None else None
        wanting.fits = there is not None and likeness(there) == likeness(wanting.draft)
        wanting.heard = self._heard

    def _may_go_on(self, wanting: Wanting) -> bool:
        """Say whether a thread may write, or has to look again at what others have said."""
        return self._is_due(wanting) or wanting.halted or wanting.heard != self._heard

    def _is_due(self, wanting: Wanting) -> bool:
        return wanting.fits and wanting.place == self.cursor.place

    def _written(self, draft: Draft) -> LogEntry:
        entry = self.cursor.next()
        assert entry is not None
        found = differences(draft, entry, self._content)
        if found:
            self.part(Parting(entry, draft, tuple(found)))
            raise TapeOver
        self.cursor.take()
        self._at += 1
        self.take(entry)
        self._last[lane_of(entry)] = entry
        self.compared += 1
        match entry.body:
            case kinds.StepIntent() as body:
                self.working[threading.get_ident()] = lane_of(entry)
                self.open[body.key] = entry
                self._hold_back(entry)
            case kinds.StepOutcome(intent=intent):
                self.open.pop(getattr(self.entry(intent).body, "key", ""), None)
            case _:
                pass
        self._move()
        return entry

    def _hold_back(self, intent: LogEntry) -> None:
        """Let something stand against the act at the last moment, where the record says so."""
        behind = next(self.cursor.coming(lane_of(intent)), None)
        if behind is not None and isinstance(behind.body, kinds.StepOutcome) and not behind.body.performed:
            self.lease.refuse_once = True
            if self.stop is not None:
                self.stop.notice()

    def part(self, parting: Parting) -> None:
        """Note where today's code takes another course; nothing more is replayed."""
        self.parting = self.parting or parting
        self.turns.over = True

    def blob(self, entry: LogEntry, name: str) -> bytes | None:
        """The content of one of an entry's blobs; None also where it was erased, which is noted.

        Raises:
            ErasedError: it was erased, and is what people agreed to.
        """
        try:
            return self._source.blob(entry, name)
        except ErasedError as exc:
            if name in _AGREED:
                raise
            self.erased.setdefault(entry.seq, str(exc))
            return None

    def _content(self, entry: LogEntry, name: str) -> bytes | None:
        with suppress(ErasedError):
            return self._source.blob(entry, name)
        return None

    def entry(self, seq: int) -> LogEntry:
        """One entry, also of another run, such as the one that an undo takes back."""
        return self._by_seq.get(seq) or self._source.entry(seq)

    # What the record tells of the moment.

    def secret(self, reference: str) -> Secret:
        """Give what stands for a secret.

        Raises:
            SettingsError: it could not be fetched then, at this point.
        """
        coming = (entry for entry in self.cursor.left() if entry.kind is not Kind.STEP_STARTED)
        entry = next(coming, None)
        why = why_unread(entry, reference) if entry is not None else ""
        if why:
            raise SettingsError(why)
        return stand_in(reference)

    def is_abandoned(self) -> bool:
        """Say whether an abort ended the attempt that this thread is at: it was not asked about any further."""
        lane = self.working.get(threading.get_ident())
        if lane is None and self.summary.wish.level < Level.ABORT:
            return False
        # What a dead worker had begun is settled by a thread that has written no intent yet.
        said = self.cursor.coming(lane) if lane is not None else self.cursor.left()
        coming = list(islice(said, 2))
        body = coming[0].body if coming else None
        if not isinstance(body, kinds.StepOutcome) or body.status != "unknown":
            return False
        intent = self.entry(body.intent).body
        doubted = len(coming) > 1 and isinstance(coming[1].body, kinds.StepInDoubt)
        return isinstance(intent, kinds.StepIntent) and ends_with_an_abort(intent, body, doubted=doubted)

    def ended(self) -> bool:
        """Say whether the run had noticed by now that it is to end.

        It has ended as one that was cancelled, or has not made an attempt again whose worker had died.
        """
        if self.summary.wish.level < Level.CANCEL:
            return False
        entry = self.cursor.next()
        match entry.body if entry is not None else None:
            case kinds.RunEnded(status="cancelled"):
                return True
            case kinds.StepOutcome(status="failed", intent=intent):
                return self.entry(intent).epoch < self.cursor.session.epoch
            case _:
                return False

    def _is_late(self, arguments: tuple[Any, ...]) -> bool:
        """Say whether a thread begins only when nobody else can go on: it found that it was not to begin any more."""
        entry = next(self._of_task(arguments), None)
        body = entry.body if entry is not None else None
        left_alone = isinstance(body, kinds.StepSkipped) and body.reason.startswith(NOT_BEGUN)
        return body is None or left_alone

    def _of_task(self, arguments: tuple[Any, ...]) -> Iterator[LogEntry]:
        """Give what is to come of a thread: of a step on a target, or of a branch."""
        nodes = [one for one in arguments if isinstance(one, PlannedNode)]
        targets = [one.target for one in arguments if isinstance(one, TargetCalls)]
        if nodes and targets:
            return self.cursor.coming(Lane(nodes[0].path, targets[0]))
        inside = f"{nodes[0].path}." if nodes else ""
        return (entry for entry in self.cursor.left() if f"{entry.step}.".startswith(inside))

    def _rank(self, arguments: tuple[Any, ...]) -> int:
        entry = next(self._of_task(arguments), None)
        return entry.seq if entry is not None else 2**53

    # When no thread can go on.

    def _unstick(self, sleeps: bool) -> bool:  # noqa: FBT001 - `Turns` calls it
        """Let something happen when no thread can go on. The steps, in order:

        1. The tape ends: the worker of then has died here.
        2. A thread begins that had begun late, and that the tape stands at.
        3. Time passes.
        4. A thread begins that is not on the tape: it found that nothing was to be done.
        5. It is noticed that people asked to stop.
        6. What is not on the tape was not begun any more, since people had asked to stop.
        7. Today's code takes another course.
        """
        if self.cursor.is_over and not self._wants_more():
            self.turns.over = True
            return True
        if self.turns.begin_late(self._rank, below=self._next_seq() + 1):
            return True
        if sleeps:
            return False
        if self.turns.begin_late(self._rank) or self._notice() or self._halt_one():
            return True
        self.part(self._first_parting())
        return True

    def _next_seq(self) -> int:
        entry = self.cursor.next()
        return entry.seq if entry is not None else 0

    def _wants_more(self) -> bool:
        """Say whether a thread wants to write behind the entry with which the run was left in order."""
        last = self.cursor.last()
        return bool(self._wanting) and last is not None and last.kind in RESTS

    def _notice(self) -> bool:
        """Notice what people asked for; also the kill switch of that machine, which the log learnt of later."""
        entry = self.cursor.next()
        body = entry.body if entry is not None else None
        switch = body.reason if isinstance(body, kinds.RunWaiting) and body.on == "killswitch" else ""
        return self.stop is not None and self.stop.notice(switch)

    def _halt_one(self) -> bool:
        """Halt one thread that wants to begin what was not begun any more; says whether there is one."""
        if self._asked is None and not (self.stop and self.stop.noticed):
            return False
        for one in self._wanting:
            if not one.fits and not one.halted and self._was_not_begun(one):
                one.halted = True
                return True
        return False

    def _halt(self) -> Halt:
        if self.stop is not None and self.stop.noticed:
            return self.stop.halt()
        return self._asked or Halt("somebody asked for a stop")

    def _was_not_begun(self, wanting: Wanting) -> bool:
        """Say whether the worker of then need not have begun what a thread wants to write, as it was to stop."""
        draft = wanting.draft
        if draft.kind is Kind.RUN_WAITING:
            # Once is enough: whoever then comes to the same end does not heed what people asked for.
            first, self._roused = not self._roused, True
            return first
        new = step_of(draft.step) not in self._begun or draft.kind is Kind.STEP_INTENT
        return new and wanting.place is None and bool(draft.step)

    def _first_parting(self) -> Parting:
        """Find what today's code wants to write instead of what stands on the tape."""
        due = self.cursor.next()
        lane = lane_of(due) if due is not None else Lane("", "")

        def far(one: Wanting) -> tuple[bool, bool, bool]:
            same_step = due is not None and step_of(one.draft.step) == step_of(due.step)
            return lane_of(one.draft) != lane, not same_step, one.fits

        nearest = min(self._wanting, key=far, default=None)
        return Parting(due, nearest.draft if nearest else None)
