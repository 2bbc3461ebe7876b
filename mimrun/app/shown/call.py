"""A call of a connector as people are shown it: the action, each argument, and what is not known yet."""

from __future__ import annotations

import json
from collections.abc import Iterator

from pydantic import JsonValue

from mimrun.app.shown.text import exact, safe, safe_json, safe_line
from mimrun.runbook.node import PlannedCall, PlannedCheck


def call_lines(call: PlannedCall) -> Iterator[str]:
    """Give the lines that show a call: its arguments side by side, and texts of several lines below."""
    long = {name: value for name, value in call.args.items() if isinstance(value, str) and "\n" in value}
    short = ", ".join(f"{name}={shown_value(value)}" for name, value in call.args.items() if name not in long)
    late = f"   [not known yet: {', '.join(call.late)}]" if call.late else ""
    expect = f", expect {whole(call.expect)}" if isinstance(call, PlannedCheck) and call.expect else ""
    yield f"{call.action} {short}".rstrip() + expect + late
    for name, value in long.items():
        yield f"  {safe_line(name)}:"
        for line in safe(value.removesuffix("\n")).split("\n"):
            yield f"    | {line}"
        if not value.endswith("\n"):
            yield "    (no new line at the end)"


def call_line(call: PlannedCall) -> str:
    """Give a call on one line, cut short where it has more."""
    return next(call_lines(call))


def shown_value(value: JsonValue) -> str:
    """Give a value on one line; of a secret, only where it comes from."""
    if isinstance(value, dict) and set(value) == {"secret"}:
        return f"*****({whole(str(value['secret']))})"
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return "[" + ", ".join(exact(str(item)) for item in value) + "]"
    return exact(value) if isinstance(value, str) else safe_json(json.dumps(value, ensure_ascii=False))


def whole(text: str) -> str:
    """Give an expression on one line, uncut: what is approved is what was seen."""
    return text if safe_line(text, len(text) + 1) == text else exact(text)
