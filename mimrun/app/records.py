"""Records: reading and proving the incident log."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from mimrun.app.home import Home, open_home
from mimrun.app.runs import find_run
from mimrun.errors import InputError
from mimrun.log.entry import LogEntry
from mimrun.log.proof.bundle import verify_bundle
from mimrun.log.proof.verify import Known, Report, verify
from mimrun.settings import Settings


def select_entries(
    home: Home, *, run: str | None = None, incident: str | None = None, after: int = 0
) -> Iterator[LogEntry]:
    """Give entries in order.

    Raises:
        InputError: there is no such run or incident.
        TamperError: an entry is not what was recorded.
    """
    name = find_run(home, run).summary.run if run else None
    if incident and next(home.store.entries(inc=incident), None) is None:
        raise InputError(f"the log has no incident {incident!r}; `mimrun runs` shows them")
    return home.store.entries(run=name, inc=incident, after=after)


def verify_log(settings: Settings, noted: str | None = None) -> Report:
    """Check the whole log, and that it still begins with what was noted earlier.

    Arguments:
        noted: `SIZE:ROOT` as a run's recap or an earlier verification printed it.

    Raises:
        InputError: that is not what one of them prints.
    """
    known = read_note(noted) if noted else None
    with open_home(settings) as home:
        return verify(home.store, known=known)


def verify_file(path: Path, noted: str | None = None) -> Report:
    """Check an exported bundle; needs nothing but the file, and what was noted earlier if anything was."""
    return verify_bundle(path, known=read_note(noted) if noted else None)


def note_of(size: int, root: str) -> str:
    """Write what a person notes somewhere else, to prove later that these entries were there."""
    return f"{size}:{root}"


def read_note(text: str) -> Known:
    """Read what `note_of` wrote.

    Raises:
        InputError: it is written otherwise.
    """
    size, _, root = text.strip().partition(":")
    if not re.fullmatch(r"[1-9][0-9]{0,15}", size) or not re.fullmatch(r"[0-9a-f]{64}", root):
        raise InputError(f"{text!r} is not what was noted: it is SIZE:ROOT, with 64 hexadecimal characters")
    return Known(int(size), root)


def rebuild_log(settings: Settings) -> bool:
    """Fold the whole log anew; True when nothing differed."""
    with open_home(settings) as home:
        return home.store.rebuild()
