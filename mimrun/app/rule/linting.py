"""Lint of rules for people: each file by itself, against the library, and against the other files of the home."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

from mimrun.app.rule.loading import RuleFile, examine_all, examine_file, examine_limits
from mimrun.app.rules import RULE
from mimrun.errors import InputError, SettingsError
from mimrun.incident.assessment_file import load_table
from mimrun.incident.rule import Rule
from mimrun.incident.source_file import load_sources
from mimrun.runbook.document import ValuePath, read_bytes, read_document
from mimrun.runbook.finding import Finding, Level
from mimrun.runbook.suggestion import suggest
from mimrun.settings import Settings

Said: TypeAlias = tuple[Level, ValuePath, str, str]


def lint_home(settings: Settings) -> list[Finding]:
    """Say everything that is wrong with the rules of a home, and what somebody may regret."""
    try:
        files = examine_all(settings)
    except SettingsError as exc:
        return [Finding(one, Level.ERROR) for one in exc.problems]
    found = [one for file in files for one in file.findings]
    for file in files:
        if file.rules:
            path = settings.rules / file.name.removeprefix(RULE)
            found += _around(settings, path, read_bytes(path, error=SettingsError), file)
    return sorted(found + [Finding(one, Level.ERROR) for one in examine_limits(settings)[1]])


def lint_files(settings: Settings, paths: Sequence[Path]) -> list[Finding]:
    """Say what is wrong with files that are not in force, or not yet.

    Raises:
        InputError: one cannot be read.
    """
    found: list[Finding] = []
    for path in paths:
        content = read_bytes(path, error=InputError)
        file = examine_file(f"{RULE}{path.name}", path, content)
        found += [*file.findings, *_around(settings, path, content, file)]
    return sorted(found)


def _around(settings: Settings, path: Path, content: bytes, file: RuleFile) -> Iterator[Finding]:
    """Hold the rules of a file against the other files of the home."""
    if not file.rules:
        return
    document = read_document(content, str(path), error=SettingsError)
    for number, rule in enumerate(file.rules):
        for level, place, message, hint in (
            *_inventory(settings, rule),
            *_sources(settings, rule),
            *_flags(settings, rule),
        ):
            yield Finding(document.problem(("rules", number, *place), message, hint), level)


def _inventory(settings: Settings, rule: Rule) -> Iterator[Said]:
    for at, path in enumerate(rule.inventory):
        if "," not in path and not (settings.home / path).exists():
            hint = f"a path from {settings.home}"
            yield Level.ERROR, ("inventory", at), f"the inventory {path} is not there", hint


def _sources(settings: Settings, rule: Rule) -> Iterator[Said]:
    try:
        sources = load_sources(settings.alerts)
    except SettingsError:
        return  # `mimrun alert lint` says what is wrong with it
    for name in rule.match.source.one_of if rule.match.source is not None else ():
        if name not in sources.by_name:
            hint = suggest(name, sources.by_name)
            yield Level.WARNING, ("match", "source"), f"alerts.yaml has no source {name!r}", hint
        elif rule.action == "launch" and name not in sources.launchable():
            hint = "write `may_launch: true` there, or `action: propose` here"
            yield Level.WARNING, ("action",), f"{name} may not launch anything by alerts.yaml", hint


def _flags(settings: Settings, rule: Rule) -> Iterator[Said]:
    try:
        known = load_table(settings.incidents).every_flag
    except SettingsError:
        return  # `mimrun incident table` says what is wrong with it
    for at, flag in enumerate(rule.incident.flags if rule.incident is not None else ()):
        if flag not in known:
            yield Level.ERROR, ("incident", "flags", at), f"there is no flag {flag!r}", suggest(flag, known)
