"""A connection that is cut in the middle of a command: the claim on the host settles it, in a whole run."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from builders.rehearsal import RESPONDER, Rehearsal, rehearsal
from builders.wire import Wire

from mimrun.app.decisions import request_cancel
from mimrun.app.runs import create_run
from mimrun.lab.sshd import SshdHosts
from mimrun.log.kinds import StepIntent, StepOutcome, StepProbed
from mimrun.run.record.state import RunState

from .conftest import wait_until

pytestmark = pytest.mark.needs("sshd")

HEAD = """schema: mimrun/1
name: cut
version: 1.0.0
title: A command behind a wire
stage: containment
risk: low
owner: tests
review_by: 2099-01-01
hosts: far
steps:
"""


@dataclass
class Scene:
    """A run whose host is behind a wire, and a folder that the host writes in."""

    wire: Wire
    stage: Rehearsal
    folder: Path

    def path(self, name: str) -> Path:
        return self.folder / name

    def count(self) -> int:
        """How often the effect took place."""
        effect = self.path("effect")
        return len(effect.read_text().splitlines()) if effect.exists() else 0

    def run(self, steps: list[dict[str, object]], meanwhile: Callable[[], None]) -> RunState:
        """Run the steps, with somebody at the wire."""
        lines = "".join(f"  - {json.dumps(step)}\n" for step in steps)
        book = self.stage.inventory.parent / "cut.yaml"
        book.write_text(HEAD + lines)
        thread = threading.Thread(target=meanwhile)
        thread.start()
        try:
            return self.stage.start(str(book))
        finally:
            thread.join()

    def bodies(self, kind: type) -> list[object]:
        return [entry.body for entry in self.stage.entries() if isinstance(entry.body, kind)]


@contextmanager
def scene(hosts: SshdHosts, tmp_path: Path, folder: Path) -> Iterator[Scene]:
    host = hosts.host("one")
    with Wire((host.address, host.port)) as wire:
        key = (hosts.folder / "one" / "host_key.pub").read_text()
        known = tmp_path / "known"
        known.write_text(f"[127.0.0.1]:{wire.port} {key}")
        variables = {
            "ansible_host": "127.0.0.1",
            "ansible_port": wire.port,
            "ansible_user": host.user,
            "ansible_ssh_private_key_file": str(host.key_path),
            "ssh_known_hosts": str(known),
        }
        inventory = tmp_path / "inventory.yaml"
        inventory.write_text(json.dumps({"all": {"hosts": {"far": variables}}}))
        with rehearsal(tmp_path, inventory) as stage:
            yield Scene(wire, stage, folder)


@pytest.fixture
def far(ssh_hosts: SshdHosts, tmp_path: Path, open_folder: Path) -> Iterator[Scene]:
    with scene(ssh_hosts, tmp_path, open_folder) as found:
        yield found


def effect(far: Scene, then: str = "") -> str:
    return f"echo done >>{far.path('effect')}; {then}"


def until_there(path: Path) -> str:
    return f"while [ ! -e {path} ]; do sleep 0.02; done"


def test_a_command_that_ended_behind_a_cut_connection_is_ok_and_ran_once(far: Scene) -> None:
    ended = far.path("ended")

    def meanwhile() -> None:
        assert wait_until(lambda: far.count() == 1)
        far.wire.mute()
        far.path("go").touch()
        assert wait_until(ended.exists)
        far.wire.cut()

    shell = effect(far, f"{until_there(far.path('go'))}; touch {ended}; exit 0")
    state = far.run([{"name": "Effect", "ssh.shell": {"cmd": shell}, "timeout": "30s"}], meanwhile)
    assert state.status == "succeeded", state.reason
    assert far.count() == 1
    (probed,) = far.bodies(StepProbed)
    assert isinstance(probed, StepProbed)
    assert probed.finding == "applied"
    assert "ended with exit code 0; what it printed is not on record" in probed.reason


def test_a_command_that_failed_behind_a_cut_connection_failed_and_is_not_in_doubt(far: Scene) -> None:
    def meanwhile() -> None:
        assert wait_until(lambda: far.count() == 1)
        far.wire.cut()
        far.path("go").touch()

    shell = effect(far, f"{until_there(far.path('go'))}; exit 7")
    step = {"name": "Effect", "ssh.shell": {"cmd": shell}, "timeout": "30s", "retries": 2}
    state = far.run([step], meanwhile)
    assert state.status == "failed"
    assert far.count() == 1, "what ran and failed may have had an effect, and is not repeated"
    (outcome,) = far.bodies(StepOutcome)
    assert isinstance(outcome, StepOutcome)
    assert (outcome.status, outcome.clean) == ("failed", False)
    assert "the connection was lost" in outcome.reason
    assert "exit code 7" in outcome.reason


def test_a_command_that_still_runs_behind_a_cut_connection_is_waited_for(far: Scene) -> None:
    def meanwhile() -> None:
        assert wait_until(lambda: far.count() == 1)
        far.wire.cut()
        # A second connection means that the probe is there; the command goes on until then, and longer.
        assert wait_until(lambda: len(far.wire.links) == 2)
        assert wait_until(lambda: far.wire.quiet_for() > 0.3)
        far.path("go").touch()

    shell = effect(far, until_there(far.path("go")))
    state = far.run([{"name": "Effect", "ssh.shell": {"cmd": shell}, "timeout": "30s"}], meanwhile)
    assert state.status == "succeeded", state.reason
    assert far.count() == 1
    assert [probed.finding for probed in far.bodies(StepProbed)] == ["applied"]  # type: ignore[attr-defined]


def test_a_request_that_never_arrived_is_made_again_and_the_late_one_gives_up(far: Scene) -> None:
    def meanwhile() -> None:
        assert wait_until(far.path("warm").exists)
        assert wait_until(lambda: far.wire.quiet_for() > 0.2)
        far.wire.keep_back()
        assert wait_until(lambda: far.wire.keeps_back() > 0)
        far.wire.cut()

    state = far.run(
        [
            # From the second command on a channel is opened ahead, so the request alone is under way.
            {"name": "First", "ssh.command": {"argv": ["true"]}},
            {"name": "Warm", "ssh.command": {"argv": ["touch", str(far.path("warm"))]}},
            {"name": "Pause", "wait.duration": {"for": "1s"}},
            {"name": "Effect", "ssh.shell": {"cmd": effect(far)}, "timeout": "30s"},
        ],
        meanwhile,
    )
    assert state.status == "succeeded", state.reason
    assert far.count() == 1
    (probed,) = far.bodies(StepProbed)
    assert isinstance(probed, StepProbed)
    assert probed.finding == "not_applied"
    intents = [entry for entry in far.stage.entries() if isinstance(entry.body, StepIntent)]
    assert [entry.attempt for entry in intents if entry.step == intents[-1].step] == [1, 2]

    cut = far.wire.links[0]
    answered = cut.to_client
    far.wire.bring()
    assert wait_until(lambda: cut.to_client > answered), "the host has taken the late request up"
    assert wait_until(lambda: far.wire.quiet_for() > 0.3)
    assert far.count() == 1, "and did not run the command"


WORKER = """
import sys
from pathlib import Path
from mimrun.app.execution import execute_run
from mimrun.settings import Settings
execute_run(Settings(home=Path(sys.argv[1]), origin="rehearsal"), sys.argv[2], reason="a rehearsal")
"""


def killed_at_work(far: Scene, shell: str) -> int:
    """Kill the worker of a run while its command is under way; give the command's process group."""
    book = far.stage.inventory.parent / "cut.yaml"
    step = {"name": "Effect", "ssh.shell": {"cmd": shell}, "timeout": "120s"}
    book.write_text(f"{HEAD}  - {json.dumps(step)}\n")
    far.stage.run = create_run(far.stage.home, far.stage.plan(str(book)), RESPONDER, direct=True)
    home = str(far.stage.home.settings.home)
    with subprocess.Popen([sys.executable, "-c", WORKER, home, far.stage.run]) as worker:
        begun = wait_until(lambda: far.path("group").exists() and far.count() == 1, 30)
        worker.kill()
    assert begun
    return int(far.path("group").read_text())


@pytest.mark.parametrize(("signal", "status"), [("TERM", "cancelled"), ("KILL", "in_doubt")])
def test_a_cancel_ends_the_command_of_a_worker_that_was_killed(far: Scene, signal: str, status: str) -> None:
    deaf = "trap '' TERM; " if signal == "KILL" else ""
    # The group is the one of the shell that recorded the claim.
    group = f"ps -o pgid= -p $$ >{far.path('part')}; mv {far.path('part')} {far.path('group')}"
    pid = killed_at_work(far, f"{deaf}{group}; {effect(far)} sleep 637; sleep 637")
    assert living(pid), "nobody has ended it yet"
    request_cancel(far.stage.home, far.stage.run, RESPONDER, "enough")
    begin = time.monotonic()
    state = far.stage.go_on()
    assert time.monotonic() - begin < 15, "nobody waited for the command's own end"
    assert not living(pid)
    assert state.status == status, state.reason
    (probed,) = far.bodies(StepProbed)
    assert isinstance(probed, StepProbed)
    assert f"ended on the target: process group {pid} is gone (SIG{signal})" in probed.reason
    assert far.count() == 1


def living(group: int) -> bool:
    """Whether anything of a process group lives; what nobody has collected yet does not."""
    said = subprocess.run(
        ["ps", "-A", "-o", "pgid=,stat="], check=True, capture_output=True, text=True
    ).stdout
    return any(int(g) == group and stat[0] != "Z" for g, stat in map(str.split, said.splitlines()))
