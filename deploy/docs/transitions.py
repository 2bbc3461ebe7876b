"""The tables and drawings of what can follow what, for the page of semantics."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from mimrun.run.record.manual_state import NEXT_MANUAL, ManualStatus
from mimrun.run.record.transitions import NEXT_CELL, NEXT_RUN, TERMINAL, CellStatus, RunStatus

BEGIN: Final = (
    "<!-- Written by `make docs` from `mimrun/run/record/transitions.py`; do not edit until the end mark. -->"
)
END: Final = "<!-- End of what `make docs` writes. -->"


def put_in(page: str) -> str:
    """Give the page with the part between the two marks written anew."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{_text()}\n\n{END}{after}"


def _text() -> str:
    ends = frozenset(status.value for status in TERMINAL)
    return "\n\n".join(
        [
            "### A run",
            _drawing(NEXT_RUN, RunStatus.NEW, ends),
            _meanings(RunStatus),
            "### A cell: one step on one target, for one item of its loop",
            _drawing(NEXT_CELL, CellStatus.READY, frozenset()),
            _meanings(CellStatus),
            "### A manual step",
            _drawing(NEXT_MANUAL, ManualStatus.NEW, frozenset({"confirmed", "failed"})),
            _meanings(ManualStatus),
        ]
    )


def _drawing(table: Mapping[tuple[StrEnum, StrEnum], StrEnum], first: StrEnum, ends: frozenset[str]) -> str:
    lines = [f"    [*] --> {first}"]
    lines += [f"    {status} --> {then}: {event}" for (status, event), then in table.items()]
    lines += [f"    {end} --> [*]" for end in sorted(ends)]
    return "```mermaid\nstateDiagram-v2\n" + "\n".join(lines) + "\n```"


def _meanings(kind: type[StrEnum]) -> str:
    told = _comments(kind)
    follow = _following(kind)
    rows = [
        f"| `{status}` | {told.get(status.name, '')} | {', '.join(f'`{e}`' for e in follow[status]) or 'nothing'} |"
        for status in kind
    ]
    return "| Status | Meaning | What can happen then |\n|---|---|---|\n" + "\n".join(rows)


def _following(kind: type[StrEnum]) -> dict[StrEnum, list[str]]:
    tables = {RunStatus: NEXT_RUN, CellStatus: NEXT_CELL, ManualStatus: NEXT_MANUAL}
    table: Mapping[tuple[StrEnum, StrEnum], StrEnum] = tables[kind]  # type: ignore[assignment]
    return {status: [event.value for (s, event) in table if s is status] for status in kind}


def _comments(kind: type[StrEnum]) -> dict[str, str]:
    """Give what the code says beside each member: `READY = "ready"  #: nothing was tried`."""
    text = inspect.getsource(sys.modules[kind.__module__])
    source, tree = text.splitlines(), ast.parse(text)
    found = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == kind.__name__)
    told = {}
    for node in found.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            _, mark, words = source[node.lineno - 1].partition("#:")
            told[node.targets[0].id] = words.strip() if mark else ""
    return told
