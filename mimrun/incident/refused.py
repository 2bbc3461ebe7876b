"""Files of rules that were refused: which are known to be, so that people are told once of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mimrun.errors import Problem
from mimrun.log.entry import LogEntry
from mimrun.log.kinds import GuardTripped, RulesRecorded
from mimrun.log.store import Store, View

GUARD: Final = "rules"
"""The guard that refuses a file of rules."""
_FOLDER: Final = "rules/"


class RefusedRules:
    """The projector: name of a file of rules → why it was refused last; "" where it is good."""

    name: Final = "refused-rules/1"

    def empty(self) -> bytes:
        """A file that nobody refused."""
        return b""

    def key(self, entry: LogEntry) -> str | None:
        """A refusal touches its file, and so does what is recorded of it."""
        match entry.body:
            case GuardTripped() as body if body.guard == GUARD:
                return body.reason.partition(": ")[0]
            case RulesRecorded() as body if body.file.startswith(_FOLDER):
                return body.file
            case _:
                return None

    def apply(self, state: bytes, entry: LogEntry, blobs: Mapping[str, bytes]) -> bytes:
        """The last word holds."""
        return entry.body.reason.encode() if isinstance(entry.body, GuardTripped) else b""


def refusal(file: str, problems: tuple[Problem, ...]) -> GuardTripped:
    """Give what is recorded of a file that is refused: the first thing that is wrong with it, and where.

    Arguments:
        file: as it is recorded: `rules/database.yaml`.
    """
    first = problems[0]
    place = f"line {first.line}, column {first.column}: " if first.line else ""
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    hint = f"; {first.hint}" if first.hint else ""
    reason = f"{file}: {place}{first.message}{hint}{more}; what was good of it last stays in force"
    return GuardTripped(guard=GUARD, reason=reason)


def refused_in(view: Store | View, file: str) -> str:
    """Say why a file was refused last; "" where that is over, or it never was."""
    return view.projection(RefusedRules.name, file).decode()
