"""Progress: a run as it happens, one line for each thing worth knowing, and a recap line at the end."""

from __future__ import annotations

from collections import Counter
from typing import Final

from pydantic import JsonValue
from rich.console import Console
from rich.text import Text

from mimrun.app.following import Seen
from mimrun.cli.terminal import safe_line
from mimrun.log import kinds
from mimrun.log.entry import LogEntry
from mimrun.run.state import CellKey, RunState

_HOSTS_SHOWN: Final = 8
"""Hosts of one step that get a line each; of more only those are shown that need a look."""

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
        names: step path → the author's words, for steps that the log names by path.
    """

    def __init__(self, console: Console, names: dict[str, str]) -> None:
        self._console, self._names = console, names
        self._targets: dict[str, int] = {}
        self._unshown: dict[str, Counter[str]] = {}

    def show(self, seen: Seen) -> None:
        """Print what an entry says, if it is worth a line."""
        entry = seen.entry
        match entry.body:
            case kinds.RunMode() as body:
                self._mode(body)
            case kinds.RunStarted(resumed=True):
                self._line(Text("resumed: finished steps are not done again", "dim"))
            case kinds.StepStarted() as body:
                self._targets[entry.step] = body.count
                self._unshown[entry.step] = Counter()
                self._head(entry, body.name, body.form)
            case kinds.StepOutcome() as body:
                self._outcome(entry, body)
            case kinds.StepVerified(passed=False) as body:
                self._host(entry, "failed", body.reason)
            case kinds.StepSkipped() as body:
                self._host(entry, "skipped", body.reason)
            case kinds.StepInDoubt() as body:
                self._host(entry, "in_doubt", body.reason)
            case kinds.StepProbed() as body:
                self._host(entry, "probe", f"{body.finding}: {body.reason}")
            case kinds.StepFinished():
                self._summary(entry)
            case _:
                self._people(entry)

    def _people(self, entry: LogEntry) -> None:
        match entry.body:
            case kinds.GateRequested() as body:
                need = ", ".join(f"{n.count} {n.role}" for n in body.approvals)
                self._head(entry, body.title, "gate")
                self._line(
                    Text(f"    waits for {need} until {body.expires_at[11:19]} UTC  ", "yellow").append(
                        body.digest[7:19], "bold"
                    )
                )
            case kinds.GateDecided() as body:
                style = "green" if body.decision == "approved" else "bold red"
                why = f": {safe_line(body.reason)}" if body.reason else ""
                self._line(Text(f"    {body.decision} by {entry.actor.id} ({body.role}){why}", style))
            case kinds.GateClosed() as body:
                self._line(Text(f"    gate closed, {body.reason}: {safe_line(body.detail)}", "bold red"))
            case kinds.ManualRequested() as body:
                self._head(entry, self._names.get(entry.step, ""), "manual")
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

    def _mode(self, body: kinds.RunMode) -> None:
        if body.mode == "direct" and body.reason:
            self._line(Text(f"running directly, without Prefect: {safe_line(body.reason)}", "dim"))
        elif body.mode == "prefect":
            self._line(Text("driven by Prefect", "dim"))

    def _head(self, entry: LogEntry, name: str, form: str) -> None:
        at = entry.ts.strftime("%H:%M:%S")
        line = Text(f"{at} ", "dim").append(f"{entry.step} ", "bold cyan").append(safe_line(name), "bold")
        self._line(line.append(f"  {form}", "dim"))

    def _outcome(self, entry: LogEntry, body: kinds.StepOutcome) -> None:
        if entry.step.endswith((".verify", ".capture")):
            return
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
        line = Text("    ").append(f"{word:<12}", _STYLES.get(word, "dim")).append(safe_line(entry.target))
        if took:
            line.append(f"  {took}", "dim")
        self._line(line.append(f"  {safe_line(reason)}", "dim" if quiet else "") if reason else line)

    def _summary(self, entry: LogEntry) -> None:
        counts = self._unshown.pop(entry.step, None)
        if counts:
            self._line(Text("    ").append(", ".join(f"{n} {word}" for word, n in counts.items()), "green"))

    def _line(self, text: Text) -> None:
        self._console.print(text)


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
