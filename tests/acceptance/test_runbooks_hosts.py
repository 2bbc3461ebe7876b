"""Restarting a service and locking accounts out, on real hosts with a systemd of their own."""

from __future__ import annotations

import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from builders.rehearsal import Rehearsal, rehearsal

from mimrun.lab import folder, inventory, patience
from mimrun.lab.systemd_hosts import SystemdHost, SystemdHosts

pytestmark = pytest.mark.needs("systemd")


@contextmanager
def hosts(net: str, *names: str) -> Iterator[tuple[SystemdHosts, Rehearsal]]:
    with folder.temporary() as where, SystemdHosts(where / "hosts", names, net=net) as lab:
        path = where / "inventory.yaml"
        path.write_text(inventory.hosts_inventory(lab.hosts))
        with rehearsal(where, path) as stage:
            yield lab, stage


def page(host: SystemdHost) -> int:
    try:
        with urllib.request.urlopen(host.web_url, timeout=3) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code
    except OSError:
        return 0


def started_at(lab: SystemdHosts, name: str) -> int:
    text = lab.run(name, "systemctl", "show", "--property=ExecMainStartTimestampMonotonic", "--value", "web")
    return int(text)


def login(host: SystemdHost, account: str) -> bool:
    argv = host.login(account).command("true")
    return subprocess.run(argv, capture_output=True, timeout=30, check=False).returncode == 0


def prior(lab: SystemdHosts, name: str, account: str) -> str:
    """What a lockdown touches: the whole shadow line, and the keys with owner, mode, time and content."""
    ssh = f"/home/{account}/.ssh"
    return "".join(
        [
            lab.run(name, "sudo", "getent", "shadow", account),
            lab.run(name, "sudo", "find", ssh, "-type", "f", "-printf", "'%p %m %u %g %s %T@\\n'"),
            lab.run(name, "sudo", "sh", "-c", f"'sha256sum {ssh}/*'"),
        ]
    )


RESTART = ("group=web", "unit=web")
LOCK = ("targets=web", 'accounts:=["contractor","clerk"]')


def test_a_stuck_service_is_restarted_one_host_first_then_half_then_the_rest() -> None:
    with hosts("127.0.61", "web1", "web2", "web3", "web4") as (lab, stage):
        for host in lab.hosts:
            lab.break_service(host.name)
        assert patience.came_true(lambda: {page(h) for h in lab.hosts} == {503}, seconds=5)
        assert stage.start("service-restart", *RESTART).waits_on == "gate"
        assert {page(h) for h in lab.hosts} == {503}, "nothing is done before people agree"
        assert stage.approve().status == "succeeded"
        assert {page(h) for h in lab.hosts} == {200}
        one, two, three, four = (started_at(lab, host.name) for host in lab.hosts)
        assert one < min(two, three)
        assert max(two, three) < four


def test_a_service_that_does_not_come_back_stops_the_run_at_the_first_host() -> None:
    with hosts("127.0.62", "web1", "web2", "web3") as (lab, stage):
        lab.break_service("web1", for_good=True)
        before = [started_at(lab, name) for name in ("web2", "web3")]
        stage.start("service-restart", *RESTART)
        state = stage.approve()
        assert state.status == "failed"
        assert "step 3.batch.1.block.1 'Restart' failed on web1" in state.reason
        assert [started_at(lab, name) for name in ("web2", "web3")] == before
        assert {page(lab.host(name)) for name in ("web2", "web3")} == {200}


def test_a_service_that_runs_and_stays_ill_stops_the_run_at_the_first_host() -> None:
    with hosts("127.0.63", "web1", "web2") as (lab, stage):
        # systemd says active; only the page says that it does not work.
        lab.run("web1", "sudo", "systemctl", "mask", "--runtime", "--now", "web")
        lab.run("web1", "sudo", "systemd-run", "--unit=stand-in", "sleep", "600")
        stage.start("service-restart", "group=web", "unit=stand-in")
        # The unit is not there on web2, so nobody is asked at all.
        assert stage.state.status == "failed"
        assert "The unit is there" in stage.state.reason
        assert "web2" in stage.state.reason
        lab.run("web2", "sudo", "systemd-run", "--unit=stand-in", "sleep", "600")
        stage.start("service-restart", "group=web", "unit=stand-in")
        state = stage.approve()
        assert state.status == "failed"
        assert "step 3.batch.1.block.2 'The service is well' failed on web1" in state.reason


def test_one_host_needs_nobody_and_undo_brings_back_that_it_was_not_running() -> None:
    with hosts("127.0.64", "web1") as (lab, stage):
        lab.run("web1", "sudo", "systemctl", "stop", "web")
        assert stage.start("service-restart", *RESTART).status == "succeeded"
        assert page(lab.host("web1")) == 200
        assert stage.undo().status == "succeeded"
        assert page(lab.host("web1")) == 0
        # A unit that was running is running after the undo, too.
        lab.run("web1", "sudo", "systemctl", "start", "web")
        stage.start("service-restart", *RESTART)
        assert stage.undo().status == "succeeded"
        assert page(lab.host("web1")) == 200


def test_locked_out_means_no_login_no_session_and_undo_brings_back_the_exact_state() -> None:
    with hosts("127.0.65", "app1", "app2") as (lab, stage):
        # One is locked by password already, one expires next year: neither may be lost.
        lab.run("app1", "sudo", "usermod", "--lock", "clerk")
        lab.run("app2", "sudo", "usermod", "--expiredate", "2099-12-31", "contractor")
        people = [(host.name, account) for host in lab.hosts for account in ("contractor", "clerk")]
        before = {key: prior(lab, *key) for key in people}
        session = subprocess.Popen(
            lab.host("app1").login("contractor").command("echo here; exec sleep 600"), stdout=subprocess.PIPE
        )
        assert session.stdout is not None
        assert session.stdout.readline() == b"here\n"
        try:
            assert stage.start("access-lockdown", *LOCK).waits_on == "gate"
            assert login(lab.host("app2"), "contractor"), "nothing is done before people agree"
            assert stage.approve().status == "succeeded"
            assert session.wait(timeout=10) != 0
        finally:
            session.kill()
            session.stdout.close()
        assert [key for key in people if login(lab.host(key[0]), key[1])] == []
        lockdown = stage.run
        assert stage.undo().status == "succeeded"
        assert {key: prior(lab, *key) for key in people} == before
        assert all(login(lab.host(name), account) for name, account in people)

        # What was done is done once: a second lockdown finds everything, and its undo brings it back again.
        stage.start("access-lockdown", *LOCK)
        assert stage.approve().status == "succeeded"
        again = stage.run
        stage.start("access-lockdown", *LOCK)
        assert stage.approve().status == "succeeded"
        assert stage.undo().status == "succeeded"
        assert not login(lab.host("app1"), "contractor"), "the second run found it locked, and leaves it so"
        stage.run = again
        assert stage.undo().status == "succeeded"
        assert {key: prior(lab, *key) for key in people} == before
        assert len({lockdown, again, stage.run}) == 3


@pytest.mark.parametrize(
    ("net", "change", "look"),
    [
        (
            "127.0.66",
            "echo ssh-ed25519 AAAA other >/home/clerk/.ssh/authorized_keys",
            "cat /home/clerk/.ssh/authorized_keys",
        ),
        ("127.0.68", "usermod --expiredate 2 contractor", "getent shadow contractor"),
    ],
    ids=["keys", "account"],
)
def test_undo_refuses_what_somebody_has_changed_since(net: str, change: str, look: str) -> None:
    with hosts(net, "app1") as (lab, stage):
        stage.start("access-lockdown", *LOCK)
        assert stage.approve().status == "succeeded"
        lab.run("app1", "sudo", "sh", "-c", f"'{change}'")
        theirs = lab.run("app1", "sudo", "sh", "-c", f"'{look}'")
        state = stage.undo()
        assert state.status == "in_doubt", "a person decides whose change stays"
        doubts = [cell.reason for cell in state.cells.values() if cell.status == "in_doubt"]
        assert doubts
        assert all("somebody has changed it since" in reason for reason in doubts), doubts
        assert lab.run("app1", "sudo", "sh", "-c", f"'{look}'") == theirs
        assert not login(lab.host("app1"), "contractor")


def test_keys_behind_a_link_are_not_followed_as_root() -> None:
    with hosts("127.0.67", "app1") as (lab, stage):
        lab.run("app1", "sudo", "mv", "/home/contractor/.ssh", "/home/contractor/old")
        lab.run("app1", "sudo", "ln", "-s", "/home/oper/.ssh", "/home/contractor/.ssh")
        stage.start("access-lockdown", *LOCK)
        state = stage.approve()
        assert state.status == "failed"
        assert "is a link" in state.reason
        # The operator's own keys are where they were.
        assert lab.run("app1", "true") == ""


def test_an_account_that_is_missing_stops_the_run_unless_that_was_said_to_be_fine() -> None:
    with hosts("127.0.68", "app1", "app2") as (lab, stage):
        lab.run("app2", "sudo", "userdel", "contractor")
        state = stage.start("access-lockdown", *LOCK)
        assert state.status == "failed"
        assert "app2" in state.reason
        stage.start("access-lockdown", *LOCK, "may_be_missing=true")
        assert stage.approve().status == "succeeded"
        assert not login(lab.host("app1"), "contractor")
        assert stage.undo().status == "succeeded"
        assert login(lab.host("app1"), "contractor")


def test_we_do_not_lock_ourselves_out() -> None:
    with hosts("127.0.69", "app1") as (_, stage):
        for account in ("oper", "root"):
            state = stage.start("access-lockdown", "targets=web", f'accounts:=["{account}"]')
            assert state.status == "failed"
            assert "We do not lock ourselves out" in state.reason


def test_no_password_hash_and_no_key_comes_into_the_log(tmp_path: Path) -> None:
    with hosts("127.0.70", "app1") as (lab, stage):
        lab.run("app1", "sudo", "usermod", "--password", "'$6$saltsalt$hashhashhash'", "clerk")
        key = (lab.folder / "clerk.key.pub").read_text().split()[1]
        stage.start("access-lockdown", *LOCK)
        stage.approve()
        stage.undo()
        raw = stage.home.settings.log.read_bytes() + b"".join(
            stage.home.store.blob(entry, ref.n) or b""
            for entry in stage.home.store.entries()
            for ref in entry.blobs
        )
        assert b"hashhashhash" not in raw
        assert key.encode() not in raw
