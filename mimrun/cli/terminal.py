"""The terminal: text for people, JSON for machines, and no control character from a target in between."""

from __future__ import annotations

import json
import os
import re
import sys
from typing import Final

import typer
from rich.console import Console
from rich.text import Text

from mimrun.canonical import Json
from mimrun.errors import InputError, MimrunError

_UNSAFE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)
"""Control characters, bidirectional overrides and invisible characters: what could forge a line."""


_PLAIN: Final = re.compile(r"[^\W_][\w.:/@%+=~^-]*|[./~-][\w.:/@%+=~^-]*", re.ASCII)
"""Words that need no quotes to be read as what they are."""

_HIDDEN_IN_JSON: Final = re.compile(_UNSAFE.pattern.replace("\x00-\x08\x0b-\x1f", ""))
"""The same where JSON has not escaped them already; a new line between two values is fine."""


def safe(text: str) -> str:
    """Show characters that a terminal would obey or hide as escapes, so that output cannot forge output.

    Where one is shown so, backslashes of the text itself are doubled: nothing reads like an escape that
    was not one.
    """
    if not _UNSAFE.search(text):
        return text
    return _UNSAFE.sub(_escape, text.replace("\\", "\\\\"))


def exact(text: str) -> str:
    """Give a text on one line such that no two texts look the same: bare where it is plain, else as JSON."""
    return text if _PLAIN.fullmatch(text) else safe_json(json.dumps(text, ensure_ascii=False))


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"


def safe_line(text: str, length: int = 300) -> str:
    """Give one line of safe text, cut to a length."""
    line = safe(text.strip().replace("\r\n", "\n")).replace("\n", " ⏎ ").replace("\t", " ")
    return line if len(line) <= length else line[: length - 1] + "…"


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


def safe_json(text: str) -> str:
    """Give JSON text in which characters that a terminal would obey or hide are written as escapes."""
    return _HIDDEN_IN_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


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
