"""The inventory while it is being read: sources add to it, one after the other, as Ansible does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from mimrun.canonical import Json
from mimrun.errors import Problem
from mimrun.runbook.hostname import MAX_HOSTS, expand_hosts
from mimrun.runbook.pattern import LOCALHOSTS

PRIORITY: Final = "ansible_group_priority"
MAX_GROUPS: Final = 10_000
"""An inventory has at most so many groups."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a source something stands; line and column are 1-based, 0 where unknown."""

    file: str
    line: int = 0
    column: int = 0


@dataclass(slots=True)
class DraftGroup:
    """A group: its own hosts, the groups below and above it, and its variables.

    The names are the keys of dictionaries: in order, without repetition.
    """

    name: str
    hosts: dict[str, None] = field(default_factory=dict)
    children: dict[str, None] = field(default_factory=dict)
    parents: dict[str, None] = field(default_factory=dict)
    variables: dict[str, Json] = field(default_factory=dict)
    priority: int = 1


@dataclass(slots=True)
class Draft:
    """Groups and hosts so far, and every problem so far."""

    groups: dict[str, DraftGroup] = field(default_factory=dict)
    hosts: dict[str, dict[str, Json]] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    localhost: str = ""

    def __post_init__(self) -> None:
        for name in ("all", "ungrouped"):
            self.groups[name] = DraftGroup(name)
        self._link("all", "ungrouped")

    def complain(self, place: Place, message: str, hint: str = "") -> None:
        """Note a problem."""
        self.problems.append(Problem(place.file, place.line, place.column, message, hint))

    def add_group(self, name: str, place: Place) -> None:
        """Make sure that there is a group of this name."""
        if not name:
            self.complain(place, "a group needs a name")
        elif name not in self.groups:
            if len(self.groups) == MAX_GROUPS:
                self.complain(place, f"the inventory has more than {MAX_GROUPS} groups")
            self.groups[name] = DraftGroup(name)

    def add_child(self, parent: str, child: str, place: Place) -> None:
        """Put a group below another; a loop is a problem."""
        if parent == child or child in self._above(parent):
            self.complain(
                place, f"group {child!r} cannot be below {parent!r}: {parent!r} is already below it"
            )
        elif child == "all":
            self.complain(place, f"the group 'all' cannot be below {parent!r}: it holds every group")
        elif child == "ungrouped" and parent != "all":
            # Ansible loses hosts here: taking one out of `ungrouped` takes it out of all groups above.
            self.complain(place, f"the group 'ungrouped' cannot be below {parent!r}: name its hosts there")
        else:
            self._link(parent, child)

    def add_hosts(self, text: str, group: str, variables: Mapping[str, Json], place: Place) -> None:
        """Add the hosts that an entry stands for to a group, with variables.

        Arguments:
            text: a host name, with port or ranges or without.
            group: a group that exists.
            variables: what the entry says about each of the hosts.
            place: where the entry stands.
        """
        try:
            names, port = expand_hosts(text)
        except ValueError as exc:
            self.complain(place, str(exc))
            return
        if not all(names):
            self.complain(place, "a host needs a name")
            return
        if len(self.hosts) + len(names) > MAX_HOSTS:
            self.complain(place, f"the inventory has more than {MAX_HOSTS} hosts")
            return
        for name in names:
            self.add_host(name, port, group, place)
            for key, value in variables.items():
                self.set_variable(name, key, value, place)

    def add_host(self, name: str, port: int | None, group: str, place: Place) -> None:
        """Add one host to a group that exists; a port counts only where the host is new."""
        if name not in self.hosts:
            self.hosts[name] = {"ansible_port": port} if port else {}
            self.places[name] = place
            if name in LOCALHOSTS and not self.localhost:
                self.localhost = name
        self.groups[group].hosts.setdefault(name)

    def set_variable(self, name: str, key: str, value: Json, place: Place) -> None:
        """Set a variable of a group, or else of a host: where both have the name, Ansible takes the group."""
        group = self.groups.get(name)
        if group is None:
            self.hosts[name][key] = value
        elif key != PRIORITY:
            group.variables[key] = value
        elif isinstance(value, int | float | str) and _is_integer(value):
            group.priority = int(value)
        else:
            self.complain(place, f"{PRIORITY} must be an integer and is {value!r}")

    def finish(self) -> None:
        """Put what belongs nowhere where Ansible puts it: groups below `all`, hosts into `ungrouped`."""
        for name, group in self.groups.items():
            if name != "all" and not group.parents:
                self._link("all", name)
        grouped: set[str] = set()
        for name, group in self.groups.items():
            if name not in ("all", "ungrouped"):
                grouped.update(group.hosts)
        ungrouped = self.groups["ungrouped"].hosts
        for host in self.hosts:
            if host in grouped:
                ungrouped.pop(host, None)
            elif host in self.groups:
                # Ansible puts the group of this name into `ungrouped`, and the host nowhere.
                message = f"the host {host!r} is in no group and has the name of a group"
                self.complain(self.places[host], message, "rename one of them, or put the host into a group")
            else:
                ungrouped.setdefault(host)

    def _link(self, parent: str, child: str) -> None:
        self.groups[parent].children.setdefault(child)
        self.groups[child].parents.setdefault(parent)

    def _above(self, name: str) -> Iterator[str]:
        seen = {name}
        waiting = [name]
        while waiting:
            for parent in self.groups[waiting.pop()].parents:
                if parent not in seen:
                    seen.add(parent)
                    waiting.append(parent)
                    yield parent


def _is_integer(value: float | str) -> bool:
    try:
        int(value)
    except (ValueError, OverflowError):
        return False
    return True
