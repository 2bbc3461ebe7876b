from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.pulse import Health
from flows.steps import Once, Shown, View


@dataclass(frozen=True)
class Label:
    path: str
    name: str


class Broken(BaseException):
    """Something of Prefect's that is not even an Exception, as its own signals are not."""


class Step:
    def __init__(self, failure: Exception | None = None) -> None:
        self.done = 0
        self.failure = failure

    def __call__(self) -> None:
        self.done += 1
        if self.failure is not None:
            raise self.failure


UP = Health(up=True)


def shown(
    show: Callable[[str, Once], None], notes: list[str], health: Callable[[], Health] = lambda: UP
) -> Shown:
    return Shown(View(show, health, notes.append))


def well(title: str, step: Once) -> None:
    step()


def hushes(title: str, step: Once) -> None:
    with contextlib.suppress(Exception):
        step()


def breaks_before(title: str, step: Once) -> None:
    raise Broken("no")


def breaks_after(title: str, step: Once) -> None:
    hushes(title, step)
    raise ConnectionError("gone")


def forgets(title: str, step: Once) -> None:
    return


def twice(title: str, step: Once) -> None:
    hushes(title, step)
    step()


@given(
    shows=st.lists(st.sampled_from([well, hushes, breaks_before, breaks_after, forgets, twice]), min_size=1),
    fails=st.lists(st.booleans(), min_size=10, max_size=10),
)
def test_a_step_is_done_once_and_its_own_failure_passes_whatever_prefect_does(
    shows: list[Callable[[str, Once], None]], fails: list[bool]
) -> None:
    queue = list(shows)
    around = shown(lambda title, step: queue.pop(0)(title, step) if queue else well(title, step), [])
    for number, fail in enumerate(fails):
        step = Step(ValueError("its own") if fail else None)
        if fail:
            with pytest.raises(ValueError, match="its own"):
                around(Label(str(number), "Do"), step)
        else:
            around(Label(str(number), "Do"), step)
        assert step.done == 1


def test_after_prefect_failed_before_a_step_the_run_goes_on_directly_and_says_so_once() -> None:
    notes: list[str] = []
    asked: list[str] = []

    def show(title: str, step: Once) -> None:
        asked.append(title)
        raise Broken

    around = shown(show, notes)
    for path in ("1", "2", "3"):
        around(Label(path, "Do"), Step())
    assert asked == ["1 Do"]
    assert notes == ["prefect failed at step 1: Broken"]


def test_a_failure_after_the_step_is_no_reason_to_stop_showing() -> None:
    notes: list[str] = []
    around = shown(breaks_after, notes)
    around(Label("1", "Do"), Step())
    assert notes == []
    assert around.lost == ""


def test_a_lost_api_is_noted_right_after_the_step_in_which_it_was_lost() -> None:
    notes: list[str] = []
    health = [UP]
    around = shown(well, notes, lambda: health[0])

    def lose() -> None:
        assert notes == []
        health[0] = Health(up=False, losses=1, reason="gone")

    around(Label("1", "Do"), lose)
    assert notes == ["gone"]


def test_an_api_that_was_away_and_came_back_within_a_step_has_lost_the_picture() -> None:
    notes: list[str] = []
    health = [UP]
    around = shown(well, notes, lambda: health[0])
    around(Label("1", "Do"), lambda: health.__setitem__(0, Health(up=True, losses=1, reason="was away")))
    assert notes == ["was away"]


def test_the_end_of_the_process_is_not_held_up() -> None:
    def interrupted(title: str, step: Once) -> None:
        raise KeyboardInterrupt

    step = Step()
    with pytest.raises(KeyboardInterrupt):
        shown(interrupted, [])(Label("1", "Do"), step)
    assert step.done == 0


def test_branches_that_lose_prefect_at_once_note_it_once() -> None:
    notes: list[str] = []
    together = threading.Barrier(8)

    def breaks(title: str, step: Once) -> None:
        together.wait(20)
        raise Broken("no")

    steps = shown(breaks, notes)
    done = [Step() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: steps(Label(f"1.branch.{n}", "A"), done[n]), range(8)))
    assert [step.done for step in done] == [1] * 8
    assert len(notes) == 1
