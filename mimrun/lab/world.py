"""The world of the systemd hosts: one process in namespaces of its own that keeps a bridge and the hosts.

    python -m mimrun.lab.world FOLDER < PLAN

It has a mount namespace, so that nothing it mounts is seen outside, and a network namespace with a bridge
that has no uplink: no host can reach anything but the other hosts. It answers one JSON line per connection
on FOLDER/world.sock. SIGTERM powers the hosts off; whatever kills it takes them with it.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from mimrun.lab import control_group, forwarder, host_root, patience

NET: Final = "10.99.0"
"""The net inside. It exists in the world's own network namespace only."""

CLONE_NEWNS: Final = 0x00020000
CLONE_NEWNET: Final = 0x40000000
PR_SET_PDEATHSIG: Final = 1
SHARED: Final = ("22", str(host_root.WEB_PORT))
OFF: Final = 8.0
"""Seconds a host gets to power off in good order."""

_libc = ctypes.CDLL(None, use_errno=True)


class Machine:
    """One host: its root folder, its link, and its systemd-nspawn while it is switched on."""

    def __init__(self, number: int, plan: host_root.HostPlan, folder: Path, group: Path) -> None:
        self.number = number
        self.plan = plan
        self.folder = folder
        self.group = group
        self.address = f"{NET}.{10 + number}"
        self.nspawn: subprocess.Popen[bytes] | None = None
        self._binds: list[str] = []

    @property
    def link(self) -> str:
        """The name of the bridge's end of its cable."""
        return f"v{self.number}"

    def make(self) -> None:
        """Lay the cable and make the root folder."""
        name, link = self.plan.name, self.link
        run("ip", "netns", "add", name)
        run("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", name)
        run("ip", "link", "set", link, "master", "br0", "up")
        run("ip", "-n", name, "addr", "add", f"{self.address}/24", "dev", "eth0")
        for device in ("eth0", "lo"):
            run("ip", "-n", name, "link", "set", device, "up")
        root = self.folder / "roots" / name
        root.mkdir()
        self._binds = host_root.make_root(root, self.plan)

    def boot(self) -> None:
        """Switch it on. It keeps what it had on its disk."""
        if self.nspawn is not None and self.nspawn.poll() is None:
            return
        name = self.plan.name
        argv = ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", f"--machine={name}"]
        argv += [f"--hostname={name}", f"--directory={self.folder / 'roots' / name}"]
        argv += [f"--network-namespace-path=/run/netns/{name}", "--resolv-conf=off", "--timezone=off"]
        argv += [f"--bind-ro={path}" for path in self._binds]
        # Without it a host's root could make a device file and read this machine's disk.
        argv += ["--drop-capability=CAP_MKNOD"]
        argv += ["--link-journal=no", "--console=pipe", "--boot"]
        group = control_group.make(self.group / name)
        with (self.folder / f"{name}.console").open("ab") as console:
            self.nspawn = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1", "SYSTEMD_LOG_LEVEL": "warning"},
                # Runs between fork and exec; there it is safe, since this thread holds no lock.
                preexec_fn=lambda: _enter(group),  # noqa: PLW1509
            )

    def ask_off(self) -> None:
        """Ask it to power off."""
        if self.nspawn is not None:
            self.nspawn.terminate()

    def power_loss(self) -> None:
        """Take its power away: everything in it is gone at once, and so is its link."""
        run("ip", "link", "set", self.link, "down")
        if self.nspawn is not None:
            control_group.kill(self.group / self.plan.name)
            self.nspawn.kill()
            self.nspawn.wait()
        run("ip", "link", "set", self.link, "up")

    def is_on(self) -> bool:
        """Say whether it is switched on."""
        return self.nspawn is not None and self.nspawn.poll() is None


class World:
    """The namespaces, the bridge, and the hosts in them.

    Arguments:
        folder: where the consoles and the socket are.
        plan: what `systemd_hosts` wrote: per host its name, keys, and loopback address.
    """

    def __init__(self, folder: Path, plan: Mapping[str, Any]) -> None:
        self.folder = folder
        self.group = control_group.own(folder)
        self.machines: dict[str, Machine] = {}
        self.ports: dict[str, dict[str, int]] = {}
        self._plan = plan
        self._end = threading.Event()

    def make(self) -> None:
        """Make everything and switch the hosts on."""
        # 1. The doors to this machine, while we are still in its network namespace.
        doors: list[tuple[str, str, socket.socket]] = []
        for host in self._plan["hosts"]:
            self.ports[host["name"]] = {}
            for port in SHARED:
                door = forwarder.listen(host["address"])
                doors.append((host["name"], port, door))
                self.ports[host["name"]][port] = door.getsockname()[1]
        # 2. From here on, nothing we mount and nothing we send is seen outside.
        _check(_libc.unshare(CLONE_NEWNS | CLONE_NEWNET), "unshare")
        run("mount", "--make-rprivate", "/")
        run("mount", "-t", "tmpfs", "-o", "mode=755", "mimrun-lab", "/run")
        Path("/run/netns").mkdir()
        roots = self.folder / "roots"
        roots.mkdir(exist_ok=True)
        run("mount", "-t", "tmpfs", "-o", "mode=711,size=256m", "mimrun-lab", str(roots))
        # 3. A bridge without an uplink.
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", "br0", "type", "bridge")
        run("ip", "addr", "add", f"{NET}.1/24", "dev", "br0")
        run("ip", "link", "set", "br0", "up")
        control_group.make(self.group)
        for number, host in enumerate(self._plan["hosts"], 1):
            logins = {name: Path(path) for name, path in host["logins"].items()}
            plan = host_root.HostPlan(host["name"], Path(host["host_key"]), logins)
            machine = Machine(number, plan, self.folder, self.group)
            self.machines[plan.name] = machine
            machine.make()
            machine.boot()
        for name, port, door in doors:
            forwarder.serve(door, (self.machines[name].address, int(port)))

    def run(self) -> None:
        """Answer until SIGTERM, then power the hosts off."""
        place = self.folder / "world.sock"
        place.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
            # A relative name: an address of a unix socket may be 107 bytes long at most.
            os.chdir(self.folder)
            server.bind(place.name)
            place.chmod(0o600)
            server.listen()
            server.settimeout(0.1)
            while not self._end.is_set():
                with suppress(TimeoutError):
                    client, _ = server.accept()
                    self._answer(client)
        place.unlink(missing_ok=True)
        self.stop()

    def end(self, _number: int, _frame: object) -> None:
        """Note that it is to end."""
        self._end.set()

    def stop(self) -> None:
        """Power all hosts off, by force those that do not."""
        for machine in self.machines.values():
            machine.ask_off()
        patience.came_true(lambda: not any(m.is_on() for m in self.machines.values()), seconds=OFF)
        control_group.remove(self.group)
        for machine in self.machines.values():
            if machine.nspawn is not None:
                machine.nspawn.kill()
                machine.nspawn.wait()

    def _answer(self, client: socket.socket) -> None:
        # Around the closing too, which sends what is left: a client that has hung up must not end the world.
        with suppress(OSError), client, client.makefile("rw") as file:
            client.settimeout(2)
            try:
                answer = self._do(json.loads(file.readline()))
            except (ValueError, KeyError, TypeError, OSError, subprocess.CalledProcessError) as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            file.write(json.dumps(answer) + "\n")

    def _do(self, request: Mapping[str, Any]) -> dict[str, Any]:
        match request["do"]:
            case "status":
                on = {name: machine.is_on() for name, machine in self.machines.items()}
                return {"on": on, "ports": self.ports}
            case "link":
                run(
                    "ip",
                    "link",
                    "set",
                    self.machines[request["host"]].link,
                    "up" if request["up"] else "down",
                )
            case "power-loss":
                self.machines[request["host"]].power_loss()
            case "boot":
                self.machines[request["host"]].boot()
            case other:
                raise ValueError(f"there is no command {other!r}")
        return {}


def run(*argv: str) -> None:
    """Run a program of this machine that must succeed."""
    subprocess.run(argv, check=True, capture_output=True, timeout=20)


def _enter(group: Path) -> None:
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    (group / "cgroup.procs").write_text("0")


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


if __name__ == "__main__":
    world = World(Path(sys.argv[1]), json.load(sys.stdin))
    signal.signal(signal.SIGTERM, world.end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        world.make()
        world.run()
    except subprocess.CalledProcessError as error:
        world.stop()
        sys.exit(f"{' '.join(error.cmd)}: {error.stderr.decode(errors='replace').strip()}")
