"""Runbooks: where the library is, what is in it, and what lint says of one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import date
from importlib.util import find_spec
from pathlib import Path

from mimrun.catalog import Catalog, installed_catalog
from mimrun.errors import InputError, Problem, RunbookError
from mimrun.runbook.finding import Finding, Level
from mimrun.runbook.inventory import Inventory
from mimrun.runbook.library import Library, find_runbook, includes_from, open_library
from mimrun.runbook.lint import lint, lint_rest
from mimrun.runbook.lint_inner import lint_included
from mimrun.runbook.loader import LoadedRunbook
from mimrun.runbook.schema import Schema, runbook_schema

LIBRARY_VARIABLE = "MIMRUN_RUNBOOKS"


def library_folders() -> list[Path]:
    """Give where runbooks are looked for: $MIMRUN_RUNBOOKS (like PATH), else ./runbooks and those installed."""
    named = [Path(part) for part in os.environ.get(LIBRARY_VARIABLE, "").split(os.pathsep) if part]
    folders = named or [Path("runbooks"), *_installed()]
    return list({folder.resolve(): folder for folder in reversed(folders) if folder.is_dir()}.values())[::-1]


def whole_library() -> Library:
    """Give every runbook there is."""
    return open_library(library_folders())


def load_named(reference: str) -> LoadedRunbook:
    """Load a runbook by path, name or name@version.

    Raises:
        RunbookError: there is none, or it cannot be read.
    """
    return find_runbook(reference, library_folders())


def lint_all(references: Sequence[str], inventory: Inventory | None, today: date) -> list[Finding]:
    """Lint runbooks, and say everything about all of them.

    Arguments:
        references: names or paths; a folder stands for every runbook below it; none means the library.
    """
    catalog = installed_catalog()
    findings: list[Finding] = []
    for reference in references or [str(folder) for folder in library_folders()]:
        findings += _lint_one(reference, catalog, inventory, today)
    own = {one.problem for one in findings if not one.via}
    return [one for one in findings if not one.via or one.problem not in own]


def language_schema() -> Schema:
    """Give the JSON Schema of the runbook language, with the actions that are installed here."""
    return runbook_schema(installed_catalog())


def _lint_one(reference: str, catalog: Catalog, inventory: Inventory | None, today: date) -> list[Finding]:
    if Path(reference).is_dir():
        library = open_library([Path(reference)], lint_rest(catalog, inventory))
        broken = [Finding(p, Level.ERROR) for problems in library.broken.values() for p in problems]
        loaded = library.runbooks
    else:
        try:
            broken, loaded = [], (find_runbook(reference, library_folders(), lint_rest(catalog, inventory)),)
        except InputError as exc:
            problems = exc.problems or (Problem(reference, 0, 0, str(exc)),)
            return [Finding(problem, Level.ERROR) for problem in problems]
    includes = includes_from(library_folders())
    for one in loaded:
        broken += lint(one, catalog, inventory, today, includes=includes)
        broken += lint_included(one, includes, lambda inner: lint(inner, catalog, inventory))
    return broken


def _installed() -> list[Path]:
    """The library that comes with mimrun lies beside its packages, in a clone and in an installation."""
    spec = find_spec("mimrun")
    if spec is None or spec.origin is None:
        raise RunbookError("mimrun is not installed as a package; its library of runbooks cannot be found")
    return [Path(spec.origin).parent.parent / "runbooks"]
