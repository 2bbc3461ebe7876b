"""Runbooks: the library, one runbook with its versions, and what is different between two of them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import Annotated, Final

from fastapi import HTTPException, Query, Request
from fastapi.responses import HTMLResponse

from mimrun.app.home import Home
from mimrun.app.runbook_versions import (
    RunbookVersion,
    last_results,
    load_version,
    results_of,
    runbook_text,
    versions_of,
)
from mimrun.app.runbooks import lint_all, whole_library
from mimrun.app.shown.runbook import runbook_steps
from mimrun.runbook.finding import Finding, Level
from mimrun.runbook.loader import LoadedRunbook
from mimrun.web.acting import Acting
from mimrun.web.page import show
from mimrun.web.route import does, new_router

router: Final = new_router()

_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,79}")
Version = Query(max_length=40)
_DIFF_LINES: Final = 4000


@router.get("/runbooks")
@does("runbook list")
def library(
    request: Request,
    who: Acting,
    *,
    incident: Annotated[str, Query(max_length=64)] = "",
    text: Annotated[str, Query(max_length=100)] = "",
) -> HTMLResponse:
    """Show the library."""
    found = whole_library()
    results = last_results(who.home)
    wanted = text.casefold().split()
    rows = [
        (
            one,
            [v for v in versions_of(who.home, one.runbook.name, found.runbooks) if v.ran],
            results.get(one.runbook.name, []),
        )
        for one in _newest(found.runbooks)
        if all(
            word in f"{one.runbook.name} {one.runbook.title} {one.runbook.stage}".casefold()
            for word in wanted
        )
    ]
    broken = [str(problems[0]) for problems in found.broken.values()]
    return show(
        request,
        who,
        "runbooks.html",
        rows=rows,
        broken=broken,
        incident=incident,
        text=text,
        total=len(found.runbooks),
    )


@router.get("/runbooks/{name}")
@does("runbook show")
def runbook(
    request: Request,
    who: Acting,
    name: str,
    *,
    version: Annotated[str, Version] = "",
    incident: Annotated[str, Query(max_length=64)] = "",
) -> HTMLResponse:
    """Show a runbook: what it does, its text, what lint says, which versions there are, what came of it."""
    versions = _versions(who.home, name)
    chosen = _chosen(name, versions, version)
    loaded = load_version(who.home, name, chosen.version)
    findings = _findings(who.home, chosen)
    by_line: dict[int, list[Finding]] = {}
    for finding in findings:
        by_line.setdefault(finding.problem.line, []).append(finding)
    lines = loaded.source.decode("utf-8", "backslashreplace").removesuffix("\n").split("\n")
    return show(
        request,
        who,
        "runbook.html",
        book=loaded.runbook,
        digest=loaded.digest,
        chosen=chosen,
        versions=versions,
        sections=runbook_steps(loaded.runbook),
        lines=[(number, line, by_line.get(number, [])) for number, line in enumerate(lines, 1)],
        findings=findings,
        errors=sum(one.level is Level.ERROR for one in findings),
        results=results_of(who.home, name),
        incident=incident,
    )


@router.get("/runbooks/{name}/diff")
@does("runbook show")
def diff(
    request: Request,
    who: Acting,
    name: str,
    *,
    before: Annotated[str, Version] = "",
    after: Annotated[str, Version] = "",
) -> HTMLResponse:
    """Show what is different between two versions."""
    versions = _versions(who.home, name)
    new = _chosen(name, versions, after)
    older = versions[versions.index(new) + 1 :]
    old = _chosen(name, versions, before) if before else (older[0] if older else new)
    texts = [_text(who.home, name, one.version) for one in (old, new)]
    lines = list(_diff(*texts))
    said = {"name": name, "old": old, "new": new, "versions": versions}
    return show(
        request,
        who,
        "runbook_diff.html",
        lines=lines[:_DIFF_LINES],
        more=max(len(lines) - _DIFF_LINES, 0),
        values=said,
    )


def _newest(loaded: tuple[LoadedRunbook, ...]) -> list[LoadedRunbook]:
    """Give the highest version of each runbook, in the order of the library."""
    newest = {one.runbook.name: one for one in loaded}
    return [one for one in loaded if newest[one.runbook.name] is one]


def _versions(home: Home, name: str) -> list[RunbookVersion]:
    found = versions_of(home, name) if _NAME.fullmatch(name) else []
    if not found:
        raise HTTPException(404, f"there is no runbook {name[:80]!r}, and none of this name ever ran")
    return found


def _chosen(name: str, versions: list[RunbookVersion], version: str) -> RunbookVersion:
    chosen = next((one for one in versions if one.version == version), None) if version else versions[0]
    if chosen is None:
        raise HTTPException(
            404,
            f"no version {version!r} of {name} is known; there is {', '.join(v.version for v in versions[:10])}",
        )
    return chosen


def _findings(home: Home, chosen: RunbookVersion) -> list[Finding]:
    """Lint a version that is in the library; what only the log has is not to be mended any more.

    With which inventory it will be launched nobody knows yet, so what only an inventory can have is no error here.
    """
    if not chosen.file or chosen.differs:
        return []
    return [one for one in lint_all([chosen.file], None, home.clock().date()) if not one.via]


def _text(home: Home, name: str, version: str) -> str:
    return runbook_text(home, name, version).decode("utf-8", "backslashreplace")


def _diff(old: str, new: str) -> Iterator[tuple[str, str]]:
    kinds = {"+": "added", "-": "removed", "@": "hunk", " ": "same"}
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=4)
    for number, line in enumerate(lines):
        if number >= 2:  # the names of two files, which these are not
            yield kinds.get(line[:1], "same"), line[1:] if line[:1] != "@" else line
