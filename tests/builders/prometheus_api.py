"""An API in the form of Prometheus', that answers what a test says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs

from builders.answering import Answer, Answering, Asked, answering


class PrometheusApi:
    """Answers queries with series and values; or with anything else that it is given.

    Arguments:
        server: that it answers at.
    """

    def __init__(self) -> None:
        self.series: dict[str, str] = {}
        self.instead: Answer | None = None
        self.server: Answering | None = None

    @property
    def address(self) -> str:
        """Where it is."""
        assert self.server is not None
        return self.server.url

    @property
    def asked(self) -> list[tuple[str, str]]:
        """The queries that came, each with who asked it."""
        assert self.server is not None
        return [
            (parse_qs(one.body.decode())["query"][0], one.headers.get("Authorization", ""))
            for one in self.server.seen
        ]

    def answer(self, _: Asked) -> Answer:
        """Give what is said back."""
        if self.instead is not None:
            return self.instead
        result = [
            {
                "metric": {"__name__": "up", **dict(pair.split("=", 1) for pair in name.split(",") if pair)},
                "value": [1795312220.1, value],
            }
            for name, value in self.series.items()
        ]
        return Answer(value={"status": "success", "data": {"resultType": "vector", "result": result}})


@contextmanager
def prometheus_api() -> Iterator[PrometheusApi]:
    """Run one for the length of a test."""
    api = PrometheusApi()
    with answering(api.answer) as server:
        api.server = server
        yield api
