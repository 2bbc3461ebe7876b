"""Giving checkpoints to places outside without anybody asking: for processes that stay."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from mimrun.app.anchor.giving import BY_ITSELF, Tried, anchor_due, due_anchors
from mimrun.app.aside import Aside
from mimrun.app.home import Home, open_home
from mimrun.app.program_log import Event, program_log
from mimrun.catalog import Catalog
from mimrun.errors import MimrunError
from mimrun.settings import Settings

LOOK_S: Final = 5.0
"""How often it is looked whether a place is due."""


def anchor_now(settings: Settings, *, catalog: Catalog | None = None) -> list[Tried]:
    """Give a checkpoint to each place that is due, and tell the program log of it.

    Raises:
        MimrunError: nothing could be given; the message says why.
    """
    log = program_log(settings)
    try:
        with open_home(settings, catalog=catalog) as home:
            found = anchor_due(home, BY_ITSELF)
    except MimrunError as exc:
        log.warning(Event.ANCHOR_FAILED, reason=str(exc))
        raise
    for one in found:
        if one.given.done:
            log.info(Event.ANCHORED, anchor=one.anchor, size=one.size)
        else:
            log.warning(Event.ANCHOR_FAILED, anchor=one.anchor, size=one.size, reason=one.given.reason)
    return found


class AnchorTimer(Aside):
    """Looks now and then whether a place is due, and gives it its checkpoint beside all other work.

    Arguments:
        settings: of the home.
        give: gives what is due, and says in the program log what came of it.
        monotonic: a clock in seconds.
    """

    def __init__(
        self,
        settings: Settings,
        give: Callable[[], object],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__("anchors", LOOK_S, monotonic=monotonic)
        self._settings, self._give = settings, give

    @property
    def sleeps(self) -> bool:
        """Whether there is nothing to look at, or not yet."""
        return self.rests or not self._settings.anchors.exists()

    def look(self, home: Home) -> None:
        """Begin to give what is due. Never raises a `MimrunError`."""
        if self.sleeps:
            return
        self.looked()
        try:
            due = due_anchors(home)
        except MimrunError as exc:
            self.trouble()
            program_log(self._settings).warning(Event.ANCHOR_FAILED, reason=str(exc))
            return
        if due:
            self.begin(self._give)
