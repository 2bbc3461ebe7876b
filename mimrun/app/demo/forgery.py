"""The demo's forgeries: copies of a bundle as somebody with a zip program and some patience could make them.

Each has a manifest that fits what was changed, so that what gives it away is the log and not a checksum beside it.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mimrun import canonical
from mimrun.log.kind import Kind
from mimrun.log.proof.container import Container
from mimrun.log.proof.note import SigningKey, read_checkpoint, read_note, sign_note

CUT: Final = 3
"""Entries that are cut from an incident's end."""


@dataclass(frozen=True, slots=True)
class Forgery:
    """A copy of a bundle that was tampered with.

    Arguments:
        name: a word for it.
        what: what was done to it.
        members: what is in it.
    """

    name: str
    what: str
    members: Mapping[str, bytes]

    def write(self, path: Path) -> None:
        """Write it as a bundle."""
        with Container(path) as container:
            for name, data in self.members.items():
                container.add(name, [data])


def forge(bundle: Path, impostor: str, seed: bytes) -> tuple[Forgery, ...]:
    """Make the forged copies of a bundle.

    Arguments:
        bundle: of one incident, with a checkpoint.
        impostor: the name that an entry is put under.
        seed: 32 random bytes: the forger's own key.
    """
    with zipfile.ZipFile(bundle) as opened:
        members = {info.filename: opened.read(info) for info in opened.infolist()}
    return _edited(members, impostor), _cut(members), _signed(members, seed)


def _edited(members: Mapping[str, bytes], impostor: str) -> Forgery:
    """Put a decision under another name, or the first entry of a person where nothing was decided."""
    lines = members["entries.jsonl"].splitlines(keepends=True)
    entries = [json.loads(line) for line in lines]
    persons = [n for n, entry in enumerate(entries) if entry["actor"]["kind"] == "person"]
    decided = [n for n in persons if entries[n]["kind"] == Kind.GATE_DECIDED]
    at = (decided or persons)[0]
    entry = entries[at]
    was, entry["actor"]["id"] = entry["actor"]["id"], impostor
    lines[at] = canonical.encode(entry) + b"\n"
    what = f"in entry {entry['seq']} ({entry['kind']}), {was} becomes {impostor}"
    return Forgery("edited", what, _refitted(members, {"entries.jsonl": b"".join(lines)}))


def _cut(members: Mapping[str, bytes]) -> Forgery:
    """Take the last entries away, with their proofs and blobs."""
    lines = members["entries.jsonl"].splitlines(keepends=True)
    proofs = members["proofs.jsonl"].splitlines(keepends=True)
    kept, gone = [json.loads(line) for line in lines[:-CUT]], [json.loads(line) for line in lines[-CUT:]]
    orphans = {f"blobs/{commit}" for commit in _commits(gone) - _commits(kept)} & set(members)
    changed: dict[str, bytes | None] = {
        "entries.jsonl": b"".join(lines[:-CUT]),
        "proofs.jsonl": b"".join([*proofs[: len(kept)], *proofs[len(lines) :]]),
        **dict.fromkeys(orphans),
    }
    what = f"the last {len(gone)} entries are cut off, from entry {gone[0]['seq']} on"
    return Forgery("cut", what, _refitted(members, changed, entries=len(kept), orphans=len(orphans)))


def _commits(entries: Sequence[Any]) -> set[str]:
    return {blob["commit"] for entry in entries for blob in entry["blobs"]}


def _signed(members: Mapping[str, bytes], seed: bytes) -> Forgery:
    """Sign the checkpoint with another key of the same name."""
    text = read_note(members["checkpoint"]).text
    forger = SigningKey(read_checkpoint(text).origin, seed)
    what = f"the checkpoint is signed by another key, {forger.verifying()}"
    return Forgery("signed", what, _refitted(members, {"checkpoint": sign_note(text, [forger]).encode()}))


def _refitted(
    members: Mapping[str, bytes],
    changed: Mapping[str, bytes | None],
    *,
    entries: int | None = None,
    orphans: int = 0,
) -> dict[str, bytes]:
    """Give the members with these changes, and a manifest that fits them.

    Arguments:
        changed: what is other; None leaves a member out.
        entries: how many entries the manifest is to say; None for as many as before.
        orphans: how many blobs fewer it is to say.
    """
    content = {name: data for name, data in {**members, **changed}.items() if data is not None}
    manifest: dict[str, Any] = json.loads(content.pop("manifest.json"))
    manifest["blobs"] -= orphans
    manifest["entries"] = manifest["entries"] if entries is None else entries
    manifest["members"] = {
        name: canonical.digest_bytes(data) for name, data in content.items() if not name.startswith("blobs/")
    }
    return {**content, "manifest.json": canonical.encode(manifest)}
