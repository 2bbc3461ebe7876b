"""Telling people without anybody asking: for processes that stay, and once when a run comes to rest."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from mimrun.app.aside import Aside
from mimrun.app.home import Home, open_home
from mimrun.app.notice.telling import Sent, Watcher, send_due
from mimrun.app.program_log import Event, program_log
from mimrun.errors import MimrunError
from mimrun.settings import Settings

LOOK_S: Final = 2.0
"""How often it is looked whether people are to be told something."""


def tell(home: Home, watcher: Watcher | None = None) -> list[Sent]:
    """Tell people what they are to be told now. What goes wrong stands in the program log, and stops nothing."""
    if not home.settings.notices.exists():
        return []
    log = program_log(home.settings)
    try:
        sent = send_due(home, watcher)
    except MimrunError as exc:
        log.warning(Event.NOTICE_FAILED, reason=str(exc))
        return []
    for one in sent:
        message = one.message
        facts = {"notice": message.event.value, "channel": message.channel, "audience": message.telling.tell}
        if one.done:
            log.info(Event.NOTICED, **facts)
        else:
            log.warning(Event.NOTICE_FAILED, reason=one.reason, **facts)
    return sent


class NoticeTimer(Aside):
    """Looks now and then whether people are to be told something, and tells them beside all other work.

    Arguments:
        settings: of the home.
        monotonic: a clock in seconds.
    """

    def __init__(self, settings: Settings, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__("notices", LOOK_S, monotonic=monotonic)
        self._settings, self._watcher = settings, Watcher()

    def look(self) -> None:
        """Begin to tell what is due, unless that is under way already."""
        if self.rests or not self._settings.notices.exists():
            return
        self.looked()
        self.begin(self._tell)

    def _tell(self) -> None:
        try:
            with open_home(self._settings) as home:
                tell(home, self._watcher)
        except MimrunError as exc:
            program_log(self._settings).warning(Event.NOTICE_FAILED, reason=str(exc))
            raise
