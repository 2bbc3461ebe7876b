"""Syslog by RFC 5424: one entry is one message on one line."""

from __future__ import annotations

import re
from typing import Final

from mimrun.log.entry import LogEntry
from mimrun.log.export.inert import ascii_json, inert
from mimrun.log.export.lines import Blobs
from mimrun.log.export.sentence import sentence_of
from mimrun.log.export.weight import Weight, weight_of
from mimrun.log.moment import write_moment

FACILITY: Final = 13
"""Log audit (RFC 5424, table 1)."""

SD_ID: Final = "mimrun@32473"
"""Names the structured data. 32473 is the enterprise number kept for examples (RFC 5612): mimrun has none."""

_SEVERITIES: Final = {
    Weight.USUAL: 6,
    Weight.NOTABLE: 5,
    Weight.WARNING: 4,
    Weight.SERIOUS: 3,
    Weight.CRITICAL: 2,
}
"""Informational, notice, warning, error, critical (RFC 5424, table 2)."""

_SPECIAL: Final = re.compile(r'["\\\]]')
_UNPRINTED: Final = re.compile(r"[^!-~]")
_BOM: Final = b"\xef\xbb\xbf"


class Syslog:
    """Messages with the entry's facts as structured data, its sentence as text, and its body behind that.

    Arguments:
        octets: put each message's length in front of it (RFC 6587, 3.4.1) instead of an end of line
            behind it (3.4.2).
    """

    def __init__(self, *, octets: bool = False) -> None:
        self._octets = octets

    def head(self) -> bytes:
        """Nothing stands before the first message."""
        return b""

    def record(self, entry: LogEntry, blobs: Blobs | None) -> bytes:
        """Give the message of an entry."""
        priority = FACILITY * 8 + _SEVERITIES[weight_of(entry)]
        host = _UNPRINTED.sub("?", entry.log)[:255] or "-"
        header = f"<{priority}>1 {write_moment(entry.ts)} {host} mimrun - {entry.kind.value[:32]}"
        text = f"{inert(sentence_of(entry))} {ascii_json(entry.as_json()['body'])}"
        message = f"{header} {_structured(entry)} ".encode() + _BOM + text.encode("utf-8")
        if self._octets:
            return f"{len(message)} ".encode("ascii") + message
        return message + b"\n"


def _structured(entry: LogEntry) -> str:
    """Give the structured data: what one filters and joins by. Empty facts are left out."""
    facts = {
        "log": entry.log,
        "seq": str(entry.seq),
        "inc": entry.inc,
        "iseq": str(entry.iseq or ""),
        "actor": entry.actor.id,
        "actorKind": entry.actor.kind,
        "via": entry.actor.via,
        "auth": entry.actor.auth,
        "run": entry.run,
        "step": entry.step,
        "target": entry.target,
        "attempt": str(entry.attempt or ""),
        "epoch": str(entry.epoch or ""),
        "leaf": entry.leaf().hex(),
    }
    told = "".join(f' {name}="{_value(value)}"' for name, value in facts.items() if value)
    return f"[{SD_ID}{told}]"


def _value(text: str) -> str:
    """Escape a value (RFC 5424, 6.3.3), after everything that is not shown has become an escape of ours."""
    return _SPECIAL.sub(lambda found: "\\" + found[0], inert(text))
