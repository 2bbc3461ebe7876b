"""What a person sees of a run with branches, batches, a wait and handlers, as it is really executed."""

from __future__ import annotations

import re
from pathlib import Path

from builders.commands import Desk

STEPS = """\
  - name: Look around
    parallel:
      - {name: Left, hosts: "web[0:1]",
         local.shell: {cmd: "touch left; until [ -e right ]; do sleep 0.02; done", changed: false},
         effect: {class: read, reason: x}}
      - {name: Right, hosts: "web[2:3]",
         local.shell: {cmd: "touch right; until [ -e left ]; do sleep 0.02; done", changed: false},
         effect: {class: read, reason: x}}
  - name: A file appears
    hosts: localhost
    wait:
      local.shell: {cmd: "echo x >> looks; wc -l < looks", changed: false}
      until: result.stdout | int >= 3
      deadline: 1m
      every: 100ms
  - name: Roll out
    serial: [1, 3]
    pause: 200ms
    local.command: {argv: [test, "{{ inventory_hostname }}", "!=", "{{ broken }}"]}
    notify: Reload
  - {name: Say so, hosts: localhost, local.command: {argv: ["true"]}}
"""
MORE = """\
hosts: web
limits: {failures: 1}
inputs: {broken: {choices: [nobody, web3, web4], default: nobody}}
handlers: [{name: Reload, local.command: {argv: ["true"]}}]
"""


def seen(desk: Desk, *inputs: str) -> list[str]:
    desk.write("hosts.ini", "[web]\nweb[1:4]\n")
    said = desk.run(desk.runbook(STEPS, more=MORE), "-i", "hosts.ini", *inputs)
    _, _, live = said.out.partition("asked for with --direct\n")
    return [re.sub(r"\d\d:\d\d:\d\d|\d+ ms", "#", line).strip() for line in live.splitlines()]


def test_every_line_says_what_it_belongs_to(tmp_path: Path) -> None:
    lines = seen(Desk(tmp_path))
    at = {line: number for number, line in enumerate(lines)}
    first = next(n for n, line in enumerate(lines) if "web1" in line)
    between = [line for line in lines[:first] if " 1.branch." in line]
    assert sorted(between) == [f"# 1.branch.{n} {w}  local.shell" for n, w in ((1, "Left"), (2, "Right"))]
    other = "1.branch.1 " if between[-1].startswith("# 1.branch.2") else "1.branch.2 "
    assert sum(line.startswith(other) for line in lines) == 2, "two of the four hosts are of the other branch"
    assert lines.count("ok          localhost  #") == 1, "three looks were had, and one of them is shown"
    assert "# 2 A file appears  local.shell  until result.stdout | int >= 3" in at
    head = at["# 3 Roll out (batch 2 of 2): web2, web3, web4"]
    assert lines[head - 1] == "# 3 pause of 200ms, until # UTC, before batch 2 of 2"
    reload = at["# 3.batch.1.h1 Reload  local.command"]
    assert lines[reload - 1] == "handlers, where something changed:"
    assert reload < head - 1, "it follows its batch, and the pause follows it"
    assert at["# 3.batch.2.h1 Reload  local.command"] > head
    assert "# h1 Reload  local.command" not in at, "nothing else has notified it"


def test_the_last_lines_say_what_was_left_out(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    book = desk.runbook(STEPS.replace("[1, 3]", "[2, 1]"), more=MORE.replace("failures: 1", "failures: 0"))
    desk.write("hosts.ini", "[web]\nweb[1:4]\n")
    said = desk.run(book, "-i", "hosts.ini", "broken=web3")
    assert said.code == 1
    assert "  never begun: batch 3 of 3 of 3 Roll out, 4 Say so\n" in said.out
