"""Syntax: from the bytes of a YAML file to parser events, or to the reason why not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, cast

import yaml

from mimrun.errors import Problem

MAX_BYTES: Final = 1024 * 1024
"""A larger file is not read."""

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# Control characters, lone surrogates, and the bidirectional controls with which a text shows a person
# something else than a machine reads (CVE-2021-42574).
HIDDEN: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069\ufffe\uffff]"
)
_SYNTAX_HINTS: Final = (
    ("\\t", "a tab cannot indent in YAML: use spaces"),
    ("mapping values are not allowed", "check the indentation, or quote a value that contains ': '"),
    ("could not find expected ':'", "check the indentation of this line and the one above"),
    ("unexpected end of stream", "a quote or bracket is not closed"),
    ("cannot start any token", "quote a value that begins with this character"),
)


class Stop(Exception):
    """Reading cannot go on after this problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def decode(source: bytes | str, file: str) -> str:
    """Give the text of a document's bytes, bounded and free of hidden characters; raises `Stop`."""
    data = source if isinstance(source, bytes) else source.encode("utf-8", "surrogatepass")
    if len(data) > MAX_BYTES:
        raise Stop(Problem(file, 0, 0, f"is larger than {MAX_BYTES} bytes"))
    try:
        text = data.decode("utf-8-sig") if isinstance(source, bytes) else source.removeprefix("\ufeff")
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        raise Stop(Problem(file, line, 0, "is not UTF-8", "save the file as UTF-8")) from exc
    hidden = HIDDEN.search(text)
    if hidden:
        start = hidden.start()
        line, column = text.count("\n", 0, start) + 1, start - text.rfind("\n", 0, start)
        name = f"U+{ord(hidden[0]):04X}"
        raise Stop(Problem(file, line, column, f"has the invisible character {name}", "remove it"))
    return text


def read_events(text: str, file: str) -> Iterator[tuple[yaml.Event, tuple[int, int]]]:
    """Give the parser's events one by one, each with line and column; raises `Stop` at a syntax error."""
    try:
        for event in yaml.parse(text, Loader=_Loader):
            # The C parser's marks have the same fields as the others.
            yield event, _place(cast("yaml.Mark | None", event.start_mark))
    except yaml.MarkedYAMLError as exc:
        line, column = _place(exc.problem_mark or exc.context_mark)
        lines = text.rstrip("\n").split("\n")
        if line > len(lines):  # the parser names the place behind the last line
            line, column = len(lines), len(lines[-1]) + 1
        message = " ".join(part for part in (exc.problem, exc.context) if part)
        raise Stop(Problem(file, line, column, message, _hint(message, text, line))) from exc
    except yaml.YAMLError as exc:
        raise Stop(Problem(file, 0, 0, "is not YAML: " + " ".join(str(exc).split()))) from exc


def _hint(message: str, text: str, line: int) -> str:
    here = text.split("\n")[line - 1] if 0 < line <= text.count("\n") + 1 else ""
    if re.match(r"\s*(- )?([^\"':]+: +)?\{\{", here):
        return 'a value that begins with a template goes in quotes: "{{ … }}"'
    if "\t" in here[: len(here) - len(here.lstrip())]:
        return _SYNTAX_HINTS[0][1]
    return next((hint for part, hint in _SYNTAX_HINTS if part in message), "")


def _place(mark: yaml.Mark | None) -> tuple[int, int]:
    return (mark.line + 1, mark.column + 1) if mark else (0, 0)
