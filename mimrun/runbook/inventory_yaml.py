"""Inventories in YAML form: groups with `hosts`, `vars` and `children`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mimrun.canonical import Json
from mimrun.runbook.document import Document, ValuePath
from mimrun.runbook.inventory_draft import Draft, Place
from mimrun.runbook.suggestion import suggest

_SECTIONS: Final = ("vars", "children", "hosts")


@dataclass(frozen=True, slots=True)
class _Reader:
    draft: Draft
    document: Document

    def key(self, path: ValuePath) -> Place:
        return Place(self.document.file, *self.document.key_mark(path))

    def complain(self, path: ValuePath, message: str, hint: str = "") -> None:
        self.draft.complain(Place(self.document.file, *self.document.mark(path)), message, hint)


def read_yaml(document: Document, draft: Draft) -> None:
    """Add the content of a YAML (or JSON) inventory to a draft; every problem is noted there.

    Arguments:
        document: the file, read with the schema of Ansible.
        draft: what earlier sources gave.
    """
    reader = _Reader(draft, document)
    value = document.value
    if not value:
        reader.complain((), "is empty: an inventory names groups", "begin with all:")
    elif not isinstance(value, Mapping):
        reader.complain((), "an inventory is a mapping of groups", "begin with all:")
    elif value.get("plugin"):
        hint = (
            "let Ansible write down what it finds: ansible-inventory -i FILE --list --yaml > inventory.yaml"
        )
        reader.complain(
            ("plugin",), "is the configuration of an inventory plugin, and mimrun runs none", hint
        )
    else:
        for name, content in value.items():
            _read_group(reader, name, content, (name,))


def _read_group(reader: _Reader, name: str, content: Json, path: ValuePath) -> None:
    if content is not None and not isinstance(content, Mapping):
        reader.complain(path, f"the group {name!r} must be a mapping", suggest("", _SECTIONS))
        return
    reader.draft.add_group(name, reader.key(path))
    if not name:
        return
    for section, entries in (content or {}).items():
        here = (*path, section)
        if section not in _SECTIONS:
            reader.draft.complain(reader.key(here), f"no {section!r} in a group", suggest(section, _SECTIONS))
            continue
        # A word alone stands for a mapping with one key: `hosts: web1`.
        mapping = {entries: None} if isinstance(entries, str) else entries
        if isinstance(mapping, Mapping):
            _read_section(reader, name, section, mapping, here)
        elif mapping is not None:
            reader.complain(here, f"{section!r} of the group {name!r} must be a mapping", _LIST_HINT[section])


_LIST_HINT: Final = {
    "hosts": "write each host as a key: 'web1:'",
    "children": "write each group as a key: 'web:'",
    "vars": "write each variable as 'name: value'",
}


def _read_section(
    reader: _Reader, group: str, section: str, entries: Mapping[str, Json], path: ValuePath
) -> None:
    for key, value in entries.items():
        here = (*path, key)
        place = reader.key(here)
        match section:
            case "vars":
                reader.draft.set_variable(group, key, value, place)
            case "children":
                _read_group(reader, key, value, here)
                if key in reader.draft.groups:
                    reader.draft.add_child(group, key, place)
            case _:
                if value and not isinstance(value, Mapping):
                    reader.complain(
                        here, f"the variables of {key!r} must be a mapping", "write 'name: value'"
                    )
                else:
                    reader.draft.add_hosts(key, group, value if isinstance(value, Mapping) else {}, place)
