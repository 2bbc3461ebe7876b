"""The entries of a bundle: each by itself, how they are linked, and what they say about keys and erased content."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from mimrun.log.proof.standalone.form import (
    LARGEST,
    NOTHING,
    Bundle,
    is_included,
    leaf_hash,
    read_canonical,
    root_of,
    write_canonical,
)
from mimrun.log.proof.standalone.signature import Key, check_note, read_vkey

TYPES: dict[str, type] = {
    **dict.fromkeys(["log", "ts", "inc", "iprev", "kind", "run", "step", "target", "prev"], str),
    **dict.fromkeys(["v", "seq", "iseq", "attempt", "epoch"], int),
    "actor": dict,
    "body": dict,
    "blobs": list,
}
BODIES: dict[str, dict[str, type]] = {
    "log.key": {"keyid": str, "vkey": str, "from_size": int, "certified_by": str, "certificate": str},
    "log.key_retired": {"keyid": str, "to_size": int, "reason": str},
    "log.heads": {"incidents": int, "root": str},
    "redact.proposed": {"entry": int, "names": list, "reason": str},
    "redact.applied": {"entry": int, "name": str, "commit": str, "proposal": int, "reason": str},
    "plan.frozen": {"runbook_digest": str},
}
"""What is looked at in bodies, and its types."""
OPTIONAL = {"certified_by", "certificate"}
LONGEST = 16 * 1024
KEPT = ("log.", "plan.", "redact.")
HEX = re.compile(r"[0-9a-f]{64}")
MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")
SAYS = re.compile(rb'"seq":([1-9][0-9]{0,15}),"step":')


class Flaw(NamedTuple):
    """One thing that is not as it was recorded: the entry (0: the bundle as a whole), what, and in words."""

    seq: int
    check: str
    detail: str


class Entry(NamedTuple):
    """An entry that is sound by itself, with its leaf hash."""

    value: dict[str, Any]
    leaf: bytes


class Proof(NamedTuple):
    """The proof that an entry was in the log at a place."""

    seq: int
    path: list[bytes]


def head_leaf(inc: str, iseq: int, leaf: str) -> bytes:
    """The leaf hash for the end of an incident, in the tree over all ends."""
    return leaf_hash(write_canonical({"inc": inc, "iseq": iseq, "leaf": leaf}))


def hashes_of(value: Any) -> list[bytes]:
    """The hashes in a list of hexadecimal texts. Raises ValueError where it is none."""
    if not isinstance(value, list) or not all(isinstance(x, str) and HEX.fullmatch(x) for x in value):
        raise ValueError("it is no list of hashes")
    return [bytes.fromhex(x) for x in value]


def read_entry(data: bytes, log: str) -> tuple[dict[str, Any], str, str]:
    """An entry as it says it is; or nothing, and what is wrong with it by itself: a word, and a sentence."""
    try:
        value = read_canonical(data)
    except ValueError as exc:
        spelt = data[:1] == b"{"
        return (
            {},
            "canonical" if spelt else "bytes",
            str(exc) if spelt else f"these bytes are no entry: {data[:60]!r}",
        )
    check, detail = _wrong(data, value)
    if not check and value["log"] != log:
        check, detail = "origin", f"it belongs to the log {value['log']!r}"
    return {} if check else value, check, detail


def _wrong(data: bytes, value: Any) -> tuple[str, str]:
    if (
        not isinstance(value, dict)
        or {name: type(x) for name, x in value.items()} != TYPES
        or value["v"] != 1
    ):
        return "bytes", "it has not the keys of an entry of mimlog/1, or not their types"
    actor, hashes = value["actor"], (value["prev"], value["iprev"])
    numbers = (value["seq"] - 1, value["iseq"], value["attempt"], value["epoch"])
    if len(data) > LONGEST or not all(map(HEX.fullmatch, hashes)) or min(numbers) < 0:
        return "bytes", "it is too long, or a number or hash in it cannot be"
    if not MOMENT.fullmatch(value["ts"]):
        return "time", f"{value['ts']!r} is no moment"
    if sorted(actor) != ["auth", "id", "kind", "via"] or not all(isinstance(x, str) for x in actor.values()):
        return "body", "it does not say who caused it"
    if not all(_is_blob(ref) for ref in value["blobs"]):
        return "body", "what it says about its blobs cannot be read"
    wrong = _odd_field(value["kind"], value["body"])
    return ("body", f"its body is not one of {value['kind']}: {wrong}") if wrong else ("", "")


def _odd_field(kind: str, body: dict[str, Any]) -> str:
    """Name the first thing in a body that is not of the type it has to be; "" where all is, as far as it matters here."""
    for name, expected in BODIES.get(kind, {}).items():
        if name not in body and name not in OPTIONAL:
            return f"{name} is missing"
        if name in body and type(body[name]) is not expected:
            return f"{name} cannot be {body[name]!r:.60}"
        if expected is int and not 0 <= body[name] <= LARGEST:
            return f"{name} cannot be {body[name]!r:.60}"
        if expected is list and not all(isinstance(one, str) for one in body[name]):
            return f"{name} is not a list of texts"
    return ""


def _is_blob(ref: Any) -> bool:
    types = {"cls": str, "commit": str, "len": int, "n": str}
    if not isinstance(ref, dict) or {name: type(x) for name, x in ref.items()} != types:
        return False
    return bool(HEX.fullmatch(ref["commit"])) and 0 <= ref["len"] <= LARGEST


def read_proof(line: bytes) -> Proof:
    """Read a line of proofs.jsonl; of one that cannot be read, nothing."""
    try:
        value = read_canonical(line)
        if isinstance(value, dict) and sorted(value) == ["proof", "seq"] and type(value["seq"]) is int:
            return Proof(value["seq"], hashes_of(value["proof"]))
    except ValueError:
        pass
    return Proof(0, [])


class Entries:
    """The entries of a bundle, checked as they are read.

    Arguments:
        log, inc, size, root: as the manifest says.
    """

    def __init__(self, log: str, inc: str, size: int, root: bytes) -> None:
        self.log, self.inc, self.size, self.root = log, inc, size, root
        self.leaves: list[bytes] = []
        """The leaf hash of every sound entry of entries.jsonl."""
        self.kept: list[Entry] = []
        """Those that commit to a blob, or say something about the log, a plan or an erasure."""
        self.last: Entry | None = None
        """The last of entries.jsonl."""
        self.about: list[Entry] = []
        """The entries about the log itself that are in the bundle of an incident."""
        self.flaws: list[Flaw] = []
        self.heads: set[int] = set()
        """Where the log says how its incidents ended; and where that is not so."""
        self.wrong_heads: list[Flaw] = []
        self._last_seq = 0
        self._known = True

    def read_proven(self, bundle: Bundle) -> None:
        """Read the entries of an incident and those about the log itself, each with its proof."""
        proofs = bundle.lines("proofs.jsonl")
        for line in bundle.lines("entries.jsonl"):
            self._link(*self._proven(line, proofs))
        self._last_seq = 0
        for line in bundle.lines("log.jsonl"):
            entry, seq = self._proven(line, proofs)
            if entry is not None:
                if entry.value["inc"] or not entry.value["kind"].startswith("log.") or seq <= self._last_seq:
                    self.flaw(seq, "place", "it does not belong among the entries about the log")
                self.about.append(entry)
            self._last_seq = seq
        if next(proofs, None) is not None:
            self.flaw(0, "proof", "there are more proofs than entries")

    def _proven(self, line: bytes, proofs: Iterator[bytes]) -> tuple[Entry | None, int]:
        proof, said = read_proof(next(proofs, b"")), SAYS.search(line)
        seq = proof.seq or (int(said[1]) if said else self._last_seq + 1)
        value, check, detail = read_entry(line, self.log)
        leaf = leaf_hash(line)
        if not check and not is_included(leaf, seq - 1, self.size, proof.path, self.root):
            check, detail = "proof", "it is not what was in the log at this place, or its proof was changed"
        if value and value["seq"] != seq:
            check, detail = "place", f"it says that it is entry {value['seq']}"
        if check:
            self.flaw(seq, check, detail)
            return None, seq
        return Entry(value, leaf), seq

    def _keep(self, entry: Entry) -> None:
        self.last = entry
        self.leaves.append(entry.leaf)
        if entry.value["blobs"] or entry.value["kind"].startswith(KEPT):
            self.kept.append(entry)

    def _link(self, entry: Entry | None, seq: int) -> None:
        """Go on in the chain of the incident. Behind an entry that is wrong, the next link is not judged."""
        if entry is None:
            self._known, self._last_seq = False, max(seq, self._last_seq)
            return
        before = (self.last.value["iseq"], self.last.leaf.hex()) if self.last else (0, NOTHING)
        value = entry.value
        if value["inc"] != self.inc or seq <= self._last_seq:
            self.flaw(seq, "place", f"it is not the next entry of incident {self.inc}")
        elif self._known and (value["iseq"] - 1, value["iprev"]) != before:
            gap = value["iseq"] - before[0] - 1
            counted = f"{gap} entries of the incident before it are missing"
            if gap == 1:
                counted = "one entry of the incident before it is missing"
            self.flaw(seq, "missing", counted if gap > 0 else "it does not go on from the entry before it")
        self._keep(entry)
        self._known, self._last_seq = True, seq

    def read_whole(self, bundle: Bundle) -> None:
        """Read a whole log, each entry linked to the one before it in the log and in its incident."""
        ends: dict[str, tuple[int, str]] = {}
        heads: dict[str, bytes] = {}
        broken: list[int] = []
        moment, number = "", 0
        for number, line in enumerate(bundle.lines("entries.jsonl"), 1):
            value, check, detail = read_entry(line, self.log)
            if value and value["seq"] != number:
                check, detail = "place", f"it says that it is entry {value['seq']}"
            if check:
                self.flaw(number, check, detail)
                self._known = False
                continue
            entry, inc = Entry(value, leaf_hash(line)), value["inc"]
            before = self.last.leaf.hex() if self.last else NOTHING
            if self._known and value["prev"] != before:
                broken.append(number)
            due = ends.get(inc, (0, NOTHING)) if inc else (-1, NOTHING)
            if self._known and not broken and (value["iseq"] - 1, value["iprev"]) != due:
                self.flaw(number, "incident", f"not linked to the entry before it in {inc or 'no incident'}")
            if value["ts"] < moment:
                self.flaw(number, "time", f"recorded at {value['ts']}, before the one before it")
            if value["kind"] == "log.heads":
                self._compare_heads(value, heads)
            if inc:
                ends[inc] = (value["iseq"], entry.leaf.hex())
                heads[inc] = head_leaf(inc, *ends[inc])
            moment, self._known = value["ts"], True
            self._keep(entry)
        for seq in broken:
            # Which of two was changed? The one for which the entry behind it does not vouch.
            vouched = seq < number and seq + 1 not in broken
            guilty = seq - 1 if vouched and seq > 1 else seq
            self.flaw(guilty, "link", f"entries {seq - 1} and {seq} are not linked: it was changed")

    def _compare_heads(self, value: dict[str, Any], heads: dict[str, bytes]) -> None:
        self.heads.add(value["seq"])
        said = (value["body"].get("incidents"), value["body"].get("root"))
        if said != (len(heads), root_of([heads[inc] for inc in sorted(heads)]).hex()):
            self.wrong_heads.append(Flaw(value["seq"], "heads", "it does not say where the incidents ended"))

    def flaw(self, seq: int, check: str, detail: str) -> None:
        """Note a flaw."""
        self.flaws.append(Flaw(seq, check, detail))


class RingKey(NamedTuple):
    """A key of the log, and which trees it may sign: from where the log says, and from where its certificate does."""

    key: Key
    vkey: str
    from_size: int
    to_size: int | None
    announced: int
    certificate: str
    certified: int | None

    def covers(self, size: int) -> bool:
        """Whether it may sign the tree of this size."""
        return max(self.from_size, self.certified or 0) <= size and (
            self.to_size is None or size <= self.to_size
        )

    def as_json(self) -> dict[str, Any]:
        """As keys.json lists it."""
        return {
            "announced": self.announced,
            "certificate": self.certificate,
            "from_size": self.from_size,
            "to_size": self.to_size,
            "vkey": self.vkey,
        }


def read_keys(entries: Entries, root: Key | None) -> list[RingKey]:
    """The keys that the log announces. What it cannot announce is a flaw of that entry."""
    ring: dict[str, RingKey] = {}
    for value, _ in entries.about or entries.kept:
        try:
            if value["kind"] == "log.key":
                _announce(ring, value, entries.log, root)
            elif value["kind"] == "log.key_retired":
                body = value["body"]
                old = ring[body["keyid"]]
                if old.to_size is not None or not 0 <= body["to_size"] <= value["seq"]:
                    raise ValueError("it retires a key that was not in use, or at a size that is yet to come")
                ring[old.key.id] = old._replace(to_size=body["to_size"])
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            entries.flaw(value["seq"], "key", f"what it says of a key cannot be: {exc}")
    return list(ring.values())


def _announce(ring: dict[str, RingKey], value: dict[str, Any], log: str, root: Key | None) -> None:
    body, seq = value["body"], value["seq"]
    key, certificate = read_vkey(body["vkey"]), body.get("certificate", "")
    if key.id != body["keyid"] or key.name != log or key.data[0] != 1:
        raise ValueError(f"{key} is not a key of this log, or not the one it names")
    old = ring.get(key.id)
    if old is None and root is None and ring and all(one.to_size is not None for one in ring.values()):
        raise ValueError(f"no other key was in use any more: nobody vouches for {key}")
    if old is not None and (old.key != key or old.to_size is not None):
        raise ValueError(f"{key} is there already, or was retired")
    new = old or RingKey(key, body["vkey"], max(body["from_size"], seq), None, seq, "", None)
    if certificate and new.certified is None:
        new = new._replace(certificate=certificate)
        new = new._replace(certified=certified_from(certificate, key, root) if root else None)
    ring[key.id] = new


def certified_from(certificate: str, key: Key, root: Key) -> int | None:
    """From which size on a root key's certificate is good for a key; None where it is not."""
    try:
        text, signers = check_note(certificate, [root])
        head, line, size, end = text.split("\n")
    except ValueError:
        return None
    good = signers and head == "mimrun/log-key/v1" and not end and size.isdigit() and str(int(size)) == size
    return int(size) if good and read_vkey(line) == key and int(size) <= LARGEST else None
