"""The live view: what a person reads of a run's entries as they come."""

from __future__ import annotations

import io
from datetime import timedelta
from typing import Literal

from builders.entries import AT, CREATED, FROZEN, ended, entry, intent, outcome, started
from rich.console import Console

from mimrun.app.following import Seen
from mimrun.catalog import installed_catalog
from mimrun.cli.progress import Progress
from mimrun.connector import Effect
from mimrun.log.entry import LogEntry
from mimrun.log.kinds import Body, StepFinished, StepSkipped, StepStarted, StepVerified
from mimrun.run.record.fold import apply
from mimrun.run.record.state import RunState
from mimrun.runbook.inventory import parse_inventory
from mimrun.runbook.loader import parse_runbook
from mimrun.runbook.planner import make_plan

HEAD = """\
schema: mimrun/1
name: small
version: 1.0.0
title: Small
stage: containment
owner: me
risk: low
hosts: web
"""
ACT = "local.command: {argv: [id]}"
LOOK = "local.command: {argv: [id], changed: false}"
READ = LOOK + ", effect: {class: read, reason: it looks}"


class Screen:
    """A run of a runbook that nobody executes: its entries are given one by one, a second apart."""

    def __init__(self, steps: str, hosts: int = 2, *, names_known: bool = True) -> None:
        loaded = parse_runbook(HEAD + steps)
        inventory = parse_inventory(f"[web]\nweb[1:{hosts}]\n")
        self.plan = make_plan(loaded, {}, inventory, installed_catalog(), {})
        self.out, self.state, self.seq = io.StringIO(), RunState(), 0
        self.progress = Progress(Console(file=self.out, width=200), self.plan if names_known else None)
        for body in (FROZEN, CREATED, started(1)):
            apply(self.state, self.entry(body))

    def entry(self, body: Body, step: str = "", target: str = "") -> LogEntry:
        self.seq += 1
        return entry(body, self.seq, step=step, target=target, epoch=1)

    def show(self, body: Body, step: str = "", target: str = "") -> None:
        made = self.entry(body, step, target)
        apply(self.state, made)
        self.progress.show(Seen(made, self.state))

    def starts(self, step: str, *targets: str) -> None:
        node = self.plan.node(step)
        self.show(StepStarted(name=node.name, form="local.command", targets=targets), step)

    def ends(self, step: str, target: str, status: str = "ok", reason: str = "", after: str = "") -> None:
        """An attempt: its intent and its outcome."""
        self.show(intent(Effect.READ), step + after, target)
        came = outcome(status, self.seq, changed=status == "ok")
        self.show(came.model_copy(update={"reason": reason}), step + after, target)

    def is_over(self, step: str, status: Literal["ok", "failed"] = "ok") -> None:
        self.show(StepFinished(status=status, reason=""), step)

    def tick(self, seconds: int) -> None:
        """Look so many seconds after the last entry."""
        self.progress.tick(AT + timedelta(seconds=self.seq + seconds))

    def lines(self) -> list[str]:
        return [line.rstrip() for line in self.out.getvalue().splitlines()]


def test_a_line_that_does_not_belong_to_the_last_header_says_which_step_it_is_about() -> None:
    screen = Screen(f"steps: [{{name: Both, parallel: [{{name: Left, {READ}}}, {{name: Right, {READ}}}]}}]\n")
    screen.starts("1.branch.1", "web1")
    screen.starts("1.branch.2", "web2")
    screen.ends("1.branch.1", "web1")
    screen.ends("1.branch.2", "web2")
    screen.ends("1.branch.1", "web1", "failed", "no")
    assert screen.lines() == [
        "03:00:04 1.branch.1 Left  local.command",
        "03:00:05 1.branch.2 Right  local.command",
        "    1.branch.1 changed     web1  1 ms",
        "    changed     web2  1 ms",
        "    1.branch.1 failed      web1  1 ms  no",
    ]


def test_the_sum_of_many_hosts_says_which_step_it_is_about() -> None:
    many = [f"web{n}" for n in range(1, 11)]
    screen = Screen(
        f"steps: [{{name: B, parallel: [{{name: L, {READ}}}, {{name: R, hosts: localhost, {READ}}}]}}]\n", 10
    )
    screen.starts("1.branch.1", *many)
    for host in many:
        screen.ends("1.branch.1", host)
    screen.starts("1.branch.2", "localhost")
    screen.is_over("1.branch.1")
    assert screen.lines()[-1] == "    1.branch.1 10 changed"


def test_batches_are_announced_with_their_hosts_and_pauses_with_their_length() -> None:
    screen = Screen(f"steps: [{{name: Roll, serial: [1, 9], pause: 1m, {ACT}}}]\n", 12)
    screen.starts("1.batch.1.block.1", "web1")
    screen.ends("1.batch.1.block.1", "web1")
    screen.is_over("1.batch.1.block.1")
    screen.starts("1.batch.2.block.1", "web2")
    screen.is_over("1.batch.2.block.1", "failed")
    assert screen.lines() == [
        "03:00:04 1 Roll (batch 1 of 3): web1",
        "03:00:04 1.batch.1.block.1 Roll  local.command",
        "    changed     web1  1 ms",
        "03:00:07 1 pause of 1m, until 03:01:07 UTC, before batch 2 of 3",
        "03:00:08 1 Roll (batch 2 of 3): web10, web2, web3, web4, web5, web6, web7, web8 and 1 more",
        "03:00:08 1.batch.2.block.1 Roll  local.command",
    ], "no pause follows a batch that has failed"


def test_a_pause_comes_when_all_steps_of_a_batch_are_over() -> None:
    block = f"block: [{{name: A, {ACT}}}, {{name: B, {ACT}}}], rescue: [{{name: C, {ACT}}}]"
    screen = Screen(f"steps: [{{name: Roll, serial: 1, pause: 5s, {block}}}]\n")
    screen.starts("1.batch.1.block.1", "web1")
    screen.is_over("1.batch.1.block.1")
    assert "pause" not in screen.out.getvalue()
    screen.is_over("1.batch.1.block.2", "failed")
    assert "pause" not in screen.out.getvalue()
    screen.is_over("1.batch.1.rescue.1")
    assert screen.lines()[-1].endswith("1 pause of 5s, until 03:00:12 UTC, before batch 2 of 2")
    screen.is_over("1.batch.2.block.1")
    screen.is_over("1.batch.2.block.2")
    assert screen.out.getvalue().count("pause") == 1, "behind the last batch there is none"


def test_a_wait_says_what_for_and_every_ten_seconds_for_how_long() -> None:
    wait = f"wait: {{{LOOK}, until: result.stdout == 'up', deadline: 5m}}"
    screen = Screen(f"steps: [{{name: Up, {wait}}}]\n")
    screen.starts("1", "web1", "web2")
    screen.ends("1", "web1", reason="still down")
    screen.tick(5)
    screen.tick(8)
    screen.tick(9)
    screen.tick(18)
    screen.ends("1", "web1")
    screen.show(StepVerified(passed=True, reason=""), "1", "web1")
    screen.ends("1", "web2", "failed", "refused")
    screen.is_over("1", "failed")
    screen.tick(60)
    until = "until result.stdout == 'up'"
    assert screen.lines() == [
        f"03:00:04 1 Up  local.command  {until}",
        f"    waits for 10s of 5m, 1 look; 2 hosts left, {until}; last: still down",
        f"    waits for 20s of 5m, 1 look; 2 hosts left, {until}; last: still down",
        "    changed     web1  1 ms",
        "    failed      web2  1 ms  refused",
    ], "looks themselves are not shown: only what came of them"


def test_a_step_that_waits_for_its_proof_says_so() -> None:
    screen = Screen(f"steps: [{{name: Up, {ACT}, verify: {{{LOOK}, retries: 9}}}}]\n", 1)
    screen.starts("1", "web1")
    screen.ends("1", "web1")
    screen.tick(20)
    screen.ends("1", "web1", "failed", "not yet", after=".verify")
    screen.tick(20)
    screen.show(StepVerified(passed=True, reason=""), "1", "web1")
    assert screen.lines()[1:] == [
        "    changed     web1  1 ms",
        "    waits for its proof, for 24s, 1 look: local.command argv=[id], changed=false; last: not yet",
    ]


def test_an_action_that_waits_and_one_that_takes_long_say_so() -> None:
    screen = Screen(f"steps: [{{name: Nap, wait.duration: {{for: 5m}}}}, {{name: Work, {ACT}}}]\n", 1)
    screen.starts("1", "web1")
    screen.tick(30)
    screen.is_over("1")
    screen.starts("2", "web1")
    screen.tick(30)
    screen.tick(60)
    assert screen.lines()[1:] == [
        "    waits for 30s: wait.duration for=5m",
        "03:00:06 2 Work  local.command",
        "    at work for 1m",
    ]


def test_handlers_have_a_title() -> None:
    handlers = f"handlers: [{{name: Reload, {ACT}}}, {{name: Again, {ACT}}}]\n"
    screen = Screen(f"steps: [{{name: Act, notify: [Reload, Again], {ACT}}}]\n{handlers}")
    screen.starts("1", "web1")
    screen.starts("h1", "web1")
    screen.starts("h2", "web1")
    assert screen.lines() == [
        "03:00:04 1 Act  local.command",
        "handlers, where something changed:",
        "03:00:05 h1 Reload  local.command",
        "03:00:06 h2 Again  local.command",
    ]


def test_who_comes_in_the_middle_of_a_step_is_told_its_name() -> None:
    screen = Screen(f"steps: [{{name: Act, loop: [a, b], {ACT}}}]\n")
    screen.ends("1", "web1")
    assert screen.lines() == ["1 Act", "    changed     web1 item 1  1 ms"]
    nameless = Screen(f"steps: [{{name: Act, {ACT}}}]\n", names_known=False)
    nameless.ends("1", "web1")
    assert nameless.lines() == ["    1 changed     web1  1 ms"]


def test_the_recap_says_what_was_left_out_because_too_many_hosts_had_failed() -> None:
    roll = f"{{name: Roll, serial: [2, 1], block: [{{name: A, {ACT}}}, {{name: B, {ACT}}}]}}"
    screen = Screen(f"limits: {{failures: 1}}\nsteps: [{roll}, {{name: Last, {ACT}}}]\n", 4)
    screen.starts("1.batch.1.block.1", "web1", "web2")
    for host in ("web1", "web2"):
        screen.ends("1.batch.1.block.1", host, "failed", "no")
    left = StepSkipped(reason="not begun: 2 hosts of the run failed and 1 may")
    screen.show(left, "1.batch.1.block.1", "web3")
    screen.is_over("1.batch.1.block.1", "failed")
    screen.show(ended("failed", "step 1 failed"))
    screen.progress.recap(screen.state)
    assert screen.lines()[-4:] == [
        "  step 1 failed",
        "  step 1.batch.1.block.1 was not begun on web3: 2 hosts of the run failed and 1 may",
        "  too many hosts failed for the run to go on: web1, web2; 1 may",
        "  never begun: batches 2 to 3 of 3 of 1 Roll, 1.batch.1.block.2 B, 2 Last",
    ]
