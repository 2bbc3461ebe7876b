"""The file `changes.yaml`: which change systems there are, and what is written to them; read strictly.

new_records: rt
systems:
  rt:
    adapter: request_tracker
    url: https://rt.example.org
    token: env:RT_TOKEN
    stale_after: 30s
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final, TypeAlias, get_args

from pydantic import ValidationError

from mimrun.canonical import Json
from mimrun.change_system import AdditionKind, ChangeSystem, ChangeSystemSettings
from mimrun.errors import Problem, SettingsError
from mimrun.gate.change import CONFLICTS_WITHIN, REGISTER
from mimrun.runbook.document import Document, ValuePath, load_document
from mimrun.runbook.duration import parse_duration
from mimrun.runbook.suggestion import suggest
from mimrun.runbook.wording import problems_of

GROUP: Final = "mimrun.change_systems"
"""The entry points of the adapters."""

STALE_AFTER: Final = timedelta(seconds=30)
WRITE_BACK: Final[tuple[AdditionKind, ...]] = ("link", "note", "started", "ended", "result")
"""What is written to a record unless the file says otherwise; it is closed only where the file says so."""

_URL: Final = re.compile(r"https?://[^\s{}]+\{run\}[^\s{}]*")
_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_TOP: Final = ("systems", "new_records", "conflicts_within", "write_back", "run_url")
_OWN: Final = ("adapter", "stale_after", "write_back")

AnyChangeSystem: TypeAlias = ChangeSystem[Any]
Adapters: TypeAlias = Mapping[str, type[AnyChangeSystem]]


@dataclass(frozen=True, slots=True)
class System:
    """A change system.

    Arguments:
        name: under which it stands in the file.
        adapter: the class that speaks to it; None for mimrun's own register.
        settings: what the file says for the adapter.
        stale_after: how long a reading is good for.
        write_back: what is written to its records.
    """

    name: str
    adapter: type[AnyChangeSystem] | None = None
    settings: ChangeSystemSettings | None = None
    stale_after: timedelta = STALE_AFTER
    write_back: tuple[AdditionKind, ...] = WRITE_BACK


OWN: Final = System(REGISTER, stale_after=timedelta(0))
"""mimrun's own register; it is always there."""


@dataclass(frozen=True, slots=True)
class ChangesFile:
    """What the file says.

    Arguments:
        systems: by name; the register among them.
        new_records: the system that new records are made in.
        conflicts_within: how old a search for conflicts may be.
        run_url: the address of a run's page, with `{run}` in the place of its name; or "".
    """

    systems: Mapping[str, System] = field(default_factory=lambda: {REGISTER: OWN})
    new_records: str = REGISTER
    conflicts_within: timedelta = CONFLICTS_WITHIN
    run_url: str = ""
    file: str = "changes.yaml"

    def system(self, name: str) -> System:
        """Give a system by its name.

        Raises:
            SettingsError: the file does not have it.
        """
        found = self.systems.get(name)
        if found is None:
            raise SettingsError(f"{self.file} has no change system {name!r}; {suggest(name, self.systems)}")
        return found


def installed_adapters() -> Adapters:
    """Give the adapters that are installed, by name; each is imported only when it is asked for."""
    return _Installed()


class _Installed(Mapping[str, type[AnyChangeSystem]]):
    """The adapters' entry points, loaded one by one."""

    def __init__(self) -> None:
        self._points = {point.name: point for point in entry_points(group=GROUP)}

    def __getitem__(self, name: str) -> type[AnyChangeSystem]:
        loaded: type[AnyChangeSystem] = self._points[name].load()
        return loaded

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._points))

    def __len__(self) -> int:
        return len(self._points)


def load_changes(path: Path, adapters: Adapters) -> ChangesFile:
    """Read the file; where it is not there, mimrun's own register is the only system.

    Raises:
        SettingsError: it is not what it should be; every problem is named with its place.
    """
    if not path.exists():
        return ChangesFile(file=str(path))
    return parse_changes(load_document(path, error=SettingsError), adapters)


def parse_changes(document: Document, adapters: Adapters) -> ChangesFile:
    """Make the change systems of a document.

    Raises:
        SettingsError: as for `load_changes`.
    """
    reader = _Reader(document, adapters)
    read = reader.whole()
    if reader.problems:
        raise SettingsError(problems=reader.problems)
    return read


class _Reader:
    """Collects the systems and everything that is wrong with them."""

    def __init__(self, document: Document, adapters: Adapters) -> None:
        self.document, self.adapters = document, adapters
        self.problems: list[Problem] = []

    def whole(self) -> ChangesFile:
        top = self.document.value
        if not isinstance(top, dict):
            self._wrong((), "a file of change systems is a mapping", f"with {', '.join(_TOP)}")
            return ChangesFile()
        for key in top:
            if key not in _TOP:
                self._wrong((key,), f"unknown key {key!r}", suggest(key, _TOP), at_key=True)
        usual = self._write_back(("write_back",), top, WRITE_BACK)
        systems = self._systems(top.get("systems"), usual)
        new_records = top.get("new_records", REGISTER)
        if not isinstance(new_records, str) or new_records not in systems:
            hint = suggest(str(new_records), systems)
            self._wrong(("new_records",), f"new_records: there is no system {new_records!r}", hint)
        return ChangesFile(
            systems,
            str(new_records),
            self._time((), top, "conflicts_within", CONFLICTS_WITHIN, lowest=60),
            self._run_url(top),
            self.document.file,
        )

    def _run_url(self, top: Mapping[str, Json]) -> str:
        given = top.get("run_url", "")
        if not isinstance(given, str) or (given and not _URL.fullmatch(given)):
            self._wrong(("run_url",), "run_url is an address with {run} in it", "https://HOST/runs/{run}")
            return ""
        return given

    def _systems(self, given: Json, usual: tuple[AdditionKind, ...]) -> dict[str, System]:
        own = System(REGISTER, stale_after=timedelta(0), write_back=usual)
        if given is not None and not isinstance(given, dict):
            self._wrong(
                ("systems",), "systems is a mapping: under each name what speaks to it, and where it is"
            )
            return {REGISTER: own}
        found = {REGISTER: own}
        for name, value in (given or {}).items():
            system = self._system(name, value, usual)
            if system is not None:
                found[name] = system
        return found

    def _system(self, name: str, given: Json, usual: tuple[AdditionKind, ...]) -> System | None:
        where: ValuePath = ("systems", name)
        if not _NAME.fullmatch(name):
            self._wrong(where, f"name {name!r} must be lower case letters, digits, '_' or '-'", at_key=True)
        if name == REGISTER:
            self._wrong(where, f"{REGISTER!r} is mimrun's own register; choose another name", at_key=True)
            return None
        if not isinstance(given, dict):
            self._wrong(where, "a change system is a mapping with its adapter and its url")
            return None
        adapter = self._adapter(where, given)
        stale = self._time(where, given, "stale_after", STALE_AFTER, lowest=1, highest=3600)
        write_back = self._write_back((*where, "write_back"), given, usual)
        settings = self._settings(where, given, adapter) if adapter else None
        return System(name, adapter, settings, stale, write_back) if settings else None

    def _adapter(self, where: ValuePath, given: Mapping[str, Json]) -> type[AnyChangeSystem] | None:
        name = given.get("adapter")
        if not isinstance(name, str) or name not in self.adapters:
            hint = f"installed are: {', '.join(self.adapters) or 'none'}"
            said = "the key 'adapter' is missing" if name is None else f"there is no adapter {name!r}"
            self._wrong((*where, "adapter"), said, hint)
            return None
        try:
            return self.adapters[name]
        except ImportError as exc:
            self._wrong((*where, "adapter"), f"adapter {name!r} cannot be loaded: {exc}")
            return None

    def _settings(
        self, where: ValuePath, given: Mapping[str, Json], adapter: type[AnyChangeSystem]
    ) -> ChangeSystemSettings | None:
        rest = {key: value for key, value in given.items() if key not in _OWN}
        try:
            return adapter.Settings.model_validate(rest)
        except ValidationError as exc:
            # Besides the adapter's own keys those stand there that every system may have.
            self.problems += problems_of(exc, self.document, where, adapter.Settings, besides=_OWN)
            return None

    def _write_back(
        self, where: ValuePath, given: Mapping[str, Json], usual: tuple[AdditionKind, ...]
    ) -> tuple[AdditionKind, ...]:
        value = given.get("write_back")
        if value is None:
            return usual
        allowed = get_args(AdditionKind)
        if not isinstance(value, list) or not all(one in allowed for one in value):
            self._wrong(where, "write_back is a list of what is written", f"of {', '.join(allowed)}")
            return usual
        return tuple(kind for kind in allowed if kind in value)

    def _time(
        self,
        where: ValuePath,
        given: Mapping[str, Json],
        key: str,
        usual: timedelta,
        *,
        lowest: int,
        highest: int = 7 * 86_400,
    ) -> timedelta:
        if given.get(key) is None:
            return usual
        try:
            found = timedelta(milliseconds=parse_duration(given[key]))
        except ValueError as exc:
            self._wrong((*where, key), f"{key}: {exc}")
            return usual
        if not lowest <= found.total_seconds() <= highest:
            self._wrong((*where, key), f"{key}: give {lowest}s to {highest}s")
        return found

    def _wrong(self, where: ValuePath, message: str, hint: str = "", *, at_key: bool = False) -> None:
        self.problems.append(self.document.problem(where, message, hint, at_key=at_key))
