"""Signed notes and checkpoints as C2SP describes them: a text, a blank line, and a line for each signature.

Pure. What is read comes from outside: everything is bounded, and there is one spelling for each value. Signatures
are Ed25519 over the text (type 0x01), or over the text behind a moment (type 0x04, as witnesses give them).

Sources: c2sp.org/signed-note, c2sp.org/tlog-checkpoint, c2sp.org/tlog-cosignature, RFC 8032, RFC 4648 section 4.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from mimrun.errors import TamperError
from mimrun.log.merkle import HASH_SIZE

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ED25519: Final = 0x01
COSIGNATURE: Final = 0x04
MAX_NOTE: Final = 128 * 1024
"""Bytes of a note."""
MAX_SIGNATURES: Final = 100
MAX_NAME: Final = 200
"""Characters of a key's name, and of an origin."""
MAX_SIZE: Final = 2**53 - 1

_KEY_SIZE: Final = 32
_SIGNATURE_SIZE: Final = {ED25519: 64, COSIGNATURE: 8 + 64}
_LINE: Final = re.compile(r"— ([^ ]+) ([A-Za-z0-9+/]+={0,2})")
_VKEY: Final = re.compile(r"([^+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+={0,2})")
_DECIMAL: Final = re.compile(r"0|[1-9][0-9]{0,15}")


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """What a signature is checked with.

    Arguments:
        name: who signs: the origin of a log, a witness, a root key. No spaces, no plus sign.
        public: the Ed25519 public key, 32 bytes.
        algorithm: the type of its signatures: `ED25519` or `COSIGNATURE`.

    Raises:
        ValueError: the name or the key is none.
    """

    name: str
    public: bytes
    algorithm: int = ED25519

    def __post_init__(self) -> None:
        if not _is_name(self.name):
            raise ValueError(
                f"{self.name[:MAX_NAME]!r} is no name of a key: no spaces, no plus sign, not empty"
            )
        if self.algorithm not in _SIGNATURE_SIZE:
            raise ValueError(f"key {self.name}: signatures of type {self.algorithm:#04x} are not known here")
        if len(self.public) != _KEY_SIZE:
            raise ValueError(
                f"key {self.name}: {len(self.public)} bytes are no Ed25519 key; it has {_KEY_SIZE}"
            )

    @property
    def keyid(self) -> str:
        """The first four bytes of SHA-256(name || 0x0A || type || key), hexadecimal."""
        data = self.name.encode() + b"\n" + bytes([self.algorithm]) + self.public
        return hashlib.sha256(data).hexdigest()[:8]

    @property
    def vkey(self) -> str:
        """The key in one line: `name+keyid+base64(type || key)`."""
        return f"{self.name}+{self.keyid}+{_encode(bytes([self.algorithm]) + self.public)}"

    def __str__(self) -> str:
        return f"{self.name}+{self.keyid}"

    def check(self, text: str, signature: bytes) -> Signed | None:
        """Check a signature over a text; None where it is none of this key."""
        # The 40 ms for loading the library are spent only where something is signed or checked.
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - as said above
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415 - likewise

        if len(signature) != _SIGNATURE_SIZE[self.algorithm]:
            return None
        moment, message = None, text.encode()
        if self.algorithm == COSIGNATURE:
            moment, signature = int.from_bytes(signature[:8], "big"), signature[8:]
            message = _cosigned(text, moment)
            if moment >= 2**63:
                return None
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except (InvalidSignature, ValueError):
            return None
        return Signed(self, moment)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key with the name it signs as. It is never shown.

    Arguments:
        name: who signs.
        seed: the 32 secret bytes.
        algorithm: the type of its signatures.
    """

    name: str
    seed: bytes = field(repr=False)
    algorithm: int = ED25519

    def verifying(self) -> VerifyingKey:
        """Give what others check its signatures with."""
        return VerifyingKey(self.name, self._private().public_key().public_bytes_raw(), self.algorithm)

    def sign(self, text: str, moment: int | None = None) -> Signature:
        """Sign the text of a note.

        Arguments:
            text: as `check_text` allows it.
            moment: seconds since 1970, for a cosignature; None for any other.
        """
        check_text(text)
        if (moment is None) == (self.algorithm == COSIGNATURE):
            raise ValueError("a cosignature has a moment, and nothing else has one")
        private = self._private()
        if moment is None:
            signed = private.sign(text.encode())
        else:
            signed = moment.to_bytes(8, "big") + private.sign(_cosigned(text, moment))
        return Signature(self.name, self.verifying().keyid, signed)

    def _private(self) -> Ed25519PrivateKey:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 - slow to load

        return Ed25519PrivateKey.from_private_bytes(self.seed)


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature line of a note, not yet believed.

    Arguments:
        name: who is said to have signed.
        keyid: of the key, hexadecimal.
        signature: the bytes behind the key's id.
    """

    name: str
    keyid: str
    signature: bytes

    def line(self) -> str:
        """Give the line, without its newline."""
        return f"— {self.name} {_encode(bytes.fromhex(self.keyid) + self.signature)}"


@dataclass(frozen=True, slots=True)
class Signed:
    """A signature that was checked and is right.

    Arguments:
        key: whose it is.
        moment: when it was made, in seconds since 1970, by its maker's word; None where it does not say.
    """

    key: VerifyingKey
    moment: int | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """A text and the signatures under it.

    Arguments:
        text: ends in a newline.
        signatures: at least one.
    """

    text: str
    signatures: tuple[Signature, ...]

    def write(self) -> str:
        """Give the note as it is stored and sent."""
        return self.text + "\n" + "".join(signature.line() + "\n" for signature in self.signatures)

    def signed(self, keys: Iterable[VerifyingKey]) -> tuple[Signed, ...]:
        """Check the signatures of known keys, and ignore all others.

        Arguments:
            keys: the known ones.

        Returns:
            one for each signature of a known key, at least one.

        Raises:
            TamperError: a signature of a known key is not right, or no known key has signed.
        """
        known = {(key.name, key.keyid): key for key in keys}
        found = []
        for line in self.signatures:
            key = known.get((line.name, line.keyid))
            if key is None:
                continue
            good = key.check(self.text, line.signature)
            if good is None:
                raise TamperError(
                    f"the signature of key {key} is not right: the note was changed, or it is forged"
                )
            found.append(good)
        if not found:
            signers = ", ".join(f"{line.name}+{line.keyid}" for line in self.signatures[:5])
            raise TamperError(f"the note is signed by no key that is known here, only by {signers}")
        return tuple(found)

    def with_signatures(self, more: Iterable[Signature]) -> Note:
        """Give the note with further signatures; one of a key that has signed already takes its place."""
        lines = {(line.name, line.keyid): line for line in (*self.signatures, *more)}
        return Note(self.text, tuple(lines.values()))


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The head of a log's tree, as its key signs it.

    Arguments:
        origin: which log.
        size: how many entries the tree has.
        root: its Merkle root, 32 bytes.
    """

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        if not _is_name(self.origin) or not 0 <= self.size <= MAX_SIZE or len(self.root) != HASH_SIZE:
            raise ValueError("a checkpoint has the name of a log, a size, and a root of 32 bytes")

    def text(self) -> str:
        """Give the text that is signed: three lines."""
        return f"{self.origin}\n{self.size}\n{_encode(self.root)}\n"


def sign_note(text: str, keys: Iterable[SigningKey]) -> str:
    """Give a note signed by each of these keys (of type Ed25519).

    Raises:
        ValueError: there is no key, or the text cannot stand in a note.
    """
    signatures = tuple(key.sign(text) for key in keys)
    if not signatures:
        raise ValueError("a note needs a signature")
    return Note(text, signatures).write()


def read_note(data: str | bytes) -> Note:
    """Take a note apart. Nothing in it is believed before `Note.signed` has checked it.

    Raises:
        TamperError: these bytes are no signed note; says why.
    """
    whole = _decode_text(data)
    # The text may have blank lines of its own: the signatures follow the last one.
    text, gap, tail = whole.rpartition("\n\n")
    if not gap or not tail.endswith("\n"):
        raise TamperError("this is no signed note: it has no signatures, or its end is cut off")
    lines = tail[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise TamperError(f"this note has {len(lines)} signatures; {MAX_SIGNATURES} is the most")
    return Note(text + "\n", tuple(_read_line(line) for line in lines))


def read_checkpoint(text: str) -> Checkpoint:
    """Read the text of a checkpoint: three lines, and nothing behind them.

    Raises:
        TamperError: it is none; says why.
    """
    lines = text.split("\n")
    if len(lines) != 4 or lines[3]:
        raise TamperError("this is no checkpoint of an incident log: it has not three lines")
    origin, size, root = lines[:3]
    if not _is_name(origin):
        raise TamperError(f"the checkpoint's first line is no name of a log: {origin[:MAX_NAME]!r}")
    if not _DECIMAL.fullmatch(size) or int(size) > MAX_SIZE:
        raise TamperError(f"the checkpoint's second line is no size of a log: {size[:40]!r}")
    hash_ = _decode(root)
    if hash_ is None or len(hash_) != HASH_SIZE:
        raise TamperError(f"the checkpoint's third line is no root of a tree: {root[:80]!r}")
    return Checkpoint(origin, int(size), hash_)


def read_vkey(text: str) -> VerifyingKey:
    """Read a key from `name+keyid+base64(type || key)`.

    Raises:
        ValueError: it is none; says why.
    """
    match = _VKEY.fullmatch(text) if len(text) <= MAX_NAME + 100 else None
    data = _decode(match[3]) if match else None
    if match is None or not data:
        raise ValueError(f"{text[:MAX_NAME]!r} is no key: give NAME+KEYID+KEY as `mimrun key show` prints it")
    key = VerifyingKey(match[1], data[1:], data[0])
    if key.keyid != match[2]:
        raise ValueError(
            f"key {match[1]}+{match[2]}: name and key belong to the id {key.keyid}; it was changed"
        )
    return key


def check_text(text: str) -> None:
    """Refuse a text that cannot stand in a note.

    Raises:
        ValueError: it is empty, does not end in a newline, or has control characters or lone surrogates.
    """
    if not text.endswith("\n") or text == "\n" or not _is_clean(text) or len(text) > MAX_NOTE // 8:
        raise ValueError("the text of a note ends in a newline and has no control characters")
    text.encode()


def _cosigned(text: str, moment: int) -> bytes:
    """Give what a witness signs (tlog-cosignature, "Ed25519 signed message")."""
    return f"cosignature/v1\ntime {moment}\n{text}".encode()


def _decode_text(data: str | bytes) -> str:
    try:
        whole = data if isinstance(data, bytes) else data.encode()
        if len(whole) > MAX_NOTE:
            raise TamperError(f"a note of {len(whole)} bytes is too long; {MAX_NOTE} is the most")
        text = whole.decode()
    except UnicodeError as exc:
        raise TamperError(f"this is no signed note: not UTF-8 ({exc})") from exc
    if not _is_clean(text):
        raise TamperError("this is no signed note: it has control characters")
    return text


def _read_line(line: str) -> Signature:
    match = _LINE.fullmatch(line)
    data = _decode(match[2]) if match else None
    if match is None or data is None or len(data) < 5 or not _is_name(match[1]):
        raise TamperError(f"this is no line of a signature: {line[:120]!r}")
    return Signature(match[1], data[:4].hex(), data[4:])


def _is_name(name: str) -> bool:
    return (
        0 < len(name) <= MAX_NAME
        and "+" not in name
        and not any(c.isspace() for c in name)
        and _is_clean(name)
    )


def _is_clean(text: str) -> bool:
    return not any(c < " " and c != "\n" for c in text)


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _decode(text: str) -> bytes | None:
    """Read base64 in its one right spelling; None for any other."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if _encode(data) == text else None
