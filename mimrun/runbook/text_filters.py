"""Text filters: texts in other forms, for a shell, a URL, JSON and base64, and what a pattern finds in them."""

from __future__ import annotations

import base64
import binascii
import json
import re
import shlex
import urllib.parse
from typing import Final

from pydantic import JsonValue

from mimrun.runbook.bounds import Budget, ExpressionError
from mimrun.runbook.operators import kind_of, text_of
from mimrun.runbook.regex import search

_REFERENCES: Final = re.compile(r"(\\(?:[0-9]{1,2}|g<[A-Za-z0-9_]+>))")


def as_text(value: JsonValue, what: str) -> str:
    """Give a text, or say who wanted one."""
    if not isinstance(value, str):
        raise ExpressionError(f"{what} needs a text, not {kind_of(value)}", "convert it with `| string`")
    return value


def quote(budget: Budget, value: JsonValue) -> JsonValue:
    """Give a text as one word for a POSIX shell."""
    text = text_of(value, budget)
    if "\0" in text:
        raise ExpressionError("a NUL character cannot be quoted for a shell")
    budget.text(len(text) * 5 + 2)
    return shlex.quote(text)


def to_json(budget: Budget, value: JsonValue, indent: int | None = None) -> JsonValue:
    """Give a value as JSON, with sorted keys."""
    budget.weigh(value)
    if indent is not None and not 0 <= indent <= 8:
        raise ExpressionError("to_json indents by 0 to 8")
    try:
        text = json.dumps(value, ensure_ascii=False, sort_keys=True, indent=indent, allow_nan=False)
    except (TypeError, ValueError) as exc:
        raise ExpressionError(f"to_json: {exc}") from exc
    budget.text(len(text))
    return text


def from_json(budget: Budget, value: JsonValue) -> JsonValue:
    """Read JSON."""
    text = as_text(value, "from_json")
    budget.text(len(text))
    try:
        found: JsonValue = json.loads(
            text,
            parse_int=lambda digits: budget.number(int(digits)),
            parse_float=lambda digits: budget.number(float(digits)),
            parse_constant=lambda name: budget.number(float(name)),
        )
    except (ValueError, RecursionError) as exc:
        raise ExpressionError(f"from_json: the text is not JSON: {exc}") from exc
    budget.weigh(found)
    return found


def b64encode(budget: Budget, value: JsonValue) -> JsonValue:
    """Give the base64 form of a text's UTF-8 bytes."""
    raw = as_text(value, "b64encode").encode("utf-8", "surrogatepass")
    budget.text(len(raw) * 4 // 3 + 4)
    return base64.b64encode(raw).decode()


def b64decode(budget: Budget, value: JsonValue) -> JsonValue:
    """Give the UTF-8 text that a base64 form stands for."""
    text = as_text(value, "b64decode")
    budget.text(len(text))
    try:
        return base64.b64decode(text, validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError, ValueError) as exc:
        raise ExpressionError("b64decode: not base64 of a UTF-8 text") from exc


def urlencode(budget: Budget, value: JsonValue) -> JsonValue:
    """Give a text as one part of a URL."""
    text = text_of(value, budget)
    budget.text(len(text.encode("utf-8", "replace")) * 3)
    return urllib.parse.quote(text, safe="", errors="replace")


def regex_search(budget: Budget, value: JsonValue, pattern: JsonValue, *groups: JsonValue) -> JsonValue:
    """Give what a pattern finds first, or what its groups hold; null where it finds nothing."""
    text = as_text(value, "regex_search")
    found = search(as_text(pattern, "regex_search"), text, budget)
    if found is None:
        return None
    if not groups:
        return found.group("0")
    return [found.group(_group_name(as_text(group, "regex_search"))) for group in groups]


def _group_name(reference: str) -> str:
    r"""Give the group that `\1` or `\g<name>` names."""
    name = reference.removeprefix("\\")
    return name.removeprefix("g<").removesuffix(">") if name.startswith("g<") else name


def regex_replace(budget: Budget, value: JsonValue, pattern: JsonValue, new: JsonValue = "") -> JsonValue:
    """Replace everything that a pattern finds."""
    text, wanted = as_text(value, "regex_replace"), as_text(pattern, "regex_replace")
    pieces = _REFERENCES.split(as_text(new, "regex_replace"))
    made: list[str] = []
    length = at = copied = 0
    while at <= len(text):
        found = search(wanted, text, budget, start=at)
        if found is None:
            break
        # The pieces are fixed text and references, by turns.
        filled = [found.group(_group_name(p)) or "" if n % 2 else p for n, p in enumerate(pieces)]
        made += [text[copied : found.start], *filled]
        length += found.start - copied + sum(map(len, filled))
        budget.text(length)
        copied = found.end
        at = found.end if found.end > found.start else found.end + 1
    budget.text(length + len(text) - copied)
    return "".join([*made, text[copied:]])
