"""What a plan would change on its live targets, as a person reads it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from rich.console import Console
from rich.text import Text

from mimrun.app.checking import Forecast, Prospect
from mimrun.cli.terminal import safe, safe_line

STYLES: Final = {
    Prospect.CHANGES: "yellow",
    Prospect.UNCHANGED: "green",
    Prospect.READ: "dim",
    Prospect.SKIPPED: "cyan",
    Prospect.UNKNOWN: "magenta",
    Prospect.FAILS: "bold red",
    Prospect.ASKS: "bold yellow",
}


def print_check(out: Console, steps: Iterable[Sequence[Forecast]]) -> list[Forecast]:
    """Print what would come of each step as soon as it is known, then the counts; give all of it."""
    seen: list[Forecast] = []
    out.print(Text("\nOn the targets as they are now:", "bold"))
    for step in steps:
        seen += step
        if step:
            out.print(Text(f"  {step[0].step} ", "bold cyan").append(safe_line(step[0].name), "bold"))
        for forecast in step:
            _print(out, forecast)
    counts = Counter(forecast.prospect for forecast in seen)
    out.print(Text("\n  " + "  ".join(f"{prospect}={counts[prospect]}" for prospect in Prospect), "dim"))
    if counts[Prospect.UNKNOWN]:
        said = "unknown means that nobody can tell before it is done; it does not mean that nothing changes"
        out.print(Text(f"  {said}", "dim"))
    return seen


def _print(out: Console, forecast: Forecast) -> None:
    item = f" item {forecast.iteration + 1}" if forecast.iteration else ""
    line = Text(f"      {forecast.prospect:<10}", STYLES[forecast.prospect])
    line.append(f"{forecast.target}{item}", "cyan")
    if forecast.tolerated:
        line.append("  (the run would go on)", "dim")
    head, *rest = safe(forecast.detail.strip()).split("\n")
    out.print(line.append(f"  {head}" if head else ""))
    for more in rest:
        out.print(Text(f"          {more}"))
