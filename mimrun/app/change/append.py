"""Appending unless somebody else was quicker: for what one of several processes does, whichever it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mimrun.app.home import Home
from mimrun.errors import RefusedError
from mimrun.log.entry import Draft
from mimrun.log.store import View


def append_unless(home: Home, drafts: Sequence[Draft], late: Callable[[View], bool]) -> bool:
    """Record drafts unless something has happened meanwhile; says whether they are recorded.

    Arguments:
        late: looks at the log right before, and says whether it is too late.

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
        home.store.append(drafts, guard=check)
    except RefusedError:
        if was_late:
            return False
        raise
    return True
