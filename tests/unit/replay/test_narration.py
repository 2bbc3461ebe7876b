from __future__ import annotations

import json

from builders.plans import a_plan, action, gate, manual
from builders.runs import ALEX, Bench

from mimrun.app.decisions import attest, request_cancel
from mimrun.app.replaying import narrate
from mimrun.replay.board import board_of
from mimrun.replay.narration import Narration
from mimrun.run.record.state import CellKey


def told(bench: Bench, run: str) -> Narration:
    with bench.home() as home:
        return narrate(home, run)


def text_of(narration: Narration, kind: str) -> str:
    return next(frame.text for frame in narration.frames if frame.kind == kind)


def test_every_entry_of_a_run_is_a_frame_with_the_moment_at_which_it_was(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, action("1"), action("2")))
    narration = told(bench, run)
    assert [frame.kind for frame in narration.frames] == bench.kinds(run)
    offsets = [frame.offset_ms for frame in narration.frames]
    assert offsets[0] == 0
    assert offsets == sorted(offsets)
    assert narration.length_ms == offsets[-1]
    assert narration.status == narration.frames[-1].status == "succeeded"
    assert narration.recap["changed"] == 2


def test_the_end_of_a_run_is_told_in_words_of_its_own(bench: Bench) -> None:
    ends = {}
    for answer, word in (("ok", "a"), ("failed", "b")):
        run, _ = bench.run(a_plan(bench.world, action("1", word=word, answer=answer)))
        ends[answer] = text_of(told(bench, run), "run.ended")
    assert ends["ok"] == "it has succeeded"
    assert ends["failed"].startswith("it has failed")
    run = bench.create(a_plan(bench.world, action("1", word="c")))
    with bench.home() as home:
        request_cancel(home, run, ALEX, "enough")
    bench.execute(run)
    assert text_of(told(bench, run), "run.ended").startswith("it was cancelled: enough")


def test_the_board_of_each_moment_is_put_together_from_what_changed(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, action("1", hosts=("a", "b")), action("2"), hosts=("a", "b")))
    narration = told(bench, run)
    assert [row.path for row in narration.rows] == ["1", "2"]
    assert narration.rows[0].targets == ("a", "b")
    assert narration.board_at(-1) == {}
    last = narration.board_at(len(narration.frames) - 1)
    assert last == {"1": {"": "ok", "a": "changed", "b": "changed"}, "2": {"": "ok", "a": "changed"}}
    seen = [narration.board_at(n).get("2", {}).get("a", "ready") for n in range(len(narration.frames))]
    assert [word for word, before in zip(seen, [None, *seen], strict=False) if word != before] == [
        "ready",
        "running",
        "changed",
    ]


def test_a_stretch_of_frames_comes_with_the_board_that_it_begins_with(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, action("1"), action("2")))
    narration = told(bench, run)
    whole, rest = narration.as_json(), narration.as_json(after=8, limit=3)
    assert json.loads(json.dumps(rest)) == rest
    assert rest["frames"] == whole["frames"][8:11]  # type: ignore[index]
    assert rest["board"] == narration.board_at(7)
    assert rest["count"] == len(narration.frames)
    changes = [change for frame in narration.frames[8:11] for change in frame.changes]
    assert board_of(changes, narration.board_at(7)) == narration.board_at(10)


def test_of_the_items_of_a_loop_the_gravest_counts(bench: Bench) -> None:
    step = action("1", loop=["ok", "failed"], late=["item"], word="w", answer="{{ item }}")
    run, _ = bench.run(a_plan(bench.world, step))
    narration = told(bench, run)
    assert narration.board_at(len(narration.frames) - 1)["1"]["a"] == "failed"
    assert "item 2" in [f for f in narration.frames if f.kind == "step.outcome"][-1].text


def test_waits_say_for_whom_and_decisions_who_took_them_and_after_how_long(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, gate("1"), manual("2"), action("3")))
    bench.approve(run)
    bench.execute(run)
    with bench.home() as home:
        attest(home, run, ALEX, {})
    bench.execute(run)
    narration = told(bench, run)
    assert text_of(narration, "gate.requested").startswith("gate 'Gate 1' asks 1 change_manager")
    assert text_of(narration, "gate.decided") == "alex agrees at 'Gate 1' as change_manager, after 0s"
    assert text_of(narration, "manual.requested") == "service_desk is asked to do 'Manual 2'"
    assert text_of(narration, "manual.attested") == "alex signs that 'Manual 2' is done, after 0s"
    at_gate = next(n for n, frame in enumerate(narration.frames) if frame.kind == "run.waiting")
    assert narration.board_at(at_gate) == {"1": {"": "waiting"}}
    assert narration.frames[at_gate].status == "waiting"
    assert narration.board_at(len(narration.frames) - 1)["1"] == {"": "ok"}


def test_a_doubt_is_told_with_who_settled_it_and_how(bench: Bench) -> None:
    run, verdict = bench.run(a_plan(bench.world, action("1", word="w", answer="lost")))
    assert verdict.status == "in_doubt"
    bench.settle(run, CellKey("1", "a"), applied=True)
    bench.execute(run)
    narration = told(bench, run)
    doubt = next(n for n, frame in enumerate(narration.frames) if frame.kind == "step.in_doubt")
    assert narration.board_at(doubt)["1"]["a"] == "in_doubt"
    assert text_of(narration, "step.resolved").startswith(
        "responder looked at 'Step 1' on a and settles the doubt: it happened, after"
    )
    assert narration.board_at(len(narration.frames) - 1)["1"]["a"] == "changed"


def test_every_kind_of_entry_of_a_run_has_a_sentence_of_its_own(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, action("1", when="1 == 2"), action("2", "idempotent")))
    for frame in told(bench, run).frames:
        assert frame.text != frame.kind
