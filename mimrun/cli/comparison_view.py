"""What a replay came to, on the terminal: the verdict first, then where it parts, then what is behind it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from rich.console import Console
from rich.text import Text

from mimrun.cli.replay_view import offset
from mimrun.cli.terminal import safe_line
from mimrun.replay.comparison import CallNote, Changed, Comparison, Divergence, Ending, StepChange
from mimrun.replay.difference import Difference
from mimrun.runbook.duration import format_duration

_SHOWN: Final = 20
"""Lines of one kind that are shown; --json has them all."""

_VERDICTS: Final = {
    "same": ("it comes to the same again", "bold green"),
    "differs": ("it does not come to the same again", "bold red"),
    "unknown": ("nobody can tell whether it would come to the same again", "bold yellow"),
}


def print_comparison(console: Console, found: Comparison) -> None:
    """Print what a replay came to."""
    words, style = _VERDICTS[found.verdict]
    console.print(Text(f"{found.run}: ", "bold").append(words, style))
    if found.divergence is not None:
        _divergence(console, found.divergence)
    if found.changes is not None:
        _changes(console, found.changes, reached=found.replayed.status != "unknown")
    _ending(console, "recorded", found.recorded)
    if found.how == "against":
        _ending(console, "replayed", found.replayed)
    if found.how == "redecide":
        workers = "worker" if found.sessions == 1 else "workers"
        told = f"{found.compared} decisions of {found.sessions} {workers} came out the same"
    else:
        told = f"{found.compared} steps on hosts came to the same"
    console.print(Text(f"  {told}", "dim"))
    _lines(console, "not on record any more", found.missing, "yellow")
    _lines(console, "taken", found.taken, "dim")


def _divergence(console: Console, found: Divergence) -> None:
    where = Text("  first at ")
    if found.step:
        where.append(f"step {found.step} ", "bold cyan").append(safe_line(found.name), "bold")
    else:
        where.append("the run as a whole", "bold")
    where.append(f" on {safe_line(found.target)}" if found.target else "")
    where.append(f", item {found.item}" if found.item else "")
    where.append(f"  {offset(found.offset_ms)}", "dim")
    where.append(f", entry {found.seq}" if found.seq else "", "dim")
    console.print(where)
    for name, said in (("recorded", found.recorded), ("today", found.today)):
        console.print(Text(f"    {name:<10}", "dim").append(safe_line(said, 500) or "nothing"))
    _differences(console, found.differences)


def _differences(console: Console, found: Iterable[Difference]) -> None:
    for one in found:
        line = Text(f"    {safe_line(one.what)}: ", "cyan")
        line.append(safe_line(one.recorded, 200) or "nothing", "red").append(" → ", "dim")
        console.print(line.append(safe_line(one.today, 200) or "nothing", "green"))


def _changes(console: Console, found: Changed, *, reached: bool) -> None:
    for word, changes in (
        ("added", found.added),
        ("removed", found.removed),
        ("renamed", found.renamed),
        ("reordered", found.reordered),
        ("changed", found.changed),
    ):
        for change in changes[:_SHOWN]:
            _step(console, word, change)
        _more(console, word, len(changes))
    for title, notes in (
        ("nothing on record for", found.unmatched),
        ("answered otherwise", found.substituted),
        ("not done any more" if reached else "not reached", found.unused),
    ):
        for note in notes[:_SHOWN]:
            _note(console, title, note)
        _more(console, title, len(notes))
    _lines(console, "assumed", found.assumed, "yellow")


def _step(console: Console, word: str, change: StepChange) -> None:
    place = " → ".join(path for path in (change.was, change.now) if path)
    line = Text(f"  {word:<10}", "bold").append(f"step {place} " if place else "", "cyan")
    line.append(safe_line(change.name))
    if word == "reordered":
        line.append(
            f", now before '{safe_line(change.before)}'" if change.before else ", now the last", "dim"
        )
    console.print(line)
    _differences(console, change.what)


def _note(console: Console, title: str, note: CallNote) -> None:
    line = (
        Text(f"  {title} ", "bold yellow").append(f"step {note.step} ", "cyan").append(safe_line(note.name))
    )
    line.append(f" on {safe_line(note.target)}" if note.target else "")
    line.append(f", item {note.item}" if note.item else "")
    console.print(line.append(f" ({safe_line(note.action)}): {safe_line(note.why, 500)}", "dim"))


def _more(console: Console, word: str, count: int) -> None:
    if count > _SHOWN:
        console.print(Text(f"  {word}: {count - _SHOWN} more; --json has them all", "dim"))


def _ending(console: Console, word: str, ending: Ending) -> None:
    line = Text(f"  {word}: ", "dim").append(ending.status, "bold")
    line.append(f" after {format_duration(ending.worked_ms)} at work", "dim")
    counts = " ".join(f"{name}={count}" for name, count in ending.recap.items() if count)
    line.append(f"  {counts}" if counts else "")
    line.append(f"  {safe_line(ending.reason, 300)}" if ending.reason else "", "dim")
    console.print(line)


def _lines(console: Console, title: str, lines: Iterable[str], style: str) -> None:
    for line in lines:
        console.print(Text(f"  {title}: {safe_line(line, 500)}", style))
