"""Reading change records: each at most as often as it may be stale, and on the record when it says something else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import datetime
from typing import Final

from mimrun import canonical
from mimrun.app.append import append_unless
from mimrun.app.change.file import System
from mimrun.app.change.systems import SCRIBE, say, speaking
from mimrun.app.home import Home
from mimrun.change_system import ChangeRecord
from mimrun.errors import ConnectorError
from mimrun.gate.change_link import RunChange, change_of
from mimrun.log.entry import Blob, Draft
from mimrun.log.field import REASON_LENGTH
from mimrun.log.kinds import ChangeRead
from mimrun.log.moment import write_moment
from mimrun.log.store import View

FIRST_PAUSE_S: Final = 5.0
LONGEST_PAUSE_S: Final = 300.0
"""How long a system that did not answer is left alone; twice as long each time."""

_VOLATILE: Final = ("conflicts_at", "version")
"""Fields that differ with every reading, or say nothing by themselves."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What came of reading a record.

    Arguments:
        record: None where it could not be read, and `problem` says why.
    """

    record: ChangeRecord | None
    problem: str = ""


@dataclass(slots=True)
class _Known:
    """The last reading of one record, and until when it is good."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    reading: Reading | None = None
    until: float = 0.0
    failures: int = 0


class Readings:
    """Reads records, and keeps what was read for as long as it is fresh. Threads may share it.

    Arguments:
        monotonic: a clock in seconds.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._known: dict[tuple[str, str], _Known] = {}

    def read(self, home: Home, system: System, ref: str) -> Reading:
        """Give what a record says. A system that did not answer is asked again only after a pause, which grows."""
        known = self._known.setdefault((system.name, ref), _Known())
        with known.lock:
            if known.reading is not None and self._monotonic() < known.until:
                return known.reading
            known.reading = _read(home, system, ref)
            # The time that the answer took is time in which the record may have become another.
            if known.reading.record is not None:
                known.failures, pause = 0, system.stale_after.total_seconds()
            else:
                pause = min(FIRST_PAUSE_S * 2**known.failures, LONGEST_PAUSE_S)
                known.failures += 1
            known.until = self._monotonic() + pause
            return known.reading


def _read(home: Home, system: System, ref: str) -> Reading:
    try:
        with speaking(home, system) as conversation:
            return Reading(conversation.read(ref))
    except ConnectorError as exc:
        return Reading(None, say(exc))


def note_reading(home: Home, link: RunChange, reading: Reading) -> None:
    """Record what was read of a run's record, where it says something else than the last time.

    That it cannot be read is recorded once, and that it can again.
    """
    if _is_known(link, reading) or home.keyless:
        return

    def late(view: View) -> bool:
        now = change_of(view, link.run)
        return now.name != link.name or _is_known(now, reading)

    append_unless(home, [_draft(link, reading)], late)


def _is_known(link: RunChange, reading: Reading) -> bool:
    if reading.record is None:
        return bool(link.problem)
    return not link.problem and link.read == record_digest(reading.record)


def _draft(link: RunChange, reading: Reading) -> Draft:
    blobs: list[Blob] = []
    record = reading.record
    if record is not None:
        blobs.append(Blob("record", record_blob(record), "data"))
    elif len(reading.problem) > REASON_LENGTH:
        blobs.append(Blob("reason", reading.problem.encode("utf-8", "backslashreplace"), "text"))
    body = ChangeRead(
        system=link.system,
        ref=link.ref,
        state=(record.state or "") if record else "",
        approval=(record.approval or "") if record else "",
        record=record_digest(record) if record else "",
        problem=reading.problem,
    )
    return Draft(SCRIBE, body, inc=link.incident, run=link.run, blobs=tuple(blobs))


def record_json(record: ChangeRecord) -> dict[str, canonical.Json]:
    """Give a record as canonical JSON, as the log keeps it and `--json` shows it."""
    return {one.name: _plain(getattr(record, one.name)) for one in fields(record)}


def record_blob(record: ChangeRecord) -> bytes:
    """Give the bytes of a record that the log keeps."""
    return canonical.encode(record_json(record))


def record_digest(record: ChangeRecord) -> str:
    """Give 64 hexadecimal digits over what a record says, without what differs with every reading."""
    said = {key: value for key, value in record_json(record).items() if key not in _VOLATILE}
    return canonical.digest(said).removeprefix("sha256:")


def _plain(value: object) -> canonical.Json:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        # What a system answers may have half a character in it.
        return str(value).encode("utf-8", "backslashreplace").decode()
    if isinstance(value, datetime):
        return write_moment(value)
    if isinstance(value, Mapping):
        return [[_plain(str(key)), _plain(one)] for key, one in sorted(value.items())]
    if isinstance(value, frozenset):
        return sorted(str(one) for one in value)
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    assert is_dataclass(value)
    return {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
