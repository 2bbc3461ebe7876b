"""Verifying the log at the server: one at a time, beside everything else, and what the last one found."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, TypeAlias

from mimrun.app.home import Home
from mimrun.app.records import verify_log
from mimrun.errors import MimrunError
from mimrun.log.moment import write_moment
from mimrun.log.proof.report import Report

FRESH_S: Final = 10.0
"""So long after the last one nobody begins another: it reads the whole log."""
State: TypeAlias = Literal["never", "running", "done", "failed"]


@dataclass(frozen=True, slots=True)
class Verification:
    """How far it is.

    Arguments:
        checked: entries that were checked.
        began_at, ended_at: as the log writes moments; "" where that has not come.
        report: what it found; None where it is not done.
        failed: why it could not be done, or "".
    """

    state: State = "never"
    checked: int = 0
    began_at: str = ""
    ended_at: str = ""
    report: Report | None = None
    failed: str = ""


class Verifying:
    """Verifies the log of a home when somebody wants it.

    Arguments:
        home: opened; it is opened once more for each verification.
        begin: begins work beside; a thread where nothing is said.
    """

    def __init__(self, home: Home, begin: Callable[[Callable[[], None]], object] | None = None) -> None:
        self._home, self._begin = home, begin or _beside
        self._lock = threading.Lock()
        self._now, self._checked = Verification(), 0
        self._ended: datetime | None = None

    def look(self) -> Verification:
        """Say how far it is, and what the last one found."""
        now = self._now
        if now.state != "running":
            return now
        return Verification("running", self._checked, now.began_at)

    def start(self) -> Verification:
        """Begin one, unless one is under way or has just ended."""
        with self._lock:
            moment = self._home.clock()
            fresh = self._ended is not None and (moment - self._ended).total_seconds() < FRESH_S
            if self._now.state != "running" and not fresh:
                self._checked = 0
                self._now = Verification("running", 0, write_moment(moment))
                self._begin(self._verify)
        return self.look()

    def _verify(self) -> None:
        began = self._now.began_at
        try:
            report = verify_log(self._home.settings, progress=self._progress)
            done = Verification("done", report.size, began, write_moment(self._home.clock()), report)
        except MimrunError as exc:
            done = Verification(
                "failed", self._checked, began, write_moment(self._home.clock()), failed=str(exc)
            )
        except BaseException:
            self._now = Verification(
                "failed", self._checked, began, failed="a bug; the program log says more"
            )
            raise
        self._ended, self._now = self._home.clock(), done

    def _progress(self, checked: int) -> None:
        self._checked = checked


def _beside(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="verify", daemon=True).start()
