"""paramiko's transport, tuned: the same protocol with 13 times less waiting on a small command.

What is changed, here and in `packets`, and why (measured; see `bench/ssh_command.py`):

* TCP_NODELAY, and TCP_QUICKACK again after every read: without them Nagle's algorithm at one end and the
  delayed acknowledgement at the other cost 40 ms for every small packet.
* Reads are buffered, the handshake has no timer thread, an idle connection wakes every 5 s and not ten
  times a second.
* The request for the service and the signed login go out in one flight: one round trip less.
* Key exchange and ciphers in the order of their cost: P-256, Curve25519, ML-KEM, then the groups; GCM first.
* A handshake that takes too long raises; a process that is ended by a signal says so (RFC 4254, 6.10).
"""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import Final, cast

from connectors.ssh.lean import AuthHandler, Channel, Message, PKey, SSHException, Transport, common
from connectors.ssh.packets import BufferedPacketizer

WINDOW: Final = 2 * 1024 * 1024
"""Bytes of output that may be under way on one channel; also the most that is held unread."""
WORTH_WAKING: Final = 64 * 1024
"""Bytes of output that wake the thread that waits for them; less is fetched within a tenth of a second."""


class PipelinedAuth(AuthHandler):
    """Sends the signed login without waiting for the service to be accepted."""

    def _request_auth(self) -> None:
        super()._request_auth()  # type: ignore[misc]
        accepted = Message()
        accepted.add_string("ssh-userauth")
        accepted.rewind()
        super()._parse_service_accept(accepted)  # type: ignore[misc]

    @property
    def _client_handler_table(self) -> dict[int, Callable[[Message], None]]:
        table = dict(super()._client_handler_table)  # type: ignore[misc]
        table[common.MSG_SERVICE_ACCEPT] = _ignore
        return table


def _ignore(message: Message) -> None:
    """The service is accepted; the login is under way already."""


def _waking(kind: int, handler: Callable[[Channel, Message], None]) -> Callable[[Channel, Message], None]:
    """Wake the thread that waits on a channel when there is something to do for it.

    A little output is not worth waking for: it is fetched with the end, or when that thread looks by
    itself. This saves three changes of thread for each small command.
    """

    def handle(channel: Channel, message: Message) -> None:
        handler(channel, message)
        wake = getattr(channel, "wake", None)
        if wake is not None and _is_worth_waking(kind, channel):
            wake.set()

    return handle


def _is_worth_waking(kind: int, channel: Channel) -> bool:
    if kind in (common.MSG_CHANNEL_DATA, common.MSG_CHANNEL_EXTENDED_DATA):
        return max(len(channel.in_buffer), len(channel.in_stderr_buffer)) >= WORTH_WAKING
    if kind in (common.MSG_CHANNEL_EOF, common.MSG_CHANNEL_REQUEST):
        return bool(channel.eof_received) and channel.status_event.is_set()
    return kind != common.MSG_CHANNEL_SUCCESS


def _handle_request(channel: Channel, message: Message) -> None:
    """Keep `exit-signal`, which paramiko drops; leave every other request to it."""
    start = message.packet.tell()
    kind = message.get_text()
    message.get_boolean()
    if kind == "exit-signal":
        name = message.get_text()
        number = getattr(signal, f"SIG{name}", None)
        channel.exit_signal = name  # type: ignore[attr-defined]
        channel.exit_status = 128 + (int(number) if number else 0)
        channel.status_event.set()
        return
    message.packet.seek(start)
    channel._handle_request(message)  # type: ignore[attr-defined]  # noqa: SLF001 - the handler we stand in for


def _handle_failure(channel: Channel, message: Message) -> None:
    """Remember that the host refused our request; a lost connection closes the channel in the same way."""
    channel.refused = True  # type: ignore[attr-defined]
    channel._request_failed(message)  # type: ignore[attr-defined]  # noqa: SLF001 - the handler we stand in for


_HANDLERS = cast(
    "dict[int, Callable[[Channel, Message], None]]",
    Transport._channel_handler_table,  # type: ignore[attr-defined]  # noqa: SLF001 - we extend the table
)


class TunedTransport(Transport):
    """One connection to one host."""

    _channel_handler_table = {
        kind: _waking(kind, handler)
        for kind, handler in {
            **_HANDLERS,
            common.MSG_CHANNEL_REQUEST: _handle_request,
            common.MSG_CHANNEL_FAILURE: _handle_failure,
        }.items()
    }
    _active_check_timeout = 5.0
    _preferred_kex = (
        "ecdh-sha2-nistp256",
        "curve25519-sha256@libssh.org",
        "mlkem768x25519-sha256",
        "ecdh-sha2-nistp384",
        "ecdh-sha2-nistp521",
        "diffie-hellman-group14-sha256",
        "diffie-hellman-group16-sha512",
        "diffie-hellman-group-exchange-sha256",
    )
    _preferred_ciphers = (
        "aes128-gcm@openssh.com",
        "aes256-gcm@openssh.com",
        "aes128-ctr",
        "aes192-ctr",
        "aes256-ctr",
    )
    _preferred_macs = (
        "hmac-sha2-256-etm@openssh.com",
        "hmac-sha2-512-etm@openssh.com",
        "hmac-sha2-256",
        "hmac-sha2-512",
    )

    def __init__(self, sock: socket.socket, host_key_types: tuple[str, ...] = ()) -> None:
        """Wrap a connected socket.

        Arguments:
            sock: from `dial`.
            host_key_types: the types that are trusted for this host; the server is asked for these first.
        """
        self._preferred_keys = _host_key_order(host_key_types)
        super().__init__(sock, packetizer_class=BufferedPacketizer, default_window_size=WINDOW)
        # The kernel's keepalive finds a dead host; paramiko's own never looks for the answers.
        self._late: list[Message] = []

    @property
    def preferred_keys(self) -> tuple[str, ...]:
        """The host key types to ask for: no certificates, which we do not verify."""
        return self._preferred_keys

    def _log(self, level: int, msg: object, *args: object) -> None:
        """Say nothing: every failure reaches the caller as an exception."""

    def _parse_debug(self, m: Message) -> None:
        """Skip: sshd sends one such message for each line of authorized_keys."""

    def _send_user_message(self, data: Message) -> None:
        """Send a message of a channel, or keep it while keys are being exchanged.

        paramiko makes its own thread wait here for new keys that only this thread can take in: a channel
        that was closed during a key exchange (after half a gigabyte) stopped the connection for 30 s.
        """
        if threading.current_thread() is self and not self.clear_to_send.is_set():
            self._late.append(data)
            return
        super()._send_user_message(data)  # type: ignore[misc]

    def _parse_newkeys(self, m: Message) -> None:
        super()._parse_newkeys(m)  # type: ignore[misc]
        late, self._late = self._late, []
        for message in late:
            super()._send_user_message(message)  # type: ignore[misc]

    def shake_hands(self, timeout: float) -> None:
        """Exchange greetings and keys.

        Raises:
            TimeoutError: it took longer than `timeout` seconds; the connection is closed.
            Exception: whatever ended the connection, an `EOFError` or `SSHException` mostly.
        """
        self.banner_timeout = self.handshake_timeout = timeout
        self.active = True
        self.completion_event = done = threading.Event()
        self.start()
        if not done.wait(timeout):
            self.close()
            raise TimeoutError("the handshake took too long")
        if not self.active:
            raise self.get_exception() or EOFError("the connection ended")

    def log_in(self, user: str, key: PKey, timeout: float) -> list[str]:
        """Log in with a key.

        Returns:
            Nothing when logged in, else what the host wants in addition.

        Raises:
            AuthenticationException: the key was refused.
        """
        self.auth_timeout = timeout
        answered = threading.Event()
        self.auth_handler = handler = PipelinedAuth(self)
        handler.auth_publickey(user, key, answered)
        return handler.wait_for_response(answered)

    def begin_session(self) -> Channel:
        """Ask for a session channel, without waiting for the answer (RFC 4254, section 5.1)."""
        message = Message()
        with self.lock:
            number = self._next_channel()  # type: ignore[attr-defined]
            message.add_byte(common.cMSG_CHANNEL_OPEN)
            message.add_string("session")
            message.add_int(number)
            message.add_int(WINDOW)
            message.add_int(self.default_max_packet_size)
            channel = Channel(number)
            channel.wake = threading.Event()  # type: ignore[attr-defined]
            channel.opened = opened = threading.Event()  # type: ignore[attr-defined]
            self._channels.put(number, channel)  # type: ignore[attr-defined]
            self.channel_events[number] = opened
            self.channels_seen[number] = True
            channel._set_transport(self)  # type: ignore[attr-defined]  # noqa: SLF001 - as open_channel does
            channel._set_window(WINDOW, self.default_max_packet_size)  # type: ignore[attr-defined]  # noqa: SLF001
        self._send_user_message(message)
        return channel

    def await_session(self, channel: Channel, timeout: float) -> None:
        """Wait until the host has opened a channel.

        Raises:
            SSHException: it refused, took longer than `timeout` seconds, or the connection is gone.
        """
        opened: threading.Event = channel.opened  # type: ignore[attr-defined]
        until = time.monotonic() + timeout
        # The connection may have ended between asking and registering, so look once in a while.
        while self.active and not opened.wait(min(0.5, max(until - time.monotonic(), 0))):
            if time.monotonic() >= until:
                raise SSHException("the host did not open a channel in time")
        if not channel.active or channel.closed:
            refusal = self.get_exception() if not self.active else self.saved_exception
            raise SSHException(f"the host did not open a channel: {refusal or 'connection lost'}")

    def request_exec(self, channel: Channel, line: bytes) -> None:
        """Ask the host to run a line, without waiting for the answer (RFC 4254, section 6.5)."""
        message = Message()
        message.add_byte(common.cMSG_CHANNEL_REQUEST)
        message.add_int(channel.remote_chanid)
        message.add_string("exec")
        message.add_boolean(True)  # noqa: FBT003 - an answer is wanted
        message.add_string(line)
        channel.event.clear()
        channel.event_ready = False
        self._send_user_message(message)


def _host_key_order(trusted: tuple[str, ...]) -> tuple[str, ...]:
    """The host key algorithms to offer, those of trusted key types first."""
    algorithms = {
        "ssh-ed25519": ("ssh-ed25519",),
        "ecdsa-sha2-nistp256": ("ecdsa-sha2-nistp256",),
        "ecdsa-sha2-nistp384": ("ecdsa-sha2-nistp384",),
        "ecdsa-sha2-nistp521": ("ecdsa-sha2-nistp521",),
        "ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256"),
    }
    kinds = sorted(algorithms, key=lambda kind: (kind not in trusted, list(algorithms).index(kind)))
    return tuple(name for kind in kinds for name in algorithms[kind])
