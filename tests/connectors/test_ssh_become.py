"""`become`: sudo without a password, in a mount namespace whose sudoers are the test's own."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from connectors.ssh import Command, Download, Script, Shell, Upload
from mimrun.connector import Effect, Failed, Ok, Unknown
from mimrun.lab import loopback, process
from mimrun.lab.sshd import SshdHosts

from .conftest import SshLab, make_call, wait_until

pytestmark = [
    pytest.mark.needs("sshd", "root"),
    pytest.mark.skipif(not shutil.which("sudo"), reason="sudo is not installed here"),
    pytest.mark.skipif(not shutil.which("unshare"), reason="unshare is not installed here"),
]


@pytest.fixture(params=["use_pty", "!use_pty"])
def sudo_lab(request: pytest.FixtureRequest, ssh_hosts: SshdHosts) -> Iterator[SshLab]:
    """Host two, where the login user may do everything by sudo; the machine itself is not touched."""
    host = ssh_hosts.host("two")
    if host.user == "root":
        pytest.skip("this machine has no ordinary user with a shell")
    rules = ssh_hosts.folder.parent / "sudoers.d"
    rules.mkdir(exist_ok=True)
    (rules / "lab").write_text(f"Defaults {request.param}\n{host.user} ALL=(ALL) NOPASSWD: ALL\n")
    (rules / "lab").chmod(0o440)
    ssh_hosts.stop_host("two")
    place = ssh_hosts.folder / "two"
    script = f"mount --bind {rules} /etc/sudoers.d && exec /usr/sbin/sshd -D -f {place}/sshd_config"
    server = subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", script],
        env=process.environment(ssh_hosts.folder),
    )
    lab = SshLab(ssh_hosts)
    try:
        assert wait_until(lambda: loopback.accepts(host.address, host.port))
        yield lab
    finally:
        lab.close()
        server.terminate()
        server.wait()
        ssh_hosts.start_host("two")


def test_commands_run_as_the_user_that_is_named(sudo_lab: SshLab) -> None:
    ssh = sudo_lab.ssh("two")
    for user, expected in (("root", "root"), ("daemon", "daemon"), (None, ssh.settings.user)):
        outcome = ssh.perform(Command(argv=("id", "-un")), make_call(become=user))
        assert isinstance(outcome, Ok), outcome
        assert outcome.data["stdout"] == expected
    login = ssh.settings.user
    assert isinstance(ssh.perform(Command(argv=("true",)), make_call(become=login)), Ok)


def test_become_of_the_inventory_holds_where_a_step_does_not_say(sudo_lab: SshLab) -> None:
    ssh = sudo_lab.ssh("two", ansible_become=True, ansible_become_user="daemon")
    for become, expected in ((None, "daemon"), ("root", "root")):
        outcome = ssh.perform(Command(argv=("id", "-un")), make_call(become=become))
        assert isinstance(outcome, Ok), outcome
        assert outcome.data["stdout"] == expected


def test_arguments_input_and_environment_pass_through_sudo(sudo_lab: SshLab) -> None:
    ssh = sudo_lab.ssh("two")
    words = ("", "a b", "it's", "$HOME", "-n", "x\ny", "%s", "\\")
    action = Command(argv=("sh", "-c", 'printf "<%s>" "$SECRET" "$@"; cat', "sh", *words), stdin="in")
    outcome = ssh.perform(action, make_call(become="root", environment={"SECRET": "v $x\n'y"}))
    assert isinstance(outcome, Ok), outcome
    assert outcome.data["stdout"] == "".join(f"<{word}>" for word in ("v $x\n'y", *words)) + "in"


def test_environment_values_are_not_in_sudos_command_line(sudo_lab: SshLab) -> None:
    action = Shell(cmd="for f in /proc/[0-9]*/cmdline; do tr '\\0' ' ' <$f; done 2>/dev/null; :")
    outcome = sudo_lab.ssh("two").perform(action, make_call(become="root", environment={"T": "very-hidden"}))
    assert isinstance(outcome, Ok), outcome
    assert "sudo -n" in str(outcome.data["stdout"])
    assert "very-hidden" not in str(outcome.data["stdout"])


def test_a_user_that_does_not_exist_is_a_clean_failure(sudo_lab: SshLab) -> None:
    outcome = sudo_lab.ssh("two").perform(Command(argv=("true",)), make_call(become="no-such-user"))
    assert isinstance(outcome, Failed), outcome
    assert outcome.clean
    assert "sudo to no-such-user was refused" in outcome.reason


@pytest.mark.parametrize("become", ["root", "daemon"])
def test_a_timed_out_command_of_another_user_is_ended(sudo_lab: SshLab, become: str) -> None:
    outcome = sudo_lab.ssh("two").perform(Shell(cmd="sleep 301 & sleep 302"), make_call(1.0, become=become))
    assert isinstance(outcome, Unknown), outcome
    groups = re.search(r"process group (\d+) and (\d+) is gone", outcome.reason)
    assert groups, outcome.reason
    shown = subprocess.run(["ps", "-eo", "pgid=,stat="], capture_output=True, text=True, check=True).stdout
    alive = {line.split()[0] for line in shown.splitlines() if not line.split()[1].startswith("Z")}
    assert not alive & set(groups.groups())


def test_cancelling_ends_a_root_command_that_ignores_term(sudo_lab: SshLab) -> None:
    stop = threading.Event()
    call = make_call(60, stop=stop, become="root")
    outcomes: list[object] = []
    action = Shell(cmd="trap '' TERM; echo up; sleep 303; sleep 303")
    ssh = sudo_lab.ssh("two")
    thread = threading.Thread(target=lambda: outcomes.append(ssh.perform(action, call)))
    thread.start()
    assert wait_until(lambda: "up" in call.output.stdout.text())
    stop.set()
    thread.join(20)
    assert "is gone (SIGKILL)" in str(outcomes[0])


def test_a_claim_belongs_to_the_user_that_the_command_runs_as(sudo_lab: SshLab) -> None:
    ssh, key = sudo_lab.ssh("two"), f"test{secrets.token_hex(8)}"
    folders = {user: Path(f"/var/tmp/mimrun-claims-{user}") for user in ("daemon", ssh.settings.user)}
    try:
        call = replace(make_call(become="daemon"), key=key, effect=Effect.PROBE)
        outcome = ssh.perform(Shell(cmd="id -un; exit 5"), call)
        assert (outcome.data["stdout"], outcome.data["rc"]) == ("daemon", 5)
        assert (folders["daemon"] / f"{key}-1").owner() == "daemon"
        assert not (folders[ssh.settings.user] / f"{key}-1").exists()
        probed = ssh.probe(Shell(cmd="x", ok_codes=(5,)), call)
        assert probed.outcome == Ok(changed=True, data={"rc": 5})
        # A command of another user that is ended has ended, as far as the host has it on record.
        call = replace(make_call(1.0, become="daemon"), key=key, attempt=2, effect=Effect.PROBE)
        assert isinstance(ssh.perform(Shell(cmd="sleep 304 & sleep 305"), call), Unknown)
        settled = ssh.probe(Shell(cmd="x"), replace(call, deadline=time.monotonic() + 20))
        assert isinstance(settled.outcome, Failed), settled
        assert settled.outcome.data == {"rc": 143}
        # The same from another connection, as for a worker that is dead: the look ends it, and proves it.
        call = replace(make_call(60.0, become="daemon"), key=key, attempt=3, effect=Effect.PROBE)
        thread = threading.Thread(target=ssh.perform, args=(Shell(cmd="echo up; sleep 306"), call))
        thread.start()
        assert wait_until(lambda: "up" in call.output.stdout.text())
        stop = threading.Event()
        stop.set()
        ended = sudo_lab.ssh("two").probe(Shell(cmd="x"), replace(call, stop=stop))
        thread.join(20)
        assert not thread.is_alive()
        assert "exit code 143 (SIGTERM)" in ended.reason, ended
        assert re.search(r"ended on the target: process group \d+ is gone", ended.reason), ended
    finally:
        for folder in folders.values():
            for path in folder.glob(f"{key}-*"):
                path.unlink()


def test_files_and_scripts_go_through_sudo_too(sudo_lab: SshLab, tmp_path: Path) -> None:
    ssh = sudo_lab.ssh("two")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    dest, back = closed / "f", tmp_path / "back"
    upload = Upload(dest=str(dest), content="x", mode="0600", owner="daemon", group="daemon")
    assert isinstance(ssh.perform(upload, make_call()), Failed)
    outcome = ssh.perform(upload, make_call(become="root"))
    assert isinstance(outcome, Ok), outcome
    assert dest.owner() == "daemon"
    replaced = ssh.perform(Upload(dest=str(dest), content="y"), make_call(become="root"))
    assert isinstance(replaced, Ok), replaced
    assert (dest.owner(), dest.group(), dest.stat().st_mode & 0o777) == ("daemon", "daemon", 0o600)
    fetched = ssh.perform(Download(src=str(dest), dest=str(back)), make_call(become="root"))
    assert isinstance(fetched, Ok), fetched
    assert back.read_text() == "y"
    assert back.stat().st_uid == os.getuid()
    script = tmp_path / "s"
    script.write_text("#!/bin/sh\nid -un\n")
    ran = ssh.perform(Script(src=str(script)), make_call(become="daemon"))
    assert isinstance(ran, Ok), ran
    assert ran.data["stdout"] == "daemon"


def test_without_a_rule_sudo_is_a_clean_failure(lab: SshLab) -> None:
    ssh = lab.ssh("one")
    if ssh.settings.user == "root":
        pytest.skip("this machine has no ordinary user with a shell")
    outcome = ssh.perform(Command(argv=("true",)), make_call(become="root"))
    assert isinstance(outcome, Failed), outcome
    assert outcome.clean
    assert "password is required" in outcome.reason
