"""The scribe: writes what happens in a run to its change record, each fact once, and never in the way of the run.

What is written is on record before it is asked for. A system that is away, or says no, is asked again later; whether
a lost answer was a yes is told by the key that stands in the text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from mimrun.app.append import append_unless
from mimrun.app.change.additions import TELLING, Scene, additions
from mimrun.app.change.file import ChangesFile
from mimrun.app.change.making import make_record, settle, written
from mimrun.app.change.systems import SCRIBE, speaking
from mimrun.app.home import Home
from mimrun.change_system import Addition
from mimrun.errors import ConnectorError, ErasedError, LeaseError, SettingsError
from mimrun.gate.change_link import RunChange, Writing, all_changes, change_of
from mimrun.log.entry import Blob, Draft, LogEntry
from mimrun.log.kinds import ChangeWriting, ChangeWritten
from mimrun.log.moment import read_moment, write_moment
from mimrun.log.store import View
from mimrun.run.record.summary import RunSummaries, RunSummary

FIRST_PAUSE: Final = timedelta(seconds=5)
LONGEST_PAUSE: Final = timedelta(minutes=10)
"""How long an addition rests that did not get through; twice as long each time."""
_LEASE: Final = "changes"


@dataclass(frozen=True, slots=True)
class Written:
    """What came of one try.

    Arguments:
        name: of the record, with its system.
        what: was to be written.
        done: it is there.
        reason: why not.
    """

    run: str
    name: str
    what: str
    done: bool
    reason: str = ""


@dataclass(slots=True)
class Looked:
    """How far each run has been looked through, to save looking twice."""

    until: dict[str, int] = field(default_factory=dict)


def write_due(
    home: Home, file: ChangesFile, looked: Looked | None = None, *, run: str = "", now: datetime | None = None
) -> list[Written]:
    """Announce what is to be written to change records, and write what is due.

    Arguments:
        run: only for this run.
        now: the present moment; a later one writes also what still rests.

    Returns:
        what came of each try; nothing where another process is about it.

    Raises:
        LogError: the log cannot be read or written.
    """
    looked, now = looked or Looked(), now or home.clock()
    links = [change_of(home.store, run)] if run else all_changes(home.store)
    if not any(link.run for link in links):
        return []
    try:
        with home.leases.take(_LEASE):
            tried: list[Written] = []
            for link in links:
                announce(home, file, link, looked)
                tried += _deliver(home, file, link.run, now)
            return tried
    except LeaseError:
        return []


def announce(home: Home, file: ChangesFile, link: RunChange, looked: Looked) -> None:
    """Put on record what is to be written next about a run; all of it at once, in order."""
    if not link.is_linked or link.system not in file.systems:
        return
    after = max(link.told, looked.until.get(link.run, 0))
    summary = RunSummary.decode(home.store.projection(RunSummaries.name, link.run))
    if summary.last_seq <= after:
        return
    found = list(additions(_entries(home, link, after), _scene(file, link, summary)))
    drafts = [_announcement(link, addition) for _, addition in found]
    if drafts and not _append(home, link, drafts):
        return
    looked.until[link.run] = summary.last_seq


def _entries(home: Home, link: RunChange, after: int) -> Iterator[LogEntry]:
    return home.store.entries(run=link.run, after=after, kinds=TELLING)


def _scene(file: ChangesFile, link: RunChange, summary: RunSummary) -> Scene:
    return Scene(
        run=link.run,
        incident=link.incident,
        name=link.name,
        linked=link.linked,
        began=link.began,
        notes=link.notes,
        title=summary.title,
        url=file.run_url.replace("{run}", link.run),
        wanted=file.systems[link.system].write_back,
    )


def _announcement(link: RunChange, addition: Addition) -> Draft:
    body = ChangeWriting(system=link.system, ref=link.ref, what=addition.what, key=addition.key)
    told = {name: getattr(addition, name) for name in ("text", "url", "successful")}
    told["at"] = write_moment(addition.at) if addition.at else ""
    blob = Blob("text", json.dumps(told, sort_keys=True).encode("utf-8", "backslashreplace"), "text")
    return Draft(SCRIBE, body, inc=link.incident, run=link.run, blobs=(blob,))


def _append(home: Home, link: RunChange, drafts: list[Draft]) -> bool:
    def late(view: View) -> bool:
        now = change_of(view, link.run)
        return (now.told, now.name) != (link.told, link.name)

    return bool(append_unless(home, drafts, late))


def _deliver(home: Home, file: ChangesFile, run: str, now: datetime) -> list[Written]:
    """Write what is due for a run, in order: behind one that does not get through, the rest waits."""
    tried: list[Written] = []
    for writing in change_of(home.store, run).under_way:
        if _rests(writing, now):
            break
        link = change_of(home.store, run)
        if writing.what == "create":
            done = make_record(home, file, link, writing)
            left = next((one for one in change_of(home.store, run).under_way if one.seq == writing.seq), None)
            reason = left.reason if left else ""
        else:
            done, reason = _write(home, file, link, writing)
        tried.append(Written(run, f"{writing.system}:{writing.ref}", writing.what, done, reason))
        if not done and any(one.seq == writing.seq for one in change_of(home.store, run).under_way):
            break
    return tried


def _rests(writing: Writing, now: datetime) -> bool:
    """Say whether an addition that did not get through is left alone for now."""
    if not writing.attempts:
        return False
    pause = min(FIRST_PAUSE * (1 << min(writing.attempts - 1, 10)), LONGEST_PAUSE)
    return now < read_moment(writing.at) + pause


def _write(home: Home, file: ChangesFile, link: RunChange, writing: Writing) -> tuple[bool, str]:
    try:
        addition = _addition(home, writing)
        with speaking(home, file.system(writing.system)) as conversation:
            added = conversation.add(writing.ref, addition)
    except (ConnectorError, SettingsError, ErasedError) as exc:
        settle(home, link, writing, [written(link, writing, exc)])
        return False, str(exc)
    body = ChangeWritten(
        writing=writing.seq,
        status="already" if added.already else "done",
        reason=added.detail,
        attempt=writing.attempts + 1,
    )
    settle(home, link, writing, [Draft(SCRIBE, body, inc=link.incident, run=link.run)])
    return True, added.detail


def _addition(home: Home, writing: Writing) -> Addition:
    """Read back what was announced."""
    told = json.loads(home.store.blob(home.store.entry(writing.seq), "text") or b"{}")
    at = told.pop("at")
    return Addition(
        what=writing.what,  # type: ignore[arg-type]
        key=writing.key,
        at=read_moment(at) if at else None,
        **told,
    )
