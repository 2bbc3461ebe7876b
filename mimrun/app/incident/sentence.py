"""What an entry says, as a plain English sentence."""

from __future__ import annotations

from mimrun.app.home import Home
from mimrun.log.entry import LogEntry
from mimrun.log.export.sentence import facts_of


class Words:
    """Gives sentences; remembers what steps and runs are called."""

    def __init__(self, home: Home) -> None:
        self._home = home

    def of(self, entry: LogEntry) -> str:
        """Give the sentence of an entry."""
        return "; ".join(part for part in facts_of(entry) if part)
