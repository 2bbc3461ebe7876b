"""The keys of a log: which key may sign which tree, and on whose word.

Pure. A log says itself which keys sign it (`log.key`, `log.key_retired`); an offline root key may certify them.
Whoever has pinned a root key believes only what it certified. Without one, the first key is believed on first use,
and each later one because the log that an earlier key signed announced it.

A key is good for a range of sizes, and a signature outside of it is refused however right it is: a verifier that
believes a key for everything accepts an old tree that was changed and signed again (CVE-2023-31439).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from mimrun.errors import TamperError
from mimrun.log.entry import LogEntry
from mimrun.log.kinds_proof import LogKey, LogKeyRetired
from mimrun.log.proof.note import (
    ED25519,
    MAX_SIZE,
    Checkpoint,
    Note,
    Signed,
    SigningKey,
    VerifyingKey,
    read_checkpoint,
    read_note,
    read_vkey,
    sign_note,
)

__all__ = [
    "Certificate",
    "CheckedCheckpoint",
    "KeyRing",
    "RingKey",
    "VerifyingKey",
    "certifier",
    "claimed_certificate",
    "open_certificate",
    "open_request",
    "read_vkey",
]

_CERTIFICATE: Final = "mimrun/log-key/v1"
_REQUEST: Final = "mimrun/log-key-request/v1"


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a root key says of a log's key, and what the log's own key asks for.

    Arguments:
        key: the log's key; its name is the origin of the log.
        from_size: it may sign trees of this size and above.
    """

    key: VerifyingKey
    from_size: int

    def certify(self, root: SigningKey) -> str:
        """Give the certificate: a note signed by the root key."""
        return sign_note(self._text(_CERTIFICATE), [root])

    def request(self, own: SigningKey) -> str:
        """Give the request for it: a note signed by the log's key, which proves that somebody has it."""
        return sign_note(self._text(_REQUEST), [own])

    def _text(self, head: str) -> str:
        return f"{head}\n{self.key.vkey}\n{self.from_size}\n"


def open_certificate(note: str, root: VerifyingKey) -> Certificate:
    """Read a certificate and check that this root key gave it.

    Raises:
        TamperError: it is none, or not of this root key.
    """
    read = read_note(note)
    read.signed([root])
    return _read_certificate(read, _CERTIFICATE)


def open_request(note: str) -> Certificate:
    """Read a request for a certificate and check that it is signed by the key that it asks for.

    Raises:
        TamperError: it is none, or the signature is not right.
    """
    read = read_note(note)
    asked = _read_certificate(read, _REQUEST)
    read.signed([asked.key])
    return asked


def claimed_certificate(note: str) -> Certificate:
    """Read what a certificate says, before it is known whether that is true.

    Raises:
        TamperError: it is no certificate.
    """
    return _read_certificate(read_note(note), _CERTIFICATE)


def certifier(note: str) -> str:
    """Give the name and id of the key that a certificate says it is signed by; not checked.

    Raises:
        TamperError: it is no certificate.
    """
    read = read_note(note)
    _read_certificate(read, _CERTIFICATE)
    return f"{read.signatures[0].name}+{read.signatures[0].keyid}"


def _read_certificate(note: Note, head: str) -> Certificate:
    lines = note.text.split("\n")
    if len(lines) != 4 or lines[0] != head or lines[3]:
        raise TamperError(f"this is no {head}: its text is {note.text[:120]!r}")
    try:
        key, size = read_vkey(lines[1]), int(lines[2])
    except ValueError as exc:
        raise TamperError(f"this is no {head}: {exc}") from exc
    if str(size) != lines[2] or not 0 <= size <= MAX_SIZE or key.algorithm != ED25519:
        raise TamperError(f"this is no {head}: {lines[2][:40]!r} is no size, or the key is of another type")
    return Certificate(key, size)


@dataclass(frozen=True, slots=True)
class RingKey:
    """A key of the log, and the sizes of the trees that it may sign.

    Arguments:
        key: the key.
        from_size: the smallest tree; never smaller than the one that announces the key.
        to_size: the largest tree; None while the key is in use.
        announced: `seq` of the entry that announced it.
        certificate: the root key's note about it, or "".
        certified: the certificate was checked with the pinned root key. False where none is pinned.
        doubt: why it is not certified although a root key is pinned, or "".
    """

    key: VerifyingKey
    from_size: int
    to_size: int | None
    announced: int
    certificate: str = ""
    certified: bool = False
    doubt: str = ""

    def covers(self, size: int) -> bool:
        """Whether it may sign the tree of this size."""
        return self.from_size <= size and (self.to_size is None or size <= self.to_size)


@dataclass(frozen=True, slots=True)
class CheckedCheckpoint:
    """A checkpoint that a key of the log has signed, in its range.

    Arguments:
        checkpoint: what it says.
        signers: the keys of the log that vouch for it, at least one.
        witnesses: what known witnesses said of it.
    """

    checkpoint: Checkpoint
    signers: tuple[RingKey, ...]
    witnesses: tuple[Signed, ...] = ()


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The keys of a log, folded from its entries.

    Arguments:
        origin: which log.
        keys: in the order in which they were announced.
        root: the pinned root key, or None.
    """

    origin: str
    keys: tuple[RingKey, ...] = ()
    root: VerifyingKey | None = None

    @classmethod
    def fold(cls, origin: str, entries: Iterable[LogEntry], root: VerifyingKey | None = None) -> KeyRing:
        """Make the ring of a log.

        Arguments:
            origin: which log.
            entries: all `log.key` and `log.key_retired` entries in order; others are passed over.
            root: the pinned root key, or None to believe the first key.

        Raises:
            TamperError: an entry announces or retires what it cannot; it is named.
        """
        ring = cls(origin, (), root)
        for entry in entries:
            ring = ring.after(entry)
        return ring

    def after(self, entry: LogEntry) -> KeyRing:
        """Give the ring after one more entry; see `fold`."""
        match entry.body:
            case LogKey():
                return self._announced(entry.seq, entry.body)
            case LogKeyRetired():
                return self._retired(entry.seq, entry.body)
            case _:
                return self

    def key(self, keyid: str) -> RingKey | None:
        """Give the key with this id."""
        return next((one for one in self.keys if one.key.keyid == keyid), None)

    def open_keys(self) -> tuple[RingKey, ...]:
        """Give the keys that are in use: announced and not retired."""
        return tuple(one for one in self.keys if one.to_size is None)

    def check(self, note: str, witnesses: Iterable[VerifyingKey] = ()) -> CheckedCheckpoint:
        """Check a checkpoint's note.

        Arguments:
            note: as it is stored.
            witnesses: keys of witnesses whose word counts; they do not take the place of a key of the log.

        Raises:
            TamperError: it is no checkpoint of this log, a signature is not right, or no key of the log vouches for
                it in its range; says which and why.
        """
        read = read_note(note)
        # 1. it speaks of this log
        checkpoint = read_checkpoint(read.text)
        where = f"checkpoint of size {checkpoint.size}"
        if checkpoint.origin != self.origin:
            raise TamperError(f"{where}: it is of the log {checkpoint.origin!r}, not of {self.origin!r}")
        # 2. every signature of a known key is right, also of one that does not count
        known = list(witnesses)
        try:
            signed = read.signed([*(one.key for one in self.keys), *known])
        except TamperError as exc:
            raise TamperError(f"{where}: {exc}") from exc
        # 3. a key of the log counts where it is in its range, and certified if a root key is pinned
        signers, doubts = [], []
        for one in self.keys:
            if any(good.key == one.key for good in signed):
                doubt = self._doubt(one, checkpoint.size)
                signers += [] if doubt else [one]
                doubts += [doubt] if doubt else []
        # 4. one is enough: a key that is out of its range neither helps nor harms
        if not signers:
            raise TamperError(f"{where}: " + ("; ".join(doubts) or "no key of the log has signed it"))
        return CheckedCheckpoint(checkpoint, tuple(signers), tuple(s for s in signed if s.key in known))

    def unconfirmed(self, checked: Iterable[CheckedCheckpoint]) -> tuple[RingKey, ...]:
        """Give the keys for which no key before them, and no root key, has vouched.

        A log that is signed by one of them from some size on may have been taken over there. The first key is
        believed, as is what the pinned root key certified; a checkpoint that a believed key signed vouches for the
        keys that were announced in that tree.

        Arguments:
            checked: the checkpoints at hand whose roots are those of the log at hand; those at which keys change
                over are enough.
        """
        believed = {one.key for one in self.keys if one.certified}
        if self.root is None:
            believed |= {one.key for one in self.keys[:1]}
        for one in sorted(checked, key=lambda c: c.checkpoint.size):
            if any(signer.key in believed for signer in one.signers):
                believed |= {key.key for key in self.keys if key.announced <= one.checkpoint.size}
        return tuple(one for one in self.keys if one.key not in believed)

    def _doubt(self, one: RingKey, size: int) -> str:
        if not one.covers(size):
            end = "on" if one.to_size is None else f"to {one.to_size}"
            return f"key {one.key} may sign trees from size {one.from_size} {end}, and not this one"
        if self.root is not None and not one.certified:
            return f"key {one.key} is not certified by the root key {self.root}: {one.doubt}"
        return ""

    def _announced(self, seq: int, body: LogKey) -> KeyRing:
        where = f"entry {seq} announces a key"
        try:
            key = read_vkey(body.vkey)
        except ValueError as exc:
            raise TamperError(f"{where} that is none: {exc}") from exc
        if key.keyid != body.keyid or key.name != self.origin or key.algorithm != ED25519:
            raise TamperError(
                f"{where} that is not of this log, or not the one it names: {key} as {body.keyid}"
            )
        known = self.key(key.keyid)
        if known is None:
            if self.root is None and self.keys and not self.open_keys():
                raise TamperError(f"{where} when no other was in use any more: nobody vouches for {key}")
            # A key cannot sign a tree that does not announce it, whatever the entry says.
            one = RingKey(key, max(body.from_size, seq), None, seq)
        elif known.key != key or known.to_size is not None:
            raise TamperError(f"{where} that is there already, or was retired: {key}")
        else:
            one = known
        one = self._certified(one, body.certificate)
        return replace(self, keys=(*self.keys, one) if known is None else self._with(one))

    def _with(self, one: RingKey) -> tuple[RingKey, ...]:
        return tuple(one if k.key == one.key else k for k in self.keys)

    def _certified(self, one: RingKey, certificate: str) -> RingKey:
        if one.certified:
            return one
        if not certificate:
            return replace(one, doubt=one.doubt or "there is no certificate for it")
        if self.root is None:
            return replace(one, certificate=certificate)
        try:
            given = open_certificate(certificate, self.root)
        except TamperError as exc:
            return replace(one, certificate=certificate, doubt=str(exc))
        if given.key != one.key:
            return replace(one, certificate=certificate, doubt=f"the certificate is for {given.key}")
        start = max(one.from_size, given.from_size)
        return replace(one, certificate=certificate, certified=True, doubt="", from_size=start)

    def _retired(self, seq: int, body: LogKeyRetired) -> KeyRing:
        known = self.key(body.keyid)
        if known is None or known.to_size is not None:
            raise TamperError(f"entry {seq} retires key {body.keyid}, which was not in use")
        if body.to_size > seq:
            raise TamperError(
                f"entry {seq} retires key {body.keyid} at size {body.to_size}, which is yet to come"
            )
        return replace(self, keys=self._with(replace(known, to_size=body.to_size)))
