"""Entries about manual work, in words: what `mimrun log show` prints of them."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from mimrun.app.home import Home
from mimrun.cli.terminal import safe_line
from mimrun.errors import ErasedError, LogError
from mimrun.log.entry import LogEntry
from mimrun.log.kinds import (
    IncidentAttached,
    IncidentNote,
    ManualReported,
    ShellClosed,
    ShellOpened,
    ShellRecorded,
)
from mimrun.log.moment import read_moment

_SHOWN: Final = 160
_LATE: Final = timedelta(minutes=1)


def words_of(home: Home, entry: LogEntry) -> str:
    """Say in a line what an entry about manual work says; "" for any other entry."""
    match entry.body:
        case IncidentNote():
            return _text(home, entry)
        case ManualReported() as body:
            at = read_moment(body.at).strftime("%Y-%m-%d %H:%M:%S")
            return f"{safe_line(body.title, _SHOWN)}  done at {at}{late_by(entry)}"
        case IncidentAttached() as body:
            kept = "" if body.kept else "  only the digest is kept"
            about = _text(home, entry)
            said = f"  {about}" if about else ""
            return f"{safe_line(body.name)}  {body.media_type}  {body.size} bytes  {body.digest[:19]}{kept}{said}"
        case ShellOpened() as body:
            why = f"  {safe_line(body.reason, _SHOWN)}" if body.reason else ""
            return (
                f"as {safe_line(body.account)} on {safe_line(body.address)}  {body.columns}x{body.rows}{why}"
            )
        case ShellRecorded() as body:
            return f"shell {body.shell}, piece {body.part}: {body.events} events until {_span(body.until_ms)}"
        case ShellClosed() as body:
            how = {"exit": f"exit {body.status}", "left": "the person left", "lost": "lost"}[body.ended]
            why = f": {safe_line(body.reason, _SHOWN)}" if body.reason else ""
            return f"shell {body.shell}: {how} after {_span(body.dur_ms)}{why}"
        case _:
            return ""


def late_by(entry: LogEntry) -> str:
    """Say how much later than it was done something was recorded; "" where that is no later."""
    if not isinstance(entry.body, ManualReported):
        return ""
    late = entry.ts - read_moment(entry.body.at)
    if late < _LATE:
        return ""
    minutes = int(late.total_seconds()) // 60
    days, hours = divmod(minutes // 60, 24)
    if minutes < 120:
        span = f"{minutes} min"
    else:
        span = f"{days} d {hours} h" if days else f"{hours} h {minutes % 60} min"
    return f"  entered {span} later"


def _text(home: Home, entry: LogEntry) -> str:
    """The beginning of what a person wrote; what was erased is said to be."""
    if not any(ref.n == "text" for ref in entry.blobs):
        return ""
    try:
        data = home.store.blob(entry, "text")
    except (LogError, ErasedError) as exc:
        return f"({safe_line(str(exc))})"
    return safe_line((data or b"(erased)").decode("utf-8", "backslashreplace"), _SHOWN)


def _span(milliseconds: int) -> str:
    seconds = milliseconds // 1000
    hours, minutes = divmod(seconds // 60, 60)
    return f"{hours}:{minutes:02}:{seconds % 60:02}" if hours else f"{minutes}:{seconds % 60:02}"
