"""Making a bundle: a copy of the log, or of one incident, in a file that can be checked without the log.

What is in it, and how it is checked, is on the page of the format. Made as of a checkpoint, so that a key of
the log vouches for it; where there is none at the log's end, the bundle says what it says unsigned.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple, get_args

from mimrun import canonical
from mimrun.errors import InputError, StoreError, TamperError
from mimrun.log.chain import IncidentHead, believe, is_committed
from mimrun.log.entry import FORMAT, BlobClass
from mimrun.log.field import Count, Digest, Hash, Part
from mimrun.log.kinds import Kind, LogAnchored, LogHeads, RedactApplied
from mimrun.log.merkle import Tree
from mimrun.log.moment import write_moment
from mimrun.log.proof.container import Container
from mimrun.log.proof.heads import HeadProof, HeadProofs
from mimrun.log.proof.key import KeyRing, RingKey
from mimrun.log.proof.note import read_checkpoint, read_note
from mimrun.log.proof.readme import readme
from mimrun.log.store import Store

BUNDLE: Final = "mimlog-bundle/2"
CLASSES: Final[tuple[BlobClass, ...]] = get_args(BlobClass)
RUNBOOKS: Final = "runbooks"
"""Name of the blob of a frozen plan that holds the sources of its runbooks."""
EARLIER: Final = 100
"""Checkpoints before the bundle's own whose trees are proven to be its beginning: the latest so many, and the
latest so many of those that were given to somebody outside."""
_ABOUT: Final = frozenset({Kind.LOG_GENESIS, Kind.LOG_KEY, Kind.LOG_KEY_RETIRED})
_CHANGED: Final = "the log is not what was recorded, so nothing is exported; see `mimrun log verify`"


class Manifest(Part):
    """What a bundle says about itself.

    Arguments:
        bundle: the format of the bundle.
        format: the format of the entries.
        log: the origin.
        inc: the incident, or "" for the whole log.
        size: how many entries the log had.
        root: Merkle root (hexadecimal) over them.
        entries: how many entries of the incident, or of the log, are in the bundle.
        classes: of which classes blobs are in the bundle.
        blobs: how many blobs are in it.
        members: `sha256:<hex>` over each other member but the blobs, by its name.
        made_at: moment of the last entry.
    """

    bundle: str
    format: str
    log: str
    inc: str
    size: Count
    root: Hash
    entries: Count
    classes: tuple[BlobClass, ...]
    blobs: Count
    members: dict[str, Digest]
    made_at: str

    @property
    def signed(self) -> bool:
        """Whether there is a checkpoint in it."""
        return "checkpoint" in self.members


def export(
    store: Store, path: Path, *, inc: str | None = None, classes: Iterable[BlobClass] = CLASSES
) -> Manifest:
    """Write a bundle, as of a checkpoint that is made for it where the log is signed from here.

    Arguments:
        store: the log.
        path: the file to make; it must not exist.
        inc: the incident; None for the whole log.
        classes: the classes of blobs that go with it. Without any, the entries are still proven.

    Raises:
        InputError: the file exists, its folder does not, or there is no such incident.
        TamperError: the log does not verify; nothing is exported from it.
    """
    chosen = tuple(name for name in CLASSES if name in set(classes))
    size, note = _cut(store, inc)
    tree = Tree(store.leaves(size))
    try:
        with Container(path) as container:
            return _Export(store, container, tree, note, inc or "", chosen).write(path.name)
    except FileExistsError as exc:
        raise InputError(f"{path} exists; name a new file") from exc
    except OSError as exc:
        raise InputError(f"no bundle can be written to {path}: {exc}") from exc


def _cut(store: Store, inc: str | None) -> tuple[int, str | None]:
    """Where the log is cut for the bundle.

    Returns:
        The size, and the checkpoint there: a new one; else the last one, if all that is wanted is under it;
        else the log's end, without one.
    """
    made = None
    with suppress(StoreError):  # a signer that does not answer keeps nobody from the evidence
        made = store.checkpoint()
    size, latest = store.head().size, store.latest_checkpoint()
    if made is None and latest is not None:
        behind = store.entries(after=latest.size, inc=inc)
        made = latest if all(entry.seq > size for entry in islice(behind, 1)) else None
    return (made.size, made.note) if made is not None else (size, None)


def ends_at(store: Store, size: int) -> dict[str, IncidentHead]:
    """Give the ends of all incidents as they were when the log had so many entries."""
    # In this order: what is appended meanwhile is then among the entries behind.
    claim, ends = store.claim(), dict[str, IncidentHead]()
    if claim is not None and claim.incidents is not None:
        ends.update(claim.incidents)
    moved = set()
    for entry in store.entries(after=size):
        if entry.inc and entry.inc not in moved:
            moved.add(entry.inc)
            ends[entry.inc] = IncidentHead(entry.iseq - 1, entry.iprev)
    return {inc: end for inc, end in ends.items() if end.iseq}


class _Wanted(NamedTuple):
    """A blob that goes with the bundle: kept for each of a whole log, so no more of its entry than has to be."""

    seq: int
    name: str
    commit: bytes


@dataclass
class _Export:
    """One bundle that is being written.

    Arguments:
        note: the checkpoint, or None where the bundle is not signed.
        inc: the incident, or "".
        classes: of the blobs that go with it.
    """

    store: Store
    container: Container
    tree: Tree
    note: str | None
    inc: str
    classes: tuple[BlobClass, ...]
    seqs: list[int] = field(default_factory=list)
    blobs: list[_Wanted] = field(default_factory=list)
    erased: set[str] = field(default_factory=set)
    anchored: set[int] = field(default_factory=set)
    made_at: str = ""

    def write(self, name: str) -> Manifest:
        """Write everything; give what the manifest says of it."""
        add = self.container.add
        add("README.txt", [readme(name, self.store.log, self.inc)])
        add("entries.jsonl", self._entries())
        if not self.seqs:
            raise InputError(f"the log {self.store.log} has no incident {self.inc!r}")
        about = [entry for entry in self.store.entries(kinds=_ABOUT) if entry.seq <= self.tree.size]
        if self.inc:
            about += [self.store.entry(self.tree.size)] if self.note is not None else []
            add("log.jsonl", (entry.encode() + b"\n" for entry in about))
            add("proofs.jsonl", self._proofs([*self.seqs, *(entry.seq for entry in about)]))
            self.made_at = max(self.made_at, write_moment(about[-1].ts))
        ring = KeyRing.fold(self.store.log, about)
        add("keys.json", [canonical.encode({"keys": [listed(key) for key in ring.keys]})])
        self._write_checkpoints()
        blobs = self._write_blobs()
        manifest = self._manifest(blobs)
        add("manifest.json", [canonical.encode(manifest.model_dump(mode="json"))])
        return manifest

    def _manifest(self, blobs: int) -> Manifest:
        return Manifest(
            bundle=BUNDLE,
            format=FORMAT,
            log=self.store.log,
            inc=self.inc,
            size=self.tree.size,
            root=self.tree.root().hex(),
            entries=len(self.seqs),
            classes=self.classes,
            blobs=blobs,
            members=dict(self.container.digests),
            made_at=self.made_at,
        )

    def _entries(self) -> Iterator[bytes]:
        """The entries as lines; remember what comes with them."""
        for row in self.store.rows(inc=self.inc or None):
            if row.seq > self.tree.size:
                return
            entry = believe(row)
            self.seqs.append(entry.seq)
            self.blobs += [
                _Wanted(entry.seq, sys.intern(ref.n), bytes.fromhex(ref.commit))
                for ref in entry.blobs
                if ref.cls in self.classes
            ]
            self.made_at = write_moment(entry.ts)
            if isinstance(entry.body, RedactApplied):
                self.erased.add(entry.body.commit)
            yield row.data + b"\n"

    def _proofs(self, seqs: Iterable[int]) -> Iterator[bytes]:
        for seq in seqs:
            proof = [step.hex() for step in self.tree.inclusion(seq - 1)]
            yield canonical.encode({"proof": proof, "seq": seq}) + b"\n"

    def _write_checkpoints(self) -> None:
        """Write the checkpoint, and what shows that it stands above all of the incident and above older ones."""
        if self.note is None:
            if self.store.head().size == self.tree.size and self.store.head().root != self.tree.root().hex():
                raise TamperError(_CHANGED)
            return
        if read_checkpoint(read_note(self.note).text).root != self.tree.root():
            raise TamperError(_CHANGED)
        size, add = self.tree.size, self.container.add
        add("checkpoint", [self.note.encode()])
        older = [one for one in self.store.checkpoints() if one.size < size]
        if not self.inc:
            lines = (canonical.encode({"note": one.note, "size": one.size}) + b"\n" for one in older)
            add("checkpoints.jsonl", lines)
            return
        proofs, heads = HeadProofs(ends_at(self.store, size)), self.store.entry(size).body
        if not isinstance(heads, LogHeads) or proofs.root.hex() != heads.root:
            raise TamperError(_CHANGED)
        add("heads.json", [canonical.encode(_head(proofs.prove(self.inc)))])
        bodies = (e.body for e in self.store.entries(kinds={Kind.LOG_ANCHORED}) if e.seq <= size)
        given = {
            body.size for body in bodies if isinstance(body, LogAnchored) and body.done and body.size < size
        }
        sizes = {*sorted(given)[-EARLIER:], *(one.size for one in older[-EARLIER:])}
        add("consistency.jsonl", (self._consistency(one) for one in sorted(sizes)))

    def _consistency(self, size: int) -> bytes:
        proof = [step.hex() for step in self.tree.consistency(size)]
        return canonical.encode({"proof": proof, "root": self.tree.root(size).hex(), "size": size}) + b"\n"

    def _write_blobs(self) -> int:
        """Write the blobs of the chosen classes, and runbooks as files that people can read; give how many blobs."""
        count, sources = 0, dict[str, bytes]()
        for seq, name, committed in self.blobs:
            commit = committed.hex()
            blob = self.store.stored_blob(commit)
            if blob is None and commit in self.erased:
                continue
            if blob is None or not is_committed(blob, commit):
                raise TamperError(
                    f"blob {name!r} of log entry {seq} is not what was recorded; see `mimrun log verify`"
                )
            self.container.add(f"blobs/{commit}", [blob.salt, blob.data])
            count += 1
            if name == RUNBOOKS:
                sources |= sources_in(blob.data)
        for digest, source in sorted(sources.items()):
            self.container.add(f"runbooks/{digest.removeprefix('sha256:')}.yaml", [source])
        return count


def listed(key: RingKey) -> dict[str, canonical.Json]:
    """A key as keys.json lists it."""
    return {
        "announced": key.announced,
        "certificate": key.certificate,
        "from_size": key.from_size,
        "to_size": key.to_size,
        "vkey": key.key.vkey,
    }


def sources_in(data: bytes) -> dict[str, bytes]:
    """The sources of runbooks, by digest, in the blob of a plan."""
    return {digest: text.encode() for digest, text in json.loads(data).items()}


def _head(proof: HeadProof) -> dict[str, canonical.Json]:
    """The proof of an incident's end as heads.json holds it."""
    return {
        "inc": proof.inc,
        "incidents": proof.incidents,
        "index": proof.index,
        "iseq": proof.end.iseq,
        "leaf": proof.end.leaf,
        "proof": [step.hex() for step in proof.path],
    }
