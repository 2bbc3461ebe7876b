"""One command on a warm connection: mimrun's connector beside the fastest paramiko recipe and stock paramiko.

    python bench/ssh_command.py [rounds]

Every way runs `/bin/true` (a program: `true` alone is built into the login shell and starts nothing) on the same sshd on loopback, in turns, so that the machine's mood hits all alike:

* stock      paramiko's own SSHClient.exec_command, as most programs use it
* recipe     the tuned transport alone: open a session, exec, read to the end, no checks
* ahead      the recipe with the next session opened ahead, the fastest way there is
* connector  Connector.perform(ssh.command): deadline, cancelling, masking, process id, both streams
* claim      the same under a claim, as a plan does that counts on a probe: begun once, its end on record
"""

from __future__ import annotations

import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from connectors.ssh import Command, Ssh, SshSettings
from connectors.ssh.connection import Connection, connect
from mimrun.connector import Call, Effect, Ok, Target
from mimrun.lab.sshd import SshdHosts, SshHost

ROUNDS = 300
WARM_UP = 10


def settings_of(host: SshHost) -> SshSettings:
    return SshSettings.of(
        Target(
            host.name,
            {
                "ansible_host": host.address,
                "ansible_port": host.port,
                "ansible_user": host.user,
                "ansible_ssh_private_key_file": str(host.key_path),
                "ssh_known_hosts": str(host.known_hosts_path),
            },
        )
    )


def stock(host: SshHost) -> tuple[Callable[[], None], Callable[[], None]]:
    import paramiko  # noqa: PLC0415 - after the connector, which imports it without `invoke`

    client = paramiko.SSHClient()
    client.load_host_keys(str(host.known_hosts_path))
    client.connect(host.address, host.port, host.user, key_filename=str(host.key_path), allow_agent=False)

    def once() -> None:
        _, out, err = client.exec_command("/bin/true")
        out.read(), err.read()
        assert out.channel.recv_exit_status() == 0

    return once, client.close


def recipe(connection: Connection, *, ahead: bool) -> Callable[[], None]:
    transport = connection.transport
    spare = [transport.begin_session()]

    def once() -> None:
        channel = spare.pop() if spare else transport.begin_session()
        transport.await_session(channel, 10)
        transport.request_exec(channel, b"/bin/true")
        channel.settimeout(10)
        while channel.recv(65536):
            pass
        while channel.recv_stderr(65536):
            pass
        assert channel.status_event.wait(10)
        assert channel.exit_status == 0
        channel.close()
        if ahead:
            spare.append(transport.begin_session())

    return once


def connector(ssh: Ssh, effect: Effect) -> Callable[[], None]:
    action = Command(argv=("/bin/true",))
    key, numbers = f"bench-{time.time_ns()}", itertools.count(1)

    def once() -> None:
        call = Call(key, time.monotonic() + 30, attempt=next(numbers), effect=effect)
        outcome = ssh.perform(action, call)
        assert isinstance(outcome, Ok), outcome

    return once


def sweep(ssh: Ssh) -> None:
    """Take away the claims of this program; they would go by themselves after two weeks."""
    folder = f"/var/tmp/mimrun-claims-{ssh.settings.user}"
    swept = ssh.perform(
        Command(argv=("find", folder, "-name", "bench-*", "-delete")), Call("sweep", time.monotonic() + 30)
    )
    assert isinstance(swept, Ok), swept


def measure(ways: dict[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """Give each way's times in milliseconds."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + WARM_UP):
        for name, once in ways.items():
            begin = time.perf_counter()
            once()
            if number >= WARM_UP:
                times[name].append((time.perf_counter() - begin) * 1000)
    return times


def main(rounds: int) -> None:
    folder = Path(tempfile.mkdtemp(prefix="mimrun-bench-"))
    folder.chmod(0o711)
    with SshdHosts(folder / "sshd", ["one"], net="127.0.31") as hosts:
        host = hosts.hosts[0]
        settings = settings_of(host)
        ssh, guarded = Ssh(settings), Ssh(settings)
        plain, ahead = connect(settings, 10), connect(settings, 10)
        stock_once, close = stock(host)
        ways = {
            "stock": stock_once,
            "recipe": recipe(plain, ahead=False),
            "ahead": recipe(ahead, ahead=True),
            "connector": connector(ssh, Effect.ONCE),
            "claim": connector(guarded, Effect.PROBE),
        }
        times = measure(ways, rounds)
        sweep(ssh)
        for closing in (close, plain.close, ahead.close, ssh.close, guarded.close):
            closing()
    best = statistics.median(times["recipe"])
    print(f"one /bin/true on a warm connection, {rounds} rounds in turns, milliseconds")
    for name, taken in times.items():
        median, p95 = statistics.median(taken), statistics.quantiles(taken, n=20)[18]
        print(
            f"  {name:10} least {min(taken):6.2f}  median {median:6.2f}  p95 {p95:6.2f}"
            f"  x {median / best:5.2f} of the recipe"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)
