"""Signed approvals: asked for in a text, signed by whoever decides on any machine, brought back by anybody."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Literal

from mimrun import canonical
from mimrun.app.decisions import (
    PendingGate,
    Signed,
    decide,
    describe,
    override_freeze,
    pending_gate,
)
from mimrun.app.home import Home
from mimrun.app.identity import Identity
from mimrun.app.masking import masking
from mimrun.app.runs import find_run
from mimrun.app.signed.openssh import (
    Key,
    agent_keys,
    principals,
    read_file,
    sign,
    usual_keys,
    verify,
)
from mimrun.errors import GateError, InputError, TamperError
from mimrun.gate.approval import SIGNED
from mimrun.gate.armour import armour, unarmour
from mimrun.gate.asking import Asking
from mimrun.gate.people import Person
from mimrun.gate.signature import Signers, Statement, key_in, owner_of, read_signers
from mimrun.log.field import REASON_LENGTH
from mimrun.log.kinds import GateDecided, Kind, PlanFrozen
from mimrun.log.moment import read_moment
from mimrun.settings import Settings

Decision = Literal["approved", "rejected"]
_PACKED: Final = "mimapproval-signed/1"


@dataclass(frozen=True, slots=True)
class Word:
    """What somebody says at a gate.

    Arguments:
        purpose: what for: the gate itself, or the freeze in which it lies.
    """

    decision: Decision
    reason: str = ""
    purpose: Literal["approval", "freeze_override"] = "approval"


@dataclass(frozen=True, slots=True)
class Counted:
    """A signed decision that is on record now."""

    statement: Statement
    person: Person
    key: str
    role: str


def ask_for(home: Home, run: str) -> Asking:
    """Make the request that travels to whoever is to decide.

    Raises:
        RefusedError: the run does not wait at a gate.
    """
    return _asking(home, pending_gate(home, run))


def _asking(home: Home, pending: PendingGate) -> Asking:
    summary, request = pending.run.summary, pending.request
    for entry in home.store.entries(run=summary.run, kinds={Kind.PLAN_FROZEN}):
        assert isinstance(entry.body, PlanFrozen)
        frozen = home.store.blob(entry, "plan") or b""
        break
    else:
        raise TamperError(f"run {summary.run} has no plan in the log")
    return Asking(
        log=home.store.log,
        incident=summary.incident,
        run=summary.run,
        gate=pending.node.path,
        request=pending.asked.request,
        title=pending.node.name,
        asked_by=summary.launched_by,
        needed=tuple(request.needed),
        change=pending.node.change if request.terms.change == "none" else request.terms.change,
        freeze=(request.frozen or "frozen")[:REASON_LENGTH] if request.terms.freeze_override else "",
        expires=request.until,
        plan=pending.plan,
        segment=pending.segment,
        frozen=frozen,
    )


def choose_key(given: Key | None, person: str, settings: Settings) -> Key:
    """Say which key signs: what was given; else the agent's that is the person's, or its only one; else a usual file.

    Arguments:
        person: their id, or "" where nobody knows it yet.

    Raises:
        InputError: there is none, or nobody can tell which of the agent's is meant.
    """
    if given is not None:
        return given
    held, own = agent_keys(), frozenset[bytes]()
    if person and settings.allowed_signers.is_file():
        own = frozenset(_signers(settings).of_person(person))
    for key in (*held, *usual_keys()):
        if key.blob and key.blob in own:
            return key
    if len(held) == 1:
        return held[0]
    if len(held) > 1:
        names = ", ".join(key.where.removeprefix("the agent's key ") for key in held[:8])
        raise InputError(f"the agent holds {len(held)} keys ({names}); say with --key FILE which one signs")
    for key in usual_keys():
        return key
    raise InputError(
        "no key to sign with: no agent holds one, and none lies in ~/.ssh; name one with --key FILE"
    )


def sign_word(asking: Asking, word: Word, key: Key, *, person: str, at: datetime) -> Signed:
    """Sign a decision; needs nothing but the request and the key.

    Arguments:
        person: in whose name, or "" for whoever the key belongs to.
        at: the present moment.

    Raises:
        InputError: a rejection without a reason, a reason that is too long, or no ssh-keygen.
        GateError: the gate does not wait any more.
        RefusedError: the key did not sign.
    """
    if (word.decision == "rejected" or word.purpose != "approval") and not word.reason.strip():
        raise InputError("this needs a reason, which a reviewer will read; give one with --reason")
    if at >= asking.expires:
        raise GateError(
            f"the gate stopped waiting at {asking.expires:%Y-%m-%d %H:%M:%S} UTC; ask for a new request"
        )
    try:
        statement = asking.statement(
            word.decision, person=person, reason=word.reason, at=at, purpose=word.purpose
        )
    except ValueError as exc:
        raise InputError(f"this cannot be signed: {exc}") from exc
    data = statement.encode()
    return Signed(data, sign(data, key).encode())


def decide_signed(home: Home, pending: PendingGate, identity: Identity, word: Word, key: Key) -> Counted:
    """Sign a decision here, and record it in the name of the person whose key it is.

    Raises:
        GateError: the key is not the person's, or they may not decide.
    """
    person = identity.person.id
    word = replace(word, reason=masking(home)(word.reason))
    proof = sign_word(_asking(home, pending), word, key, person=person, at=home.clock())
    return import_signed(home, proof)


def import_signed(home: Home, proof: Signed, *, brought_by: str = "") -> Counted:
    """Record a signed decision in the name of the person whose key signed it. The steps, in order:

    1. The statement is read, and is one of this log.
    2. The key that signed belongs to exactly one person now, and not to another than the statement names.
    3. OpenSSH accepts the signature, for approvals and for this person, now.
    4. The run waits at the very gate, and the very request, that the statement names, for the same digests.
    5. The gate still waits, and the statement was neither signed before it was asked for nor in the future.
    6. It was not counted before, and not taken back since it was signed.
    7. The person may decide here, as at the keyboard (`check_voter`).

    Raises:
        GateError: one of these does not hold; the message says which.
        InputError: what was brought is no statement, or no signature.
    """
    try:
        statement = Statement.decode(proof.statement)
        key = key_in(proof.signature.decode("ascii", "replace"))
    except ValueError as exc:
        raise InputError(f"this is no signed approval: {exc}") from exc
    if statement.log != home.store.log:
        raise GateError(f"it was signed for the log {statement.log!r}, and this is {home.store.log!r}")
    now = home.clock()
    person, fingerprint = whose(home, statement, proof, key, now)
    pending = _still_asked(home, statement)
    _check_times(statement, pending, now)
    _check_unused(home, statement, proof.statement, person)
    identity = Identity(person, f"{SIGNED}{fingerprint}")
    brought = brought_by if brought_by != person.id else ""
    signed = replace(proof, brought_by=brought[:64])
    if statement.purpose == "freeze_override" and statement.decision == "approved":
        role = override_freeze(
            home, pending, identity, digest=statement.segment, reason=statement.reason, proof=signed
        )
    else:
        role = decide(
            home,
            pending,
            identity,
            statement.decision,
            digest=statement.segment,
            reason=statement.reason,
            proof=signed,
        )
    return Counted(statement, person, fingerprint, role)


def whose(home: Home, statement: Statement, proof: Signed, key: bytes, at: datetime) -> tuple[Person, str]:
    """Say whose signature it is, and the fingerprint of the key.

    Raises:
        GateError: nobody's, another one's than the statement says, or OpenSSH does not accept it.
    """
    file, signature = home.settings.allowed_signers, proof.signature.decode("ascii", "replace")
    signers, people = _signers(home.settings), home.people()
    found = principals(signature, file, at)
    if not found and not signers.of_key(key):
        who = f" in the name of {statement.person}" if statement.person else ""
        raise GateError(
            f"it was signed{who} with a key that {file} gives to nobody, or not now; see the key's owner"
        )
    person = owner_of(key, found, signers, people)
    if statement.person and statement.person != person.id:
        raise GateError(f"it was signed in the name of {statement.person}, and with a key of {person.id}")
    return person, verify(proof.statement, signature, person.id, file, at)


def _signers(settings: Settings) -> Signers:
    return read_signers(read_file(settings.allowed_signers), str(settings.allowed_signers))


def _still_asked(home: Home, statement: Statement) -> PendingGate:
    try:
        view = find_run(home, statement.run)
    except InputError:
        raise GateError(f"it is for {statement.run}, which this log does not have") from None
    if (view.summary.run, view.summary.incident) != (statement.run, statement.incident):
        raise GateError(f"it is for {statement.run} of {statement.incident}, which this log does not have")
    if view.summary.waits_on != "gate" or view.summary.waits_at != statement.gate:
        raise GateError(f"{statement.run} does not wait at gate {statement.gate} any more: {describe(view)}")
    pending = pending_gate(home, statement.run, statement.gate)
    if statement.segment != pending.request.digest or statement.plan != pending.plan.digest:
        raise GateError(
            f"it was signed for {statement.segment[7:19]}, and the gate asks for {pending.request.digest[7:19]}: what"
            " would run has changed; ask for a new request"
        )
    if statement.request != pending.asked.request:
        raise GateError(
            f"it answers the request in entry {statement.request}, and the gate was asked anew in entry"
            f" {pending.asked.request}; send the new request"
        )
    return pending


def _check_times(statement: Statement, pending: PendingGate, now: datetime) -> None:
    until = min(read_moment(statement.expires), pending.request.until)
    if now >= until:
        raise GateError(f"it came too late: the gate waited until {until:%Y-%m-%d %H:%M:%S} UTC; ask anew")
    if read_moment(statement.at) >= until:
        raise GateError("it was signed at a time when the gate did not wait any more, by the signer's clock")


def _check_unused(home: Home, statement: Statement, data: bytes, person: Person) -> None:
    """See that this statement is new, and that its person has not taken back what they said since they signed it."""
    for entry in home.store.entries(run=statement.run, kinds={Kind.GATE_DECIDED}):
        body = entry.body
        assert isinstance(body, GateDecided)
        if entry.step != statement.gate or entry.actor.id != person.id:
            continue
        same = (
            any(ref.n == "statement" for ref in entry.blobs) and home.store.blob(entry, "statement") == data
        )
        if same:
            raise GateError(f"this very approval was counted already, in entry {entry.seq}; it counts once")
        if body.decision == "withdrawn" and read_moment(statement.at) <= entry.ts:
            raise GateError(
                f"{person.id} took back what they said after this was signed, in entry {entry.seq}; only what is"
                " signed anew counts"
            )


def pack(proof: Signed) -> str:
    """Give a signed decision as the text that travels."""
    parts = {
        "format": _PACKED,
        "signature": proof.signature.decode("ascii"),
        "statement": proof.statement.decode(),
    }
    return armour("APPROVAL", canonical.encode(parts))


def unpack(text: str) -> Signed:
    """Find a signed decision in a text. It proves nothing yet.

    Raises:
        InputError: there is none, or it was damaged.
    """
    data = unarmour("APPROVAL", text)
    try:
        parts = json.loads(data)
        same = isinstance(parts, dict) and sorted(parts) == ["format", "signature", "statement"]
        if not same or parts["format"] != _PACKED:
            raise ValueError("it has not the parts of one")
        return Signed(parts["statement"].encode(), parts["signature"].encode("ascii"))
    except (ValueError, AttributeError, RecursionError) as exc:
        raise InputError(f"this is no signed approval of {_PACKED}, or of a newer mimrun: {exc}") from None
