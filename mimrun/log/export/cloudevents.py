"""CloudEvents 1.0 in structured JSON, one event a line."""

from __future__ import annotations

from typing import Final

from mimrun.canonical import Json
from mimrun.log.entry import FORMAT, LogEntry
from mimrun.log.export.inert import ascii_json, inert
from mimrun.log.export.lines import Blobs
from mimrun.log.moment import write_moment

TYPE: Final = "org.mimrun."
"""In front of the kind: types are named in reverse-DNS form (CloudEvents 1.0.2, attribute `type`)."""


class CloudEvents:
    """Events whose data is the whole entry.

    `source` and `id` together name an event (CloudEvents 1.0.2, attribute `id`): the log, and the place in it.
    """

    def head(self) -> bytes:
        """Nothing stands before the first event."""
        return b""

    def record(self, entry: LogEntry, blobs: Blobs | None) -> bytes:
        """Give the line of an entry."""
        event: dict[str, Json] = {
            "specversion": "1.0",
            "id": f"{entry.log}/{entry.seq}",
            "source": entry.log,
            "type": TYPE + entry.kind.value,
            "time": write_moment(entry.ts),
            "datacontenttype": "application/json",
            "dataschema": f"urn:mimrun:{FORMAT.replace('/', ':')}:{entry.kind.value}",
            # The extension `sequence`: compared as text, so that its width never changes.
            "sequence": f"{entry.seq:016d}",
            "data": entry.as_json(),
        }
        subject = "/".join(part for part in (entry.inc, entry.run, entry.step, entry.target) if part)
        if subject:
            event["subject"] = inert(subject)
        return ascii_json(event).encode("ascii") + b"\n"
