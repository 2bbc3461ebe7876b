"""A run, its workers, its people and its world on one thread, with faults thrown by a seeded die.

Everything that decides is what is installed: `execute_run` and the decisions of `mimrun.app`. The log is in
memory, the clock stands still unless something passes time, and a worker dies by an exception that nothing
in mimrun catches. The same seed gives the same schedule, entry for entry.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from random import Random
from typing import Any

import pytest
from builders.history import History, read
from builders.memory import BEGINNING, Disk, MemoryStore
from builders.runs import ALEX, BILLIE, RESPONDER, person
from builders.seams import CATALOG, NOWHERE, SimulatedStop, Stage
from builders.shapes import shape
from builders.weather import ANSWERS, CLEAR, HARMLESS, Weather, draw_weather
from builders.world import Read, WorldAction

from mimrun.app import runs
from mimrun.app.decisions import attest, decide, pending_gate, resolve
from mimrun.app.execution import StepFailed, StepLabel, Verdict, execute_run
from mimrun.app.home import PROJECTORS, Home
from mimrun.app.identity import Identity
from mimrun.app.runs import create_run, load_state
from mimrun.connector import (
    Call,
    Effect,
    Finding,
    LostAnswer,
    Ok,
    Outcome,
    Probed,
    Refused,
)
from mimrun.errors import GateError, InputError, LeaseError, RefusedError, StoreError
from mimrun.gate.people import People, Person
from mimrun.log import kinds
from mimrun.log.entry import Draft, LogEntry
from mimrun.log.kinds import Kind
from mimrun.log.store import View
from mimrun.run.cell import watchdog
from mimrun.run.hold.killswitch import switch_in
from mimrun.run.hold.lock import holding_in
from mimrun.run.hold.stop import Stop
from mimrun.run.record.fold import MAX_LOST
from mimrun.run.record.state import RunState
from mimrun.run.record.summary import RunSummaries, RunSummary, summary_in
from mimrun.run.record.transitions import TERMINAL, RunStatus
from mimrun.run.record.wish import Level
from mimrun.runbook.plan import Plan
from mimrun.settings import Settings

RUN, INCIDENT = "run-sim", "INC-SIM"
SHAPES = 300
FULL_EVERY = 32
"""One schedule of so many is played in full: projections as bytes, folded anew, and the real chain."""
TURNS = 60
"""Workers that a run may need until it ends, once nothing goes wrong any more."""
RESTLESS = 7
"""Workers during which things go wrong."""

STALE_S = 10.5
"""So old, and no older, may be what the guards have said when the action is performed."""

FULL = "disk is full"
LOCKED = "database is locked"


class Killed(BaseException):
    """The process of a worker is gone. Nothing in mimrun catches it."""


@dataclass(slots=True, eq=False)
class Worker:
    """One process that executes the run.

    Arguments:
        replaceable: another one can take the lease although this one lives.
        notices: it knows, without looking at the log, that its lease is gone.
        killed: its process is gone; else that lives on when the run rests, and threads that nobody waits for in it.
    """

    number: int
    epoch: int = 0
    alive: bool = True
    killed: bool = False
    replaceable: bool = False
    notices: bool = True
    stop: SimulatedStop | None = None


@dataclass(slots=True)
class Late:
    """A request that is still on its way."""

    key: str
    due: float


class Simulation:
    """One schedule.

    Arguments:
        seed: decides everything.
        plan: the plan to execute; drawn from the seed where none is given.
        weather: how much goes wrong; drawn from the seed where none is given.
    """

    def __init__(self, seed: int, *, plan: Plan | None = None, weather: Weather | None = None) -> None:
        self.seed, self.draw = seed, Random(seed)
        self.plan = plan or the_shape(self.draw.randrange(SHAPES))
        self.full = seed % FULL_EVERY == 0
        self.weather = weather or draw_weather(self.draw)
        self.restless = self.weather
        self.seconds = 1000.0
        self.disk = Disk()
        self.people = _PEOPLE
        self.settings = Settings(home=NOWHERE)
        self.holder: Worker | None = None
        self.worker = Worker(0)
        self.epoch = 0
        self.workers = 0
        self.faults: Counter[str] = Counter()
        self.trace: list[str] = []
        self.flaws: list[str] = []
        self.happened: Counter[str] = Counter()
        self.late: list[Late] = []
        self.later: list[tuple[Worker, Callable[[], None]]] = []
        """Answers of connectors that nobody waits for any longer, each on a thread of the worker that asked."""
        self.lost: Counter[str] = Counter()
        self.hook = 0
        self.asked = 0
        """The hook in which the last intent was to be recorded; the guards were asked before it."""
        self.withdrawn: tuple[int, float] | None = None
        """Since which hook and moment alex has no role any more."""
        self.stale = 0
        """Effects that a worker wanted after another one had taken over; the target refused them."""
        Stage.now = self

    def note(self, words: str) -> None:
        """Add to the trace."""
        self.trace.append(words)

    def clock(self) -> datetime:
        """The present moment."""
        return BEGINNING + timedelta(seconds=self.seconds)

    @contextmanager
    def opened(self) -> Iterator[Home]:
        """Open the home as the worker of this moment has it."""
        yield self.home(self.worker)

    def home(self, worker: Worker | None = None) -> Home:
        """Give the home: of a worker with all its trouble, or of a person."""
        trouble = Around(self, worker) if worker is not None else None
        store: Any = MemoryStore(self.disk, PROJECTORS, self.clock, trouble)
        return Home(self.settings, store, CATALOG, self.clock)

    def summary(self) -> RunSummary:
        """How the run stands by its projection."""
        return RunSummary.decode(self.disk.states[RunSummaries.name, RUN])

    def state(self) -> RunState:
        """How the run stands by its entries."""
        return load_state(self.home(), RUN)

    def chance(self, odds: float) -> bool:
        """Throw the die."""
        return odds > 0 and self.draw.random() < odds

    def fault(self, name: str, odds: float) -> bool:
        """Throw the die for a fault, and remember it."""
        if odds > 0 and self.draw.random() < odds:
            self.faults[name] += 1
            self.trace.append(f"! {name}")
            return True
        return False

    def pass_time(self, seconds: float, stop: SimulatedStop | None) -> None:
        """Let time pass; requests that are on their way arrive, and people do what they like."""
        self.seconds += seconds
        self.arrive()
        if stop is not None:
            if self.chance(0.05 * self.weather.people):
                self.meddle()
            if self.chance(0.5):
                stop.notice()

    def arrive(self) -> None:
        """Let those requests and answers arrive whose time has come."""
        while self.later and self.chance(0.5):
            self._answer_late(*self.later.pop(0))
        if self.late:
            for one in [late for late in self.late if late.due <= self.seconds]:
                self.late.remove(one)
                self.happened[one.key] += 1
                self.note(f"late {one.key}")

    def _answer_late(self, asked: Worker, hand_in: Callable[[], None]) -> None:
        """Let a thread that nobody waits for hand in its answer; what comes of that, nobody is told."""
        if asked.killed or (asked.alive and asked is not self.worker):
            self.note("a late answer is lost")  # its process is gone, or stands still
            return
        self.note("a late answer")
        now = self.worker
        self.worker = now if asked is now else Worker(asked.number, asked.epoch)
        try:
            hand_in()
        except Exception as exc:  # noqa: BLE001 - as the thread does
            self.note(f"it cannot be kept: {exc}")
        except Killed:
            if self.worker is now:
                raise
        finally:
            self.worker = now

    # What the world does.

    def perform(self, host: str, action: WorldAction, call: Call) -> Outcome:
        """Be the target of one attempt: check that it may be made at all, then throw the die."""
        worker, weather = self.worker, self.weather
        self._breathe(worker)
        self.seconds += 0.01
        if worker.epoch != self.epoch:
            self.stale += 1
            if worker.notices:
                self.flaws.append(f"a worker of epoch {worker.epoch} acts while {self.epoch} has the run")
            raise Refused("the target knows a greater epoch")
        self._check_begun(call, worker)
        if isinstance(action, Read):
            if self.fault("read lost", 0.05 * weather.world):
                raise LostAnswer("no answer")
            return Ok(changed=False, data={"words": []})
        self.note(f"perform {call.key[:6]} {host}")
        if worker.stop is not None and worker.stop.knows():
            self.flaws.append(f"{call.key} was performed by a worker that knew that it is to stop")
        self._maybe_die(worker, "before the effect")
        outcome = self._throw(call, weather)
        self._maybe_die(worker, "after the effect")
        self._maybe_freeze(worker, "before the answer")
        return outcome

    def hangs(self, call: Call, stop: Stop) -> bool | None:
        """Say of a connector that has come back whether nobody waited for so long; None where somebody did.
        True: its answer comes later.
        """
        if stop.aborted_for() and self.chance(0.5):
            return self.chance(0.5)
        if not self.fault("hangs", 0.02 * self.weather.world):
            return None
        self.seconds = max(self.seconds, call.deadline + watchdog.GRACE_S + 1)
        return self.chance(0.5)

    def _throw(self, call: Call, weather: Weather) -> Outcome:
        """Let one attempt have its effect, or not, and its answer, or not."""
        die = self.draw.random() if weather.world else 1.0
        for name, odds, effect, answer in ANSWERS:
            die -= odds * weather.world
            if die < 0:
                self.faults[name] += 1
                self.trace.append(f"! {name}")
                if effect:
                    self.happened[call.key] += 1
                self.lost[call.key] += name == "lost before"
                if name == "late":
                    self.late.append(Late(call.key, self.seconds + self.draw.choice((0.5, 3.0, 30.0))))
                if name == "slow":
                    self.seconds += 20.0
                told: Outcome = answer()
                return told
        self.happened[call.key] += 1
        return Ok(changed=True, data={"word": "x"})

    def probe(self, call: Call) -> Probed:
        """Say the truth about a request, or that it cannot be told."""
        self._breathe(self.worker)
        self._maybe_die(self.worker, "at the probe")
        self.seconds += 0.01
        self.arrive()
        if self.happened[call.key]:
            return Probed(Finding.APPLIED, "it is there")
        if any(late.key == call.key for late in self.late):
            return Probed(Finding.UNKNOWN, "something is on its way")
        if self.fault("probe blind", 0.15 * self.weather.world):
            return Probed(Finding.UNKNOWN, "it cannot be told")
        if self.fault("probe broke", 0.05 * self.weather.world):
            raise RuntimeError("the probe broke")
        return Probed(Finding.NOT_APPLIED, "it is not there")

    def _check_begun(self, call: Call, worker: Worker) -> None:
        """No effect without its own durable intent, by this very worker, still open."""
        for entry in reversed(self.disk.entries):
            if isinstance(entry.body, kinds.StepOutcome):
                begun = self.disk.entries[entry.body.intent - 1]
                if getattr(begun.body, "key", "") == call.key:
                    self.flaws.append(f"{call.key} is performed after entry {entry.seq} closed its intent")
                    return
            if entry.kind is Kind.STEP_INTENT and getattr(entry.body, "key", "") == call.key:
                if (entry.epoch, entry.attempt) != (worker.epoch, call.attempt):
                    self.flaws.append(f"{call.key} is performed on the intent of another attempt")
                if getattr(entry.body, "effect", "") != "read":
                    self._check_gate(entry)
                return
        self.flaws.append(f"{call.key} is performed without an intent")

    def _check_gate(self, intent: LogEntry) -> None:
        """No effect behind a gate on the top level that is neither open nor left out, or not open any more."""
        top = intent.step.partition(".")[0]
        mine = int(top) if top.isdigit() else len(self.plan.nodes) + 1  # a handler is behind them all
        gates = {n.path for n in self.plan.nodes if n.kind == "gate" and int(n.path) < mine}
        if not gates:
            return
        voters = self._voters(max(gates, key=int))
        for entry in reversed(self.disk.entries):
            if entry.step in gates and entry.kind in _GATE_ENDS:
                if entry.kind is Kind.GATE_CLOSED:
                    break
                gates.discard(entry.step)
        if gates:
            self.flaws.append(f"step {intent.step} is performed behind a gate that is not open")
        elif self.withdrawn is not None and voters == {"alex"}:
            hook, since = self.withdrawn
            if hook < self.asked or self.seconds - since > STALE_S:
                self.flaws.append(f"step {intent.step} is performed on the word of somebody without the role")

    def _voters(self, gate: str) -> set[str]:
        """Give who has said something on the last request of a gate."""
        voters = set[str]()
        for entry in reversed(self.disk.entries):
            if entry.step == gate and entry.kind is Kind.GATE_DECIDED:
                voters.add(entry.actor.id)
            elif entry.step == gate and entry.kind is Kind.GATE_REQUESTED:
                break
        return voters

    # What happens to workers.

    def _breathe(self, worker: Worker) -> None:
        self.hook += 1
        if not worker.alive:
            raise Killed

    def kill(self, worker: Worker) -> None:
        """Let a worker die here."""
        worker.alive, worker.killed = False, True
        if self.holder is worker:
            self.holder = None
        raise Killed

    def _maybe_die(self, worker: Worker, where: str) -> None:
        if self.fault(f"killed {where}", 0.025 * self.weather.kills):
            self.kill(worker)

    def _maybe_freeze(self, worker: Worker, where: str) -> None:
        """Let a worker stand still while another one takes over, where its lease can be lost at all."""
        if self.worker is not worker or not self.fault(f"frozen {where}", 0.02 * self.weather.freezes):
            return
        worker.replaceable = True
        worker.notices = self.chance(0.5)
        if self.chance(0.2):
            self.withdraw()
        self.seconds += self.draw.choice((1.0, 60.0))
        if self.chance(0.7):
            if self.chance(0.7):
                self.decide()
            self.employ()
        worker.replaceable = False

    def employ(self) -> Verdict | None:
        """Let a new worker execute the run, as far as it gets."""
        self.workers += 1
        before, worker = self.worker, Worker(self.workers)
        self.worker = worker
        self.note(f"worker {worker.number}")
        self.seconds += 1.0
        try:
            verdict = execute_run(self.settings, RUN, catalog=CATALOG, around_step=self._around)
        except Killed:
            self.note(f"worker {worker.number} died")
            return None
        except StoreError as exc:
            if FULL not in str(exc) and LOCKED not in str(exc):
                raise
            return None
        except LeaseError:
            if worker.epoch == self.epoch:
                raise
            return None
        finally:
            worker.alive = False
            if self.holder is worker:
                self.holder = None
            self.worker = before
        self.note(f"worker {worker.number}: {verdict.status}")
        self._check_verdict(verdict, worker)
        return verdict

    def _check_verdict(self, verdict: Verdict, worker: Worker) -> None:
        if verdict.status != "refused" and worker.epoch == self.epoch:
            told = self.summary().status.value
            if verdict.status != told:
                self.flaws.append(f"a worker says {verdict.status} and the log says {told}")

    def _around(self, label: StepLabel, do: Callable[[], None]) -> None:
        """Drive a step as badly as a driver may: twice, or with an end of its own."""
        odds = 0.05 * self.weather.driver
        try:
            do()
        finally:
            if self.fault("driver repeats", odds):
                do()
        if self.fault("driver breaks", odds):
            raise StepFailed("the driver broke")

    # What people do.

    def meddle(self) -> None:
        """Let somebody do something in the middle of everything."""
        self.faults["meddling"] += 1
        match self.draw.randrange(12):
            case 0 | 1 | 2:
                self.withdraw()
            case 3 | 4 | 5:
                self.decide()
            case 6:
                self.ask(kinds.RunCancelRequested(reason="enough"))
            case 7:
                self.ask(kinds.RunAbortRequested(reason="now"))
            case 8 | 9:
                self.ask(kinds.RunPauseRequested(reason="wait"))
            case 10:
                self.ask(kinds.KillswitchPulled(reason="everything", latch=""), run="")
            case _:
                self._unlock()

    def withdraw(self) -> None:
        """Take alex's role away."""
        self.note("people: alex has no role")
        self.people, self.withdrawn = _WITHOUT_ALEX, self.withdrawn or (self.hook, self.seconds)

    def ask(self, body: kinds.Body, *, run: str = RUN, who: Identity = RESPONDER) -> None:
        """Let somebody ask for something, unless the run is over."""

        def under_way(view: View) -> None:
            if summary_in(view, RUN).status in TERMINAL:
                raise RefusedError("it is over")

        with suppress(RefusedError):
            draft = Draft(who.actor(), body, inc=INCIDENT if run else "", run=run)
            self.home().store.append([draft], guard=under_way)
            self.note(f"people: {body.kind}")

    def _unlock(self) -> None:
        """Take a lock from the run, as people do who are sure that they know better."""
        for resource in self.plan.locks:
            holding = holding_in(self.home().store, resource)
            if holding.holder == RUN:
                self.ask(kinds.LockReleased(resource=resource, generation=holding.generation))
                return

    def _let_go_on(self) -> None:
        """Take back what makes everything stand still."""
        store = self.home().store
        switch = switch_in(store)
        if switch.pulled:
            for who in (RESPONDER, ALEX):
                self.ask(kinds.KillswitchLiftAgreed(pulled=switch.pulled, reason="over"), run="", who=who)
        if self.summary().wish.level is Level.PAUSE:
            self.ask(kinds.RunResumeRequested())

    def decide(self) -> None:
        """Let people do what the run asks them for; now and then they do something else."""
        self.people, self.withdrawn = _PEOPLE, None
        if self.weather is CLEAR or self.chance(0.5):
            self._let_go_on()
        summary = self.summary()
        try:
            if summary.status is RunStatus.WAITING and summary.waits_on == "gate":
                self._decide_gate()
            elif summary.status is RunStatus.WAITING and summary.waits_on == "manual":
                attest(self.home(), RUN, ALEX, {})
                self.note("people: attest")
            elif summary.status is RunStatus.IN_DOUBT:
                self._resolve()
        except (RefusedError, GateError, InputError) as exc:
            self.note(f"people: refused, {type(exc).__name__}")

    def _decide_gate(self) -> None:
        home, people = self.home(), self.restless.people
        pending = pending_gate(home, RUN)
        die = self.draw.random() if people else 0.0
        if die > 0.97:
            decide(home, pending, ALEX, "rejected", digest=pending.request.digest, reason="no")
            self.faults["rejected"] += 1
        elif die > 0.9:
            self.faults["nobody decides"] += 1
            self.seconds += 120.0  # then somebody may be too late
        elif die > 0.86:
            decide(home, pending, _LAUNCHER, "approved", digest=pending.request.digest)
            self.flaws.append("who asked for the run approved it")
        else:
            who = ALEX if die < 0.6 else BILLIE
            decide(home, pending, who, "approved", digest=pending.request.digest)
        self.note("people: gate")

    def _resolve(self) -> None:
        """Look at the world, as people do, and say what is there."""
        if self.late:
            self.seconds = max(self.seconds, *(late.due + 1 for late in self.late))
            self.arrive()
        keys = {e.seq: e.body.key for e in self.disk.entries if e.kind is Kind.STEP_INTENT}  # type: ignore[attr-defined]
        state = self.state()
        for key in sorted(state.in_doubt()):
            there = bool(self.happened[keys[state.cell(key).intent]])
            word = "applied" if there else "not_applied"
            if self.weather.people and self.chance(0.15):
                word = self.draw.choice(("skip", "abort"))
                self.faults[f"resolved {word}"] += 1
            resolve(
                self.home(),
                RUN,
                RESPONDER,
                step=key.step,
                target=key.target,
                resolution=word,  # type: ignore[arg-type]
                reason="looked",
            )
            self.note(f"people: {key.step} {key.target} {word}")

    # The whole schedule.

    def play(self) -> list[str]:
        """Play the schedule to its end, and give what was wrong."""
        self.disk = _created(self.plan, full=self.full).copy()
        for turn in range(TURNS):
            if turn == RESTLESS:
                self.weather = CLEAR
            if self.summary().status in TERMINAL:
                break
            if self.chance(0.1 * self.weather.people):
                self.meddle()
            self.decide()
            self.employ()
        return self._judge()

    def _judge(self) -> list[str]:
        """Look at the end: everything that must hold of every schedule."""
        flaws, entries = list(self.flaws), self.disk.entries
        summary, state = self.summary(), self.state()
        history = read((entry for entry in entries if entry.run in (RUN, "")), locks=self.plan.locks)
        flaws += history.against(self.happened)
        if summary.status not in TERMINAL:
            flaws.append(f"the run does not end: {summary.status} {summary.waits_on} {summary.reason}")
        if (summary.status, summary.epoch) != (state.status, state.epoch):
            flaws.append(f"the projection says {summary.status} and the entries say {state.status}")
        if self.full:
            flaws += map(str, self.disk.chained())
            if not self.disk.rebuilds(PROJECTORS):
                flaws.append("folding the log anew gives other bytes")
        if summary.status is not RunStatus.SUCCEEDED and self._is_harmless(history):
            flaws.append(
                f"nothing happened that a run may fail for, and it {summary.status}: {summary.reason}"
            )
        return flaws

    def _is_harmless(self, history: History) -> bool:
        """Say whether nothing has happened that a run may fail for: deaths, a full disk, and requests that got
        lost on their way, as long as somebody can tell and it does not happen too often.
        """
        probed = {track.key for track in history.cells.values() if track.effect is Effect.PROBE}
        lost = all(key in probed and times <= MAX_LOST for key, times in self.lost.items())
        return lost and all(name.startswith(HARMLESS) for name in self.faults)

    def digest(self) -> str:
        """Give a digest of everything that happened, to compare two plays of one seed."""
        text = "\n".join([*self.trace, *(repr(entry) for entry in self.disk.entries)])
        return hashlib.sha256(text.encode()).hexdigest()

    def told(self) -> str:
        """Tell the schedule for a person who looks for a mistake."""
        lines = [f"seed {self.seed}; play it again with `python tests/builders/play.py {self.seed}`"]
        lines += [f"  {words}" for words in self.trace]
        lines += [
            f"  {e.seq} {e.kind} {e.step} {e.target} attempt {e.attempt} epoch {e.epoch} {e.body!r:.110}"
            for e in self.disk.entries
            if e.run
        ]
        return "\n".join(lines)


class Around:
    """What goes wrong around the appends of one worker."""

    def __init__(self, simulation: Simulation, worker: Worker) -> None:
        self._simulation, self._worker = simulation, worker

    def before(self, drafts: Sequence[Draft]) -> None:
        """Die, freeze, be disturbed, or find the disk full."""
        sim, worker = self._simulation, self._worker
        sim._breathe(worker)
        sim.seconds += 0.002
        if any(draft.kind is Kind.STEP_INTENT for draft in drafts):
            sim.asked = sim.hook
        weather = sim.weather
        if weather is CLEAR:
            return
        sim._maybe_die(worker, "before an append")
        sim._maybe_freeze(worker, "before an append")
        if sim.chance(0.03 * weather.people):
            sim.meddle()
        if sim.fault("disk full", 0.02 * weather.disk):
            raise StoreError(FULL)
        if sim.fault("database locked", 0.02 * weather.disk):
            raise StoreError(LOCKED)

    def after(self, entries: Sequence[LogEntry]) -> None:
        """Die, freeze, or say that it went wrong although it is on disk."""
        sim, worker = self._simulation, self._worker
        weather = sim.weather
        sim.note(f"{worker.number}: {entries[0].seq} {' '.join(entry.kind for entry in entries)}")
        if weather is CLEAR:
            return
        sim._maybe_die(worker, "after an append")
        if entries[-1].kind is Kind.STEP_INTENT and sim.fault("killed behind an intent", weather.intents):
            sim.kill(worker)
        if sim.fault("disk failed behind the commit", 0.01 * weather.disk):
            raise StoreError(FULL)
        sim._maybe_freeze(worker, "after an append")
        if sim.chance(0.03 * weather.people):
            sim.meddle()
        if worker.stop is not None and sim.chance(0.5):
            worker.stop.notice()

    def reading(self) -> None:
        """The dead do not read."""
        self._simulation._breathe(self._worker)


_GATE_ENDS = frozenset({Kind.GATE_OPENED, Kind.GATE_CLOSED})


_LAUNCHER = person("responder", "responder", "change_manager")
"""Who asks for the run: with the role that the gates ask for, but for a run of somebody else."""


def _everybody(alex: frozenset[str]) -> People:
    return People(
        by_id={
            "responder": _LAUNCHER.person,
            "alex": Person("alex", "alex", alex),
            "billie": Person("billie", "billie", frozenset({"change_manager"})),
        }
    )


_PEOPLE = _everybody(frozenset({"change_manager", "service_desk"}))
_WITHOUT_ALEX = _everybody(frozenset({"service_desk"}))


@cache
def the_shape(number: int) -> Plan:
    """Give one of the plans that schedules execute."""
    return shape(number, NOWHERE)


_DISKS: dict[tuple[str, bool], Disk] = {}


def _created(plan: Plan, *, full: bool) -> Disk:
    """Give a disk on which the run has been asked for."""
    if (plan.digest, full) not in _DISKS:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(runs, "new_run", lambda: RUN)
            patch.setattr(runs, "new_incident", lambda _: INCIDENT)
            disk = Disk()
            store: Any = MemoryStore(disk, PROJECTORS, lambda: BEGINNING)
            create_run(Home(Settings(home=NOWHERE), store, CATALOG, lambda: BEGINNING), plan, RESPONDER)
        _DISKS[plan.digest, full] = disk
    return _DISKS[plan.digest, full]
