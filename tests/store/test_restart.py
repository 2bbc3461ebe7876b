"""A server that dies every few seconds while several processes write: nothing acknowledged is lost."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable

import pytest
from builders.log_places import a_schema

from mimrun.lab.postgres_server import Instance
from mimrun.log.moment import utc_now
from mimrun.log.proof.verify import verify
from tests.store.conftest import ACTOR, ORIGIN, Counter
from tests.store.test_crash import acknowledged, appender, kill
from tests.store.test_postgres import await_true, crash

pytestmark = pytest.mark.needs("postgres")

PROCESSES = 8


class Writers:
    """Processes that append, one entry after the other, and what they were told."""

    def __init__(self, begin: Callable[[str], subprocess.Popen[str]], count: int) -> None:
        self.processes = {f"run-{number}": begin(f"run-{number}") for number in range(count)}
        self.told = {run: acknowledged(one, 1) for run, one in self.processes.items()}
        self._threads = [threading.Thread(target=self._listen, args=(run,)) for run in self.processes]
        for thread in self._threads:
            thread.start()

    def _listen(self, run: str) -> None:
        stream = self.processes[run].stdout
        assert stream is not None
        for line in stream:
            if line.endswith("\n"):
                self.told[run].append(int(line))

    def count(self) -> int:
        return sum(map(len, self.told.values()))

    def end(self) -> None:
        """Kill them; what they had been told before is heard to its end."""
        for process in self.processes.values():
            process.kill()
        for thread in self._threads:
            thread.join(30)
        for process in self.processes.values():
            kill(process)


def die_again_and_again(server: Instance, seconds: float, between: float) -> None:
    with a_schema(server) as schema:
        schema.create(ORIGIN, ACTOR, utc_now)
        writers, deaths = Writers(lambda run: appender(schema, run), PROCESSES), 0
        try:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                so_far = writers.count()
                time.sleep(between)
                await_true(lambda so_far=so_far: writers.count() > so_far + 20, 60)
                crash(server)
                server.control("pg-start")
                deaths += 1
            # Each of them goes on by itself, without anybody's help.
            before = {run: len(told) for run, told in writers.told.items()}
            await_true(lambda: all(len(writers.told[run]) > n for run, n in before.items()), 60)
        finally:
            writers.end()
        assert deaths >= 2
        with schema.open(projectors=[Counter()]) as store:
            for run, told in writers.told.items():
                recorded = [entry for entry in store.entries(run=run) if entry.blobs]
                texts = [store.blob(entry, "text") for entry in recorded]
                # The n-th append said n, and none is there twice or out of order.
                assert texts == [b"%d" % (n + 1) for n in range(len(texts))]
                assert [entry.seq for entry in recorded][: len(told)] == told
                assert len(recorded) - len(told) in (0, 1)
            report = verify(store)
            assert report.ok, report
            assert store.rebuild()
        print(f"{deaths} deaths of the server, {writers.count()} appends acknowledged, none lost")  # noqa: T201


def test_a_server_that_dies_under_several_processes_loses_nothing_acknowledged(server: Instance) -> None:
    die_again_and_again(server, seconds=6, between=1)


@pytest.mark.heavy
@pytest.mark.timeout(900)
def test_a_server_that_dies_every_few_seconds_for_a_minute_loses_nothing_acknowledged(
    server: Instance,
) -> None:
    die_again_and_again(server, seconds=60, between=2)
