"""What people wrote about a run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mimrun.app.home import Home
from mimrun.errors import BlobKeyError, ErasedError
from mimrun.log.kinds import IncidentAttached, Kind, ManualReported

_SHOWN: Final = 20
_LENGTH: Final = 2000
_KINDS: Final = frozenset({Kind.INCIDENT_NOTE, Kind.INCIDENT_ATTACHED, Kind.MANUAL_REPORTED})


@dataclass(frozen=True, slots=True)
class Note:
    """Something that somebody wrote."""

    seq: int
    at: datetime
    who: str
    text: str


def notes_of(home: Home, run: str) -> tuple[Note, ...]:
    """Give the last notes on a run, the newest first."""
    entries = list(home.store.entries(run=run, kinds=_KINDS))[-_SHOWN:]
    found = []
    for entry in reversed(entries):
        try:
            text = (home.store.blob(entry, "text") or b"").decode("utf-8", "backslashreplace")
        except (ErasedError, BlobKeyError) as exc:
            text = str(exc)
        match entry.body:
            case ManualReported() as body:
                text = f"did: {text or body.title}"
            case IncidentAttached() as body:
                text = f"attached {body.name}{': ' if text else ''}{text}"
            case _:
                pass
        cut = text if len(text) <= _LENGTH else f"{text[:_LENGTH]}… (entry {entry.seq})"
        found.append(Note(entry.seq, entry.ts, entry.actor.id, cut))
    return tuple(found)
