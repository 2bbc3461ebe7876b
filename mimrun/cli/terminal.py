"""The terminal: text for people, JSON for machines, and no control character from a target in between."""

from __future__ import annotations

import json
import os
import re
import sys

import typer
from rich.console import Console
from rich.text import Text

from mimrun.app.shown.text import exact as exact  # noqa: PLC0414 - this page has all that is printed with
from mimrun.app.shown.text import safe as safe  # noqa: PLC0414 - likewise
from mimrun.app.shown.text import safe_json as safe_json  # noqa: PLC0414 - likewise
from mimrun.app.shown.text import safe_line as safe_line  # noqa: PLC0414 - likewise
from mimrun.canonical import Json
from mimrun.errors import InputError, MimrunError


def console(*, stderr: bool = False) -> Console:
    """Give a console: colour on a terminal only, and the full width where there is none."""
    stream = sys.stderr if stderr else sys.stdout
    columns = os.environ.get("COLUMNS", "")
    width = None if stream.isatty() else int(columns) if re.fullmatch("[1-9][0-9]{1,3}", columns) else 120
    return Console(file=stream, highlight=False, soft_wrap=True, width=width, emoji=False, markup=False)


def ask(question: str) -> bool:
    """Ask a person yes or no; no is what Enter means. The question goes to standard error.

    Raises:
        KeyboardInterrupt: the person pressed Ctrl-C or Ctrl-D instead.
    """
    try:
        return typer.confirm(question, err=True)
    except typer.Abort:
        raise KeyboardInterrupt from None


def print_json(value: Json) -> None:
    """Print a value for machines: one JSON document, indented."""
    sys.stdout.write(safe_json(json.dumps(value, indent=2, ensure_ascii=False)) + "\n")


def explain(error: MimrunError, *, as_json: bool = False) -> None:
    """Print an error: what, where and what next; as JSON where the command was asked for JSON."""
    if as_json:
        print_json(
            {
                "error": str(error),
                "kind": type(error).__name__,
                "exit_code": error.exit_code,
                "problems": _problems(error),
            }
        )
        return
    err = console(stderr=True)
    problems = error.problems if isinstance(error, InputError) else ()
    if not problems:
        err.print(Text.assemble(("error: ", "bold red"), safe(str(error))))
        return
    for problem in problems:
        where = ":".join([problem.file, *(str(n) for n in (problem.line, problem.column) if n)])
        line = Text.assemble((f"{safe(where)}: ", "bold"), safe(problem.message))
        err.print(line.append(f"\n    {safe(problem.hint)}", style="cyan") if problem.hint else line)
    noun = "problem" if len(problems) == 1 else "problems"
    err.print(Text(f"{len(problems)} {noun}; nothing was done", style="red"))


def _problems(error: MimrunError) -> list[Json]:
    if not isinstance(error, InputError):
        return []
    return [
        {"file": p.file, "line": p.line, "column": p.column, "message": p.message, "hint": p.hint}
        for p in error.problems
    ]
