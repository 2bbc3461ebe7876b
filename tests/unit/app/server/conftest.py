"""A home with some people, a server's passwords that are cheap to compare, and a clock that tests turn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from builders.runs import Bench

from mimrun.app.home import Home
from mimrun.app.server.guesses import Guesses
from mimrun.app.server.passwords import Passwords

PEOPLE = """\
people:
  responder: {roles: [responder]}
  alex: {roles: [change_manager, service_desk]}
  admin: {roles: [administrator]}
  left: {roles: [responder], active: false}
"""


class Clock:
    """A clock that stands until it is turned."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)
        self.seconds = 0.0

    def __call__(self) -> datetime:
        return self.now

    def monotonic(self) -> float:
        return self.seconds

    def turn(self, **by: float) -> None:
        """Let time pass."""
        self.now += timedelta(**by)
        self.seconds += timedelta(**by).total_seconds()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def home(tmp_path: Path, clock: Clock) -> Iterator[Home]:
    bench = Bench(tmp_path)
    bench.settings.people.write_text(PEOPLE)
    with bench.home() as home:
        yield replace(home, clock=clock)


@pytest.fixture
def passwords(clock: Clock) -> Passwords:
    return Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1), Guesses(clock.monotonic))
