"""Writing to change records without anybody asking: for processes that stay, and once when a run comes to rest."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from mimrun.app.aside import Aside
from mimrun.app.change.facts import changes_of
from mimrun.app.change.scribe import Looked, Written, write_due
from mimrun.app.home import Home, open_home
from mimrun.app.program_log import Event, program_log
from mimrun.errors import MimrunError
from mimrun.gate.change import REGISTER
from mimrun.gate.change_link import all_changes, change_of
from mimrun.settings import Settings

LOOK_S: Final = 3.0
"""How often it is looked whether something is to be written."""
IDLE_S: Final = 60.0
"""How long nothing is looked at where nothing was added; changes.yaml may be mended without an entry in the log."""


def write_now(home: Home, looked: Looked | None = None, *, run: str = "") -> list[Written]:
    """Write what is due to change records. What goes wrong stands in the program log, and stops nothing.

    Arguments:
        run: only for this run.
    """
    log = program_log(home.settings)
    try:
        found = write_due(home, changes_of(home).file(), looked, run=run)
    except (MimrunError, ImportError) as exc:
        log.warning(Event.CHANGE_NOT_WRITTEN, reason=str(exc))
        return []
    for one in found:
        facts = {"run": one.run, "change": one.name, "what": one.what}
        if one.done:
            log.info(Event.CHANGE_WRITTEN, **facts)
        else:
            log.warning(Event.CHANGE_NOT_WRITTEN, reason=one.reason, **facts)
    return found


def write_at_rest(home: Home, run: str) -> None:
    """Let mimrun's own register know at once how a run stands that comes to rest; another system may take longer.

    What is for another system is left to a process that stays, or to `mimrun change sync`: nobody waits for it here.
    """
    if change_of(home.store, run).system == REGISTER:
        write_now(home, run=run)


class ChangeTimer(Aside):
    """Looks now and then whether something is to be written to change records, and writes it beside all other work.

    Arguments:
        settings: of the home.
        monotonic: a clock in seconds.
    """

    def __init__(self, settings: Settings, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__("changes", LOOK_S, monotonic=monotonic)
        self._settings, self._looked_at = settings, Looked()
        self._idle, self._idle_until = -1, 0.0

    def look(self, home: Home) -> None:
        """Begin to write what is due, unless that is under way, or nothing was added since a moment ago."""
        if self.rests:
            return
        self.looked()
        size, now = home.store.head().size, self._monotonic()
        if size == self._idle and now < self._idle_until:
            return
        links = all_changes(home.store)
        # What rests is looked at again, although nothing was added.
        self._idle = size if not any(link.under_way for link in links) else -1
        self._idle_until = now + IDLE_S
        if links:
            self.begin(self._write)

    def _write(self) -> None:
        try:
            with open_home(self._settings) as home:
                write_now(home, self._looked_at)
        except MimrunError as exc:
            program_log(self._settings).warning(Event.CHANGE_NOT_WRITTEN, reason=str(exc))
            raise
