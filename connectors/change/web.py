"""HTTP as change systems speak it: JSON over REST, with logins, limits and outages told apart.

What an answer means for the caller is said by which error it raises. Only requests that change nothing are made
again, and only where the server says for how long to wait.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
READING: Final = ("GET", "HEAD")
LOCAL: Final = ("127.0.0.1", "::1", "localhost")


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
        headers: sent with every request; logins among them.
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

        parts = urlsplit(url)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOCAL):
            raise SettingsError(f"{url!r}: a change system is asked over https; http only on this machine")
        if parts.username or parts.password:
            raise SettingsError(
                f"a login does not stand in the address of {parts.hostname}; give a reference to a secret"
            )
        self._host, self._sleep = parts.hostname or "", sleep
        self._client = httpx.Client(
            base_url=url,
            headers={"Accept": "application/json", **headers},
            timeout=timeout_s,
            verify=ca_file or True,
            follow_redirects=False,
            trust_env=False,
        )

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
        if reply.status_code == 429 and (wait := _seconds(reply)) is not None and wait <= LONGEST_WAIT_S:
            # The server did not begin (RFC 6585, section 4), so that every request may be sent again.
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
            method, path.lstrip("/"), params=params, content=content, headers=sent
        )
        try:
            reply = self._client.send(request, stream=True)
            try:
                return _whole(reply)
            finally:
                reply.close()
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as exc:
            raise Unreachable(f"{self._host} cannot be reached: {exc}") from exc
        except (httpx.HTTPError, httpx.InvalidURL, _TooLargeError) as exc:
            raise self._lost(
                method, f"{method} {path} got no whole answer: {str(exc) or type(exc).__name__}"
            ) from exc

    def _lost(self, method: str, what: str) -> Unreachable | LostAnswer:
        return (
            Unreachable(f"{self._host}: {what}") if method in READING else LostAnswer(f"{self._host}: {what}")
        )

    def _error(self, method: str, path: str, reply: httpx.Response) -> Unreachable | Refused | LostAnswer:
        """Say what an answer that is no success means. Statuses: RFC 9110, section 15; RFC 6585."""
        said = " ".join(reply.text.split())[:300]
        what = f"{method} {path} was answered with {reply.status_code}" + (f": {said}" if said else "")
        match reply.status_code:
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
            value: Json = json.loads(reply.content)
        except ValueError as exc:
            kind = reply.headers.get("content-type", "no type")
            raise self._lost(method, f"{method} {path} was answered with {kind}, which is not JSON") from exc
        return value


class _TooLargeError(Exception):
    """An answer is larger than any record."""


def _whole(reply: httpx.Response) -> httpx.Response:
    """Read an answer to its end, within its bound."""
    import httpx  # noqa: PLC0415 - as above

    read = bytearray()
    for piece in reply.iter_bytes():
        read += piece
        if len(read) > LARGEST:
            raise _TooLargeError(f"it is larger than {LARGEST // 1024 // 1024} MiB")
    headers = {
        k: v for k, v in reply.headers.items() if k.lower() not in ("content-encoding", "content-length")
    }
    return httpx.Response(reply.status_code, headers=headers, content=bytes(read), request=reply.request)


def _seconds(reply: httpx.Response) -> float | None:
    """Give how many seconds the server asks to be left alone; None where it does not say so in seconds."""
    text = reply.headers.get("retry-after", "").strip()
    return float(text) if text.isascii() and text.isdigit() else None
