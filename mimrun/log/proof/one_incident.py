"""Checking the bundle of one incident against the checkpoint in it."""

from __future__ import annotations

import re
from typing import Final

from mimrun.log.chain import SALT_SIZE, IncidentHead, StoredBlob, StoredCheckpoint
from mimrun.log.entry import LogEntry, decode
from mimrun.log.kinds import Kind, LogHeads
from mimrun.log.merkle import consistent
from mimrun.log.moment import write_moment
from mimrun.log.proof.bundle import Manifest
from mimrun.log.proof.erased import Blobs, blob_flaw
from mimrun.log.proof.excerpt import Excerpt, read_hash, read_hashes, read_object
from mimrun.log.proof.heads import HeadProof
from mimrun.log.proof.report import Report, Trust
from mimrun.log.proof.signed import Signed
from mimrun.log.proof.standalone.form import Bundle
from mimrun.log.proof.stored import BlobClaim

_EARLIER: Final = {"proof": list, "root": str, "size": int}
_END: Final = {"inc": str, "incidents": int, "index": int, "iseq": int, "leaf": str, "proof": list}
_KEPT: Final = re.compile(rb'"kind":"(?:redact\.|plan\.)')


def verify_incident(
    bundle: Bundle, manifest: Manifest, trust: Trust
) -> tuple[Report, list[LogEntry], list[LogEntry]]:
    """Check a bundle of one incident.

    Returns:
        The report; the entries about plans and erasures; the entries about the log itself.
    """
    check = _Incident(bundle, manifest, trust)
    return check.report(), check.kept, check.about


class _Incident:
    """One such check."""

    def __init__(self, bundle: Bundle, manifest: Manifest, trust: Trust) -> None:
        self.bundle, self.manifest, self.trust = bundle, manifest, trust
        self.excerpt = Excerpt(manifest.log, manifest.inc, manifest.size, manifest.root)
        self.blobs = Blobs(self.excerpt.flaw)
        self.kept: list[LogEntry] = []
        self.about: list[LogEntry] = []
        self.commits: set[str] = set()
        self.sound = True
        self.signed = Signed(manifest.log, trust, self.excerpt.flaw, {manifest.size: manifest.root})

    def report(self) -> Report:
        """Check everything."""
        manifest, excerpt = self.manifest, self.excerpt
        self._read()
        self.sound = not excerpt.flaws
        if excerpt.count != manifest.entries:
            detail = f"the bundle had {manifest.entries} entries and has {excerpt.count}"
            excerpt.flaw(0, "missing", detail)
        last = max([excerpt.last_ts, *(write_moment(entry.ts) for entry in self.about[-1:])])
        if not excerpt.flaws and last != manifest.made_at:
            excerpt.flaw(0, "file", "the bundle was not made at the moment of its last entry")
        self._check_earlier()
        self._check_signed()
        self._check_end()
        self.blobs.judge(self.kept, lambda commit: f"blobs/{commit}" in self.bundle.places)
        there = {name.removeprefix("blobs/") for name in self.bundle.names("blobs/")}
        # What an entry speaks of that was changed is not known.
        if strange := len(there - self.commits) if self.sound else 0:
            excerpt.flaw(0, "blob", f"{strange} blobs are here of which no entry speaks")
        elif len(there) != manifest.blobs:
            excerpt.flaw(0, "blob", f"the bundle had {manifest.blobs} blobs and has {len(there)}")
        return Report(
            log=manifest.log,
            scope=f"incident {manifest.inc}",
            size=excerpt.count,
            root=manifest.root,
            first_ts=excerpt.first_ts,
            last_ts=excerpt.last_ts,
            incidents=1,
            blobs=self.blobs.count - len(self.blobs.erased),
            flaws=tuple(excerpt.flaws),
            known=self.trust.known,
            findings=self.signed.findings(self.blobs.erased),
            of=manifest.size,
        )

    def _read(self) -> None:
        proofs = self.bundle.lines("proofs.jsonl")
        for line in self.bundle.lines("entries.jsonl"):
            before = len(self.excerpt.flaws)
            claims = self.excerpt.feed(line, next(proofs, b""))
            if len(self.excerpt.flaws) == before and _KEPT.search(line):
                self.kept.append(decode(line))
            for claim in claims:
                self._take_blob(claim)
        for line in self.bundle.lines("log.jsonl"):
            if self.excerpt.feed_about(line, next(proofs, b"")):
                self.about.append(decode(line))
        if next(proofs, None) is not None:
            self.excerpt.flaw(0, "proof", "there are more proofs than entries")

    def _take_blob(self, claim: BlobClaim) -> None:
        self.commits.add(claim.commit)
        data = self.bundle.read(f"blobs/{claim.commit}")
        if claim.cls not in self.manifest.classes:
            if data is not None:
                detail = f"its blob {claim.name!r} was to be left out, and is here"
                self.excerpt.flaw(claim.seq, "blob", detail)
            return
        self.blobs.count += 1
        if data is None:
            self.blobs.miss(claim)
        elif why := blob_flaw(claim, StoredBlob(data[:SALT_SIZE], data[SALT_SIZE:])):
            self.excerpt.flaw(claim.seq, "blob", why)

    def _check_earlier(self) -> None:
        """Each earlier log that the bundle names is the beginning of this one."""
        size, ours = self.manifest.size, bytes.fromhex(self.manifest.root)
        for line in self.bundle.lines("consistency.jsonl"):
            try:
                value = read_object(line, _EARLIER)
                earlier, root = value["size"], read_hash(value["root"])
                path = read_hashes(value["proof"])
                if not 0 < earlier < size or not consistent(earlier, size, path, root, ours):
                    raise ValueError("the proof does not hold")
            except ValueError as exc:
                detail = f"an earlier log is not the beginning of this one: {exc}"
                self.excerpt.flaw(0, "proof", detail)
                continue
            self.signed.roots[earlier] = root.hex()

    def _check_signed(self) -> None:
        size, note = self.manifest.size, self.bundle.read("checkpoint")
        self.signed.take_keys(self.about)
        stored = [StoredCheckpoint(size, note.decode("utf-8", "surrogateescape"))] if note is not None else []
        heads = {entry.seq for entry in self.about if entry.kind is Kind.LOG_HEADS}
        self.signed.check_stored(stored, heads.__contains__, size, whole=False)
        if note is None and not self.trust.unsigned:
            detail = "no checkpoint is above it: nobody has signed what it says"
            self.excerpt.flaw(0, "checkpoint", detail)
        self.signed.check_kept(size, whole=False)
        self.signed.say_limits([], size)

    def _check_end(self) -> None:
        """Nothing was cut from the end of the incident: its end is under the log's last entry."""
        data, end = self.bundle.read("heads.json"), self.excerpt.end
        if data is None and self.bundle.read("checkpoint") is None:
            self.signed.not_proven.append(
                "that the incident's last entries are there: they are under no checkpoint"
            )
            return
        try:
            value = read_object(data or b"", _END)
            last = IncidentHead(value["iseq"], value["leaf"])
            path = read_hashes(value["proof"])
            proof = HeadProof(value["inc"], last, value["index"], value["incidents"], path)
            heads = self.about[-1].body if self.about else None
            if not isinstance(heads, LogHeads) or self.about[-1].seq != self.manifest.size:
                raise ValueError("the log did not end with the heads of its incidents")
            if self.sound and (proof.inc, last) != (self.manifest.inc, end):
                raise ValueError(self._other_end(proof))
            if not proof.holds(bytes.fromhex(heads.root), heads.incidents):
                raise ValueError("the proof does not hold")
        except ValueError as exc:
            detail = f"that this is the end of the incident is not proven: {exc}"
            self.excerpt.flaw(0, "heads", detail)
            return
        proven = "nothing was left out of the incident, nor cut from its end, up to that checkpoint"
        self.signed.proven.append(proven)

    def _other_end(self, said: HeadProof) -> str:
        """Why what the bundle says is the incident's end is not the end of the entries in it."""
        gap = said.end.iseq - self.excerpt.end.iseq if self.excerpt.end else 0
        if said.inc != self.manifest.inc:
            return "it is the end of another incident"
        if gap > 0:
            return f"{gap} {'entry is' if gap == 1 else 'entries are'} missing at the incident's end"
        return "it is the end of other entries than these"
