"""A request for an approval as a text: what a person reads, and what a machine signs."""

from __future__ import annotations

import io
from typing import Final

from rich.console import Console
from rich.text import Text

from mimrun.app.shown.gate import change_words
from mimrun.cli.plan_view import print_behind
from mimrun.cli.terminal import safe_line
from mimrun.gate.armour import armour, is_written
from mimrun.gate.asking import Asking

_HOW: Final = """\
To decide: save this message, then `mimrun approval sign FILE`, and send back what it prints.
It shows what it signs anew; what is written here is for reading only.
"""


def readable(asking: Asking) -> str:
    """Give what a person reads, made of nothing but what is signed and what the log says of it."""
    buffer = io.StringIO()
    out = Console(
        file=buffer, highlight=False, soft_wrap=True, width=120, emoji=False, markup=False, color_system=None
    )
    ref = asking.plan.runbook
    out.print(Text(f"May this run? {asking.run} of {asking.incident}, log {asking.log}"))
    out.print(Text(f"  runbook: {safe_line(ref.title)}, {ref.name}@{ref.version}, risk {ref.risk}"))
    out.print(Text(f"  gate: {safe_line(asking.title)}"))
    needed = ", ".join(f"{need.count} {need.role}" for need in asking.needed) or "nobody"
    until = f"{asking.expires:%Y-%m-%d %H:%M:%S} UTC"
    out.print(
        Text(
            f"  asked by {safe_line(asking.asked_by)}, needs {needed}{change_words(asking.change)}, until {until}"
        )
    )
    if asking.freeze:
        out.print(
            Text(f"  frozen: {safe_line(asking.freeze, 500)}; a freeze approver signs with --freeze-override")
        )
    out.print(Text(f"  digest: {asking.segment.digest[7:]}"))
    print_behind(out, asking.plan, asking.segment)
    return buffer.getvalue()


def request_text(asking: Asking) -> str:
    """Give the whole message."""
    return f"{readable(asking)}{_HOW}\n{armour('APPROVAL REQUEST', asking.encode())}"


def is_unaltered(asking: Asking, message: str) -> bool:
    """Say whether the readable part of a message says what the machine's part does."""
    return is_written(readable(asking), message)
