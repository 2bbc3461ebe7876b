"""Sugar: from the keys an author writes to the shape of the model, step by step.

A step is told by the one key that says what it does: an action (`ssh.command`), `gate`, `manual`, `block`,
`parallel`, `wait` or `include`.
Everything that is wrong with the shape is noted with its place; what is left is for the model to check.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from mimrun.canonical import Json
from mimrun.errors import Problem
from mimrun.runbook.document import Document, ValuePath
from mimrun.runbook.habit import YES_AND_NO, is_module, step_hint
from mimrun.runbook.model import (
    ActionStep,
    BlockStep,
    GateStep,
    Handler,
    IncludeStep,
    ManualStep,
    ParallelStep,
    Part,
    Verify,
    Wait,
    WaitStep,
)
from mimrun.runbook.node import handler_place
from mimrun.runbook.suggestion import suggest

CALLS: Final = ("verify", "undo", "capture")
"""Keys of a step under which another action stands."""
CHILDREN: Final = ("block", "rescue", "always", "parallel")

STAND_IN: Final[dict[str, Json]] = {"kind": "manual", "name": "?", "manual": {"instructions": "?"}}
"""Takes the place of a step that could not be read, so that the others keep their numbers."""
_HANDLER_STAND_IN: Final[dict[str, Json]] = {
    "kind": "action",
    "name": "?",
    "call": {"action": "x.x", "args": {}},
}


def _keys(model: type[Part], *without: str) -> frozenset[str]:
    names = (info.alias or name for name, info in model.model_fields.items())
    return frozenset(names) - {"kind", *without}


_KINDS: Final[Mapping[str, frozenset[str]]] = {
    "action": _keys(ActionStep, "call", "waits"),
    "gate": _keys(GateStep),
    "manual": _keys(ManualStep),
    "block": _keys(BlockStep),
    "parallel": _keys(ParallelStep),
    "wait": _keys(WaitStep),
    "include": _keys(IncludeStep),
    "handler": _keys(Handler, "call"),
}
_CHOICES: Final = ("gate", "manual", "block", "parallel", "wait", "include")
"""Keys that say what a step does, besides actions."""
_VERIFY_KEYS: Final = _keys(Verify, "action", "args")
_WAIT_KEYS: Final = _keys(Wait)
WAIT_NAMES: Final = {"until": "until", "delay": "every", "deadline": "deadline"}
"""Keys of an action that stand under `wait`, and what they are called there."""
_KEYS: Final = {"branch": "parallel"}
"""Keys under which steps stand, by their mark in the path of a step, where the two are not the same."""
_LISTS: Final = ("notify", "serial")
"""Keys with a list, of which one item may stand for itself."""
_ARGUMENTS: Final = {"command": "argv: [program, argument]", "shell": "cmd: …", "script": "src: …"}
"""What an author who wrote a bare text under an action meant, by the verb."""
_CONDITIONS: Final = ("when", "until", "expect")


@dataclass(slots=True)
class Desugarer:
    """Rewrites the steps of one document.

    Arguments:
        document: what was read.
        problems: what was found wrong so far.
        faults: the places of all that.
    """

    document: Document
    problems: list[Problem] = field(default_factory=list)
    faults: list[ValuePath] = field(default_factory=list)

    def steps(self, raw: Json, path: ValuePath) -> Json:
        """Give a list of steps in the shape of the model."""
        if not isinstance(raw, list):
            return raw
        return [self._step(step, (*path, number), self._kind) for number, step in enumerate(raw)]

    def handlers(self, raw: Json, path: ValuePath) -> Json:
        """Give a list of handlers in the shape of the model."""
        if not isinstance(raw, list):
            return raw
        shaped = [self._step(step, (*path, number), self._handler) for number, step in enumerate(raw)]
        return [_HANDLER_STAND_IN if step is STAND_IN else step for step in shaped]

    def _step(self, raw: Json, path: ValuePath, kind_of: Callable[[dict[str, Json], ValuePath], str]) -> Json:
        if not isinstance(raw, dict):
            self._complain(path, "a step must be a mapping of keys", "begin it with `- name: …`")
            return STAND_IN
        kind = kind_of(raw, path)
        if not kind:
            return STAND_IN
        allowed = _KINDS[kind]
        acts = kind in ("action", "handler", "wait")
        step: dict[str, Json] = {"kind": "action" if acts else kind}
        for key, value in raw.items():
            if key in allowed:
                step[key] = self._value(key, value, (*path, key))
            elif not _is_action(key):
                self._unknown(key, path, kind)
        if kind == "wait":
            step |= self._wait(step.pop("wait"), (*path, "wait"))
        elif acts:
            step["call"] = self._call(raw, path)
        return step

    def _wait(self, raw: Json, path: ValuePath) -> dict[str, Json]:
        """Read what is under wait: one reading, with keys of its own beside it."""
        if not isinstance(raw, dict) or len([key for key in raw if _is_action(key)]) != 1:
            hint = "such as `wait: {http.request: {…}, until: result.status == 200, deadline: 5m}`"
            if isinstance(raw, int | str):
                hint = "to let time pass write `wait.duration: {for: 5s}`"
            self._complain(path, "wait needs exactly one action that looks", hint)
            return {"call": {"action": "x.x", "args": {}}}
        for key in raw:
            if not _is_action(key) and key not in _WAIT_KEYS:
                hint = "that is the deadline's to end" if key == "retries" else suggest(key, _WAIT_KEYS)
                self._complain((*path, key), f"unknown key {key!r} in wait", hint, at_key=True)
        for key in ("until", "deadline"):
            if key not in raw:
                self._complain(path, f"the key {key!r} is missing in wait")
        if raw.get("every") in (0, "0", "0s", "0ms", "0m", "0h"):
            self._complain(
                (*path, "every"), "every: must be above 0", "write 1s, or what the other side can bear"
            )
        own = {name: key for name, key in WAIT_NAMES.items() if key in raw}
        given = {name: self._value(key, raw[key], (*path, key)) for name, key in own.items()}
        return {"call": self._call(raw, path), "waits": True, "delay": "5s", **given}

    def _handler(self, raw: dict[str, Json], path: ValuePath) -> str:
        """See that a handler has one action, or complain and give ""."""
        actions = [key for key in raw if _is_action(key)]
        if len(actions) == 1 and not any(key in raw for key in _CHOICES):
            return "handler"
        module = next((key for key in raw if is_module(key)), "")
        hint = step_hint(module) or "such as `ssh.command: {argv: [id]}`"
        place = (*path, module) if module else path
        self._complain(place, "a handler needs exactly one action", hint, at_key=bool(module))
        return ""

    def _kind(self, raw: dict[str, Json], path: ValuePath) -> str:
        """Find out what a step is, or complain and give ""."""
        actions = [key for key in raw if _is_action(key)]
        chosen = actions + [key for key in _CHOICES if key in raw]
        if len(chosen) == 1:
            return "action" if actions else chosen[0]
        if chosen:
            second = (*path, chosen[1])
            self._complain(
                second,
                f"a step does one thing, and this one has {' and '.join(map(repr, chosen))}",
                "make two steps of it",
                at_key=True,
            )
            return ""
        before = len(self.problems)
        for key in raw:
            if key not in _KINDS["action"]:
                self._unknown(key, path, "action")
        if len(self.problems) == before:
            wanted = "give it one action (`ssh.command: {…}`), gate, manual, block, parallel, wait or include"
            hint = next((hint for hint in map(step_hint, raw) if hint), wanted)
            self._complain(path, "the step does nothing", hint)
        return ""

    def _value(self, key: str, value: Json, path: ValuePath) -> Json:
        if value is None:
            self._complain(path, f"{key} has no value", "give it one, or take the key out")
        if key == "become" and str(value).lower() in YES_AND_NO:
            self._complain(path, f"become: {value!r} is a text and would be a user", "write true or false")
        if key == "parallel" and isinstance(value, list) and len(value) == 1:
            self._complain(path, "parallel needs at least two steps", "one alone needs no `parallel:`")
        if key in CHILDREN:
            return self.steps(value, path)
        if key in CALLS:
            return self._nested_call(key, value, path)
        if key in _CONDITIONS and isinstance(value, bool):
            return str(value).lower()
        if key == "include" and isinstance(value, str):
            self._complain(
                path, "include must be a mapping of keys", f"write `include: {{runbook: {value}}}`"
            )
            return {"runbook": "x@0.0.0"}
        if key == "check_mode" and value is True:
            hint = "`check_mode: false` makes a reading also when a plan is only checked"
            self._complain(path, "check_mode: true would be a step that is never done", hint)
        if key in _LISTS and isinstance(value, str | int):
            return [value]
        return value

    def _nested_call(self, keyword: str, raw: Json, path: ValuePath) -> Json:
        """Read the action under verify, undo or capture; only verify has keys of its own beside it."""
        if not isinstance(raw, dict) or len([key for key in raw if _is_action(key)]) != 1:
            self._complain(path, f"{keyword} needs exactly one action", "such as `ssh.command: {argv: [id]}`")
            return {"action": "x.x", "args": {}}
        own = _VERIFY_KEYS if keyword == "verify" else frozenset[str]()
        for key in raw:
            if not _is_action(key) and key not in own:
                hint = step_hint(key) or suggest(key, own)
                self._complain((*path, key), f"unknown key {key!r} in {keyword}", hint, at_key=True)
        extras = {key: self._value(key, value, (*path, key)) for key, value in raw.items() if key in own}
        return {**self._call(raw, path), **extras}

    def _call(self, raw: dict[str, Json], path: ValuePath) -> dict[str, Json]:
        action = next(key for key in raw if _is_action(key))
        args = raw[action]
        if args is None:
            args = {}
        if not isinstance(args, dict):
            self._complain(
                (*path, action),
                f"the arguments of {action} must be a mapping",
                f"write `{action}: {{{_ARGUMENTS.get(action.rpartition('.')[2], 'key: value')}}}`",
            )
            args = {}
        return {"action": action, "args": args}

    def _unknown(self, key: str, path: ValuePath, kind: str) -> None:
        """Complain about a key, in the order: Ansible's word, wrong place, misspelt, else what is allowed."""
        allowed = _KINDS[kind]
        homes = [other for other, keys in _KINDS.items() if key in keys and other != "handler"]
        hint = step_hint(key)
        if not hint and homes:
            self._complain(
                (*path, key),
                f"{key!r} does not belong to {'' if kind == 'handler' else 'a step with '}{_a(kind)}",
                f"it is for {_list(homes)}",
                at_key=True,
            )
            return
        if not hint:
            hint = suggest(key, allowed if kind == "handler" else allowed | {*_CHOICES})
        self._complain((*path, key), f"unknown key {key!r} in {_holder(kind)}", hint, at_key=True)

    def _complain(self, path: ValuePath, message: str, hint: str = "", *, at_key: bool = False) -> None:
        self.faults.append(path)
        self.problems.append(self.document.problem(path, message, hint, at_key=at_key))


def step_source(step: str) -> ValuePath:
    """Give the place of a step in its document: "3.block.1" is `("steps", 2, "block", 0)`.

    The handler "h2" is at `("handlers", 1)`, also where it follows a batch ("3.batch.1.h2"); a batch is at its
    serial step, and what is included at the step that includes it.
    """
    own = step.partition(".include.")[0]
    handler = handler_place(own)[1]
    if handler:
        return ("handlers", int(handler[1:]) - 1)
    marks = own.split(".")
    path: list[str | int] = ["steps"]
    for number, mark in enumerate(marks):
        if mark == "batch" or (number and marks[number - 1] == "batch"):
            continue  # batches are made by the plan, and the file has one step for all of them
        path.append(int(mark) - 1 if mark.isdigit() else _KEYS.get(mark, mark))
    return tuple(path)


def action_key(raw: Json) -> str:
    """Give the key of a mapping that names an action; "" where there is none."""
    return next((key for key in raw if _is_action(key)), "") if isinstance(raw, dict) else ""


def _is_action(key: str) -> bool:
    return "." in key and not key.startswith(("ansible.", "community."))


def _holder(kind: str) -> str:
    return "a handler" if kind == "handler" else "a step"


def _a(kind: str) -> str:
    return {"action": "an action", "parallel": "branches", "include": "an include"}.get(kind, f"a {kind}")


def _list(kinds: Iterable[str]) -> str:
    return " or ".join(f"steps with {_a(kind)}" for kind in kinds)
