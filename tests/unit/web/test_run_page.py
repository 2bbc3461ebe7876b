"""The page of a run: what it needs comes first, every step says where it stands on every host."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders.console import Browser, Element
from builders.plans import a_plan, action, at_risk, block, call, gate, manual, parallel, serial
from builders.runs import ALEX, RESPONDER, Bench
from builders.world import words

from mimrun.app.breakglass.glass import agree, ask_for
from mimrun.app.execution import execute_run
from mimrun.app.home import Home
from mimrun.app.runs import create_run, find_run, load_state
from mimrun.runbook.model import Risk
from mimrun.runbook.node import StepOptions

HOSTS = tuple(f"web{number}" for number in range(1, 61))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def going(bench: Bench, home: Home, person: str) -> Browser:
    """Give a browser at a server that executes runs before it answers."""
    return Browser(home, person, start=lambda _, run: execute_run(bench.settings, run, catalog=bench.catalog))


def step(page: Element, path: str) -> str:
    return page.one("li", id=f"step-{path}").text


def test_a_run_says_what_it_did_on_each_host(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, action("1", hosts=("a", "b")), hosts=("a", "b")))
    with bench.home() as home:
        page = Browser(home).get(f"/runs/{run}")
    assert "succeeded" in page.one("h1").text or "succeeded" in page.one(id="run-head").text
    assert "changed" in step(page, "1")
    assert page.all("a", class_="host")[0].text.startswith("Δ a changed")
    assert "2 changed" in page.one(id="board").text


def test_many_hosts_are_counted_and_those_that_need_a_look_are_named(bench: Bench) -> None:
    failing = action("1", hosts=HOSTS, options=StepOptions(ignore_errors=True))
    targets = tuple(
        target.model_copy(
            update={
                "calls": (target.calls[0].model_copy(update={"args": {"word": "x", "answer": "failed"}}),)
            }
        )
        if target.target == "web7"
        else target
        for target in failing.targets
    )
    run, _ = bench.run(a_plan(bench.world, failing.model_copy(update={"targets": targets}), hosts=HOSTS))
    with bench.home() as home:
        browser = Browser(home)
        page = browser.get(f"/runs/{run}")
        assert "59 changed" in step(page, "1")
        assert "1 failed" in step(page, "1")
        shown = [link.text for link in page.all("a", class_="host")]
        assert len(shown) == 1
        assert "web7 failed" in shown[0]
        assert "the world said no" in step(page, "1")
        everything = browser.get(f"/runs/{run}?open=1")
        assert len(everything.all("a", class_="host")) == 60
        one = browser.get(f"/runs/{run}?host=web12")
        assert [link.text.split()[1] for link in one.all("a", class_="host")] == ["web12"]


def test_blocks_batches_and_branches_show_how_they_belong_together(bench: Bench) -> None:
    plan = a_plan(
        bench.world,
        block("1", [action("1.block.1")], rescue=[action("1.rescue.1")], always=[action("1.always.1")]),
        serial("2", [("a",), ("b", "c")]),
        parallel("3", action("3.branch.1"), action("3.branch.2")),
        hosts=("a", "b", "c"),
    )
    run, _ = bench.run(plan)
    with bench.home() as home:
        page = Browser(home).get(f"/runs/{run}")
    board = page.one(id="board").text
    assert "rescue" in board
    assert "always" in board
    assert "batch 1 of 2, 1 host" in board
    assert "batch 2 of 2, 2 hosts" in board
    assert "not begun" in step(page, "1.rescue.1")
    assert "changed" in step(page, "3.branch.2")


def test_of_many_batches_the_quiet_ones_are_told_together(bench: Bench) -> None:
    hosts = HOSTS[:20]
    plan = a_plan(bench.world, serial("1", [(host,) for host in hosts]), gate("2"), hosts=hosts)
    run, _ = bench.run(plan)
    with bench.home() as home:
        browser = Browser(home)
        page = browser.get(f"/runs/{run}")
        assert "batches 1 to 20 of 20" in page.one(id="board").text
        assert len(browser.get(f"/runs/{run}?open=1").all("a", class_="host")) == 20


def test_a_host_that_failed_is_seen_though_its_batch_went_on(bench: Bench) -> None:
    hosts = HOSTS[:20]
    batches = serial("1", [hosts[:10], hosts[10:]]).batches
    no = action("1.batch.3.block.1", hosts=HOSTS[20:30], word="x", answer="failed")
    targets = (no.targets[0], *action("1.batch.3.block.1", hosts=HOSTS[21:30]).targets)
    third = block("1.batch.3", [no.model_copy(update={"targets": targets})])
    nodes = serial("1", ()).model_copy(update={"batches": (*batches, third), "max_failures": 5})
    run, verdict = bench.run(a_plan(bench.world, nodes, hosts=HOSTS[:30], failures=5))
    assert verdict.status == "succeeded"
    with bench.home() as home:
        browser = Browser(home)
        page = browser.get(f"/runs/{run}")
        folded = page.all("details", class_="part")
        assert ["batch 1 of 3" in fold.text or "batch 2 of 3" in fold.text for fold in folded] == [True, True]
        assert [fold.attributes["id"] for fold in folded] == ["in-1.batch.1", "in-1.batch.2"]
        assert "web21 failed" in page.one(id="board").text
        asked = browser.get(f"/runs/{run}?open=1.batch.2.block.1")
        assert len(asked.one("li", id="step-1.batch.2.block.1").all("a", class_="host")) == 10
        assert not asked.all("details", id="in-1.batch.2")


def test_of_many_batches_one_where_a_host_failed_is_not_among_the_quiet_ones(bench: Bench) -> None:
    hosts = HOSTS[:20]
    batches = list(serial("1", [(host,) for host in hosts]).batches)
    batches[6] = block(
        "1.batch.7", [action("1.batch.7.block.1", hosts=hosts[6:7], word="x", answer="failed")]
    )
    nodes = serial("1", ()).model_copy(update={"batches": tuple(batches), "max_failures": 5})
    run, _ = bench.run(a_plan(bench.world, nodes, hosts=hosts, failures=5))
    with bench.home() as home:
        board = Browser(home).get(f"/runs/{run}").one(id="board").text
    assert "batches 1 to 6 of 20" in board
    assert "batches 8 to 20 of 20" in board
    assert "web7 failed" in board


def test_a_run_that_waits_at_a_gate_says_so_first(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, gate("1"), action("2")))
    with bench.home() as home:
        page = Browser(home).get(f"/runs/{run}")
    needs = page.one(id="needs")
    assert "1 change_manager" in needs.text
    assert needs.one("a", class_="primary").attributes["href"] == f"/runs/{run}/gate"


def test_the_part_that_moves_comes_alone_and_brings_what_is_needed_only_where_it_changed(
    bench: Bench,
) -> None:
    run, _ = bench.run(a_plan(bench.world, gate("1"), action("2")))
    with bench.home() as home:
        browser = Browser(home)
        board = browser.get(f"/runs/{run}").one(id="board")
        headers = {"hx-request": "true"}
        same = browser.ask(board.attributes["hx-get"], headers=headers).text
        assert "<html" not in same
        assert 'id="run-head" hx-swap-oob="true"' in same
        assert 'id="needs"' not in same
        bench.approve(run)
        other = browser.ask(board.attributes["hx-get"], headers=headers).text
        assert 'id="needs"' in other
        assert "It goes on by itself in a moment" in browser.get(f"/runs/{run}").one(id="needs").text


def test_a_run_is_paused_and_let_go_on_by_forms(bench: Bench) -> None:
    run = bench.create(a_plan(bench.world, action("1")))
    with bench.home() as home:
        browser = going(bench, home, "responder")
        page = browser.get(f"/runs/{run}")
        assert "Nobody has begun it yet" in page.one(id="needs").text
        page = browser.press(page, "Begin")
        assert "succeeded" in page.one(id="run-head").text
    assert words(bench.world) == ["a:w1"]


def test_a_waiting_run_is_cancelled_with_a_reason(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, gate("1"), action("2")))
    with bench.home() as home:
        browser = going(bench, home, "responder")
        page = browser.press(browser.get(f"/runs/{run}"), "Cancel it", reason="wrong cluster")
        assert "cancelled" in page.one(id="run-head").text
        summary = find_run(home, run).summary
    assert (summary.status.value, summary.stop_reason) == ("cancelled", "wrong cluster")
    assert words(bench.world) == []


def test_what_is_in_doubt_is_settled_by_a_form_with_reason_and_evidence(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, action("1", word="x", answer="lost"), action("2")))
    with bench.home() as home:
        browser = going(bench, home, "responder")
        page = browser.get(f"/runs/{run}")
        doubts = page.one(id="doubts")
        assert "the answer was lost" in doubts.text
        assert "It happened: go on behind it" in doubts.text
        said = {"resolution": "applied", "reason": "saw it in the journal", "evidence": "line 7"}
        page = browser.press(page, "Settle it", **said)
        assert "succeeded" in page.one(id="run-head").text
        kinds = [entry for entry in home.store.entries(run=run) if entry.kind.value == "step.resolved"]
        assert home.store.blob(kinds[0], "evidence") == b"line 7"
        assert kinds[0].actor.via == "web"


def test_a_run_whose_doubts_are_settled_is_not_called_abandoned(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, action("1", word="x", answer="lost"), action("2")))
    with bench.home() as home:
        browser = Browser(home, "responder")
        said = {"resolution": "applied", "reason": "the file is there"}
        needs = browser.press(browser.get(f"/runs/{run}"), "Settle it", **said).one(id="needs").text
    assert "It can go on" in needs
    assert "Nothing is in doubt any more. It goes on by itself in a moment" in needs
    assert "Nobody executes it" not in needs


def test_at_high_risk_two_people_settle_a_doubt(bench: Bench) -> None:
    plan = at_risk(a_plan(bench.world, action("1", word="x", answer="lost")), Risk.HIGH)
    run, _ = bench.run(plan)
    with bench.home() as home:
        first, second = going(bench, home, "responder"), going(bench, home, "alex")
        said = {"resolution": "applied", "reason": "saw it"}
        page = first.press(first.get(f"/runs/{run}"), "Settle it", **said)
        assert "responder said applied: saw it" in page.one(id="doubts").text
        first.press(page, "Settle it", 403, **said)
        page = second.press(second.get(f"/runs/{run}"), "Settle it", **said)
        assert "succeeded" in page.one(id="run-head").text


def test_what_was_done_for_a_time_only_says_what_to_type_so_that_it_stays(bench: Bench) -> None:
    for_an_hour = StepOptions(delay_ms=1, revert_after_ms=3_600_000)
    back = call("once", word="old")
    step_1 = action("1", hosts=("a", "b"), undo=back, options=for_an_hour)
    run, _ = bench.run(a_plan(bench.world, step_1, hosts=("a", "b")))
    with bench.home() as home:
        about = Browser(home).get(f"/runs/{run}").one(id="run-about")
    assert "Step 1 on a, b: taken back by itself" in about.text
    assert (
        about.one("code", class_="command").text == f'mimrun reverts cancel {run} 1 --reason "why it stays"'
    )
    assert about.one("a", href=f"/runs/{run}/undo?step=1").text.startswith("Take it back now")


def test_whoever_agrees_that_a_run_goes_past_its_gates_reads_what_to_type(bench: Bench) -> None:
    with bench.home() as home:
        plan = a_plan(bench.world, gate("1"))
        run = create_run(home, plan, RESPONDER, more=ask_for(home, plan, RESPONDER, "nobody answers"))
        page = Browser(home).get(f"/runs/{run}")
        needs = page.one(id="needs")
        assert needs.one("code", class_="command").text == f"mimrun breakglass agree {run}"
        assert page.one("main").text.count("nobody answers") == 1
        agree(home, run, ALEX)
        assert "Break-glass by responder" in Browser(home).get(f"/runs/{run}").one(id="needs").text


def test_a_note_on_a_run_stands_beside_it(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, action("1")))
    with bench.home() as home:
        browser = Browser(home)
        page = browser.press(browser.get(f"/runs/{run}"), "Note it", text="the portal is slow\nsince 3")
        assert "the portal is slow" in page.one(id="notes").text


def test_an_auditor_sees_everything_and_no_button_and_is_refused_when_posting_anyway(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, action("1", word="x", answer="lost"), manual("2")))
    people = bench.settings.people.read_text()
    bench.settings.people.write_text(people + "  ada: {roles: [auditor]}\n")
    with bench.home() as home:
        browser = Browser(home, "ada")
        page = browser.get(f"/runs/{run}")
        assert "the answer was lost" in page.one(id="doubts").text
        pressed = {form.attributes["action"] for form in page.all("form", method="post")}
        assert not any(f"/runs/{run}" in one for one in pressed), pressed
        for act in ("pause", "cancel", "abort", "resume", "resolve", "note", "manual/claim"):
            answer = browser.send(f"/runs/{run}/{act}", reason="x", text="x", resolution="applied", step="1")
            assert answer.status_code == 403, (act, answer.status_code)
        before = load_state(home, run).seq
    assert find_seq(bench, run) == before


def find_seq(bench: Bench, run: str) -> int:
    return bench.state(run).seq


def test_a_form_without_its_key_does_nothing(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, gate("1")))
    with bench.home() as home:
        browser = Browser(home, "responder")
        browser.form_key = "0" * 64
        assert browser.send(f"/runs/{run}/cancel").status_code == 403
    assert bench.state(run).status.value == "waiting"


def test_the_page_of_a_cell_has_arguments_output_and_answer(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, action("1")))
    with bench.home() as home:
        browser = Browser(home)
        link = browser.get(f"/runs/{run}").all("a", class_="host")[0].attributes["href"]
        text = browser.get(link).text
    assert "world.once" in text
    assert "word: w1" in text
    assert "marked w1" in text


def test_a_step_that_is_not_there_is_said(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, action("1")))
    with bench.home() as home:
        assert "no step '9'" in Browser(home).get(f"/runs/{run}/cell?step=9&target=a", 400).text
        assert "no run" in Browser(home).get("/runs/run-none", 400).text
