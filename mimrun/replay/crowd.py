"""The crowd: what people said in the record, said again to a changed plan where it asks them the same.

They say it at the point at which they said it then: a vote at the gate of the same name, a signature for the same work,
a settled doubt for the same call, a wish to stop behind the same answer. What nobody was asked then, nobody says now.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta
from typing import Final

from mimrun.gate.people import Person
from mimrun.log import kinds
from mimrun.log.entry import Actor, Draft, LogEntry
from mimrun.log.kinds import Body, Kind
from mimrun.replay.board import step_of
from mimrun.replay.permits import PlayedPermit
from mimrun.replay.play import PlayedLog
from mimrun.replay.steps import Pairs
from mimrun.replay.tape import Tape
from mimrun.replay.wishes import RecordedStop
from mimrun.run.record.manual_state import TAKES
from mimrun.run.record.state import GateState, RunState
from mimrun.run.walk.result import Parked

_ENDS: Final = frozenset({Kind.RUN_CANCEL_REQUESTED, Kind.RUN_ABORT_REQUESTED})
"""Wishes that a replay hears. That somebody let a run rest for a while says nothing of another runbook."""
_ASKS: Final = frozenset({Kind.GATE_REQUESTED, Kind.MANUAL_REQUESTED, Kind.STEP_IN_DOUBT})
_PAST: Final = timedelta(seconds=1)


class Crowd:
    """Says what people said then.

    Arguments:
        tape: the record.
        pairs: which step is which.
        log: of the worker that executes the changed plan.
        permit: what gates ask.
        plan: the digest of the changed plan.
        assume_approved: where nobody decided then, everybody who is asked agrees.
    """

    def __init__(
        self,
        tape: Tape,
        pairs: Pairs,
        log: PlayedLog,
        permit: PlayedPermit,
        *,
        plan: str,
        assume_approved: bool = False,
    ) -> None:
        self._tape, self._pairs, self._log, self._permit = tape, pairs, log, permit
        self._plan, self._assume = plan, assume_approved
        self._rounds = _rounds(tape.entries)
        self._behind = _wishes_behind(tape.entries, log.said())
        self._asked: dict[str, int] = defaultdict(int)
        self._left: dict[tuple[str, int], deque[LogEntry]] = {}
        """What is still to be said at a step, by its path and how many times people were asked there."""
        self._seqs: dict[int, int] = {}
        self.stop: RecordedStop | None = None
        self.assumed: list[str] = []
        """What is taken for granted that nobody said quite so."""

    def hear(self, said: LogEntry | None) -> None:
        """Say what somebody said right behind an intent or an answer: that the run is to end.

        What is said while an attempt is under way is noticed when that is over.

        Arguments:
            said: its entry; None for the beginning.
        """
        for wish in self._behind.pop(said.seq if said else 0, ()):
            if isinstance(wish.body, kinds.BreakglassOpened):
                self._say(wish, body=wish.body.model_copy(update={"plan": self._plan}))
                self.assumed.append("the glass would be broken for this plan as it was for the one of then")
                continue
            self._say(wish)
            if self.stop is not None and (said is None or said.kind is Kind.STEP_OUTCOME):
                self.stop.notice()

    def answer(self, parked: Parked, state: RunState) -> bool:
        """Say what people said where a run waits for them; False where nobody did."""
        match parked.on:
            case "gate":
                return self._at_gate(parked.step, state.gates[parked.step])
            case "manual":
                return self._by_hand(parked.step)
            case "doubt":
                return self._about_doubts(state)
            case _:
                return False

    def _round(self, path: str) -> deque[LogEntry]:
        """Give what was said then of what the step asks."""
        # Of a gate that was asked several times the last one counts: what was said before was void. As often as they
        # were asked then, people say it again.
        was = self._pairs.was(path)
        rounds = self._rounds.get(was.path, []) if was is not None else []
        asked = sum(entry.kind in _ASKS and entry.step == path for entry in self._log.known)
        if not 0 < asked <= len(rounds):
            return deque()
        return self._left.setdefault((path, asked), deque(rounds[-1]))

    # Gates.

    def _at_gate(self, path: str, gate: GateState) -> bool:
        said = self._round(path)
        spoken = False
        while said:
            entry = said.popleft()
            if entry.kind in (Kind.GATE_DECIDED, Kind.BREAKGLASS_OPENED) or entry.kind in _ENDS:
                self._say(entry, path, _about(entry, gate, self._plan))
                spoken = True
            elif _is_late(entry) or (entry.kind is Kind.GATE_CLOSED and not spoken):
                return self._let_it_expire(gate)
            elif spoken:
                said.appendleft(entry)
                return True
        return spoken or (self._assume and self._agree(path, gate))

    def _let_it_expire(self, gate: GateState) -> bool:
        """Let so much time pass that it is too late to decide."""
        if gate.expires_at is None or gate.asked_at is None:
            return False
        until = (gate.since or gate.asked_at) + (gate.expires_at - gate.asked_at)
        self._log.pass_time((until - self._log.clock() + _PAST).total_seconds())
        return True

    def _agree(self, path: str, gate: GateState) -> bool:
        """Let everybody who is asked agree: nobody was asked then, and whoever replays wants to know what follows."""
        if gate.question is None or path in self._asked:
            return False
        self._asked[path] += 1
        needs = sorted(gate.question.approvals)
        for role, count in needs:
            for number in range(1, count + 1):
                name = f"assumed-{role}-{number}"
                self._permit.know(Person(name, name, frozenset({role})))
                body = kinds.GateDecided(
                    decision="approved", digest=gate.digest, role=role, reason="assumed by the replay"
                )
                self._log.write(Draft(Actor("person", name, "replay"), body, run=self._log.run, step=path))
        told = ", ".join(f"{count} {role}" for role, count in needs) or "nobody"
        self.assumed.append(f"at gate '{self._name(path)}' {told} would agree: nobody was asked then")
        return bool(needs)

    def _name(self, path: str) -> str:
        node = self._log.nodes.get(path)
        return node.name if node is not None else path

    # Work by hand, and doubts.

    def _by_hand(self, path: str) -> bool:
        said, spoken = self._round(path), False
        while said:
            entry = said.popleft()
            if entry.kind in TAKES or entry.kind in _ENDS:
                body = entry.body
                if isinstance(body, kinds.ManualConfirmed | kinds.ManualDisputed):
                    body = body.model_copy(update={"attested": self._seqs.get(body.attested, body.attested)})
                self._say(entry, path, body)
                spoken = True
        return spoken

    def _about_doubts(self, state: RunState) -> bool:
        spoken = False
        for key in sorted(state.in_doubt()):
            for wish in [said for said in self._round(step_of(key.step)) if said.kind in _ENDS]:
                self._round(step_of(key.step)).remove(wish)
                self._say(wish)
            call = self._log.recorded_call(key)
            entry = call.settled() if call is not None else None
            if entry is None:
                continue
            assert isinstance(entry.body, kinds.StepResolved)
            body = entry.body.model_copy(
                update={"intent": state.cell(key).intent, "iteration": key.iteration}
            )
            self._say(entry, key.step, body, target=key.target)
            spoken = True
        return spoken

    def _say(self, entry: LogEntry, step: str = "", body: Body | None = None, *, target: str = "") -> None:
        """Let somebody say again what they said, as long after the word before as then."""
        self._log.pass_time(self._waited(entry))
        said = Draft(entry.actor, body or entry.body, inc=entry.inc, run=entry.run, step=step, target=target)
        self._seqs[entry.seq] = self._log.write(said, entry).seq

    def _waited(self, entry: LogEntry) -> float:
        """Say how long it was then from the word before in the log to this one."""
        before = [other.ts for other in self._tape.entries if other.seq < entry.seq]
        return (entry.ts - before[-1]).total_seconds() if before else 0.0


def _is_late(entry: LogEntry) -> bool:
    """Say whether nobody was counted in time at a gate."""
    expired = isinstance(entry.body, kinds.GateClosed) and entry.body.reason == "expired"
    return expired or entry.kind is Kind.GATE_ESCALATED


def _about(entry: LogEntry, gate: GateState, plan: str) -> Body:
    """Give a word at a gate as one about what is asked now."""
    match entry.body:
        case kinds.GateDecided() as body:
            return body.model_copy(update={"digest": gate.digest, "at": ""})
        case kinds.BreakglassOpened() as body:
            return body.model_copy(update={"plan": plan})
        case body:
            return body


def _rounds(entries: Iterable[LogEntry]) -> Mapping[str, list[deque[LogEntry]]]:
    """Give what followed each time that people were asked at a step, by its path.

    A wish to stop belongs to what people were asked last.
    """
    found: dict[str, list[deque[LogEntry]]] = defaultdict(list)
    last = ""
    for entry in entries:
        if entry.kind in _ASKS:
            last = entry.step
            found[last].append(deque())
        elif entry.kind in _ENDS or entry.kind is Kind.BREAKGLASS_OPENED:
            if found[last]:
                found[last][-1].append(entry)
        elif entry.step in found and found[entry.step] and entry.kind in _SAID:
            found[entry.step][-1].append(entry)
        elif entry.kind is Kind.STEP_INTENT:
            last = ""
    return found


_SAID: Final = frozenset({Kind.GATE_DECIDED, Kind.GATE_ESCALATED, Kind.GATE_CLOSED, Kind.GATE_OPENED}) | TAKES


def _wishes_behind(entries: Iterable[LogEntry], said: Collection[int]) -> dict[int, list[LogEntry]]:
    """Give the wishes to stop that came when the last thing on record was an intent or an answer, by its entry.

    Arguments:
        said: the entries of intents and answers that the cassette gives.
    """
    found: dict[int, list[LogEntry]] = defaultdict(list)
    last = 0
    for entry in entries:
        if entry.seq in said:
            last = entry.seq
        elif entry.kind in _ASKS:
            last = -1  # whoever was asked there says it there
        elif last >= 0 and (entry.kind in _ENDS or (not last and entry.kind is Kind.BREAKGLASS_OPENED)):
            found[last].append(entry)
    return found
