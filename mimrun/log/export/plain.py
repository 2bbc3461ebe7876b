"""One plain English sentence for each entry, for people who read what happened and not how it is recorded.

What runs and steps are called stands in other entries, so `Names` is shown each entry in order. A sentence may hold what a
target or a stranger said: it is text, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from mimrun.log.entry import LogEntry
from mimrun.log.export.plain_people import PEOPLE
from mimrun.log.export.plain_record import RECORD
from mimrun.log.export.plain_work import WORK
from mimrun.log.export.telling import Names
from mimrun.log.kinds import Kind

LENGTH: Final = 1000
"""Characters of a sentence; what somebody wrote down may be longer than that."""

SENTENCES: Final[Mapping[Kind, Callable[[LogEntry, Any, Names], str]]] = MappingProxyType(
    {**WORK, **PEOPLE, **RECORD}
)
"""What each kind of entry says; every kind is here, and a test holds that."""


def plain_of(entry: LogEntry, names: Names, said: str = "") -> str:
    """Give the sentence. Not inert yet.

    Arguments:
        names: which was shown every entry before this one, and this one.
        said: what a person wrote about it, from a blob of the entry, where that is at hand.
    """
    text = SENTENCES[entry.kind](entry, entry.body, names)
    text = "T" + text[1:] if text.startswith("the ") else text
    text = f"{text}: {said}" if said else text
    return text if len(text) <= LENGTH else text[: LENGTH - 1] + "…"
