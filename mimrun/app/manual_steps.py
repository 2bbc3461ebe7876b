"""Manual steps: taken up, handed over, ticked, attested with evidence, and confirmed by a second person."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from mimrun import canonical
from mimrun.app.attachments import Attachment
from mimrun.app.home import Home
from mimrun.app.identity import Identity
from mimrun.app.manual_evidence import read_evidence
from mimrun.app.masking import masking
from mimrun.app.persons import require_another, require_known
from mimrun.app.resolving import unchanged
from mimrun.app.runs import Known, RunView, describe, find_run, known_run
from mimrun.errors import GateError, InputError, RefusedError
from mimrun.gate.people import Person, acted
from mimrun.log.entry import Blob, Draft
from mimrun.log.kinds import (
    Body,
    ManualAttested,
    ManualChecked,
    ManualClaimed,
    ManualConfirmed,
    ManualDisputed,
    ManualHandedOver,
    ManualReleased,
)
from mimrun.run.record.manual_state import ANYBODY, ManualState, ManualStatus
from mimrun.runbook.node import PlannedManual

_LONGEST_ACTIVE: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class PendingManual:
    """A manual step that waits, with everything about it.

    Arguments:
        team: whose runbook it is; its members and who is on call for it have their roles there.
    """

    view: RunView
    node: PlannedManual
    state: ManualState
    team: str

    @property
    def run(self) -> str:
        """The run's name."""
        return self.view.summary.run


@dataclass(frozen=True, slots=True)
class Attestation:
    """What somebody says when they sign.

    Arguments:
        evidence: by name, as it is typed.
        files: by name, as they were read.
        failed: it cannot be done, for this `reason`; else it is done.
        active: how long it took, by their own word; None leaves it to when it was taken up and put down.
    """

    evidence: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, Attachment] = field(default_factory=dict)
    failed: bool = False
    reason: str = ""
    active: timedelta | None = None


def pending_manual(home: Home, run: str, *, known: Known | None = None) -> PendingManual:
    """Give the manual step that a run waits for.

    Arguments:
        known: what whoever only looks knows of the run already.

    Raises:
        RefusedError: it waits for none.
    """
    view = find_run(home, run)
    summary = view.summary
    if summary.waits_on != "manual":
        raise RefusedError(f"{summary.run} does not wait for a manual step: {describe(view)}")
    found = known_run(home, summary.run, known)
    node = found.plan.node(summary.waits_at)
    if not isinstance(node, PlannedManual):
        raise RefusedError(f"{summary.run}: step {summary.waits_at} is not a manual step")
    return PendingManual(view, node, found.state.manuals[node.path], found.plan.runbook.owner)


def why_not_work(home: Home, pending: PendingManual, identity: Identity) -> str:
    """Say why a person may not do the step, whoever else does it; "" where they may."""
    try:
        _worker(home, pending, identity, "do")
    except RefusedError as exc:
        return str(exc)
    return ""


def why_not_second(home: Home, pending: PendingManual, identity: Identity) -> str:
    """Say why a person may not confirm or dispute what was attested; "" where they may."""
    try:
        _require_second(home, pending, identity, "confirm")
    except RefusedError as exc:
        return str(exc)
    return ""


def does_it(home: Home, pending: PendingManual, identity: Identity) -> bool:
    """Say whether a person is the one who does the step."""
    return bool(pending.state.holder) and _is_holder(home, pending.state, identity)


def claim(home: Home, run: str, identity: Identity, reason: str = "") -> PendingManual:
    """Record that a person does the step from now on.

    Arguments:
        reason: why it is taken from somebody who has taken it up; needed there, and only there.

    Raises:
        RefusedError: somebody else does it and there is no reason, this person does it already, or it is attested.
        GateError: the person is not known, or does not have the role.
    """
    pending = _open(home, run)
    person = _worker(home, pending, identity, "do")
    state = pending.state
    if state.holder and not _is_holder(home, state, identity):
        if not reason.strip():
            raise RefusedError(
                f"{state.holder} does '{pending.node.name}'; ask them to hand it over, or take it with --reason"
            )
        return _say(home, pending, identity, ManualHandedOver(to=person.id, reason=masking(home)(reason)))
    if state.holder and state.at_work_since is not None:
        raise RefusedError(f"{state.holder} does '{pending.node.name}' already")
    return _say(home, pending, identity, ManualClaimed())


def release(home: Home, run: str, identity: Identity, reason: str = "") -> PendingManual:
    """Record that whoever does the step does not do it any more.

    Raises:
        RefusedError: this person does not do it.
    """
    pending = _open(home, run)
    _require_holder(home, pending, identity, "put it down")
    return _say(home, pending, identity, ManualReleased(reason=masking(home)(reason)))


def hand_over(home: Home, run: str, identity: Identity, to: str, reason: str) -> PendingManual:
    """Record that the step is somebody else's from now on; their time begins when they take it up.

    Raises:
        RefusedError: somebody else does it.
        GateError: either is not known, or the other does not have the role.
        InputError: there is no reason, or it is handed to oneself.
    """
    if not reason.strip():
        raise InputError("say why, and what the other has to know, with --reason")
    pending = _open(home, run)
    _worker(home, pending, identity, "hand over")
    if pending.state.holder:
        _require_holder(home, pending, identity, "hand it over")
    other = home.people(pending.team).person(to)
    _require_role(pending, other)
    if other.id == identity.person.id:
        raise InputError("it is handed to another person; take it up yourself with `mimrun claim`")
    return _say(home, pending, identity, ManualHandedOver(to=other.id, reason=masking(home)(reason)))


def check(home: Home, run: str, identity: Identity, item: int, *, done: bool = True) -> PendingManual:
    """Record that an item of the checklist is done, or is not after all.

    Arguments:
        item: its number; the first is 1.

    Raises:
        InputError: there is no such item.
        RefusedError: somebody else does the step, or the item is so already.
    """
    pending = _open(home, run)
    _worker(home, pending, identity, "tick items of")
    _require_free_or_own(home, pending, identity)
    count = len(pending.state.checklist)
    if not 1 <= item <= count:
        raise InputError(f"'{pending.node.name}' has {count} items on its checklist; there is no item {item}")
    if (item in pending.state.ticked) is done:
        raise RefusedError(f"item {item} is {'ticked' if done else 'not ticked'} already")
    return _say(home, pending, identity, ManualChecked(item=item, done=done))


def attest(
    home: Home,
    run: str,
    identity: Identity,
    evidence: Mapping[str, str],
    word: Attestation | None = None,
) -> PlannedManual:
    """Record a person's word that a manual step is done, or cannot be, with the evidence that it asks for.

    Arguments:
        evidence: by name, as it is typed.
        word: what they say besides.

    Raises:
        RefusedError: the run does not wait for a manual step, somebody else does it, or it is attested.
        GateError: the person is not known, or does not have the role that the step is for.
        InputError: evidence is missing, unknown or of the wrong type, or items are not ticked; all of it is named.
    """
    said = word or Attestation(evidence)
    mask = masking(home)
    given_text = {name: mask(text) for name, text in {**said.evidence, **evidence}.items()}
    pending = _open(home, run)
    _worker(home, pending, identity, "attest")
    _require_free_or_own(home, pending, identity)
    given = read_evidence(pending.node, pending.state, given_text, said.files, failed=said.failed)
    if said.failed and not said.reason.strip():
        raise InputError("say why it cannot be done, with --reason")
    if said.active is not None and not timedelta() < said.active <= _LONGEST_ACTIVE:
        raise InputError("--active is how long it took, such as 12m, and at most seven days")
    body = ManualAttested(
        fields=canonical.digest(given),
        outcome="failed" if said.failed else "done",
        reason=mask(said.reason),
        active_ms=int(said.active / timedelta(milliseconds=1)) if said.active else 0,
    )
    blobs = (Blob("evidence", json.dumps(given, sort_keys=True).encode(), "text"),)
    drafts = [_draft(pending, identity, file.body(), _content(file)) for file in said.files.values()]
    # The word comes last: whoever reads it finds the files in front of it.
    _append(home, pending, [*drafts, _draft(pending, identity, body, blobs)])
    return pending.node


def confirm(home: Home, run: str, identity: Identity) -> PendingManual:
    """Record a second person's word that what was attested is so.

    Raises:
        RefusedError: nothing waits for a second person.
        GateError: it is the same person, or one without the role.
    """
    pending = _second(home, run, identity, "confirm")
    return _say(home, pending, identity, ManualConfirmed(attested=pending.state.attested))


def dispute(home: Home, run: str, identity: Identity, reason: str) -> PendingManual:
    """Record a second person's word that what was attested is not so; the step is to be done again.

    Raises:
        InputError: there is no reason.
        RefusedError, GateError: as for `confirm`.
    """
    if not reason.strip():
        raise InputError("say what is not as it was attested, with --reason")
    pending = _second(home, run, identity, "dispute")
    body = ManualDisputed(attested=pending.state.attested, reason=masking(home)(reason))
    return _say(home, pending, identity, body)


def _open(home: Home, run: str) -> PendingManual:
    pending = pending_manual(home, run)
    state = pending.state
    if state.status is ManualStatus.ATTESTED and state.second:
        raise RefusedError(
            f"{state.by} has attested it already; another person says `mimrun confirm {pending.run}` or"
            f" `mimrun dispute {pending.run}`"
        )
    if state.attested:
        raise RefusedError(f"{state.by} has attested it already; go on with `mimrun resume {pending.run}`")
    return pending


def _second(home: Home, run: str, identity: Identity, what: str) -> PendingManual:
    pending = pending_manual(home, run)
    _require_second(home, pending, identity, what)
    return pending


def _require_second(home: Home, pending: PendingManual, identity: Identity, what: str) -> None:
    state, name = pending.state, pending.node.name
    if state.status is not ManualStatus.ATTESTED or not state.second:
        raise RefusedError(
            f"'{name}' does not wait for a second person; `mimrun status {pending.run}` says for what"
        )
    roles = () if state.second == ANYBODY else (state.second,)
    require_known(home, identity, f"{what} '{name}'", roles=roles, team=pending.team)
    refused = f"attested '{name}' and cannot {what} it; a second person has to"
    require_another(home, identity, state.by_names, refused)


def _worker(home: Home, pending: PendingManual, identity: Identity, what: str) -> Person:
    person = require_known(home, identity, f"{what} '{pending.node.name}'", team=pending.team)
    _require_role(pending, person)
    return person


def _require_role(pending: PendingManual, person: Person) -> None:
    node = pending.node
    if node.role and node.role not in person.roles:
        raise GateError(f"{person.id} does not have the role {node.role}, which '{node.name}' is for")


def _is_holder(home: Home, state: ManualState, identity: Identity) -> bool:
    people = home.people()
    return not people.behind(acted(identity.person.id, identity.auth)).isdisjoint(
        people.behind(state.holder_names)
    )


def _require_holder(home: Home, pending: PendingManual, identity: Identity, what: str) -> None:
    state = pending.state
    if not state.holder:
        raise RefusedError(f"nobody has taken up '{pending.node.name}', so nobody can {what}")
    if not _is_holder(home, state, identity):
        raise RefusedError(f"{state.holder} does '{pending.node.name}', and only they {what}")


def _require_free_or_own(home: Home, pending: PendingManual, identity: Identity) -> None:
    state = pending.state
    if state.holder and not _is_holder(home, state, identity):
        raise RefusedError(
            f"{state.holder} does '{pending.node.name}'; ask them to hand it over, or take it with"
            f" `mimrun claim {pending.run} --reason ...`"
        )


def _say(home: Home, pending: PendingManual, identity: Identity, body: Body) -> PendingManual:
    _append(home, pending, [_draft(pending, identity, body)])
    return pending_manual(home, pending.run)


def _draft(pending: PendingManual, identity: Identity, body: Body, blobs: tuple[Blob, ...] = ()) -> Draft:
    summary = pending.view.summary
    return Draft(
        identity.actor(), body, inc=summary.incident, run=summary.run, step=pending.node.path, blobs=blobs
    )


def _append(home: Home, pending: PendingManual, drafts: Sequence[Draft]) -> None:
    summary = pending.view.summary
    home.store.append(drafts, guard=lambda log: unchanged(log, summary))


def _content(file: Attachment) -> tuple[Blob, ...]:
    return (Blob("content", file.content, "text"),) if file.content is not None else ()
