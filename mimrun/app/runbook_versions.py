"""Versions of runbooks: those in the library, and those that ran, whose text the log keeps as it was."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mimrun.app.home import Home
from mimrun.app.runbooks import whole_library
from mimrun.errors import BlobKeyError, ErasedError, InputError, RunbookError
from mimrun.log.entry import LogEntry
from mimrun.log.kinds import Kind, PlanFrozen
from mimrun.run.record.published import PublishedVersions
from mimrun.run.record.summary import RunSummaries, RunSummary
from mimrun.runbook.library import version_key
from mimrun.runbook.loader import LoadedRunbook, parse_runbook

_RESULTS: Final = 10


@dataclass(frozen=True, slots=True)
class RunbookVersion:
    """One version of a runbook.

    Arguments:
        digest: of its text; of one that ran and is in the library with other content, that of the log.
        file: where it is in the library, or "".
        ran: the log has it.
        differs: the library has other content under this version, which is refused.
    """

    version: str
    digest: str
    file: str
    ran: bool
    differs: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """A run of a runbook, as far as a list shows it."""

    run: str
    version: str
    status: str
    at: str
    by: str
    incident: str


def versions_of(
    home: Home, name: str, library: Iterable[LoadedRunbook] | None = None
) -> list[RunbookVersion]:
    """Give every version of a runbook that is known, the newest first.

    Arguments:
        library: the runbooks of the library, where they are at hand.
    """
    loaded = whole_library().runbooks if library is None else library
    there = {one.runbook.version: one for one in loaded if one.runbook.name == name}
    ran = {
        key.partition("@")[2]: digest.decode()
        for key, digest in home.store.projections(PublishedVersions.name, f"{name}@")
        if digest
    }
    found = []
    for version in sorted({*there, *ran}, key=version_key, reverse=True):
        file = there[version].file if version in there else ""
        own = there[version].digest if version in there else ""
        digest = ran.get(version, own)
        found.append(RunbookVersion(version, digest, file, version in ran, bool(own) and own != digest))
    return found


def runbook_text(home: Home, name: str, version: str) -> bytes:
    """Give the text of a version: of one that ran, as it ran.

    Raises:
        RunbookError: there is no such version.
        InputError: its text is not kept.
        ErasedError: two people had it erased.
    """
    known = next((one for one in versions_of(home, name) if one.version == version), None)
    if known is None:
        raise RunbookError(f"no version {version!r} of the runbook {name!r} is known")
    if known.file and not known.differs:
        return Path(known.file).read_bytes()
    return _from_log(home, f"{name}@{version}", known.digest)


def load_version(home: Home, name: str, version: str) -> LoadedRunbook:
    """Read a version of a runbook; see `runbook_text`.

    Raises:
        RunbookError: it cannot be read any more: the language has changed since.
    """
    return parse_runbook(runbook_text(home, name, version), f"{name}@{version}")


def results_of(home: Home, name: str) -> list[Result]:
    """Give the last runs of a runbook, the newest first."""
    found = [
        summary
        for _, state in home.store.projections(RunSummaries.name)
        if (summary := RunSummary.decode(state)).run and summary.runbook == name
    ]
    newest = sorted(found, key=lambda one: one.first_seq, reverse=True)[:_RESULTS]
    return [_result(home, one) for one in newest]


def last_results(home: Home) -> dict[str, list[str]]:
    """Give how the last runs of every runbook ended or stand, by its name, the newest first."""
    found: dict[str, list[RunSummary]] = {}
    for _, state in home.store.projections(RunSummaries.name):
        summary = RunSummary.decode(state)
        if summary.run:
            found.setdefault(summary.runbook, []).append(summary)
    return {
        name: [one.status.value for one in sorted(runs, key=lambda one: one.first_seq, reverse=True)[:5]]
        for name, runs in found.items()
    }


def _result(home: Home, summary: RunSummary) -> Result:
    body = home.store.entry(summary.plan_seq).body if summary.plan_seq else None
    version = body.version if isinstance(body, PlanFrozen) else ""
    return Result(
        summary.run,
        version,
        summary.status.value,
        summary.created_at,
        summary.launched_by,
        summary.incident,
    )


def _from_log(home: Home, named: str, digest: str) -> bytes:
    gone = ""
    for entry in home.store.entries(kinds={Kind.PLAN_FROZEN}):
        if not isinstance(entry.body, PlanFrozen) or entry.body.runbook_digest != digest:
            continue
        try:
            text = _sources(home, entry).get(digest)
        except (ErasedError, BlobKeyError) as exc:
            gone = str(exc)
            continue
        if text is not None:
            return text.encode()
    raise InputError(f"the text of {named} is not kept: {gone or 'it ran before runbooks were recorded'}")


def _sources(home: Home, entry: LogEntry) -> dict[str, str]:
    sources: dict[str, str] = json.loads(home.store.blob(entry, "runbooks") or b"{}")
    return sources
