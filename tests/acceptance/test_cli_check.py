"""`mimrun plan --check` from end to end: what it says of real targets, and that it changes none."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from builders.commands import GATE, Desk, mark

BOOK = """\
  - name: Look at the list
    local.command: {argv: [cat, there], changed: false}
    effect: {class: read, reason: cat only reads}
    check_mode: false
    register: list
  - name: Put the greeting
    local.copy: {content: "hello\\n", dest: %(folder)s/greeting}
  - name: Keep what is there
    local.copy: {content: "as is\\n", dest: %(folder)s/there}
  - name: Only for others
    when: list.stdout == 'something else'
    local.shell: {cmd: 'echo never >> marks'}
"""


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = Desk(tmp_path)
    desk.write("there", "as is\n")
    return desk


def test_a_plan_is_held_against_the_targets_and_nothing_is_changed(desk: Desk) -> None:
    book = desk.runbook(BOOK % {"folder": desk.folder} + mark("one") + GATE)
    # Who looks into the log leaves SQLite's own files beside it.
    size, before = desk.size(), sorted(desk.folder.rglob("*"))
    said = desk("plan", book, "--check")
    assert said.code == 0, said.err
    assert "On the targets as they are now:" in said.out
    for words in ("read ", "changes ", "unchanged ", "skipped ", "unknown ", "asks "):
        assert f"      {words}" in said.out, said.out
    assert "would create" in said.out
    assert "unknown=1" in said.out
    assert "it does not mean that nothing changes" in said.out
    assert sorted(desk.folder.rglob("*")) == before
    assert desk.size() == size
    assert desk.marks() == []


def test_the_check_is_there_for_machines_too(desk: Desk) -> None:
    book = desk.runbook(BOOK % {"folder": desk.folder})
    said = desk("plan", book, "--check", "--json")
    assert [one["prospect"] for one in said.json["check"]] == ["read", "changes", "unchanged", "skipped"]
    assert said.json["check"][1]["target"] == "localhost"
    assert said.json["digest"] == desk("plan", book, "--json").json["digest"]


def test_a_step_that_would_fail_now_ends_the_check_with_1(desk: Desk) -> None:
    (desk.folder / "there").unlink()
    book = desk.runbook(BOOK % {"folder": desk.folder})
    said = desk("plan", book, "--check")
    assert said.code == 1
    assert "fails     localhost" in said.out
    assert "the run would have stopped" in said.out


def test_what_a_run_does_is_what_the_check_had_said(desk: Desk) -> None:
    book = desk.runbook(BOOK % {"folder": desk.folder})
    ran = desk.run(book, "--json")
    assert ran.code == 0, ran.err
    assert (ran.json["recap"]["changed"], ran.json["recap"]["skipped"]) == (1, 1)
    again = desk("plan", book, "--check", "--json").json["check"]
    assert [one["prospect"] for one in again] == ["read", "unchanged", "unchanged", "skipped"]


def test_a_dead_host_ends_the_check_with_1(desk: Desk) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    known = desk.write("known_hosts", "")
    dead = f"ansible_host: 127.0.0.1, ansible_port: {port}, ssh_known_hosts: {known}"
    inventory = desk.write("hosts.yaml", f"all: {{hosts: {{dead: {{{dead}}}}}}}\n")
    book = desk.runbook(
        "  - name: Restart it\n    ssh.command: {argv: [systemctl, restart, web]}\n"
        "  - name: Look at it\n    ssh.command: {argv: [uptime]}\n",
        more="hosts: all\n",
    )
    said = desk("plan", book, "-i", str(inventory), "--check")
    assert said.code == 1, said.out + said.err
    assert "fails     dead" in said.out
    assert "refused" in said.out, said.out
    assert "fails=1" in said.out
    assert "the run would have stopped" in said.out


def test_a_failure_that_is_ignored_does_not_end_the_check_with_1(desk: Desk) -> None:
    (desk.folder / "there").unlink()
    lenient = BOOK.replace("check_mode: false\n", "check_mode: false\n    ignore_errors: true\n", 1)
    said = desk("plan", desk.runbook(lenient % {"folder": desk.folder}), "--check")
    assert said.code == 0, said.out + said.err
    assert "fails     localhost  (the run would go on)" in said.out
    assert "the run would have stopped" not in said.out
    assert "step 1 failed" in said.out
