"""Giving checkpoints to places outside without anybody asking: for processes that stay."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Final

from mimrun.app.anchor.giving import BY_ITSELF, Tried, anchor_due, due_anchors
from mimrun.app.home import Home, open_home
from mimrun.app.program_log import Event, program_log
from mimrun.catalog import Catalog
from mimrun.errors import MimrunError
from mimrun.settings import Settings

LOOK_S: Final = 5.0
"""How often it is looked whether a place is due."""
TROUBLE_S: Final = 60.0
"""How long it is left alone where anchors.yaml, or the log, could not be used."""


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


class AnchorTimer:
    """Looks now and then whether a place is due, and gives it its checkpoint on a thread beside all other work.

    Arguments:
        settings: of the home.
        do: gives what is due, and says in the program log what came of it.
        monotonic: a clock in seconds.
    """

    def __init__(
        self,
        settings: Settings,
        do: Callable[[], object],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings, self._do, self._monotonic = settings, do, monotonic
        self._next = 0.0
        self._thread: threading.Thread | None = None

    @property
    def sleeps(self) -> bool:
        """Whether there is nothing to look at, or not yet."""
        return self._monotonic() < self._next or self.busy or not self._settings.anchors.exists()

    def look(self, home: Home) -> bool:
        """Begin to give what is due; says whether there is something. Never raises a `MimrunError`."""
        if self.sleeps:
            return False
        self._next = self._monotonic() + LOOK_S
        try:
            if not due_anchors(home):
                return False
        except MimrunError as exc:
            self._next = self._monotonic() + TROUBLE_S
            program_log(self._settings).warning(Event.ANCHOR_FAILED, reason=str(exc))
            return False
        # A place that hangs is left after its time; whoever ends this process does not wait for it.
        self._thread = threading.Thread(target=self._give, name="anchors", daemon=True)
        self._thread.start()
        return True

    @property
    def busy(self) -> bool:
        """Whether something is being given."""
        return self._thread is not None and self._thread.is_alive()

    def wait(self, seconds: float | None = None) -> None:
        """Wait until what is being given has been given."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _give(self) -> None:
        with contextlib.suppress(MimrunError):
            self._do()
            return
        # Without this, a signer that is away would be asked every few seconds.
        self._next = self._monotonic() + TROUBLE_S
