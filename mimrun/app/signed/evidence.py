"""Signed decisions as evidence: written out for OpenSSH alone, and verified wherever their log or bundle is."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mimrun.app.home import Home
from mimrun.app.signed.openssh import is_signature_of, principals, read_file, verify
from mimrun.errors import BlobKeyError, ErasedError, GateError, InputError, LogError, TamperError
from mimrun.gate.approval import SIGNED
from mimrun.gate.signature import NAMESPACE, Statement, key_in, read_signers
from mimrun.log.chain import SALT_SIZE
from mimrun.log.entry import LogEntry, decode
from mimrun.log.kinds import GateDecided, Kind
from mimrun.log.proof.report import SignedDecision
from mimrun.log.proof.standalone.form import Bundle, Damaged


@dataclass(frozen=True, slots=True)
class Pair:
    """A signed decision in two files.

    Arguments:
        check: the command that checks it, with OpenSSH alone.
    """

    person: str
    statement: Path
    signature: Path
    check: str


def export_pair(home: Home, seq: int, folder: Path) -> Pair:
    """Write the statement and the signature of a decision as files.

    Raises:
        InputError: the entry is no signed decision, or the folder is there or cannot be made.
    """
    try:
        entry = home.store.entry(seq)
    except TamperError:
        raise
    except LogError as exc:
        raise InputError(str(exc)) from exc
    found = _parts(entry, lambda name: home.store.blob(entry, name))
    if found is None:
        raise InputError(
            f"entry {seq} is {entry.kind}, and no signed decision; `mimrun log show` shows which are"
        )
    statement, signature = found
    try:
        folder.mkdir(mode=0o700)
        (folder / "statement").write_bytes(statement)
        (folder / "statement.sig").write_bytes(signature)
    except OSError as exc:
        raise InputError(f"{folder}: cannot be made: {exc.strerror}; choose another with -o") from exc
    at = entry.ts.strftime("%Y%m%d%H%M%SZ")
    check = (
        f"ssh-keygen -Y verify -f allowed_signers -n {NAMESPACE} -I {entry.actor.id}"
        f" -O verify-time={at} -s {folder / 'statement.sig'} < {folder / 'statement'}"
    )
    return Pair(entry.actor.id, folder / "statement", folder / "statement.sig", check)


BlobOf = Callable[[LogEntry, str], bytes | None]


def check_signed(
    entries: Iterable[LogEntry], blob_of: BlobOf, signers: Path | None
) -> Iterator[SignedDecision]:
    """Check every signed decision among some entries.

    1. The statement is that of the entry: the same run, gate, decision, digest and person.
    2. The signature is one of the statement.
    3. The key was the person's when it was recorded, as the file of signers says.

    Arguments:
        blob_of: gives a blob of an entry, or None where it is not here.
        signers: whose keys count; None where nobody said.

    Raises:
        InputError: there is no ssh-keygen, or the file of signers cannot be read.
        GateError: there is no file of signers.
    """
    if signers is not None:
        read_signers(read_file(signers), str(signers))
    for entry in entries:
        if not isinstance(entry.body, GateDecided):
            continue
        if entry.actor.auth.startswith(SIGNED) or any(ref.n == "signature" for ref in entry.blobs):
            yield _checked(entry, blob_of, signers)


def check_bundle(path: Path, signers: Path | None) -> tuple[SignedDecision, ...]:
    """Check every signed decision in a bundle that verified; plain lines of a log hold no statements."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            bundle = Bundle(data)
            wanted = (line for line in bundle.lines("entries.jsonl") if b'"gate.decided"' in line)

            def blob_of(entry: LogEntry, name: str) -> bytes | None:
                commit = next((ref.commit for ref in entry.blobs if ref.n == name), "")
                salted = bundle.read(f"blobs/{commit}") if commit else None
                return None if salted is None else salted[SALT_SIZE:]

            return tuple(check_signed(map(decode, wanted), blob_of, signers))
    except Damaged:
        return ()
    except OSError as exc:
        raise InputError(f"{path} cannot be read: {exc}") from exc


def check_home(home: Home, signers: Path | None) -> tuple[SignedDecision, ...]:
    """Check every signed decision in the log of a home.

    Arguments:
        signers: whose keys count; None for the home's own file, where there is one.
    """

    def blob_of(entry: LogEntry, name: str) -> bytes | None:
        with suppress(BlobKeyError, ErasedError):
            return home.store.blob(entry, name)
        return None

    own = home.settings.allowed_signers
    file = signers or (own if own.is_file() else None)
    try:
        return tuple(check_signed(home.store.entries(kinds={Kind.GATE_DECIDED}), blob_of, file))
    except InputError as exc:
        if signers is not None:
            raise
        return (SignedDecision(0, "", "unchecked", str(exc)),)


def _checked(entry: LogEntry, blob_of: BlobOf, signers: Path | None) -> SignedDecision:
    assert isinstance(entry.body, GateDecided)
    seq, who = entry.seq, entry.actor.id
    parts = _parts(entry, lambda name: blob_of(entry, name))
    if parts is None:
        named = {ref.n for ref in entry.blobs} >= {"statement", "signature"}
        said = "its statement and signature are not here" if named else "it names a key, and has no signature"
        return SignedDecision(seq, who, "unchecked" if named else "wrong", said)
    statement, signature = parts[0], parts[1].decode("ascii", "replace")
    wrong = _wrong(entry, statement, signature)
    if not wrong and not is_signature_of(statement, signature):
        wrong = "the signature is not one of its statement"
    if wrong:
        return SignedDecision(seq, who, "wrong", wrong)
    if signers is None:
        return SignedDecision(seq, who, "unchecked", "whose key it is, only a file of signers can tell")
    try:
        key = verify(statement, signature, who, signers, entry.ts)
    except GateError as exc:
        others = ", ".join(principals(signature, signers, entry.ts))
        return SignedDecision(
            seq, who, "foreign", f"{exc}" + (f"; the key is that of {others}" if others else "")
        )
    if entry.actor.auth != f"{SIGNED}{key}":
        return SignedDecision(seq, who, "wrong", f"{key} signed it, and the entry says {entry.actor.auth}")
    return SignedDecision(seq, who, "verified", f"{entry.body.decision} by {who}, signed with {key}")


def _wrong(entry: LogEntry, data: bytes, signature: str) -> str:
    """Say where a statement is not that of its entry; "" where it is."""
    assert isinstance(entry.body, GateDecided)
    try:
        statement = Statement.decode(data)
        key_in(signature)
    except ValueError as exc:
        return str(exc)
    body = entry.body
    said = (statement.log, statement.incident, statement.run, statement.gate)
    if said != (entry.log, entry.inc, entry.run, entry.step):
        return "its statement is about another run or gate"
    told = (statement.decision, statement.segment, statement.purpose, statement.reason)
    if told != (body.decision, body.digest, body.purpose, body.reason):
        return "its statement decides something else"
    if statement.person not in ("", entry.actor.id):
        return f"its statement is in the name of {statement.person}"
    return ""


def _parts(entry: LogEntry, blob: Callable[[str], bytes | None]) -> tuple[bytes, bytes] | None:
    """Give statement and signature of a decision; None where it has none, or they are not here."""
    if not isinstance(entry.body, GateDecided) or not {r.n for r in entry.blobs} >= {
        "statement",
        "signature",
    }:
        return None
    statement, signature = blob("statement"), blob("signature")
    return None if statement is None or signature is None else (statement, signature)
