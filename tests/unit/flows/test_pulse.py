from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from flows.pulse import Pulse


class Line:
    """An API that is there or not."""

    def __init__(self) -> None:
        self.there = True

    def __call__(self) -> bool:
        return self.there


@pytest.fixture
def line() -> Line:
    return Line()


@pytest.fixture
def pulse(line: Line) -> Iterator[Pulse]:
    pulse = Pulse(line, lambda: True)
    pulse.start()
    yield pulse
    pulse.stop()


def test_it_is_up_when_it_answers(pulse: Pulse) -> None:
    assert pulse.wait_up(5)
    assert pulse.health.losses == 0


def test_a_loss_counts_once_until_it_is_up_again(pulse: Pulse, line: Line) -> None:
    assert pulse.wait_up(5)
    line.there = False
    pulse.lost("told")
    assert pulse.health.losses == 1
    assert not pulse.health.up
    assert pulse.health.reason == "told"
    pulse.lost("told again")
    assert pulse.health.losses == 1, "what is lost is not lost again"
    line.there = True
    assert pulse.wait_up(5)
    assert pulse.health.losses == 1


def test_silence_is_noticed_without_being_told(line: Line) -> None:
    pulse = Pulse(line, lambda: True)
    pulse.start()
    try:
        assert pulse.wait_up(5)
        line.there = False
        end = time.monotonic() + 10
        while pulse.health.up:
            assert time.monotonic() < end
            time.sleep(0.01)
        assert "does not answer" in pulse.health.reason
    finally:
        pulse.stop()
