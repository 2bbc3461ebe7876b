"""What a log and a witness say to each other: `add-checkpoint` of C2SP tlog-witness, without the network.

A witness is somebody else's program that remembers the largest checkpoint that it has seen of a log. It signs a
larger one only against a proof that the larger goes on from the one that it knows.

Pure. What a witness answers comes from outside and is believed where it is signed by the key that was agreed.

Source: c2sp.org/tlog-witness, c2sp.org/tlog-cosignature.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from mimrun.errors import TamperError
from mimrun.log.proof.note import COSIGNATURE, MAX_SIZE, Note, VerifyingKey, read_checkpoint, read_note

PATH: Final = "/add-checkpoint"
"""What is appended to the address of a witness."""
STATUSES: Final = (200, 400, 403, 404, 409, 422)
"""Everything that the protocol lets a witness answer with."""
MOST_PROOF: Final = 63
"""Hashes of a proof that may be sent."""
SIZE_TYPE: Final = "text/x.tlog.size"

_SIZE: Final = re.compile(r"(0|[1-9][0-9]{0,15})\n?")


@dataclass(frozen=True, slots=True)
class Cosigned:
    """The witness has seen the checkpoint, and no larger one and no other history.

    Arguments:
        note: the checkpoint with the witness's signature under those of the log.
        moment: when the witness says that it was, in seconds since 1970.
    """

    note: str
    moment: int


@dataclass(frozen=True, slots=True)
class Behind:
    """The witness knows a checkpoint of another size than the proof begins at.

    Arguments:
        size: of that one; a proof from there is to be sent.
    """

    size: int


@dataclass(frozen=True, slots=True)
class Denied:
    """The witness did not sign.

    Arguments:
        reason: why, for a person.
        against: what it knows of the log contradicts the log.
    """

    reason: str
    against: bool = False


WitnessAnswer: TypeAlias = Cosigned | Behind | Denied


def write_request(old: int, proof: Sequence[bytes], note: str) -> str:
    """Give the body of `add-checkpoint`.

    Arguments:
        old: the size that the witness is thought to know; 0 where it knows nothing.
        proof: that the tree of that size is the beginning of the checkpoint's.
        note: the signed checkpoint.

    Raises:
        ValueError: the proof is longer than a witness may be sent.
    """
    if len(proof) > MOST_PROOF:
        raise ValueError(f"a proof of {len(proof)} hashes; a witness takes {MOST_PROOF}")
    lines = [f"old {old}", *(base64.b64encode(hash_).decode() for hash_ in proof)]
    return "\n".join(lines) + "\n\n" + note


@dataclass(frozen=True, slots=True)
class Asked:
    """What a witness was asked.

    Arguments:
        old: the size that the proof began at.
        note: the signed checkpoint.
        key: the witness's own, of the type of cosignatures.
    """

    old: int
    note: str
    key: VerifyingKey

    def read(self, status: int, media_type: str, body: str) -> WitnessAnswer:
        """Read what the witness answered.

        Arguments:
            status: of HTTP.
            media_type: of the body, as the header says.
            body: the body.
        """
        match status:
            case 200:
                return self._signed(body)
            case 409:
                return self._conflict(media_type, body)
            case 422:
                reason = f"it knows {self.old} entries that are not the first ones of this log: its proof does not hold"
                return Denied(reason, against=True)
            case 404:
                return Denied(
                    f"it does not know the log {_origin(self.note)!r}; whoever keeps it must add the log"
                )
            case 403:
                return Denied(
                    "it knows no key that signed the checkpoint; tell whoever keeps it the log's key"
                )
            case _:
                return Denied(f"it answered {status}")

    def _signed(self, body: str) -> WitnessAnswer:
        """Take the witness's own lines, and no other ones, into the checkpoint."""
        ours = read_note(self.note)
        try:
            theirs = read_note(f"{ours.text}\n{body}")
            (signed, *_) = theirs.signed([self.key])
        except TamperError as exc:
            return Denied(f"it answered with what is no signature of {self.key} on this checkpoint: {exc}")
        lines = [
            line for line in theirs.signatures if (line.name, line.keyid) == (self.key.name, self.key.keyid)
        ]
        assert signed.moment is not None
        return Cosigned(Note(ours.text, ours.signatures).with_signatures(lines).write(), signed.moment)

    def _conflict(self, media_type: str, body: str) -> WitnessAnswer:
        found = _SIZE.fullmatch(body)
        if media_type.partition(";")[0].strip() != SIZE_TYPE or found is None or int(found[1]) > MAX_SIZE:
            return Denied("it answered 409 without the size that it knows")
        known, size = int(found[1]), read_checkpoint(read_note(self.note).text).size
        if known > size:
            reason = (
                f"it has seen a log of {known} entries, and this one had {size} when its checkpoint was made"
            )
            return Denied(f"{reason}: it was cut, or an old copy was put in its place", against=True)
        if known == self.old:
            return Denied(
                f"it has seen another log of {known} entries than this one: the root is not the same",
                against=True,
            )
        return Behind(known)


def check_key(key: VerifyingKey) -> VerifyingKey:
    """See that a key is one that a witness signs with.

    Raises:
        ValueError: it is of another type.
    """
    if key.algorithm != COSIGNATURE:
        raise ValueError(
            f"key {key} is of type {key.algorithm:#04x}; a witness signs with one of type {COSIGNATURE:#04x}"
        )
    return key


def _origin(note: str) -> str:
    return note.partition("\n")[0]
