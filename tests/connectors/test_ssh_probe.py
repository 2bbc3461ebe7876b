"""What a probe of a command says: with a claim on a real host, and when a missing one proves nothing."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from connectors.ssh import Command, Script, Shell, Ssh
from connectors.ssh.claim import KEPT_DAYS, Claim, Record, end
from connectors.ssh.command_line import ending
from connectors.ssh.probing import SKEW, Attempt, unsettled
from mimrun.connector import Call, Effect, Failed, Finding, Ok, Outcome, Probed, Unknown

from .conftest import SshLab, make_call, wait_until

pytestmark = pytest.mark.needs("sshd")


@pytest.fixture
def ssh(lab: SshLab) -> Ssh:
    return lab.ssh()


def guarded(seconds: float = 20.0, **changes: object) -> Call:
    """A call that the plan counts on a probe for, with a key of its own."""
    changes = {"key": f"test{os.getpid()}x{secrets.token_hex(8)}", "effect": Effect.PROBE, **changes}
    return replace(make_call(seconds), **changes)  # type: ignore[arg-type]  # the fields of a call


def again(call: Call, seconds: float = 20.0, **changes: object) -> Call:
    """A call of the same attempt, for a probe."""
    return replace(call, deadline=time.monotonic() + seconds, **changes)  # type: ignore[arg-type]


def path_of(ssh: Ssh, call: Call) -> Path:
    return Path(Claim(ssh.settings.user, call.key, call.attempt).path)


@pytest.mark.parametrize("effect", [None, Effect.READ, Effect.IDEMPOTENT, Effect.ONCE])
def test_without_a_plan_that_counts_on_it_no_claim_is_taken(ssh: Ssh, effect: Effect | None) -> None:
    call = guarded(effect=effect)
    outcome = ssh.perform(Shell(cmd="echo [$MIMRUN_CLAIM]"), call)
    assert isinstance(outcome, Ok)
    assert outcome.data["stdout"] == "[]"
    assert not path_of(ssh, call).exists()
    assert ssh.probe(Shell(cmd="echo"), again(call)).finding is Finding.UNKNOWN
    assert not path_of(ssh, call).exists()


def test_a_command_under_a_claim_answers_as_without(ssh: Ssh, tmp_path: Path) -> None:
    call = guarded()
    script = tmp_path / "job.sh"
    script.write_text("#!/bin/sh\necho out; echo err >&2; exit 4\n")
    for action in (
        Shell(cmd="echo out; echo err >&2; exit 4"),
        Command(argv=("sh", "-c", "echo out; echo err >&2; exit 4")),
        Script(src=str(script)),
    ):
        call = guarded()
        outcome = ssh.perform(action, call)
        assert isinstance(outcome, Failed)
        assert (outcome.reason, outcome.clean) == ("exit code 4: err", False)
        assert outcome.data == {"rc": 4, "stdout": "out", "stdout_lines": ["out"], "stderr": "err"}
        probed = ssh.probe(action, again(call))
        assert probed.finding is Finding.APPLIED
        assert isinstance(probed.outcome, Failed)
        assert (probed.outcome.clean, probed.outcome.data) == (False, {"rc": 4})


def test_what_a_command_printed_is_not_on_record_and_that_is_said(ssh: Ssh) -> None:
    action, call = Shell(cmd="echo out; exit 3", ok_codes=(3,), changed=False), guarded()
    assert isinstance(ssh.perform(action, call), Ok)
    probed = ssh.probe(action, again(call))
    assert probed.outcome == Ok(changed=False, data={"rc": 3})
    assert "what it printed is not on record" in probed.reason


def test_a_second_request_for_the_same_attempt_runs_nothing_and_does_not_know(
    ssh: Ssh, open_folder: Path
) -> None:
    note, call = open_folder / "note", guarded()
    action = Shell(cmd=f"echo x >>{note}")
    assert isinstance(ssh.perform(action, call), Ok)
    outcome = ssh.perform(action, again(call))
    assert isinstance(outcome, Unknown)
    assert "attempt 1 is claimed already" in outcome.reason
    assert note.read_text() == "x\n"
    assert isinstance(ssh.perform(action, again(call, attempt=2)), Ok)
    assert note.read_text() == "x\nx\n"


def test_a_probe_of_what_never_began_proves_it_and_keeps_it_from_beginning(
    ssh: Ssh, open_folder: Path
) -> None:
    note, call = open_folder / "note", guarded(age=1.0)
    action = Command(argv=("touch", str(note)))
    for _ in range(2):
        probed = ssh.probe(action, again(call))
        assert probed.finding is Finding.NOT_APPLIED, probed
    assert isinstance(ssh.perform(action, again(call)), Unknown)
    assert not note.exists()


def test_who_made_the_attempt_knows_its_age_and_its_account(lab: SshLab, open_folder: Path) -> None:
    nameless = lab.ssh(ansible_user="")
    action = Command(argv=("no-such-program",))
    call = guarded()
    # The login may fail, as this test's user is no user of the host: nothing was asked of it then.
    outcome = nameless.perform(action, call)
    assert isinstance(outcome, Failed)
    ssh = lab.ssh()
    assert isinstance(ssh.perform(action, call), Failed)
    assert ssh.probe(action, again(call)).finding is Finding.NOT_APPLIED, "though the call has no age"
    assert lab.ssh().probe(action, again(call)).finding is Finding.UNKNOWN
    assert lab.ssh().probe(action, again(call, age=5.0)).finding is Finding.NOT_APPLIED


def test_nothing_runs_where_no_claim_can_be_taken_and_the_way_out_is_named(
    ssh: Ssh, open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.ssh.execution.Claim", partial(Claim, place=str(open_folder)))
    action, call = Command(argv=("touch", str(open_folder / "note"))), guarded()
    outcome = ssh.perform(action, call)
    assert isinstance(outcome, Failed), outcome
    assert outcome.clean
    assert "effect: {class: once" in outcome.reason
    assert str(open_folder) in outcome.reason
    assert not (open_folder / "note").exists()
    assert ssh.probe(action, again(call)).finding is Finding.UNKNOWN
    assert isinstance(ssh.perform(action, again(call, effect=Effect.ONCE)), Ok)
    assert (open_folder / "note").exists()


class UnderWay:
    """A command that runs in a thread of its own until it is told to end."""

    def __init__(self, ssh: Ssh, cmd: str, call: Call) -> None:
        self.call, self.outcomes = call, list[Outcome]()
        action = Shell(cmd=f"echo up; {cmd}")
        self.thread = threading.Thread(target=lambda: self.outcomes.append(ssh.perform(action, call)))
        self.thread.start()
        assert wait_until(lambda: "up" in call.output.stdout.text())

    def outcome(self) -> Outcome:
        self.thread.join(20)
        assert not self.thread.is_alive()
        return self.outcomes[0]


def test_a_command_that_timed_out_and_was_ended_has_failed_and_is_not_in_doubt(ssh: Ssh) -> None:
    action, call = Shell(cmd="echo up; sleep 300"), guarded(0.7)
    outcome = UnderWay(ssh, "sleep 300", call).outcome()
    assert isinstance(outcome, Unknown)
    assert "is gone (SIGTERM)" in outcome.reason
    probed = ssh.probe(action, again(call))
    assert isinstance(probed.outcome, Failed)
    assert "exit code 143 (SIGTERM)" in probed.outcome.reason


def test_a_cancelled_command_is_looked_at_though_the_wish_to_stop_stands(ssh: Ssh) -> None:
    call = guarded(60, stop=threading.Event())
    under_way = UnderWay(ssh, "sleep 300", call)
    call.stop.set()
    assert "cancelled; ended on the target" in str(under_way.outcome())
    assert ssh.probe(Shell(cmd="x"), again(call)).finding is Finding.APPLIED


def test_a_killed_command_began_and_its_end_is_not_on_record(ssh: Ssh) -> None:
    call = guarded(0.7)
    outcome = UnderWay(ssh, "trap '' TERM; sleep 300; sleep 300", call).outcome()
    assert "SIGKILL" in str(outcome)
    probed = ssh.probe(Shell(cmd="x"), again(call))
    assert probed.finding is Finding.UNKNOWN
    assert "it began, and its end is not on record: its process is gone" in probed.reason


def test_a_command_that_goes_on_is_waited_for_until_the_probes_own_deadline(
    lab: SshLab, open_folder: Path
) -> None:
    go, call = open_folder / "go", guarded(60, stop=threading.Event())
    under_way = UnderWay(lab.ssh(), f"while [ ! -e {go} ]; do sleep 0.02; done", call)
    other, action = lab.ssh(), Shell(cmd="x")
    pid = int(path_of(other, call).read_text().split()[1])
    begin = time.monotonic()
    probed = other.probe(action, again(call, 5.0))
    assert probed == Probed(Finding.UNKNOWN, probed.reason)
    assert f"it still runs there as process group {pid}" in probed.reason
    assert 1 < time.monotonic() - begin < 5
    found: list[Probed] = []
    thread = threading.Thread(target=lambda: found.append(other.probe(action, again(call, 30))))
    thread.start()
    go.touch()
    thread.join(20)
    assert found[0].outcome == Ok(changed=True, data={"rc": 0})
    assert isinstance(under_way.outcome(), Ok)


def stopped(after: float = 0.0) -> threading.Event:
    """The wish of a person who has cancelled, or does so in a moment."""
    stop = threading.Event()
    threading.Timer(after, stop.set).start() if after else stop.set()
    return stop


def is_gone(group: int) -> bool:
    """Whether nothing of a process group lives; what nobody has collected yet does not."""
    said = subprocess.run(
        ["ps", "-A", "-o", "pgid=,stat="], check=True, capture_output=True, text=True
    ).stdout
    return not any(int(g) == group and stat[0] != "Z" for g, stat in map(str.split, said.splitlines()))


@pytest.mark.parametrize("after", [0.0, 1.0], ids=["cancelled before the look", "cancelled while it waits"])
def test_a_look_that_is_told_to_stop_ends_what_still_runs_and_reads_its_status(
    lab: SshLab, after: float
) -> None:
    call, other = guarded(60), lab.ssh()
    under_way = UnderWay(lab.ssh(), "sleep 300", call)
    pid = int(path_of(other, call).read_text().split()[1])
    begin = time.monotonic()
    probed = other.probe(Shell(cmd="x"), again(call, 60, stop=stopped(after)))
    assert time.monotonic() - begin < 8
    assert isinstance(probed.outcome, Failed), probed
    assert is_gone(pid)
    assert "exit code 143 (SIGTERM)" in probed.reason
    assert f"ended on the target: process group {pid} is gone (SIGTERM)" in probed.reason
    assert isinstance(under_way.outcome(), Failed)


def test_what_had_to_be_killed_is_in_doubt_and_provably_gone(lab: SshLab) -> None:
    call, other = guarded(60), lab.ssh()
    under_way = UnderWay(lab.ssh(), "trap '' TERM; sleep 300; sleep 300", call)
    pid = int(path_of(other, call).read_text().split()[1])
    probed = other.probe(Shell(cmd="x"), again(call, 60, stop=stopped()))
    assert probed.finding is Finding.UNKNOWN
    assert f"ended on the target: process group {pid} is gone (SIGKILL)" in probed.reason
    assert is_gone(pid)
    under_way.outcome()


@pytest.mark.parametrize("lie", ["process", "boot", "group"])
def test_a_process_that_is_not_the_claims_is_never_ended(lab: SshLab, lie: str) -> None:
    call, other = guarded(60), lab.ssh()
    under_way = UnderWay(lab.ssh(), "sleep 300", call)
    path = path_of(other, call)
    said = path.read_text()
    _, pid, boot, _ = said.split()
    bystander = subprocess.Popen(["sleep", "300"], start_new_session=True)
    try:
        other.open()
        site = other._site(again(call))
        claim, record = site.claim(), Record("running", pid=int(pid), group=int(pid))
        match lie:
            case "process":
                path.write_text(said.replace(pid, str(bystander.pid)))
                record = replace(record, pid=bystander.pid, group=bystander.pid)
            case "boot":
                path.write_text(said.replace(boot, "0" * len(boot)))
            case _:
                record = replace(record, group=bystander.pid)
        answer = site.ask(end(claim, record, ending((record.group,))))
        assert answer.stdout == b"foreign\n"
        assert bystander.poll() is None
        assert not is_gone(int(pid))
    finally:
        bystander.kill()
        bystander.wait()
        path.write_text(said)
    other.probe(Shell(cmd="x"), again(call, stop=stopped()))
    under_way.outcome()


def test_what_left_its_group_is_named_in_the_reason(ssh: Ssh) -> None:
    call = guarded(1.0)
    cmd = "trap '' TERM; setsid sleep 300 >/dev/null 2>&1 & sleep 301; sleep 301"
    UnderWay(ssh, cmd, call).outcome()
    probed = ssh.probe(Shell(cmd="x"), again(call))
    assert "of what it started, there still runs: " in probed.reason
    pid = int(probed.reason.rpartition("still runs: ")[2].split()[0])
    os.kill(pid, signal.SIGKILL)


HOUR = 3600.0
VOID = Record("void", up=100 * HOUR)


@pytest.mark.parametrize(
    ("record", "attempt", "word"),
    [
        (VOID, Attempt(HOUR, same_account=True), None),
        (VOID, Attempt(100 * HOUR - SKEW - 1, same_account=True), None),
        (VOID, Attempt(HOUR, same_account=False), "ansible_user is not set"),
        (VOID, Attempt(None, same_account=True), "how old"),
        (VOID, Attempt(-1.0, same_account=True), "how old"),
        (VOID, Attempt(100 * HOUR, same_account=True), "may have lost its claim"),
        (VOID, Attempt(100 * HOUR - SKEW + 1, same_account=True), "may have lost its claim"),
        (Record("void", up=None), Attempt(HOUR, same_account=True), "since when it is up"),
        (Record("void", up=9e9), Attempt(KEPT_DAYS * 24 * HOUR, same_account=True), "older than the 14 days"),
        (Record("not_begun"), Attempt(None, same_account=False), None),
        (Record("broken_off", rebooted=True), Attempt(HOUR, same_account=True), "started again"),
        (Record("unreadable"), Attempt(HOUR, same_account=True), "not written to its end"),
        (Record("folder"), Attempt(HOUR, same_account=True), "not a folder of that account alone"),
        (Record("unwritable"), Attempt(HOUR, same_account=True), "cannot be written"),
        (Record("fnord"), Attempt(HOUR, same_account=True), "says nothing"),
    ],
)
def test_only_a_missing_claim_that_cannot_have_been_lost_proves_that_nothing_began(
    ssh: Ssh, record: Record, attempt: Attempt, word: str | None
) -> None:
    ssh.open()
    site = ssh._site(guarded())
    probed = unsettled(site, site.claim(), record, attempt)
    assert probed.finding is (Finding.NOT_APPLIED if word is None else Finding.UNKNOWN)
    assert word is None or word in probed.reason


@pytest.fixture(autouse=True)
def swept(lab: SshLab) -> Iterator[None]:
    """No claims of these tests stay on this machine."""
    yield
    user = lab.hosts.host("one").user
    for path in Path(f"/var/tmp/mimrun-claims-{user}").glob(f"test{os.getpid()}x*"):
        path.unlink()
