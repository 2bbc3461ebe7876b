"""`mimrun watch`: a process that stays, asks queries, and records what is an alert by their answers."""

from __future__ import annotations

import json
import signal
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from mimrun.app.home import open_home
from mimrun.app.watching import Ask, Asked, Watching, alone, find_asker, read_watches
from mimrun.cli.options import HomeOption, JsonOption, command, settings_of
from mimrun.cli.terminal import console, exact, print_json, safe_line
from mimrun.errors import MimrunError
from mimrun.incident.rule import read_measure
from mimrun.incident.watch import Watch
from mimrun.secret import read_secret

_SHOWN = 20


def watch(
    check: Annotated[
        bool,
        typer.Option("--check", help="Check watches.yaml, ask every query once, record nothing, and end."),
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Stay, ask the queries of watches.yaml again and again, and record as alerts what is beyond their numbers.

    Each watch is asked by itself: one that gets no answer holds up no other, and after a while is an alert of its own.
    A second one on the same machine waits until the first has ended. What alerts lead to, the rules say. On SIGTERM or
    Ctrl-C it ends; the next one knows from the log what was an alert already.
    """
    settings = settings_of(home)
    watches, ask = read_watches(settings), find_asker()
    if check:
        asked = [_ask_once(one, ask) for one in watches.watches]
        _print_check(watches.watches, asked, as_json=as_json)
        raise typer.Exit(1 if any(one.wrong for one in asked) else 0)
    stopped = list[int]()
    watching: Watching | None = None

    def stop(number: int, _: object) -> None:
        stopped.append(number)
        if watching is not None:
            watching.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    with alone(settings, lambda: bool(stopped)) as mine, open_home(settings) as opened:
        opened.require_key()
        watching = Watching(opened, watches, ask, told=lambda one: _tell(one, as_json=as_json))
        if mine and not stopped:
            if not as_json:
                typer.echo(f"watching {len(watches.watches)} queries; Ctrl-C ends it", err=True)
            watching.stay()


def _ask_once(one: Watch, ask: Ask) -> Asked:
    try:
        token = read_secret(one.token) if one.token else None
        samples = ask(one.address, one.query, token=token, timeout_s=one.timeout / 1000)
    except MimrunError as exc:
        return Asked(one.name, wrong=str(exc))
    return Asked(one.name, tuple(samples))


def _print_check(watches: tuple[Watch, ...], asked: list[Asked], *, as_json: bool) -> None:
    if as_json:
        print_json(
            [
                {
                    "watch": one.watch,
                    "wrong": one.wrong,
                    "series": [{"labels": dict(s.labels), "value": s.value} for s in one.samples],
                }
                for one in asked
            ]
        )
        return
    out = console()
    for one, said in zip(watches, asked, strict=True):
        _print_one(out, one, said)
    if not asked:
        typer.echo("watches.yaml names no watch")


def _print_one(out: Console, one: Watch, said: Asked) -> None:
    out.print(Text(one.name, "bold").append(f"  {safe_line(one.title)}", ""))
    if said.wrong:
        out.print(Text(f"  {safe_line(said.wrong, 500)}", "bold red"))
        return
    for sample in said.samples[:_SHOWN]:
        number = read_measure(sample.value)
        begins = one.any_answer or (number is not None and one.begins(number))
        named = ", ".join(f"{name}={exact(text)}" for name, text in sorted(sample.labels.items()))
        stands = "would be an alert" if begins else "no number" if number is None else "is fine"
        out.print(
            Text(f"  {named or 'no labels'}: {safe_line(sample.value)}, {stands}", "red" if begins else "")
        )
    more = len(said.samples) - _SHOWN
    if more > 0 or not said.samples:
        out.print(Text(f"  and {more} more" if more > 0 else "  answers with nothing", "dim"))


def _tell(asked: Asked, *, as_json: bool) -> None:
    """Say what began or is over, a line for each."""
    for change in asked.changes:
        if as_json:
            labels = dict(change.labels)
            line = {"watch": asked.watch, "status": change.status, "labels": labels, "value": change.value}
            typer.echo(json.dumps({**line, "recorded": asked.recorded}, ensure_ascii=True))
            continue
        named = ", ".join(f"{name}={exact(text)}" for name, text in sorted(change.labels.items()))
        lost = "" if asked.recorded else f" (not recorded yet: {asked.wrong})"
        typer.echo(safe_line(f"{asked.watch} {change.status}: {named} {change.value}{lost}", 500))


COMMANDS = {"watch": command("watch", watch, "mimrun watch", "mimrun watch --check")}
