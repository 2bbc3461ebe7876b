"""The client: it writes rows all the time and notes each one that was acknowledged.

What it has noted is the outside view of a failover: how long no write came through, and whether a row
that the database had acknowledged is gone.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from mimrun.errors import LabError
from mimrun.lab import patience, postgres_server
from mimrun.lab.part import Program

TABLE_SQL: Final = (
    "create table if not exists writes (id bigint primary key, at timestamptz default clock_timestamp()); "
    f"grant select, insert on writes to {postgres_server.CLIENT}"
)
READY: Final = 10.0


@dataclass(frozen=True, slots=True)
class Write:
    """One acknowledged write.

    Arguments:
        id: the row's number; no number is ever tried twice.
        sent: when it was sent, in seconds of the machine's monotonic clock (`time.monotonic()`).
        acknowledged: when the database had acknowledged it, by the same clock.
        at_ns: when it was acknowledged, in nanoseconds since 1970 UTC.
    """

    id: int
    sent: float
    acknowledged: float
    at_ns: int


@dataclass(frozen=True, slots=True)
class Failure:
    """One write that was not acknowledged. Whether the row is there is not known.

    Arguments:
        id: the row's number.
        sent: when it was tried, by the monotonic clock.
        reason: what psql said, or that no answer came.
    """

    id: int
    sent: float
    reason: str


@dataclass(frozen=True, slots=True)
class Notes:
    """All that the writer has noted so far.

    Arguments:
        acknowledged: in the order of time.
        failed: in the order of time.
    """

    acknowledged: tuple[Write, ...] = ()
    failed: tuple[Failure, ...] = ()

    def longest_gap(self) -> float:
        """Give the longest time between two acknowledged writes that follow each other, in seconds."""
        times = [write.acknowledged for write in self.acknowledged]
        return max((b - a for a, b in itertools.pairwise(times)), default=0.0)

    def outage(self, since: float) -> float | None:
        """Give the time from a moment (the primary's death) to the next write that was acknowledged.

        Arguments:
            since: the moment, by `time.monotonic()`.

        Returns:
            Seconds; None while no write that was sent later has been acknowledged.
        """
        later = (write.acknowledged for write in self.acknowledged if write.sent >= since)
        first = next(later, None)
        return None if first is None else first - since

    def lost(self, present: Iterable[int]) -> list[int]:
        """Give the numbers of the rows that were acknowledged and are not in the database."""
        there = set(present)
        return [write.id for write in self.acknowledged if write.id not in there]


def parse(lines: Iterable[str]) -> Notes:
    """Read the writer's notes. A last line that is still being written is left out."""
    acknowledged: list[Write] = []
    failed: list[Failure] = []
    for line in lines:
        if not line.endswith("\n"):
            break
        fields = json.loads(line)
        if "reason" in fields:
            failed.append(Failure(**fields))
        else:
            acknowledged.append(Write(**fields))
    return Notes(tuple(acknowledged), tuple(failed))


def note(entry: Write | Failure) -> str:
    """Give the line that stands for an entry in the writer's file."""
    return json.dumps(asdict(entry)) + "\n"


class Writer(Program):
    """A client that writes rows through one address or through a list of servers.

    Arguments:
        folder: where its notes are.
        addresses: (host, port) of the load balancer, or of every server of the pair.
        instance: the primary: it gets the table, and lends its programs and the application's password.
        rate: writes per second, at most.
    """

    def __init__(
        self,
        folder: Path,
        addresses: Sequence[tuple[str, int]],
        instance: postgres_server.Instance,
        *,
        rate: int = 30,
    ) -> None:
        super().__init__(folder, "writer")
        self.addresses = tuple(addresses)
        self.instance = instance
        self.rate = rate

    @property
    def notes_path(self) -> Path:
        """The file with one line per write."""
        return self.folder / "writes.jsonl"

    def start(self) -> None:
        """Start writing and wait for the first acknowledged row.

        Raises:
            LabError: no row was acknowledged in time.
        """
        if not 1 <= self.rate <= 200:
            raise LabError(f"the writer's rate is 1 to 200 rows a second, not {self.rate}")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder = self.folder.resolve()
        self.notes_path.write_text("")
        self.instance.sql(TABLE_SQL)
        package = str(Path(__file__).parents[2])
        argv = [sys.executable, "-P", "-m", "mimrun.lab.writing", self.instance.binaries.path("psql")]
        argv += [self._target(), str(self.notes_path), str(self.rate)]
        self._launch(argv, environment={"PYTHONPATH": package, "PGPASSFILE": str(self._passfile())})
        try:
            patience.wait_until(
                lambda: bool(self.notes().acknowledged),
                seconds=READY,
                what="the writer had no row acknowledged",
                why=lambda: " | ".join(f.reason for f in self.notes().failed[-1:]),
            )
        except BaseException:
            self.stop()
            raise

    def notes(self) -> Notes:
        """Give what it has noted so far; it may still be writing."""
        with self.notes_path.open() as file:
            return parse(file)

    def lost(self, instance: postgres_server.Instance) -> list[int]:
        """Give the acknowledged rows that a server does not have.

        The notes are read before the database, so a row that comes in meanwhile is not held for lost.
        """
        notes = self.notes()
        return notes.lost(int(row) for row in instance.sql("select id from writes").split())

    def _passfile(self) -> Path:
        return self.instance.client_password_file.with_name("pgpass")

    def _target(self) -> str:
        hosts = ",".join(host for host, _ in self.addresses)
        ports = ",".join(str(port) for _, port in self.addresses)
        # With several hosts libpq takes the first that takes writes.
        return (
            f"host={hosts} port={ports} user={self.instance.client_user} dbname={postgres_server.DATABASE} "
            "connect_timeout=2 target_session_attrs=read-write application_name=writer"
        )
