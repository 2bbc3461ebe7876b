"""Inventories in INI form: sections of hosts, of child groups and of variables.

The rules are those of Ansible's `ini` inventory plugin, and so are their odd corners: values are read as
Python literals where they are some, and as text where they are not; on a host's line quotes are taken off
first, in a `:vars` section they are not.
"""

from __future__ import annotations

import ast
import math
import re
import shlex
import warnings
from dataclasses import dataclass, field
from typing import Final

from mimrun.canonical import Json
from mimrun.runbook.inventory_draft import Draft, Place
from mimrun.runbook.suggestion import suggest
from mimrun.runbook.syntax import HIDDEN

_SECTION: Final = re.compile(r"\[(?P<group>[^:\]\s]+)(?::(?P<kind>\w+))?\]\s*(?:#.*)?")
_CHILD: Final = re.compile(r"(?P<group>[^:\]\s]+)\s*(?:#.*)?")
_KINDS: Final = ("hosts", "children", "vars")


@dataclass(slots=True)
class _Awaited:
    """A group that was named and must still be declared by a section of its own."""

    place: Place
    message: str
    parents: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Reader:
    draft: Draft
    file: str
    group: str = "ungrouped"
    kind: str = "hosts"
    awaited: dict[str, _Awaited] = field(default_factory=dict)


def read_ini(text: str, file: str, draft: Draft) -> None:
    """Add the content of an INI inventory to a draft; every problem is noted there.

    Arguments:
        text: the content of the file.
        file: the path as the person gave it.
        draft: what earlier sources gave.
    """
    reader = _Reader(draft, file)
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line[0] in "#;":
            continue
        place = Place(file, number, len(raw) - len(raw.lstrip()) + 1)
        section = _SECTION.fullmatch(line)
        if section:
            _begin(reader, section["group"], section["kind"] or "hosts", place)
        elif line.startswith("[") and line.endswith("]"):
            draft.complain(
                place, f"{line} is not a section", "write [group], [group:children] or [group:vars]"
            )
            reader.kind = "skipped"
        else:
            _read_line(reader, line, raw, place)
    for name, awaited in reader.awaited.items():
        hint = suggest(name, draft.groups.keys() - reader.awaited.keys() - {"all", "ungrouped"})
        draft.complain(awaited.place, awaited.message, hint)


def _begin(reader: _Reader, group: str, kind: str, place: Place) -> None:
    if kind not in _KINDS:
        reader.kind = "skipped"
        reader.draft.complain(place, f"no section [{group}:{kind}]", suggest(kind, _KINDS[1:]))
        return
    reader.group, reader.kind = group, kind
    if group not in reader.draft.groups:
        if kind == "vars" and group not in reader.awaited:
            message = f"[{group}:vars]: there is no group {group!r}"
            reader.awaited[group] = _Awaited(place, message)
        reader.draft.add_group(group, place)
    if kind != "vars" and group in reader.awaited:
        for parent in reader.awaited.pop(group).parents:
            reader.draft.add_child(parent, group, place)


def _read_line(reader: _Reader, line: str, raw: str, place: Place) -> None:
    match reader.kind:
        case "hosts":
            _read_host(reader, line, raw, place)
        case "vars":
            key, separator, value = line.partition("=")
            if separator:
                _set(reader, key.strip(), value.strip(), place)
            else:
                reader.draft.complain(place, f"expected key=value and found {line!r}")
        case "children":
            _read_child(reader, line, place)


def _set(reader: _Reader, key: str, text: str, place: Place) -> None:
    try:
        reader.draft.set_variable(reader.group, key, read_value(text), place)
    except ValueError as exc:
        reader.draft.complain(place, f"{key}: {exc}")


def _read_child(reader: _Reader, line: str, place: Place) -> None:
    found = _CHILD.fullmatch(line)
    if not found:
        reader.draft.complain(place, f"expected the name of a group and found {line!r}")
        return
    child = found["group"]
    if child in reader.draft.groups:
        reader.draft.add_child(reader.group, child, place)
        return
    message = f"[{reader.group}:children]: there is no group {child!r}"
    reader.awaited.setdefault(child, _Awaited(place, message)).parents.append(reader.group)


def _read_host(reader: _Reader, line: str, raw: str, place: Place) -> None:
    draft = reader.draft
    try:
        name, *assignments = shlex.split(line, comments=True) or [""]
    except ValueError as exc:
        draft.complain(place, f"the line cannot be split into words: {str(exc).lower()}", "close the quote")
        return
    variables: dict[str, Json] = {}
    for assignment in assignments:
        key, separator, text = assignment.partition("=")
        here = Place(place.file, place.line, max(raw.find(key, place.column + len(name) - 1), 0) + 1)
        if not separator:
            draft.complain(
                here, f"expected key=value and found {assignment!r}", "quote a value that has blanks"
            )
            continue
        try:
            variables[key] = read_value(text)
        except ValueError as exc:
            draft.complain(here, f"{key}: {exc}")
    if name.endswith(":"):
        draft.complain(
            place, f"{name!r} ends in ':'", "a port follows a colon; a YAML inventory is named .yaml"
        )
    elif name == "---":
        draft.complain(place, "'---' begins a YAML file", "name the file .yaml")
    else:
        draft.add_hosts(name, reader.group, variables, place)


def read_value(text: str) -> Json:
    """Give the value of `key=text` in an INI inventory, as Ansible reads it.

    Arguments:
        text: a Python literal (`5`, `True`, `None`, `['a', 'b']`, `{'a': 1}`), or else it is text.

    Raises:
        ValueError: the value has no JSON form, or holds an invisible character.
    """
    try:
        # Filters are process-wide: a warning of another thread may be lost meanwhile, and nothing else.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            literal: object = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        literal = text
    except TypeError as exc:
        raise ValueError(f"{text!r} is a literal without a value: {exc}") from exc
    return _plain(literal)


def _plain(value: object) -> Json:
    match value:
        case None | bool() | int():
            return value
        case float():
            if not math.isfinite(value):
                raise ValueError(f"{value} is not a finite number")
            return value
        case str():
            hidden = HIDDEN.search(value)
            if hidden:
                raise ValueError(f"has the invisible character U+{ord(hidden[0]):04X}")
            return value
        case bytes():
            return _plain(value.decode("utf-8"))
        case list() | tuple():
            return [_plain(item) for item in value]
        case set():
            # A set has no order of its own; the same inventory must give the same list every time.
            return [_plain(item) for item in sorted(value, key=repr)]
        case dict():
            return {_key(key): _plain(item) for key, item in value.items()}
        case _:
            return "..." if value is ... else str(value)


def _key(key: object) -> str:
    plain = _plain(key)
    if plain is None or isinstance(plain, bool):
        return {None: "null", True: "true", False: "false"}[plain]
    if isinstance(plain, str | int | float):
        return str(plain)
    raise ValueError(f"{key!r} cannot be a key")
