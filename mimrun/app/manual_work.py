"""Manual work: what people noted, did with their own hands and attached, in the log of its incident."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mimrun.app.attachments import Attachment
from mimrun.app.home import Home
from mimrun.app.identity import Identity
from mimrun.app.runs import find_run, require_incident
from mimrun.errors import InputError
from mimrun.log.entry import Blob, Draft, LogEntry
from mimrun.log.field import TITLE_LENGTH
from mimrun.log.kinds import Body, IncidentNote, ManualReported

LONGEST: Final = 1024 * 1024
"""Bytes of a text; what is longer is attached as a file."""


@dataclass(frozen=True, slots=True)
class Place:
    """What manual work belongs to.

    Arguments:
        incident: always there.
        run: the run of it that is meant, or "".
        assumed: nobody named it: it is the incident of the newest run.
    """

    incident: str
    run: str = ""
    assumed: bool = False

    def describe(self) -> str:
        """Say it in words, and aloud where it was assumed."""
        if self.run:
            return f"{self.incident}, {self.run}"
        return f"{self.incident}, the incident of the newest run" if self.assumed else self.incident


def find_place(home: Home, incident: str | None, run: str | None) -> Place:
    """Say what manual work belongs to: what is named, else the incident of the newest run.

    Raises:
        InputError: there is no such incident or run, they do not belong together, or there is no incident at all.
    """
    if run:
        summary = find_run(home, run).summary
        if incident and incident != summary.incident:
            raise InputError(
                f"{summary.run} belongs to {summary.incident}, not to {incident}; give one of the two"
            )
        return Place(summary.incident, summary.run)
    if incident:
        require_incident(home, incident)
        return Place(incident)
    try:
        newest = find_run(home, "latest")
    except InputError as exc:
        raise InputError(
            "there is no incident yet that this could belong to: a run opens one; begin with `mimrun run RUNBOOK`"
            " (`mimrun runbook list` shows which there are), then say it again"
        ) from exc
    return Place(newest.summary.incident, assumed=True)


@dataclass(frozen=True, slots=True)
class Report:
    """Work that was done outside of a runbook.

    Arguments:
        text: what was done.
        at: when, with a zone.
        target: the host it was done on, or "".
    """

    text: str
    at: datetime
    target: str = ""


def write_note(
    home: Home, identity: Identity, place: Place, text: str, files: Sequence[Attachment] = ()
) -> tuple[LogEntry, ...]:
    """Record a note, and the files that go with it, all or nothing.

    Arguments:
        text: with secrets already masked.

    Raises:
        InputError: the note is empty or too long.
        StoreError: the log cannot be written.
    """
    blob = _text_blob(text)
    return _append(home, identity, place, [(IncidentNote(), (blob,), ""), *_attached(files)])


def report_work(
    home: Home, identity: Identity, place: Place, report: Report, files: Sequence[Attachment] = ()
) -> tuple[LogEntry, ...]:
    """Record work done outside of a runbook: the entry says when it was done, and its own time when that was said.

    Raises:
        InputError: nothing is said, or too much.
        StoreError: the log cannot be written.
    """
    blob = _text_blob(report.text)
    first = report.text.strip().splitlines()[0].strip()
    whole = first == report.text.strip() and len(first) <= TITLE_LENGTH
    body = ManualReported(title=first, at=report.at)
    work = (body, () if whole else (blob,), report.target)
    return _append(home, identity, place, [work, *_attached(files, target=report.target)])


def attach_files(
    home: Home, identity: Identity, place: Place, files: Sequence[Attachment], text: str = ""
) -> tuple[LogEntry, ...]:
    """Record that files belong to an incident, all or nothing.

    Arguments:
        text: what they show, or "".

    Raises:
        StoreError: the log cannot be written.
    """
    said = (_text_blob(text),) if text.strip() else ()
    return _append(home, identity, place, _attached(files, said))


_Work = tuple[Body, tuple[Blob, ...], str]


def _attached(files: Sequence[Attachment], said: tuple[Blob, ...] = (), target: str = "") -> list[_Work]:
    work: list[_Work] = []
    for file in files:
        # What a file holds is neither asked nor shown; it is kept as long as what people wrote.
        content = (Blob("content", file.content, "text"),) if file.content is not None else ()
        work.append((file.body(), (*content, *said), target))
    return work


def _append(home: Home, identity: Identity, place: Place, work: Sequence[_Work]) -> tuple[LogEntry, ...]:
    actor = identity.actor()
    drafts = [
        Draft(actor, body, inc=place.incident, run=place.run, target=target, blobs=blobs)
        for body, blobs, target in work
    ]
    return home.store.append(drafts)


def _text_blob(text: str) -> Blob:
    data = text.strip().encode("utf-8", "backslashreplace")
    if not data:
        raise InputError("there is nothing to write down; give some words")
    if len(data) > LONGEST:
        raise InputError(f"this has {len(data)} bytes and {LONGEST} is the most; attach it as a file")
    return Blob("text", data, "text")
