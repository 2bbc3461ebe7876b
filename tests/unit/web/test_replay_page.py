"""A run told again in the console: any moment of it, with the board as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders.console import Browser
from builders.plans import a_plan, action, gate
from builders.runs import RESPONDER, Bench
from builders.shelf import Shelf

from mimrun.app.execution import execute_run
from mimrun.app.plans import prepare_plan
from mimrun.app.replaying import narrate
from mimrun.app.runs import create_run

HOSTS = tuple(f"web{number}" for number in range(1, 13))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def over(bench: Bench) -> str:
    """Give a run that is over."""
    plan = a_plan(bench.world, action("1", hosts=HOSTS), gate("2"), action("3"), hosts=(*HOSTS, "a"))
    run, _ = bench.run(plan)
    bench.approve(run)
    bench.execute(run)
    return run


def test_every_moment_can_be_looked_at_without_a_script(bench: Bench) -> None:
    run = over(bench)
    with bench.home() as home:
        browser, told = Browser(home), narrate(home, run)
        end = browser.get(f"/runs/{run}/replay")
        board = end.one(id="replay-board")
        assert "12 changed" in board.text
        assert end.one(class_="said-now").text == told.frames[-1].text
        begin = browser.get(f"/runs/{run}/replay?at=0")
        assert "changed" not in begin.one(id="replay-board").text
        assert begin.one(class_="said-now").text == told.frames[0].text
        middle = next(number for number, frame in enumerate(told.frames) if "web7" in (frame.target,))
        page = browser.get(f"/runs/{run}/replay?at={middle}")
        assert page.one(id=f"m{middle}").attributes["aria-current"] == "true"
        links = {one.attributes["href"] for one in page.one(id="scrubber").all("a", class_="button")}
        assert links == {f"/runs/{run}/replay?at={middle - 1}", f"/runs/{run}/replay?at={middle + 1}"}


def test_the_moments_for_the_scrubber_are_those_of_the_log(bench: Bench) -> None:
    run = over(bench)
    with bench.home() as home:
        browser, told = Browser(home), narrate(home, run)
        first = browser.ask(f"/runs/{run}/replay/frames", headers={"accept": "application/json"}).json()
        rest = browser.ask(
            f"/runs/{run}/replay/frames?after=10", headers={"accept": "application/json"}
        ).json()
    assert first["count"] == len(told.frames) == len(first["frames"])
    assert first["hosts"]["1"] == 12
    assert first["words"]["changed"][2] == "changed"
    assert rest["frames"] == first["frames"][10:]
    assert "words" not in rest
    board: dict[str, dict[str, str]] = {}
    for frame in first["frames"]:
        for step, target, word in frame[6]:
            board.setdefault(step, {})[target] = word
    assert board == told.board_at(len(told.frames) - 1)


@pytest.mark.parametrize("at", [10**6, 2**31])
def test_a_moment_that_never_was_is_the_last_one(bench: Bench, at: int) -> None:
    run = over(bench)
    with bench.home() as home:
        page = Browser(home).get(f"/runs/{run}/replay?at={at}")
    assert "succeeded" in page.one("main").text


def test_a_run_that_goes_on_is_told_as_far_as_it_is(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, gate("1"), action("2")))
    with bench.home() as home:
        browser = Browser(home)
        before = browser.get(f"/runs/{run}/replay").one(id="scrubber").attributes["data-count"]
        bench.approve(run)
        after = browser.get(f"/runs/{run}/replay").one(id="scrubber").attributes["data-count"]
    assert int(after) > int(before)


def test_todays_code_decides_again_over_the_recorded_answers(bench: Bench) -> None:
    run = over(bench)
    with bench.home() as home:
        browser = Browser(home)
        before = home.store.head().size
        page = browser.get(f"/runs/{run}/replay/redecide")
        assert home.store.head().size == before
    assert "It would come to the same today" in page.text


def test_another_version_of_the_runbook_is_tried_on_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = Shelf(tmp_path, monkeypatch)
    with shelf.home() as home:
        plan = prepare_plan(home, "leave-a-note", ["word=a"], [])
        run = create_run(home, plan, RESPONDER)
    execute_run(shelf.settings, run, catalog=shelf.catalog)
    shelf.put("1.1.0")
    path = shelf.library / "containment" / "leave-a-note.yaml"
    more = "  - name: It is read again\n    local.command: {argv: [cat, x], changed: false}\n"
    path.write_text(path.read_text() + more)
    with shelf.home() as home:
        browser = Browser(home)
        page = browser.get(f"/runs/{run}/replay")
        assert [one.text for one in page.one("select", name="version").all("option")] == ["1.1.0"]
        page = browser.get(f"/runs/{run}/replay/against?version=1.1.0")
        assert "It is read again" in page.text
        assert "added" in page.text
        assert browser.ask(f"/runs/{run}/replay/against?version=../x").status_code == 400
        assert browser.ask(f"/runs/{run}/replay/against?version=9.9.9").status_code == 400
    assert shelf.written() == ["a 1"]


def test_what_is_said_of_many_hosts_alike_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = Shelf(tmp_path, monkeypatch)
    shelf.inventory.write_text("".join(f"web{number:02} ansible_connection=local\n" for number in range(20)))
    shelf.put(hosts="all")
    with shelf.home() as home:
        run = create_run(home, prepare_plan(home, "leave-a-note", ["word=a"], []), RESPONDER)
    execute_run(shelf.settings, run, catalog=shelf.catalog)
    shelf.put("1.1.0", hosts="all")
    path = shelf.library / "containment" / "leave-a-note.yaml"
    first = "steps:\n  - name: It is looked at\n    local.command: {argv: [cat, x], changed: false}\n"
    path.write_text(path.read_text().replace("steps:\n", first))
    with shelf.home() as home:
        browser = Browser(home)
        page = browser.get(f"/runs/{run}/replay/against?version=1.1.0")
        words = browser.ask(f"/runs/{run}/replay/frames").json()["words"]
    said = [step.text for step in page.one("main").all("li", class_="step")]
    (unknown,) = [one for one in said if "nobody knows what comes of it" in one]
    assert "on web00, web01" in unknown
    assert "web11 and 8 more" in unknown
    (left,) = [one for one in said if "The note is written" in one]
    assert "not reached" in left
    assert "is not any more" not in page.text
    assert words["succeeded"][0] == "good"
