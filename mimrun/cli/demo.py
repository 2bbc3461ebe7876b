"""`mimrun demo`: real parts, really broken, and people who bring them back."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.text import Text

from mimrun.app.decisions import PendingGate
from mimrun.app.demo.console import PEOPLE
from mimrun.app.demo.report import Report, after_ms
from mimrun.app.demo.scenes import DemoName, Wishes, play_demo
from mimrun.app.demo.stage import demo_settings, stop_kept
from mimrun.app.following import Seen
from mimrun.cli.options import JsonOption, command
from mimrun.cli.plan_view import print_plan, print_segment
from mimrun.cli.progress import Progress
from mimrun.cli.terminal import console, print_json, safe, safe_line
from mimrun.runbook.plan import Plan

WIDTH: Final = 100
"""Columns of the narration, where the terminal has as many."""
COLUMN: Final = 88
"""Characters of a command that what it is for is set beside in line; behind a longer one it follows."""


class Play(StrEnum):
    """What can be asked for."""

    FAILOVER = "failover"
    SERVICE_RESTART = "service-restart"
    ACCESS_LOCKDOWN = "access-lockdown"
    STOP = "stop"


DEMOS: Final[dict[Play, DemoName]] = {
    Play.FAILOVER: "failover",
    Play.SERVICE_RESTART: "service-restart",
    Play.ACCESS_LOCKDOWN: "access-lockdown",
}


class Storyteller:
    """Tells the demo's story on a terminal, in short paragraphs."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self._progress = Progress(out)
        self._scenes = 0
        self._width = min(WIDTH, out.width)

    def scene(self, title: str) -> None:
        """Print a heading."""
        self._scenes += 1
        self._out.print()
        self._out.print(Text(f"{self._scenes}. {safe_line(title)}", "bold cyan"))

    def tell(self, text: str) -> None:
        """Print a paragraph."""
        self._out.print(Text(textwrap.fill(safe(text), self._width)))

    def command(self, who: str, words: str) -> None:
        """Print what a person would type; on one line, so that it can be copied."""
        self._out.print(Text(f"{who}$ ", "bold green").append(safe_line(typed(words), 1000), "bold"))

    def plan(self, plan: Plan) -> None:
        """Print a plan."""
        self._progress = Progress(self._out, plan)
        print_plan(self._out, plan)
        self._out.print()

    def gate(self, pending: PendingGate) -> None:
        """Print what a gate would let through."""
        print_segment(self._out, pending)

    def seen(self, seen: Seen) -> None:
        """Print an entry of the log."""
        self._progress.show(seen)

    def answer(self, text: str, *, ok: bool) -> None:
        """Print what a program answered, line by line."""
        for line in text.splitlines():
            self._out.print(Text(f"  {safe(line)}", "green" if ok else "bold red"))

    def busy(self, text: str) -> AbstractContextManager[object]:
        """Show that something takes a moment."""
        if self._out.is_terminal:
            return self._out.status(Text(text, "dim"))
        self._out.print(Text(f"({text})", "dim"))
        return contextlib.nullcontext()


class Silence(Storyteller):
    """Tells nothing, for `--json`; on a terminal it shows at least that something happens."""

    def __init__(self) -> None:
        super().__init__(Console(file=sys.stderr, quiet=True))


def demo(
    play: Annotated[
        Play, typer.Argument(metavar="DEMO", help="failover, service-restart, access-lockdown, or stop.")
    ] = Play.FAILOVER,
    *,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the parts up to play with; `mimrun demo stop` ends them.")
    ] = False,
    interactive: Annotated[
        bool, typer.Option("--interactive", help="Be the change manager yourself, in a second terminal.")
    ] = False,
    direct: Annotated[bool, typer.Option("--direct", help="Leave Prefect out.")] = False,
    home: Annotated[
        Path | None,
        typer.Option(
            "--home",
            metavar="DIR",
            show_default=False,
            help="The demo's own home folder, which is kept. Default: ~/.local/state/mimrun-demo.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Break something real on this machine, and bring it back through a gated, recorded runbook.

    failover kills the primary of a PostgreSQL pair while a client writes, fences it, promotes the standby
    and measures the outage. service-restart and access-lockdown need root: they boot hosts with a systemd
    of their own. Everything stays on loopback, and nothing is left running. The log stays, in a home of
    its own, so that you can look around afterwards.
    """
    settings = demo_settings(os.environ, home)
    if play is Play.STOP:
        typer.echo("the demo is stopped" if stop_kept(settings) else "no demo was kept up")
        return
    out = console()
    began = time.monotonic()
    with _terminated_as_interrupted():
        wishes = Wishes(keep=keep, interactive=interactive, direct=direct)
        report = play_demo(DEMOS[play], settings, Silence() if as_json else Storyteller(out), wishes)
    seconds = time.monotonic() - began
    if as_json:
        print_json({**report.as_json(), "seconds": round(seconds)})
    else:
        _print(out, report, seconds, keep=keep)
    raise typer.Exit(0 if report.ok else 1)


def typed(words: str) -> str:
    """Give a command as it can be typed here: `make demo` leaves mimrun in `.venv`, off the PATH."""
    program = Path(sys.argv[0])
    if shutil.which("mimrun") or program.name != "mimrun" or not words.startswith("mimrun "):
        return words
    return words.replace("mimrun", str(program.absolute()), 1)


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Let SIGTERM clear up as Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _print(out: Console, report: Report, seconds: float, *, keep: bool) -> None:
    width, summary = min(WIDTH, out.width), str(report.figures["summary"])
    out.print(Text("\nThe timeline", "bold cyan"))
    for moment in report.timeline:
        after = f"{after_ms(report.begin, moment.at) / 1000:+8.2f} s  "
        seq = f"  entry {moment.seq}" if moment.seq else "  seen from outside"
        out.print(Text(after, "bold").append(safe_line(moment.text)).append(seq, "dim"))
    out.print(Text("\nWhat holds", "bold cyan"))
    for each in report.held:
        word, style = ("yes", "green") if each.ok else ("NO", "bold red")
        out.print(Text(f"  {word:<4}", style).append(safe_line(each.text)))
    out.print(Text("\n" + textwrap.fill(f"{summary[:1].upper()}{summary[1:]}.", width), "bold"))
    driven = "by Prefect" if report.mode == "prefect" else "directly, without Prefect"
    stays = "the parts are still up" if keep else "nothing is left running"
    out.print(Text(f"Driven {driven}; the demo took {seconds:.0f} s; {stays}.", "dim"))
    if report.console is not None:
        out.print(Text("\nThe console", "bold cyan"))
        out.print(Text(f"  {report.console.url}/", "bold").append("  # open it in a browser", "dim"))
        people = " or ".join(PEOPLE)
        out.print(Text(f"  sign in as {people}; the password of each is {report.console.password.reveal()}"))
    out.print(Text("\nWhere to look next", "bold cyan"))
    looks = [(typed(words), purpose) for words, purpose in report.next]
    longest = max((len(words) for words, _ in looks if len(words) <= COLUMN), default=0)
    for words, purpose in looks:
        out.print(Text(f"  {words:<{longest}}", "bold").append(f"  # {purpose}", "dim"))


COMMANDS = {
    "demo": command(
        "demo",
        demo,
        "mimrun demo",
        "mimrun demo --interactive",
        "mimrun demo access-lockdown --json",
        "mimrun demo --keep   and then   mimrun demo stop",
    ),
}
