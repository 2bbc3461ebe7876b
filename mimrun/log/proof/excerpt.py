"""An excerpt: the entries of one incident, each with its proof that it was in the log."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from mimrun import canonical
from mimrun.canonical import Json
from mimrun.log.chain import IncidentHead, StoredRow
from mimrun.log.merkle import included, leaf_hash
from mimrun.log.proof.stored import BlobClaim, Check, Flaw, blob_claims, parse, seq_of, wrong_entry

_HEX: Final = re.compile(r"[0-9a-f]{64}")


class Excerpt:
    """Checks the entries of an incident one by one. Pure.

    Arguments:
        log: the origin that every entry must name.
        inc: the incident that every entry must be of.
        size: how many entries the log had when the proofs were made.
        root: Merkle root (hexadecimal) over them.
    """

    def __init__(self, log: str, inc: str, size: int, root: str) -> None:
        self._log = log
        self._inc = inc
        self._size = size
        self._root = bytes.fromhex(root)
        self._head: IncidentHead | None = IncidentHead()
        self._seq = self._about = 0
        self.count = 0
        self.first_ts = self.last_ts = ""
        self.flaws: list[Flaw] = []

    def feed(self, data: bytes, proof: bytes) -> list[BlobClaim]:
        """Check the next entry; give what it says of its blobs.

        Arguments:
            data: the entry's bytes.
            proof: the line of JSON that proves it to be in the log.
        """
        self.count += 1
        seq, value = self._proven(data, proof)
        if value is None:
            # What it was linked to is not known, so the next entry's link is not judged.
            self._head, self._seq = None, max(seq, self._seq)
            return []
        expected = self._head
        if value["inc"] != self._inc or seq <= self._seq:
            self.flaw(seq, "place", f"it is not the next entry of incident {self._inc}")
        elif expected is not None and (value["iseq"], value["iprev"]) != (expected.iseq + 1, expected.leaf):
            gap = value["iseq"] - expected.iseq - 1
            counted = f"{gap} entries of the incident before it are missing"
            if gap == 1:
                counted = "one entry of the incident before it is missing"
            self.flaw(seq, "missing", counted if gap > 0 else "it does not go on from the entry before it")
        self._head, self._seq = IncidentHead(value["iseq"], leaf_hash(data).hex()), seq
        self.first_ts, self.last_ts = self.first_ts or value["ts"], value["ts"]
        claims = blob_claims(seq, value["blobs"])
        if claims is None:
            self.flaw(seq, "body", "what it says about its blobs cannot be read")
        return claims or []

    def feed_about(self, data: bytes, proof: bytes) -> bool:
        """Check an entry about the log itself, which is of no incident; whether it is what was recorded."""
        seq, value = self._proven(data, proof)
        if value is not None and (value["inc"] or not value["kind"].startswith("log.") or seq <= self._about):
            self.flaw(seq, "place", "it does not belong among the entries about the log")
            value = None
        self._about = max(seq, self._about)
        return value is not None

    def _proven(self, data: bytes, proof: bytes) -> tuple[int, dict[str, Any] | None]:
        """Where an entry is, and what it says, if it is what was in the log there; else that is a flaw."""
        value = parse(data)
        proven_seq, path = _read_proof(proof)
        seq = proven_seq or seq_of(data) or self._seq + 1
        leaf = leaf_hash(data)
        wrong = wrong_entry(StoredRow(seq, data, leaf), value, leaf, self._log)
        if wrong is None and not included(leaf, seq - 1, self._size, path, self._root):
            wrong = ("proof", "it is not what was in the log at this place, or its proof was changed")
        if wrong is not None:
            self.flaw(seq, *wrong)
            return seq, None
        return seq, value

    @property
    def end(self) -> IncidentHead | None:
        """The end of the incident's chain; None where the last entry is not what was recorded."""
        return self._head

    def flaw(self, seq: int, check: Check, detail: str) -> None:
        """Note a flaw."""
        self.flaws.append(Flaw(seq, check, detail))


def read_object(data: bytes, types: Mapping[str, type]) -> dict[str, Any]:
    """Read an object of canonical JSON. What a bundle says beside its entries has one spelling as well.

    Arguments:
        types: its keys, and of which type the value of each is.

    Raises:
        ValueError: it is none.
    """
    try:
        value: Json = json.loads(data)
        if isinstance(value, dict) and canonical.encode(value) == data:
            if {name: type(one) for name, one in value.items()} == types:
                return value
            raise ValueError(f"it has other keys than {', '.join(types)}, or values of another type")
    except RecursionError:
        pass
    raise ValueError("it is not in canonical form")


def read_hash(value: object) -> bytes:
    """Read a hash in hexadecimal.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, str) or not _HEX.fullmatch(value):
        raise ValueError("a hash is 64 hexadecimal digits")
    return bytes.fromhex(value)


def read_hashes(value: object) -> tuple[bytes, ...]:
    """Read a list of hashes in hexadecimal.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, list):
        raise ValueError("it is no list of hashes")
    return tuple(map(read_hash, value))


def _read_proof(line: bytes) -> tuple[int, tuple[bytes, ...]]:
    """Read a proof; of one that cannot be read, nothing."""
    try:
        value = read_object(line, {"proof": list, "seq": int})
        return value["seq"], read_hashes(value["proof"])
    except ValueError:
        return 0, ()
