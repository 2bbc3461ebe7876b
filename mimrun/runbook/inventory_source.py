"""Inventory sources on disk: files, folders of files, and the `group_vars` and `host_vars` beside them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mimrun.canonical import Json
from mimrun.errors import InputError, InventoryError, Problem
from mimrun.runbook.document import Document, read_bytes, read_document
from mimrun.runbook.hostname import split_port
from mimrun.runbook.inventory_draft import Draft, Place
from mimrun.runbook.inventory_ini import read_ini
from mimrun.runbook.inventory_yaml import read_yaml
from mimrun.runbook.pattern import LOCALHOSTS
from mimrun.runbook.scalar import Schema
from mimrun.runbook.syntax import Stop, decode

YAML_ENDINGS: Final = (".yml", ".yaml", ".json")
MAX_FOLDERS: Final = 16
"""Folders of inventories are followed so many levels down; a link could make a circle."""

_IGNORED: Final = re.compile(
    r"^\.|^(host_vars|group_vars|vars_plugins)$|~$|\.(pyc|pyo|swp|bak|rpm|md|txt|rst|orig|cfg|retry)$"
)
_VAULT: Final = "$ANSIBLE_VAULT"
_WRITE_DOWN: Final = (
    "let Ansible write down what it gives: ansible-inventory -i FILE --list --yaml > inventory.yaml"
)


@dataclass(frozen=True, slots=True)
class FolderVariables:
    """What the `group_vars` and `host_vars` of one folder say, by group and by host."""

    groups: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    hosts: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)


def read_sources(paths: Sequence[Path]) -> tuple[Draft, tuple[FolderVariables, ...]]:
    """Read inventory sources, one after the other, into one draft.

    Arguments:
        paths: files, folders of files, or lists such as `web1,web2,`.

    Returns:
        the draft, finished, and the variables of each source's folder in the order of the sources.

    Raises:
        InventoryError: with every problem of every source.
    """
    draft = Draft()
    folders: list[Path] = []
    read: dict[Path, FolderVariables] = {}
    try:
        for path in paths:
            _read_source(path, draft)
        draft.finish()
        folders = [path if path.is_dir() else path.parent for path in paths if not _is_list(path)]
        for folder in folders:
            if folder not in read:
                read[folder] = _read_folder_variables(folder, draft)
    except OSError as exc:
        draft.complain(Place(str(exc.filename)), f"cannot be read: {exc.strerror}")
    if draft.problems:
        raise InventoryError(problems=draft.problems)
    return draft, tuple(read[folder] for folder in folders)


def read_text(text: str, file: str, draft: Draft) -> None:
    """Add an inventory's text to a draft, in the form that the file's name and content show.

    Arguments:
        text: the content; bounded by `MAX_BYTES`.
        file: its name, for its ending and for messages.
        draft: what earlier sources gave.
    """
    try:
        text = decode(text, file)
    except Stop as stop:
        draft.problems.append(stop.problem)
        return
    ending = os.path.splitext(file)[1]  # noqa: PTH122 - a file's name as given, which need not be a path
    if text.startswith(_VAULT):
        _complain_of_vault(Place(file), draft)
    elif ending == ".toml":
        draft.complain(Place(file), "TOML inventories are not read", _WRITE_DOWN)
    elif ending in YAML_ENDINGS or (not ending and _is_yaml(text, file)):
        document = _document(text, file, draft)
        if document:
            read_yaml(document, draft)
    else:
        read_ini(text, file, draft)


def _read_source(path: Path, draft: Draft, depth: int = 0) -> None:
    place = Place(str(path))
    if _is_list(path):
        _read_list(str(path), draft)
    elif not path.is_dir():
        _read_file(path, draft)
    elif depth > MAX_FOLDERS:
        draft.complain(place, f"is more than {MAX_FOLDERS} folders deep", "does a link lead back up?")
    else:
        names = [name for name in sorted(os.listdir(path)) if not _IGNORED.search(name)]  # noqa: PTH208 - names
        if not names and not depth:
            draft.complain(place, "there is no inventory in this folder")
        for name in names:
            _read_source(path / name, draft, depth + 1)


def _read_list(text: str, draft: Draft) -> None:
    for name in filter(None, (part.strip() for part in text.split(","))):
        host, port = split_port(name) or (name, None)
        if "[" in host:
            hint = "list the names, or write an inventory file"
            draft.complain(Place(text), f"{name!r}: a list of hosts takes no ranges", hint)
        elif host not in draft.hosts:
            draft.add_host(host, port, "ungrouped", Place(text))


def _read_file(path: Path, draft: Draft) -> None:
    try:
        data = read_bytes(path, error=InventoryError)
        if data.startswith(b"#!") and path.stat().st_mode & 0o111:
            draft.complain(
                Place(str(path)), "is a program, and mimrun runs no inventory programs", _WRITE_DOWN
            )
            return
        read_text(decode(data, str(path)), str(path), draft)
    except InventoryError as exc:
        draft.problems += exc.problems
    except Stop as stop:
        draft.problems.append(stop.problem)


def _is_list(path: Path) -> bool:
    return "," in str(path) and not path.exists()


def _is_yaml(text: str, file: str) -> bool:
    """Say whether a file without an ending is YAML: Ansible tries that first, and INI when it fails."""
    lines = (line.strip() for line in text.splitlines())
    first = next((line for line in lines if line and line[0] not in "#;"), "")
    if first == "---" or re.fullmatch(r"[^\s\[=]+:", first):
        return True
    try:
        return isinstance(read_document(text, file, schema=Schema.ANSIBLE).value, Mapping)
    except InputError:
        return False


def _is_json(text: str) -> bool:
    """Say whether a text is JSON from end to end: then 1e3 is a number, which it is not in YAML 1.1."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _document(text: str, file: str, draft: Draft) -> Document | None:
    schema = Schema.JSON if _is_json(text) else Schema.ANSIBLE
    try:
        return read_document(text, file, error=InventoryError, schema=schema)
    except InventoryError as exc:
        draft.problems += exc.problems
        return None


def _complain_of_vault(place: Place, draft: Draft) -> None:
    draft.complain(
        place,
        "is encrypted with ansible-vault; mimrun holds no vault passwords and cannot decrypt it",
        "keep secrets out of the inventory: name them in the runbook (env:NAME, file:PATH, keyring:… or vault:…)",
    )


def _read_folder_variables(folder: Path, draft: Draft) -> FolderVariables:
    hosts = dict.fromkeys((*draft.hosts, *LOCALHOSTS))
    return FolderVariables(
        groups=_read_variables(folder / "group_vars", draft.groups, draft),
        hosts=_read_variables(folder / "host_vars", hosts, draft),
    )


def _read_variables(folder: Path, names: Iterable[str], draft: Draft) -> dict[str, Mapping[str, Json]]:
    if not folder.is_dir():
        return {}
    present = set(os.listdir(folder))  # noqa: PTH208 - the names alone are wanted
    found: dict[str, Mapping[str, Json]] = {}
    for name in names:
        # A name with a slash would lead out of the folder.
        entry = next((name + end for end in ("", *YAML_ENDINGS) if name + end in present), None)
        if entry is None or "/" in name:
            continue
        merged: dict[str, Json] = {}
        for path in _variable_files(folder / entry):
            merged.update(_read_variable_file(path, draft))
        if merged:
            found[name] = merged
    return found


def _variable_files(path: Path, depth: int = 0) -> Iterator[Path]:
    """Give the files that hold an entity's variables, in the order in which they override each other."""
    if not path.is_dir():
        yield path
        return
    for name in sorted(os.listdir(path)) if depth <= MAX_FOLDERS else ():  # noqa: PTH208 - sorted as text
        inner = path / name
        if name.startswith(".") or name.endswith("~"):
            continue
        if inner.is_dir():
            if not inner.suffix:
                yield from _variable_files(inner, depth + 1)
        elif not inner.suffix or inner.suffix in YAML_ENDINGS:
            yield inner


def _read_variable_file(path: Path, draft: Draft) -> Mapping[str, Json]:
    try:
        text = decode(read_bytes(path, error=InventoryError), str(path))
    except InventoryError as exc:
        draft.problems += exc.problems
        return {}
    except Stop as stop:
        draft.problems.append(stop.problem)
        return {}
    if text.startswith(_VAULT):
        _complain_of_vault(Place(str(path)), draft)
        return {}
    document = _document(text, str(path), draft)
    if document is None or document.value is None:
        return {}
    if isinstance(document.value, Mapping):
        return document.value
    draft.problems.append(Problem(str(path), 1, 1, "variables are a mapping", "write 'name: value'"))
    return {}
