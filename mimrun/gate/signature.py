"""Signed approvals: what a person signs, and whose keys count. OpenSSH does the cryptography (`app/signed/openssh`).

The statement says everything that the decision is for, so that a signature over it is good for nothing else.
Whose key it was is read from a file as OpenSSH has it (`allowed_signers` in ssh-keygen(1)); the principal
is the id of a person.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints, ValidationError

from mimrun import canonical
from mimrun.errors import GateError, Problem, SettingsError
from mimrun.gate.people import People, Person
from mimrun.log.field import REASON_LENGTH, Digest, Moment, Name, Seq
from mimrun.runbook.model import Part

NAMESPACE: Final = "approval@mimrun"
"""What OpenSSH is told the signature is for; a signature for anything else does not count."""
FORMAT: Final = "mimapproval/1"
LONGEST: Final = 16 * 1024
"""Bytes of a statement, and of a signature."""
LARGEST_FILE: Final = 4 * 1024 * 1024
"""Bytes of a file of signers."""

_ARMOUR: Final = re.compile(
    r"-----BEGIN SSH SIGNATURE-----\n([A-Za-z0-9+/=\n]+)\n-----END SSH SIGNATURE-----\n?"
)
_PATTERN: Final = re.compile(r"[*?!]")
_WORD: Final = re.compile(r'(?:[^\s"]|"(?:[^"\\]|\\.)*")+')
_OPTION: Final = re.compile(r'([A-Za-z-]+)(?:="((?:[^"\\]|\\.)*)"|=([^",\s]+))?(?:,|$)')
_TYPE: Final = re.compile(r"(?:sk-)?(?:ssh|ecdsa)-[a-z0-9@.-]+")


class Statement(Part):
    """What a person signs.

    Arguments:
        log: the origin of the log that asked; the same names elsewhere are other runs.
        gate: its path in the plan, and `request` the entry that asked: to be asked anew is another question.
        plan, segment: digests of the frozen plan, and of exactly what would run.
        person: who decides; "" leaves it to whose key it is.
        at: when it was signed, by the signer's clock.
        expires: when the gate stops waiting, as it was asked.
    """

    format: Literal["mimapproval/1"] = FORMAT
    log: Name
    incident: Name
    run: Name
    gate: Name
    request: Seq
    plan: Digest
    segment: Digest
    decision: Literal["approved", "rejected"]
    purpose: Literal["approval", "freeze_override"] = "approval"
    person: Annotated[str, StringConstraints(max_length=64)] = ""
    reason: Annotated[str, Field(max_length=REASON_LENGTH)] = ""
    at: Moment
    expires: Moment

    def encode(self) -> bytes:
        """Give the canonical bytes that are signed."""
        return canonical.encode(self.model_dump(mode="json"))

    @classmethod
    def decode(cls, data: bytes) -> Statement:
        """Read what `encode` gave.

        Raises:
            ValueError: these bytes are no statement, or one in another spelling.
        """
        if len(data) > LONGEST:
            raise ValueError(f"a statement has at most {LONGEST} bytes")
        try:
            statement = cls.model_validate_json(data)
            same = statement.encode() == data
        except ValidationError as exc:
            where = ".".join(map(str, exc.errors()[0]["loc"])) or "all of it"
            raise ValueError(f"it is no statement of {FORMAT}: {where} cannot be read") from None
        if not same or not statement.at or not statement.expires:
            raise ValueError(f"it is no statement of {FORMAT}: it is not in its canonical spelling")
        return statement


@dataclass(frozen=True, slots=True)
class Signer:
    """A line of a file of signers.

    Arguments:
        line: its number.
        principals: as they are written; patterns where `is_authority`, else each the id of a person.
        options: by lower-case name; "" where an option has no value.
        key: the public key's bytes (RFC 4253, section 6.6).
    """

    line: int
    principals: tuple[str, ...]
    options: Mapping[str, str]
    key: bytes

    @property
    def fingerprint(self) -> str:
        """The key's fingerprint, as OpenSSH writes it."""
        digest = base64.b64encode(hashlib.sha256(self.key).digest()).decode()
        return f"SHA256:{digest.rstrip('=')}"

    def is_valid(self, at: datetime) -> bool:
        """Say whether a moment lies between the line's dates. A date that cannot be read is over."""
        try:
            since = _date(self.options.get("valid-after", "19700101"))
            until = _date(self.options.get("valid-before", "99991231"))
        except ValueError:
            return False
        return since <= at < until

    @property
    def is_authority(self) -> bool:
        """Whether it is a certificate authority's key, which says itself whose keys it certifies."""
        return "cert-authority" in self.options


@dataclass(frozen=True, slots=True)
class Signers:
    """A file of signers, as far as it has to be read beside OpenSSH: to see that a key belongs to one person."""

    lines: Sequence[Signer]
    file: str

    def of_key(self, key: bytes) -> tuple[Signer, ...]:
        """Give the lines that name this very key."""
        return tuple(one for one in self.lines if one.key == key and not one.is_authority)

    def still_counts(self, person: str, fingerprint: str, at: datetime) -> bool:
        """Say whether a signature that was accepted once is still by a key of the person.

        1. The key stands on a line of the person, between its dates.
        2. It stands on no line at all and there is an authority: it was a certificate, and OpenSSH looked at it then.

        Arguments:
            fingerprint: of the key, as OpenSSH writes it.
        """
        known = [one for one in self.lines if not one.is_authority and one.fingerprint == fingerprint]
        if not known:
            return any(one.is_authority for one in self.lines)
        return any(person in one.principals and one.is_valid(at) for one in known)

    def wrong(self, people: People) -> tuple[str, ...]:
        """Give what makes keys count for nobody: principals whom nobody knows, and keys that several have."""
        found = []
        for one in (line for line in self.lines if not line.is_authority):
            strangers = [name for name in one.principals if name not in people.by_id]
            owners = {name for line in self.of_key(one.key) for name in line.principals}
            if strangers:
                found.append(f"line {one.line}: nobody is known as {', '.join(strangers)}")
            elif len(owners) > 1:
                found.append(f"line {one.line}: the key belongs to {' and '.join(sorted(owners))}")
        return tuple(found)

    def of_person(self, person: str) -> tuple[bytes, ...]:
        """Give the keys that are written down for a person by name."""
        return tuple(one.key for one in self.lines if person in one.principals and not one.is_authority)


def read_signers(text: str, file: str) -> Signers:
    """Read a file of signers (`ALLOWED SIGNERS` in ssh-keygen(1)).

    Arguments:
        file: its name, for messages.

    Raises:
        SettingsError: lines cannot be read, or give a key to a pattern; every one is named. OpenSSH would pass over them.
    """
    problems: list[Problem] = []
    lines: list[Signer] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            lines.append(_signer(number, line))
        except ValueError as exc:
            problems.append(Problem(file, number, 0, str(exc), "it is: PERSON [OPTIONS] KEYTYPE BASE64"))
    if problems:
        raise SettingsError(problems=problems)
    return Signers(tuple(lines), file)


def _signer(number: int, line: str) -> Signer:
    words = _WORD.findall(line)
    if len(words) < 3:
        raise ValueError("a person and a key are missing")
    options: dict[str, str] = {}
    if not _TYPE.fullmatch(words[1]):
        options = _options(words.pop(1))
    if len(words) < 3 or not _TYPE.fullmatch(words[1]):
        raise ValueError(f"{words[1][:40]!r} is no type of key")
    try:
        key = base64.b64decode(words[2], validate=True)
    except binascii.Error:
        raise ValueError("the key is not base64") from None
    if next(_fields(key), b"") != words[1].encode():
        raise ValueError("the key is not of the type that stands in front of it")
    signer = Signer(number, tuple(words[0].strip('"').split(",")), options, key)
    bad = [name for name in signer.principals if _PATTERN.search(name) or not name.strip()]
    if bad and not signer.is_authority:
        raise ValueError(f"{bad[0]!r} gives a key to a pattern; a key that approves belongs to one person")
    return signer


def _date(text: str) -> datetime:
    """Read YYYYMMDD[HHMM[SS]][Z], as UTC: mimrun has OpenSSH read it so, too."""
    digits = text.removesuffix("Z")
    if len(digits) not in (8, 12, 14) or not digits.isascii() or not digits.isdecimal():
        raise ValueError(f"{text!r} is no date")
    return datetime.strptime(digits.ljust(14, "0"), "%Y%m%d%H%M%S").replace(tzinfo=UTC)


def _options(text: str) -> dict[str, str]:
    found, at = dict[str, str](), 0
    while at < len(text):
        match = _OPTION.match(text, at)
        if match is None:
            raise ValueError(f"option {text[at : at + 40]!r} cannot be read")
        found[match[1].lower()] = match[2] or match[3] or ""
        at = match.end()
    return found


def key_in(signature: str) -> bytes:
    """Give the public key, or certificate, that is in a signature (PROTOCOL.sshsig of OpenSSH). It proves nothing yet.

    Raises:
        ValueError: it is no signature of OpenSSH's, or not for approvals.
    """
    match = _ARMOUR.fullmatch(signature) if len(signature) <= LONGEST else None
    try:
        data = base64.b64decode(match[1].replace("\n", ""), validate=True) if match else b""
    except binascii.Error:
        data = b""
    if data[:10] != b"SSHSIG\0\0\0\1":
        raise ValueError("it is no signature of OpenSSH's")
    fields = list(_fields(data[10:]))
    if len(fields) != 5:
        raise ValueError("it is no signature of OpenSSH's: it is cut short")
    if fields[1] != NAMESPACE.encode():
        said = fields[1][:60].decode("ascii", "backslashreplace")
        raise ValueError(f"it is a signature for {said!r}, not for {NAMESPACE!r}")
    return fields[0]


def _fields(data: bytes) -> Iterator[bytes]:
    """Give the strings that lie one behind the other (RFC 4251, section 5)."""
    while len(data) >= 4:
        length = int.from_bytes(data[:4], "big")
        if length > len(data) - 4:
            return
        yield data[4 : 4 + length]
        data = data[4 + length :]


def owner_of(key: bytes, found: Sequence[str], signers: Signers, people: People) -> Person:
    """Say whose key it is. One key is one person's: who has two could be two people.

    1. The principals that OpenSSH found for the key now: of a plain key its line's, of a certificate its own.
    2. Those of every other line that names the very key, whatever its dates.
    3. Of these, exactly one person of the people file may be meant, and it is named by id, not by an account.

    Arguments:
        key: from the signature.
        found: what OpenSSH found.

    Raises:
        GateError: nobody known has it, or more than one person.
    """
    written = [name for line in signers.of_key(key) for name in line.principals]
    names = sorted({*found, *written})
    owners = sorted(name for name in names if name in people.by_id)
    if len(owners) > 1 or (owners and len(written) > 0 and len(names) > 1):
        raise GateError(
            f"the key that signed belongs to {' and '.join(names)} in {signers.file}: a key that several use"
            " proves nobody; give each a key of their own"
        )
    if not owners:
        who = " and ".join(names) or "nobody"
        raise GateError(
            f"the key that signed belongs to {who} in {signers.file}, and {people.file} knows no such person:"
            " the principal has to be the person's id there"
        )
    return people.by_id[owners[0]]
