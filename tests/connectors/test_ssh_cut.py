"""A connection that is cut in the middle of a command: the claim on the host settles it, in a whole run."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from builders.rehearsal import Rehearsal, rehearsal
from builders.wire import Wire

from mimrun.lab.sshd import SshdHosts
from mimrun.log.kinds import StepIntent, StepOutcome, StepProbed
from mimrun.run.state import RunState

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
