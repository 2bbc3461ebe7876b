"""What an entry says, as a plain English sentence: with what things are called, and with what a person wrote."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from mimrun.app.home import Home
from mimrun.errors import ErasedError, LogError
from mimrun.log.entry import LogEntry
from mimrun.log.export.plain import plain_of
from mimrun.log.export.telling import TEACH, Names
from mimrun.log.kinds import Kind

_WRITTEN: Final = frozenset(
    {Kind.INCIDENT_NOTE, Kind.INCIDENT_ATTACHED, Kind.INCIDENT_ASSESSED, Kind.INCIDENT_RESOLVED}
)
"""Where what a person wrote is told, and not only what it is about."""


class Words:
    """Gives the sentences of entries that come in order; reads no more of the log than they need.

    Arguments:
        taught: from which kinds it takes what things are called; fewer where only some kinds are told.
    """

    def __init__(self, home: Home, taught: Collection[Kind] = TEACH) -> None:
        self._home, self._taught = home, taught
        self._names = Names()
        self._known: set[str] = set()

    def of(self, entry: LogEntry) -> str:
        """Give the sentence of an entry."""
        if entry.run and entry.run not in self._known:
            self._known.add(entry.run)
            if entry.kind is not Kind.PLAN_FROZEN:
                self._learn(entry)  # somebody reads on from the middle
        self._names.learn(entry)
        return plain_of(entry, self._names, self._said(entry) if entry.kind in _WRITTEN else "")

    def pass_over(self, entry: LogEntry) -> None:
        """Take note of an entry that is not told: others may speak of what it names."""
        self._names.learn(entry)

    def _learn(self, entry: LogEntry) -> None:
        """Take up what was said of a run's names before."""
        for one in self._home.store.entries(run=entry.run, kinds=self._taught):
            if one.seq >= entry.seq:
                return
            self._names.learn(one)

    def _said(self, entry: LogEntry) -> str:
        """Read what a person wrote; what was erased or cannot be read is said to be."""
        if not any(ref.n == "text" for ref in entry.blobs):
            return ""
        try:
            data = self._home.store.blob(entry, "text") or b""
        except (LogError, ErasedError) as exc:
            return f"({exc})"
        return data.decode("utf-8", "backslashreplace").strip()
