"""Merging what was done with a sealed pack: its own log, proven to go on from ours, becomes part of ours."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mimrun import canonical
from mimrun.app.breakglass.glass import MERGED
from mimrun.app.breakglass.pack import settings_of_pack
from mimrun.app.change.register import Opening, open_change
from mimrun.app.home import Home, open_home
from mimrun.app.identity import Identity
from mimrun.app.naming import new_incident
from mimrun.app.runs import require_incident
from mimrun.errors import InputError, RefusedError, TamperError
from mimrun.gate.register import Content
from mimrun.log.entry import MAX_BLOB, Blob, Draft, LogEntry, decode
from mimrun.log.kinds import (
    BreakglassAsked,
    BreakglassMerged,
    BreakglassOpened,
    BreakglassPacked,
    BreakglassUnpacked,
    IncidentOpened,
    Kind,
)
from mimrun.log.merkle import root as root_of
from mimrun.log.moment import read_moment
from mimrun.log.proof.bundle import export
from mimrun.log.proof.opened import verify_bundle
from mimrun.log.proof.standalone.form import Bundle
from mimrun.log.proof.verify import Trust
from mimrun.log.store import View
from mimrun.run.record.segments import Segment, Segments


@dataclass(frozen=True, slots=True)
class Merged:
    """What was merged.

    Arguments:
        seq: the entry that has it.
        origin: the pack's own log.
        entries: how many it has.
        new: how many of them were not merged before.
        runs: names of the runs in it.
        changes: in the register, for what went past its gates there.
    """

    seq: int
    incident: str
    origin: str
    entries: int
    new: int
    runs: tuple[str, ...]
    changes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Found:
    origin: str
    root: str
    leaves: tuple[bytes, ...]
    joins: BreakglassUnpacked
    runs: tuple[str, ...]
    broken: Mapping[str, tuple[BreakglassOpened, str, str]]


def merge(
    home: Home, identity: Identity, source: Path, *, incident: str | None = None, reason: str = ""
) -> Merged:
    """Take up what a pack's own log recorded, with the proof that it goes on from this log.

    1. The segment verifies: every entry, link and signature of it.
    2. Its log begins by naming the pack, and where our log stood: the pack is one that our log sealed, and our log
       still begins with those entries.
    3. What was merged before is the beginning of what is merged now: nothing of it was changed or cut off since.
    4. It is recorded once, whole, as evidence; what it holds is not mixed with entries of our own.

    Arguments:
        source: the folder that a pack was opened in, or a bundle of its whole log.
        incident: where it belongs; it opens one where none is given.

    Raises:
        TamperError: (1), (2) or (3) does not hold; says what.
        RefusedError: there is nothing new in it, or the pack was not made from this log.
        InputError: it is neither such a folder nor a bundle, or is too large for the log; or there is no such incident.
    """
    if incident is not None:
        require_incident(home, incident)
    data = _bundle(source)
    segment = _read(data, source)
    packed = _packed(home, segment)
    known = home.store.projection(Segments.name, segment.origin)
    before = Segment.decode(known)
    _see_that_it_goes_on(home, before, segment)
    new = len(segment.leaves) - before.entries
    if not new:
        raise RefusedError(
            f"{segment.origin} is merged already, up to its end at entry {len(segment.leaves)}"
        )
    name = incident or new_incident(home.clock())
    body = BreakglassMerged(
        pack=packed.pack,
        origin=segment.origin,
        entries=len(segment.leaves),
        root=segment.root,
        bundle=canonical.digest_bytes(data),
        reason=reason,
    )
    actor = identity.actor()
    opened = (
        []
        if incident
        else [Draft(actor, IncidentOpened(title=f"Work with a sealed pack, {segment.origin}"), inc=name)]
    )
    draft = Draft(actor, body, inc=name, blobs=(Blob("segment", data, "plan"),))
    entries = home.store.append([*opened, draft], guard=_Unchanged(segment.origin, known))
    changes = _open_changes(home, identity, segment, name)
    return Merged(entries[-1].seq, name, segment.origin, len(segment.leaves), new, segment.runs, changes)


def _open_changes(home: Home, identity: Identity, segment: _Found, incident: str) -> tuple[str, ...]:
    """Open a change for each plan that went past its gates there: what must tell why is owed here, with its deadline."""
    found = []
    for run, (body, reason, by) in segment.broken.items():
        content = Content(
            type="emergency",
            title=f"{run} went past its gates with a sealed pack, by {by}: {reason}"[:200],
            risk="high",
            justification=reason,
            run=run,
            digest=body.plan,
            incident=incident,
            requested_by=by,
        )
        how = Opening(
            incident=incident,
            key=f"{MERGED}{segment.origin} {run}"[:200],
            behalf=frozenset({by}),
            retrospective=True,
            due_at=read_moment(body.due_at),
        )
        found.append(open_change(home, identity.actor(), content, how))
    return tuple(found)


def segment_entries(home: Home, seq: int) -> Iterator[LogEntry]:
    """Give the entries of a pack's own log that an entry of ours has merged.

    Raises:
        InputError: it is no such entry.
        ErasedError: two people had its content erased.
    """
    entry = home.store.entry(seq)
    if not isinstance(entry.body, BreakglassMerged):
        raise InputError(
            f"entry {seq} is {entry.kind}, and merges nothing; `mimrun breakglass packs` shows those that do"
        )
    yield from _entries(home.store.blob(entry, "segment") or b"")


def _bundle(source: Path) -> bytes:
    if source.is_dir():
        with tempfile.TemporaryDirectory() as folder, open_home(settings_of_pack(source)) as pack:
            path = Path(folder) / "segment.zip"
            export(pack.store, path)
            data = path.read_bytes()
    else:
        try:
            data = source.read_bytes()
        except OSError as exc:
            raise InputError(f"{source} cannot be read: {exc.strerror}") from exc
    if len(data) > MAX_BLOB:
        raise InputError(
            f"{source}: the log of the pack has {len(data)} bytes as a bundle, and {MAX_BLOB} is the most that an entry"
            " holds; export it without output (`mimrun log export all -o FILE --no-blobs`) and merge that file"
        )
    return data


def _read(data: bytes, source: Path) -> _Found:
    if data[:2] != b"PK":
        raise InputError(f"{source} is no bundle; make one with `mimrun log export all -o FILE`")
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        report = verify_bundle(Path(file.name), trust=Trust())
    if not report.ok:
        raise TamperError(
            f"{source}: what the pack recorded does not verify: {report.flaws[0]}; nothing was merged"
        )
    if report.scope != "the whole log":
        raise InputError(f"{source} is a bundle of {report.scope}; merge one of the whole log of a pack")
    joins, runs, leaves = None, dict[str, None](), list[bytes]()
    wishes, broken = dict[str, tuple[str, str]](), dict[str, tuple[BreakglassOpened, str, str]]()
    for entry in _entries(data):
        leaves.append(entry.leaf())
        if isinstance(entry.body, BreakglassAsked):
            wishes[entry.run] = (entry.body.reason, entry.actor.id)
        if isinstance(entry.body, BreakglassOpened):
            broken[entry.run] = (entry.body, *wishes.get(entry.run, ("", entry.actor.id)))
        joins = entry.body if joins is None and isinstance(entry.body, BreakglassUnpacked) else joins
        if entry.run:
            runs[entry.run] = None
    if joins is None:
        raise InputError(f"{source} is of the log {report.log}, which was not kept with a pack")
    return _Found(report.log, report.root, tuple(leaves), joins, tuple(runs), broken)


def _entries(data: bytes) -> Iterator[LogEntry]:
    return (decode(line) for line in Bundle(data).lines("entries.jsonl"))


def _packed(home: Home, segment: _Found) -> BreakglassPacked:
    """Find the pack that a segment goes on from, in our own log, which must still begin with what it says."""
    joins = segment.joins
    if joins.origin != home.store.log:
        raise RefusedError(f"the pack was made from the log {joins.origin}, and this one is {home.store.log}")
    for entry in home.store.entries(kinds={Kind.BREAKGLASS_PACKED}):
        body = entry.body
        if isinstance(body, BreakglassPacked) and body.pack == joins.pack and body.size == joins.size:
            root = root_of(home.store.leaves(joins.size)).hex()
            if {root, body.root} != {joins.root}:
                raise TamperError(
                    f"the pack says that this log had the root {joins.root[:16]} at {joins.size} entries, and it has"
                    f" {root[:16]}: one of the two is not what it was; nothing was merged"
                )
            return body
    raise RefusedError(f"this log has sealed no pack {joins.pack[:19]}; nothing was merged")


def _see_that_it_goes_on(home: Home, before: Segment, segment: _Found) -> None:
    if before.entries > len(segment.leaves):
        known = [entry.leaf() for entry in segment_entries(home, before.seq)]
        if known[: len(segment.leaves)] == list(segment.leaves):
            raise RefusedError(
                f"this is {segment.origin} as it was at {len(segment.leaves)} entries, and it is merged up to"
                f" {before.entries} already"
            )
    begins = segment.leaves[: before.entries]
    if before.entries and (len(begins) < before.entries or root_of(begins).hex() != before.root):
        raise TamperError(
            f"{segment.origin} had {before.entries} entries when it was merged last, and does not begin with them any"
            " more; nothing was merged"
        )


@dataclass(frozen=True, slots=True)
class _Unchanged:
    """Refuses to merge a segment of which somebody else has merged more meanwhile."""

    origin: str
    before: bytes

    def __call__(self, view: View) -> None:
        if view.projection(Segments.name, self.origin) != self.before:
            raise RefusedError(
                f"somebody has merged {self.origin} at this moment; see `mimrun breakglass packs`"
            )
