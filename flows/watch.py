"""Asking a Prometheus-compatible API what a query answers now: Prometheus itself, Thanos, Mimir, VictoriaMetrics."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

import httpx

from mimrun.errors import LostAnswer, Refused, Unreachable
from mimrun.incident.alert import TEXT_LENGTH
from mimrun.incident.watch import MOST, Sample
from mimrun.log.field import clean_text
from mimrun.secret import Secret

MAX_BYTES: Final = 8 * 1024 * 1024
"""Bytes of an answer that are read; a query that answers with more is meant for people."""
_SHOWN: Final = 200


def ask_prometheus(
    address: str, query: str, *, token: Secret | None = None, timeout_s: float = 10.0
) -> Sequence[Sample]:
    """Ask a query once, at `ADDRESS/api/v1/query`.

    Arguments:
        address: of the API, without the path.
        token: sent as a bearer token.
        timeout_s: seconds until the whole answer must be here, however slowly it comes.

    Returns:
        the series of a vector, or a scalar as one series without labels; the values as the API writes them.

    Raises:
        Unreachable: nobody is there.
        Refused: the query, or whoever asks it, is not accepted.
        LostAnswer: there was no answer in time, or one that nobody can read.
    """
    status, body = _asked(address, query, token, timeout_s)
    try:
        said = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise LostAnswer(f"{address}: answered {status}, and not with JSON") from exc
    if status != httpx.codes.OK or not isinstance(said, dict) or said.get("status") != "success":
        why = str(said.get("error", ""))[:_SHOWN] if isinstance(said, dict) else ""
        raise Refused(f"{address}: answered {status}: {why or 'without saying why'}")
    return list(_read(said.get("data"), address))


def _asked(address: str, query: str, token: Secret | None, timeout_s: float) -> tuple[int, bytes]:
    """Give status and body of the answer."""
    headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
    headers |= {"Authorization": f"Bearer {token.reveal()}"} if token is not None else {}
    wire, url = _Wire(), f"{address.rstrip('/')}/api/v1/query"
    try:
        # Where it leads elsewhere nobody has said that it may be asked, with this token besides.
        with (
            httpx.Client(timeout=timeout_s + 1, follow_redirects=False, trust_env=False) as client,
            wire.cut_after(timeout_s),
            client.stream(
                "POST", url, data={"query": query}, headers=headers, extensions={"trace": wire.trace}
            ) as answer,
        ):
            body = _body(answer, address)
    except (httpx.ConnectError, httpx.ConnectTimeout) as exc:
        raise Unreachable(f"{address}: cannot be reached: {exc}") from exc
    except httpx.HTTPError as exc:
        raise LostAnswer(f"{address}: {wire.why or f'no answer: {type(exc).__name__}: {exc}'}") from exc
    if wire.why:  # an answer that ends with its connection looks whole where it was cut
        raise LostAnswer(f"{address}: {wire.why}")
    return answer.status_code, body


def _body(answer: httpx.Response, address: str) -> bytes:
    if answer.headers.get("content-encoding", "identity") != "identity":
        raise LostAnswer(f"{address}: the answer is packed, although that was not asked for")
    body = b""
    for chunk in answer.iter_raw():
        body += chunk
        if len(body) > MAX_BYTES:
            what = "let the query answer with less"
            raise LostAnswer(f"{address}: answers with more than {MAX_BYTES} bytes; {what}")
    return body


class _Wire:
    """The connection of a request, to be cut when its time is over."""

    def __init__(self) -> None:
        self.why = ""
        self._socket: socket.socket | None = None

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Take httpcore's word on what is happening."""
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self._socket = info["return_value"].get_extra_info("socket")

    @contextmanager
    def cut_after(self, seconds: float) -> Iterator[None]:
        """Cut the connection at the end of its time, whatever has come by then."""
        timer = threading.Timer(seconds, self._cut, [seconds])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()

    def _cut(self, seconds: float) -> None:
        self.why = f"no whole answer within {seconds:g} s"
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)


def _read(data: Any, address: str) -> Iterator[Sample]:
    kind, result = (data.get("resultType"), data.get("result")) if isinstance(data, dict) else (None, None)
    if kind == "scalar":
        yield Sample({}, _value(result, address))
        return
    if kind != "vector" or not isinstance(result, list):
        raise Refused(
            f"{address}: the query answers with a {kind}; it must answer with one value for each series"
        )
    for one in result[:MOST]:
        labels = one.get("metric") if isinstance(one, dict) else None
        if not isinstance(labels, dict):
            raise LostAnswer(f"{address}: the answer is not in the form of Prometheus")
        # One series must not keep the others of its watch from being recorded.
        named = {_label(name): _label(text) for name, text in labels.items() if name != "__name__"}
        yield Sample(named, _value(one.get("value"), address))


def _label(text: object) -> str:
    """Give a label as an alert has it: Unicode, and not longer than is kept."""
    return clean_text(str(text), TEXT_LENGTH)


def _value(pair: Any, address: str) -> str:
    """Give the value of a sample, which stands behind its time, as text."""
    if not isinstance(pair, list) or len(pair) != 2:
        raise LostAnswer(f"{address}: the answer is not in the form of Prometheus")
    return str(pair[1])
