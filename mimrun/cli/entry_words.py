"""What a person wrote about an entry, read from its blob for the timeline."""

from __future__ import annotations

from typing import Final

from mimrun.app.home import Home
from mimrun.cli.terminal import safe_line
from mimrun.errors import ErasedError, LogError
from mimrun.log.entry import LogEntry
from mimrun.log.kinds import IncidentAssessed, IncidentAttached, IncidentNote, IncidentResolved

_SHOWN: Final = 160
_WRITTEN: Final = (IncidentNote, IncidentAttached, IncidentAssessed, IncidentResolved)


def said_of(home: Home, entry: LogEntry) -> str:
    """Give the beginning of what a person wrote; what was erased is said to be, and "" where it is another entry."""
    if not isinstance(entry.body, _WRITTEN) or not any(ref.n == "text" for ref in entry.blobs):
        return ""
    try:
        data = home.store.blob(entry, "text")
    except (LogError, ErasedError) as exc:
        return f"({safe_line(str(exc))})"
    return safe_line((data or b"(erased)").decode("utf-8", "backslashreplace"), _SHOWN)
