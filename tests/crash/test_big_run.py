"""A run of ten thousand steps, and hosts that never stop talking: what they cost in memory is bounded.

How long they take is measured in `bench/`, and asserted nowhere.
"""

from __future__ import annotations

import os
import re
import resource
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from builders.plans import a_plan, action
from builders.runs import RESPONDER, Bench
from builders.world import World, lines

from mimrun.app.execution import execute_run
from mimrun.app.home import lay_home, open_home
from mimrun.app.plans import prepare_plan
from mimrun.app.runs import create_run, load_state
from mimrun.connector import Call, Outcome
from mimrun.lab import folder as lab_folder
from mimrun.lab.inventory import ssh_variables, write
from mimrun.lab.sshd import SshdHosts
from mimrun.log.proof.verify import verify
from mimrun.output import KEPT
from mimrun.run.record.transitions import RunStatus
from mimrun.settings import Settings

pytestmark = pytest.mark.heavy

STEPS = 10_000
MOST_OF_A_RUN = 200 * 1000 * 1000
"""Bytes by which a worker may grow over a run of that many steps."""
HOSTS = ("one", "two", "three", "four")
SAID = 1 << 30
MOST_OF_OUTPUT = 100 * 1000 * 1000
"""Bytes by which a worker may grow while each of its hosts says a gibibyte."""

RUNBOOK = """\
schema: mimrun/1
name: talkative
version: 1.0.0
title: Hosts that say a lot
stage: identification
risk: low
owner: tests
hosts: all
limits: {{hosts: 10}}
steps:
  - name: Say a little first
    {action}: {{cmd: "echo ready"}}
  - name: Say a lot
    {action}: {{cmd: "head -c {said} /dev/zero | tr '\\\\0' x"}}
    timeout: 30m
"""


def grown(work: Callable[[], object]) -> int:
    """Do work in a process of its own; give the bytes by which it grew."""
    before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    child = os.fork()
    if child == 0:
        code = 9
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    _, status, usage = os.wait4(child, 0)
    assert os.WIFSIGNALED(status) or not os.WEXITSTATUS(status), "the worker failed"
    return usage.ru_maxrss * 1024 - before


@pytest.mark.timeout(1800)
def test_ten_thousand_steps_cost_bounded_memory_and_are_each_done_once(
    memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(memory)
    run = bench.create(a_plan(bench.world, *(action(str(n), "probe", word="w") for n in range(1, STEPS + 1))))
    perform, left = World._perform, STEPS

    def until_the_last(self: World, step: object, call: Call) -> Outcome:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return perform(self, step, call)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(World, "_perform", until_the_last)
        assert grown(lambda: bench.execute(run)) < MOST_OF_A_RUN
    assert len(lines(bench.world)) == STEPS - 1
    assert bench.state(run).status is RunStatus.RUNNING
    assert grown(lambda: bench.execute(run)) < MOST_OF_A_RUN
    assert bench.state(run).status is RunStatus.SUCCEEDED
    assert len(set(lines(bench.world))) == len(lines(bench.world)) == STEPS
    with bench.home() as home:
        assert verify(home.store).ok
        assert home.store.rebuild()


@pytest.mark.timeout(1800)
@pytest.mark.needs("sshd")
@pytest.mark.parametrize("connector", ["local", "ssh"])
def test_gibibyte_of_output_from_each_of_four_hosts_costs_bounded_memory_and_is_cut_honestly(
    connector: str,
) -> None:
    with lab_folder.temporary() as folder:
        settings = Settings(home=folder / "home")
        lay_home(settings)
        book = folder / "talkative.yaml"
        book.write_text(RUNBOOK.format(action=f"{connector}.shell", said=SAID))
        with SshdHosts(folder / "ssh", HOSTS, net="127.0.83") as hosts, open_home(settings) as home:
            inventory = folder / "hosts.yaml"
            inventory.write_text(write({"all": {"hosts": {h.name: ssh_variables(h) for h in hosts.hosts}}}))
            run = create_run(home, prepare_plan(home, str(book), [], [inventory]), RESPONDER, direct=True)
            home.store.close()
            assert grown(lambda: execute_run(settings, run)) < MOST_OF_OUTPUT
        with open_home(settings) as home:
            state = load_state(home, run)
            assert state.status is RunStatus.SUCCEEDED, state.reason
            outcomes = [
                home.store.entry(cell.outcome) for key, cell in state.cells.items() if key.step == "2"
            ]
            assert len(outcomes) == len(HOSTS)
            for entry in outcomes:
                data = (home.store.blob(entry, "data") or b"").decode()
                (left_out,) = {int(n) for n in re.findall(r"\[\.\.\. (\d+) bytes left out \.\.\.\]", data)}
                assert left_out == SAID - 2 * KEPT
                assert len(data) < 5 * KEPT
            assert verify(home.store).ok
