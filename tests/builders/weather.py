"""What goes wrong in a simulated schedule: how much of each trouble, and what can come of an attempt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from mimrun.connector import Failed, LostAnswer, Ok, Outcome, Refused, Unreachable


@dataclass(slots=True)
class Weather:
    """How much of each trouble a schedule has; drawn once, so that schedules differ in kind.

    Arguments:
        intents: how likely a worker dies right after an intent.
    """

    world: float
    kills: float
    disk: float
    people: float
    freezes: float
    driver: float
    intents: float = 0.0


CLEAR = Weather(0, 0, 0, 0, 0, 0)

HARMLESS = ("killed", "disk", "database", "driver repeats", "lost before")
"""Faults, by how their names begin, that no run may fail for."""


def _raise(error: Exception) -> Outcome:
    raise error


ANSWERS: tuple[tuple[str, float, bool, Callable[[], Any]], ...] = (
    ("lost before", 0.06, False, lambda: _raise(LostAnswer("reset before anything happened"))),
    ("lost after", 0.06, True, lambda: _raise(LostAnswer("reset after it happened"))),
    ("late", 0.04, False, lambda: _raise(LostAnswer("no answer in time"))),
    ("unreachable", 0.04, False, lambda: _raise(Unreachable("nobody answers"))),
    ("refused", 0.03, False, lambda: _raise(Refused("no"))),
    ("failed clean", 0.02, False, lambda: Failed("it said no at once", clean=True)),
    ("failed dirty", 0.02, False, lambda: Failed("it broke", clean=False)),
    ("failed half-way", 0.03, True, lambda: Failed("it broke in the middle", clean=False)),
    ("bug before", 0.01, False, lambda: _raise(RuntimeError("a bug"))),
    ("bug after", 0.02, True, lambda: _raise(RuntimeError("a bug"))),
    ("rubbish", 0.01, True, lambda: "done"),
    ("slow", 0.02, True, lambda: Ok(changed=True, data={"word": "x"})),
)
"""What can come of an attempt: how likely, whether it has its effect, and the answer."""


def draw_weather(draw: Random) -> Weather:
    """Draw how much goes wrong in a schedule, so that schedules differ in kind."""
    if draw.random() < 0.1:
        # Nothing but deaths between intent and act, one upon the other: nothing that a run may fail for.
        return Weather(0, 0, 0, 0, 0, 0, intents=0.6)
    return Weather(
        world=draw.choice((0, 0.5, 1, 2)),
        kills=draw.choice((0, 1, 1, 2, 8)) if draw.random() < 0.3 else draw.choice((0, 1)),
        disk=draw.choice((0, 0, 1)),
        people=draw.choice((0, 0, 1, 2)),
        freezes=draw.choice((0, 0, 0, 1, 3)),
        driver=draw.choice((0, 0, 1)),
    )
