"""The formats that the log can leave in, line by line."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol, assert_never

from mimrun.log.entry import LogEntry
from mimrun.log.export.cloudevents import CloudEvents
from mimrun.log.export.lines import Blobs, Csv, JsonLines
from mimrun.log.export.ocsf import Ocsf
from mimrun.log.export.syslog import Syslog


class Format(StrEnum):
    """How the records of an export are written."""

    JSONL = "jsonl"
    CSV = "csv"
    OCSF = "ocsf"
    CLOUDEVENTS = "cloudevents"
    SYSLOG = "syslog"


class Converter(Protocol):
    """Writes entries in a format. Pure: the same entry gives the same bytes, always."""

    def head(self) -> bytes:
        """What stands before the first record."""

    def record(self, entry: LogEntry, blobs: Blobs | None) -> bytes:
        """Give the record of an entry.

        Arguments:
            blobs: the entry's blobs, for a format that can hold them; None without.
        """


def converter(wanted: Format, *, octets: bool = False) -> Converter:
    """Give what writes a format.

    Arguments:
        octets: syslog messages with their length in front (RFC 6587), for TCP.
    """
    match wanted:
        case Format.JSONL:
            return JsonLines()
        case Format.CSV:
            return Csv()
        case Format.OCSF:
            return Ocsf()
        case Format.CLOUDEVENTS:
            return CloudEvents()
        case Format.SYSLOG:
            return Syslog(octets=octets)
        case _:
            assert_never(wanted)
