"""Series of `kill -9`: a run in a real home, whose workers and people are killed at named points and at any moment.

A worker is a child that tells over a pipe what the log has acknowledged, so that the parent can see that none of
it is lost. What must hold is judged by `history`, from the log and the world alone.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from builders.history import keys_of, read
from builders.runs import ALEX, RESPONDER, Bench
from builders.shapes import shape
from builders.world import World, lines

from mimrun.app.decisions import attest, resolve
from mimrun.connector import Effect
from mimrun.errors import RefusedError
from mimrun.log.entry import Draft, LogEntry
from mimrun.log.kinds import Kind, StepIntent
from mimrun.log.proof.verify import verify
from mimrun.log.sqlite.store import SqliteStore
from mimrun.log.sqlite.writer import LogWriter
from mimrun.log.store import Guard
from mimrun.run.hold.lease import FileLease
from mimrun.run.record.key import idempotency_key
from mimrun.run.record.state import RunState
from mimrun.run.record.summary import RunSummaries, RunSummary
from mimrun.run.record.transitions import TERMINAL

POINTS = (
    "before an append",
    "after an append",
    "in the middle of a fold",
    "rows written, not committed",
    "before an effect",
    "after an effect",
    "before a probe",
    "after a probe",
    "lease taken",
    "lease let go",
)
"""Where a worker is killed; and `AT_ANY_MOMENT`."""

EFFECTS = POINTS[4:6]
AT_ANY_MOMENT = "at any moment"
DECIDING = "while a person decides"
PACE_S = 0.04
"""About so long does a worker run; within it the parent kills at any moment."""
PATIENCE_S = 60.0
TURNS = 40
STEPS = (4, 5, 6, 7)
KILLS = 8
"""Kills of one series."""
ACK = struct.Struct(">Q32s")
SILENT = struct.Struct(">Q32s").pack(0, b"an effect without its own intent")


@dataclass(slots=True)
class Tally:
    """What a series, or many of them, have done.

    Arguments:
        kills: by point.
        cells: by point, and the effect class of what was under way.
    """

    series: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    cells: Counter[tuple[str, str]] = field(default_factory=Counter)
    acknowledged: int = 0
    doubts: int = 0

    def __iadd__(self, other: Tally) -> Tally:
        self.series += other.series
        self.kills += other.kills
        self.cells += other.cells
        self.acknowledged += other.acknowledged
        self.doubts += other.doubts
        return self


class Series:
    """One run, killed some times, and then brought to its end.

    Arguments:
        seed: decides about the plan and every kill.
        folder: empty; the home and the world are made in it.
    """

    def __init__(self, seed: int, folder: Path) -> None:
        self.seed, self.draw = seed, Random(f"kills {seed}")
        self.bench = Bench(folder)
        plan = shape(self.draw.randrange(1 << 30), self.bench.world, counts=STEPS)
        self.run, self.locks = self.bench.create(plan), plan.locks
        self.acks: dict[int, bytes] = {}
        self.tally = Tally(series=1)
        self.told: list[str] = []
        self.silent = False
        self._last = "none"
        self.asked: Counter[tuple[str, str]] = Counter()

    def play(self, kills: int = KILLS) -> list[str]:
        """Kill so many times, go on to the end, and give what is wrong."""
        for _ in range(3 * kills):
            if self.tally.kills.total() >= kills or self.summary().status in TERMINAL:
                break
            self.execute(*self._point())
            self.decide()
        for _ in range(TURNS):
            if self.summary().status in TERMINAL:
                break
            self.decide()
            self.execute("", 0)
        return self._judge()

    def summary(self) -> RunSummary:
        """How the run stands by its projection, which is read at once; `_judge` looks at the entries."""
        with self.bench.home() as home:
            return RunSummary.decode(home.store.projection(RunSummaries.name, self.run))

    def _point(self) -> tuple[str, int]:
        """Draw where to kill next, and at which time that the worker comes there."""
        if self._last == Effect.PROBE and self.draw.random() < 0.5:
            return self.draw.choice(("before a probe", "after a probe")), 1
        point = self.draw.choice((*POINTS, *EFFECTS, AT_ANY_MOMENT, AT_ANY_MOMENT))
        most = 12 if "append" in point or "written" in point or "fold" in point else 3
        return point, 1 if "lease" in point else self.draw.randint(1, most)

    def execute(self, point: str, number: int) -> bool:
        """Let a worker execute the run; say whether it was killed."""
        return self._child(lambda: self.bench.execute(self.run), point, number)

    def _child(self, work: Callable[[], object], point: str, number: int, where: str = "") -> bool:
        reader, writer = os.pipe()
        moment = time.monotonic() + self.draw.random() * PACE_S
        child = os.fork()
        if child == 0:
            os.close(reader)
            live(work, Ending(point, number, writer))
        os.close(writer)
        data = _heard(reader, child, moment if point == AT_ANY_MOMENT else None)
        os.close(reader)
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status)
        self.told.append(f"{point or 'no kill'} {number or ''}: {'killed' if killed else 'ended'}")
        self._hear(data)
        if killed:
            self._last = self._under_way()
            self.tally.kills[where or point] += 1
            self.tally.cells[where or point, self._last] += 1
        elif os.WEXITSTATUS(status):
            raise AssertionError(f"{self}: a worker ended with {os.WEXITSTATUS(status)}")
        return killed

    def _hear(self, data: bytes) -> None:
        for seq, leaf in ACK.iter_unpack(data[: len(data) // ACK.size * ACK.size]):
            if seq == 0:
                self.silent = True
            else:
                self.acks[seq] = leaf
                self.tally.acknowledged += 1

    def _under_way(self) -> str:
        """Give the effect class of the intent that is open now, or none."""
        with self.bench.home() as home:
            ends = home.store.entries(run=self.run, kinds={Kind.STEP_INTENT, Kind.STEP_OUTCOME})
            for entry in reversed([*ends]):
                if entry.kind is Kind.STEP_OUTCOME:
                    return "none"
                if isinstance(entry.body, StepIntent):
                    return entry.body.effect.value
        return "none"

    def decide(self) -> None:
        """Do what people do where the run asks them; now and then one of them is killed, too."""
        if self.summary().waits_on not in ("gate", "manual", "doubt"):
            return
        state = self.bench.state(self.run)
        if self.draw.random() < 0.15:
            point = self.draw.choice(POINTS[:4])
            if self._child(lambda: self._decide(state), point, 1, DECIDING):
                return
        with suppress(RefusedError):
            self._decide(self.bench.state(self.run))

    def _decide(self, state: RunState) -> None:
        if state.waits_on == "gate":
            if not any(vote.person == "alex" for vote in state.gates[state.waits_at].votes):
                self.bench.approve(self.run)
        elif state.waits_on == "manual":
            if not state.manuals[state.waits_at].attested:
                with self.bench.home() as home:
                    attest(home, self.run, ALEX, {})
        else:
            self._settle(state)

    def _settle(self, state: RunState) -> None:
        """Look at the world, as a person would, and say what is there."""
        happened = keys_of(lines(self.bench.world))
        for step, target in sorted({(key.step, key.target) for key in state.in_doubt()}):
            keys = [key for key in state.in_doubt() if (key.step, key.target) == (step, target)]
            self.tally.doubts += len(keys)
            self.asked[step, target] += 1
            if all(happened[idempotency_key(self.run, key)] for key in keys):
                word = "applied"
            else:
                # Some worlds never let the request arrive; nobody tries for ever.
                word = "not_applied" if self.asked[step, target] < 4 else "skip"
            with self.bench.home() as home:
                resolve(
                    home,
                    self.run,
                    RESPONDER,
                    step=step,
                    target=target,
                    resolution=word,  # type: ignore[arg-type]
                    reason="looked",
                )

    def _judge(self) -> list[str]:
        with self.bench.home() as home:
            entries = {entry.seq: entry for entry in home.store.entries()}
            mine = (entry for entry in entries.values() if entry.run == self.run)
            flaws = read(mine, locks=self.locks).against(keys_of(lines(self.bench.world)))
            lost = [s for s, leaf in self.acks.items() if s not in entries or entries[s].leaf() != leaf]
            flaws += [f"entry {seq} was acknowledged and is lost" for seq in lost]
            report = verify(home.store)
            flaws += map(str, report.flaws)
            if not home.store.rebuild():
                flaws.append("folding the log anew gives other bytes")
        status = self.bench.state(self.run).status
        if status not in TERMINAL:
            flaws.append(f"the run does not end: {status}")
        if self.silent:
            flaws.append("something was performed before its intent was acknowledged")
        return flaws

    def __str__(self) -> str:
        story = "\n  ".join([f"`python tests/builders/kills.py {self.seed}` plays it again", *self.told])
        return f"series {self.seed}: {story}"


def _heard(reader: int, child: int, moment: float | None) -> bytes:
    """Read what a child tells until it is dead; kill it at a moment, if one is given."""
    data, end = b"", time.monotonic() + PATIENCE_S
    while True:
        wait = (end if moment is None else moment) - time.monotonic()
        if not select.select([reader], [], [], max(wait, 0))[0]:
            os.kill(child, signal.SIGKILL)
            if moment is None:
                raise AssertionError("a worker hangs")
            moment = None
            continue
        piece = os.read(reader, 1 << 16)
        if not piece:
            return data
        data += piece


class Ending:
    """When a child dies, and what it tells before.

    Arguments:
        point: where; a name that no point has lets it live.
        number: at which time that it comes there.
        writer: of the pipe to the parent.
    """

    def __init__(self, point: str, number: int, writer: int) -> None:
        self._point, self._left, self._writer = point, number, writer
        self._begun: Counter[str] = Counter()

    def at(self, point: str) -> None:
        """Come to a point."""
        if point == self._point:
            self._left -= 1
            if self._left == 0:
                self.strike()

    def strike(self) -> None:
        """Die."""
        os.kill(os.getpid(), signal.SIGKILL)

    def acknowledged(self, entries: Sequence[LogEntry]) -> None:
        """Tell what has come back from the log."""
        os.write(self._writer, b"".join(ACK.pack(entry.seq, entry.leaf()) for entry in entries))
        self._begun.update(e.body.key for e in entries if isinstance(e.body, StepIntent))

    def performs(self, key: str) -> None:
        """Tell of an effect that nothing has announced."""
        self._begun[key] -= 1
        if self._begun[key] < 0:
            os.write(self._writer, SILENT)


def live(work: Callable[[], object], ending: Ending) -> None:
    """Be the child: work, and end with the process."""
    code = 9
    try:
        _around_appends(ending)
        _around_effects(ending)
        _around_lease(ending)
        work()
        code = 0
    except RefusedError:
        code = 0
    except BaseException:  # noqa: BLE001 - it is told, and the parent sees the code
        sys.excepthook(*sys.exc_info())
        sys.stderr.flush()
    finally:
        os._exit(code)


def _around_appends(ending: Ending) -> None:
    append, fold = SqliteStore.append, RunSummaries.apply
    write: Any = LogWriter._write

    def appended(
        self: SqliteStore, drafts: Sequence[Draft], *, guard: Guard | None = None
    ) -> tuple[LogEntry, ...]:
        ending.at("before an append")
        entries = append(self, drafts, guard=guard)
        ending.acknowledged(entries)
        ending.at("after an append")
        return entries

    def folded(self: RunSummaries, *given: Any) -> bytes:
        state = fold(self, *given)
        ending.at("in the middle of a fold")
        return state

    def written(self: LogWriter, batch: Any) -> None:
        write(self, batch)
        ending.at("rows written, not committed")

    SqliteStore.append = appended  # type: ignore[method-assign,assignment]  # in a child that ends with it
    RunSummaries.apply = folded  # type: ignore[method-assign,assignment]  # likewise
    LogWriter._write = written  # type: ignore[method-assign]  # likewise


def _around_effects(ending: Ending) -> None:
    perform, probe = World._perform, World._probe

    def performed(self: World, action: Any, call: Any) -> Any:
        if type(action).effect is not Effect.READ:
            ending.at("before an effect")
            ending.performs(call.key)
        try:
            return perform(self, action, call)
        finally:
            if type(action).effect is not Effect.READ:
                ending.at("after an effect")

    def probed(self: World, action: Any, call: Any) -> Any:
        ending.at("before a probe")
        found = probe(self, action, call)
        ending.at("after a probe")
        return found

    World._perform = performed  # type: ignore[method-assign]  # likewise
    World._probe = probed  # type: ignore[method-assign]  # likewise


def _around_lease(ending: Ending) -> None:
    take, release = FileLease._take, FileLease.release

    def taken(self: FileLease, at_least: int) -> int:
        file = take(self, at_least)
        ending.at("lease taken")
        return file

    def released(self: FileLease) -> None:
        release(self)
        ending.at("lease let go")

    FileLease._take = taken  # type: ignore[method-assign]  # likewise
    FileLease.release = released  # type: ignore[method-assign]  # likewise


def play(seeds: Sequence[int], folder: Path) -> Tally:
    """Play series, each in a folder of its own that is removed again.

    Raises:
        AssertionError: something is wrong; it says what, and how to play it again.
    """
    tally = Tally()
    _warm(folder)
    for seed in seeds:
        place = folder / f"series-{seed}"
        place.mkdir()
        series = Series(seed, place)
        flaws = series.play()
        assert not flaws, "\n".join([str(series), *flaws])
        tally += series.tally
        shutil.rmtree(place)
    return tally


def _warm(folder: Path) -> None:
    """Load here what every child would load for itself."""
    place = folder / "warm"
    place.mkdir()
    series = Series(0, place)
    series.bench.execute(series.run)
    shutil.rmtree(place)


def main() -> None:
    """Play one series, or several: FIRST [COUNT]."""
    first, count = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        tally = play(range(first, first + count), Path(folder))
    pace = tally.kills.total() / (time.monotonic() - begun)
    sys.stdout.write(f"{tally}\n{tally.kills.total()} kills, {pace:.1f} a second\n")


if __name__ == "__main__":
    main()
