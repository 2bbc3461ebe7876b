"""The rules on the record: what people, policy, calendars and the other rules files said when somebody decided.

Whoever first decides with a changed file appends its content. So the log shows by which rules each decision was
made, also when the file was changed since.
"""

from __future__ import annotations

import difflib
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import JsonValue

from mimrun import canonical
from mimrun.app.append import append_unless
from mimrun.app.home import Home
from mimrun.errors import ErasedError, InputError
from mimrun.gate.calendar_file import calendar_files
from mimrun.gate.rules import InForce, RulesInForce
from mimrun.incident.rule_file import LIMITS_FILE, is_nameable, rule_files
from mimrun.log.entry import MAX_BLOB, Actor, Blob, Draft, LogEntry
from mimrun.log.kinds import Kind, RulesRecorded
from mimrun.log.moment import write_moment
from mimrun.log.store import Store, View
from mimrun.settings import Settings

CALENDAR: Final = "calendars/"
"""How the name of a calendar begins among the rules files."""

RULE: Final = "rules/"
"""How the name of a file that says what alerts lead to begins among them."""


_digests: dict[Path, tuple[tuple[int, int, int], str]] = {}
"""By file, how it looked when its digest was taken, and the digest."""


def note_rules(home: Home, actor: Actor) -> list[str]:
    """Record each rules file that says something else than it was recorded with; cheap where none does.

    Call it where somebody decides, before the decision is recorded.

    Arguments:
        actor: who decides.

    Returns:
        the names of the files that were recorded.

    Raises:
        StoreError: the log cannot be written.
    """
    files = rules_files(home.settings)
    noted = [name for name, file in files.items() if _note(home, actor, name, file)]
    return noted + [name for name in _gone(home, files) if _note(home, actor, name, None)]


def rules_files(settings: Settings) -> dict[str, Path]:
    """Give the rules files by the name under which they are recorded; those that are not there as well.

    A name that cannot be recorded keeps nobody from what they do.
    """
    files = {
        "people": settings.people,
        "policy": settings.policy,
        "incidents": settings.incidents,
        "changes": settings.changes,
        "allowed_signers": settings.allowed_signers,
        "notices": settings.notices,
        "alerts": settings.alerts,
    }
    for prefix, folder, listed in (
        (CALENDAR, settings.calendars, calendar_files),
        (RULE, settings.rules, rule_files),
    ):
        with suppress(OSError):
            files |= {f"{prefix}{file.name}": file for file in listed(folder) if is_nameable(file.name)}
    return files | {f"{RULE}{LIMITS_FILE}": settings.rules / LIMITS_FILE}


def _mark(file: Path) -> tuple[int, int, int]:
    try:
        stat = file.stat()
    except OSError:
        return (0, 0, 0)
    return (stat.st_mtime_ns, stat.st_ino, stat.st_size)


def _gone(home: Home, files: Mapping[str, Path]) -> list[str]:
    """Give the calendars, and the rules for alerts, that are on record and not there any more."""
    return [name for prefix in (CALENDAR, RULE) for name in recorded_files(home, prefix) if name not in files]


def _note(home: Home, actor: Actor, name: str, file: Path | None) -> bool:
    was = _in_force(home.store, name)
    if was.digest == _digest(file) or (not was.digest and not _content(file)):
        return False
    return note_content(home, actor, name, _content(file))


def note_content(home: Home, actor: Actor, name: str, content: bytes) -> bool:
    """Record what a rules file says, unless that is on record already; says whether it was recorded.

    Arguments:
        name: as `rules_files` has it.

    Raises:
        StoreError: the log cannot be written.
    """
    was = _in_force(home.store, name)
    if was.digest == canonical.digest_bytes(content) or (not was.digest and not content):
        return False
    body = RulesRecorded(file=name, digest=canonical.digest_bytes(content), size=len(content))
    draft = Draft(actor, body, blobs=(Blob("content", content[:MAX_BLOB], "text"),))
    # Whoever was quicker has read what is newer, or the same.
    return bool(append_unless(home, [draft], lambda view: _in_force(view, name) != was))


def _digest(file: Path | None) -> str:
    """Give the digest of a file, which is only taken again when the file looks otherwise."""
    if file is None:
        return canonical.digest_bytes(b"")
    mark = _mark(file)
    known = _digests.get(file)
    if known is None or known[0] != mark:
        known = _digests[file] = (mark, canonical.digest_bytes(_content(file)))
    return known[1]


def _content(file: Path | None) -> bytes:
    """Give the content of a file; b"" where there is none, or none that can be read."""
    if file is None:
        return b""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return b""
    with os.fdopen(descriptor, "rb") as opened:
        try:
            return opened.read(MAX_BLOB + 1)
        except OSError:
            return b""


def _in_force(view: Store | View, name: str) -> InForce:
    return InForce.model_validate_json(view.projection(RulesInForce.name, name))


@dataclass(frozen=True, slots=True)
class Version:
    """One content of a rules file that decisions followed.

    Arguments:
        number: 1 is the first one of this file.
        by: who decided first by it.
        gone: the file was taken away.
    """

    file: str
    number: int
    seq: int
    at: str
    by: str
    digest: str
    size: int

    @property
    def gone(self) -> bool:
        """Say whether the file was taken away then."""
        return self.size == 0

    def as_json(self) -> dict[str, JsonValue]:
        """The version for `--json`."""
        return {
            "file": self.file,
            "number": self.number,
            "seq": self.seq,
            "at": self.at,
            "by": self.by,
            "digest": self.digest,
            "size": self.size,
            "gone": self.gone,
        }


def list_versions(home: Home, file: str = "") -> list[Version]:
    """Give every recorded version of the rules files, or of one of them, the oldest first."""
    return [version for version, _ in _versions(home, file)]


def recorded_contents(home: Home, file: str) -> Iterator[tuple[str, bytes]]:
    """Give everything that a rules file ever said, as far as it is on record, the newest first, and who recorded it."""
    for version, entry in reversed(list(_versions(home, file))):
        with suppress(ErasedError):
            yield version.by, home.store.blob(entry, "content") or b""


def recorded_files(home: Home, prefix: str) -> list[str]:
    """Give the rules files that are on record and were not taken away, of those whose name begins so."""
    recorded = home.store.projections(RulesInForce.name, prefix)
    return [name for name, state in recorded if InForce.model_validate_json(state).size]


def _versions(home: Home, file: str) -> Iterator[tuple[Version, LogEntry]]:
    counts: dict[str, int] = {}
    for entry in home.store.entries(kinds={Kind.RULES_RECORDED}):
        body = entry.body
        if isinstance(body, RulesRecorded) and file in ("", body.file):
            counts[body.file] = number = counts.get(body.file, 0) + 1
            at, by = write_moment(entry.ts), entry.actor.id
            yield Version(body.file, number, entry.seq, at, by, body.digest, body.size), entry


def compare_versions(home: Home, file: str, first: int | None = None, second: int | None = None) -> list[str]:
    """Give what differs between two versions of a rules file, as lines of a unified diff.

    Arguments:
        first: the number of the older one; the last but one where left out.
        second: the newer one; the last where left out.

    Raises:
        InputError: there is no such version, or its content was erased.
    """
    known = {version.number: (version, entry) for version, entry in _versions(home, file)}
    if not known:
        names = ", ".join(sorted({version.file for version in list_versions(home)})) or "none yet"
        raise InputError(f"nothing of {file!r} is on record; on record are: {names}")
    newer = second or max(known)
    older = first if first is not None else newer - 1
    texts = []
    for number in (older, newer):
        if number and number not in known:
            raise InputError(f"{file} has no version {number}; it has 1 to {max(known)}")
        texts.append(_text(home, known[number][1]) if number else "")
    titles = [_title(known[number][0]) if number else f"{file} 0" for number in (older, newer)]
    before, after = (text.splitlines() for text in texts)
    return list(difflib.unified_diff(before, after, titles[0], titles[1], lineterm=""))


def _title(version: Version) -> str:
    return f"{version.file} {version.number} ({version.at[:19]}Z)"


def _text(home: Home, entry: LogEntry) -> str:
    try:
        return (home.store.blob(entry, "content") or b"").decode("utf-8", "replace")
    except ErasedError as exc:
        raise InputError(f"entry {entry.seq}: {exc}") from exc
