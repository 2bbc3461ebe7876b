"""The form of a bundle: canonical JSON, Merkle proofs, and a zip whose every byte is given by what is in it."""

from __future__ import annotations

import hashlib
import json
import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

NOTHING = "0" * 64
LARGEST = 2**53 - 1
MEMBER = re.compile(
    r"(manifest|keys|heads)\.json|(entries|proofs|log|checkpoints|consistency)\.jsonl|README\.txt|checkpoint"
    r"|blobs/[0-9a-f]{64}|runbooks/[0-9a-f]{64}\.yaml"
)


class Damaged(Exception):
    """The file is no bundle, or is damaged in its form."""


class Place(NamedTuple):
    """Where a member lies: its name, the checksum that is written before it, and its bytes."""

    name: str
    checksum: int
    start: int
    end: int


class Bundle:
    """A bundle that was read. Nothing in it is believed yet.

    Arguments:
        data: the bytes of the file; anything that can be sliced, and found in, like bytes.
    """

    def __init__(self, data: Any) -> None:
        self.data = data
        self.places: dict[str, Place] = {}
        at = 0
        while data[at : at + 4] == b"PK\3\4":
            at = self._member(at)
        if data[at:] != tail_of(list(self.places.values()), at):
            raise Damaged(f"the file is damaged, or was made by something else: at byte {at}")

    def _member(self, at: int) -> int:
        """Read the head of a member; give where the next one begins."""
        head = self.data[at : at + 30]
        if len(head) < 30:
            raise Damaged(f"the file is cut off at byte {at}")
        *_, checksum, size, _, length, _ = struct.unpack("<4s5H3L2H", head)
        name = bytes(self.data[at + 30 : at + 30 + length])
        start = at + 30 + length
        place = Place(name.decode("ascii", "replace"), checksum, start, start + size)
        if head != head_of(place) or not MEMBER.fullmatch(place.name) or place.name in self.places:
            raise Damaged(
                f"the file is damaged, or was made by something else: member {place.name!r} at byte {at}"
            )
        if place.end > len(self.data):
            raise Damaged(f"the file is cut off in {place.name}")
        self.places[place.name] = place
        return place.end

    def read(self, name: str) -> bytes | None:
        """The bytes of a member, or None."""
        place = self.places.get(name)
        return None if place is None else bytes(self.data[place.start : place.end])

    def lines(self, name: str) -> Iterator[bytes]:
        """The lines of a member, without their ends."""
        place = self.places.get(name)
        at, end = (place.start, place.end) if place else (0, 0)
        while at < end:
            stop = self.data.find(b"\n", at, end)
            stop = end if stop < 0 else stop
            yield bytes(self.data[at:stop])
            at = stop + 1

    def names(self, folder: str) -> list[str]:
        """The members in a folder."""
        return [name for name in self.places if name.startswith(folder)]

    def damaged(self) -> list[str]:
        """The members whose checksums are not those of their bytes."""
        return [p.name for p in self.places.values() if zlib.crc32(self.data[p.start : p.end]) != p.checksum]


def head_of(place: Place) -> bytes:
    """What stands before a member in the file, and before its name."""
    size, length = place.end - place.start, len(place.name.encode())
    return struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 0, 0, 33, place.checksum, size, size, length, 0)


def tail_of(places: Sequence[Place], at: int) -> bytes:
    """What stands behind the members: the directory, and where it is."""
    parts = []
    for place in places:
        size, start, name = place.end - place.start, place.start - 30 - len(place.name), place.name.encode()
        far = start >= 0xFFFFFFFF
        extra = struct.pack("<2HQ", 1, 8, start) if far else b""
        fields = (0x0314, 45 if far else 20, 0, 0, 0, 33, place.checksum, size, size, len(name), len(extra))
        ends = (0, 0, 0, 0o100600 << 16, min(start, 0xFFFFFFFF))
        parts.append(struct.pack("<4s6H3L5H2L", b"PK\1\2", *fields, *ends) + name + extra)
    directory, count = b"".join(parts), len(places)
    end = at + len(directory)
    if count >= 0xFFFF or end >= 0xFFFFFFFF:
        directory += struct.pack(
            "<4sQ2H2L4Q", b"PK\6\6", 44, 0x0314, 45, 0, 0, count, count, len(directory), at
        )
        directory += struct.pack("<4sLQL", b"PK\6\7", 0, end, 1)
    size, few = end - at, min(count, 0xFFFF)
    return directory + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, few, few, size, min(at, 0xFFFFFFFF), 0)


def read_canonical(data: bytes) -> Any:
    """The value of canonical JSON: RFC 8785 without fractions. Raises ValueError for any other spelling."""
    try:
        value = json.loads(data.decode("utf-8"), parse_float=_refuse, parse_constant=_refuse)
        if write_canonical(value) == data and _is_plain(value, 64):
            return value
    except (RecursionError, UnicodeError):
        pass
    raise ValueError("it is not in canonical form")


def write_canonical(value: Any) -> bytes:
    """The canonical bytes of a value without fractions."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8")


def _refuse(text: str) -> int:
    raise ValueError(f"a number {text}")


def _is_plain(value: Any, depth: int) -> bool:
    """Whether all keys are ASCII, all integers small enough, and nothing nested too deep."""
    if depth == 0 or (isinstance(value, int) and abs(value) > LARGEST):
        return False
    if isinstance(value, dict):
        return all(key.isascii() and _is_plain(one, depth - 1) for key, one in value.items())
    return not isinstance(value, list) or all(_is_plain(one, depth - 1) for one in value)


def sha256(data: bytes) -> str:
    """The digest of bytes as the log writes it."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def leaf_hash(data: bytes) -> bytes:
    """SHA-256(0x00 || data): RFC 9162, section 2.1.1."""
    return hashlib.sha256(b"\0" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right)."""
    return hashlib.sha256(b"\1" + left + right).digest()


def root_of(leaves: Sequence[bytes]) -> bytes:
    """The root of the tree over leaf hashes."""
    return roots_at(leaves, {len(leaves)})[len(leaves)]


def roots_at(leaves: Sequence[bytes], sizes: set[int]) -> dict[int, bytes]:
    """The roots of the trees over so many of the first leaf hashes, as far as there are so many."""
    peaks: list[tuple[int, bytes]] = []
    found = {0: hashlib.sha256(b"").digest()}
    for size, leaf in enumerate(leaves, 1):
        width, node = 1, leaf
        while peaks and peaks[-1][0] == width:
            width, node = 2 * width, node_hash(peaks.pop()[1], node)
        peaks.append((width, node))
        if size in sizes:
            root = peaks[-1][1]
            for _, peak in peaks[-2::-1]:
                root = node_hash(peak, root)
            found[size] = root
    return found


def is_included(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Whether a leaf is at this index of the tree (section 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    fn, sn, node = index, size - 1, leaf
    for value in path:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            node = node_hash(value, node)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            node = node_hash(node, value)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and node == root


def is_beginning(first: int, second: int, path: Sequence[bytes], old: bytes, new: bytes) -> bool:
    """Whether the tree of `first` leaves is the beginning of that of `second` (section 2.1.4.2)."""
    if not 0 < first < second or not path:
        return 0 < first == second and not path and old == new
    hashes = [old, *path] if first & (first - 1) == 0 else list(path)
    fn, sn = first - 1, second - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    left = right = hashes[0]
    for value in hashes[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            left, right = node_hash(value, left), node_hash(value, right)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            right = node_hash(right, value)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and left == old and right == new
