"""Records: reading and proving the incident log."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from mimrun.app.anchor.giving import ask_anchors
from mimrun.app.checkpoints import see_that_it_goes_on
from mimrun.app.home import Home, open_home
from mimrun.app.incident.view import incident_name
from mimrun.app.runs import find_run
from mimrun.app.signed.evidence import check_bundle, check_home
from mimrun.app.signing import pinned_root
from mimrun.errors import InputError, TamperError
from mimrun.log.chain import Unreadable
from mimrun.log.entry import LogEntry
from mimrun.log.proof.note import read_vkey
from mimrun.log.proof.opened import verify_bundle
from mimrun.log.proof.signed import split_notes
from mimrun.log.proof.stored import Flaw
from mimrun.log.proof.verify import Known, Progress, Report, Trust, verify
from mimrun.settings import Settings

_UNCOMPARED: Final = "that lists and locks are read from states that are what the entries say: `mimrun log verify --states` compares them"


def select_entries(
    home: Home, *, run: str | None = None, incident: str | None = None, after: int = 0
) -> Iterator[LogEntry | Unreadable]:
    """Give entries in order, and of those that cannot be read, why.

    Raises:
        InputError: there is no such run or incident.
    """
    name = find_run(home, run).summary.run if run else None
    inc = incident_name(home, incident) if incident else None
    return home.store.readable(run=name, inc=inc, after=after)


@dataclass(frozen=True, slots=True)
class Brought:
    """What a person brings along to check a log with, as it is typed.

    Arguments:
        noted: `SIZE:ROOT`, as a run's recap or an earlier verification printed it.
        root: the vkey of the root key that must have certified the log's keys.
        keys: vkeys of the log that count.
        witnesses: vkeys of witnesses that must have signed.
        checkpoints: files of signed checkpoints that were kept elsewhere.
        unsigned: a bundle that nobody has signed will do.
        signers: a file of signers: whose keys sign decisions.
    """

    noted: str | None = None
    root: str | None = None
    keys: Sequence[str] = ()
    witnesses: Sequence[str] = ()
    checkpoints: Sequence[Path] = ()
    unsigned: bool = False
    signers: Path | None = None

    def trust(self) -> Trust:
        """Read it.

        Raises:
            InputError: something of it is not what it should be.
        """
        try:
            return Trust(
                root=read_vkey(self.root) if self.root else None,
                keys=tuple(map(read_vkey, self.keys)),
                witnesses=tuple(map(read_vkey, self.witnesses)),
                notes=tuple(note for path in self.checkpoints for note in _notes(path)),
                known=read_note(self.noted) if self.noted else None,
                unsigned=self.unsigned,
            )
        except ValueError as exc:
            raise InputError(str(exc)) from exc


def verify_log(
    settings: Settings,
    noted: str | None = None,
    *,
    brought: Brought | None = None,
    progress: Progress | None = None,
    folded: Progress | None = None,
) -> Report:
    """Check the whole log: that it is what was recorded, and goes on from what was noted earlier.

    Arguments:
        noted: `SIZE:ROOT`; the same as in `brought`.
        brought: what it is compared with. Without a root key, the one that is pinned in this home counts.
        progress: is told how many entries have been checked.
        folded: is told how many have been folded; None where states are not to be compared with the entries.

    Raises:
        InputError: what was brought is not what it should be.
        TamperError: every entry is right, and it is not the log that was seen here before.
    """
    trust = (brought or Brought(noted=noted)).trust()
    trust = trust if trust.root else replace(trust, root=pinned_root(settings))
    with open_home(settings, watched=False) as home:
        report = verify(home.store, trust=trust, progress=progress)
        if not report.flaws:
            see_that_it_goes_on(settings, home.store)
        return _judged(home, report, brought, folded)


def _judged(home: Home, report: Report, brought: Brought | None, folded: Progress | None) -> Report:
    """Check what people signed, and the states, where that is asked for; only of a log that is right."""
    if not report.flaws:
        report = replace(report, decisions=check_home(home, brought.signers if brought else None))
    return _with_states(home, report, folded)


def _with_states(home: Home, report: Report, folded: Progress | None) -> Report:
    """Compare the states with the entries, where that is asked for and these are right."""
    if folded is None or report.flaws:
        left = (
            _UNCOMPARED if folded is None else "that states are what entries say: the entries are not right"
        )
        findings = report.findings
        return replace(report, findings=replace(findings, not_proven=(*findings.not_proven, left)))
    try:
        return report.with_states(home.store.compare_states(folded))
    except TamperError as exc:
        # Every entry is what was recorded, and one of them cannot be: whoever recorded it was not mimrun.
        return replace(report, flaws=(Flaw(0, "state", f"the states cannot be compared: {exc}"),))


def verify_with_anchors(
    settings: Settings,
    brought: Brought,
    *,
    progress: Progress | None = None,
    folded: Progress | None = None,
) -> tuple[Report, tuple[str, ...]]:
    """Check the whole log as `verify_log` does, and compare it with what places outside have.

    Returns:
        the report, and the places that should have answered and did not.

    Raises:
        InputError: what was brought, anchors.yaml or the inventory is not what it should be.
        TamperError: as for `verify_log`.
    """
    trust = brought.trust()
    with open_home(settings, watched=False) as home:
        asked = ask_anchors(home)
        trust = replace(trust, root=trust.root or pinned_root(settings), kept=asked.kept)
        report = asked.added_to(verify(home.store, trust=trust, progress=progress))
        if not report.flaws:
            see_that_it_goes_on(settings, home.store)
        return _judged(home, report, brought, folded), asked.silent


def verify_file(path: Path, brought: Brought) -> Report:
    """Check an exported bundle; needs nothing but the file, and what was kept elsewhere if anything was."""
    report = verify_bundle(path, trust=brought.trust())
    return report if report.flaws else replace(report, decisions=check_bundle(path, brought.signers))


def _notes(path: Path) -> tuple[str, ...]:
    try:
        return split_notes(path.read_text("utf-8"))
    except (OSError, ValueError) as exc:
        raise InputError(f"{path} cannot be compared with: {exc}") from exc


def note_of(size: int, root: str) -> str:
    """Write what a person notes somewhere else, to prove later that these entries were there."""
    return f"{size}:{root}"


def read_note(text: str) -> Known:
    """Read what `note_of` wrote.

    Raises:
        InputError: it is written otherwise.
    """
    size, _, root = text.strip().partition(":")
    if not re.fullmatch(r"[1-9][0-9]{0,15}", size) or not re.fullmatch(r"[0-9a-f]{64}", root):
        raise InputError(f"{text!r} is not what was noted: it is SIZE:ROOT, with 64 hexadecimal characters")
    return Known(int(size), root)


def rebuild_log(settings: Settings, progress: Progress | None = None) -> bool:
    """Fold the whole log anew; True when nothing differed.

    Arguments:
        progress: is told how many entries have been folded.
    """
    with open_home(settings) as home:
        return home.store.rebuild(progress)
