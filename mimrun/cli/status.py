"""`mimrun runs` and `mimrun status`: what is going on, and what needs a person."""

from __future__ import annotations

from datetime import UTC, datetime

import typer
from pydantic import JsonValue
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mimrun.app.breakglass.glass import glass_view, list_glasses
from mimrun.app.decisions import PendingGate, describe, gate_standing, pending_gate
from mimrun.app.following import Follower
from mimrun.app.home import Home, open_home
from mimrun.app.killswitch import standing_of
from mimrun.app.manual_steps import pending_manual
from mimrun.app.resolving import doubts, meanings
from mimrun.app.reverts import OPEN, RevertView, list_reverts
from mimrun.app.runs import RunView, find_run, list_runs, load_plan, load_state
from mimrun.app.server.place import find_server
from mimrun.app.shells import open_shells
from mimrun.app.shown.gate import question_json
from mimrun.app.shown.manual import manual_json
from mimrun.app.undo import plan_undo
from mimrun.cli.broken_glass import glass_line
from mimrun.cli.change_view import link_json, link_lines
from mimrun.cli.gate_view import print_question
from mimrun.cli.manual_view import manual_command, print_manual
from mimrun.cli.options import HomeOption, JsonOption, RunArgument, command, settings_of
from mimrun.cli.progress import Progress
from mimrun.cli.terminal import console, print_json, safe_line
from mimrun.errors import BlobKeyError, ErasedError, MimrunError, RefusedError, SettingsError
from mimrun.gate.approval import FREEZE_ROLE, Waiting
from mimrun.gate.change_link import change_of
from mimrun.run.record.state import CellKey, RunState
from mimrun.run.record.transitions import CellStatus
from mimrun.runbook.node import Leaf

STYLES = {
    "running": "bold blue",
    "waiting": "bold yellow",
    "in_doubt": "bold magenta",
    "interrupted": "bold magenta",
    "succeeded": "green",
    "failed": "bold red",
    "cancelled": "cyan",
}


_DOUBTS_SHOWN = 5
_WHY = "--reason ..."


def runs(home: HomeOption = None, as_json: JsonOption = False, limit: int = 20) -> None:
    """List runs, the newest first."""
    with open_home(settings_of(home)) as opened:
        views = list_runs(opened)[:limit]
        due = _next_reverts(opened)
        broken = {glass.glass.run for glass in list_glasses(opened)}
        if as_json:
            more: list[dict[str, JsonValue]] = [
                {"reverts_at": due.get(v.summary.run, ""), "broken_glass": v.summary.run in broken}
                for v in views
            ]
            print_json([{**view.as_json(), **facts} for view, facts in zip(views, more, strict=True)])
            return
        print_kill_switch(opened)
    if not views:
        typer.echo("no runs yet; start with `mimrun runbook list`, or see everything at work: `mimrun demo`")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("RUN", "STATUS", "INCIDENT", "STARTED (UTC)", "BY", "TITLE"):
        table.add_column(head, overflow="fold")
    for view in views:
        summary = view.summary
        started = summary.created_at[:19].replace("T", " ")
        on = f" ({summary.waits_on})" if view.status == "waiting" else ""
        status = Text(view.status, STYLES.get(view.status, "")).append(on, "yellow")
        shown = (summary.run, status, summary.incident, started)
        title = Text(safe_line(summary.title))
        if summary.run in broken:
            title.append("  BREAK-GLASS", "bold red")
        if summary.run in due:
            title.append(f"  reverts {due[summary.run][:19].replace('T', ' ')}", "blue")
        table.add_row(*shown, safe_line(summary.launched_by), title)
    console().print(table)


def status(
    run: RunArgument = "latest",
    home: HomeOption = None,
    as_json: JsonOption = False,
    follow: bool = typer.Option(False, "-f", "--follow", help="Stay, and show what happens."),
) -> None:
    """Show where a run stands: each step, and what it needs from whom."""
    with open_home(settings_of(home)) as opened:
        view = find_run(opened, run)
        state = load_state(opened, view.summary.run)
        if as_json:
            reverts: list[JsonValue] = [r.as_json() for r in _reverts(opened, view.summary.run)]
            asks = _asks_json(opened, view)
            change = link_json(change_of(opened.store, view.summary.run))
            told = {"asks": asks, "reverts": reverts, "change": change}
            print_json({**view.as_json(), **_state_json(state), **told})
            return
        if follow:
            _follow(opened, view)
            return
        _print(opened, view, state)


def next_step(home: Home, view: RunView, state: RunState) -> str:
    """Say which command goes on with a run, or "" where none does."""
    name = view.summary.run
    go_on = f"mimrun resume {name}"
    match view.status:
        case "waiting":
            return _after_waiting(home, view, state)
        case "in_doubt":
            open_ = doubts(state)
            if not open_:
                return go_on
            where = f"{open_[0].step} --target {open_[0].target}"
            return f"mimrun resolve {name} {where} --applied|--not-applied|--skip|--abort --reason ..."
        case "created" if (glass := glass_view(home, name)) is not None and glass.glass.missing:
            return f"mimrun breakglass agree {name}"
        case "interrupted" | "created":
            return go_on
        case "cancelled" if can_be_undone(home, name):
            return f"mimrun undo {name}"
        case _:
            return ""


def _after_waiting(home: Home, view: RunView, state: RunState) -> str:
    name, at = view.summary.run, view.summary.waits_at
    go_on = f"mimrun resume {name}"
    match view.summary.waits_on:
        case "gate":
            return _at_gate(home, name, state) or go_on
        case "manual" if not state.manuals[at].is_done and state.manuals[at].status != "failed":
            return manual_command(home, name, state.manuals[at])
        case "pause":
            return f"{go_on}   or   mimrun cancel {name} --reason ..."
        case "killswitch":
            return f"mimrun kill-switch show   and when it is lifted   {go_on}"
        case "lock":
            return f"{go_on} --wait-for-locks 10m   or   mimrun locks"
        case _:
            return go_on


def _at_gate(home: Home, name: str, state: RunState) -> str:
    """Say which command a gate waits for; "" where it waits for none."""
    try:
        verdict, request = gate_standing(home, state, load_plan(home, name))
    except (SettingsError, RefusedError) as exc:
        return f"mend the rules first: {safe_line(str(exc), 300)}"
    if not isinstance(verdict, Waiting):
        return ""
    digest = state.gates[max(state.gates, key=lambda gate: state.gates[gate].request)].digest[7:19]
    override = f" --freeze-override {_WHY}" if set(verdict.missing) == {FREEZE_ROLE} else ""
    if not verdict.missing:
        return f"mimrun status {name}   when what it waits for has passed   mimrun resume {name}"
    sign = " --sign" if request.terms.signed else ""
    return f"mimrun approve {name} --digest {digest}{override}{sign}   or   mimrun reject {name} {_WHY}"


def can_be_undone(home: Home, run: str) -> bool:
    """Say whether a run that has ended did something that can be taken back."""
    try:
        plan_undo(home, run)
    except MimrunError:
        return False
    return True


def print_needs(out: Console, home: Home, run: str) -> None:
    """Print what a run that rests asks of a person, and the command that answers."""
    view, state = find_run(home, run), load_state(home, run)
    if view.status == "waiting" and view.summary.waits_on == "gate":
        asked = _asked(home, view)
        if isinstance(asked, PendingGate):
            print_question(out, asked)
    if view.status == "waiting" and view.summary.waits_on == "manual":
        print_manual(out, home, pending_manual(home, run))
    if view.status == "in_doubt":
        _print_doubts(out, state)
    hint = next_step(home, view, state)
    if hint:
        out.print(Text("  next: ", "bold").append(hint, "cyan"))


def _asked(home: Home, view: RunView) -> PendingGate | str:
    """Give what a gate asks; where nobody can know, why."""
    try:
        return pending_gate(home, view.summary.run)
    except MimrunError as exc:
        return str(exc)


def _asks_json(home: Home, view: RunView) -> JsonValue:
    if view.status == "waiting" and view.summary.waits_on == "manual":
        pending = pending_manual(home, view.summary.run)
        return {"step": pending.node.path, **manual_json(pending.state, home.clock())}
    if view.status != "waiting" or view.summary.waits_on != "gate":
        return None
    asked = _asked(home, view)
    return {"problem": asked} if isinstance(asked, str) else question_json(asked)


def _print_doubts(out: Console, state: RunState) -> None:
    """Print what is asked about each doubt, what the answers mean there, and what was proposed."""
    open_ = doubts(state)
    for key in open_[:_DOUBTS_SHOWN]:
        out.print(Text(f"  in doubt: {key.step} on {safe_line(key.target)}", "bold magenta"))
        out.print(Text(f"    {safe_line(state.cell(key).reason, 500)}"))
        for word, meaning in meanings(state, key).items():
            out.print(Text(f"    --{word.replace('_', '-'):<12} ", "cyan").append(meaning, "dim"))
        proposal = state.proposals.get(key)
        if proposal is not None:
            said = f"{proposal.resolution}, because {safe_line(proposal.reason)}"
            out.print(Text(f"    {proposal.by} proposed {said}; a second person must say the same", "yellow"))
    if len(open_) > _DOUBTS_SHOWN:
        out.print(Text(f"  and {len(open_) - _DOUBTS_SHOWN} more", "magenta"))


def print_kill_switch(home: Home) -> None:
    """Print that everything stands still, where it does: on standard error, to be seen and not parsed."""
    standing = standing_of(home)
    if standing.pulled:
        console(stderr=True).print(Text(f"EVERYTHING STANDS STILL: {safe_line(standing.why)}", "bold red"))


def _print(home: Home, view: RunView, state: RunState) -> None:
    out = console()
    print_kill_switch(home)
    summary = view.summary
    title = Text(f"{summary.run}  ", "bold").append(view.status, STYLES.get(view.status, ""))
    out.print(title.append(f"  {safe_line(summary.title)}"))
    out.print(
        Text(
            f"  incident {summary.incident}, started {summary.created_at[:19]}Z by {summary.launched_by},"
            f" plan {summary.plan[7:19]}, driven {summary.mode or 'not yet'}",
            "dim",
        )
    )
    if (place := find_server(home.settings)) is not None:
        out.print(Text(f"  {place.public_url or place.url}/runs/{summary.run}", "dim"))
    if (glass := glass_view(home, summary.run)) is not None:
        out.print(Text("  ").append_text(glass_line(glass)))
    for line in link_lines(change_of(home.store, summary.run)):
        out.print(line)
    unread = _print_steps(out, home, view, state)
    counts = "  ".join(f"{word}={count}" for word, count in state.recap().items())
    out.print(Text(f"  {counts}", "dim"))
    if summary.wish.level and view.status in ("running", "interrupted", "in_doubt"):
        asked = f"  {summary.wish.level.name.lower()} asked for: {safe_line(summary.wish.reason)}"
        out.print(Text(asked, "bold yellow"))
    if summary.reason:
        why = "nothing is in doubt any more" if _is_settled(view, state) else summary.reason
        out.print(Text(f"  {safe_line(why, 500)}", "yellow"))
    for revert in _reverts(home, summary.run):
        if revert.status in OPEN:
            _print_revert(out, revert)
    if not unread:  # what it needs stands in blobs, and nobody could answer before the key is back
        print_needs(out, home, summary.run)
    _print_shells(out, home, summary.incident)


def _is_settled(view: RunView, state: RunState) -> bool:
    """Say whether a run rests because of doubts that people have settled since."""
    return view.status == "in_doubt" and not doubts(state)


def _print_steps(out: Console, home: Home, view: RunView, state: RunState) -> bool:
    """Print where each step stands, by the plan; say whether that cannot be read for want of the key of the blobs."""
    summary = view.summary
    try:
        nodes = [node for node in load_plan(home, summary.run).walk() if isinstance(node, Leaf)]
    except (ErasedError, BlobKeyError) as exc:
        out.print(Text(f"  {safe_line(str(exc), 500)}", "yellow"))
        return isinstance(exc, BlobKeyError)
    settled = _is_settled(view, state)
    for node in nodes:
        word = state.finished.get(node.path) or ("under way" if node.path in state.started else "")
        if node.path == summary.waits_at and view.status in ("waiting", "in_doubt") and not settled:
            word = "waits" if view.status == "waiting" else "in doubt"
        style = {"ok": "green", "failed": "bold red", "skipped": "cyan"}.get(
            word, "yellow" if word else "dim"
        )
        out.print(
            Text(f"  {node.path:<12} ").append(f"{word or '-':<10}", style).append(safe_line(node.name))
        )
    return False


def _print_shells(out: Console, home: Home, incident: str) -> None:
    """Print which people's sessions on hosts are open, or broke off."""
    for one in open_shells(home, incident):
        out.print(Text(f"  shell {one.shell.seq}: {safe_line(one.describe(), 500)}", "yellow"))


def _print_revert(out: Console, view: RevertView) -> None:
    revert = view.revert
    line = Text(f"  step {revert.step} on {safe_line(revert.target)} is taken back at ")
    line.append(f"{revert.due_at[:19].replace('T', ' ')} UTC", "bold").append(f"  {view.status}", "blue")
    out.print(line.append(f"  {safe_line(view.why, 500)}" if view.why else ""))


def _next_reverts(home: Home) -> dict[str, str]:
    """Give, for each run that did something for a time only that still stands, when the next of it is due."""
    due: dict[str, str] = {}
    for view in _reverts(home):
        if view.status in OPEN:
            due.setdefault(view.revert.run, view.revert.due_at)
    return due


def _reverts(home: Home, run: str = "") -> list[RevertView]:
    """Give what is to be taken back at its time; what a way back did stands in its plan, and that is a blob."""
    try:
        return list_reverts(home, run)
    except BlobKeyError as exc:
        said = f"what is to be taken back at its time cannot be told: {safe_line(str(exc), 500)}"
        console(stderr=True).print(Text(said, "yellow"))
        return []


def _follow(home: Home, view: RunView) -> None:
    name = view.summary.run
    progress = Progress(console(), load_plan(home, name))
    follower = Follower(home, name)
    for seen in follower.until_rest(between=lambda: progress.tick(datetime.now(UTC))):
        progress.show(seen)
    progress.recap(follower.state)
    console().print(Text(describe(find_run(home, name)), "dim"))
    print_needs(console(), home, name)


def _state_json(state: RunState) -> dict[str, JsonValue]:
    cells: list[JsonValue] = [
        {
            "step": key.step,
            "target": key.target,
            "iteration": key.iteration,
            "status": cell.status.value,
            "changed": cell.changed,
            "attempts": cell.attempts,
            "passed": cell.passed,
            "reason": cell.why_not or cell.reason,
            "doubt": (cell.doubt or "lost") if cell.status is CellStatus.IN_DOUBT else "",
            "proposed": _proposed(state, key),
        }
        for key, cell in sorted(state.cells.items())
    ]
    gates: dict[str, JsonValue] = {
        path: {
            "digest": gate.digest,
            "opened": gate.opened,
            "closed": gate.closed,
            "votes": [
                {
                    "person": v.person,
                    "decision": v.decision.value,
                    "purpose": v.purpose,
                    "digest": v.digest,
                }
                for v in gate.votes
            ],
        }
        for path, gate in state.gates.items()
    }
    steps: dict[str, JsonValue] = dict(state.finished)
    recap: dict[str, JsonValue] = dict(state.recap())
    return {"steps": steps, "cells": cells, "gates": gates, "recap": recap}


def _proposed(state: RunState, key: CellKey) -> JsonValue:
    proposal = state.proposals.get(key)
    if proposal is None:
        return None
    return {"by": proposal.by, "resolution": proposal.resolution, "reason": proposal.reason}


COMMANDS = {
    "runs": command("runs", runs, "mimrun runs --json"),
    "status": command("status", status, "mimrun status latest", "mimrun status run-7k2q --follow"),
}
