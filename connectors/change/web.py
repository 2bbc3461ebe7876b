"""HTTP as change systems speak it: JSON over REST, with logins, limits and outages told apart.

What an answer means for the caller is said by which error it raises. Only requests that change nothing are made
again, and only where the server says for how long to wait.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from mimrun.change_system import LostAnswer, Refused, SettingsError, Unreachable
from mimrun.connector import Json

if TYPE_CHECKING:
    import httpx

LARGEST: Final = 4 * 1024 * 1024
"""Bytes of an answer that are read; a record is far smaller."""
LONGEST_WAIT_S: Final = 30.0
"""A server that asks to be left alone for longer is not waited for."""
SAID: Final = 300
"""Characters of an answer that an error repeats."""
READING: Final = ("GET", "HEAD")
HIDDEN: Final = 6
"""Characters of a header's value from which on it is taken for a login."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that is worth reading.

    Arguments:
        status: the HTTP status, 200 to 299, or one that the caller said it can use.
        headers: with names in lower case.
        value: the JSON of the body; None where it is empty.
    """

    status: int
    headers: Mapping[str, str]
    value: Json


class Web:
    """A server of a change system.

    Arguments:
        url: where it is; without https only on this machine.
        headers: sent with every request; logins among them, so that their values are in no error.
        timeout_s: seconds until a whole answer must be here.
        ca_file: certificates to trust instead of the system's, or "".
        sleep: waits for so many seconds.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        *,
        timeout_s: float,
        ca_file: str = "",
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        import httpx  # noqa: PLC0415 - slow to load, and needed only where a change system is asked

        self._host = _checked(url)
        self._hidden = _logins(headers)
        self._sleep, self._timeout_s = sleep, timeout_s
        # One connection, which is kept: one request at a time.
        self._wire, self._one = _Wire(), threading.Lock()
        try:
            trusted = ssl.create_default_context(cafile=ca_file or None)
        except OSError as exc:
            raise SettingsError(f"cannot read the certificates in ca_file {ca_file}: {exc}") from exc
        try:
            self._client = httpx.Client(
                base_url=url,
                # Packed answers could grow beyond every bound while they are unpacked.
                headers={"Accept": "application/json", "Accept-Encoding": "identity", **headers},
                # The watcher below is first, since this counts anew with every piece that comes.
                timeout=timeout_s + 1,
                verify=trusted,
                follow_redirects=False,
                trust_env=False,
                limits=httpx.Limits(max_connections=1),
            )
        except (ValueError, UnicodeError) as exc:
            # What went wrong is not repeated: it may show the login.
            raise SettingsError(f"a login for {self._host} holds what no header can hold") from exc

    def ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Json = None,
        headers: Mapping[str, str] | None = None,
        usable: tuple[int, ...] = (),
    ) -> Reply:
        """Send one request and give its answer.

        Arguments:
            path: below the address of the server.
            body: sent as JSON, where it is not None.
            usable: statuses beyond 200 to 299 that the caller can read.

        Raises:
            Unreachable: nothing was changed: no connection, too many requests, or a reading that failed.
            Refused: the server said no; nothing was changed.
            LostAnswer: something may have been changed.
        """
        reply = self._once(method, path, params, body, headers)
        # With 429 the server did not begin (RFC 6585, section 4), so that every request may be sent again; with 503
        # that is not certain (RFC 9110, section 15.6.4), and only what changes nothing is.
        busy = reply.status_code == 429 or (reply.status_code == 503 and method in READING)
        if busy and (wait := _seconds(reply)) is not None and wait <= LONGEST_WAIT_S:
            self._sleep(wait)
            reply = self._once(method, path, params, body, headers)
        if not (reply.is_success or reply.status_code in usable):
            raise self._error(method, path, reply)
        return Reply(
            reply.status_code,
            {k.lower(): v for k, v in reply.headers.items()},
            self._value(method, path, reply),
        )

    def close(self) -> None:
        """End the conversation."""
        self._client.close()

    def _once(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        body: Json,
        headers: Mapping[str, str] | None,
    ) -> httpx.Response:
        import httpx  # noqa: PLC0415 - as above

        content = None if body is None else json.dumps(body).encode()
        sent = {**(headers or {}), **({} if content is None else {"Content-Type": "application/json"})}
        request = self._client.build_request(
            method,
            path.lstrip("/"),
            params=params,
            content=content,
            headers=sent,
            extensions={"trace": self._wire.trace},
        )
        try:
            with self._one, self._wire.watched(self._timeout_s):
                return _whole(self._client, request)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as exc:
            raise Unreachable(f"{self._host} cannot be reached: {self._clean(str(exc))}") from exc
        except (httpx.HTTPError, httpx.InvalidURL, _BadAnswerError) as exc:
            why = self._wire.why or self._clean(str(exc)) or type(exc).__name__
            raise self._lost(method, f"{method} {path} got no whole answer: {why}") from exc
        finally:
            # A session that a server hands out is not taken up: every request logs in by itself.
            self._client.cookies.clear()

    def _clean(self, text: str) -> str:
        """Take the logins out of a text, and make one short line of it."""
        for login in self._hidden:
            text = text.replace(login, "***")
        line = " ".join("".join(c if c.isprintable() else " " for c in text[: SAID * 4]).split())
        return line if len(line) <= SAID else line[: SAID - 1] + "…"

    def _lost(self, method: str, what: str) -> Unreachable | LostAnswer:
        return (
            Unreachable(f"{self._host}: {what}") if method in READING else LostAnswer(f"{self._host}: {what}")
        )

    def _error(self, method: str, path: str, reply: httpx.Response) -> Unreachable | Refused | LostAnswer:
        """Say what an answer that is no success means. Statuses: RFC 9110, section 15; RFC 6585."""
        said = self._clean(reply.text)
        what = f"{method} {path} was answered with {reply.status_code}" + (f": {said}" if said else "")
        match reply.status_code:
            case 301 | 302 | 303 | 307 | 308:
                to = self._clean(reply.headers.get("location", "nowhere"))
                return Refused(
                    f"{self._host}: {method} {path} is pointed to {to}; logins are not carried elsewhere, "
                    "so give that address as url if it is right"
                )
            case 401 | 403:
                return Refused(
                    f"{self._host}: the login is not accepted: {what}; look at its secret and its rights"
                )
            case 404:
                return Refused(f"{self._host}: there is no such record: {what}")
            case 409 | 412:
                return Refused(f"{self._host}: the record has changed meanwhile: {what}; read it again")
            case 429:
                wait = _seconds(reply)
                return Unreachable(
                    f"{self._host} has had too many requests" + (f"; it asks for {wait:g} s" if wait else "")
                )
            case status if status >= 500:
                return self._lost(method, what)
            case _:
                return Refused(f"{self._host}: {what}")

    def _value(self, method: str, path: str, reply: httpx.Response) -> Json:
        if not reply.content.strip():
            return None
        try:
            value: Json = json.loads(
                reply.content.decode("utf-8"), object_pairs_hook=_each_once, parse_constant=_refuse_constant
            )
        except (ValueError, RecursionError) as exc:
            kind = self._clean(reply.headers.get("content-type", "no type"))
            why = exc if isinstance(exc, _AmbiguousError) else "which is not JSON"
            raise self._lost(method, f"{method} {path} was answered with {kind}, {why}") from exc
        return value


class _BadAnswerError(Exception):
    """An answer is larger than any record, or packed although that was not asked for."""


class _AmbiguousError(ValueError):
    """An object says one thing twice, so that nobody knows which of them counts."""


class _Wire:
    """The socket of the request that is going on, to be closed when its time is over."""

    def __init__(self) -> None:
        self.why = ""
        self._socket: socket.socket | None = None

    def trace(self, event: str, info: Mapping[str, object]) -> None:
        """Take httpcore's word on what is happening."""
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            stream = info["return_value"]
            self._socket = stream.get_extra_info("socket")  # type: ignore[attr-defined]  # untyped event

    @contextmanager
    def watched(self, seconds: float) -> Iterator[None]:
        """Cut the connection at the end of its time, whatever has come by then."""
        self.why = ""
        timer = threading.Timer(seconds, self._cut, [seconds])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()

    def _cut(self, seconds: float) -> None:
        self.why = f"{seconds:g} s are over"
        # A read that waits in the other thread ends only by a shutdown, not by a close.
        with suppress(OSError):
            if self._socket is not None:
                self._socket.shutdown(socket.SHUT_RDWR)


def _whole(client: httpx.Client, request: httpx.Request) -> httpx.Response:
    """Send a request and read its answer to the end, within its bound."""
    import httpx  # noqa: PLC0415 - as above

    reply = client.send(request, stream=True)
    try:
        packed = reply.headers.get("content-encoding", "identity").strip().lower()
        if packed not in ("", "identity"):
            raise _BadAnswerError(f"it is packed ({packed}), which was not asked for")
        read = bytearray()
        for piece in reply.iter_raw():
            read += piece
            if len(read) > LARGEST:
                raise _BadAnswerError(f"it is larger than {LARGEST // 1024 // 1024} MiB")
        return httpx.Response(
            reply.status_code, headers=reply.headers, content=bytes(read), request=reply.request
        )
    finally:
        reply.close()


def _checked(url: str) -> str:
    """Give the host of an address, which must be one that logins may be sent to."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError as exc:
        raise SettingsError(f"the url of a change system is no address: {exc}") from exc
    if parts.username is not None or parts.password is not None:
        raise SettingsError(f"a login does not stand in the address of {host}; give a reference to a secret")
    if not host or (parts.scheme != "https" and not (parts.scheme == "http" and _is_here(host))):
        raise SettingsError(f"{url!r}: a change system is asked over https; http only on this machine")
    if parts.query or parts.fragment:
        raise SettingsError(f"{url!r}: the address of a change system ends with its path")
    return host


def _is_here(host: str) -> bool:
    """Say whether a host is this machine by its very name or number."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def basic(user: str, password: str) -> dict[str, str]:
    """Give the header of a login by name and password (RFC 7617, section 2)."""
    return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}


def _logins(headers: Mapping[str, str]) -> tuple[str, ...]:
    """Give whatever of the headers may be a login, in the forms in which a server may repeat it, longest first."""
    found: set[str] = set()
    for value in headers.values():
        found |= {value, *value.split()}
        scheme, _, packed = value.partition(" ")
        if scheme.lower() == "basic":
            with suppress(ValueError):
                found |= {plain := base64.b64decode(packed).decode(), plain.partition(":")[2]}
    return tuple(sorted((v for v in found if len(v) >= HIDDEN), key=len, reverse=True))


def _each_once(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise _AmbiguousError("in which an object has one name twice")
    return value


def _refuse_constant(name: str) -> Json:
    raise ValueError(f"{name} is not JSON")


def _seconds(reply: httpx.Response) -> float | None:
    """Give how many seconds the server asks to be left alone. Source: RFC 9110, section 10.2.3.

    A moment is held against the server's own clock where it says what that shows.

    Returns:
        None where it does not say so, or not in a way that can be read.
    """
    text = reply.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    until, now = _moment(text), _moment(reply.headers.get("date", ""))
    if until is None:
        return None
    return max(0.0, (until - (now or datetime.now(UTC))).total_seconds())


def _moment(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
