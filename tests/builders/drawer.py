"""A drawer of slots: a connector whose effects are states that can be read, changed by others and put back."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import ClassVar, TypeAlias

from builders.plans import action
from builders.world import World
from pydantic import JsonValue

from mimrun.catalog import Catalog
from mimrun.connector import Action, Call, Connector, Effect, Failed, Ok, Outcome, Settings, Unreachable
from mimrun.runbook.node import PlannedAction, PlannedCall, StepOptions


class Put(Action):
    """Put a value into a slot."""

    verb = "put"
    effect = Effect.IDEMPOTENT
    slot: str
    value: JsonValue = None


class Get(Action):
    """Read a slot."""

    verb = "get"
    effect = Effect.READ
    slot: str


DrawerAction: TypeAlias = Put | Get


class DrawerSettings(Settings):
    """Where the drawer is: next to the world."""

    world: Path
    inventory_hostname: str = ""


class DrawerConnector(Connector[DrawerSettings, DrawerAction]):
    """A file of slots."""

    name = "drawer"
    settings_type = DrawerSettings
    actions: ClassVar = (Put, Get)

    def open(self) -> None:
        """Nothing to open."""

    def close(self) -> None:
        """Nothing to close."""

    def _perform(self, action: DrawerAction, call: Call) -> Outcome:
        drawer = Drawer(self.settings.world.with_name("drawer"))
        if action.slot in drawer.words("blind") and isinstance(action, Get):
            raise Unreachable("nobody can look")
        if isinstance(action, Get):
            return Ok(
                changed=False,
                data={"value": drawer.read().get(action.slot), "waited_ms": time.monotonic_ns()},
            )
        if action.slot in drawer.words("jammed"):
            return Failed("the slot is jammed", clean=False)
        changed = drawer.read().get(action.slot) != action.value
        drawer.put(action.slot, action.value)
        drawer.note(f"{action.slot}={action.value}")
        return Ok(changed=changed, data={})


class Drawer:
    """The drawer as everybody else sees it.

    Arguments:
        path: its file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[str, JsonValue]:
        """Give every slot."""
        found: dict[str, JsonValue] = json.loads(self.path.read_text()) if self.path.exists() else {}
        return found

    def put(self, slot: str, value: JsonValue) -> None:
        """Change a slot, as somebody else would."""
        self.path.write_text(json.dumps({**self.read(), slot: value}))

    def words(self, name: str) -> list[str]:
        """Give the slots that are `jammed` (nothing can be put there) or `blind` (cannot be read)."""
        file = self.path.with_name(f"drawer.{name}")
        return file.read_text().split() if file.exists() else []

    def mark(self, name: str, *slots: str) -> None:
        """Say which slots are `jammed` or `blind` from now on."""
        self.path.with_name(f"drawer.{name}").write_text(" ".join(slots))

    def note(self, word: str) -> None:
        """Note an effect."""
        with self.path.with_name("drawer.effects").open("a") as file:
            file.write(f"{word}\n")

    def effects(self) -> list[str]:
        """Give every effect, in order."""
        return self.words("effects")


CATALOG = Catalog(connectors={"world": World, "drawer": DrawerConnector})
"""The world, and the drawer next to it."""


def _call(verb: str, late: tuple[str, ...] = (), **args: JsonValue) -> PlannedCall:
    kind = CATALOG.action(f"drawer.{verb}")
    return PlannedCall(action=f"drawer.{verb}", args=args, late=late, effect=kind.effect)


def put(path: str, slot: str, value: JsonValue, *, options: StepOptions | None = None) -> PlannedAction:
    """Give a step that puts a value, and whose undo puts back what was captured."""
    step = action(path, options=options or StepOptions(delay_ms=1))
    back = "{{ captured.value }}"
    target = step.targets[0].model_copy(
        update={
            "calls": (_call("put", slot=slot, value=value),),
            "capture": (_call("get", slot=slot),),
            "undo": (_call("put", ("captured",), slot=slot, value=back),),
        }
    )
    return step.model_copy(update={"action": "drawer.put", "targets": (target,)})
