"""A small log, good bundles of it, and what it takes to forge one; see `builders.log_cases`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from builders.bundles import members, rewritten
from builders.written import Written, key_of

from mimrun import canonical
from mimrun.log.entry import Blob, BlobClass
from mimrun.log.kinds import LogAnchored, PlanFrozen
from mimrun.log.proof.bundle import CLASSES, export
from mimrun.log.proof.note import COSIGNATURE

LOG: Final = "mim.example.org/cases"
FIRST, SECOND, FOREIGN = key_of(LOG, 1), key_of(LOG, 2), key_of(LOG, 3)
ROOT, OTHER_ROOT = key_of("mim.example.org/root", 4), key_of("mim.example.org/root", 5)
WITNESS = key_of("witness.example.org", 6, COSIGNATURE)
OTHER_WITNESS = key_of("another.example.org", 7, COSIGNATURE)
RUNBOOK: Final = "schema: mimrun/1\nname: small\n"

Content = dict[str, bytes]
Options = dict[str, Any]


@dataclass
class Case:
    """One bundle, and what a verifier has to say of it.

    Arguments:
        name: of the file.
        about: what was done, in words.
        data: the bytes of the file.
        flaws: entries of which one at least must be named, or 0 for the bundle as a whole; none: it is good.
        options: what the verifier is given: `root`, `key`, `witness`, `checkpoint` (a note), `unsigned`.
    """

    name: str
    about: str
    data: bytes
    flaws: list[int] = field(default_factory=list)
    options: Options = field(default_factory=dict)

    @property
    def file(self) -> str:
        """Where the file is in the folder."""
        return f"{'bad' if self.flaws else 'good'}/{self.name}.mimlog"

    def as_json(self) -> dict[str, Any]:
        """The case as index.json lists it."""
        return {"file": self.file, "about": self.about, "flaws": self.flaws, "options": self.options}


class Cases:
    """Makes the cases, one after the other."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.found: list[Case] = []
        self.log = Written(LOG)
        self._write_log()

    def _write_log(self) -> None:
        """Genesis, a key, a plan, notes of two incidents, a checkpoint that was given away, and more of both."""
        log = self.log
        log.announce(FIRST, ROOT)
        digest = canonical.digest_bytes(RUNBOOK.encode())
        frozen = PlanFrozen(
            digest=canonical.digest_bytes(b"{}"),
            runbook="small",
            version="1.0.0",
            runbook_digest=digest,
            title="Small",
            stage="containment",
            risk="low",
        )
        sources = canonical.encode({digest: RUNBOOK})
        blobs = [Blob("plan", b"{}", "plan"), Blob("runbooks", sources, "plan")]
        log.add(frozen, "INC-1", blobs, run="run-1")
        log.note("the standby does not answer", "INC-1")
        log.note("another matter", "INC-2")
        log.note("the standby answers again: grün \x7f 𝄞", "INC-1")
        self.kept = log.sign(FIRST)
        middle = log.notes[-1].size
        log.add(LogAnchored(anchor="file", size=middle, root=log.head().root, done=True))
        log.note("closed", "INC-1")
        log.note("closed, too", "INC-2")

    def export(
        self, log: Written, inc: str | None = "INC-1", classes: tuple[BlobClass, ...] = CLASSES
    ) -> Path:
        path = self.place / "made.mimlog"
        path.unlink(missing_ok=True)
        export(log.store, path, inc=inc, classes=classes)
        return path

    def signed(self) -> Written:
        """The usual log, under a checkpoint."""
        log = self.log.copy()
        log.sign(FIRST)
        return log

    def add(self, name: str, about: str, path: Path, *flaws: int, **options: Any) -> None:
        self.found.append(Case(name, about, path.read_bytes(), list(flaws), options))

    def good(self) -> None:
        """Bundles with which nothing is wrong."""
        log = self.signed()
        vkey, root = FIRST.verifying().vkey, ROOT.verifying().vkey
        self.add("incident", "one incident", self.export(log))
        self.add("whole", "the whole log", self.export(log, None))
        self.add(
            "trusted",
            "compared with all that somebody may bring along",
            self.export(log),
            root=root,
            key=[vkey],
            checkpoint=self.kept,
        )
        self.add(
            "whole-trusted",
            "likewise, the whole log",
            self.export(log, None),
            root=root,
            key=[vkey],
            checkpoint=self.kept,
        )
        self.add("no-blobs", "without any blob", self.export(log, classes=()))
        self.add("plan-only", "with the blobs of class plan", self.export(log, classes=("plan",)))
        self.add("unsigned", "nobody has signed it, and that will do", self.export(self.log), unsigned=True)
        log = self.log.copy()
        log.sign(FIRST, witnesses=[WITNESS, OTHER_WITNESS])
        self.add(
            "witnessed",
            "with the signature of a witness",
            self.export(log),
            witness=[WITNESS.verifying().vkey],
        )
        log = self.log.copy()
        log.erase(4, "text")
        log.sign(FIRST)
        self.add("redacted", "a blob was erased by two people", self.export(log))
        self.add("whole-redacted", "likewise, the whole log", self.export(log, None))
        self.add("rotated", "a second key took over", self.export(self._rotated()), root=root)
        self.add("whole-rotated", "likewise, the whole log", self.export(self._rotated(), None))

    def _rotated(self) -> Written:
        log = self.log.copy()
        log.announce(SECOND, ROOT)
        log.sign(FIRST, SECOND)
        log.retire(FIRST, log.head().size)
        log.note("under the second key", "INC-1")
        log.sign(SECOND)
        return log

    # -- what a forger does to one incident --

    def changed(
        self, name: str, about: str, change: Callable[[Content], object], *flaws: int, **options: Any
    ) -> None:
        """A bundle of the incident with other members, and a manifest that fits them."""
        path = self.export(self.signed())
        before = members(path)
        after = dict(before)
        manifest = json.loads(before["manifest.json"])
        after["manifest"] = canonical.encode(manifest)
        change(after)
        said = json.loads(after.pop("manifest"))
        gone = {member: after.get(member) for member in before if after.get(member) != before[member]}
        new = {member: data for member, data in after.items() if member not in before}
        gone.pop("manifest.json", None)
        self.add(name, about, rewritten(path, self.place, {**gone, **new}, manifest=said), *flaws, **options)

    def line(self, name: str, about: str, number: int, change: Callable[[bytes], bytes], *flaws: int) -> None:
        """One line of entries.jsonl is another one."""

        def edit(content: Content) -> None:
            found = content["entries.jsonl"].splitlines()
            found[number] = change(found[number])
            content["entries.jsonl"] = b"".join(line + b"\n" for line in found)

        self.changed(name, about, edit, *flaws)


def edited(data: bytes, **changes: Any) -> bytes:
    """A manifest that says other things."""
    return canonical.encode({**json.loads(data), **changes})


def flipped_line(note: str, line: int, at: int = 3) -> str:
    """A note with another letter in one of its lines."""
    found = note.split("\n")
    found[line] = found[line][:at] + ("A" if found[line][at] != "A" else "B") + found[line][at + 1 :]
    return "\n".join(found)
