"""The JSON Schema of the runbook language, with which editors complete and check while one writes.

It is made from the models and from the actions that are installed, so it cannot be behind either.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from mimrun.catalog import Catalog
from mimrun.connector import Action
from mimrun.runbook.model import (
    ActionCall,
    ActionStep,
    BlockStep,
    GateStep,
    Handler,
    IncludeStep,
    ManualStep,
    ParallelStep,
    Runbook,
    Verify,
    Wait,
    WaitStep,
)
from mimrun.runbook.sugar import CHILDREN

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
TEMPLATE: Final = {"type": "string", "pattern": r"\{[{%]", "description": "A template: {{ expression }}"}
"""A value that is filled in later may stand where another type is asked for."""

_KINDS: Final = (ActionStep, GateStep, ManualStep, BlockStep, ParallelStep, WaitStep, IncludeStep)
_LISTS: Final = frozenset({"notify", "serial"})
_CONDITIONS: Final = ("when", "until", "expect")

# Any: a JSON Schema is a tree of every JSON type, and is handed on as it is.
Schema = dict[str, Any]


def runbook_schema(catalog: Catalog) -> Schema:
    """Give the JSON Schema (draft 2020-12) of a runbook.

    Arguments:
        catalog: whose actions are known as keys of a step.
    """
    schema = Runbook.model_json_schema(by_alias=True)
    defs: Schema = schema["$defs"]
    # A wait is an action to the model, so the model of a runbook does not name it.
    waiting = WaitStep.model_json_schema(by_alias=True)
    defs |= {**waiting.pop("$defs"), WaitStep.__name__: waiting}
    actions = dict(_actions(catalog, defs))
    for kind in (*_KINDS, Handler):
        _reshape(defs[kind.__name__], actions)
    for name in (ActionCall.__name__, Verify.__name__, Wait.__name__):
        defs[name] = _call(defs[name], actions)
    any_step = {"anyOf": [{"$ref": f"#/$defs/{kind.__name__}"} for kind in _KINDS]}
    defs["Step"] = any_step
    for holder in (schema, defs[BlockStep.__name__], defs[ParallelStep.__name__]):
        for key in holder["properties"].keys() & {"steps", *CHILDREN}:
            holder["properties"][key]["items"] = {"$ref": "#/$defs/Step"}
    _close(defs)
    return {
        "$schema": DIALECT,
        "title": "mimrun runbook",
        **{k: v for k, v in schema.items() if k != "title"},
    }


def _actions(catalog: Catalog, defs: Schema) -> Iterator[tuple[str, Schema]]:
    for name in catalog.names:
        for action in catalog.connector(name).actions:
            full = f"{name}.{action.verb}"
            defs[full] = _action_schema(action, full, defs)
            yield full, {"$ref": f"#/$defs/{full}", "description": (action.__doc__ or "").split("\n")[0]}


def _action_schema(action: type[Action], full: str, defs: Schema) -> Schema:
    """Give the schema of an action's arguments, in which a template may stand for any value."""
    schema = action.model_json_schema(by_alias=True, ref_template=f"#/$defs/{full}.{{model}}")
    for name, inner in schema.pop("$defs", {}).items():
        defs[f"{full}.{name}"] = _relaxed(inner)
    properties = {key: _relaxed(value) for key, value in schema.get("properties", {}).items()}
    relaxed = {**schema, "properties": properties, "additionalProperties": False}
    # `ssh.command:` with nothing behind it is a call without arguments.
    return relaxed if schema.get("required") else {"anyOf": [relaxed, {"type": "null"}]}


def _relaxed(schema: Schema) -> Schema:
    """Let a template stand for a value, and for every part of it."""
    inner = dict(schema)
    if isinstance(inner.get("properties"), Mapping):
        inner["properties"] = {key: _relaxed(value) for key, value in inner["properties"].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(inner.get(key), Mapping):
            inner[key] = _relaxed(inner[key])
    kind = inner.get("type")
    if kind == "string" and not inner.keys() & {"pattern", "enum", "const", "format", "maxLength"}:
        # Numbers become text where text is asked for: `argv: [sleep, 5]`.
        return {**inner, "type": ["string", "number"]}
    about: Schema = {key: inner.pop(key) for key in ("description", "default", "title") if key in inner}
    about["anyOf"] = [inner, TEMPLATE]
    return about


def _reshape(step: Schema, actions: Mapping[str, Schema]) -> None:
    """Give a step the keys that an author writes."""
    properties: Schema = step["properties"]
    properties.pop("kind", None)
    required = [key for key in step.get("required", ()) if key not in ("kind", "call")]
    for key in _CONDITIONS:
        if key in properties:
            properties[key] = _condition(properties[key])
    if "check_mode" in properties:
        properties["check_mode"]["const"] = False
    properties.pop("waits", None)
    for key in _LISTS & properties.keys():
        properties[key] = _one_or_more(properties[key])
    if "call" in properties:
        properties.pop("call")
        properties.update(actions)
        step["oneOf"] = [{"required": [name]} for name in actions]
    step["required"] = required
    step["additionalProperties"] = False


def _condition(schema: Schema) -> Schema:
    """Let a condition be written as true or false, too."""
    about = {key: value for key, value in schema.items() if key == "description"}
    return {"anyOf": [{"type": "string", "minLength": 1}, {"type": "boolean"}], **about}


def _one_or_more(schema: Schema) -> Schema:
    """Let one item of a list stand for itself."""
    about: Schema = {key: schema[key] for key in ("description", "default") if key in schema}
    # What may be left out is a choice of the list and null, which nobody writes.
    listed = next((part for part in schema.get("anyOf", ()) if part.get("type") == "array"), schema)
    listed = {key: value for key, value in listed.items() if key not in about}
    return {**about, "anyOf": [listed["items"], listed]}


def _call(schema: Schema, actions: Mapping[str, Schema]) -> Schema:
    """Give an action under verify, undo or capture the keys that an author writes."""
    own = {key: value for key, value in schema["properties"].items() if key not in ("action", "args")}
    own |= {key: _condition(own[key]) for key in own if key in _CONDITIONS}
    return {
        "type": "object",
        "description": schema.get("description", ""),
        "properties": {**own, **actions},
        "oneOf": [{"required": [name]} for name in actions],
        "required": [key for key in schema["required"] if key in own],
        "additionalProperties": False,
    }


def _close(defs: Schema) -> None:
    """Take out what only the models need."""
    for definition in defs.values():
        definition.get("properties", {}).pop("kind", None)
