"""Anchoring: giving the log's checkpoints to places outside, on record, and asking them whether it is the same log.

What somebody who has this machine, the log and its key can still change is what lies behind the last checkpoint
that such a place has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from pydantic import JsonValue

from mimrun.app.anchor.file import ActionPlace, Anchor, FilePlace, WitnessPlace, load_anchors, variables
from mimrun.app.anchor.places import Back, Given, Means, Point, give_all, read_all
from mimrun.app.home import Home
from mimrun.app.inventories import read_inventory
from mimrun.app.known_secrets import known_secrets
from mimrun.errors import InputError, LeaseError, LogError, RefusedError, TamperError
from mimrun.log.anchored import NO_NEWS, Anchored, AnchorRecords, is_due
from mimrun.log.chain import StoredCheckpoint
from mimrun.log.entry import Actor, Blob, Draft
from mimrun.log.field import REASON_LENGTH
from mimrun.log.kinds import Kind, LogAnchored
from mimrun.log.proof.note import read_checkpoint, read_note
from mimrun.log.proof.report import Kept, Report
from mimrun.log.proof.stored import Flaw
from mimrun.runbook.render import fill, validate
from mimrun.runbook.suggestion import suggest

BY_ITSELF: Final = Actor("system", "anchors")
"""Who gives checkpoints where no person asked for it."""
MOST_NOTES: Final = 5000
"""Checkpoints of one place that are compared: the newest."""
_LEASE: Final = "anchors"
_NEWS: Final = frozenset(Kind) - NO_NEWS


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of one anchor.

    Arguments:
        anchor: its name.
        size: of the checkpoint that it was given.
        root: of that, hexadecimal.
        seq: the entry that says so.
    """

    anchor: str
    size: int
    root: str
    given: Given
    seq: int

    def as_json(self) -> dict[str, JsonValue]:
        """For `--json`."""
        said = self.given
        return {
            "anchor": self.anchor,
            "size": self.size,
            "root": self.root,
            "done": said.done,
            "reason": said.reason,
            "against": said.against,
            "entry": self.seq,
        }


@dataclass(frozen=True, slots=True)
class AnchorView:
    """How an anchor stands.

    Arguments:
        does: what is done, in a line.
        known: what the log says of it.
        behind: how many entries there are that its last checkpoint does not cover.
    """

    anchor: Anchor
    does: str
    known: Anchored
    behind: int

    def as_json(self) -> dict[str, JsonValue]:
        """For `--json`."""
        told: dict[str, JsonValue] = self.known.model_dump(mode="json")
        return {**told, "anchor": self.anchor.name, "does": self.does, "behind": self.behind}


def anchors_of(home: Home, names: Sequence[str] = ()) -> tuple[Anchor, ...]:
    """Give the anchors of this home, or those with these names.

    Raises:
        SettingsError: the file is not what it should be.
        InputError: there is none of a name.
    """
    anchors = load_anchors(home.settings.anchors, home.catalog)
    known = {anchor.name: anchor for anchor in anchors}
    for name in names:
        if name not in known:
            raise InputError(
                f"no anchor {name!r} in {home.settings.anchors}; {suggest(name, known) or 'it has none'}"
            )
    return tuple(known[name] for name in dict.fromkeys(names)) if names else anchors


def list_anchors(home: Home, names: Sequence[str] = ()) -> list[AnchorView]:
    """Say how each anchor stands."""
    size = home.store.head().size
    views = []
    for anchor in anchors_of(home, names):
        known = known_of(home, anchor.name)
        views.append(AnchorView(anchor, _does(anchor), known, size - known.size))
    return views


def known_of(home: Home, name: str) -> Anchored:
    """Give what the log says of an anchor."""
    return Anchored.decode(home.store.projection(AnchorRecords.name, name))


def anchor_log(home: Home, actor: Actor, names: Sequence[str] = ()) -> list[Tried]:
    """Give a checkpoint of the log as it is now to places outside, and record what came of it.

    Nothing is recorded before: the same checkpoint twice is as good as once, so after a crash it is given again.

    Arguments:
        actor: who does it.
        names: to these alone.

    Raises:
        InputError: there is no such anchor, or the inventory cannot be read.
        RefusedError: the log has no checkpoint.
        StoreError: the log cannot be written, or the signer gave no signature.
    """
    anchors = anchors_of(home, names)
    if not anchors:
        return []
    means, point = _means(home), _point(home.store.checkpoint() or home.store.latest_checkpoint())
    known = {anchor.name: known_of(home, anchor.name).size for anchor in anchors}
    given = give_all(anchors, point, means, known)
    drafts = [_draft(actor, anchor, point, one) for anchor, one in zip(anchors, given, strict=True)]
    entries = home.store.append(drafts)
    size, root = point.checkpoint.size, point.checkpoint.root.hex()
    return [
        Tried(anchor.name, size, root, one, entry.seq)
        for anchor, one, entry in zip(anchors, given, entries, strict=True)
    ]


def rehearse(home: Home, names: Sequence[str] = ()) -> list[tuple[Anchor, str]]:
    """Say what each place would be given, without giving or making anything."""
    latest = home.store.latest_checkpoint()
    point = _point(latest) if latest is not None else None
    found = []
    for anchor in anchors_of(home, names):
        what = _does(anchor)
        if isinstance(anchor.place, ActionPlace) and point is not None:
            call = anchor.place.call
            filled, _ = fill(call.args, variables(point.checkpoint, point.note))
            assert isinstance(filled, dict)
            what = f"{call.action} on {anchor.host}: {validate(home.catalog.action(call.action), filled).summary()}"
        found.append((anchor, what))
    return found


def due_anchors(home: Home) -> list[str]:
    """Give the names of the anchors that are to be given a checkpoint now.

    Raises:
        SettingsError: the file is not what it should be.
    """
    every = timedelta(milliseconds=home.settings.anchor_every_ms)
    if not every or home.store.moved():
        return []
    now, found = home.clock(), []
    for anchor in anchors_of(home):
        known = known_of(home, anchor.name)
        # What is asked last costs most.
        if is_due(known, now, every, news=True) and is_due(
            known, now, every, news=_has_news(home, known.size)
        ):
            found.append(anchor.name)
    return found


def anchor_due(home: Home, actor: Actor = BY_ITSELF) -> list[Tried]:
    """Give a checkpoint to each place that is due, unless another process is about it.

    Raises:
        MimrunError: as for `anchor_log`.
    """
    if not due_anchors(home):
        return []
    try:
        with home.leases.take(_LEASE):
            # Another one may have done it while we were about to.
            due = due_anchors(home)
            return anchor_log(home, actor, due) if due else []
    except LeaseError:
        return []


def ask_anchors(home: Home, names: Sequence[str] = ()) -> Asked:
    """Ask every place outside what it has of this log.

    Raises:
        InputError: there is no such anchor, or the inventory cannot be read.
    """
    anchors = anchors_of(home, names)
    try:
        latest = home.store.latest_checkpoint()
        point = _point(latest) if latest is not None else None
        known = {anchor.name: known_of(home, anchor.name) for anchor in anchors}
    except LogError:
        # What is wrong with the log itself, verifying says better.
        point, known = None, {anchor.name: Anchored() for anchor in anchors}
    backs = read_all(anchors, point, _means(home)) if anchors else []
    return Asked(tuple(zip(anchors, backs, strict=True)), known)


@dataclass(frozen=True, slots=True)
class Asked:
    """What the places outside have.

    Arguments:
        backs: by anchor.
        known: by name, what the log says that it was given.
    """

    backs: tuple[tuple[Anchor, Back], ...]
    known: dict[str, Anchored]

    @property
    def kept(self) -> tuple[Kept, ...]:
        """The checkpoints, for the verification."""
        return tuple(
            Kept(anchor.name, note) for anchor, back in self.backs for note in back.notes[-MOST_NOTES:]
        )

    @property
    def silent(self) -> tuple[str, ...]:
        """The places that should have answered and did not."""
        return tuple(a.name for a, back in self.backs if back.trouble and _can_be_read(a))

    def added_to(self, report: Report) -> Report:
        """Give the report with what the places say besides their checkpoints."""
        flaws, unproven = list(report.flaws), list(report.findings.not_proven)
        for anchor, back in self.backs:
            if back.against:
                flaws.append(Flaw(0, "anchor", f"{anchor.name} contradicts this log: {back.against}"))
            elif back.trouble:
                unproven.append(f"that it is what {anchor.name} has: {back.trouble}")
            elif lost := self._lost(anchor, back):
                flaws.append(Flaw(0, "anchor", lost))
        if not self.backs:
            unproven.append("anything by anchors: there are none in anchors.yaml")
        findings = replace(report.findings, not_proven=tuple(unproven))
        return replace(report, flaws=tuple(flaws), findings=findings)

    def _lost(self, anchor: Anchor, back: Back) -> str:
        """Say where a place does not have what it was given; "" where it has it."""
        known = self.known[anchor.name]
        if isinstance(anchor.place, WitnessPlace) or not known.size:
            return ""
        for note in back.notes:
            try:
                said = read_checkpoint(read_note(note).text)
            except TamperError:
                continue
            if (said.size, said.root.hex()) == (known.size, known.root):
                return ""
        return (
            f"{anchor.name} does not have the checkpoint of size {known.size} that it was given (entry {known.seq}):"
            " it was cut, or it is another place now"
        )


def _can_be_read(anchor: Anchor) -> bool:
    return not isinstance(anchor.place, ActionPlace) or anchor.place.read is not None


def _has_news(home: Home, size: int) -> bool:
    return next(iter(home.store.entries(after=size, kinds=_NEWS)), None) is not None


def _point(stored: StoredCheckpoint | None) -> Point:
    if stored is None:
        raise RefusedError(
            "the log has no checkpoint that could be given away: nobody signs it; see `mimrun key show`"
        )
    return Point(read_checkpoint(read_note(stored.note).text), stored.note)


def _means(home: Home) -> Means:
    inventory = read_inventory(home.settings, ())
    return Means(
        home.catalog, inventory, known_secrets(home.settings, inventory), home.store.leaves, home.store.log
    )


def _draft(actor: Actor, anchor: Anchor, point: Point, given: Given) -> Draft:
    blobs = [Blob("receipt", given.receipt, "data")] if given.receipt else []
    if len(given.reason) > REASON_LENGTH:
        blobs.append(Blob("reason", given.reason.encode("utf-8", "backslashreplace"), "text"))
    body = LogAnchored(
        anchor=anchor.name,
        size=point.checkpoint.size,
        root=point.checkpoint.root.hex(),
        done=given.done,
        reason=given.reason,
    )
    return Draft(actor, body, blobs=tuple(blobs))


def _does(anchor: Anchor) -> str:
    match anchor.place:
        case FilePlace(path):
            return f"file {path}"
        case WitnessPlace(url, key):
            return f"witness {url} ({key})"
        case ActionPlace(call):
            return f"{call.action} on {anchor.host}"
