"""Asking a Prometheus-compatible API what a query answers now: Prometheus itself, Thanos, Mimir, VictoriaMetrics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import httpx

from mimrun.errors import LostAnswer, Refused, Unreachable
from mimrun.incident.watch import MOST, Sample
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

    Returns:
        the series of a vector, or a scalar as one series without labels; the values as the API writes them.

    Raises:
        Unreachable: nobody is there.
        Refused: the query, or whoever asks it, is not accepted.
        LostAnswer: there was no answer in time, or one that nobody can read.
    """
    headers = {"Authorization": f"Bearer {token.reveal()}"} if token is not None else {}
    url = f"{address.rstrip('/')}/api/v1/query"
    try:
        # Where it leads elsewhere nobody has said that it may be asked, with this token besides.
        with (
            httpx.Client(timeout=timeout_s, follow_redirects=False, trust_env=False) as client,
            client.stream("POST", url, data={"query": query}, headers=headers) as answer,
        ):
            return _samples(answer, address)
    except (httpx.ConnectError, httpx.ConnectTimeout) as exc:
        raise Unreachable(f"{address}: cannot be reached: {exc}") from exc
    except httpx.TransportError as exc:
        raise LostAnswer(f"{address}: no answer: {type(exc).__name__}: {exc}") from exc


def _samples(answer: httpx.Response, address: str) -> Sequence[Sample]:
    body = b""
    for chunk in answer.iter_bytes():
        body += chunk
        if len(body) > MAX_BYTES:
            raise LostAnswer(
                f"{address}: answers with more than {MAX_BYTES} bytes; let the query answer with less"
            )
    try:
        said = httpx.Response(answer.status_code, content=body).json()
    except ValueError as exc:
        raise LostAnswer(f"{address}: answered {answer.status_code}, and not with JSON") from exc
    if answer.status_code != httpx.codes.OK or not isinstance(said, dict) or said.get("status") != "success":
        why = str(said.get("error", ""))[:_SHOWN] if isinstance(said, dict) else ""
        raise Refused(f"{address}: answered {answer.status_code}: {why or 'without saying why'}")
    return list(_read(said.get("data"), address))


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
        named = {str(name): str(text) for name, text in labels.items() if name != "__name__"}
        yield Sample(named, _value(one.get("value"), address))


def _value(pair: Any, address: str) -> str:
    """Give the value of a sample, which stands behind its time, as text."""
    if not isinstance(pair, list) or len(pair) != 2:
        raise LostAnswer(f"{address}: the answer is not in the form of Prometheus")
    return str(pair[1])
