"""JSON Lines and CSV: the entries as they are."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import Final

from mimrun import canonical
from mimrun.canonical import Json
from mimrun.log.entry import LogEntry
from mimrun.log.export.inert import ascii_json, inert
from mimrun.log.export.sentence import sentence_of
from mimrun.log.moment import write_moment

Blobs = Mapping[str, bytes | None]
"""The blobs of an entry by name; None for one that was erased."""

_PLACE: Final = ("log", "seq", "ts", "inc", "iseq")
_WHO: Final = ("kind", "actor_kind", "actor_id", "actor_via", "actor_auth")
_WHERE: Final = ("run", "step", "target", "attempt", "epoch")
COLUMNS: Final = (*_PLACE, *_WHO, *_WHERE, "sentence", "body", "blobs", "prev", "iprev", "leaf")
"""The columns of CSV. They stay as they are; a new one comes behind the last."""

_FORMULA: Final = ("=", "+", "-", "@", "\\", "|", "%", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a spreadsheet takes for the beginning of a formula or a command (OWASP, "CSV Injection"), also in full
width; with a backslash begins what was a tabulator or an end of line."""


class JsonLines:
    """One entry a line, in its canonical bytes: what the log's hashes are taken over."""

    def head(self) -> bytes:
        """Nothing stands before the first entry."""
        return b""

    def record(self, entry: LogEntry, blobs: Blobs | None) -> bytes:
        """Give the line of an entry.

        With blobs it is an object of `blobs` and `entry`, with the canonical bytes of the entry inside.
        """
        data = entry.encode()
        if blobs is None:
            return data + b"\n"
        texts = {name: _content(content) for name, content in blobs.items()}
        return b'{"blobs":' + canonical.encode(texts) + b',"entry":' + data + b"}\n"


def _content(content: bytes | None) -> Json:
    """Give a blob as text where it is UTF-8, else as base64; null where it was erased."""
    if content is None:
        return None
    try:
        return {"text": content.decode("utf-8")}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(content).decode("ascii")}


class Csv:
    """RFC 4180 in UTF-8: a header, then one entry a line; a line is a record, as no cell has an end of line."""

    def head(self) -> bytes:
        """Give the names of the columns."""
        return _row(COLUMNS)

    def record(self, entry: LogEntry, blobs: Blobs | None) -> bytes:
        """Give the row of an entry."""
        value, actor = entry.as_json(), entry.actor
        place = (entry.log, str(entry.seq), write_moment(entry.ts), entry.inc, str(entry.iseq))
        who = (entry.kind.value, actor.kind, actor.id, actor.via, actor.auth)
        where = (entry.run, entry.step, entry.target, str(entry.attempt), str(entry.epoch))
        cells = [_plain(text) for text in (*place, *who, *where, sentence_of(entry))]
        # ASCII that begins with a bracket: nothing computes it, and it stays JSON.
        cells += [ascii_json(value["body"]), ascii_json(value["blobs"])]
        return _row((*cells, entry.prev, entry.iprev, entry.leaf().hex()))


def _row(cells: Iterable[str]) -> bytes:
    """Quote every cell, with quotes doubled, so that none can end early."""
    quoted = ('"' + cell.replace('"', '""') + '"' for cell in cells)
    return (",".join(quoted) + "\r\n").encode("utf-8")


def _plain(text: str) -> str:
    """Give text that is one line and that no spreadsheet computes: an apostrophe in front makes it text."""
    shown = inert(text)
    return "'" + shown if shown.lstrip().startswith(_FORMULA) else shown
