"""A world to act on: a connector whose effects are lines in a file, so that every effect can be counted.

It is a real connector under the real contract; what is simple about it is the outside system.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, TypeAlias

from mimrun.catalog import Catalog
from mimrun.connector import (
    Action,
    Call,
    Connector,
    Difference,
    Effect,
    Failed,
    Finding,
    LostAnswer,
    Ok,
    Outcome,
    Probed,
    Settings,
    Unreachable,
)


class Mark(Action):
    """Append a word to the world."""

    verb = "mark"
    effect = Effect.ONCE
    word: str
    answer: str = "ok"


class MarkOnce(Mark):
    """Append a word; nobody can tell afterwards."""

    verb = "once"


class MarkProbe(Mark):
    """Append a word; the world can be asked for it."""

    verb = "probe"
    effect = Effect.PROBE


class MarkIdempotent(Mark):
    """Append a word; doing it again is harmless."""

    verb = "idempotent"
    effect = Effect.IDEMPOTENT


class Hook(Mark):
    """Append a word, after what the test has hooked up under this word was called."""

    verb = "hook"


HOOKS: dict[str, Callable[[], object]] = {}
"""What `world.hook` calls, by its word; a test fills it and empties it again."""


class Read(Action):
    """Read every word."""

    verb = "read"
    effect = Effect.READ


WorldAction: TypeAlias = MarkOnce | MarkProbe | MarkIdempotent | Hook | Read


class WorldSettings(Settings):
    """Where the world is."""

    world: Path
    inventory_hostname: str = ""


class World(Connector[WorldSettings, WorldAction]):
    """A file of words, a line each: host, word, key."""

    name = "world"
    settings_type = WorldSettings
    actions: ClassVar = (MarkOnce, MarkProbe, MarkIdempotent, Hook, Read)

    def open(self) -> None:
        """Nothing to open."""

    def close(self) -> None:
        """Nothing to close."""

    def _perform(self, action: WorldAction, call: Call) -> Outcome:
        if isinstance(action, Read):
            return Ok(changed=False, data={"words": [*words(self.settings.world)]})
        if isinstance(action, Hook):
            HOOKS[action.word]()
        if action.answer == "unreachable":
            raise Unreachable("nobody answers")
        if action.answer == "failed":
            return Failed("the world said no", clean=False)
        if action.answer == "lost-before":
            raise LostAnswer("reset before anything happened")
        line = f"{self.settings.inventory_hostname} {action.word} {call.key}\n".encode()
        file = os.open(self.settings.world, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(file, line)
        os.close(file)
        call.output.feed(stdout=f"marked {action.word}\n".encode())
        if action.answer == "lost":
            raise LostAnswer("the answer was lost")
        return Ok(changed=True, data={"word": action.word})

    def _probe(self, action: WorldAction, call: Call) -> Probed:
        there = any(line.endswith(call.key) for line in lines(self.settings.world))
        if there:
            return Probed(Finding.APPLIED, "the word is there", {"word": getattr(action, "word", "")})
        return Probed(Finding.NOT_APPLIED, "the word is not there")

    def _check(self, action: WorldAction, call: Call) -> Difference:
        if isinstance(action, MarkIdempotent):
            there = f"{self.settings.inventory_hostname}:{action.word}" in words(self.settings.world)
            return Difference(not there, f"the word {action.word} is {'there' if there else 'added'}")
        return super()._check(action, call)


def lines(world: Path) -> list[str]:
    """Give every effect, in order."""
    return world.read_text().splitlines() if world.exists() else []


def words(world: Path) -> list[str]:
    """Give host:word of every effect, in order."""
    return [":".join(line.split()[:2]) for line in lines(world)]


WORLD = Catalog(connectors={"world": World})
