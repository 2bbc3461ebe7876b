"""Progress: a run as it happens, one line for each thing worth knowing, and a recap line at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from pydantic import JsonValue
from rich.console import Console
from rich.text import Text

from mimrun.app.following import Seen
from mimrun.app.shown.batches import BatchView
from mimrun.app.shown.left_out import going_back, left_out
from mimrun.app.shown.under_way import UnderWay, is_wait, step_of
from mimrun.cli.terminal import safe_line
from mimrun.log import kinds
from mimrun.log.entry import LogEntry
from mimrun.run.record.state import CellKey, RunState
from mimrun.runbook.node import Node, PlannedAction, handler_place
from mimrun.runbook.plan import Plan

_HOSTS_SHOWN: Final = 8
"""Hosts of one step that get a line each; of more only those are shown that need a look."""

_BEGINNINGS: Final = (kinds.StepStarted, kinds.StepSkipped, kinds.GateRequested, kinds.ManualRequested)
"""Entries that can be the first of a batch."""

_STYLES: Final = {
    "ok": "green",
    "changed": "yellow",
    "failed": "bold red",
    "unreachable": "bold red",
    "skipped": "cyan",
    "in_doubt": "bold magenta",
}


class Progress:
    """Prints a run's entries for a person.

    Arguments:
        console: where to.
        plan: what the run does; without it steps have no names, and nothing is known of batches.
    """

    def __init__(self, console: Console, plan: Plan | None = None) -> None:
        self._console = console
        self._nodes: Mapping[str, Node] = {node.path: node for node in plan.walk()} if plan else {}
        self._plan, self._batches, self._under_way = plan, BatchView(plan), UnderWay(self._nodes)
        self._headed: set[str] = set()
        """The steps that have a header on the screen."""
        self._followed: set[str] = set()
        """The parts of the plan of which a handler has begun."""
        self._last = ""
        """The step whose header was printed last; host lines without a path belong to it."""
        self._looks: dict[tuple[str, str], tuple[LogEntry, kinds.StepOutcome]] = {}
        """By step and host, the last look of a step that looks until it sees what it waits for."""
        self._targets: dict[str, int] = {}
        self._unshown: dict[str, Counter[str]] = {}

    def show(self, seen: Seen) -> None:
        """Print what an entry says, if it is worth a line."""
        entry = seen.entry
        if isinstance(entry.body, _BEGINNINGS):
            self._announce(entry)
        match entry.body:
            case kinds.RunMode() as body:
                self._mode(body)
            case kinds.RunStarted(resumed=True):
                self._line(Text("resumed: finished steps are not done again", "dim"))
            case kinds.StepStarted() as body:
                self._targets[entry.step] = body.count
                self._unshown[entry.step] = Counter()
                self._head(entry, body.name, body.form)
            case kinds.StepFinished() as body:
                self._end(entry, body)
                for path, text in self._batches.left(entry.step, seen.state, entry.ts):
                    self._title(entry.ts, path, text)
            case _:
                self._cell(entry)
        self._under_way.take(entry)

    def tick(self, now: datetime) -> None:
        """Print what steps are waiting for that have been under way for a while.

        Arguments:
            now: the present moment, UTC.
        """
        for path, text in self._under_way.due(now):
            self._line(self._indent(path).append(text, "dim"))

    def _cell(self, entry: LogEntry) -> None:
        match entry.body:
            case kinds.StepOutcome() as body:
                self._outcome(entry, body)
            case kinds.StepVerified() as body:
                look = self._looks.pop((entry.step, entry.target), None)
                if not body.passed:
                    self._host(entry, "failed", body.reason)
                elif look:
                    self._outcome_line(*look)
            case kinds.StepSkipped() as body:
                self._host(entry, "skipped", body.reason)
            case kinds.StepInDoubt() as body:
                self._host(entry, "in_doubt", body.reason)
            case kinds.StepProbed() as body:
                self._host(entry, "probe", f"{body.finding}: {body.reason}")
            case _:
                self._people(entry)

    def _announce(self, entry: LogEntry) -> None:
        """Say which batch begins, and where the handlers do."""
        for path, text in self._batches.entered(entry.step):
            self._title(entry.ts, path, text)
        around, own = handler_place(entry.step)
        if own and around not in self._followed:
            self._followed.add(around)
            self._line(Text(f"{'  ' * around.count('.')}handlers, where something changed:", "dim"))

    def _people(self, entry: LogEntry) -> None:
        match entry.body:
            case kinds.GateRequested() as body:
                self._head(entry, body.title, "gate")
                if need := _needed(body):
                    asked = f"    waits for {need} until {body.expires_at[11:19]} UTC  "
                    self._line(Text(asked, "yellow").append(body.digest[7:19], "bold"))
            case kinds.GateOpened() as body if body.by != "approvals":
                self._line(Text(f"    open: {safe_line(body.because or body.by)}", "green"))
            case kinds.GateDecided() as body:
                style = "green" if body.decision == "approved" else "bold red"
                why = f": {safe_line(body.reason)}" if body.reason else ""
                self._line(Text(f"    {body.decision} by {entry.actor.id} ({body.role}){why}", style))
            case kinds.GateClosed() as body:
                self._line(Text(f"    gate closed, {body.reason}: {safe_line(body.detail)}", "bold red"))
            case kinds.ManualRequested() as body:
                node = self._nodes.get(entry.step)
                self._head(entry, node.name if node else "", "manual")
                self._line(Text(f"    to be done by {body.role}", "yellow"))
            case kinds.ManualAttested():
                self._line(Text(f"    done, says {entry.actor.id}", "green"))
            case kinds.StepResolved() as body:
                self._line(
                    Text(f"    settled by {entry.actor.id}: {body.resolution}: {safe_line(body.reason)}")
                )
            case kinds.GuardTripped() as body:
                self._line(Text(f"    stopped by a guard: {safe_line(body.reason)}", "bold red"))
            case _:
                self._stops(entry)

    def _stops(self, entry: LogEntry) -> None:
        match entry.body:
            case kinds.RunPauseRequested():
                self._line(Text(f"pause asked for by {entry.actor.id}", "bold yellow"))
            case kinds.RunResumeRequested():
                self._line(Text(f"{entry.actor.id} lets it go on", "green"))
            case kinds.RunCancelRequested():
                self._line(Text(f"cancel asked for by {entry.actor.id}", "bold yellow"))
            case kinds.RunAbortRequested():
                self._line(Text(f"abort asked for by {entry.actor.id}", "bold red"))
            case _:
                pass

    def recap(self, state: RunState) -> None:
        """Print the last line: how many targets ended how, in Ansible's words."""
        counts = state.recap()
        line = Text(f"{state.run} {state.status}: ", "bold")
        for word, count in counts.items():
            line.append(f"{word}={count} ", _STYLES[word] if count else "dim")
        self._console.print()
        self._line(line)
        if state.reason:
            self._line(
                Text(f"  {safe_line(state.reason, 500)}", "red" if state.status == "failed" else "yellow")
            )
        for told in left_out(self._plan, state) if self._plan else ():
            self._line(Text(f"  {told}", "yellow"))
        for told in going_back(self._plan, state) if self._plan else ():
            self._line(Text(f"  {told}", "blue"))

    def _mode(self, body: kinds.RunMode) -> None:
        if body.mode == "direct" and body.reason:
            self._line(Text(f"running directly, without Prefect: {safe_line(body.reason)}", "dim"))
        elif body.mode == "prefect":
            self._line(Text("driven by Prefect", "dim"))

    def _head(self, entry: LogEntry, name: str, form: str) -> None:
        line = _stamp(entry.ts, entry.step).append(safe_line(name), "bold")
        node = self._nodes.get(entry.step)
        wanted = f"  until {safe_line(str(node.options.until), 120)}" if is_wait(node) else ""
        self._line(line.append(f"  {form}{wanted}", "dim"))
        self._heads(entry.step)

    def _title(self, at: datetime, path: str, text: str) -> None:
        """Print what is about a step with parts; the host lines that follow belong to none of them."""
        self._line(_stamp(at, path).append(safe_line(text), "cyan"))
        self._last = ""

    def _indent(self, step: str) -> Text:
        """Give the beginning of a line about a step, with its path unless its header stands right above."""
        step = step_of(step)
        node = self._nodes.get(step)
        if step not in self._headed and node is not None:  # the step began before anybody watched
            self._line(Text(f"{step} ", "bold cyan").append(safe_line(node.name), "bold"))
            self._heads(step)
        return Text("    ") if self._last == step else Text("    ").append(f"{step} ", "bold cyan")

    def _heads(self, step: str) -> None:
        self._headed.add(step)
        self._last = step

    def _outcome(self, entry: LogEntry, body: kinds.StepOutcome) -> None:
        if entry.step.endswith((".verify", ".capture")):
            return
        if is_wait(self._nodes.get(entry.step)):
            self._looks[entry.step, entry.target] = (entry, body)
        else:
            self._outcome_line(entry, body)

    def _outcome_line(self, entry: LogEntry, body: kinds.StepOutcome) -> None:
        word = "changed" if body.changed else "ok"
        if body.status == "failed":
            word = "unreachable" if body.unreachable else "failed"
        if body.status != "unknown":
            self._host(entry, word, body.reason, f"{body.dur_ms} ms")

    def _host(self, entry: LogEntry, word: str, reason: str, took: str = "") -> None:
        quiet = word in ("ok", "changed", "skipped")
        if quiet and self._targets.get(entry.step, 0) > _HOSTS_SHOWN:
            self._unshown[entry.step][word] += 1
            return
        line = self._indent(entry.step).append(f"{word:<12}", _STYLES.get(word, "dim"))
        line.append(safe_line(entry.target) + _item(entry, self._nodes))
        if took:
            line.append(f"  {took}", "dim")
        self._line(line.append(f"  {safe_line(reason)}", "dim" if quiet else "") if reason else line)

    def _end(self, entry: LogEntry, body: kinds.StepFinished) -> None:
        """Print what is left to say of a step that is over."""
        for key in [key for key in self._looks if key[0] == entry.step]:
            self._outcome_line(*self._looks.pop(key))
        counts = self._unshown.pop(entry.step, None)
        if counts:
            told = ", ".join(f"{n} {word}" for word, n in counts.items())
            self._line(self._indent(entry.step).append(told, "green"))
        if body.status == "failed" and entry.step not in self._headed and entry.step in self._nodes:
            self._line(self._indent(entry.step).append(f"failed  {safe_line(body.reason)}", "bold red"))

    def _line(self, text: Text) -> None:
        self._console.print(text)


def _stamp(at: datetime, path: str) -> Text:
    return Text(f"{at.strftime('%H:%M:%S')} ", "dim").append(f"{path} ", "bold cyan")


def _item(entry: LogEntry, nodes: Mapping[str, Node]) -> str:
    """Say which item of a loop an entry is about, where there is a loop."""
    node = nodes.get(step_of(entry.step))
    if not isinstance(node, PlannedAction) or node.loop is None:
        return ""
    return f" item {getattr(entry.body, 'iteration', 0) + 1}"


def recap_json(state: RunState, *, interrupted: bool) -> dict[str, JsonValue]:
    """Give the end of a run for `--json`."""
    return {
        "interrupted": interrupted,
        "run": state.run,
        "incident": state.incident,
        "status": state.status.value,
        "reason": state.reason,
        "mode": state.mode,
        "waits_on": state.waits_on,
        "waits_at": state.waits_at,
        "recap": {**state.recap()},
        "in_doubt": [_place(key) for key in sorted(state.in_doubt())],
    }


def _place(key: CellKey) -> JsonValue:
    return {"step": key.step, "target": key.target, "iteration": key.iteration}


def _needed(body: kinds.GateRequested) -> str:
    """Say what a gate asks people for; "" where it asks nobody."""
    asked = [f"{need.count} {need.role}" for need in body.approvals]
    asked += ["a freeze override"] if body.freeze_override else []
    return ", ".join(asked)
