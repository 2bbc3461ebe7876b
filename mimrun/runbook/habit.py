"""Habits: words that an author brings along from Ansible, and what they are called here."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

_COMMANDS: Final = 'write `ssh.command: {argv: [program, "argument"]}`, or `local.command` for this machine'
_SHELLS: Final = (
    "write `ssh.shell: {cmd: …}` with every value through the quote filter, or better `ssh.command`"
)
_SERVICES: Final = "write `ssh.service: {unit: …, state: restarted}`, or `started`, `stopped`, `reloaded`"
_PACKAGES: Final = (
    "write the package manager's own command: `ssh.command: {argv: [apt-get, install, --yes, …]}`"
)
_PATHS: Final = "write `ssh.command: {argv: [install, …]}`, with `creates:` or `removes:` where a path tells"
_LINES: Final = "write the whole file with `ssh.upload: {content: …, dest: …}`"
_LOOPS: Final = "write `loop:` with a list; each item is `item`"
_FILE_LOOPS: Final = "write `loop:` with a list: a runbook reads no files of its own accord"
_INCLUDES: Final = "write `include: {runbook: name@1.2.0}`, or the steps themselves in a `block`"
_ROLES: Final = "there are no roles: write the steps out, or `include:` a runbook"
_FORKS: Final = "`serial` on the step says how many hosts are worked on at once"
_STRATEGY: Final = (
    "a step is done on all of its hosts before the next one begins; `parallel:` has branches that do not wait"
)
_INVENTORY: Final = "it belongs to the host: set it in the inventory"
_GATHERED: Final = "nothing is gathered unasked: read what you need in a step and `register` it"
_ERRORS: Final = "a run stops at the first failure; `limits: {failures: N}` at the top allows some"
_HANDLERS_FORCED: Final = (
    "handlers are done after the last step; what must follow a failure too goes under `always:`"
)
_DATABASES: Final = "write `postgres.query: {sql: …}` to read, or `postgres.execute: {sql: …}` to change"
_BALANCERS: Final = (
    "write `haproxy.drain: {server: …}`, `haproxy.disable`, `haproxy.enable` or `haproxy.state`"
)
_PEOPLE: Final = "a person is told by a `manual` step; a chat or mail gateway by `http.request: {…}`"

MODULES: Final = {
    **dict.fromkeys(("shell", "raw"), _SHELLS),
    **dict.fromkeys(("command", "cmd", "argv", "win_command", "expect"), _COMMANDS),
    **dict.fromkeys(("service", "systemd", "systemd_service", "sysvinit"), _SERVICES),
    **dict.fromkeys(("package", "apt", "yum", "dnf", "dnf5", "pip"), _PACKAGES),
    **dict.fromkeys(("file", "tempfile"), _PATHS),
    **dict.fromkeys(("lineinfile", "blockinfile", "replace", "ini_file", "assemble"), _LINES),
    **dict.fromkeys(("include_tasks", "import_tasks", "import_playbook"), _INCLUDES),
    **dict.fromkeys(("include_role", "import_role"), _ROLES),
    **dict.fromkeys(("setup", "gather_facts", "service_facts", "package_facts"), _GATHERED),
    **dict.fromkeys(("mail", "slack", "mattermost"), _PEOPLE),
    **dict.fromkeys(("user", "group", "cron", "mount", "sysctl", "hostname", "git", "unarchive"), _COMMANDS),
    **dict.fromkeys(("postgresql_query", "postgresql_script"), _DATABASES),
    "haproxy": _BALANCERS,
    "script": "write `ssh.script: {src: …}`, or `local.script` for this machine",
    "copy": "write `ssh.upload: {src: …, dest: …}`, or `local.copy` for this machine",
    "synchronize": "write `ssh.upload: {src: …, dest: …}` for each file",
    "template": "write `ssh.upload: {content: …, dest: …}`, with the template as content",
    "fetch": "write `ssh.download: {src: …, dest: …}`",
    "slurp": "write `ssh.command: {argv: [cat, …], changed: false}` and `register` it",
    "stat": "write `ssh.command: {argv: [test, -e, …], changed: false, ok_codes: [0, 1]}` and `register` it",
    "find": "write `ssh.command: {argv: [find, …], changed: false}` and `register` it",
    "uri": "write `http.request: {…}`",
    "get_url": "write `ssh.command: {argv: [curl, --output, …], creates: …}`, or `http.request: {…}`",
    "wait_for": "write `wait.port: {port: …}`, or `wait:` with an action that looks, `until` and a `deadline`",
    "wait_for_connection": "write `wait.port: {port: 22}`",
    "reboot": "write `ssh.command: {argv: [systemctl, reboot]}` and then `wait.port: {port: 22}`",
    "ping": 'write `ssh.command: {argv: ["true"], changed: false}`',
    "pause": "write a `manual` step when a person is to do something, or `wait.duration: {for: 5s}`",
    "debug": "an action's answer is in the log; a person is told by a `manual` step",
    "set_fact": "write `vars:` at the top for constants, and `register:` for answers",
    "add_host": "the hosts of a plan are those of the inventory: add it there",
    "group_by": "the groups of a plan are those of the inventory; write `when:` on the steps",
    "assert": "write `expect:` on the step whose answer is meant",
    "fail": "write `expect:` on the step whose answer is meant",
    "meta": "handlers are done after the last step: what must be done earlier is a step of its own",
    "async_status": "a step waits until its action is over, `timeout:` at the most",
}
"""Modules of Ansible, by their last name."""

STEP_HABITS: Final = {
    **{name: hint for name, hint in MODULES.items() if name != "expect"},
    **dict.fromkeys(("with_items", "with_list", "with_sequence"), _LOOPS),
    **dict.fromkeys(("with_fileglob", "with_file", "with_lines"), _FILE_LOOPS),
    **dict.fromkeys(("throttle", "forks"), _FORKS),
    **dict.fromkeys(("become_method", "become_flags", "become_exe"), _INVENTORY),
    **dict.fromkeys(("remote_user", "connection", "port"), _INVENTORY),
    **dict.fromkeys(
        ("async", "poll"), "write `timeout:`; steps that need not wait for each other stand under `parallel:`"
    ),
    **dict.fromkeys(("tasks", "steps"), "write `block:`"),
    **dict.fromkeys(("approve", "approval"), "write `gate:`"),
    "with_dict": 'write `loop: "{{ things | dict2items }}"`',
    "loop_control": "the variable of a loop is always `item`",
    "listen": "write the name of the handler under `notify:`",
    "max_fail_percentage": 'write `max_failures: "10%"`, or `limits: {failures: "10%"}` at the top',
    "any_errors_fatal": _ERRORS,
    "delegate_to": "write `hosts:` on the step",
    "delegate_facts": "an answer belongs to the host that gave it: `hosts:` on the step",
    "local_action": "write `hosts: localhost` on the step, or an action of `local`",
    "become_user": "write `become: USER`",
    "failed_when": "write `expect:` with the condition for success",
    "changed_when": "the connector says what changed; for a command that only looks write `changed: false`",
    "on_failure": "write `block:` with `rescue:`",
    "strategy": _STRATEGY,
    "order": "batches are made in the order of the inventory; `serial` is on the step",
    "vars": "write `vars:` at the top of the runbook",
    "args": "write the arguments under the action",
    "action": "write the action's name as the key: `ssh.command: {…}`",
    "ignore_unreachable": "write `ignore_errors: true`",
    "gather_facts": _GATHERED,
    "module_defaults": "write the arguments at each action",
    "collections": "actions are always written in full: `ssh.command: {…}`",
    "diff": "`mimrun plan --check` shows what would change",
    "debugger": "`mimrun plan` and `mimrun plan --check` show what would be done",
}

RUNBOOK_HABITS: Final = {
    "tasks": "write `steps:`",
    "pre_tasks": "write `steps:`",
    "post_tasks": "write `steps:`, or a block with `always:`",
    "block": "write `steps:`",
    "roles": _ROLES,
    "gather_facts": _GATHERED,
    "gather_subset": _GATHERED,
    "vars_files": "write `vars:`, or take values as `inputs:`",
    "vars_prompt": "write `inputs:`",
    "become": "write `become:` on the steps that need it",
    "become_user": "write `become: USER` on the steps that need it",
    "remote_user": "it belongs to the host: set `ansible_user` in the inventory",
    "connection": _INVENTORY,
    "port": _INVENTORY,
    "serial": "write `serial:` on the step, or on a `block:` around the steps",
    "run_once": "write `run_once:` on the steps that are done on one host only",
    "order": "batches are made in the order of the inventory",
    "strategy": _STRATEGY,
    "environment": "write `environment:` on the steps that need it",
    "any_errors_fatal": _ERRORS,
    "ignore_errors": "write `ignore_errors:` on the step",
    "force_handlers": _HANDLERS_FORCED,
    "max_failures": "write `limits: {failures: N}`",
    "max_fail_percentage": 'write `limits: {failures: "10%"}`',
    "throttle": _FORKS,
    "forks": _FORKS,
    "module_defaults": "write the arguments at each action",
    "collections": "actions are always written in full: `ssh.command: {…}`",
    "when": "write `when:` on the steps, or on a `block:` around them",
}

ARGUMENT_HABITS: Final = {
    "name": ("unit", "server"),
    "host": ("server",),
    "path": ("dest",),
    "cmd": ("argv",),
    "_raw_params": ("argv", "cmd"),
    "query": ("sql",),
    "named_args": ("params",),
    "positional_args": ("params",),
    "status_code": ("expect",),
    "minutes": ("for",),
    "remote_src": ("src",),
}
"""Arguments of Ansible's modules, and what they may be called here."""
_ELSEWHERE: Final = {
    **dict.fromkeys(("validate_certs", "login_host", "login_user", "db", "remote_user"), _INVENTORY),
    "daemon_reload": "write a step before it: `ssh.command: {argv: [systemctl, daemon-reload]}`",
    "backup": "write `capture:` and `undo:`; `mimrun undo` takes back",
    "return_content": "the answer has `body` in any case",
}

WORD_HABITS: Final = {
    "json_query": "name the keys: `answer.rows[0].name`, or take `map(attribute='name')` and `selectattr`",
    "ternary": "write `a if condition else b`",
    "mandatory": "a name that is not there is an error anyway",
    "from_yaml": "write `from_json`; YAML from hosts is not read",
    "basename": "write `path.split('/') | last`",
    "dirname": "write `path.rpartition('/')[0]`",
    "regex_findall": "write `regex_search`, with groups where several things are meant",
    "succeeded": "write `not answer.failed`",
    "success": "write `not answer.failed`",
    "failed": "write `answer.failed`",
    "changed": "write `answer.changed`",
    "skipped": "write `answer.skipped`",
    "reachable": "write `not answer.failed`",
    "unreachable": "write `answer.failed`",
    **dict.fromkeys(
        ("lookup", "query", "q", "env"),
        "a template cannot read files, the environment or the network: give the value as an input",
    ),
}
"""Filters, tests and functions of Ansible."""

NAME_HABITS: Final = {
    "omit": "leave the key out, or make two steps with `when:`",
    "ansible_check_mode": "`mimrun plan --check` does nothing but `check_mode: false` readings",
    **dict.fromkeys(("play_hosts", "ansible_play_hosts", "ansible_play_batch"), "write `groups['all']`"),
    "ansible_facts": _GATHERED,
    "ansible_date_time": "a plan has no clock: read it in a step and `register` it",
}
"""Names that Ansible gives to templates."""

YES_AND_NO: Final = frozenset({"yes", "no", "on", "off", "y", "n"})
"""Booleans of YAML 1.1, which are texts here."""


def step_hint(word: str) -> str:
    """Give the hint for a key of a step that Ansible knows; "" where it is not one."""
    if word.startswith("with_"):
        return STEP_HABITS.get(word, _LOOPS)
    prefix, _, last = word.rpartition(".")
    if is_module(word) and prefix:
        known = _DATABASES if "postgresql" in prefix else f"Ansible's modules are not used: {_COMMANDS}"
        return MODULES.get(last, known)
    return STEP_HABITS.get(word, "")


def is_module(word: str) -> bool:
    """Say whether a key names a module of Ansible."""
    return word in MODULES or word.startswith(("ansible.", "community."))


def runbook_hint(word: str) -> str:
    """Give the hint for a key of a play that Ansible knows; "" where it is not one."""
    return RUNBOOK_HABITS.get(word, "")


def argument_hint(word: str, allowed: Collection[str]) -> str:
    """Give the hint for an argument that an Ansible module has; "" where no action calls it otherwise.

    Arguments:
        word: what was written.
        allowed: the arguments that the action has.
    """
    if word in _ELSEWHERE:
        return _ELSEWHERE[word]
    known = [name for name in ARGUMENT_HABITS.get(word, ()) if name in allowed]
    return f"write `{known[0]}:`" if known else ""
