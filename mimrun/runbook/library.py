"""The library: a folder of runbooks, found by name and version."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mimrun.errors import Problem, RunbookError
from mimrun.runbook.loader import Check, LoadedRunbook, load_runbook
from mimrun.runbook.suggestion import suggest

SUFFIXES: Final = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class Library:
    """The runbooks of one or more folders.

    Arguments:
        runbooks: those that load, sorted by stage, name and version.
        broken: the problems of those that do not, by file.
    """

    runbooks: tuple[LoadedRunbook, ...]
    broken: Mapping[Path, tuple[Problem, ...]]

    def find(self, reference: str) -> LoadedRunbook:
        """Give a runbook by name, or by `name@version`; by name alone, its highest version.

        Raises:
            RunbookError: there is none, or its file cannot be read.
        """
        name, _, version = reference.partition("@")
        named = [loaded for loaded in self.runbooks if loaded.runbook.name == name]
        matching = [loaded for loaded in named if not version or loaded.runbook.version == version]
        if matching:
            return max(matching, key=lambda loaded: version_key(loaded.runbook.version))
        if named:
            there = ", ".join(sorted((x.runbook.version for x in named), key=version_key))
            raise RunbookError(f"no version {version!r} of the runbook {name!r}; there is {there}")
        for path, problems in self.broken.items():
            if path.stem.partition("@")[0] == name:
                raise RunbookError(problems=problems)
        hint = suggest(name, (loaded.runbook.name for loaded in self.runbooks))
        raise RunbookError(f"no runbook {name!r}; {hint or 'the library is empty'}")


def open_library(folders: Iterable[Path], also: Check | None = None) -> Library:
    """Read every runbook below some folders: `<stage>/<name>.yaml`.

    Arguments:
        folders: where to look; what is hidden is passed over, and a folder that is not there has none.
        also: asked about the sound steps of a runbook that is wrong elsewhere.
    """
    return _read(_files(folders), also)


def _read(files: Iterable[Path], also: Check | None) -> Library:
    loaded: list[LoadedRunbook] = []
    broken: dict[Path, tuple[Problem, ...]] = {}
    for path in files:
        try:
            found = load_runbook(path, also)
        except RunbookError as exc:
            broken[path] = exc.problems or (Problem(str(path), 0, 0, str(exc)),)
            continue
        problem = _misnamed(found, path) or _twice(found, loaded)
        if problem is not None:
            broken[path] = (problem,)
            continue
        loaded.append(found)
    loaded.sort(key=lambda x: (x.runbook.stage, x.runbook.name, version_key(x.runbook.version)))
    return Library(tuple(loaded), broken)


def find_runbook(reference: str, folders: Iterable[Path], also: Check | None = None) -> LoadedRunbook:
    """Give the runbook that a person names: by the path of its file, by name, or by `name@version`.

    Arguments:
        reference: what has a slash or ends in .yaml or .yml is a path.
        folders: the library.
        also: asked about the sound steps of a runbook that is wrong elsewhere.

    Raises:
        RunbookError: there is none, or it cannot be read.
    """
    if "/" in reference or reference.endswith(SUFFIXES):
        return load_runbook(Path(reference), also)
    name = reference.partition("@")[0]
    files = _files(folders)
    # A file is called like its runbook, so that those are read and not the whole library.
    near = [path for path in files if path.stem.partition("@")[0] == name]
    return _read(near or files, also).find(reference)


def includes_from(folders: Iterable[Path]) -> Callable[[str], LoadedRunbook]:
    """Give what finds the runbooks that others include: each pinned, and each file read once.

    Arguments:
        folders: the library.
    """
    folders, known = tuple(folders), dict[str, LoadedRunbook]()

    def find(reference: str) -> LoadedRunbook:
        if reference not in known:
            known[reference] = find_runbook(reference, folders)
        return known[reference]

    return find


def check_published(name: str, version: str, digest: str, published: Mapping[str, str]) -> None:
    """Refuse a version that was used before with other content.

    Arguments:
        digest: of the file that is about to be used.
        published: the digest of every version that was ever used, by `name@version`.

    Raises:
        RunbookError: the version is known with another digest.
    """
    known = published.get(f"{name}@{version}")
    if known is not None and known != digest:
        raise RunbookError(
            f"{name}@{version} was used before with other content ({known[:19]}, now {digest[:19]}); "
            "a version never changes: give the file a new version"
        )


def version_key(version: str) -> tuple[tuple[int, ...], bool, str]:
    """Give what versions are sorted by; a pre-release (`1.2.0-rc1`) comes before its release."""
    numbers, _, extra = version.partition("-")
    return tuple(int(part) for part in numbers.split(".")), not extra, extra


def _files(folders: Iterable[Path]) -> list[Path]:
    found: dict[Path, None] = {}
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
            if path.suffix in SUFFIXES and not hidden and path.is_file():
                found[path] = None
    return list(found)


def _misnamed(loaded: LoadedRunbook, path: Path) -> Problem | None:
    name = loaded.runbook.name
    if path.stem in (name, f"{name}@{loaded.runbook.version}"):
        return None
    return loaded.problem(
        ("name",), f"the file is not called like the runbook {name!r}", f"call it {name}.yaml"
    )


def _twice(loaded: LoadedRunbook, others: Iterable[LoadedRunbook]) -> Problem | None:
    mine = loaded.runbook
    for other in others:
        if (other.runbook.name, other.runbook.version) == (mine.name, mine.version):
            return loaded.problem(("version",), f"{mine.name}@{mine.version} is in {other.file} too")
    return None
