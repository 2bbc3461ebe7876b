"""One line that says what an entry is about, for formats with a field for people."""

from __future__ import annotations

from typing import Final

from mimrun.log.entry import LogEntry

LENGTH: Final = 300
"""Characters of a sentence."""

_WHAT: Final = ("title", "name", "action", "runbook", "resource", "anchor")
_CAME: Final = ("status", "decision", "resolution", "finding", "found", "mode", "on", "guard", "ended")
_TOLD: Final = (*_WHAT, *_CAME, "detail", "reason")
"""Facts of a body that are told, in this order, where the body has them and they are not empty."""


def sentence_of(entry: LogEntry) -> str:
    """Give the line: the kind, the step and target, and the facts that say most. Not inert yet."""
    place = " ".join(part for part in (entry.run, entry.step and f"step {entry.step}") if part)
    place += f" on {entry.target}" if entry.target else ""
    facts = [str(value) for name in _TOLD if (value := getattr(entry.body, name, ""))]
    who = f"by {entry.actor.id}"
    text = ": ".join(part for part in (f"{entry.kind.value} {who}", place, "; ".join(facts)) if part)
    return text if len(text) <= LENGTH else text[: LENGTH - 1] + "…"
