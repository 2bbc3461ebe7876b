"""Bundles of the first format, which had no checkpoint: still read and checked, no longer made.

manifest.json   what this is, and the size and root of the log when it was made
entries.jsonl   canonical entries, one a line
proofs.jsonl    of an incident only: for each entry, the proof that it is in the log with that root
blobs/<commit>  salt (32 bytes) and content of a blob
README.txt      how to check it
"""

from __future__ import annotations

import hashlib
import re
import struct
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import IO, Final

from mimrun.errors import LogError
from mimrun.log.chain import SALT_SIZE, Claim, StoredBlob
from mimrun.log.entry import FORMAT, MAX_BLOB, MAX_ENTRY
from mimrun.log.field import Count, Digest, Hash, Part
from mimrun.log.proof.erased import blob_flaw
from mimrun.log.proof.excerpt import Excerpt
from mimrun.log.proof.lines import Lines
from mimrun.log.proof.report import Findings, Report, Trust
from mimrun.log.proof.stored import Flaw
from mimrun.log.proof.verify import verify

BUNDLE: Final = "mimlog-bundle/1"
MAX_LINE: Final = MAX_ENTRY + 1
MAX_MEMBERS: Final = 500_000
_NAMES: Final = re.compile(r"manifest\.json|entries\.jsonl|proofs\.jsonl|README\.txt|blobs/[0-9a-f]{64}")
_NOT_PROVEN: Final = (
    "who wrote this: a bundle of the first format has no checkpoint, so it is as trustworthy as the way it came",
)


class FirstManifest(Part):
    """What a bundle of the first format says about itself.

    Arguments:
        bundle: the format of the bundle.
        format: the format of the entries.
        log: the origin.
        inc: the incident, or "" for the whole log.
        size: how many entries the log had.
        leaf: leaf hash (hexadecimal) of the last of them.
        root: Merkle root (hexadecimal) over them.
        entries: how many entries are in the bundle.
        digest: `sha256:<hex>` over entries.jsonl.
        blobs: how many blobs are in the bundle; 0 when they were left out.
        made_at: moment of the last entry.
    """

    bundle: str
    format: str
    log: str
    inc: str
    size: Count
    leaf: Hash
    root: Hash
    entries: Count
    digest: Digest
    blobs: Count
    made_at: str


@dataclass(frozen=True, slots=True)
class _Open:
    """A bundle that is open for reading, with where each member's bytes lie in the file."""

    file: IO[bytes]
    places: Mapping[str, tuple[int, int]]
    manifest: FirstManifest

    def lines(self, name: str) -> Iterator[bytes]:
        """The lines of a member; one that is too long for an entry comes in pieces."""
        start, left = self.places.get(name, (0, 0))
        while left > 0:
            self.file.seek(start)
            line = self.file.readline(min(left, MAX_LINE))
            if not line:
                return
            start, left = start + len(line), left - len(line)
            yield line

    def blob(self, commit: str) -> StoredBlob | None:
        """A blob with its salt."""
        start, size = self.places.get(f"blobs/{commit}", (0, 0))
        if not SALT_SIZE <= size <= SALT_SIZE + MAX_BLOB:
            return None
        self.file.seek(start)
        return StoredBlob(self.file.read(SALT_SIZE), self.file.read(size - SALT_SIZE))


class _WholeLog(Lines):
    """The entries of a bundle of the whole log, with its blobs if it has any."""

    def __init__(self, bundle: _Open) -> None:
        super().__init__(bundle.lines("entries.jsonl"))
        self.log = bundle.manifest.log
        self._bundle = bundle

    def stored_blob(self, commit: str) -> StoredBlob | None:
        return self._bundle.blob(commit)

    def keeps_blobs(self) -> bool:
        return self._bundle.manifest.blobs > 0

    def claim(self) -> Claim | None:
        manifest = self._bundle.manifest
        return Claim(manifest.size, manifest.leaf, manifest.root, blobs=manifest.blobs or None)


def _open_members(file: IO[bytes], bundle: zipfile.ZipFile) -> _Open:
    """Look at what a bundle has, before anything of it is believed.

    Raises:
        LogError: it has other members than a bundle has, compressed ones, or too many.
    """
    infos = bundle.infolist()
    if len(infos) > MAX_MEMBERS or len({info.filename for info in infos}) < len(infos):
        raise LogError(f"this is not a bundle: {len(infos)} members, or two of one name")
    for info in infos:
        if not _NAMES.fullmatch(info.filename) or info.compress_type != zipfile.ZIP_STORED:
            raise LogError(f"this is not a bundle: it has a member {info.filename!r}, or compresses it")
    places = {info.filename: _place(file, info) for info in infos}
    start, size = places.get("manifest.json", (0, 0))
    if not 0 < size <= MAX_ENTRY:
        raise LogError("this is not a bundle: it has no manifest.json")
    file.seek(start)
    try:
        manifest = FirstManifest.model_validate_json(file.read(size))
    except ValueError as exc:
        raise LogError(f"the manifest of the bundle cannot be read: {exc}") from exc
    if manifest.bundle != BUNDLE or manifest.format != FORMAT:
        raise LogError(f"the bundle is of format {manifest.bundle!r}; this mimrun knows {BUNDLE!r}")
    return _Open(file, places, manifest)


def _place(file: IO[bytes], info: zipfile.ZipInfo) -> tuple[int, int]:
    """Where a member's bytes lie. Read from there, a wrong checksum at the end does not hide an entry."""
    file.seek(info.header_offset + 26)
    name, extra = struct.unpack("<HH", file.read(4))
    return info.header_offset + 30 + name + extra, info.file_size


def verify_first(file: IO[bytes], bundle: zipfile.ZipFile, trust: Trust) -> Report:
    """Check a bundle of the first format.

    Arguments:
        file: the bundle.
        bundle: the same, opened.
        trust: only what was noted can be compared, for there are no signatures.

    Raises:
        LogError: it is none.
    """
    opened = _open_members(file, bundle)
    manifest = opened.manifest
    noted = Trust(known=trust.known)
    found = _verify_incident(opened, noted) if manifest.inc else verify(_WholeLog(opened), trust=noted)
    flaws = list(found.flaws)
    if trust.root or trust.keys or trust.witnesses or trust.notes:
        flaws.append(Flaw(0, "checkpoint", "a bundle of the first format has no checkpoint; export it anew"))
    intact = _digest(opened.lines("entries.jsonl")) == manifest.digest
    if not intact and not flaws:
        flaws.append(Flaw(0, "file", "the entries are not those that the manifest was made for"))
    if not flaws and (damaged := bundle.testzip()) is not None:
        flaws.append(Flaw(0, "file", f"the bundle is damaged in {damaged}"))
    return replace(found, flaws=tuple(flaws), findings=replace(found.findings, not_proven=_NOT_PROVEN))


def _verify_incident(opened: _Open, trust: Trust) -> Report:
    """Check an incident's entries: each was in the log with the manifest's root, and none is left out."""
    manifest, known = opened.manifest, trust.known
    excerpt = Excerpt(manifest.log, manifest.inc, manifest.size, manifest.root)
    blobs = 0
    pairs = zip_longest(opened.lines("entries.jsonl"), opened.lines("proofs.jsonl"))
    for line, proof in pairs:
        for claim in excerpt.feed((line or b"").removesuffix(b"\n"), (proof or b"").removesuffix(b"\n")):
            blobs += 1
            stored = opened.blob(claim.commit) if manifest.blobs else None
            if manifest.blobs and stored is None:
                excerpt.flaw(claim.seq, "blob", f"its blob {claim.name!r} is missing")
            elif stored is not None and (why := blob_flaw(claim, stored)):
                excerpt.flaw(claim.seq, "blob", why)
    if excerpt.count < manifest.entries:
        excerpt.flaw(0, "missing", f"the bundle had {manifest.entries} entries and has {excerpt.count}")
    if known is not None and (known.size, known.root) != (manifest.size, manifest.root):
        made = f"it was made of a log of size {manifest.size} and root {manifest.root}, not of the noted one"
        excerpt.flaw(0, "anchor", made)
    return Report(
        log=manifest.log,
        scope=f"incident {manifest.inc}",
        size=excerpt.count,
        root=manifest.root,
        first_ts=excerpt.first_ts,
        last_ts=excerpt.last_ts,
        incidents=1,
        blobs=blobs,
        flaws=tuple(excerpt.flaws),
        known=known,
        findings=Findings(),
    )


def _digest(lines: Iterator[bytes]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line)
    return "sha256:" + digest.hexdigest()
