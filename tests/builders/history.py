"""What must hold of the history of a run, whatever happened to its workers: judged from the log and the world alone.

Written apart from `mimrun.run.record.state`, and from another side: it reads entries in their order and counts effects,
so that a mistake in the fold cannot hide itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from mimrun.connector import Effect
from mimrun.log import kinds
from mimrun.log.entry import LogEntry
from mimrun.log.kinds import Kind
from mimrun.log.store import Projector

AT_MOST_ONCE = frozenset({Effect.ONCE, Effect.PROBE})
"""What happens at most once where probes and people tell the truth."""


class Place(NamedTuple):
    """A cell, by the entry's own words."""

    step: str
    target: str
    iteration: int


@dataclass(slots=True)
class Track:
    """What the entries say of one cell.

    Arguments:
        key: the idempotency key of its intents.
        open: the intent without an outcome, or 0; and the epoch of the last one.
        since: intents since a person last said that nothing happened; those that were not performed do not count.
        clean: outcomes that say that their attempt provably had no effect.
    """

    key: str = ""
    effect: Effect = Effect.ONCE
    intents: int = 0
    open: int = 0
    epoch: int = 0
    since: int = 0
    clean: int = 0
    status: str = ""
    doubt: bool = False
    resolved: str = ""


@dataclass(slots=True)
class History:
    """A run's entries, read once.

    Arguments:
        locks: what the run must hold to change anything; `host/NAME` counts for that host alone.
        wishes: which entry asks it to stop, by its kind; a pause and the kill switch can be taken back.
        held: the locks that it holds.
        flaws: what must not be, in words.
    """

    locks: Collection[str] = ()
    wishes: dict[str, int] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)
    lifting: int = 0
    epoch: int = 0
    ended: str = ""
    waits: bool = False
    cells: dict[Place, Track] = field(default_factory=dict)
    flaws: list[str] = field(default_factory=list)

    def take(self, entry: LogEntry) -> None:
        """Judge the next entry."""
        self._writer(entry)
        match entry.body:
            case kinds.RunStarted() as body:
                self.epoch, self.waits = body.epoch, False
            case kinds.RunWaiting():
                self.waits = True
            case kinds.RunEnded() as body:
                self._end(entry, body.status)
            case kinds.LockTaken() as body:
                self.held[body.resource] = body.generation
            case kinds.LockReleased() as body if self.held.get(body.resource) == body.generation:
                del self.held[body.resource]
            case kinds.StepIntent() as body:
                self._intent(entry, body)
            case kinds.StepOutcome() as body:
                self._outcome(entry, body)
            case kinds.StepInDoubt() as body:
                self._track(entry, body.iteration).doubt = True
            case kinds.StepResolved() as body:
                self._resolved(entry, body)
            case _:
                self._wish(entry)

    def _wish(self, entry: LogEntry) -> None:
        """Follow what people want; the kill switch is lifted by the second person who agrees."""
        match entry.body:
            case kinds.RunPauseRequested() | kinds.RunCancelRequested() | kinds.RunAbortRequested():
                self.wishes.setdefault(entry.kind, entry.seq)
            case kinds.RunResumeRequested():
                self.wishes.pop(Kind.RUN_PAUSE_REQUESTED, None)
            case kinds.KillswitchPulled():
                self.wishes.setdefault(entry.kind, entry.seq)
                self.lifting = 0
            case kinds.KillswitchLiftAgreed():
                self.lifting += 1
                if self.lifting == 2:
                    self.wishes.pop(Kind.KILLSWITCH_PULLED, None)
            case _:
                pass

    def _flaw(self, entry: LogEntry, words: str) -> None:
        self.flaws.append(f"entry {entry.seq} {entry.kind} {entry.step} {entry.target}: {words}")

    def _track(self, entry: LogEntry, iteration: int) -> Track:
        return self.cells.setdefault(Place(entry.step, entry.target, iteration), Track())

    def _writer(self, entry: LogEntry) -> None:
        """Only the worker of the newest epoch changes a run, and nobody after its end."""
        if entry.actor.kind != "worker" or entry.kind is Kind.STEP_EVIDENCE:
            return
        if isinstance(entry.body, kinds.RunStarted):
            if entry.body.epoch <= self.epoch:
                self._flaw(entry, f"epoch {entry.body.epoch} does not grow from {self.epoch}")
        elif entry.epoch and entry.epoch != self.epoch:
            self._flaw(entry, f"written in epoch {entry.epoch} while {self.epoch} has the run")
        if self.ended and entry.kind is not Kind.LOCK_RELEASED:
            self._flaw(entry, f"written after the run ended {self.ended}")

    def _intent(self, entry: LogEntry, body: kinds.StepIntent) -> None:
        track = self._track(entry, body.iteration)
        if track.open:
            self._flaw(entry, f"a second open intent beside {track.open}")
        if track.doubt:
            self._flaw(entry, "an intent while a person is asked whether it happened")
        if body.effect is Effect.ONCE and track.since:
            self._flaw(entry, "a second intent of a step that happens once, and no person said so")
        for kind, seq in self.wishes.items():
            self._flaw(entry, f"begun although entry {seq} {kind} asks to stop")
        needed = {n for n in self.locks if not n.startswith("host/") or n == f"host/{entry.target}"}
        if body.effect is not Effect.READ and needed - self.held.keys():
            self._flaw(entry, f"begun without the locks {needed - self.held.keys()}")
        if track.key not in ("", body.key):
            self._flaw(entry, "another key than the attempt before")
        track.key, track.effect = body.key, body.effect
        track.open, track.intents, track.since, track.resolved = (
            entry.seq,
            track.intents + 1,
            track.since + 1,
            "",
        )
        track.status, track.epoch = "performing", entry.epoch

    def _outcome(self, entry: LogEntry, body: kinds.StepOutcome) -> None:
        track = self._track(entry, body.iteration)
        if not track.open or body.intent != track.open:
            self._flaw(entry, f"an outcome of intent {body.intent} while {track.open or 'none'} is open")
        track.open, track.status, track.clean = 0, body.status, track.clean + body.clean
        if not body.performed:
            # Only the worker that was about to act can know that it did not.
            if not body.clean or entry.epoch != track.epoch:
                self._flaw(entry, f"not performed, says epoch {entry.epoch} of an intent of {track.epoch}")
            track.since -= 1

    def _resolved(self, entry: LogEntry, body: kinds.StepResolved) -> None:
        track = self._track(entry, body.iteration)
        if not track.doubt:
            self._flaw(entry, "settled without having been in doubt")
        if entry.actor.kind != "person":
            self._flaw(entry, f"settled by a {entry.actor.kind}")
        track.doubt, track.resolved = False, body.resolution
        if body.resolution == "not_applied":
            track.since = 0

    def _end(self, entry: LogEntry, status: str) -> None:
        self.ended = status
        for place, track in self.cells.items():
            if track.open:
                self._flaw(entry, f"the run is over and {place} has an open intent")
            if track.doubt:
                self._flaw(entry, f"the run is over and {place} is in doubt")

    def against(self, happened: Mapping[str, int]) -> list[str]:
        """Give every flaw, those included that the world shows.

        Arguments:
            happened: how often each effect is in the world, by its key.
        """
        flaws = list(self.flaws)
        if self.ended and self.held:
            flaws.append(f"the run is over and holds {self.held}")
        tracks = {track.key: (place, track) for place, track in self.cells.items() if track.key}
        flaws += [f"{key} happened without any intent" for key in sorted(happened.keys() - tracks.keys())]
        for key, (place, track) in tracks.items():
            times = happened.get(key, 0)
            if times > track.intents:
                flaws.append(f"{place} happened {times} times on {track.intents} intents")
            elif times > track.intents - track.clean:
                flaws.append(
                    f"{place} happened {times} times; {track.clean} of {track.intents} say it did not"
                )
            if times > 1 and track.effect in AT_MOST_ONCE:
                flaws.append(f"{place} ({track.effect}) happened {times} times")
            done = track.status == "ok" and not track.resolved
            if done and not times and track.effect is not Effect.READ:
                flaws.append(f"{place} is on record as done and did not happen")
        return flaws


def read(entries: Iterable[LogEntry], *, locks: Collection[str] = ()) -> History:
    """Read the entries of one run, and those about the kill switch where they are to count.

    Arguments:
        locks: those of its plan.
    """
    history = History(locks=locks)
    for entry in entries:
        history.take(entry)
    return history


def refold(
    entries: Sequence[LogEntry], projectors: Iterable[Projector], blobs: Mapping[tuple[int, str], bytes]
) -> dict[tuple[str, str], bytes]:
    """Fold a whole log anew through projectors."""
    states: dict[tuple[str, str], bytes] = {}
    for projector in projectors:
        for entry in entries:
            key = projector.key(entry)
            if key is not None:
                named = {ref.n: blobs[entry.seq, ref.n] for ref in entry.blobs}
                before = states.get((projector.name, key), projector.empty())
                states[projector.name, key] = projector.apply(before, entry, named)
    return states


def keys_of(lines: Iterable[str]) -> Counter[str]:
    """Count the effects in a world file by their key, the last word of each line."""
    return Counter(line.rpartition(" ")[2] for line in lines)
