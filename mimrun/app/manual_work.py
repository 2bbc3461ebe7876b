"""Manual work: what people noted, did with their own hands and attached, in the log of its incident."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mimrun.app.attachments import Attachment
from mimrun.app.home import Home
from mimrun.app.identity import Identity
from mimrun.app.incident.view import find_state, newest_incident
from mimrun.app.runs import find_run, list_runs
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
        assumed: why it is that one, where nobody named it.
    """

    incident: str
    run: str = ""
    assumed: str = ""

    def describe(self) -> str:
        """Say it in words, and aloud where it was assumed."""
        if self.run:
            return f"{self.incident}, {self.run}"
        return f"{self.incident}, {self.assumed}" if self.assumed else self.incident


def find_place(home: Home, incident: str | None, run: str | None) -> Place:
    """Say what manual work belongs to: what is named, else the incident that was declared, or had a run, last.

    Arguments:
        incident: its name, the beginning of it, or `latest`.

    Raises:
        InputError: there is no such incident or run, they do not belong together, or there is no incident at all.
    """
    named = find_state(home, incident).name if incident else ""
    if run:
        summary = find_run(home, run).summary
        if named and named != summary.incident:
            raise InputError(
                f"{summary.run} belongs to {summary.incident}, not to {named}; give one of the two"
            )
        return Place(summary.incident, summary.run)
    if named:
        return Place(named)
    ran, declared = next(iter(list_runs(home)), None), newest_incident(home)
    if declared is not None and (ran is None or declared.opened > ran.summary.first_seq):
        return Place(declared.name, assumed="the newest incident")
    if ran is None:
        raise InputError(
            "there is no incident yet that this could belong to: begin with `mimrun incident declare TITLE`, or with"
            " `mimrun run RUNBOOK`, which opens one (`mimrun runbook list` shows which there are); then say it again"
        )
    return Place(ran.summary.incident, assumed="the incident of the newest run")


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
