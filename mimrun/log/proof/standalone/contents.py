"""What the entries of a bundle commit to: blobs, what was erased of them, and the runbooks of their plans."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from mimrun.log.proof.standalone.entries import Entries
from mimrun.log.proof.standalone.form import Bundle, sha256

Spot = tuple[int, str, str]


class Contents:
    """Checks what the entries commit to; flaws go to the entries.

    Arguments:
        bundle: where it is.
        classes: of which classes blobs were to be in the bundle.
        count: how many blobs were in it.
        entries: the bundle's entries.
    """

    def __init__(self, bundle: Bundle, classes: list[str], count: int, entries: Entries) -> None:
        self.bundle, self.classes, self.count, self.entries = bundle, classes, count, entries
        self.blobs = 0
        self.changed = False
        self.erased: list[str] = []

    def check(self, *, changed: bool) -> None:
        """Check everything.

        Arguments:
            changed: some entries are not what was recorded.
        """
        self.changed = changed
        self._check_blobs()
        self._check_runbooks()

    def _check_blobs(self) -> None:
        """Each blob that should be here is what its entry commits to, or was erased by two people."""
        erased, spoken = self._redactions(), set()
        for value, _ in self.entries.kept:
            for ref in value["blobs"]:
                data = self.bundle.read("blobs/" + ref["commit"])
                spoken.add("blobs/" + ref["commit"])
                gone = erased.get((value["seq"], ref["n"], ref["commit"]))
                if ref["cls"] in self.classes:
                    self._check_blob(value["seq"], ref, data, gone)
                elif data is not None:
                    self.entries.flaw(
                        value["seq"], "blob", f"its blob {ref['n']!r} was to be left out, and is here"
                    )
        there = set(self.bundle.names("blobs/"))
        # What an entry speaks of that was changed is not known.
        if there - spoken and not self.changed:
            self.entries.flaw(0, "blob", f"{len(there - spoken)} blobs are here of which no entry speaks")
        elif len(there) != self.count:
            self.entries.flaw(0, "blob", f"the bundle had {self.count} blobs and has {len(there)}")

    def _check_blob(self, seq: int, ref: dict[str, Any], data: bytes | None, gone: str | None) -> None:
        name = ref["n"]
        if data is None and gone is None:
            self.entries.flaw(seq, "blob", f"its blob {name!r} is missing")
        elif data is None:
            self.erased.append(f"blob {name!r} of entry {seq} was erased with authority: {gone}")
        elif gone is not None:
            self.entries.flaw(seq, "blob", f"its blob {name!r} was erased ({gone}), and is here")
        elif (
            hashlib.sha256(b"mimlog/blob/v1\0" + data).hexdigest() != ref["commit"]
            or len(data) - 32 != ref["len"]
        ):
            self.entries.flaw(
                seq, "blob", f"the content of its blob {name!r} is not what was recorded; the entry itself is"
            )
        else:
            self.blobs += 1

    def _redactions(self) -> dict[Spot, str]:
        """What was erased: by whom, and at whose word. One person alone erases nothing."""
        entries = {entry.value["seq"]: entry.value for entry in self.entries.kept}
        found: dict[Spot, str] = {}
        for seq, value in entries.items():
            if value["kind"] != "redact.applied":
                continue
            body = value["body"]
            asked = entries.get(body["proposal"], {})
            names = asked.get("body", {}).get("names", [])
            actor, other = value["actor"], asked.get("actor", {})
            if (
                asked.get("kind") != "redact.proposed"
                or asked["body"].get("entry") != body["entry"]
                or body["name"] not in names
                or not asked["seq"] < seq
                or {actor["kind"], other["kind"]} != {"person"}
                or actor["id"] == other["id"]
            ):
                self.entries.flaw(seq, "redaction", "content was erased without the word of two people")
                continue
            key = (body["entry"], body["name"], body["commit"])
            found[key] = f"entry {seq}, proposed by {other['id']}, applied by {actor['id']}"
        return found

    def _check_runbooks(self) -> None:
        """Each runbook is one that a frozen plan was made of."""
        known: set[str] = set()
        for value, _ in self.entries.kept:
            if value["kind"] != "plan.frozen":
                continue
            known.add(str(value["body"].get("runbook_digest", "")))
            for ref in value["blobs"]:
                data = self.bundle.read("blobs/" + ref["commit"]) if ref["n"] == "runbooks" else None
                try:
                    known.update(sha256(text.encode()) for text in json.loads((data or b"")[32:]).values())
                except (ValueError, AttributeError, TypeError, RecursionError):
                    continue
        for name in self.bundle.names("runbooks/"):
            digest = sha256(self.bundle.read(name) or b"")
            if digest not in known or name != f"runbooks/{digest[7:]}.yaml":
                self.entries.flaw(0, "runbook", f"{name} is not a runbook that a plan here was made of")
