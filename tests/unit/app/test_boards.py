"""Boards are kept up to date, by many who look at once, and show nothing that was erased."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from builders.console import Browser
from builders.plans import a_plan, action, gate
from builders.runs import ALEX, BILLIE, Bench

from mimrun.app.boards import board_of, known_of
from mimrun.app.redacting import redact_entry
from mimrun.app.runs import load_state
from mimrun.run.record.state import CellKey

HOSTS = tuple(f"h{number}" for number in range(40))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_board_is_what_the_log_folds_to(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, action("1", hosts=HOSTS), gate("2"), hosts=HOSTS))
    with bench.home() as home:
        with board_of(home, run) as board:
            assert board.state == load_state(home, run)
            assert board.cells[CellKey("1", "h7")].began is not None
            assert len(board.entries["1", "h7"]) == 2
        bench.approve(run)
        with board_of(home, run) as again:
            assert again is board
            assert again.state == load_state(home, run)


def test_what_gates_need_to_know_does_not_move_with_the_run(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, gate("1"), action("2")))
    with bench.home() as home:
        known = known_of(home, run)
        bench.approve(run)
        with board_of(home, run) as board:
            assert len(board.state.gates["1"].votes) == 1
        assert known.state.gates["1"].votes == []
        assert known.plan.digest == board.state.plan


def test_many_look_while_the_run_goes_on(bench: Bench) -> None:
    steps = [action(str(number), hosts=HOSTS) for number in range(1, 5)]
    run = bench.create(a_plan(bench.world, *steps, hosts=HOSTS))
    worker = threading.Thread(target=lambda: bench.execute(run))
    wrong: list[str] = []
    with bench.home() as home:
        end = time.monotonic() + 60

        def look() -> None:
            browser = Browser(home)
            while time.monotonic() < end:
                answer = browser.ask(f"/runs/{run}/board", headers={"hx-request": "true"})
                if answer.status_code != 200:
                    wrong.append(answer.text[:500])
                    return
                if "succeeded" in answer.text:
                    return
            wrong.append("it never ended")

        lookers = [threading.Thread(target=look) for _ in range(4)]
        for thread in (worker, *lookers):
            thread.start()
        for thread in (worker, *lookers):
            thread.join()
        with board_of(home, run) as board:
            assert board.state == load_state(home, run)
    assert not wrong, wrong[0]


def test_a_plan_that_was_erased_is_not_shown_from_memory(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, action("1", word="private")))
    with bench.home() as home:
        browser = Browser(home)
        with board_of(home, run) as board:
            assert board.plan is not None
        seq = next(entry.seq for entry in home.store.entries(run=run) if entry.kind.value == "plan.frozen")
        redact_entry(home, ALEX, seq, "it names a customer", ["plan"])
        redact_entry(home, BILLIE, seq, "so it does", ["plan"])
        page = browser.get(f"/runs/{run}")
        assert "The plan cannot be shown" in page.text
        with board_of(home, run) as board:
            assert board.plan is None
        assert "succeeded" in page.one(id="run-head").text
        browser.get(f"/runs/{run}/replay")
