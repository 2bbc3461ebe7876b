"""A bundle: a copy of the log, or of one incident, in a file that can be checked without the log.

A bundle is a zip without compression, so that a damaged byte damages one entry and can be named:

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
from pathlib import Path
from typing import IO, Final

from mimrun import canonical
from mimrun.errors import InputError, LogError, TamperError
from mimrun.log.chain import SALT_SIZE, Claim, StoredBlob, believe, is_committed
from mimrun.log.entry import FORMAT, MAX_BLOB, MAX_ENTRY
from mimrun.log.field import Count, Digest, Hash, Part
from mimrun.log.merkle import Tree
from mimrun.log.moment import write_moment
from mimrun.log.proof.excerpt import Excerpt
from mimrun.log.proof.stored import Flaw
from mimrun.log.proof.verify import Known, Lines, Report, blob_flaw, verify
from mimrun.log.store import Store

BUNDLE: Final = "mimlog-bundle/1"
MAX_LINE: Final = MAX_ENTRY + 1
MAX_MEMBERS: Final = 500_000
_NAMES: Final = re.compile(r"manifest\.json|entries\.jsonl|proofs\.jsonl|README\.txt|blobs/[0-9a-f]{64}")
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
_README: Final = """\
This is a bundle of an incident log, format {bundle} (entries: {format}).

Check it with `mimrun log verify {name}`: it needs nothing but this file. By hand: every line of
entries.jsonl is an entry; its leaf hash is SHA-256 over a zero byte and the line without its line end;
"prev" of an entry is the leaf hash of the entry before it in the log, "iprev" of that in the incident.

What it shows is as good as what you compare "size" and "root" of manifest.json with: a note that was
made of them at the time, somewhere else.
"""


class Manifest(Part):
    """What a bundle says about itself.

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


def export(store: Store, path: Path, *, inc: str | None = None, blobs: bool = True) -> Manifest:
    """Write a bundle.

    Arguments:
        store: the log.
        path: the file to make; it must not exist.
        inc: the incident; None for the whole log.
        blobs: whether output, plans and texts go with it. Without them the entries are still proven.

    Raises:
        InputError: the file exists, its folder does not, or there is no such incident.
        TamperError: the log does not verify; nothing is exported from it.
    """
    head = store.head()
    tree = Tree(store.leaves(head.size))
    if tree.size != head.size or tree.root().hex() != head.root:
        raise TamperError("the log is not what was recorded, so nothing is exported; see `mimrun log verify`")
    try:
        with path.open("xb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as bundle:
            manifest = _write(store, bundle, tree, inc, blobs=blobs)
            bundle.writestr(_member("manifest.json"), canonical.encode(manifest.model_dump()))
            readme = _README.format(bundle=BUNDLE, format=FORMAT, name=path.name)
            bundle.writestr(_member("README.txt"), readme)
    except FileExistsError as exc:
        raise InputError(f"{path} exists; name a new file") from exc
    except OSError as exc:
        path.unlink(missing_ok=True)
        raise InputError(f"no bundle can be written to {path}: {exc}") from exc
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return manifest


def verify_bundle(path: Path, *, known: Known | None = None) -> Report:
    """Check a bundle; needs nothing but the file.

    Arguments:
        path: the bundle, or a plain file of lines: a whole log as canonical JSON, one entry a line.
        known: size and root that were noted earlier; compared with the bundle's own.

    Raises:
        InputError: there is no such file.
        LogError: it is not a bundle.
    """
    try:
        with path.open("rb") as file:
            if file.read(2) != b"PK":
                file.seek(0)
                return verify(Lines(file), known=known)
            with zipfile.ZipFile(file) as bundle:
                return _verify_members(file, bundle, known)
    except OSError as exc:
        raise InputError(f"{path} cannot be read: {exc}") from exc
    except (zipfile.BadZipFile, struct.error, NotImplementedError) as exc:
        raise LogError(f"{path} is not a bundle, or is damaged: {exc}") from exc


@dataclass(frozen=True, slots=True)
class _Open:
    """A bundle that is open for reading, with where each member's bytes lie in the file."""

    file: IO[bytes]
    places: Mapping[str, tuple[int, int]]
    manifest: Manifest

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


def _member(name: str) -> zipfile.ZipInfo:
    """A member with the same date always, so that the same log gives the same bundle."""
    return zipfile.ZipInfo(name, _EPOCH)


def _write(store: Store, bundle: zipfile.ZipFile, tree: Tree, inc: str | None, *, blobs: bool) -> Manifest:
    """Write all that is proven, and give what the manifest says of it."""
    seqs, digest, commits = _write_entries(store, bundle, inc, tree.size)
    if inc is not None:
        if not seqs:
            raise InputError(f"the log {store.log} has no incident {inc!r}")
        _write_proofs(bundle, tree, seqs)
    last = store.entry(tree.size)
    return Manifest(
        bundle=BUNDLE,
        format=FORMAT,
        log=store.log,
        inc=inc or "",
        size=tree.size,
        leaf=last.leaf().hex(),
        root=tree.root().hex(),
        entries=len(seqs),
        digest=digest,
        blobs=_write_blobs(store, bundle, commits) if blobs else 0,
        made_at=write_moment(last.ts),
    )


def _write_entries(
    store: Store, bundle: zipfile.ZipFile, inc: str | None, size: int
) -> tuple[list[int], str, list[str]]:
    """Write the entries; give their places, the digest of the lines, and the blobs they speak of."""
    seqs: list[int] = []
    commits: list[str] = []
    digest = hashlib.sha256()
    with bundle.open(_member("entries.jsonl"), "w", force_zip64=True) as lines:
        for row in store.rows(inc=inc):
            if row.seq > size:
                break
            line = row.data + b"\n"
            digest.update(line)
            lines.write(line)
            seqs.append(row.seq)
            commits += [ref.commit for ref in believe(row).blobs]
    return seqs, "sha256:" + digest.hexdigest(), commits


def _write_proofs(bundle: zipfile.ZipFile, tree: Tree, seqs: list[int]) -> None:
    with bundle.open(_member("proofs.jsonl"), "w", force_zip64=True) as lines:
        for seq in seqs:
            proof = [step.hex() for step in tree.inclusion(seq - 1)]
            lines.write(canonical.encode({"proof": proof, "seq": seq}) + b"\n")


def _write_blobs(store: Store, bundle: zipfile.ZipFile, commits: list[str]) -> int:
    for commit in commits:
        blob = store.stored_blob(commit)
        if blob is None or not is_committed(blob, commit):
            raise TamperError("a blob is not what was recorded; see `mimrun log verify`")
        bundle.writestr(_member(f"blobs/{commit}"), blob.salt + blob.data)
    return len(commits)


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
        manifest = Manifest.model_validate_json(file.read(size))
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


def _verify_members(file: IO[bytes], bundle: zipfile.ZipFile, known: Known | None) -> Report:
    opened = _open_members(file, bundle)
    manifest = opened.manifest
    found = _verify_incident(opened, known) if manifest.inc else verify(_WholeLog(opened), known=known)
    flaws = list(found.flaws)
    intact = _digest(opened.lines("entries.jsonl")) == manifest.digest
    if not intact and not flaws:
        flaws.append(Flaw(0, "file", "the entries are not those that the manifest was made for"))
    if not flaws and (damaged := bundle.testzip()) is not None:
        flaws.append(Flaw(0, "file", f"the bundle is damaged in {damaged}"))
    return replace(found, flaws=tuple(flaws))


def _verify_incident(opened: _Open, known: Known | None) -> Report:
    """Check an incident's entries: each was in the log with the manifest's root, and none is left out."""
    manifest = opened.manifest
    excerpt = Excerpt(manifest.log, manifest.inc, manifest.size, manifest.root)
    blobs = 0
    pairs = zip_longest(opened.lines("entries.jsonl"), opened.lines("proofs.jsonl"))
    for line, proof in pairs:
        for claim in excerpt.feed((line or b"").removesuffix(b"\n"), proof or b""):
            blobs += 1
            if manifest.blobs and (why := blob_flaw(claim, opened.blob(claim.commit))):
                excerpt.flaw(claim.seq, "blob", why)
    if excerpt.count < manifest.entries:
        excerpt.flaw(0, "missing", f"the bundle had {manifest.entries} entries and has {excerpt.count}")
    if known is not None and (known.size, known.root) != (manifest.size, manifest.root):
        excerpt.flaw(
            0,
            "anchor",
            f"it was made of a log of size {manifest.size} and root {manifest.root}, not of the noted one",
        )
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
    )


def _digest(lines: Iterator[bytes]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line)
    return "sha256:" + digest.hexdigest()
