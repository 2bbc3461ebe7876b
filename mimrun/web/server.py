"""The server's process: its socket, its site, what it keeps up beside itself, and its end in good order."""

from __future__ import annotations

import asyncio
import gc
import ipaddress
import os
import platform
import signal
import socket
import ssl
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final
from urllib.parse import urlsplit

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from mimrun.app.home import Home, lay_home, open_home
from mimrun.app.launching import find_launcher
from mimrun.app.program_log import Event, program_log
from mimrun.app.server.feed import Feed
from mimrun.app.server.keeping import EngineKeeper, Household, WorkerKeeper
from mimrun.app.server.place import Seat, ServerPlace, take_seat
from mimrun.app.server.readiness import Readiness
from mimrun.app.server.starting import end_started
from mimrun.errors import InputError, SettingsError
from mimrun.log.moment import utc_now, write_moment
from mimrun.settings import Settings
from mimrun.web.security import LONGEST_HEAD, Names, host_name, is_loopback
from mimrun.web.site import Site, make_site

HEAD_S: Final = 10.0
"""So long somebody may take for them, or say nothing."""
FINISH_S: Final = 5
"""So long requests that are under way may take at the end."""
CONNECTIONS: Final = 1000


@dataclass(frozen=True, slots=True)
class Options:
    """How a server is wanted.

    Arguments:
        host, port: where it listens; port 0 takes any.
        tls_cert, tls_key: files in PEM; None speaks plain HTTP.
        behind: the address of the proxy in front, or "".
        public_url: as others reach it, or "".
        insecure: listen for others than this machine without TLS or a proxy.
        worker, engine: whether to keep one up.
        open_metrics: show figures to whoever asks.
    """

    host: str = "127.0.0.1"
    port: int = 8420
    tls_cert: Path | None = None
    tls_key: Path | None = None
    behind: str = ""
    public_url: str = ""
    insecure: bool = False
    worker: bool = True
    engine: bool = True
    open_metrics: bool = False

    def check(self) -> None:
        """See that they go together.

        Raises:
            InputError: they do not.
        """
        if (self.tls_cert is None) != (self.tls_key is None):
            raise InputError("--tls-cert and --tls-key go together: give both or none")
        if self.public_url and not _is_address(self.public_url):
            raise InputError(f"--public-url {self.public_url!r}: give https://HOST")
        if self.behind and not _is_ip(self.behind):
            raise InputError(
                f"--behind {self.behind!r}: give the address by which the proxy comes, such as 127.0.0.1, and no name"
            )
        secured = self.tls_cert is not None or self.behind or self.insecure
        if not is_loopback(self.host) and not secured:
            raise InputError(
                f"others than this machine could reach {self.host}, and read what is sent: give --tls-cert and --tls-key,"
                " or put a proxy in front and name it with --behind; --insecure does without"
            )

    def names(self) -> Names:
        """Give the names that it answers to."""
        public = urlsplit(self.public_url).netloc
        hosts = {host_name(public)} if public else set()
        if not is_loopback(self.host):
            bare = f"[{self.host}]" if ":" in self.host else self.host
            hosts |= {bare.lower(), platform.node().lower(), socket.getfqdn().lower()}
        return Names(frozenset(hosts), str(ipaddress.ip_address(self.behind)) if self.behind else "")


def _is_address(url: str) -> bool:
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and port != 0


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def serve(settings: Settings, options: Options, tell: Callable[[dict[str, Any]], object]) -> None:
    """Be the server of a home until a signal ends it.

    1. It is the only one of its home, and can write the log.
    2. It listens, says so, and keeps up engine and worker.
    3. On SIGTERM or SIGINT it takes no more requests, ends live streams, finishes what is under way, and leaves every
       run after the step that is under way. A second signal waits for nothing.

    Arguments:
        tell: is called with what is up, as soon as it answers, and with what happens at the end.

    Raises:
        RefusedError: another one is up.
        InputError, SettingsError: options, home or certificate cannot be used.
    """
    options.check()
    lay_home(settings)
    with take_seat(settings) as seat, open_home(settings) as home:
        home.require_key()
        household = _household(settings, options)
        readiness = Readiness(home, household.states)
        site = make_site(home, options.names(), readiness, open_metrics=options.open_metrics)
        site.state.household = household
        line = _listen(options)
        server = SiteServer(config_of(site, options), site.state.feed)
        server.when_started = _Started(home, seat, line, options, household, tell)
        try:
            with server.heeding():
                server.run(sockets=[line])
                tell({"stopping": True})
                household.end(lambda: server.hurry)
                end_started(lambda: server.hurry)
        finally:
            line.close()
            program_log(settings).info(Event.SERVER_STOPPED)


def _household(settings: Settings, options: Options) -> Household:
    launcher = find_launcher(settings) if options.engine else None
    return Household(
        WorkerKeeper(settings) if options.worker else None,
        EngineKeeper(settings, launcher) if launcher is not None else None,
    )


@dataclass(frozen=True, slots=True)
class _Started:
    """What is done as soon as the server answers."""

    home: Home
    seat: Seat
    line: socket.socket
    options: Options
    household: Household
    tell: Callable[[dict[str, Any]], object]

    def __call__(self) -> None:
        """Say where it is, and start what is kept up beside it."""
        options, now = self.options, write_moment(utc_now())
        place = ServerPlace(_address(self.line, options), os.getpid(), now, options.public_url)
        self.seat.tell(place)
        self.household.begin()
        program_log(self.home.settings).info(Event.SERVER_STARTED, url=place.url)
        states = self.household.states()
        self.tell({"url": place.url, "public_url": options.public_url or None, "pid": place.pid, **states})


def _address(line: socket.socket, options: Options) -> str:
    """Give the address by which this machine reaches a server."""
    if options.tls_cert is not None and options.public_url:
        return options.public_url  # the name that the certificate is for
    host, port = line.getsockname()[:2]
    near = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - it is only compared
    scheme = "https" if options.tls_cert is not None else "http"
    return f"{scheme}://[{near}]:{port}" if ":" in near else f"{scheme}://{near}:{port}"


def _listen(options: Options) -> socket.socket:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    # Without the protocol being named, asyncio does not turn off Nagle's algorithm: 40 ms for each answer.
    line = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        line.bind((options.host, options.port))
        line.listen(1024)
    except OSError as exc:
        line.close()
        raise SettingsError(
            f"cannot listen at {options.host} port {options.port}: {exc.strerror}; choose others with --host and --port"
        ) from exc
    return line


def config_of(site: Site, options: Options) -> uvicorn.Config:
    """Say how a site is served.

    Raises:
        SettingsError: the certificate or its key cannot be used.
    """
    try:
        config = uvicorn.Config(
            site,
            http=PatientProtocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            # What is a bug is told by the program log, without secrets; to standard error it would go as it is.
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=int(HEAD_S),
            timeout_graceful_shutdown=FINISH_S,
            limit_concurrency=CONNECTIONS,
            h11_max_incomplete_event_size=LONGEST_HEAD,
            ssl_certfile=options.tls_cert,
            ssl_keyfile=options.tls_key,
        )
        config.load()
    except (OSError, ssl.SSLError) as exc:
        raise SettingsError(f"the certificate or its key cannot be used: {exc}") from exc
    return config


class PatientProtocol(H11Protocol):
    """Waits for a request only so long: whoever sends it drop by drop holds no connection."""

    _too_long: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait."""
        assert isinstance(transport, asyncio.Transport)
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Wait on, unless it is all there."""
        super().data_received(data)
        self._wait()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        super().connection_lost(exc)
        self._forget()

    def _wait(self) -> None:
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_complete:
            self._forget()  # a request is being answered; what comes of its body is waited for elsewhere
        elif self._too_long is None:
            self._too_long = self.loop.call_later(HEAD_S, self._give_up)

    def _forget(self) -> None:
        if self._too_long is not None:
            self._too_long.cancel()
            self._too_long = None

    def _give_up(self) -> None:
        self._too_long = None
        if not self.transport.is_closing():
            self.transport.close()


class SiteServer(uvicorn.Server):
    """The server of requests, which tells when it answers, and ends in order."""

    def __init__(self, config: uvicorn.Config, feed: Feed) -> None:
        super().__init__(config)
        self._feed = feed
        self.hurry = False
        self.when_started: Callable[[], object] = lambda: None

    @contextmanager
    def heeding(self) -> Generator[None, None, None]:
        """Heed signals: the first ends it in order, the second at once."""
        numbers = (signal.SIGTERM, signal.SIGINT)
        before = {number: signal.signal(number, self._heed) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave signals to us: they end more than the answering of requests."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer, and say so."""
        # What is there now stays: whoever looks for garbage need not look at it again, 100 ms each time.
        gc.collect()
        gc.freeze()
        await super().startup(sockets)
        await asyncio.get_running_loop().run_in_executor(None, self.when_started)

    def _heed(self, number: int, frame: FrameType | None) -> None:
        self.hurry = self.should_exit
        self.should_exit = True
        # Live streams would keep their connections for ever.
        threading.Thread(target=self._feed.close, daemon=True).start()
