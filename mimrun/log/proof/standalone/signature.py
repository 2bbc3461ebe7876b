#!/usr/bin/env python3
"""Check an evidence bundle of an incident log with nothing but Python 3.9 or newer.

    python3 verify.py FILE.mimlog [--root VKEY] [--key VKEY] [--checkpoint NOTE] [--witness VKEY] [--json]

Ends with 0 when everything is as it was recorded, with 1 when something is not (each entry is named), with 2
when it could not be checked. One file, standard library only; where the package `cryptography` is installed,
it checks the signatures. The format is described in docs/reference/log-format.md of mimrun.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import NamedTuple

# Ed25519 as of RFC 8032, then signed notes as of c2sp.org/signed-note.

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
SQUARE_ROOT = pow(2, (P - 1) // 4, P)
Point = tuple[int, int, int, int]
NEUTRAL = (0, 1, 1, 0)


def add_points(a: Point, b: Point) -> Point:
    """The sum of two points (section 5.1.4)."""
    e, f = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    g, h = 2 * D * a[3] * b[3] % P, 2 * a[2] * b[2] % P
    e, f, g, h = f - e, h - g, h + g, f + e
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def read_point(data: bytes) -> Point | None:
    """The point that 32 bytes stand for (section 5.1.3); None where they stand for none."""
    y, odd = int.from_bytes(data, "little") & (2**255 - 1), data[31] >> 7
    u, v = (y * y - 1) % P, (D * y * y + 1) % P
    x = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    if v * x * x % P == -u % P:
        x = x * SQUARE_ROOT % P
    if y >= P or v * x * x % P != u or (x == 0 and odd):
        return None
    x = x if x & 1 == odd else P - x
    return (x, y, 1, x * y % P)


def write_point(a: Point) -> bytes:
    """The 32 bytes of a point (section 5.1.2)."""
    inverse = pow(a[2], P - 2, P)
    x, y = a[0] * inverse % P, a[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def is_small(a: Point) -> bool:
    """Whether a point is of small order: as a key, it would make one signature right for many texts."""
    for _ in range(3):
        a = add_points(a, a)
    return a[0] == 0 and a[1] == a[2]


BASE = read_point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little")) or NEUTRAL


def is_signed(public: bytes, message: bytes, signature: bytes, *, alone: bool = False) -> bool:
    """Whether an Ed25519 signature is right (section 5.1.7).

    Arguments:
        public: the key, 32 bytes.
        message: what was signed.
        signature: 64 bytes.
        alone: leave the package `cryptography` out, also where it is installed.
    """
    # 1. the key is a point in its one spelling and not of small order, and s is in its one spelling
    a = read_point(public) if len(public) == 32 else None
    if a is None or is_small(a) or len(signature) != 64 or int.from_bytes(signature[32:], "little") >= L:
        return False
    if not alone:
        try:
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415 - if there

            checker = Ed25519PublicKey.from_public_bytes(public)
        except Exception:  # noqa: BLE001 - whatever is wrong with that package, it is not needed
            return is_signed(public, message, signature, alone=True)
        try:
            checker.verify(signature, message)
        except Exception:  # noqa: BLE001 - the signature is not right
            return False
        return True
    # 2. k is the hash of R, the key and the message
    s = int.from_bytes(signature[32:], "little")
    k = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % L
    # 3. [s]B - [k]A, worked out for both at once, is R, byte for byte
    minus = (P - a[0], a[1], 1, P - a[3])
    table, total = (NEUTRAL, BASE, minus, add_points(BASE, minus)), NEUTRAL
    for bit in range(255, -1, -1):
        total = add_points(total, total)
        which = (s >> bit & 1) + 2 * (k >> bit & 1)
        total = add_points(total, table[which]) if which else total
    return write_point(total) == signature[:32]


class Key(NamedTuple):
    """A key as its line `name+keyid+base64(type || key)` says."""

    name: str
    id: str
    data: bytes

    def __str__(self) -> str:
        return f"{self.name}+{self.id}"


class Vouched(NamedTuple):
    """The text of a note, and which of the known keys signed it."""

    text: str
    keys: list[Key]


def unbase(text: str) -> bytes:
    """The bytes of base64 in its one right spelling. Raises ValueError for any other."""
    data = base64.b64decode(text, validate=True)
    if base64.b64encode(data).decode() != text:
        raise ValueError(f"{text[:80]!r} is not base64 in its one right spelling")
    return data


def is_name(text: str) -> bool:
    """Whether a text can be the name of a key, and so of a log."""
    return 0 < len(text) <= 200 and "+" not in text and not any(c.isspace() or c < " " for c in text)


def read_vkey(text: str) -> Key:
    """Read a key from its line. Raises ValueError where it is none."""
    try:
        name, keyid, data = text.split("+", 2)
        key = Key(name, keyid, unbase(data))
    except ValueError:
        raise ValueError(f"{text[:200]!r} is no key: give NAME+KEYID+KEY") from None
    right = hashlib.sha256(name.encode() + b"\n" + key.data).hexdigest()[:8]
    if not is_name(name) or right != keyid or len(key.data) != 33 or key.data[0] not in (1, 4):
        raise ValueError(f"{text[:200]!r} is no key, or was changed")
    return key


def read_signature(line: str) -> tuple[str, str, bytes]:
    """Read a line of a signature: name and id of the key, signature. Raises ValueError where it is none."""
    words = line.split(" ")
    data = unbase(words[2]) if len(words) == 3 and words[0] == "—" else b""
    if len(data) < 5 or not is_name(words[1]):
        raise ValueError(f"{line[:80]!r} is no line of a signature")
    return words[1], data[:4].hex(), data[4:]


def check_note(note: str, known: Sequence[Key]) -> Vouched:
    """Check the signatures of known keys; those of others are passed over.

    Raises ValueError where it is no note, or a signature of a known key is not right.
    """
    text, gap, tail = note.rpartition("\n\n")
    lines = tail[:-1].split("\n")
    clean = not any(c < " " and c != "\n" for c in note) and len(note.encode()) <= 128 * 1024
    if not gap or not tail.endswith("\n") or not clean or len(lines) > 100:
        raise ValueError("it is no signed note")
    vouched = Vouched(text + "\n", [])
    for name, keyid, signature in map(read_signature, lines):
        for key in known:
            if (key.name, key.id) != (name, keyid):
                continue
            message = vouched.text.encode()
            if key.data[0] == 4:  # a witness: a moment stands before the signature, and is signed
                moment, signature = int.from_bytes(signature[:8], "big"), signature[8:]  # noqa: PLW2901
                message = b"cosignature/v1\ntime %d\n" % moment + message
            if not is_signed(key.data[1:], message, signature):
                raise ValueError(
                    f"the signature of {key} is not right: the note was changed, or it is forged"
                )
            vouched.keys.append(key)
    return vouched
