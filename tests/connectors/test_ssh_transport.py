"""The tuned transport: what differs from paramiko's own must hold on a real sshd."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from connectors.ssh import Command, Shell
from connectors.ssh.packets import BufferedPacketizer
from mimrun.connector import Ok

from .conftest import SshLab, make_call, wait_until

pytestmark = pytest.mark.needs("sshd")


@pytest.mark.parametrize("size", [30_000, 60_001, 99_999])
def test_new_keys_in_the_middle_of_everything_stop_nothing(
    lab: SshLab, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(BufferedPacketizer, "REKEY_BYTES", 100_000)
    ssh = lab.ssh()
    begin = time.monotonic()
    for _ in range(30):
        call = make_call(20)
        outcome = ssh.perform(Command(argv=("head", "-c", str(size), "/dev/zero")), call)
        assert isinstance(outcome, Ok), outcome
        assert call.output.stdout.size == size
    assert time.monotonic() - begin < 15


def test_new_keys_while_input_flows_stop_nothing(lab: SshLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BufferedPacketizer, "REKEY_BYTES", 300_000)
    call = make_call(60)
    outcome = lab.ssh().perform(Command(argv=("cat",), stdin="x" * 3_000_000), call)
    assert isinstance(outcome, Ok), outcome
    assert call.output.stdout.size == 3_000_000


def test_small_commands_do_not_wait_for_delayed_acknowledgements(lab: SshLab) -> None:
    """Nagle and delayed acknowledgements cost 40 ms for each command; stock paramiko pays them."""
    ssh = lab.ssh()
    times = []
    for _ in range(15):
        begin = time.monotonic()
        assert isinstance(ssh.perform(Command(argv=("true",)), make_call()), Ok)
        times.append(time.monotonic() - begin)
    assert min(times) < 0.03


def test_output_is_there_while_the_command_still_runs(lab: SshLab) -> None:
    call, over = make_call(20), threading.Event()
    ssh = lab.ssh()

    def perform() -> None:
        ssh.perform(Shell(cmd="echo first; sleep 5"), call)
        over.set()

    thread = threading.Thread(target=perform)
    thread.start()
    assert wait_until(lambda: "first" in call.output.stdout.text(), 4)
    assert not over.is_set()
    call.stop.set()
    thread.join(10)
    assert over.is_set()


def test_closing_leaves_no_thread_behind(lab: SshLab) -> None:
    before = {*threading.enumerate()}  # those of other tests may be about to end

    def mine() -> int:
        return len({*threading.enumerate()} - before)

    connectors = [lab.ssh() for _ in range(5)]
    for ssh in connectors:
        assert isinstance(ssh.perform(Command(argv=("true",)), make_call()), Ok)
    assert mine() == 5
    for ssh in connectors:
        ssh.close()
    assert wait_until(lambda: mine() == 0, 3)


def test_paramiko_is_imported_without_what_it_does_not_need() -> None:
    code = (
        "import sys, connectors.ssh.connection as c\n"
        "print('paramiko' in sys.modules, 'invoke' in sys.modules, c.connect.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True False connect\n"
