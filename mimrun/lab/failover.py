"""The demo's set: a PostgreSQL pair on two ssh hosts, HAProxy in front, and a client that writes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from mimrun.errors import LabError
from mimrun.lab import haproxy, inventory, keeper, loopback
from mimrun.lab.haproxy import HaProxy
from mimrun.lab.postgres import PostgresPair
from mimrun.lab.sshd import SshdHosts
from mimrun.lab.writer import Writer


class FailoverLab:
    """All that a failover needs, started together.

    Arguments:
        folder: where everything is kept; the servers' user must be able to enter it (mode 711 under /tmp).
        cluster: the pair's name in the inventory.
        net: the loopback net of all parts.
        proxied: true for HAProxy in front, false for a client that knows both servers; None is true where
            HAProxy is installed.
        synchronous: true when a write is acknowledged only once the standby has it too.
        rate: rows that the client writes per second, at most.
    """

    def __init__(
        self,
        folder: Path,
        *,
        cluster: str = "demo",
        net: str = loopback.NET,
        proxied: bool | None = None,
        synchronous: bool = False,
        rate: int = 30,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder.resolve()
        self.cluster = cluster
        self.pair = PostgresPair(self.folder / "postgres", net=net, synchronous=synchronous)
        self.hosts = SshdHosts(self.folder / "ssh", self.pair.names, net=net)
        self.proxy: HaProxy | None = None
        self.died: float | None = None
        self._proxied = haproxy.is_installed() if proxied is None else proxied
        self._net = net
        self._rate = rate
        self._writer: Writer | None = None
        self._started = ExitStack()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def writer(self) -> Writer:
        """The client."""
        if self._writer is None:
            raise LabError("the lab has not been started; call start()")
        return self._writer

    @property
    def inventory_path(self) -> Path:
        """The inventory of the parts, written by `start()`."""
        return self.folder / "inventory.yaml"

    def start(self) -> None:
        """Start every part; the pair and the ssh hosts at the same time.

        Raises:
            LabError: a part cannot be started; those that had been are stopped again.
        """
        self.folder.chmod(0o711)
        try:
            with ThreadPoolExecutor(2) as pool:
                # Each part stops itself when its own start fails; what did start is stopped by us.
                jobs = [(pool.submit(part.start), part) for part in (self.pair, self.hosts)]
                for _, part in jobs:
                    self._started.callback(part.stop)
                for job, _ in jobs:
                    job.result()
            self._start_clients()
            self.inventory_path.write_text(self.inventory())
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop every part, the last one first. It can be called again."""
        self._started.close()

    def keep(self) -> None:
        """Let every part live on when this process has ended; `leftover.stop_all(folder)` ends them."""
        for part in (self.pair, self.hosts, self.proxy, self._writer):
            if part is not None:
                keeper.release(part.folder)
        self._started.pop_all()

    def kill_primary(self) -> float:
        """Let the primary crash.

        Returns:
            The moment, by `time.monotonic()`, from which the outage counts.
        """
        self.died = self.pair.kill_primary()
        return self.died

    def inventory(self) -> str:
        """Give the inventory of the parts as they were started."""
        one, two = self.pair.primary, self.pair.standby
        return inventory.database_inventory(
            self.cluster, (one, self.hosts.host(one.name)), (two, self.hosts.host(two.name)), self.proxy
        )

    def _start_clients(self) -> None:
        one, two = self.pair.primary, self.pair.standby
        addresses = [(one.host, one.port), (two.host, two.port)]
        if self._proxied:
            servers = (
                haproxy.Server(one.name, one.host, one.port),
                haproxy.Server(two.name, two.host, two.port, enabled=False),
            )
            self.proxy = self._started.enter_context(HaProxy(self.folder / "haproxy", servers, net=self._net))
            addresses = [(self.proxy.host, self.proxy.port)]
        self._writer = Writer(self.folder / "writer", addresses, one, rate=self._rate)
        self._started.enter_context(self._writer)
