"""Findings: what lint has to say about a runbook, and how much it matters."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from mimrun.errors import Problem
from mimrun.runbook.document import ValuePath
from mimrun.runbook.loader import LoadedRunbook


class Level(StrEnum):
    """How much a finding matters."""

    ERROR = "error"  #: it would fail when it is planned or run
    WARNING = "warning"  #: it works, and somebody may regret it


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing that lint found.

    Arguments:
        via: where it is in a runbook that is included: the chain of includes from the outermost one on.
    """

    problem: Problem
    level: Level
    via: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.problem} [{self.level}]" + (f" ({self.way})" if self.via else "")

    @property
    def way(self) -> str:
        """Draw the chain: `included as a@1.0.0 → b@1.0.0`; "" where there is none."""
        return f"included as {' → '.join(self.via)}" if self.via else ""


@dataclass(slots=True)
class Report:
    """Collects findings about one file."""

    loaded: LoadedRunbook
    findings: list[Finding] = field(default_factory=list)

    def add(self, problem: Problem) -> None:
        """Note a complaint that somebody else made."""
        self.findings.append(Finding(problem, Level.ERROR))

    def error(self, path: ValuePath, message: str, hint: str = "", *, at_key: bool = False) -> None:
        """Note something that would fail."""
        self.findings.append(Finding(self.loaded.problem(path, message, hint, at_key=at_key), Level.ERROR))

    def warn(self, path: ValuePath, message: str, hint: str = "", *, at_key: bool = False) -> None:
        """Note something that somebody may regret."""
        self.findings.append(Finding(self.loaded.problem(path, message, hint, at_key=at_key), Level.WARNING))
