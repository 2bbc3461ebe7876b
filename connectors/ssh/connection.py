"""One authenticated connection to one host: dialled, its identity checked, logged in, kept."""

from __future__ import annotations

import random
import socket
import threading
import time
from typing import Final

from connectors.ssh.identity import identities
from connectors.ssh.known_hosts import KnownHosts, load_known_hosts
from connectors.ssh.lean import (
    AuthenticationException,
    BadAuthenticationType,
    Channel,
    IncompatiblePeer,
    SSHException,
)
from connectors.ssh.packets import dial
from connectors.ssh.settings import SshSettings
from connectors.ssh.transport import TunedTransport
from mimrun.connector import Refused, Unreachable

CHANNEL_TIMEOUT: Final = 10.0
"""Seconds a host gets to open a channel on a connection that is up."""
FRESH: Final = 2.0
"""Seconds after its last command for which a connection is believed to be there."""
PROOF: Final = 5.0
"""Seconds a host gets to prove that it is there; then a new connection is made."""
NO_ROOM_PAUSES: Final = (0.0, 0.01, 0.05, 0.2, 0.5)
"""Seconds between the tries to open a channel with a host that refuses one."""
FIRST_PAUSE: Final = 0.1
"""Seconds before the second try with a host that turned a connection away; doubled each time."""


class Connection:
    """A host that we are logged in to.

    Arguments:
        settings: how it was reached.
        transport: connected and authenticated.
    """

    def __init__(self, settings: SshSettings, transport: TunedTransport) -> None:
        self.settings = settings
        self.transport = transport
        self._used = False
        self._spare: Channel | None = None
        self._heard = time.monotonic()
        self._done: set[str] = set()

    def first_of(self, matter: str) -> bool:
        """Whether a matter comes up for the first time on this connection."""
        first = matter not in self._done
        self._done.add(matter)
        return first

    @property
    def alive(self) -> bool:
        """Whether, as far as we know, the host is still at the other end."""
        return self.transport.is_active()

    def is_there(self, timeout: float) -> bool:
        """Make sure that the host still answers, before anything is asked of it.

        A connection that was just used is taken at its word. After a pause the host has to open a channel: a
        command sent into a link that has died would leave us not knowing whether it ran.
        """
        if not self.alive:
            return False
        if time.monotonic() - self._heard < FRESH:
            return True
        if self._spare is not None:
            self._spare.close()
        try:
            self._spare = self.transport.begin_session()
            self.transport.await_session(self._spare, min(timeout, PROOF))
        except (SSHException, EOFError, OSError):
            return False
        return True

    def take_channel(self, timeout: float = CHANNEL_TIMEOUT) -> Channel:
        """Give an open session channel, the one that was asked for ahead where there is one.

        Raises:
            Unreachable: the host does not open one. Nothing has been asked of it.
        """
        spare, self._spare = self._spare, None
        until = time.monotonic() + min(timeout, CHANNEL_TIMEOUT)
        # A host that allows few sessions counts the last one until it has closed it.
        for pause in (0.0, *NO_ROOM_PAUSES):
            time.sleep(pause)
            try:
                channel, spare = spare or self.transport.begin_session(), None
                self.transport.await_session(channel, max(until - time.monotonic(), 0.001))
            except (SSHException, EOFError, OSError) as exc:
                refusal = exc
            else:
                return channel
            if not self.alive or time.monotonic() >= until:
                break
        raise Unreachable(f"{self.settings.where}: {refusal}")

    def order_spare(self) -> None:
        """Ask for a channel for the next command, from the second command on: it saves a round trip."""
        if self._used and self._spare is None and self.alive:
            try:
                self._spare = self.transport.begin_session()
            except (SSHException, EOFError, OSError):
                self._spare = None
        self._used = True
        self._heard = time.monotonic()

    def close(self) -> None:
        """Let go of the host. May be called twice."""
        self._spare = None
        self.transport.close()


def connect(settings: SshSettings, timeout: float, stop: threading.Event | None = None) -> Connection:
    """Connect and log in.

    A host that is short of free login slots (sshd's MaxStartups) closes a new connection before its
    greeting; it is asked again, after a growing pause, for as long as there is time.

    Arguments:
        settings: where and as whom.
        timeout: seconds for everything.
        stop: set when a person cancels.

    Raises:
        Unreachable: there is no such host, or it does not answer in time.
        Refused: its key is not trusted, or it does not let us in.
    """
    known = load_known_hosts(settings.known_hosts)
    until = time.monotonic() + timeout
    pause = FIRST_PAUSE
    while True:
        transport = _greet(settings, known, until)
        if transport is not None:
            break
        wait = pause * random.uniform(0.5, 1.5)  # noqa: S311 - spreads the tries, guards nothing
        if time.monotonic() + wait >= until or (stop is not None and stop.is_set()):
            raise Unreachable(
                f"{settings.where}: the host closes every new connection at once; "
                "it may be short of login slots (MaxStartups) or keep this address out"
            )
        time.sleep(wait)
        pause *= 2
    try:
        _trust(settings, known, transport)
        _log_in(settings, transport, until)
    except BaseException:
        transport.close()
        raise
    return Connection(settings, transport)


def _greet(settings: SshSettings, known: KnownHosts, until: float) -> TunedTransport | None:
    """Dial and exchange keys; None where the host hung up before its greeting."""
    where = settings.where
    left = max(until - time.monotonic(), 0.001)
    try:
        sock = dial(settings.host, settings.port, left)
    except socket.gaierror as exc:
        raise Unreachable(f"{where}: the name {settings.host!r} cannot be resolved: {exc.strerror}") from exc
    except TimeoutError as exc:
        raise Unreachable(f"{where}: no answer within {settings.ssh_connect_timeout:g} s") from exc
    except (OSError, UnicodeError) as exc:
        raise Unreachable(f"{where}: {getattr(exc, 'strerror', None) or exc}") from exc
    transport = TunedTransport(sock, known.key_types(settings.host, settings.port))
    try:
        transport.shake_hands(max(until - time.monotonic(), 0.001))
    except IncompatiblePeer as exc:
        transport.close()
        raise Refused(
            f"{where}: no common algorithm: {exc}; the host's sshd is too old or too strict"
        ) from exc
    except TimeoutError as exc:
        raise Unreachable(f"{where}: connected, but the SSH handshake did not end in time") from exc
    except (SSHException, EOFError, OSError) as exc:
        greeted = bool(transport.remote_version)
        transport.close()
        sock.close()
        if not greeted:
            return None
        raise Unreachable(f"{where}: the SSH handshake failed: {str(exc) or 'connection closed'}") from exc
    return transport


def _trust(settings: SshSettings, known: KnownHosts, transport: TunedTransport) -> None:
    key = transport.get_remote_server_key()
    known.verify(settings.host, settings.port, key.get_name(), key.asbytes())


def _log_in(settings: SshSettings, transport: TunedTransport, until: float) -> None:
    """Try the keys one after another.

    Raises:
        Refused: the host takes none of them, or wants something else.
        Unreachable: the connection was lost.
    """
    where, user = settings.where, settings.user
    tried = 0
    for key in identities(settings):
        try:
            wanted = transport.log_in(user, key, max(until - time.monotonic(), 0.001))
        except BadAuthenticationType as exc:
            allowed = ", ".join(exc.allowed_types)
            raise Refused(f"{where}: logins with a key are not allowed, only by: {allowed}") from exc
        except AuthenticationException as exc:
            tried += 1
            if transport.is_active() and "timeout" not in str(exc).lower():
                continue
            if tried == 1:
                raise Unreachable(f"{where}: the connection was lost while logging in as {user}") from exc
            break
        except (SSHException, EOFError, OSError) as exc:
            raise Unreachable(f"{where}: the connection was lost while logging in as {user}: {exc}") from exc
        if not wanted:
            return
        raise Refused(f"{where}: the key is good, but the host also wants: {', '.join(wanted)}")
    which = str(settings.key_file) if settings.key_file else f"any of {tried} keys"
    raise Refused(f"{where}: the login as {user} was refused with {which}; is the key in authorized_keys?")
