"""What an author who comes from Ansible is told: every habit is answered with something that there is."""

from __future__ import annotations

import re

import pytest

from mimrun.catalog import installed_catalog
from mimrun.errors import InputError, RunbookError
from mimrun.runbook import habit
from mimrun.runbook.finding import Level
from mimrun.runbook.habit import step_hint
from mimrun.runbook.inventory import parse_inventory
from mimrun.runbook.lint import lint, lint_rest
from mimrun.runbook.loader import parse_runbook

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
CATALOG = installed_catalog()
TABLES = (habit.STEP_HABITS, habit.RUNBOOK_HABITS, habit.MODULES, habit.WORD_HABITS, habit.NAME_HABITS)
HINTS = sorted({hint for table in TABLES for hint in table.values()})


def said(text: str) -> str:
    """Everything that lint says about a runbook."""
    try:
        found = lint(parse_runbook(HEAD + text, also=lint_rest(CATALOG)), CATALOG)
    except RunbookError as exc:
        return "\n".join(map(str, exc.problems))
    return "\n".join(str(f.problem) for f in found if f.level is Level.ERROR)


def step(text: str) -> str:
    return said(f"steps: [{{name: a, {text}}}]\n")


@pytest.mark.parametrize("hint", HINTS)
def test_a_hint_names_actions_that_are_installed(hint: str) -> None:
    connectors = "|".join(CATALOG.names)
    for action in re.findall(rf"`((?:{connectors})\.[a-z]+)", hint):
        try:
            kind = CATALOG.action(action)
        except InputError as exc:
            pytest.fail(str(exc))
        fields = {info.alias or name for name, info in kind.model_fields.items()}
        for written in re.findall(rf"`{re.escape(action)}: \{{([^`]*)\}}", hint):
            flat = re.sub(r"\[[^\]]*\]", "", written)
            assert set(re.findall(r"([a-z_]+):", flat)) <= fields


@pytest.mark.parametrize(
    ("written", "ours"),
    [
        ("service: {name: nginx, state: restarted}", "ssh.service: {unit: …, state: restarted}"),
        ("systemd: {name: nginx}", "ssh.service"),
        ("ansible.builtin.service: {name: nginx}", "ssh.service"),
        ("ansible.builtin.systemd_service: {name: nginx}", "ssh.service"),
        ("copy: {src: a, dest: b}", "ssh.upload: {src: …, dest: …}`, or `local.copy`"),
        ("ansible.builtin.template: {src: a, dest: b}", "ssh.upload: {content: …"),
        ("fetch: {src: a}", "ssh.download"),
        ("uri: {url: x}", "http.request"),
        ("wait_for: {port: 80}", "wait.port"),
        ("ansible.builtin.wait_for: {port: 80}", "or `wait:` with an action that looks"),
        ("pause: {seconds: 5}", "wait.duration: {for: 5s}"),
        ("meta: flush_handlers", "handlers are done after the last step"),
        ("apt: {name: nginx}", "apt-get, install"),
        ("lineinfile: {path: a}", "ssh.upload"),
        ("stat: {path: a}", "changed: false"),
        ("reboot: {}", "wait.port: {port: 22}"),
        ("setup: {}", "nothing is gathered unasked"),
        ("community.postgresql.postgresql_query: {query: x}", "postgres.query"),
        ("community.postgresql.postgresql_user: {name: x}", "postgres.execute"),
        ("community.general.haproxy: {state: drain}", "haproxy.drain"),
        ("community.general.something_else: {a: b}", "Ansible's modules are not used: write `ssh.command"),
        ("ssh.command: {argv: [id]}, throttle: 1", "`serial` on the step"),
        ("ssh.command: {argv: [id]}, strategy: free", "`parallel:`"),
        ("ssh.command: {argv: [id]}, delegate_to: localhost", "write `hosts:` on the step"),
        ("ssh.command: {argv: [id]}, async: 100", "`timeout:`"),
        ("ssh.command: {argv: [id]}, rescue: []", "it is for steps with a block"),
        ("ssh.command: {argv: [id]}, become_user: x", "write `become: USER`"),
        ("ssh.command: {argv: [id]}, changed_when: false", "write `changed: false`"),
        ("ssh.command: {argv: [id]}, failed_when: false", "write `expect:`"),
        ("ssh.command: {argv: [id]}, with_fileglob: x", "reads no files of its own accord"),
        ("ssh.command: {argv: [id]}, with_random_choice: x", "write `loop:` with a list"),
        ("ssh.command: {argv: [id]}, tags: web", "write [web]"),
        ("ssh.command: systemctl restart nginx", "argv: [program, argument]"),
        ("ssh.shell: systemctl restart nginx", "cmd: …"),
        ("ssh.command: {cmd: id}", "write `argv:`"),
        ("ssh.service: {name: nginx, state: started}", "write `unit:`"),
        ("ssh.service: {unit: nginx, state: started, daemon_reload: true}", "[systemctl, daemon-reload]"),
        ("ssh.upload: {src: a, path: /b}", "write `dest:`"),
        ("http.request: {url: /x, status_code: 200}", "write `expect:`"),
        ("http.request: {url: /x, validate_certs: false}", "set it in the inventory"),
        ("postgres.query: {query: select 1}", "write `sql:`"),
        ("ssh.command: {argv: ['{{ ansible_facts.fqdn }}']}", "nothing is gathered unasked"),
        ("ssh.command: {argv: [id, '{{ omit }}']}", "leave the key out"),
        ("ssh.command: {argv: ['{{ lookup(1) }}']}", "give the value as an input"),
        ("ssh.command: {argv: ['{{ [] | json_query(1) }}']}", "name the keys"),
        ("ssh.command: {argv: [id]}, when: hostvars is succeeded", "write `not answer.failed`"),
    ],
)
def test_a_habit_on_a_step_is_answered_with_our_word(written: str, ours: str) -> None:
    assert ours in step(written)


@pytest.mark.parametrize("word", habit.RUNBOOK_HABITS)
def test_a_habit_at_the_top_is_answered_with_our_word(word: str) -> None:
    answer = said(f"{word}: 1\nsteps: [{{name: a, ssh.command: {{argv: [id]}}}}]\n")
    assert f"unknown key {word!r}" in answer
    assert habit.RUNBOOK_HABITS[word] in answer


@pytest.mark.parametrize("word", habit.MODULES)
def test_a_module_is_answered_by_its_short_and_its_full_name(word: str) -> None:
    assert step_hint(f"ansible.builtin.{word}") == habit.MODULES[word]
    if word in habit.STEP_HABITS:
        assert habit.MODULES[word] in step(f"{word}: {{}}")


def test_a_handler_with_a_module_is_told_which_action_takes_its_place() -> None:
    steps = "steps: [{name: a, ssh.command: {argv: [id]}, notify: b}]\n"
    assert "write `ssh.service" in said(f"{steps}handlers: [{{name: b, service: {{name: nginx}}}}]\n")


def test_a_variable_of_the_inventory_may_be_called_as_ansible_calls_a_fact() -> None:
    loaded = parse_runbook(HEAD + "steps: [{name: a, ssh.command: {argv: ['{{ play_hosts }}']}}]\n")
    assert not lint(loaded, CATALOG, parse_inventory("[web]\nweb1 play_hosts=x\n"))
