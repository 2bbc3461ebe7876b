"""`ssh.service` on a real systemd: what it orders, what it answers, and what it proves afterwards."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from pydantic import ValidationError

from connectors.ssh import Service, Ssh, SshSettings
from mimrun.connector import Call, Effect, Failed, Finding, Ok, Outcome, Target, Unknown
from mimrun.lab import folder
from mimrun.lab.inventory import ssh_variables
from mimrun.lab.systemd_hosts import SystemdHosts

from .conftest import SshLab, make_call, wait_until

SLOW = """[Service]
ExecStartPre=/usr/bin/sleep 4
ExecStart=/usr/bin/sleep 1000
"""
BAD = """[Service]
Type=oneshot
ExecStart=/usr/bin/false
"""
ONCE = """[Service]
Type=oneshot
ExecStart=/usr/bin/true
"""
RELOADS = """[Service]
ExecStart=/usr/bin/sleep 1000
ExecReload=/usr/bin/true
[Install]
WantedBy=lab.target
"""
UNITS = {"slow": SLOW, "bad": BAD, "task": ONCE, "reloads": RELOADS}


@pytest.fixture(scope="module")
def systemd() -> Iterator[SystemdHosts]:
    with folder.temporary() as where, SystemdHosts(where / "hosts", ["app"], net="127.0.67") as lab:
        for name, text in UNITS.items():
            lab.run("app", "sudo", "tee", f"/etc/systemd/system/{name}.service", text=text)
        lab.run("app", "sudo", "systemctl", "daemon-reload")
        yield lab


@pytest.fixture
def ssh(systemd: SystemdHosts) -> Iterator[Ssh]:
    connector = Ssh(SshSettings.of(Target("app", dict(ssh_variables(systemd.host("app"))))))
    yield connector
    connector.close()


def a_call(seconds: float = 30.0, effect: Effect | None = None) -> Call:
    return replace(make_call(seconds, become="root"), key=f"test{secrets.token_hex(8)}", effect=effect)


def again(call: Call, seconds: float = 20.0) -> Call:
    return replace(call, deadline=time.monotonic() + seconds)


def state(outcome: Outcome, moment: str = "after") -> dict[str, object]:
    found = outcome.data[moment]
    assert isinstance(found, dict)
    return found


@pytest.mark.needs("systemd")
def test_stopped_and_started_do_what_is_needed_and_say_what_changed(ssh: Ssh) -> None:
    stop, start = Service(unit="web", state="stopped"), Service(unit="web.service", state="started")
    assert ssh.check(stop, a_call()).changes is True
    outcome = ssh.perform(stop, a_call())
    assert isinstance(outcome, Ok), outcome
    assert outcome.changed
    assert (state(outcome, "before")["ActiveState"], state(outcome)["ActiveState"]) == ("active", "inactive")
    assert ssh.perform(stop, a_call()) == Ok(
        changed=False, data={"unit": "web", "before": state(outcome), "after": state(outcome)}
    )
    assert ssh.check(stop, a_call()).changes is False
    difference = ssh.check(start, a_call())
    assert difference.changes is True
    assert "web.service is inactive (dead)" in difference.detail
    outcome = ssh.perform(start, a_call())
    assert isinstance(outcome, Ok), outcome
    assert outcome.changed
    after = state(outcome)
    assert (after["ActiveState"], after["SubState"]) == ("active", "running")
    assert isinstance(after["MainPID"], int)
    assert after["MainPID"] > 1
    assert len(str(after["InvocationID"])) == 32
    assert isinstance(again_ := ssh.perform(start, a_call()), Ok)
    assert not again_.changed
    assert ssh.probe(start, a_call()).finding is Finding.APPLIED
    assert ssh.probe(stop, a_call()).finding is Finding.UNKNOWN, "an order may be on its way"


@pytest.mark.needs("systemd")
def test_a_restart_is_a_new_invocation_and_is_known_afterwards(ssh: Ssh) -> None:
    action, call = Service(unit="web", state="restarted"), a_call(effect=Effect.PROBE)
    difference = ssh.check(action, a_call())
    assert difference.changes is True
    assert "active (running)" in difference.detail
    outcome = ssh.perform(action, call)
    assert isinstance(outcome, Ok), outcome
    assert outcome.changed
    before, after = state(outcome, "before"), state(outcome)
    assert before["InvocationID"] != after["InvocationID"]
    assert before["MainPID"] != after["MainPID"]
    assert isinstance(ssh.perform(action, again(call)), Unknown), "the same attempt is not made twice"
    probed = ssh.probe(action, again(call))
    assert isinstance(probed.outcome, Ok)
    assert state(probed.outcome)["InvocationID"] == after["InvocationID"]
    never = ssh.probe(action, replace(a_call(effect=Effect.PROBE), age=0.0))
    assert never.finding is Finding.UNKNOWN, "the host was started a moment ago"


@pytest.mark.needs("systemd")
def test_reloading_reloads_the_same_invocation_and_enabling_is_looked_at_too(ssh: Ssh) -> None:
    begin = Service(unit="reloads", state="started", enabled=True)
    outcome = ssh.perform(begin, a_call())
    assert isinstance(outcome, Ok), outcome
    assert (state(outcome, "before")["UnitFileState"], state(outcome)["UnitFileState"]) == (
        "disabled",
        "enabled",
    )
    assert ssh.check(begin, a_call()).changes is False
    reloaded = ssh.perform(Service(unit="reloads", state="reloaded", enabled=False), a_call())
    assert isinstance(reloaded, Ok), reloaded
    assert reloaded.changed
    assert state(reloaded)["InvocationID"] == state(outcome)["InvocationID"]
    assert state(reloaded)["UnitFileState"] == "disabled"


@pytest.mark.needs("systemd")
def test_what_systemd_would_refuse_is_refused_before(ssh: Ssh, systemd: SystemdHosts) -> None:
    systemd.run("app", "sudo", "systemctl", "mask", "--runtime", "masked.service")
    for action, word in (
        (Service(unit="no-such", state="restarted"), "there is no unit no-such"),
        (Service(unit="no-such", enabled=True), "there is no unit no-such"),
        (Service(unit="masked", state="started"), "is masked"),
        (Service(unit="web", state="reloaded"), "does not know how to reload"),
        (Service(unit="task", state="reloaded"), "cannot be reloaded: it is inactive"),
        (Service(unit="slow", enabled=True), "cannot be enabled: it is static"),
    ):
        outcome = ssh.perform(action, a_call())
        assert isinstance(outcome, Failed), action
        assert outcome.clean
        assert word in outcome.reason
        assert ssh.check(action, a_call()).changes is None
    assert isinstance(gone := ssh.perform(Service(unit="no-such", state="stopped"), a_call()), Ok)
    assert not gone.changed


@pytest.mark.needs("systemd")
def test_a_service_that_does_not_start_failed_and_may_have_changed_something(ssh: Ssh) -> None:
    outcome = ssh.perform(Service(unit="bad", state="started"), a_call())
    assert isinstance(outcome, Failed), outcome
    assert not outcome.clean
    assert "systemctl start bad: exit code 1: Job for bad.service failed" in outcome.reason
    assert "failed (failed)" in outcome.reason
    call, action = a_call(effect=Effect.PROBE), Service(unit="bad", state="restarted")
    assert isinstance(ssh.perform(action, call), Failed)
    assert isinstance(ssh.probe(action, again(call)).outcome, Failed)


@pytest.mark.needs("systemd")
def test_a_task_that_ran_and_ended_well_counts_as_started(ssh: Ssh) -> None:
    outcome = ssh.perform(Service(unit="task", state="restarted"), a_call())
    assert isinstance(outcome, Ok), outcome
    assert state(outcome)["ActiveState"] == "inactive"


@pytest.mark.needs("systemd")
def test_a_restart_that_outlives_its_deadline_is_settled_by_what_systemd_made_of_it(ssh: Ssh) -> None:
    action, call = Service(unit="slow", state="restarted"), a_call(1.5, Effect.PROBE)
    outcome = ssh.perform(action, call)
    assert isinstance(outcome, Unknown), outcome
    assert "timed out" in outcome.reason
    probed = ssh.probe(action, again(call))
    assert probed.finding is Finding.UNKNOWN
    assert "systemd is still at work on it" in probed.reason
    assert wait_until(lambda: ssh.probe(action, again(call)).finding is Finding.APPLIED, seconds=20)


@pytest.mark.needs("systemd")
def test_without_the_right_to_order_it_a_service_stays_as_it_is(ssh: Ssh) -> None:
    outcome = ssh.perform(Service(unit="web", state="restarted"), replace(a_call(), become=None))
    assert isinstance(outcome, Failed), outcome
    assert "web" in outcome.reason
    assert ssh.check(Service(unit="web", state="started"), a_call()).changes is False


@pytest.mark.needs("sshd")
def test_a_host_without_systemd_is_a_clean_failure(lab: SshLab) -> None:
    ssh = lab.ssh()
    outcome = ssh.perform(Service(unit="no-such-unit-here", state="restarted"), make_call())
    assert isinstance(outcome, Failed), outcome
    assert outcome.clean


@pytest.mark.parametrize(
    "unit", ["", "-H", "a b", "a*", "a?", "[a]", "a;b", "a/b", "a\nb", "x" * 256, "@a", ".a"]
)
def test_a_name_that_is_no_unit_is_refused(unit: str) -> None:
    with pytest.raises(ValidationError):
        Service(unit=unit, state="started")


@pytest.mark.parametrize(
    "unit", ["nginx", "nginx.service", "getty@tty1.service", "a-b_c:d", r"dev-\x2dfoo.mount"]
)
def test_names_of_units_are_taken(unit: str) -> None:
    assert Service(unit=unit, state="stopped", enabled=False).summary() == f"{unit}: stopped, disabled"


def test_the_effect_follows_the_state() -> None:
    classes = {
        word: Service.model_validate({"unit": "a", "state": word}).effect_class()
        for word in ("started", "stopped", "restarted", "reloaded")
    }
    assert classes == {
        "started": Effect.IDEMPOTENT,
        "stopped": Effect.IDEMPOTENT,
        "restarted": Effect.PROBE,
        "reloaded": Effect.PROBE,
    }
    assert Service(unit="a", enabled=True).effect_class() is Effect.IDEMPOTENT
    with pytest.raises(ValidationError, match="give state, enabled, or both"):
        Service.model_validate({"unit": "a"})
