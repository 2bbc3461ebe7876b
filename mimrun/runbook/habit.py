"""Habits: words that an author brings along from Ansible, and what they are called here."""

from __future__ import annotations

from typing import Final

_COMMANDS: Final = 'write `ssh.command: {argv: [program, "argument"]}`, or `local.command` for this machine'
_SHELLS: Final = (
    "write `ssh.shell: {cmd: …}` with every value through the quote filter, or better `ssh.command`"
)
_SERVICES: Final = (
    "write `ssh.command: {argv: [systemctl, restart, UNIT]}`, or an action of a connector for it"
)
_FILES: Final = "write `ssh.upload: {src: …, dest: …}`"
_LOOPS: Final = "write `loop:` with a list; each item is `item`"
_INCLUDES: Final = "write `include: {runbook: name@1.2.0}`, or the steps themselves in a `block`"
_FORKS: Final = "`serial` on the step says how many hosts are worked on at once"

STEP_HABITS: Final = {
    "shell": _SHELLS,
    "raw": _SHELLS,
    "command": _COMMANDS,
    "cmd": _COMMANDS,
    "argv": _COMMANDS,
    "win_command": _COMMANDS,
    "script": "write `ssh.script: {src: …}`",
    "service": _SERVICES,
    "systemd": _SERVICES,
    "systemd_service": _SERVICES,
    "copy": _FILES,
    "template": "write `ssh.upload: {content: …, dest: …}`, with the template as content",
    "fetch": "write `ssh.download: {src: …, dest: …}`",
    "uri": "write `http.request: {…}`",
    "wait_for": "write `wait.port: {…}`",
    "pause": "write a `manual` step when a person is to do something, or `wait.duration: {seconds: 5}`",
    "debug": "an action's answer is in the log; a person is told by a `manual` step",
    "set_fact": "write `vars:` at the top for constants, and `register:` for answers",
    "assert": "write `expect:` on the step whose answer is meant",
    "fail": "write `expect:` on the step whose answer is meant",
    "include_tasks": _INCLUDES,
    "import_tasks": _INCLUDES,
    "import_playbook": _INCLUDES,
    "include_role": "there are no roles: write the steps out",
    "import_role": "there are no roles: write the steps out",
    "with_items": _LOOPS,
    "with_list": _LOOPS,
    "with_dict": 'write `loop: "{{ things | dict2items }}"`',
    "loop_control": "the variable of a loop is always `item`",
    "listen": "write the name of the handler under `notify:`",
    "max_fail_percentage": 'write `max_failures: "10%"`, or `limits: {failures: "10%"}` at the top',
    "any_errors_fatal": "a run stops at the first failure; `limits: {failures: N}` at the top allows some",
    "delegate_to": "write `hosts:` on the step",
    "local_action": "write `hosts: localhost` on the step, or an action of `local`",
    "become_user": "write `become: USER`",
    "become_method": "it belongs to the host: set it in the inventory",
    "failed_when": "write `expect:` with the condition for success",
    "changed_when": "the connector says what changed; for a command that only looks write `changed: false`",
    "on_failure": "write `block:` with `rescue:`",
    "async": "write `timeout:`",
    "poll": "write `timeout:`",
    "vars": "write `vars:` at the top of the runbook",
    "args": "write the arguments under the action",
    "action": "write the action's name as the key: `ssh.command: {…}`",
    "ignore_unreachable": "write `ignore_errors: true`",
    "throttle": _FORKS,
    "forks": _FORKS,
    "tasks": "write `block:`",
    "steps": "write `block:`",
    "approve": "write `gate:`",
    "approval": "write `gate:`",
}

RUNBOOK_HABITS: Final = {
    "tasks": "write `steps:`",
    "pre_tasks": "write `steps:`",
    "post_tasks": "write `steps:`, or a block with `always:`",
    "roles": "there are no roles: write the steps out",
    "gather_facts": "nothing is gathered unasked: read what you need in a step and `register` it",
    "vars_files": "write `vars:`, or take values as `inputs:`",
    "vars_prompt": "write `inputs:`",
    "become": "write `become:` on the steps that need it",
    "remote_user": "it belongs to the host: set `ansible_user` in the inventory",
    "connection": "it belongs to the host: set it in the inventory",
    "serial": "write `serial:` on the step, or on a `block:` around the steps",
    "strategy": "a step is done on all of its hosts before the next one begins",
    "environment": "write `environment:` on the steps that need it",
    "any_errors_fatal": "a run stops at the first failure; `limits: {failures: N}` allows some",
    "max_failures": "write `limits: {failures: N}`",
    "max_fail_percentage": 'write `limits: {failures: "10%"}`',
    "throttle": _FORKS,
    "forks": _FORKS,
}

YES_AND_NO: Final = frozenset({"yes", "no", "on", "off", "y", "n"})
"""Booleans of YAML 1.1, which are texts here."""


def step_hint(word: str) -> str:
    """Give the hint for a key of a step that Ansible knows; "" where it is not one."""
    if word.startswith("with_"):
        return STEP_HABITS.get(word, _LOOPS)
    prefix, _, last = word.rpartition(".")
    if prefix.startswith(("ansible.", "community.")):
        return STEP_HABITS.get(
            last, "Ansible's modules are not used: `mimrun runbook lint` lists the actions"
        )
    return STEP_HABITS.get(word, "")


def runbook_hint(word: str) -> str:
    """Give the hint for a key of a play that Ansible knows; "" where it is not one."""
    return RUNBOOK_HABITS.get(word, "")
