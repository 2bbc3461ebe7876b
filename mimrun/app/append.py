"""Appending unless somebody else was quicker: for what one of several processes does, whichever it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mimrun.app.home import Home
from mimrun.errors import RefusedError
from mimrun.log.entry import Draft, LogEntry
from mimrun.log.store import View


def append_unless(home: Home, drafts: Sequence[Draft], late: Callable[[View], bool]) -> tuple[LogEntry, ...]:
    """Record drafts unless something has happened meanwhile.

    Arguments:
        late: looks at the log right before, and says whether it is too late.

    Returns:
        what was recorded; nothing where it was too late.

    Raises:
        StoreError: the log cannot be written.
    """
    was_late = False

    def check(view: View) -> None:
        nonlocal was_late
        was_late = late(view)
        if was_late:
            raise RefusedError("somebody else was quicker")

    try:
        return home.store.append(drafts, guard=check)
    except RefusedError:
        if was_late:
            return ()
        raise
