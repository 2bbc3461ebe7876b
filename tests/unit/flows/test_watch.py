"""Asking a query, and everything that can come back instead of an answer."""

from __future__ import annotations

import gzip
import socket
import time
from collections.abc import Iterator

import pytest
from builders.answering import Answer
from builders.prometheus_api import PrometheusApi, prometheus_api

from flows.watch import MAX_BYTES, ask_prometheus
from mimrun.errors import LostAnswer, MimrunError, Refused, Unreachable
from mimrun.incident.watch import MOST, Sample
from mimrun.secret import Secret


@pytest.fixture
def api() -> Iterator[PrometheusApi]:
    with prometheus_api() as api:
        yield api


def test_a_vector_is_read_with_its_labels_and_exact_values(api: PrometheusApi) -> None:
    api.series = {"i=a,job=x": "0.10000000000000000001", "i=b": "NaN"}
    found = ask_prometheus(api.address, "up", token=Secret("t0ken"))
    assert found == [Sample({"i": "a", "job": "x"}, "0.10000000000000000001"), Sample({"i": "b"}, "NaN")]
    assert api.asked == [("up", "Bearer t0ken")]


def test_a_scalar_is_one_series(api: PrometheusApi) -> None:
    api.instead = Answer(body=b'{"status":"success","data":{"resultType":"scalar","result":[1,"42"]}}')
    assert ask_prometheus(api.address, "42") == [Sample({}, "42")]


@pytest.mark.parametrize(
    ("status", "body", "error", "words"),
    [
        (
            400,
            b'{"status":"error","errorType":"bad_data","error":"parse error"}',
            Refused,
            "answered 400: parse error",
        ),
        (401, b"{}", Refused, "answered 401: without saying why"),
        (302, b"{}", Refused, "answered 302"),  # nobody is led elsewhere
        (200, b"<html>", LostAnswer, "and not with JSON"),
        (200, b"[]", Refused, "answered 200"),
        (200, b'{"status":"success"}', Refused, "answers with a None"),
        (
            200,
            b'{"status":"success","data":{"resultType":"matrix","result":[]}}',
            Refused,
            "answers with a matrix",
        ),
        (
            200,
            b'{"status":"success","data":{"resultType":"vector","result":[5]}}',
            LostAnswer,
            "not in the form",
        ),
        (
            200,
            b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1]}]}}',
            LostAnswer,
            "not in the form",
        ),
        (200, b" " * (MAX_BYTES + 1), LostAnswer, "answers with more than"),
    ],
)
def test_what_is_no_answer_is_said_in_words(
    api: PrometheusApi, status: int, body: bytes, error: type[MimrunError], words: str
) -> None:
    api.instead = Answer(status, body=body)
    with pytest.raises(error, match=words):
        ask_prometheus(api.address, "up")


def test_nobody_there_and_nobody_who_answers_are_told_apart(api: PrometheusApi) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(Unreachable, match="cannot be reached"):
            ask_prometheus(f"http://127.0.0.1:{free.getsockname()[1]}", "up")
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n"
    for slow in (
        Answer(raw=b"", hang=True),
        Answer(raw=head + b"X: ", drip=b"x"),
        Answer(raw=head + b"\r\n", drip=b" "),
    ):
        api.instead = slow
        began = time.monotonic()
        with pytest.raises(LostAnswer, match=r"no whole answer within 0\.3 s"):
            ask_prometheus(api.address, "up", timeout_s=0.3)
        assert time.monotonic() - began < 5, "also of an answer that comes byte by byte"


def test_an_answer_that_is_packed_is_not_unpacked(api: PrometheusApi) -> None:
    api.instead = Answer(body=gzip.compress(b" " * 10_000_000), headers={"Content-Encoding": "gzip"})
    with pytest.raises(LostAnswer, match="is packed, although that was not asked for"):
        ask_prometheus(api.address, "up")


def test_of_very_many_series_the_first_are_read(api: PrometheusApi) -> None:
    result = [{"metric": {"i": str(n)}, "value": [1, "1"]} for n in range(MOST + 5)]
    api.instead = Answer(value={"status": "success", "data": {"resultType": "vector", "result": result}})
    assert len(ask_prometheus(api.address, "up")) == MOST
