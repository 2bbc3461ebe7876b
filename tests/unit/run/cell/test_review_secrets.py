"""What must not be kept, and what must be kept whole: secrets, `no_log`, and the state that an undo puts back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from builders.plans import a_plan, action, call, check
from builders.runs import Bench
from builders.world import World, words

from mimrun.app.execution import Verdict, execute_run
from mimrun.catalog import Catalog
from mimrun.connector import Call, Failed, Ok, Outcome
from mimrun.output import KEPT
from mimrun.runbook.node import StepOptions
from mimrun.runbook.plan import Plan

SECRET = 'it\'s-a "quoted" 4711'


class Told(World):
    """A world whose readings say what a test wants them to."""

    answer: Outcome = Ok(changed=False)
    said: bytes = b""

    def _perform(self, action: Any, call: Call) -> Outcome:
        if action.verb != "read":
            return super()._perform(action, call)
        call.output.feed(stdout=self.said)
        return self.answer


def execute(bench: Bench, plan: Plan, answer: Outcome, said: bytes = b"") -> tuple[str, Verdict]:
    told = type("Told", (Told,), {"answer": answer, "said": said})
    run = bench.create(plan)
    return run, execute_run(bench.settings, run, catalog=Catalog(connectors={"world": told}))


def blobs(bench: Bench, run: str, name: str = "") -> list[bytes]:
    with bench.home() as home:
        return [
            home.store.blob(entry, ref.n) or b""
            for entry in home.store.entries(run=run)
            for ref in entry.blobs
            if name in ("", ref.n)
        ]


def everything(bench: Bench, run: str) -> bytes:
    with bench.home() as home:
        entries = [str(entry).encode() for entry in home.store.entries(run=run)]
    return b"\n".join([*entries, *blobs(bench, run)])


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, Any]:
    file = tmp_path / "token"
    file.write_text(SECRET)
    return {"token": {"secret": f"file:{file}"}}


@pytest.mark.parametrize(
    "template",
    [
        "-u {{ token | quote }}",
        "{{ token[4:] }}",
        "{{ token | replace(' ', '_') }}",
        "{{ token | upper }}",
        "{{ {'k': {'t': token} | to_json} | to_json }}",
    ],
)
def test_what_is_made_of_a_secret_is_not_recorded_with_the_intent(
    bench: Bench, inputs: dict[str, Any], template: str
) -> None:
    step = action("1", late=["token"], word=template)
    run, verdict = bench.run(a_plan(bench.world, step, inputs=inputs))
    assert verdict.status == "succeeded"
    (args,) = blobs(bench, run, "args")
    assert not [piece for piece in (b"quoted", b"QUOTED", b"4711") if piece in args], args
    assert "quoted" in bench.world.read_text() or "QUOTED" in bench.world.read_text()


def test_a_secret_that_looks_like_json_breaks_no_record(bench: Bench, tmp_path: Path) -> None:
    for value in ("true", "1234"):
        file = tmp_path / "pin"
        file.write_text(value)
        first = action("1", "read", options=StepOptions(register="seen", expect="seen.up"))
        plan = a_plan(bench.world, first, inputs={"pin": {"secret": f"file:{file}"}})
        run, verdict = execute(bench, plan, Ok(changed=False, data={"up": True, "count": 123456}))
        assert verdict.status == "succeeded", verdict.detail
        assert (b'"count": "*****56"' in everything(bench, run)) == (value == "1234")


def test_no_log_keeps_what_a_target_said_out_of_reasons(bench: Bench) -> None:
    quiet = StepOptions(no_log=True)
    answer = Failed("exit code 3: card 4711", clean=False, data={"rc": 3, "stdout": "card 4711"})
    run, verdict = execute(bench, a_plan(bench.world, action("1", "read", options=quiet)), answer)
    assert verdict.status == "failed"
    assert "exit code 3; what was said about it is kept out of the log by no_log" in verdict.detail
    assert b"4711" not in everything(bench, run)


def test_no_log_does_not_hide_that_a_host_was_not_reached(bench: Bench) -> None:
    quiet = action("1", word="x", answer="unreachable", options=StepOptions(no_log=True))
    run, verdict = bench.run(a_plan(bench.world, quiet))
    assert "nobody answers" in verdict.detail
    assert bench.state(run).recap()["unreachable"] == 1


@pytest.mark.parametrize(
    ("answer", "said", "why"),
    [
        (Ok(changed=False, data={"text": f"key {SECRET}"}), b"", "holds a secret of this run"),
        (Ok(changed=False, data={"text": "x", "truncated": True}), b"", "too long"),
        (Ok(changed=False, data={"text": "x"}), b"x" * (2 * KEPT + 1), "too long"),
    ],
)
def test_a_state_that_is_not_kept_whole_is_no_state_to_go_back_to(
    bench: Bench, inputs: dict[str, Any], answer: Outcome, said: bytes, why: str
) -> None:
    step = action("1", capture=call("read"), undo=call("once", late=["captured"], word="{{ captured.text }}"))
    run, verdict = execute(bench, a_plan(bench.world, step, inputs=inputs), answer, said)
    assert verdict.status == "failed"
    assert why in verdict.detail
    assert words(bench.world) == [], "nothing is changed that could not be taken back"
    assert not bench.state(run).captured


def test_a_state_that_is_kept_whole_is_captured(bench: Bench, inputs: dict[str, Any]) -> None:
    step = action("1", capture=call("read"))
    answer = Ok(changed=False, data={"text": "plain", "truncated": False})
    run, verdict = execute(bench, a_plan(bench.world, step, inputs=inputs), answer, b"x" * (2 * KEPT))
    assert verdict.status == "succeeded"
    assert len(bench.state(run).captured) == 1


def test_no_log_leaves_no_state_to_go_back_to(bench: Bench) -> None:
    step = action("1", capture=call("read"), options=StepOptions(no_log=True))
    _, verdict = bench.run(a_plan(bench.world, step))
    assert "no_log keeps the answer out of the log" not in verdict.detail
    assert verdict.status == "failed"
    assert words(bench.world) == []


def test_a_verification_that_is_given_a_secret_does_not_record_it(
    bench: Bench, inputs: dict[str, Any]
) -> None:
    looking = check("true").model_copy(
        update={"action": "world.idempotent", "args": {"word": "{{ token[4:] }}"}, "late": ("token",)}
    )
    run, verdict = bench.run(a_plan(bench.world, action("1", verify=looking), inputs=inputs))
    assert verdict.status == "succeeded"
    assert b"quoted" not in b"".join(blobs(bench, run, "args"))
