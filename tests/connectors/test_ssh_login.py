"""Reaching a host: who is trusted, who is let in, and what each refusal says."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from connectors.ssh import Command, Ssh
from mimrun.connector import Failed, Ok, Refused, Target

from .conftest import SshLab, make_call, wait_until

pytestmark = pytest.mark.needs("sshd")

TRUE = Command(argv=("true",))


def make_key(path: Path, kind: str = "ed25519", passphrase: str = "") -> Path:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "test", "-f", str(path)], check=True
    )
    return path


def refusal(ssh: Ssh, *, unreachable: bool = False, seconds: float = 20) -> str:
    """The reason of an outcome that must be clean."""
    outcome = ssh.perform(TRUE, make_call(seconds))
    assert isinstance(outcome, Failed), outcome
    assert outcome.clean
    assert outcome.unreachable is unreachable
    return outcome.reason


@contextmanager
def listener(answer: bytes | None) -> Iterator[tuple[str, int]]:
    """A port that answers each connection with some bytes and hangs up; None keeps silent."""
    server = socket.create_server(("127.0.21.250", 0))
    server.settimeout(0.1)
    over, kept = threading.Event(), []

    def serve() -> None:
        while not over.is_set():
            try:
                connection, _ = server.accept()
            except TimeoutError:
                continue
            if answer is None:
                kept.append(connection)
                continue
            with connection:
                connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield server.getsockname()
    finally:
        over.set()
        thread.join()
        for connection in kept:
            connection.close()
        server.close()


def test_unknown_host_key_is_refused_with_its_fingerprint(lab: SshLab, tmp_path: Path) -> None:
    known = tmp_path / "known"
    known.write_text("# nothing\n")
    reason = refusal(lab.ssh(ssh_known_hosts=str(known)))
    host_key = lab.hosts.folder / "one" / "host_key.pub"
    shown = subprocess.run(["ssh-keygen", "-lf", host_key], capture_output=True, text=True, check=True)
    assert shown.stdout.split()[1] in reason
    assert str(known) in reason
    assert "does not trust" in reason


def test_changed_host_key_is_refused_with_the_line(lab: SshLab, tmp_path: Path) -> None:
    host = lab.hosts.host("one")
    other = make_key(tmp_path / "other").with_suffix(".pub").read_text()
    known = tmp_path / "known"
    known.write_text(f"# two\n[{host.address}]:{host.port} {other}")
    reason = refusal(lab.ssh(ssh_known_hosts=str(known)))
    assert "has changed" in reason
    assert f"{known}:2" in reason


def test_revoked_host_key_is_refused_though_it_is_listed(lab: SshLab, tmp_path: Path) -> None:
    known = tmp_path / "known"
    lines = lab.hosts.host("one").known_hosts_path.read_text()
    key = next(line for line in lines.splitlines() if lab.hosts.host("one").address + "]" in line)
    known.write_text(f"{key}\n@revoked * {key.split(' ', 1)[1]}\n")
    assert "revoked" in refusal(lab.ssh(ssh_known_hosts=str(known)))


def test_hashed_host_name_is_found(lab: SshLab, tmp_path: Path) -> None:
    known = tmp_path / "known"
    shutil.copy(lab.hosts.host("one").known_hosts_path, known)
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(known)], check=True, capture_output=True)
    assert lab.hosts.host("one").address not in known.read_text()
    assert isinstance(lab.ssh(ssh_known_hosts=str(known)).perform(TRUE, make_call()), Ok)


def test_missing_known_hosts_file_is_refused(lab: SshLab) -> None:
    assert "no such known_hosts file" in refusal(lab.ssh(ssh_known_hosts="/no/such/file"))


def test_a_key_that_the_host_does_not_know_is_refused(lab: SshLab, tmp_path: Path) -> None:
    key = make_key(tmp_path / "stranger")
    reason = refusal(lab.ssh(ansible_ssh_private_key_file=str(key)))
    assert "refused" in reason
    assert str(key) in reason


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
def test_other_types_of_keys_log_in(lab: SshLab, tmp_path: Path, kind: str) -> None:
    key = make_key(tmp_path / kind, kind)
    allowed = lab.hosts.folder / "one" / "authorized_keys"
    before = allowed.read_text()
    try:
        allowed.write_text(before + key.with_suffix(".pub").read_text())
        ssh = lab.ssh(ansible_ssh_private_key_file=str(key))
        assert isinstance(ssh.perform(TRUE, make_call()), Ok)
    finally:
        allowed.write_text(before)


def test_encrypted_key_needs_a_reference_to_its_passphrase(
    lab: SshLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "locked"
    shutil.copy(lab.hosts.host("one").key_path, key)
    subprocess.run(["ssh-keygen", "-q", "-p", "-P", "", "-N", "open sesame", "-f", key], check=True)
    assert "ssh_key_passphrase" in refusal(lab.ssh(ansible_ssh_private_key_file=str(key)))
    monkeypatch.setenv("KEY_PASS", "wrong")
    variables = {"ansible_ssh_private_key_file": str(key), "ssh_key_passphrase": "env:KEY_PASS"}
    assert "passphrase is wrong" in refusal(lab.ssh(**variables))
    monkeypatch.delenv("KEY_PASS")
    assert "KEY_PASS" in refusal(lab.ssh(**variables))
    monkeypatch.setenv("KEY_PASS", "open sesame")
    assert isinstance(lab.ssh(**variables).perform(TRUE, make_call()), Ok)


def test_a_passphrase_itself_is_not_taken(lab: SshLab) -> None:
    with pytest.raises(Refused, match="ssh_key_passphrase"):
        lab.ssh(ssh_key_passphrase="open sesame")


def test_key_that_others_can_read_is_refused(lab: SshLab, tmp_path: Path) -> None:
    key = make_key(tmp_path / "open")
    key.chmod(0o644)
    assert f"chmod 600 {key}" in refusal(lab.ssh(ansible_ssh_private_key_file=str(key)))


def test_a_file_that_is_no_key_is_refused(lab: SshLab, tmp_path: Path) -> None:
    key = tmp_path / "note"
    key.write_text("hello\n")
    key.chmod(0o600)
    assert "not a private key" in refusal(lab.ssh(ansible_ssh_private_key_file=str(key)))
    assert "No such file" in refusal(lab.ssh(ansible_ssh_private_key_file=str(tmp_path / "absent")))


def test_no_key_at_all_is_refused(lab: SshLab) -> None:
    assert "no key to log in with" in refusal(lab.ssh(ansible_ssh_private_key_file=""))


def test_the_agents_key_is_used_where_no_file_is_named(lab: SshLab, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = lab.hosts.folder.parent
    sock = folder / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(sock)], stdout=subprocess.DEVNULL)
    try:
        assert wait_until(sock.exists)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(sock))
        subprocess.run(["ssh-add", "-q", str(lab.hosts.host("one").key_path)], check=True, env={**os.environ})
        assert isinstance(lab.ssh(ansible_ssh_private_key_file="").perform(TRUE, make_call()), Ok)
    finally:
        agent.terminate()
        agent.wait()


def test_the_users_own_key_is_used_where_there_is_no_agent(
    lab: SshLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir(mode=0o700)
    shutil.copy(lab.hosts.host("one").key_path, tmp_path / ".ssh" / "id_ed25519")
    shutil.copy(lab.hosts.host("one").known_hosts_path, tmp_path / ".ssh" / "known_hosts")
    ssh = lab.ssh(ansible_ssh_private_key_file="", ssh_known_hosts="~/.ssh/known_hosts")
    assert isinstance(ssh.perform(TRUE, make_call()), Ok)


def test_names_and_addresses_that_lead_nowhere_are_unreachable(lab: SshLab) -> None:
    assert "cannot be resolved" in refusal(lab.ssh(ansible_host="no-such-host.invalid"), unreachable=True)
    assert "Connection refused" in refusal(lab.ssh(ansible_host="127.0.21.249"), unreachable=True)


def test_a_host_that_never_greets_is_unreachable_within_the_connect_timeout(lab: SshLab) -> None:
    with listener(None) as (address, port):
        begin = time.monotonic()
        ssh = lab.ssh(ansible_host=address, ansible_port=port, ssh_connect_timeout=0.5)
        assert "handshake did not end in time" in refusal(ssh, unreachable=True)
        assert time.monotonic() - begin < 2


def test_the_calls_deadline_bounds_connecting_too(lab: SshLab) -> None:
    with listener(None) as (address, port):
        begin = time.monotonic()
        refusal(lab.ssh(ansible_host=address, ansible_port=port), unreachable=True, seconds=0.4)
        assert time.monotonic() - begin < 2


def test_a_host_that_goes_silent_after_its_greeting_is_unreachable(lab: SshLab) -> None:
    with listener(b"SSH-2.0-OpenSSH_9.9\r\n") as (address, port):
        ssh = lab.ssh(ansible_host=address, ansible_port=port, ssh_connect_timeout=1)
        assert "handshake failed" in refusal(ssh, unreachable=True)


def test_a_host_without_free_login_slots_is_asked_again(lab: SshLab) -> None:
    host = lab.hosts.host("one")
    turned_away: list[float] = []
    server = socket.create_server(("127.0.21.248", 0))
    server.settimeout(10)

    def relay(source: socket.socket, sink: socket.socket) -> None:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)

    def serve() -> None:
        while len(turned_away) < 2:
            server.accept()[0].close()  # as sshd does beyond MaxStartups: hang up before the greeting
            turned_away.append(time.monotonic())
        client, _ = server.accept()
        with client, socket.create_connection((host.address, host.port)) as upstream:
            back = threading.Thread(target=relay, args=(upstream, client))
            back.start()
            relay(client, upstream)
            back.join()

    thread = threading.Thread(target=serve)
    thread.start()
    address, port = server.getsockname()
    key = next(line for line in host.known_hosts_path.read_text().splitlines() if f"{host.address}]" in line)
    known = lab.hosts.folder.parent / "known-relay"
    known.write_text(f"[{address}]:{port} {key.split(' ', 1)[1]}\n")
    try:
        ssh = lab.ssh(ansible_host=address, ansible_port=port, ssh_known_hosts=str(known))
        assert isinstance(ssh.perform(TRUE, make_call()), Ok)
        assert len(turned_away) == 2
    finally:
        lab.close()
        thread.join()
        server.close()


def test_a_host_that_always_hangs_up_is_unreachable_in_time(lab: SshLab) -> None:
    with listener(b"") as (address, port):
        ssh = lab.ssh(ansible_host=address, ansible_port=port, ssh_connect_timeout=2)
        assert "MaxStartups" in refusal(ssh, unreachable=True)


def test_variables_that_make_no_sense_are_refused_by_name() -> None:
    for name, value in (
        ("ansible_port", "ssh"),
        ("ansible_host", "-oProxyCommand=x"),
        ("ansible_become_method", "su"),
    ):
        with pytest.raises(Refused, match=name):
            Ssh.settings_type.of(Target("one", {name: value}))


def test_ansibles_older_names_are_understood() -> None:
    settings = Ssh.settings_type.of(
        Target(
            "one",
            {
                "ansible_ssh_host": "h",
                "ansible_ssh_port": "2222",
                "ansible_ssh_user": "u",
                "ansible_become": "yes",
            },
        )
    )
    shown = settings.model_dump()
    assert [shown[f"ansible_{key}"] for key in ("host", "port", "user", "become")] == ["h", 2222, "u", True]
