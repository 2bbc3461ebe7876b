"""The bundle as a whole: do checkpoint, keys, heads, blobs and runbooks belong to the entries?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from mimrun.log.proof.standalone.contents import Contents
from mimrun.log.proof.standalone.entries import (
    HEX,
    MOMENT,
    Entries,
    Flaw,
    RingKey,
    hashes_of,
    head_leaf,
    read_keys,
)
from mimrun.log.proof.standalone.form import (
    LARGEST,
    Bundle,
    Damaged,
    is_beginning,
    is_included,
    read_canonical,
    root_of,
    roots_at,
    sha256,
    write_canonical,
)
from mimrun.log.proof.standalone.signature import Key, check_note, is_name, unbase

CLASSES = ("plan", "output", "data", "text")
MANIFEST: dict[str, type] = {
    **dict.fromkeys(["bundle", "format", "inc", "log", "made_at", "root"], str),
    **dict.fromkeys(["blobs", "entries", "size"], int),
    "classes": list,
    "members": dict,
}
OF_INCIDENT = ("proofs.jsonl", "log.jsonl", "heads.json", "consistency.jsonl")
OF_WHOLE = ("checkpoints.jsonl",)
END = {"inc": str, "incidents": int, "index": int, "iseq": int, "leaf": str, "proof": list}
NOTE = re.compile(r"[^\n]+\n[^\n]+\n[^\n]+\n\n(?:— [^\n]+\n)+")


class Given(NamedTuple):
    """What somebody brings along to check a bundle with.

    Arguments:
        root: the offline root key that must have certified the log's keys.
        keys: the log's keys that count; none: those that the bundle names.
        witnesses: keys of witnesses that must have signed the checkpoint, too.
        notes: checkpoints that were kept elsewhere, each a signed note.
        unsigned: a bundle without a checkpoint will do.
    """

    root: Key | None = None
    keys: Sequence[Key] = ()
    witnesses: Sequence[Key] = ()
    notes: Sequence[str] = ()
    unsigned: bool = False


class Head(NamedTuple):
    """What a checkpoint says, and which of the keys that count signed it."""

    size: int
    root: bytes
    keys: list[Key]


def split_notes(text: str) -> list[str]:
    """The signed notes that a file holds, one behind the other. Raises ValueError where it holds others."""
    notes = NOTE.findall(text)
    if not notes or "".join(notes) != text.replace("\r\n", "\n").strip("\n") + "\n":
        raise ValueError("it holds something else than signed checkpoints")
    return notes


def size_of(note: str) -> int:
    """The size that a note says, unchecked; 0 where it says none."""
    line = [*note.split("\n"), ""][1]
    return int(line) if re.fullmatch(r"[1-9][0-9]{0,15}", line) else 0


def read_manifest(bundle: Bundle) -> dict[str, Any]:
    """What the bundle says of itself. Raises Damaged where that cannot be read."""
    try:
        value = read_canonical(bundle.read("manifest.json") or b"")
    except ValueError as exc:
        raise Damaged(f"manifest.json cannot be read: {exc}") from None
    if not isinstance(value, dict) or {name: type(x) for name, x in value.items()} != MANIFEST:
        raise Damaged("manifest.json has not the keys of mimlog-bundle/2")
    if (value["bundle"], value["format"]) != ("mimlog-bundle/2", "mimlog/1"):
        raise Damaged(f"it is of format {value['bundle']!r}; this program knows mimlog-bundle/2")
    sound = is_name(value["log"]) and HEX.fullmatch(value["root"]) and MOMENT.fullmatch(value["made_at"])
    if not sound or value["classes"] != [c for c in CLASSES if c in value["classes"]] or value["size"] < 1:
        raise Damaged("manifest.json says what cannot be")
    return value


class Examination:
    """Checks a bundle; `flaws` has what is wrong, `proven` and `open` say in words what is and what is not proven.

    Arguments:
        bundle: the bundle.
        given: what it is compared with.
    """

    def __init__(self, bundle: Bundle, given: Given) -> None:
        self.bundle, self.given = bundle, given
        self.manifest = read_manifest(bundle)
        self.root = bytes.fromhex(self.manifest["root"])
        self.whole = not self.manifest["inc"]
        self.entries = Entries(self.manifest["log"], self.manifest["inc"], self.manifest["size"], self.root)
        self.ring: list[RingKey] = []
        self.sound = True
        self.head: Head | None = None
        self.earlier: dict[int, bytes] = {}
        self.proven: list[str] = []
        self.open: list[str] = []
        self.contents = Contents(bundle, self.manifest["classes"], self.manifest["blobs"], self.entries)

    def run(self) -> list[Flaw]:
        """Check everything; give what is wrong, what is wrong with an entry first."""
        (self.entries.read_whole if self.whole else self.entries.read_proven)(self.bundle)
        self.sound = not self.entries.flaws
        self._check_counts()
        self.ring = read_keys(self.entries, self.given.root)
        self._check_keys()
        self._check_checkpoint()
        self._check_older()
        if not self.whole:
            self._check_heads()
        elif not self.entries.flaws:
            self.entries.flaws += self.entries.wrong_heads
        self._check_consistency()
        self._check_notes()
        self.contents.check(changed=not self.sound)
        if not self.entries.flaws:
            self._check_members()
        return sorted(set(self.entries.flaws), key=lambda flaw: (flaw.seq == 0, flaw))

    def _flaw(self, seq: int, check: str, detail: str) -> None:
        self.entries.flaw(seq, check, detail)

    def _check_counts(self) -> None:
        """The entries are as many as were exported, and the last one is the last one."""
        leaves, manifest = self.entries.leaves, self.manifest
        count = sum(1 for _ in self.bundle.lines("entries.jsonl"))
        if count != manifest["entries"]:
            self._flaw(0, "missing", f"the bundle had {manifest['entries']} entries and has {count}")
        ends = [entry.value["ts"] for entry in (*self.entries.about[-1:], self.entries.last) if entry]
        if self.whole and not self.entries.flaws:
            if len(leaves) != manifest["size"]:
                self._flaw(len(leaves) + 1, "missing", f"the log had {manifest['size']} entries")
            elif root_of(leaves) != self.root:
                self._flaw(len(leaves), "link", "it is not the entry that the log ended with")
        if ends and not self.entries.flaws and max(ends) != manifest["made_at"]:
            self._flaw(0, "file", "the bundle was not made at the moment of its last entry")

    def _check_keys(self) -> None:
        """keys.json is what the entries say. It is there for people; nothing here is believed of it."""
        listed = {"keys": [one.as_json() for one in self.ring]}
        if self.bundle.read("keys.json") != write_canonical(listed):
            self._flaw(0, "key", "keys.json does not say what the entries say of the log's keys")

    def _read_head(self, note: str) -> Head:
        """Read a checkpoint that a key of the log has signed in its range. Raises ValueError where it is none."""
        text, signers = check_note(note, [one.key for one in self.ring])
        origin, number, root, end = [*text.split("\n"), "", "", ""][:4]
        size = int(number) if re.fullmatch(r"0|[1-9][0-9]{0,15}", number) else LARGEST + 1
        if text != f"{origin}\n{number}\n{root}\n" or end or size > LARGEST or len(unbase(root)) != 32:
            raise ValueError("it is no checkpoint of an incident log")
        if origin != self.manifest["log"]:
            raise ValueError(f"it is of the log {origin!r}")
        doubts, good = [], []
        for one in self.ring:
            if one.key not in signers:
                continue
            if not one.covers(size):
                until = "on" if one.to_size is None else f"to {one.to_size}"
                doubts.append(
                    f"key {one.key} may sign trees from size {one.from_size} {until}, and not this one"
                )
            elif self.given.root is not None and one.certified is None:
                doubts.append(f"key {one.key} is not certified by the root key {self.given.root}")
            else:
                good.append(one.key)
        if self.given.keys and good and not any(key in self.given.keys for key in good):
            raise ValueError(f"it is signed by {good[0]}, which is not the key that you trust")
        if not good:
            raise ValueError("; ".join(doubts) or "no key of the log has signed it")
        return Head(size, unbase(root), good)

    def _check_checkpoint(self) -> None:
        """The log as it was then is signed: by one of its keys, and by the witnesses that were asked for."""
        manifest, size = self.manifest, self.manifest["size"]
        note = self.bundle.read("checkpoint")
        if note is None:
            if not self.given.unsigned:
                self._flaw(0, "checkpoint", "it has no checkpoint: nobody has signed what it says")
            self.open.append("anything: nobody has signed this bundle")
            return
        try:
            head = self._read_head(note.decode("utf-8"))
            if (head.size, head.root) != (size, self.root):
                raise ValueError(f"it is of a log of {head.size} entries, or of another one")
            if self.whole and not self.entries.flaws and size not in self.entries.heads:
                raise ValueError("the log's last entry says nothing of the incidents' ends")
            self.head = head
            for witness in self.given.witnesses:
                if witness not in check_note(note.decode("utf-8"), [witness]).keys:
                    raise ValueError(f"the witness {witness} has not signed it")
                self.proven.append(f"the witness {witness} has seen this checkpoint")
        except (ValueError, UnicodeError) as exc:
            self._flaw(0, "checkpoint", f"the checkpoint is not right: {exc}")
            return
        signed = f"the log of {size} entries ({manifest['made_at']}) is signed by {head.keys[0]}"
        if self.given.root is not None:
            signed += f", which the root key {self.given.root} has certified"
        elif not self.given.keys:
            self.open.append(
                f"that {head.keys[0]} is the key you think: give --root or --key to say whom you trust"
            )
        self.proven.append(signed)

    def _check_heads(self) -> None:
        """Nothing was cut from the end of the incident: its end is under the log's last entry."""
        if self.bundle.read("checkpoint") is None and self.bundle.read("heads.json") is None:
            self.open.append("that the incident's last entries are there: its end is under no checkpoint")
            return
        try:
            value = read_canonical(self.bundle.read("heads.json") or b"")
            last, end = self.entries.about[-1].value, self.entries.last
            if {name: type(x) for name, x in value.items()} != END:
                raise ValueError("it has other keys than it should, or values of another type")
            body, said = last["body"], (value["inc"], value["iseq"], value["leaf"])
            if (last["kind"], last["seq"]) != ("log.heads", self.manifest["size"]) or end is None:
                raise ValueError("the log did not end with the heads of its incidents")
            if self.sound and said != (self.manifest["inc"], end.value["iseq"], end.leaf.hex()):
                raise ValueError(self._other_end(value["inc"], value["iseq"] - end.value["iseq"]))
            if value["incidents"] != body["incidents"]:
                raise ValueError("it does not fit the log's last entry")
            path, root = hashes_of(value["proof"]), bytes.fromhex(body["root"])
            if not is_included(head_leaf(*said), value["index"], value["incidents"], path, root):
                raise ValueError("the proof does not hold")
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as exc:
            self._flaw(0, "heads", f"that this is the end of the incident is not proven: {exc}")
            return
        self.proven.append(
            "nothing was left out of the incident, nor cut from its end, up to that checkpoint"
        )

    def _other_end(self, inc: str, gap: int) -> str:
        """Why what the bundle says is the incident's end is not the end of the entries in it."""
        if inc != self.manifest["inc"]:
            return "it is the end of another incident"
        if gap > 0:
            return f"{gap} {'entry is' if gap == 1 else 'entries are'} missing at the incident's end"
        return "it is the end of other entries than these"

    def _check_older(self) -> None:
        """Each checkpoint that was stored with a whole log is of its beginning, and ends with the heads."""
        found: list[Head] = []
        for line in self.bundle.lines("checkpoints.jsonl") if self.whole else ():
            size: Any = 0
            try:
                value = read_canonical(line)
                if {name: type(x) for name, x in value.items()} != {"note": str, "size": int}:
                    raise ValueError("it has not a note and a size")
                size = value["size"]
                found.append(self._read_head(value["note"]))
                if found[-1].size != size or size not in self.entries.heads:
                    raise ValueError("it is of another size, or does not end with the heads of the incidents")
            except (ValueError, AttributeError) as exc:
                self._flaw(0, "checkpoint", f"the checkpoint of size {size} is not right: {exc}")
        if self.whole and not self.entries.flaws:
            sizes = {one.size for one in found} | set(map(size_of, self.given.notes))
            self.earlier = roots_at(self.entries.leaves, sizes)
            for one in found:
                if self.earlier.get(one.size) != one.root:
                    detail = f"the first {one.size} entries are not those that the checkpoint was made of"
                    self._flaw(0, "checkpoint", detail)
            self._check_succession([*found, *([self.head] if self.head else [])])

    def _check_succession(self, heads: list[Head]) -> None:
        """Each key but the first is vouched for: by the root key, or by one that was vouched for before."""
        believed = {one.key for one in self.ring if one.certified is not None}
        if self.given.root is None:
            believed |= {one.key for one in self.ring[:1]}
        for head in heads:
            if not believed.isdisjoint(head.keys):
                believed |= {one.key for one in self.ring if one.announced <= head.size}
        for one in self.ring if heads else ():
            if one.key not in believed:
                self._flaw(one.announced, "key", f"no key before {one.key}, and no root key, vouches for it")

    def _root_at(self, size: int) -> bytes | None:
        """The root of the log when it had so many entries, as far as the bundle proves it; else None."""
        if size == self.manifest["size"]:
            return self.root
        return self.earlier.get(size)

    def _check_consistency(self) -> None:
        """Each earlier tree that the bundle names is the beginning of this one."""
        for line in () if self.whole else self.bundle.lines("consistency.jsonl"):
            try:
                value = read_canonical(line)
                if {name: type(x) for name, x in value.items()} != {"proof": list, "root": str, "size": int}:
                    raise ValueError("it has not a size, a root and a proof")
                size, (root,), path = value["size"], hashes_of([value["root"]]), hashes_of(value["proof"])
                whole = self.manifest["size"]
                if size == whole or not is_beginning(size, whole, path, root, self.root):
                    raise ValueError("the proof does not hold")
            except (ValueError, AttributeError) as exc:
                self._flaw(0, "proof", f"an earlier log is not the beginning of this one: {exc}")
                continue
            self.earlier[size] = root

    def _check_notes(self) -> None:
        """Each checkpoint that was kept elsewhere is of the beginning of this log, as far as can be told."""
        since = 0
        for note in self.given.notes:
            try:
                head = self._read_head(note)
            except ValueError as exc:
                self._flaw(0, "anchor", f"a checkpoint that was given is not right: {exc}")
                continue
            root = self._root_at(head.size)
            if root is None and self.whole and not self.entries.flaws:
                self._flaw(
                    head.size, "missing", f"the log had {head.size} entries when that checkpoint was made"
                )
            elif root is None:
                self.open.append(
                    f"that the log goes on from the checkpoint of size {head.size}: no proof is here"
                )
            elif root != head.root:
                self._flaw(
                    0, "anchor", f"the first {head.size} entries are not those of the checkpoint given"
                )
            else:
                since = max(since, head.size)
        if since:
            self.proven.append(
                f"entries up to {since} are those that a checkpoint kept elsewhere was made of"
            )
        elif self.given.notes and not self.entries.flaws:
            self._flaw(0, "anchor", "none of the checkpoints given can be compared with this bundle")
        else:
            self.open.append(
                "that whoever holds the key has not written the log anew: no checkpoint was given"
            )
        self.open.append(f"anything that was recorded behind entry {self.manifest['size']}")

    def _check_members(self) -> None:
        """Every other byte of the file is the one that was written."""
        said = self.manifest["members"]
        for name in self.bundle.places:
            if name in (OF_INCIDENT if self.whole else OF_WHOLE):
                self._flaw(0, "file", f"{name} does not belong into a bundle of this kind")
        there = {n: n for n in self.bundle.places if n != "manifest.json" and not n.startswith("blobs/")}
        if said != {name: sha256(self.bundle.read(name) or b"") for name in there}:
            wrong = [n for n in {**there, **said} if sha256(self.bundle.read(n) or b"") != said.get(n)]
            self._flaw(0, "file", f"{', '.join(sorted(wrong))}: not what the manifest was made for")
        elif damaged := self.bundle.damaged():
            self._flaw(0, "file", f"the bundle is damaged in {', '.join(damaged)}")
