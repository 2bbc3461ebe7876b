"""What a plan shows of limits, locks, batches, branches and handlers."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from mimrun.app.plans import draft_plan
from mimrun.catalog import installed_catalog
from mimrun.cli.plan_view import print_plan
from mimrun.runbook.inventory import parse_inventory
from mimrun.runbook.loader import parse_runbook
from mimrun.runbook.plan import Plan
from mimrun.runbook.planner import make_plan
from mimrun.settings import Settings

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
RELOAD = "local.command: {argv: [systemctl, reload, nginx]}"


def printed(plan: Plan) -> str:
    out = io.StringIO()
    print_plan(Console(file=out, width=400), plan)
    return out.getvalue()


def shown(folder: Path, source: str, hosts: int) -> str:
    book, inventory = folder / "small.yaml", folder / "hosts.ini"
    book.write_text(HEAD + source)
    inventory.write_text(f"[web]\nweb[1:{hosts}] zone=a\n")
    return printed(draft_plan(Settings(home=folder), installed_catalog(), str(book), [], [inventory]))


def test_a_few_batches_are_named_with_their_hosts(tmp_path: Path) -> None:
    text = shown(tmp_path, f"steps: [{{name: Roll, serial: [1, 2], pause: 1m, {RELOAD}}}]\n", 5)
    assert "1 Roll  serial: 3 batches, 1m apart\n" in text
    assert "batch 2 of 3: web2, web3\n" in text
    assert "1.batch.*.block.1 Roll  local.command\n" in text
    assert text.count("systemctl, reload, nginx") == 1
    assert "1 action, 1 of them changes something" in text
    assert "cannot be undone: 1.batch.*.block.1 Roll\n" in text


def test_five_hundred_batches_are_not(tmp_path: Path) -> None:
    text = shown(tmp_path, f"steps: [{{name: Roll, serial: 1, {RELOAD}}}]\n", 500)
    assert "batch 5 of 500: web5\n" in text
    assert "batch 6 of" not in text
    assert "... and 495 batches more of up to 1 host (--json shows all)\n" in text
    assert "all 500 targets\n" in text
    assert "locks: each of the 500 hosts that are changed\n" in text
    assert len(text.splitlines()) < 30


def test_limits_and_locks_stand_in_front(tmp_path: Path) -> None:
    limits = (
        'limits: {failures: "50%", share: {web: "100%"}, domains: {by: zone}}\ntimeout: 90m\nlocks: [shop]\n'
    )
    text = shown(tmp_path, limits + f"steps: [{{name: Act, max_failures: 1, {RELOAD}}}]\n", 3)
    assert (
        "limits: 1 host may fail, 1h30m at work, at most 100% of web changed, hosts of 1 zone at once\n"
        in text
    )
    assert "locks: shop, host/web1, host/web2, host/web3\n" in text
    assert ", 1 host may fail\n" in text


def test_handlers_come_last_with_who_notifies_them(tmp_path: Path) -> None:
    handlers = f"handlers: [{{name: Reload, {RELOAD}}}]\n"
    text = shown(tmp_path, f"steps: [{{name: Act, notify: Reload, {RELOAD}}}]\n" + handlers, 1)
    before, after = text.split("at the end, where something changed:\n")
    assert "notifies h1 where it changes something\n" in before
    assert "h1 Reload  local.command\n" in after


def test_what_undoes_itself_and_what_waits_say_for_how_long(tmp_path: Path) -> None:
    undo = f"undo: {{{RELOAD}}}, revert_after: 2h, deadline: 5m, timeout: 1m"
    wait = (
        "wait: {local.command: {argv: [id], changed: false}, until: result.rc == 0, deadline: 1m, every: 20s}"
    )
    text = shown(tmp_path, f"steps: [{{name: Act, {undo}, {RELOAD}}}, {{name: Look, {wait}}}]\n", 1)
    assert ", at most 1m, all attempts within 5m, undone by itself after 2h\n" in text
    assert "reads only, at most 5m, all attempts within 1m, 3 retries\n" in text
    assert "until: result.rc == 0\n" in text


def test_an_included_runbook_is_shown_with_what_it_is_given() -> None:
    inner = parse_runbook(
        HEAD + f"inputs: {{key: {{type: secret}}, n: {{}}}}\nsteps: [{{name: Act, {RELOAD}}}]\n"
    )
    given = "{runbook: small@1.0.0, inputs: {key: 'env:KEY', n: '5'}}"
    source = (
        HEAD.replace("small", "outer") + f"limits: {{failures: 1}}\nsteps: [{{name: In, include: {given}}}]\n"
    )
    inventory = parse_inventory("[web]\nweb1\n")
    outer = parse_runbook(source)
    plan = make_plan(outer, {}, inventory, installed_catalog(), {}, includes=lambda _: inner)
    text = printed(plan)
    assert f"1 In  include small@1.0.0 ({inner.digest[7:19]}), risk low, 0 hosts may fail\n" in text
    assert "inputs: key=*****(env:KEY), n=5\n" in text
    assert "1.include.1 Act  local.command\n" in text


def test_twenty_steps_on_five_hundred_hosts_can_be_read(tmp_path: Path) -> None:
    each = 'local.command: {argv: [do, "{{ inventory_hostname }}"]}, verify: {local.command: {argv: [see]}}'
    steps = ", ".join(f"{{name: Step {n}, {each}}}" for n in range(20))
    text = shown(tmp_path, f"steps: [{{name: Roll, serial: [1, '10%'], block: [{steps}]}}]\n", 500)
    assert len(text.splitlines()) < 200
    assert max(map(len, text.splitlines())) < 400
    assert text.count("... and 498 hosts more, with arguments of their own (--json shows all)\n") == 20
    assert "targets: 500  web1, web2," in text
    assert "web20 and 480 more\n" in text
    assert "cannot be undone: 1.batch.*.block.1 Step 0, " in text
    assert "1.batch.*.block.8 Step 7 and 12 more\n" in text


def test_the_host_that_differs_from_all_others_is_shown(tmp_path: Path) -> None:
    odd = "local.command: {argv: [do, \"{{ 'odd' if inventory_hostname == 'web77' else 'even' }}\"]}"
    text = shown(tmp_path, f"steps: [{{name: Act, {odd}}}]\n", 100)
    assert "      web77\n        local.command argv=[do, odd]\n" in text
    assert "      web1, web2, " in text
    assert "more, with arguments" not in text


def test_what_takes_itself_back_stands_at_the_end_too(tmp_path: Path) -> None:
    step = f"steps: [{{name: Lock, {RELOAD}, undo: {{{RELOAD}}}, revert_after: 2h}}]\n"
    text = shown(tmp_path, step, 1)
    assert ", undone by itself after 2h\n" in text
    assert "  takes itself back: 1 Lock (after 2h)\n" in text
    assert "cannot be undone" not in text
