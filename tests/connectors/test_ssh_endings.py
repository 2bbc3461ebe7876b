"""Commands that do not end well: time-outs, cancelling, lost connections; and very much at once."""

from __future__ import annotations

import os
import resource
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from connectors.ssh import Command, Shell, Ssh
from mimrun.connector import Call, Failed, Ok, Outcome, Unknown

from .conftest import SshLab, make_call, wait_until

pytestmark = pytest.mark.needs("sshd")


@pytest.fixture
def ssh(lab: SshLab) -> Ssh:
    return lab.ssh()


class Background:
    """An action under way in a thread of its own, whose first line of output is numbers."""

    def __init__(self, ssh: Ssh, action: Command | Shell, call: Call) -> None:
        self.call = call
        self.outcomes: list[Outcome] = []
        self.thread = threading.Thread(target=lambda: self.outcomes.append(ssh.perform(action, call)))
        self.thread.start()

    def numbers(self) -> list[int]:
        assert wait_until(lambda: "\n" in self.call.output.stdout.text())
        return [int(word) for word in self.call.output.stdout.text().split("\n")[0].split()]

    def outcome(self, seconds: float = 20) -> Outcome:
        self.thread.join(seconds)
        assert not self.thread.is_alive()
        return self.outcomes[0]


def runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_timeout_is_unknown_and_the_command_is_ended_on_the_target(ssh: Ssh) -> None:
    under_way = Background(ssh, Shell(cmd="sleep 300 & echo $$ $!; wait"), make_call(1.0))
    pids = under_way.numbers()
    assert all(runs(pid) for pid in pids)
    outcome = under_way.outcome()
    assert isinstance(outcome, Unknown), outcome
    assert outcome.reason == f"timed out; ended on the target: process group {pids[0]} is gone (SIGTERM)"
    assert not any(runs(pid) for pid in pids)
    assert str(outcome.data["stdout"]).split() == [str(pid) for pid in pids]


def test_a_command_that_ignores_term_is_killed(ssh: Ssh) -> None:
    under_way = Background(ssh, Shell(cmd="trap '' TERM HUP; echo $$; sleep 300; sleep 300"), make_call(0.5))
    (pid,) = under_way.numbers()
    outcome = under_way.outcome()
    assert isinstance(outcome, Unknown), outcome
    assert "is gone (SIGKILL)" in outcome.reason
    assert not runs(pid)


def test_a_command_that_never_stops_talking_is_ended(ssh: Ssh) -> None:
    call = make_call(0.7)
    begin = time.monotonic()
    outcome = ssh.perform(Command(argv=("yes", "0123456789")), call)
    assert isinstance(outcome, Unknown), outcome
    assert "is gone" in outcome.reason
    assert time.monotonic() - begin < 6
    assert len(str(outcome.data["stdout"])) < 1_000_000


def test_cancelling_ends_the_command_at_once(ssh: Ssh) -> None:
    stop = threading.Event()
    under_way = Background(ssh, Shell(cmd="echo $$; exec sleep 300"), make_call(60, stop=stop))
    (pid,) = under_way.numbers()
    begin = time.monotonic()
    stop.set()
    outcome = under_way.outcome()
    assert isinstance(outcome, Unknown), outcome
    assert outcome.reason.startswith("cancelled; ended on the target")
    assert time.monotonic() - begin < 3
    assert not runs(pid)


def test_what_left_its_process_group_is_beyond_reach_and_the_rest_is_ended(
    ssh: Ssh, open_folder: Path
) -> None:
    """The documented limit: a daemon that made a session of its own is not ended."""
    note = open_folder / "pid"
    cmd = f"setsid sh -c 'echo $$ >{note}; exec sleep 300' >/dev/null 2>&1 </dev/null & echo $$; sleep 300"
    under_way = Background(ssh, Shell(cmd=cmd), make_call(1.0))
    under_way.numbers()
    outcome = under_way.outcome()
    assert isinstance(outcome, Unknown)
    assert "is gone" in outcome.reason
    daemon = int(note.read_text())
    assert runs(daemon)
    os.kill(daemon, signal.SIGKILL)


def test_the_connection_goes_on_after_a_timeout(ssh: Ssh) -> None:
    assert isinstance(ssh.perform(Command(argv=("sleep", "300")), make_call(0.3)), Unknown)
    assert isinstance(ssh.perform(Command(argv=("true",)), make_call()), Ok)


def test_session_killed_under_way_is_unknown_and_names_what_may_still_run(ssh: Ssh) -> None:
    under_way = Background(ssh, Shell(cmd="echo $$ $PPID; sleep 300"), make_call(30))
    pid, session = under_way.numbers()
    begin = time.monotonic()
    os.kill(session, signal.SIGKILL)
    outcome = under_way.outcome()
    assert isinstance(outcome, Unknown), outcome
    assert "the connection was lost" in outcome.reason
    assert f"may still run there as process group {pid}" in outcome.reason
    assert time.monotonic() - begin < 2
    os.killpg(pid, signal.SIGKILL)
    assert isinstance(ssh.perform(Command(argv=("true",)), make_call()), Ok), "it connects again"


def test_power_loss_under_way_is_unknown(lab: SshLab) -> None:
    ssh = lab.ssh("two")
    under_way = Background(ssh, Shell(cmd="echo $$; sleep 300"), make_call(30))
    under_way.numbers()
    lab.hosts.kill("two")
    try:
        outcome = under_way.outcome()
        assert isinstance(outcome, Unknown), outcome
        later = ssh.perform(Command(argv=("true",)), make_call())
        assert isinstance(later, Failed), later
        assert later.unreachable
        assert later.clean
    finally:
        lab.hosts.start_host("two")


def test_a_daemon_that_keeps_the_output_open_does_not_keep_us(ssh: Ssh) -> None:
    begin = time.monotonic()
    outcome = ssh.perform(Shell(cmd="sleep 20 & echo started $!"), make_call(15))
    assert isinstance(outcome, Ok), outcome
    assert time.monotonic() - begin < 5
    os.kill(int(str(outcome.data["stdout"]).split()[1]), signal.SIGKILL)


def test_a_flood_of_output_costs_a_fixed_amount_of_memory(ssh: Ssh) -> None:
    assert isinstance(ssh.perform(Command(argv=("true",)), make_call()), Ok)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    call = make_call(100)
    size = 256 * 1024 * 1024
    outcome = ssh.perform(Command(argv=("head", "-c", str(size), "/dev/zero")), call)
    assert isinstance(outcome, Ok), outcome
    assert call.output.stdout.size == size
    assert len(str(outcome.data["stdout"])) < 1_000_000
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 64 * 1024, f"{grown} KiB more"


def test_twenty_hosts_at_once_answer_each_for_itself(lab: SshLab) -> None:
    connectors = [lab.ssh(name) for name in ("one", "two") * 10]
    action = Shell(cmd="echo $LAB_HOST $MARK; cat", stdin="x" * 50_000)

    def ask(number: int) -> tuple[str, ...]:
        answers = []
        for turn in range(3):
            mark = f"{number}-{turn}"
            outcome = connectors[number].perform(action, make_call(40, environment={"MARK": mark}))
            assert isinstance(outcome, Ok), outcome
            answers.append(str(outcome.data["stdout"]).replace("x" * 50_000, "all"))
        return tuple(answers)

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(ask, range(20)))
    for number, lines in enumerate(answers):
        host = ("one", "two")[number % 2]
        assert lines == tuple(f"{host} {number}-{turn}\nall" for turn in range(3))


def test_closing_twice_and_using_it_again_works(ssh: Ssh) -> None:
    ssh.close()
    assert isinstance(ssh.perform(Command(argv=("true",)), make_call()), Ok)
    ssh.close()
    ssh.close()
    assert isinstance(ssh.perform(Command(argv=("true",)), make_call()), Ok)


def test_a_host_that_allows_one_session_at_a_time_still_ends_a_command(lab: SshLab) -> None:
    config = lab.hosts.folder / "two" / "sshd_config"
    kept = config.read_text()
    lab.hosts.stop_host("two")
    try:
        config.write_text(kept.replace("MaxSessions 200", "MaxSessions 1"))
        lab.hosts.start_host("two")
        ssh = lab.ssh("two")
        for _ in range(4):
            assert isinstance(ssh.perform(Command(argv=("true",)), make_call()), Ok)
        outcome = ssh.perform(Command(argv=("sleep", "300")), make_call(0.5))
        assert isinstance(outcome, Unknown)
        assert "is gone" in outcome.reason
    finally:
        if "two" in lab.hosts._children:
            lab.hosts.stop_host("two")
        config.write_text(kept)
        lab.hosts.start_host("two")


def test_a_login_that_may_not_run_commands_is_a_clean_failure(lab: SshLab) -> None:
    allowed = lab.hosts.folder / "one" / "authorized_keys"
    kept = allowed.read_text()
    try:
        for option, word in (
            ('command="echo This account is closed; exit 1"', "closed"),
            ('command="/bin/false"', "did not start"),
        ):
            allowed.write_text(f"{option} {kept}")
            outcome = lab.ssh().perform(Command(argv=("true",)), make_call())
            assert isinstance(outcome, Failed), outcome
            assert outcome.clean
            assert word in outcome.reason
    finally:
        allowed.write_text(kept)


def test_what_start_up_files_print_is_not_the_commands_output(lab: SshLab) -> None:
    allowed = lab.hosts.folder / "one" / "authorized_keys"
    kept = allowed.read_text()
    noisy = 'command="echo Welcome; echo; eval \\"$SSH_ORIGINAL_COMMAND\\""'
    try:
        allowed.write_text(f"{noisy} {kept}")
        outcome = lab.ssh().perform(Command(argv=("echo", "own words")), make_call())
        assert isinstance(outcome, Ok), outcome
        assert outcome.data["stdout"] == "own words"
    finally:
        allowed.write_text(kept)
