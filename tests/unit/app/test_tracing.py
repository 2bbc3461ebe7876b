"""Spans at a collector: a run is one trace, also over a crash; a collector that is gone costs a run nothing."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from builders.collector import Collector, collecting
from builders.commands import until
from builders.crash import execute_and_die
from builders.plans import a_plan, action, block, gate
from builders.runs import Bench

from mimrun.app import tracing
from mimrun.app.tracing import LEAVE_S, is_wanted
from mimrun.log.kinds import Kind
from mimrun.run.record.spans import Spans

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as found:
        yield found


@pytest.fixture
def wanted(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> Collector:
    monkeypatch.setenv(ENDPOINT, collector.address)
    return collector


def told(bench: Bench) -> list[str]:
    return [json.loads(line)["event"] for line in bench.settings.program_log.read_text().splitlines()]


def test_a_run_comes_in_as_one_trace_with_its_steps_and_attempts(bench: Bench, wanted: Collector) -> None:
    steps = block("1", [action("1.block.1", hosts=("a", "b"))])
    run, verdict = bench.run(
        a_plan(bench.world, steps, action("2", answer="failed", word="x"), hosts=("a", "b"))
    )
    assert verdict.status == "failed"
    assert wanted.paths == {"/v1/traces"}
    spans = {span.name: span for span in wanted.spans()}
    assert set(spans) == {"run test", "Step 1.block.1", "world.once", "Step 2"}
    assert len({span.trace_id for span in wanted.spans()}) == 1
    assert spans["Step 1.block.1"].parent_span_id == spans["run test"].span_id
    assert not spans["run test"].parent_span_id
    attempts = [span for span in wanted.spans() if span.name == "world.once"]
    assert {wanted.facts(span)["mimrun.target"] for span in attempts} == {"a", "b"}
    assert all(wanted.facts(span)["mimrun.run"] == run for span in wanted.spans())
    assert spans["run test"].status.code == spans["run test"].status.STATUS_CODE_ERROR
    assert spans["Step 1.block.1"].status.code == spans["run test"].status.STATUS_CODE_OK
    assert wanted.resource()["service.name"] == "mimrun"
    assert told(bench) == ["run_taken", "step_failed", "run_left"]


def test_a_run_that_waits_and_goes_on_is_one_trace_and_nothing_is_sent_twice(
    bench: Bench, wanted: Collector
) -> None:
    run, verdict = bench.run(a_plan(bench.world, action("1"), gate("2"), action("3")))
    assert verdict.status == "waiting"
    assert [span.name for span in wanted.spans()] == ["world.once", "Step 1"]
    bench.approve(run)
    assert bench.execute(run).status == "succeeded"
    names = [span.name for span in wanted.spans()]
    assert sorted(names) == ["Step 1", "Step 3", "gate", "run test", "world.once", "world.once"]
    assert len({span.trace_id for span in wanted.spans()}) == 1
    (root,) = [span for span in wanted.spans() if span.name == "run test"]
    assert [event.name for event in root.events].count("run.started") == 2


def test_a_crash_and_a_resume_are_one_trace_without_a_gap(bench: Bench, wanted: Collector) -> None:
    steps = [action("1"), action("2", "idempotent"), action("3")]
    run = bench.create(a_plan(bench.world, *steps))

    def in_step_2(_: int, drafts: object) -> bool:
        return any(d.kind is Kind.STEP_INTENT and d.step == "2" for d in drafts)  # type: ignore[attr-defined]

    assert execute_and_die(lambda: bench.execute(run), in_step_2, before=False)
    assert bench.execute(run).status == "succeeded"
    sent = {span.span_id for span in wanted.spans()}
    assert len({span.trace_id for span in wanted.spans()}) == 1
    with bench.home() as home:
        spans = Spans(home.store.log, run)
        made = [span for entry in home.store.entries(run=run) for span in spans.take(entry)]
    assert sent == {span.id.to_bytes(8) for span in made}
    assert {"Step 1", "Step 2", "Step 3", "run test"} <= {span.name for span in wanted.spans()}


def test_nothing_of_arguments_output_and_reasons_leaves(bench: Bench, wanted: Collector) -> None:
    bench.run(a_plan(bench.world, action("1", word="very-own-argument", answer="failed")))
    assert wanted.spans()
    assert b"very-own-argument" not in b"".join(wanted.bodies)
    assert b"responder" not in b"".join(wanted.bodies)


def run_with(bench: Bench, monkeypatch: pytest.MonkeyPatch, address: str) -> float:
    monkeypatch.setenv(ENDPOINT, address)
    began = time.monotonic()
    run, verdict = bench.run(a_plan(bench.world, action("1"), action("2")))
    assert verdict.status == "succeeded"
    with bench.home() as home:
        first, *_, last = home.store.entries(run=run)
    assert (last.ts - first.ts).total_seconds() < LEAVE_S + 5, "the run itself was not held up"
    return time.monotonic() - began


def test_a_dead_port_neither_fails_nor_holds_up_a_run(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as line:
        line.bind(("127.0.0.1", 0))  # bound, and nobody listens
        took = run_with(bench, monkeypatch, f"http://127.0.0.1:{line.getsockname()[1]}")
    assert took < 10 * LEAVE_S
    assert told(bench) == ["run_taken", "run_left", "spans_not_sent"]


def test_a_black_hole_neither_fails_nor_holds_up_a_run(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as line:
        line.bind(("127.0.0.1", 0))
        line.listen()  # it takes connections, and never says a word
        took = run_with(bench, monkeypatch, f"http://127.0.0.1:{line.getsockname()[1]}")
    assert took < 10 * LEAVE_S
    assert told(bench)[-1] == "spans_not_sent"


def test_an_address_that_is_none_is_told_and_no_more(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINT, "nowhere in particular")
    _, verdict = bench.run(a_plan(bench.world, action("1")))
    assert verdict.status == "succeeded"
    assert told(bench)[-1] == "spans_not_sent"


def test_without_the_extra_it_is_told_and_no_more(
    bench: Bench, wanted: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "mimrun.app.otlp", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    _, verdict = bench.run(a_plan(bench.world, action("1")))
    assert verdict.status == "succeeded"
    assert "install mimrun[otel]" in bench.settings.program_log.read_text()
    assert wanted.bodies == []


@pytest.mark.parametrize(
    ("environ", "is_on"),
    [
        ({}, False),
        ({ENDPOINT: "http://x"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", ENDPOINT: "http://x"}, False),
        ({"OTEL_TRACES_EXPORTER": "console", ENDPOINT: "http://x"}, False),
        ({"OTEL_SDK_DISABLED": "true", ENDPOINT: "http://x"}, False),
    ],
)
def test_the_environment_says_in_opentelemetrys_own_words_whether(
    environ: dict[str, str], is_on: bool
) -> None:
    assert is_wanted(environ) is is_on


def test_where_no_collector_is_named_nothing_is_loaded() -> None:
    code = "import sys, mimrun.app.execution; print([m for m in sys.modules if m.startswith('opentelemetry.sdk')])"
    environ = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    said = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True
    )
    assert said.stdout == "[]\n"


def test_a_queue_that_is_full_loses_spans_and_not_the_run(
    bench: Bench, wanted: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing, "_QUEUED", 1)
    monkeypatch.setattr(
        tracing, "_connect", lambda: (lambda spans: until(lambda: False, "never") or True, int)
    )
    monkeypatch.setattr(tracing, "LEAVE_S", 0.1)
    _, verdict = bench.run(a_plan(bench.world, *[action(str(n)) for n in range(1, 5)]))
    assert verdict.status == "succeeded"
    assert told(bench)[-1] == "spans_not_sent"
