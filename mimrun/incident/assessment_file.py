"""The table file, `incidents.yaml`: read strictly, with every problem at its line and column.

    matrix:
      high: {high: P1, medium: P2, low: P3, unknown: P2}
    severity:
      - {severity: SEV1, priority: [P1], critical: true}
    critical_services: [payments]

A row that is written replaces mimrun's own; where `severity` is written, it is the whole list of rules.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from mimrun.errors import SettingsError
from mimrun.incident.assessment import FLAGS, GRADES, ROLES, IncidentTable
from mimrun.runbook.document import Document, ValuePath, load_document
from mimrun.runbook.suggestion import suggest
from mimrun.runbook.wording import problems_of

_OWN: Final = frozenset({"file"})
"""What a table knows and no file says."""
_TOP: Final = tuple(name for name in IncidentTable.model_fields if name not in _OWN)


def load_table(path: Path) -> IncidentTable:
    """Read the table; mimrun's own where there is no file.

    Raises:
        SettingsError: the file is no such table; every problem is named with its place.
    """
    if not path.exists() and not path.is_symlink():
        return IncidentTable()
    return parse_table(load_document(path, error=SettingsError))


def parse_table(document: Document) -> IncidentTable:
    """Make the table of a document.

    Raises:
        SettingsError: as for `load_table`.
    """
    top = document.value
    if not isinstance(top, dict):
        hint = f"allowed here: {', '.join(_TOP)}; `mimrun incident table` prints a whole one"
        raise SettingsError(problems=[document.problem((), "is not a table for incidents", hint)])
    problems = [
        document.problem((key,), f"unknown key {key!r}", suggest(key, _TOP), at_key=True)
        for key in top
        if key not in _TOP
    ]
    shaped = {key: value for key, value in top.items() if key in _TOP}
    if isinstance(matrix := shaped.get("matrix"), dict):
        wrong = [impact for impact in matrix if impact not in GRADES]
        shaped["matrix"] = {impact: row for impact, row in matrix.items() if impact not in wrong}
        problems += [
            document.problem(
                ("matrix", impact), f"there is no impact {impact!r}", suggest(impact, GRADES), at_key=True
            )
            for impact in wrong
        ]
    try:
        # As JSON, because there strictness means what a person expects: no text becomes a number.
        table = IncidentTable.model_validate_json(json.dumps(shaped), strict=True)
    except ValidationError as exc:
        raise SettingsError(problems=[*problems, *problems_of(exc, document, (), IncidentTable)]) from exc
    if "severity" in shaped:
        for number in range(len(table.severity)):
            problems += [document.problem(*doubt) for doubt in _doubtful_rule(table, number)]
    for name, own in (("flags", FLAGS), ("roles", ROLES)):
        problems += [
            document.problem((name, word), f"{word!r} is mimrun's own already", "leave it out", at_key=True)
            for word in getattr(table, name)
            if word in own
        ]
    if problems:
        raise SettingsError(problems=problems)
    return table.model_copy(update={"file": document.file})


def _doubtful_rule(table: IncidentTable, number: int) -> Iterator[tuple[ValuePath, str, str]]:
    """Give what is well written in a rule and cannot be meant: where, what, and what would be right."""
    rule, where = table.severity[number], ("severity", number)
    for key in ("flags", "without"):
        for place, flag in enumerate(getattr(rule, key)):
            if flag not in table.every_flag:
                hint = suggest(flag, table.every_flag)
                yield (*where, key, place), f"there is no flag {flag!r}", hint
    if rule.critical and not table.critical_services:
        hint = "name them under critical_services"
        yield (*where, "critical"), "no service is critical, so this rule never holds", hint
    if any(before.always for before in table.severity[:number]):
        yield where, "a rule before it always holds", "put that one last"
