"""Checking a bundle: needs nothing but the file, and what somebody brings along to compare it with."""

from __future__ import annotations

import mmap
import struct
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Final

from pydantic import ValidationError

from mimrun import canonical
from mimrun.errors import InputError, LogError, TamperError
from mimrun.log.chain import SALT_SIZE, StoredBlob, StoredCheckpoint, StoredRow
from mimrun.log.entry import FORMAT, LogEntry, decode
from mimrun.log.kinds import PlanFrozen
from mimrun.log.proof.bundle import BUNDLE, CLASSES, RUNBOOKS, Manifest, listed, sources_in
from mimrun.log.proof.excerpt import read_object
from mimrun.log.proof.first import verify_first
from mimrun.log.proof.key import KeyRing
from mimrun.log.proof.lines import Lines
from mimrun.log.proof.one_incident import verify_incident
from mimrun.log.proof.report import Known, Report, Trust
from mimrun.log.proof.standalone.form import Bundle, Damaged
from mimrun.log.proof.stored import Flaw
from mimrun.log.proof.verify import verify
from mimrun.log.redaction import Redaction

_FIRST: Final = b"mimlog-bundle/1"
_OF_WHOLE: Final = frozenset({"checkpoints.jsonl"})
_OF_INCIDENT: Final = frozenset({"proofs.jsonl", "log.jsonl", "heads.json", "consistency.jsonl"})
"""Members that only a bundle of the whole log has, and those that only one of an incident has."""


def verify_bundle(path: Path, *, known: Known | None = None, trust: Trust | None = None) -> Report:
    """Check a bundle.

    Arguments:
        path: the bundle, or a plain file of lines: a whole log as canonical JSON, one entry a line.
        known: size and root that were noted earlier; the same as in `trust`.
        trust: what it is compared with, and whose signatures count.

    Raises:
        InputError: there is no such file.
        LogError: it is not a bundle, or is damaged so that it cannot be read.
    """
    trust = trust or Trust(known=known)
    found = _verify_file(path, trust)
    return replace(found, vouched=bool(trust.root or trust.keys or trust.witnesses))


def _verify_file(path: Path, trust: Trust) -> Report:
    try:
        with path.open("rb") as file:
            if file.read(2) != b"PK":
                file.seek(0)
                return verify(Lines(file), trust=trust)
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                try:
                    return _verify(Bundle(data), trust)
                except Damaged:
                    if not _is_first(file):
                        raise
            with zipfile.ZipFile(file) as bundle:
                return verify_first(file, bundle, trust)
    except OSError as exc:
        raise InputError(f"{path} cannot be read: {exc}") from exc
    except (Damaged, zipfile.BadZipFile, struct.error, NotImplementedError, EOFError, RuntimeError) as exc:
        raise LogError(f"{path} is not a bundle, or is damaged: {exc}") from exc


def _is_first(file: IO[bytes]) -> bool:
    """Whether a bundle says that it is of the first format."""
    try:
        with zipfile.ZipFile(file) as bundle:
            info = bundle.getinfo("manifest.json")
            return info.file_size < 10_000 and _FIRST in bundle.read(info)
    except Exception:  # noqa: BLE001 - a forged zip makes that module raise almost anything
        return False


def _verify(bundle: Bundle, trust: Trust) -> Report:
    manifest = _manifest(bundle)
    if manifest.inc:
        found, entries, about = verify_incident(bundle, manifest, trust)
    else:
        source = _WholeLog(bundle, manifest)
        found = verify(source, trust=trust, classes=manifest.classes)
        entries, about = source.plans, source.keys
        found = replace(found, flaws=(*found.flaws, *_whole_flaws(bundle, manifest, found, trust)))
    flaws = [*found.flaws, *_runbook_flaws(bundle, entries), *_keys_flaws(bundle, manifest, about)]
    return replace(found, flaws=tuple(sorted(flaws or _member_flaws(bundle, manifest), key=_order)))


def _order(flaw: Flaw) -> tuple[bool, Flaw]:
    return flaw.seq == 0, flaw


def _manifest(bundle: Bundle) -> Manifest:
    """Read what a bundle says of itself.

    Raises:
        LogError: that cannot be read, or it is of another format.
    """
    data = bundle.read("manifest.json") or b""
    try:
        manifest = Manifest.model_validate_json(data)
        plain = canonical.encode(manifest.model_dump(mode="json")) == data
    except (ValidationError, ValueError) as exc:
        raise LogError(f"the manifest of the bundle cannot be read: {exc}") from exc
    if not plain or manifest.bundle != BUNDLE or manifest.format != FORMAT or not manifest.size:
        raise LogError(f"the bundle is of format {manifest.bundle!r}; this mimrun knows {BUNDLE!r}")
    if manifest.classes != tuple(name for name in CLASSES if name in manifest.classes):
        raise LogError("the manifest of the bundle cannot be read: classes of blobs twice, or out of order")
    return manifest


def _member_flaws(bundle: Bundle, manifest: Manifest) -> Iterator[Flaw]:
    """Whether every other byte is the one that was written."""
    there = {name for name in bundle.places if name != "manifest.json" and not name.startswith("blobs/")}
    for name in sorted(there | manifest.members.keys()):
        if name not in there or manifest.members.get(name) != canonical.digest_bytes(
            bundle.read(name) or b""
        ):
            yield Flaw(0, "file", f"{name} is not what the manifest was made for")
    for name in there & (_OF_WHOLE if manifest.inc else _OF_INCIDENT):
        yield Flaw(0, "file", f"{name} does not belong into a bundle of this kind")
    for name in bundle.damaged():
        yield Flaw(0, "file", f"the bundle is damaged in {name}")


def _keys_flaws(bundle: Bundle, manifest: Manifest, about: Iterable[LogEntry]) -> Iterator[Flaw]:
    """keys.json is there for people; it has to say what the entries say."""
    try:
        keys = KeyRing.fold(manifest.log, about).keys
    except TamperError:  # that entry is named already
        return
    if bundle.read("keys.json") != canonical.encode({"keys": [listed(key) for key in keys]}):
        yield Flaw(0, "key", "keys.json does not say what the entries say of the log's keys")


def _runbook_flaws(bundle: Bundle, entries: Iterable[LogEntry]) -> Iterator[Flaw]:
    """Runbooks in a bundle of which no plan was made."""
    known = set()
    for entry in entries:
        if isinstance(entry.body, PlanFrozen):
            known.add(entry.body.runbook_digest)
            for ref in entry.blobs:
                data = bundle.read(f"blobs/{ref.commit}") if ref.n == RUNBOOKS else None
                with suppress(ValueError, AttributeError):
                    sources = sources_in((data or b"")[SALT_SIZE:])
                    known |= {canonical.digest_bytes(source) for source in sources.values()}
    for name in bundle.names("runbooks/"):
        digest = canonical.digest_bytes(bundle.read(name) or b"")
        if digest not in known or name != f"runbooks/{digest.removeprefix('sha256:')}.yaml":
            yield Flaw(0, "runbook", f"{name} is not a runbook that a plan here was made of")


def _whole_flaws(bundle: Bundle, manifest: Manifest, found: Report, trust: Trust) -> Iterator[Flaw]:
    """What a bundle of the whole log says of itself, and its entries do not bear out."""
    if found.ok and found.size < manifest.size:
        yield Flaw(found.size + 1, "missing", f"the log had {manifest.size} entries")
    elif found.ok and (found.size, found.root) != (manifest.size, manifest.root):
        yield Flaw(found.size, "link", "it is not the entry that the log ended with")
    elif found.ok and found.last_ts != manifest.made_at:
        yield Flaw(0, "file", "the bundle was not made at the moment of its last entry")
    if found.size != manifest.entries:
        yield Flaw(0, "missing", f"the bundle had {manifest.entries} entries and has {found.size}")
    signed = bundle.read("checkpoint") is not None if found.flaws else found.findings.signed == manifest.size
    if not signed and not trust.unsigned:
        yield Flaw(0, "checkpoint", "no checkpoint is above it: nobody has signed what it says")
    blobs = len(bundle.names("blobs/"))
    if found.ok and manifest.classes and blobs != found.blobs:
        yield Flaw(0, "blob", f"{blobs} blobs are here, and the entries speak of {found.blobs}")
    elif blobs != manifest.blobs:
        yield Flaw(0, "blob", f"the bundle had {manifest.blobs} blobs and has {blobs}")


class _WholeLog(Lines):
    """The entries of a bundle of the whole log, with its checkpoints, and its blobs if it has any."""

    def __init__(self, bundle: Bundle, manifest: Manifest) -> None:
        super().__init__(bundle.lines("entries.jsonl"))
        self.log = manifest.log
        self.plans: list[LogEntry] = []
        self.keys: list[LogEntry] = []
        self._bundle, self._manifest = bundle, manifest

    def rows(self, after: int = 0) -> Iterator[StoredRow]:
        """The entries; remembers those that say something about others."""
        for row in super().rows(after):
            if b'"log.key' in row.data or b'"plan.frozen"' in row.data:
                with suppress(LogError):
                    entry = decode(row.data)
                    self.plans += [entry] if isinstance(entry.body, PlanFrozen) else []
                    self.keys += [entry] if entry.kind.startswith("log.key") else []
            yield row

    def stored_blob(self, commit: str) -> StoredBlob | None:
        """A blob of the bundle."""
        data = self._bundle.read(f"blobs/{commit}")
        return None if data is None else StoredBlob(data[:SALT_SIZE], data[SALT_SIZE:])

    def redactions(self) -> Iterator[Redaction]:
        """What was erased is in the entries, and nowhere else."""
        return iter(())

    def keeps_blobs(self) -> bool:
        """Whether any class of blobs was chosen for the bundle."""
        return bool(self._manifest.classes)

    def checkpoints(self, after: int = 0) -> Iterator[StoredCheckpoint]:
        """The older checkpoints, and then the bundle's own."""
        for line in self._bundle.lines("checkpoints.jsonl"):
            try:
                value = read_object(line, {"note": str, "size": int})
                found = StoredCheckpoint(value["size"], value["note"])
            except ValueError:
                found = StoredCheckpoint(0, "")
            if found.size > after or found.size <= 0:
                yield found
        note = self._bundle.read("checkpoint")
        if note is not None and after < self._manifest.size:
            yield StoredCheckpoint(self._manifest.size, note.decode("utf-8", "surrogateescape"))
