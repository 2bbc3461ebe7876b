"""Real systemd hosts: boot, ssh, services, accounts, cables, power, and no way out."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mimrun.errors import LabError
from mimrun.lab import control_group, host_root, inventory, leftover, loopback, patience, systemd_hosts
from mimrun.lab.sshd import SshHost
from mimrun.lab.systemd_hosts import SystemdHost, SystemdHosts

pytestmark = pytest.mark.needs("systemd")


@pytest.fixture(scope="module")
def hosts(lab_folder: Path) -> Iterator[SystemdHosts]:
    with SystemdHosts(lab_folder / "systemd", ["web1", "web2"], net="127.0.41") as started:
        yield started


def ssh(host: SshHost, *argv: str, seconds: float = 20) -> subprocess.CompletedProcess[str]:
    return subprocess.run(host.command(*argv), capture_output=True, text=True, timeout=seconds, check=False)


@contextmanager
def ending(session: subprocess.Popen[Any]) -> Iterator[None]:
    """See to it that a session ends with its test, also when the test fails."""
    try:
        yield
    finally:
        session.kill()


def health(host: SystemdHost) -> int:
    try:
        with urllib.request.urlopen(host.web_url, timeout=3) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return 0


def test_every_host_is_a_running_systemd_of_its_own(hosts: SystemdHosts) -> None:
    for host in hosts.hosts:
        said = ssh(host, "hostname; cat /proc/1/comm; systemctl is-system-running; systemctl is-active web")
        assert said.stdout.split() == [host.name, "systemd", "running", "active"]
        assert health(host) == 200
    machine = Path("/etc/machine-id").read_text() if Path("/etc/machine-id").exists() else ""
    assert len({ssh(h, "cat", "/etc/machine-id").stdout for h in hosts.hosts} | {machine}) == 3


def test_a_restart_gives_the_service_a_new_process(hosts: SystemdHosts) -> None:
    show = ["systemctl", "show", "-p", "MainPID", "--value", "web"]
    before = hosts.run("web1", *show)
    assert ssh(hosts.host("web1"), "systemctl", "restart", "web").returncode != 0
    assert hosts.run("web1", *show) == before
    hosts.run("web1", "sudo", "systemctl", "restart", "web")
    assert hosts.run("web1", *show) != before
    assert health(hosts.host("web1")) == 200


def test_an_ill_service_is_cured_by_a_restart(hosts: SystemdHosts) -> None:
    host = hosts.host("web1")
    hosts.break_service("web1")
    assert patience.came_true(lambda: health(host) == 503, seconds=5)
    assert hosts.run("web1", "systemctl", "is-active", "web") == "active\n"
    hosts.run("web1", "sudo", "systemctl", "restart", "web")
    assert health(host) == 200


def test_a_service_with_broken_settings_does_not_start_until_mended(hosts: SystemdHosts) -> None:
    host = hosts.host("web2")
    hosts.break_service("web2", for_good=True)
    assert ssh(host, "sudo", "systemctl", "restart", "web").returncode == 1
    assert ssh(host, "systemctl", "is-active", "web").stdout == "failed\n"
    assert "JSONDecodeError" in hosts.run("web2", "sudo", "journalctl", "-u", "web", "--no-pager")
    assert health(host) == 0
    hosts.mend_service("web2")
    assert health(host) == 200


def test_a_locked_account_is_out_and_its_session_ends_and_unlocking_lets_it_in(hosts: SystemdHosts) -> None:
    clerk = hosts.host("web1").login("clerk")
    assert ssh(clerk, "id", "-un").stdout == "clerk\n"
    assert ssh(clerk, "sudo", "-n", "true").returncode != 0
    argv = clerk.command("echo in; exec sleep 600")
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as session, ending(session):
        assert session.stdout is not None
        assert session.stdout.readline() == "in\n"
        assert "clerk" in hosts.run("web1", "loginctl", "list-sessions", "--no-legend")
        hosts.run("web1", "sudo", "usermod", "--lock", "--expiredate", "1", "clerk")
        hosts.run("web1", "sudo", "loginctl", "terminate-user", "clerk")
        assert session.wait(timeout=10) == 255
    assert ssh(clerk, "true").returncode == 255
    # Only this account is concerned.
    assert ssh(hosts.host("web1").login("contractor"), "true").returncode == 0
    hosts.run("web1", "sudo usermod --expiredate '' clerk && sudo sed -i 's/^clerk:!/clerk:/' /etc/shadow")
    assert ssh(clerk, "true").returncode == 0


def test_no_host_has_a_way_out_and_they_reach_each_other(hosts: SystemdHosts) -> None:
    routes = hosts.run("web1", "ip", "-json", "route")
    assert [route["dst"] for route in json.loads(routes)] == ["10.99.0.0/24"]
    connect = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 2)"
    probe = ["python3", "-I", "-c", f"'{connect}'"]
    assert ssh(hosts.host("web1"), *probe, "10.99.0.12", "22").returncode == 0
    outside = ssh(hosts.host("web1"), *probe, "192.0.2.1", "80")
    assert outside.returncode == 1
    assert "Network is unreachable" in outside.stderr
    # Nor to this machine: its own ssh hosts on loopback are not theirs.
    assert ssh(hosts.host("web1"), *probe, "127.0.41.2", str(hosts.host("web2").port)).returncode == 1


def test_nothing_private_of_this_machine_is_seen_from_a_host(hosts: SystemdHosts, lab_folder: Path) -> None:
    for path in (
        "/work",
        str(Path.cwd()),
        str(Path.home()),
        str(lab_folder),
        "/etc/ssl",
        "/etc/cron.d",
        "/var/lib/dpkg",
    ):
        assert ssh(hosts.host("web1"), "sudo", "test", "-e", path).returncode == 1, path
    inside = hosts.run("web1", "sudo cat /etc/shadow /etc/passwd; sudo ls /root /home")
    shadow = Path("/etc/shadow").read_text()
    secrets = [line.split(":")[1] for line in shadow.splitlines() if line.split(":")[1].startswith("$")]
    assert [secret for secret in secrets if secret in inside] == []
    assert ssh(hosts.host("web1"), "sudo", "touch", "/usr/written").returncode == 1
    assert not Path("/usr/written").exists()
    assert ssh(hosts.host("web1"), "sudo", "mknod", "/tmp/disk", "b", "254", "0").returncode == 1


def test_a_cut_cable_leaves_the_command_running(hosts: SystemdHosts) -> None:
    host = hosts.host("web2")
    alive = list(host.command("touch /tmp/begun; sleep 2; touch /tmp/done"))
    alive[1:1] = ["-o", "ServerAliveInterval=1", "-o", "ServerAliveCountMax=1"]
    with subprocess.Popen(alive, stderr=subprocess.DEVNULL) as session, ending(session):
        assert patience.came_true(lambda: ssh(host, "test", "-e", "/tmp/begun").returncode == 0, seconds=5)
        hosts.cut("web2")
        assert session.wait(timeout=15) == 255
    begin = time.monotonic()
    assert ssh(host, "true").returncode == 255
    assert time.monotonic() - begin < 8
    assert health(host) == 0
    hosts.mend("web2")
    assert patience.came_true(lambda: ssh(host, "test", "-e", "/tmp/done").returncode == 0, seconds=10)


def test_a_host_without_power_comes_back_with_its_disk(hosts: SystemdHosts) -> None:
    host = hosts.host("web2")
    hosts.run("web2", "echo kept > /home/oper/note")
    boot = hosts.run("web2", "cat", "/proc/sys/kernel/random/boot_id")
    hosts.power_loss("web2")
    assert ssh(host, "true").returncode == 255
    hosts.boot("web2")
    assert hosts.run("web2", "cat", "/home/oper/note") == "kept\n"
    assert hosts.run("web2", "cat", "/proc/sys/kernel/random/boot_id") != boot
    assert health(host) == 200


def test_the_inventory_names_every_host_and_its_service(hosts: SystemdHosts) -> None:
    text = inventory.hosts_inventory(hosts.hosts)
    for host in hosts.hosts:
        assert f'service_url: "{host.web_url}"' in text
        assert f"ansible_port: {host.port}" in text


def everything_of(folder: Path) -> list[object]:
    """All that hosts could leave on this machine."""
    group = control_group.own(folder)
    # Unlike `glob`, `walk` goes on where a group is removed meanwhile, by systemd or by another test.
    groups = [top for top, _, _ in os.walk("/sys/fs/cgroup") if Path(top).name == group.name]
    mounts = [line for line in Path("/proc/self/mounts").read_text().splitlines() if "mimrun-lab" in line]
    links = [
        line for line in Path("/proc/net/dev").read_text().splitlines() if "br0" in line or " v1:" in line
    ]
    return [*leftover.find_all(folder), *groups, *mounts, *links]


def test_nothing_is_left_after_stop(lab_folder: Path) -> None:
    folder = lab_folder / "stopped"
    begin = time.monotonic()
    with SystemdHosts(folder, ["one"], net="127.0.42") as started:
        assert time.monotonic() - begin < systemd_hosts.READY
        address, port = started.hosts[0].address, started.hosts[0].port
        assert leftover.find_all(folder) != []
    assert everything_of(folder) == []
    assert not loopback.accepts(address, port)
    with pytest.raises(LabError, match="do not run"):
        started.cut("one")


STARTER = """
import os, signal, sys
from pathlib import Path
from typing import Any
from mimrun.lab import keeper
from mimrun.lab.systemd_hosts import SystemdHosts
SystemdHosts(Path(sys.argv[1]), ["x"], net="127.0.43").start()
print("up", flush=True)
if sys.argv[2] == "unguarded":
    keeper._keeper.kill()
signal.pause()
"""


@pytest.mark.parametrize("guard", ["guarded", "unguarded"])
def test_nothing_is_left_when_the_starter_is_killed(lab_folder: Path, guard: str) -> None:
    folder = lab_folder / guard
    argv = [sys.executable, "-c", STARTER, str(folder), guard]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        assert starter.stdout.readline() == "up\n"
        starter.send_signal(signal.SIGKILL)
    if guard == "unguarded":
        assert leftover.stop_all(folder) >= 1
    assert patience.came_true(lambda: everything_of(folder) == [], seconds=20)


def test_hosts_end_with_a_world_that_is_killed(lab_folder: Path) -> None:
    with SystemdHosts(lab_folder / "world", ["y"], net="127.0.44") as started:
        assert started._world is not None
        os.kill(started._world.pid, signal.SIGKILL)
        started._world.wait(timeout=5)
        group = control_group.own(started.folder)
        assert patience.came_true(lambda: not control_group.is_populated(group), seconds=15)
    assert everything_of(started.folder) == []


def test_a_start_waits_for_a_world_that_listens_and_not_for_its_file(lab_folder: Path) -> None:
    folder = lab_folder / "stale"
    folder.mkdir()
    with socket.socket(socket.AF_UNIX) as old:  # what a killed world leaves: a name, and nobody listening
        old.bind(str(folder / "world.sock"))
    with SystemdHosts(folder, ["z"], net="127.0.45") as started:
        assert started.run("z", "echo up") == "up\n"


def test_the_world_outlives_a_client_that_hangs_up_early(hosts: SystemdHosts) -> None:
    for _ in range(3):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(hosts.folder / "world.sock"))
    hosts.cut("web1")
    hosts.mend("web1")


def test_a_missing_program_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_root, "NEEDED", {**host_root.NEEDED, "/usr/bin/none-such": "none-such-package"})
    with pytest.raises(LabError, match="apt-get install none-such-package"):
        systemd_hosts.require()


def test_who_is_not_root_is_told_to_use_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LabError, match="need root"):
        systemd_hosts.require()
