"""One command on many real ssh hosts, with the durable log, beside Ansible on the same hosts.

    make bench, or: .venv/bin/python bench/ssh_fanout.py [HOSTS]

Prints how long a whole run takes in a process that has everything imported (cold connections, then the
same step on warm ones), and what `ansible` with pipelining and as many forks needs for the same command.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from mimrun.app.execution import execute_run
from mimrun.app.home import lay_home, open_home
from mimrun.app.identity import identify
from mimrun.app.plans import prepare_plan
from mimrun.app.runs import create_run
from mimrun.lab import folder as lab_folder
from mimrun.lab.sshd import SshdHosts, SshHost
from mimrun.log.kinds import Kind
from mimrun.settings import Settings

ROUNDS = 3
TARGET_S = 1.0
ANSIBLE_ROUNDS = 2

RUNBOOK = """\
schema: mimrun/1
name: touch-all
version: 1.0.0
title: One command everywhere
stage: identification
risk: low
owner: bench
hosts: all
limits: {hosts: 1000}
steps:
  - name: Cold
    ssh.command: {argv: [/bin/true]}
  - name: Warm
    ssh.command: {argv: [/bin/true]}
"""


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    with lab_folder.temporary() as folder:
        hosts = SshdHosts(folder / "ssh", [f"h{n}" for n in range(count)], net="127.0.78")
        try:
            inventory = write_inventory(folder, hosts.start())
            report(count, [ours(folder, inventory) for _ in range(ROUNDS)], ansible(folder, inventory, count))
        finally:
            hosts.stop()


def write_inventory(folder: Path, hosts: Sequence[SshHost]) -> Path:
    lines = [
        f"{h.name} ansible_host={h.address} ansible_port={h.port} ansible_user={h.user}"
        f" ansible_ssh_private_key_file={h.key_path} ssh_known_hosts={h.known_hosts_path}"
        f" ansible_ssh_common_args='-o UserKnownHostsFile={h.known_hosts_path} -o GlobalKnownHostsFile=/dev/null'"
        for h in hosts
    ]
    path = folder / "hosts.ini"
    path.write_text("\n".join(lines) + "\n")
    return path


def ours(folder: Path, inventory: Path) -> dict[str, float]:
    """Run both steps, and take the times from the log itself."""
    runbook = folder / "touch-all.yaml"
    runbook.write_text(RUNBOOK)
    settings = Settings(home=folder / "home")
    lay_home(settings)
    with open_home(settings) as home:
        plan = prepare_plan(home, str(runbook), [], [inventory])
        run = create_run(home, plan, identify(home.people(), None))
    began = time.monotonic()
    verdict = execute_run(settings, run)
    whole = time.monotonic() - began
    assert verdict.status == "succeeded", verdict
    with open_home(settings) as home:
        at = {(e.kind, e.step): e.ts for e in home.store.entries(run=run)}
    return {
        "cold": (at[Kind.STEP_FINISHED, "1"] - at[Kind.STEP_STARTED, "1"]).total_seconds(),
        "warm": (at[Kind.STEP_FINISHED, "2"] - at[Kind.STEP_STARTED, "2"]).total_seconds(),
        "run": whole,
    }


def ansible(folder: Path, inventory: Path, forks: int) -> list[float]:
    """Time `ansible all -m command`; an empty list where it is not installed."""
    program = Path(sys.executable).with_name("ansible")
    if not program.exists():
        return []
    environ = {
        **os.environ,
        "ANSIBLE_PIPELINING": "true",
        "ANSIBLE_HOME": str(folder / "ansible"),
        "ANSIBLE_HOST_KEY_CHECKING": "true",
        "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3",
    }
    argv = [str(program), "all", "-i", str(inventory), "-f", str(forks), "-m", "command", "-a", "/bin/true"]
    times = []
    for _ in range(ANSIBLE_ROUNDS):
        began = time.monotonic()
        done = subprocess.run(argv, env=environ, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        times.append(time.monotonic() - began)
    return times


def report(count: int, rounds: list[dict[str, float]], peer: list[float]) -> None:
    print(f"one command on {count} ssh hosts, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    for name, what in (("cold", "step, cold connections, log included"), ("warm", "step, warm connections")):
        times = [one[name] for one in rounds]
        print(f"  mimrun {what:<40} median {statistics.median(times):6.2f} s  best {min(times):6.2f} s")
    print(f"  target {'':<40} {TARGET_S:13.2f} s")
    if peer:
        print(
            f"  ansible {'-m command, pipelining, same forks':<39} {min(peer):13.2f} s (best of {len(peer)})"
        )


if __name__ == "__main__":
    main()
