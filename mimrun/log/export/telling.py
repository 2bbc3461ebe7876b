"""What plain sentences are made of: who, which step, how long, and what things are called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mimrun.log import kinds
from mimrun.log.entry import LogEntry
from mimrun.log.kinds import Kind

TEACH: Final = frozenset({Kind.RUN_CREATED, Kind.STEP_STARTED, Kind.STEP_INTENT, Kind.GATE_REQUESTED})
"""The kinds that say what something is called."""


_LOOKS: Final = {"verify": "the check of", "capture": "the look before"}
"""What is looked at for a step has a path of its own behind the step's."""


class Names:
    """What runs, steps and actions are called; learns it from the entries that it is shown."""

    def __init__(self) -> None:
        self.runs: dict[str, str] = {}
        self.steps: dict[tuple[str, str], str] = {}
        self.actions: dict[tuple[str, str, str], str] = {}

    def learn(self, entry: LogEntry) -> None:
        """Take from an entry what it says of names."""
        match entry.body:
            case kinds.StepIntent() as body:
                self.actions[entry.run, entry.step, entry.target] = body.action
            case kinds.StepStarted() as body:
                self.steps[entry.run, entry.step] = body.name
            case kinds.GateRequested() as body:
                self.steps[entry.run, entry.step] = body.title
            case kinds.RunCreated() as body:
                self.runs[entry.run] = body.title
            case _:
                pass

    def step(self, entry: LogEntry) -> str:
        """Name the step of an entry: `step 3 (Promote the standby)`, or what is looked at for it."""
        path, _, look = entry.step.rpartition(".")
        if look in _LOOKS:
            return f"{_LOOKS[look]} {self._named(entry.run, path)}"
        return self._named(entry.run, entry.step)

    def _named(self, run: str, path: str) -> str:
        name = self.steps.get((run, path), "")
        return f"step {path} ({name})" if name else f"step {path}"

    def place(self, entry: LogEntry) -> str:
        """Name the step and the target of an entry: `step 3 (Promote the standby) on db2`."""
        return self.step(entry) + on(entry)

    def action(self, entry: LogEntry) -> str:
        """Name the action that was performed last where an entry is about."""
        return self.actions.get((entry.run, entry.step, entry.target), "the action")


def who(entry: LogEntry) -> str:
    """Name whoever caused an entry: a person by their id, a rule and a worker as what they are."""
    actor = entry.actor
    if actor.kind == "person":
        return actor.id
    if actor.id.startswith("rule:"):
        return f"the rule {actor.id.removeprefix('rule:')}"
    return f"the worker {actor.id}" if actor.kind == "worker" else actor.id


def on(entry: LogEntry) -> str:
    """Name the target of an entry, where it has one: ` on db2`."""
    return f" on {entry.target}" if entry.target else ""


def why(text: str) -> str:
    """Give a reason behind what it is for; nothing where there is none."""
    return f": {text}" if text else ""


def at(moment: str) -> str:
    """Give a moment for a sentence: `2026-11-22 10:42 UTC`."""
    return f"{moment[:16].replace('T', ' ')} UTC" if moment else "an unknown time"


def span(milliseconds: int) -> str:
    """Give how long something took: `7 ms`, `1.2 s`, `12 s`, `3:05 min`, `1:02:03 h`."""
    if milliseconds < 1000:
        return f"{milliseconds} ms"
    if milliseconds < 10_000:
        return f"{milliseconds / 1000:.1f} s"
    seconds = milliseconds // 1000
    if seconds < 60:
        return f"{seconds} s"
    hours, minutes = divmod(seconds // 60, 60)
    return f"{hours}:{minutes:02}:{seconds % 60:02} h" if hours else f"{minutes}:{seconds % 60:02} min"


def count(number: int, noun: str, many: str = "") -> str:
    """Give a number with its noun: `1 host`, `3 hosts`.

    Arguments:
        many: the noun for other numbers than one, where that is not just an `s` behind it.
    """
    return f"{number} {noun}" if number == 1 else f"{number} {many or noun + 's'}"


def big(text: str) -> str:
    """Give a text that begins a sentence."""
    return text[:1].upper() + text[1:]


def short(digest: str) -> str:
    """Give as much of a digest as people compare."""
    return digest.removeprefix("sha256:")[:12]


def pick(words: Mapping[str, str], word: str) -> str:
    """Give what is said for a word; the word itself where nothing is."""
    return words.get(word, word.replace("_", " "))
