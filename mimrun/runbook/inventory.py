"""The inventory: which hosts there are, in which groups, and what is known about each.

An inventory is Ansible's, and gives the hosts, the order and the variables that Ansible gives; a test
compares the two. It is frozen data: what looks like a template in it is text and stays text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from mimrun.canonical import Json
from mimrun.errors import InventoryError
from mimrun.runbook.hostname import is_address
from mimrun.runbook.inventory_draft import Draft, DraftGroup
from mimrun.runbook.inventory_source import FolderVariables, read_sources, read_text
from mimrun.runbook.pattern import LOCALHOSTS, Names, select_hosts
from mimrun.runbook.suggestion import suggest

_IMPLICIT: Mapping[str, Json] = MappingProxyType({"ansible_connection": "local"})
"""What is known about this machine when no inventory names it."""


@dataclass(frozen=True, slots=True)
class _Group:
    """One group's own variables and its place in the order in which groups override each other."""

    variables: Mapping[str, Json]
    rank: tuple[int, int, str]


@dataclass(frozen=True, slots=True)
class _Host:
    """One host's own variables and every group it is in, `all` left out, weakest first."""

    variables: Mapping[str, Json]
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True, repr=False)
class Inventory:
    """Hosts, groups and variables, frozen.

    Made by `load_inventory` or `parse_inventory`.
    """

    _hosts: Mapping[str, _Host]
    _groups: Mapping[str, _Group]
    _members: Mapping[str, tuple[str, ...]]
    _folders: tuple[FolderVariables, ...]
    _localhost: str
    is_given: bool = True
    """False where no source was given: only this machine can be named then."""

    def __repr__(self) -> str:
        return f"Inventory({len(self._hosts)} hosts, {len(self._groups)} groups)"

    @property
    def hosts(self) -> tuple[str, ...]:
        """Every host, in order of appearance."""
        return tuple(self._hosts)

    @property
    def groups(self) -> Mapping[str, tuple[str, ...]]:
        """The hosts of each group and of the groups below it, by group, in order of appearance."""
        return self._members

    def groups_of(self, host: str) -> tuple[str, ...]:
        """Give the groups that a host is in, sorted, without `all`.

        Raises:
            InventoryError: there is no such host.
        """
        return tuple(sorted(self._host(host).groups))

    def vars(self, host: str) -> dict[str, Json]:
        """Give a host's variables, merged as Ansible merges them.

        From weak to strong: `all`, other groups (upper before lower, then by priority, then by name),
        `group_vars/all`, `group_vars` of the other groups, the host's own, `host_vars`. A stronger value
        replaces a weaker one whole. `inventory_hostname`, `inventory_hostname_short` and `group_names`
        are always the inventory's.

        Returns:
            a copy that belongs to the caller.

        Raises:
            InventoryError: there is no such host.
        """
        known = self._host(host)
        merged: dict[str, Json] = {**self._groups["all"].variables}
        for group in known.groups:
            merged.update(self._groups[group].variables)
        for folder in self._folders:
            merged.update(folder.groups.get("all", {}))
        for folder in self._folders:
            for group in known.groups:
                merged.update(folder.groups.get(group, {}))
        merged.update(known.variables)
        for folder in self._folders:
            merged.update(folder.hosts.get(host, {}))
        merged["inventory_hostname"] = host
        merged["inventory_hostname_short"] = _short(host)
        merged["group_names"] = sorted(known.groups)
        return {key: _copy(value) for key, value in merged.items()}

    def select(self, pattern: str, *, strict: bool = False) -> tuple[str, ...]:
        r"""Give the hosts that a host pattern names, in Ansible's order.

        `localhost`, `127.0.0.1` and `::1` mean this machine even where no inventory names it.

        Arguments:
            pattern: `web`, `web:&zone_a:!frozen`, `web*`, `~web\d+`, `web[0:2]`, `all`, ...
            strict: a term that matches no host and no group is an error; else it is passed over, as in
                Ansible.

        Returns:
            host names without repetition; it can be empty.

        Raises:
            InventoryError: the pattern is empty or cannot be read, a subscript is out of range, or (strict)
                a term matches nothing.
        """
        names = Names(self.hosts, self._members, self._localhost, self.is_given)
        return select_hosts(names, pattern, strict=strict)

    def _host(self, name: str) -> _Host:
        known = self._hosts.get(name)
        if known is not None:
            return known
        if name in LOCALHOSTS:
            return _Host(_IMPLICIT, ())
        raise InventoryError(f"no host {name!r} in the inventory; {suggest(name, self._hosts)}".rstrip("; "))


def load_inventory(paths: Sequence[Path]) -> Inventory:
    """Read inventory sources from disk; later ones add to and override earlier ones.

    Arguments:
        paths: INI or YAML files, folders of such files, or lists such as `web1,web2,`. None at all gives an
            inventory in which only this machine can be named.

    Raises:
        InventoryError: with every problem of every source, each with file, line and column.
    """
    draft, folders = read_sources(paths)
    return replace(_freeze(draft, folders), is_given=bool(paths))


def parse_inventory(text: str, file: str = "inventory.ini") -> Inventory:
    """Read one inventory from text, without `group_vars` and `host_vars`.

    Arguments:
        text: the content.
        file: its name; the ending tells the form (`.yaml`, `.yml`, `.json`, else INI).

    Raises:
        InventoryError: with every problem, each with line and column.
    """
    draft = Draft()
    read_text(text, file, draft)
    draft.finish()
    if draft.problems:
        raise InventoryError(problems=draft.problems)
    return _freeze(draft, ())


def _freeze(draft: Draft, folders: tuple[FolderVariables, ...]) -> Inventory:
    depths = _depths(draft.groups)
    groups = {
        name: _Group(group.variables, (depths[name], group.priority, name))
        for name, group in draft.groups.items()
    }
    above = _groups_above(draft.groups)
    of_host: dict[str, set[str]] = {host: set() for host in draft.hosts}
    for name, group in draft.groups.items():
        for host in group.hosts:
            of_host[host] |= above[name]
    hosts = {
        host: _Host(variables, tuple(sorted(of_host[host] - {"all"}, key=lambda name: groups[name].rank)))
        for host, variables in draft.hosts.items()
    }
    members = {name: _members(draft.groups, name) for name in draft.groups}
    return Inventory(
        MappingProxyType(hosts), MappingProxyType(groups), MappingProxyType(members), folders, draft.localhost
    )


def _depths(groups: Mapping[str, DraftGroup]) -> dict[str, int]:
    """Give the longest way from `all` to each group; upper groups are weaker than lower ones."""
    depths: dict[str, int] = {}
    waiting = {name: len(group.parents) for name, group in groups.items()}
    ready = [name for name, parents in waiting.items() if not parents]
    while ready:
        name = ready.pop()
        depths[name] = max((depths[parent] + 1 for parent in groups[name].parents), default=0)
        for child in groups[name].children:
            waiting[child] -= 1
            if not waiting[child]:
                ready.append(child)
    return depths


def _groups_above(groups: Mapping[str, DraftGroup]) -> dict[str, set[str]]:
    """Give each group with every group that holds it, itself included."""
    above: dict[str, set[str]] = {}
    for start in groups:
        seen = {start}
        waiting = [start]
        while waiting:
            fresh = groups[waiting.pop()].parents.keys() - seen
            seen |= fresh
            waiting += fresh
        above[start] = seen
    return above


def _members(groups: Mapping[str, DraftGroup], start: str) -> tuple[str, ...]:
    """Give the hosts of a group: its own, then those of the groups below it, level by level."""
    seen = {start: None}
    level = [start]
    hosts: dict[str, None] = {}
    while level:
        for name in level:
            hosts.update(groups[name].hosts)
        level = [
            child
            for child in dict.fromkeys(c for name in level for c in groups[name].children)
            if child not in seen
        ]
        seen.update(dict.fromkeys(level))
    return tuple(hosts)


def _short(host: str) -> str:
    return host if is_address(host) else host.split(".", maxsplit=1)[0]


def _copy(value: Json) -> Json:
    match value:
        case str():
            return value
        case Mapping():
            return {key: _copy(item) for key, item in value.items()}
        case Sequence():
            return [_copy(item) for item in value]
        case _:
            return value
