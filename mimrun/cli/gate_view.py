"""A gate, for people: what it asks for and why, who agreed, and what is missing."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from mimrun.app.decisions import PendingGate
from mimrun.app.shown.gate import (
    SAID,
    change_kind,
    change_words,
    needs_of,
    said,
    standing_facts,
    terms_facts,
    votes_of,
)
from mimrun.cli.terminal import safe_line
from mimrun.cli.tone import STYLES


def print_question(out: Console, pending: PendingGate) -> None:
    """Print what a gate asks for, why, who has said what, and what is missing."""
    summary, request = pending.run.summary, pending.request
    until = request.until.strftime("%Y-%m-%d %H:%M:%S")
    change = change_words(change_kind(pending))
    out.print(Text(f"  asked by {summary.launched_by}, needs {needs_of(request)}{change}, until {until} UTC"))
    for fact in terms_facts(pending):
        out.print(Text(f"  {fact.name}: ").append(safe_line(fact.text, 500), STYLES[fact.tone]))
    for vote in votes_of(pending):
        out.print(Text(f"  {said(vote)}", STYLES[SAID[vote.decision.value]]))
    for fact in standing_facts(pending.verdict):
        out.print(Text(f"  {fact.name}: ").append(safe_line(fact.text, 500), STYLES[fact.tone]))
