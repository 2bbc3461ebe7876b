"""Leases that end, played on made-up clocks: nobody takes one while its holder may still begin something."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimrun.log.holder import Process, boot, started_at, this_process
from mimrun.log.tenure import LeaseTimes, Row, Tenure

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
TIMES = LeaseTimes()
SLACK = TIMES.fence_s + TIMES.grace_s


@dataclass
class Played:
    """One holder, one database and one who wants to take over, each with a clock of its own."""

    draw: Random
    true: float = 0.0
    database_jump: float = 0.0
    expires_at: datetime = BEGINNING
    written: float = 0.0
    taken: float | None = None
    last_held: float = 0.0
    on_the_way: list[tuple[float, float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rate = 1 + self.draw.uniform(-1e-4, 1e-4)
        self.boot = self.draw.uniform(0, 1e6)
        self.tenure = Tenure(TIMES, lambda: self.boot + self.true * self.rate)

    def now(self) -> datetime:
        """The database's clock."""
        return BEGINNING + timedelta(seconds=self.true + self.database_jump)

    def send(self) -> None:
        """A renewal, which takes as long as it takes to get there, and back."""
        there, back = (self.draw.choice((0.01, 0.5, 3, 20, 1e9)) for _ in range(2))
        sent = self.boot + self.true * self.rate
        self.on_the_way.append((self.true + there, self.true + there + back, sent))

    def pass_time(self, until: float) -> None:
        """Let renewals arrive, and their answers, in the order of their moments."""
        while self.on_the_way and (next_ := min(min(w[0], w[1]) for w in self.on_the_way)) <= until:
            self.true = max(self.true, next_)
            for way in [*self.on_the_way]:
                arrives, answered, sent = way
                if arrives == next_:
                    self.on_the_way.remove(way)
                    if self.taken is None:
                        self.expires_at = max(self.expires_at, self.now() + timedelta(seconds=TIMES.ttl_s))
                        self.written = self.true
                        self.on_the_way.append((float("inf"), answered, sent))
                elif answered == next_:
                    self.on_the_way.remove(way)
                    self.tenure.renewed(sent)
        self.true = until

    def look(self) -> None:
        """The holder looks whether it may begin something; the other whether it may take over."""
        if self.tenure.held():
            assert self.taken is None, f"taken at {self.taken}, and begun something at {self.true}"
            self.last_held = self.true
        if self.taken is None and Row(True, self.expires_at, gone=False).is_free(self.now(), TIMES):
            self.taken = self.true
            assert not self.tenure.held(), f"taken at {self.true} from one who may still begin something"


def play(seed: int, *, jumps: float) -> Played:
    game = Played(draw := Random(seed))
    game.send()
    beat = 0.0
    for _ in range(draw.randint(5, 120)):
        # Now and then nothing happens for long: frozen, suspended, or starved.
        step = draw.choice((0.1, 0.5, 1, 1, 2, 12, 40))
        game.pass_time(game.true + step)
        if jumps and draw.random() < 0.1:
            game.database_jump = draw.uniform(-jumps, jumps)
        if game.true >= beat and game.tenure.held():
            game.send()
            beat = game.true + TIMES.beat_s
        game.look()
    return game


@pytest.mark.parametrize("jumps", [0.0, SLACK / 2 - 0.2], ids=["clocks-that-run", "clocks-that-jump"])
def test_of_many_games_none_has_an_early_takeover_or_a_late_fence(jumps: float) -> None:
    games = [play(seed, jumps=jumps) for seed in range(4000)]
    assert sum(game.taken is not None for game in games) > 1000
    assert sum(game.taken is None for game in games) > 30


def test_a_database_whose_clock_jumps_farther_than_the_slack_is_caught_by_the_games() -> None:
    with pytest.raises(AssertionError, match="taken at"):
        assert [play(seed, jumps=SLACK * 3) for seed in range(4000)] == []


def test_a_takeover_comes_within_the_time_that_is_promised() -> None:
    row = Row(True, BEGINNING + timedelta(seconds=TIMES.ttl_s), gone=False)
    moments = [s for s in range(60) if row.is_free(BEGINNING + timedelta(seconds=s), TIMES)]
    assert moments[0] == 35
    assert moments[0] + 1 <= 45  # a worker looks every second


@given(st.lists(st.floats(0, 100), min_size=1, max_size=20))
def test_what_is_over_never_begins_again(moments: list[float]) -> None:
    now = 0.0
    tenure = Tenure(TIMES, lambda: now)
    assert not tenure.held()
    tenure = Tenure(TIMES, lambda: now)
    tenure.renewed(0.0)
    seen = []
    for step in moments:
        now += step
        seen.append(tenure.held())
        if now < 24 or not seen[-1]:
            tenure.renewed(now)
    assert seen == sorted(seen, reverse=True)


@pytest.mark.parametrize(
    ("held", "gone", "late", "free"),
    [
        (False, False, -10.0, True),
        (True, True, -10.0, True),
        (True, False, 0.0, False),
        (True, False, 4.9, False),
        (True, False, 5.0, True),
    ],
)
def test_a_lease_is_free_when_let_go_of_or_its_holder_gone_or_long_over(
    held: bool, gone: bool, late: float, free: bool
) -> None:
    now = BEGINNING + timedelta(seconds=late)
    assert Row(held, BEGINNING, gone).is_free(now, TIMES) is free


def test_of_what_is_not_in_this_boot_nobody_says_that_it_is_gone() -> None:
    me = this_process()
    assert not me.is_gone(boot())
    assert Process(me.pid, me.started - 1, me.boot).is_gone(boot())  # the number is another's by now
    assert not Process(me.pid, me.started - 1, "another boot").is_gone(boot())
    assert not Process(me.pid, 0, me.boot).is_gone(boot())  # it could not tell when it began
    assert started_at(2**22 + 7) == 0
    assert "/pid:[" in boot()
