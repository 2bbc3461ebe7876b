"""A log of its own for each test, and what the tests of the store append to it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from builders.log_places import File, Place, Schema, a_schema, a_server

from mimrun.lab.postgres_server import Instance
from mimrun.log.entry import Actor, Blob, Draft, LogEntry
from mimrun.log.kinds import IncidentNote, RunStarted
from mimrun.log.sequenced import SequencedStore
from mimrun.log.sqlite.store import create_log

ACTOR = Actor("person", "u:7", "cli", "local")
ORIGIN = "test.example.org/log"


class Counter:
    """Counts the entries of each run, and remembers how long their texts were."""

    def __init__(self, name: str = "count/1") -> None:
        self.name = name

    def empty(self) -> bytes:
        return b""

    def key(self, entry: LogEntry) -> str | None:
        return entry.run or None

    def apply(self, state: bytes, entry: LogEntry, blobs: Mapping[str, bytes]) -> bytes:
        return state + b"%d:%d;" % (entry.seq, sum(len(blob) for blob in blobs.values()))


def started(run: str = "run-1", inc: str = "INC-1") -> Draft:
    return Draft(ACTOR, RunStarted(worker="w:1", epoch=1, resumed=False), inc=inc, run=run, epoch=1)


def note(text: str, inc: str = "INC-1", run: str = "") -> Draft:
    return Draft(ACTOR, IncidentNote(), inc=inc, run=run, blobs=(Blob("text", text.encode(), "text"),))


def ticking(start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> Callable[[], datetime]:
    """A clock that is one millisecond later each time."""
    ticks = iter(range(10_000_000))
    return lambda: start + timedelta(milliseconds=next(ticks))


@pytest.fixture(scope="session")
def server() -> Generator[Instance]:
    """A PostgreSQL server for all tests."""
    with a_server("127.0.51") as server:
        yield server


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of a new log."""
    path = tmp_path / "log.db"
    assert create_log(path, ORIGIN, ACTOR, clock=ticking())
    return path


@pytest.fixture
def schema(server: Instance) -> Generator[Schema]:
    """A new log in PostgreSQL."""
    with a_schema(server) as schema:
        assert schema.create(ORIGIN, ACTOR, ticking())
        yield schema


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.needs("postgres"))])
def place(request: pytest.FixtureRequest) -> Place:
    """Where a new log is: every test that uses this says the same of every store."""
    if request.param == "sqlite":
        return File(request.getfixturevalue("path"))
    schema: Schema = request.getfixturevalue("schema")
    return schema


@pytest.fixture
def store(place: Place) -> Generator[SequencedStore]:
    """A new log with a projector."""
    with place.open(projectors=[Counter()]) as store:
        yield store
