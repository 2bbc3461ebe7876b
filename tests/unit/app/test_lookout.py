"""A lookout reads a waiting run again only when something was added to it."""

from __future__ import annotations

import pytest
from builders.plans import a_plan, action, gate
from builders.runs import ALEX, Bench

from mimrun.app import worker
from mimrun.app.program_log import program_log
from mimrun.app.worker import Lookout
from mimrun.run.record.due import Why


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    for name in ("load_state", "load_plan"):
        real = getattr(worker, name)

        def counted(*args: object, real: object = real, name: str = name) -> object:
            found.append(name)
            return real(*args)  # type: ignore[operator]

        monkeypatch.setattr(worker, name, counted)
    return found


def test_a_run_that_waits_is_read_again_only_when_something_was_added(bench: Bench, reads: list[str]) -> None:
    run, _ = bench.run(a_plan(bench.world, gate("1"), action("2")))
    found, lookout = reads, Lookout()
    with bench.home() as home:
        log = program_log(bench.settings)
        assert [lookout.due(home, log) for _ in range(5)] == [[]] * 5
        assert sorted(found) == ["load_plan", "load_state"], "once each"
        bench.approve(run, ALEX)
        assert lookout.due(home, log) == [(run, Why.GATE)]
        assert len(found) == 4
        assert lookout.due(home, log) == [(run, Why.GATE)]
        assert len(found) == 4
        # What is not in its entries is looked at each time.
        bench.settings.people.write_text("people:\n  responder: {}\n  alex: {}\n")
        assert lookout.due(home, log) == []
        assert len(found) == 4
    bench.cancel(run)
    bench.execute(run)
    with bench.home() as home:
        assert lookout.due(home, program_log(bench.settings)) == []
        assert lookout.known == {}


def test_a_gate_that_was_just_decided_is_left_to_whoever_decided(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, gate("1"), action("2")))
    now = [100.0]
    lookout = Lookout(lambda: now[0], yields_s=2.0)
    with bench.home() as home:
        log = program_log(bench.settings)
        bench.approve(run, ALEX)
        assert lookout.due(home, log) == []
        now[0] += 1.9
        assert lookout.due(home, log) == []
        now[0] += 0.1
        assert lookout.due(home, log) == [(run, Why.GATE)]
