from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from flows.watch import Watch


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
def watch(line: Line) -> Iterator[Watch]:
    watch = Watch(line, lambda: True)
    watch.start()
    yield watch
    watch.stop()


def test_it_is_up_when_it_answers(watch: Watch) -> None:
    assert watch.wait_up(5)
    assert watch.health.losses == 0


def test_a_loss_counts_once_until_it_is_up_again(watch: Watch, line: Line) -> None:
    assert watch.wait_up(5)
    line.there = False
    watch.lost("told")
    assert watch.health.losses == 1
    assert not watch.health.up
    assert watch.health.reason == "told"
    watch.lost("told again")
    assert watch.health.losses == 1, "what is lost is not lost again"
    line.there = True
    assert watch.wait_up(5)
    assert watch.health.losses == 1


def test_silence_is_noticed_without_being_told(line: Line) -> None:
    watch = Watch(line, lambda: True)
    watch.start()
    try:
        assert watch.wait_up(5)
        line.there = False
        end = time.monotonic() + 10
        while watch.health.up:
            assert time.monotonic() < end
            time.sleep(0.01)
        assert "does not answer" in watch.health.reason
    finally:
        watch.stop()
