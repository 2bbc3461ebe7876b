"""Erasing: two people take content out of the log for good; the entries stay, and say so."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from pydantic import JsonValue

from mimrun.app.home import Home
from mimrun.app.identity import Identity
from mimrun.app.masking import masking
from mimrun.app.persons import require_another, require_known
from mimrun.app.reverts import OPEN, list_reverts
from mimrun.app.runs import find_run, plan_erased
from mimrun.errors import GateError, InputError, RefusedError
from mimrun.gate.people import acted
from mimrun.log.entry import Draft, LogEntry
from mimrun.log.kinds import Kind, RedactApplied, RedactProposed, RunCreated
from mimrun.log.redaction import Erasure, Erasures, Proposal, key_of
from mimrun.log.store import View
from mimrun.run.record.followup import FollowUpRuns, FollowUps
from mimrun.run.record.summary import summary_in
from mimrun.run.record.transitions import TERMINAL

REDACTORS: Final = frozenset({"responder", "change_manager"})
"""Roles that may ask for an erasure, and agree to one."""
NEEDED: Final = frozenset({"plan", "args", "segment", "items", "data", "evidence", "instructions"})
"""What a run goes on from: these blobs stay until it has ended."""
TOGETHER: Final = 100
"""Entries whose blobs are erased, or proposed, in one transaction."""


@dataclass(frozen=True, slots=True)
class Target:
    """Blobs of one entry that are to be erased.

    Arguments:
        entry: the entry.
        names: the blobs.
        seen: what had been asked for and done about the entry when this was decided.
    """

    entry: LogEntry
    names: tuple[str, ...]
    seen: Erasure

    @property
    def proposed(self) -> dict[str, Proposal]:
        """What somebody has asked for already, by blob."""
        return {name: self.seen.proposals[name] for name in self.names if name in self.seen.proposals}


@dataclass(frozen=True, slots=True)
class Erased:
    """What became of a person's word.

    Arguments:
        done: whether the content is gone; otherwise another person has to agree.
        entries, blobs: how many.
        first: the first entry that records it.
        left: blobs within what was named that nobody else had asked for, so that they are still there.
    """

    done: bool
    entries: int
    blobs: int
    first: int
    left: int = 0

    def as_json(self) -> dict[str, JsonValue]:
        """The outcome for `--json`."""
        return {
            "done": self.done,
            "entries": self.entries,
            "blobs": self.blobs,
            "first": self.first,
            "left": self.left,
        }


def redact_entry(home: Home, identity: Identity, seq: int, reason: str, names: Sequence[str] = ()) -> Erased:
    """Ask for blobs of an entry to be erased, or agree to what another person has asked for; see `_redact`.

    Arguments:
        seq: the entry, or the one in which somebody asked for it.
        names: the blobs; none means all that it has.

    Raises:
        InputError: there is no such blob.
    """
    entry = home.store.entry(seq)
    if isinstance(entry.body, RedactProposed):
        names = names or entry.body.names
        entry = home.store.entry(entry.body.entry)
    return _redact(home, identity, [_target(home, entry, names)], reason)


def redact_incident(home: Home, identity: Identity, inc: str, reason: str) -> Erased:
    """Ask for all blobs of an incident to be erased, with its keys, or agree to it; see `_redact`.

    Raises:
        InputError: there is no such incident, or nothing is left of it to erase.
    """
    found = home.store.entries(inc=inc)
    targets = [_target(home, entry, ()) for entry in found if _left(home, entry)]
    if not targets:
        raise InputError(f"incident {inc!r} has no output, text or file that could be erased")
    return _redact(home, identity, targets, reason)


def _redact(home: Home, identity: Identity, targets: Sequence[Target], reason: str) -> Erased:
    """Propose, or do.

    The steps, in order:

    1. The person is known, has a role that may, and says why.
    2. No run that has not ended, and nothing that is still to be taken back, needs the content.
    3. What another person has proposed is erased now. Otherwise this is the proposal.
    4. Inside the transaction: nothing has happened to these entries since, and no run has begun that
       needs them. The store deletes each blob in the transaction that records `redact.applied`.

    Raises:
        InputError: there is no reason.
        GateError: the person may not, or is the one who proposed it.
        RefusedError: a run needs it, or somebody was faster.
    """
    if not reason.strip():
        raise InputError("say why, with --reason: it stays on record in the place of what is erased")
    reason = masking(home)(reason)
    require_known(home, identity, "erase content of the log", roles=REDACTORS)
    _refuse_needed_for_later(home, targets)
    agreed = [part for target in targets if (part := _by_another(home, identity, target)) is not None]
    fresh = [part for target in targets if (part := _not_proposed(target)) is not None]
    if agreed:
        return _apply(home, identity, agreed, reason, sum(len(part.names) for part in fresh))
    if not fresh:
        _refuse_same(home, identity, targets)
    return _propose(home, identity, fresh, reason)


def _target(home: Home, entry: LogEntry, names: Sequence[str]) -> Target:
    known = [ref.n for ref in entry.blobs]
    if not known:
        raise InputError(f"entry {entry.seq} ({entry.kind}) has no blob: there is nothing in it to erase")
    missing = [name for name in names if name not in known]
    if missing:
        has = ", ".join(known)
        raise InputError(f"entry {entry.seq} ({entry.kind}) has no blob {missing[0]!r}; it has {has}")
    left = _left(home, entry)
    wanted = tuple(name for name in left if name in names or not names)
    seen = _erasure(home.store, entry)
    if not wanted:
        seqs = ", ".join(str(seen.applied[name]) for name in known if name in seen.applied)
        raise InputError(f"that content of entry {entry.seq} was erased already: see entry {seqs}")
    return Target(entry, wanted, seen)


def _left(home: Home, entry: LogEntry) -> list[str]:
    """Give the blobs of an entry that are not erased."""
    if not entry.blobs:
        return []
    applied = _erasure(home.store, entry).applied
    return [ref.n for ref in entry.blobs if ref.n not in applied]


def _erasure(view: View, entry: LogEntry) -> Erasure:
    return Erasure.decode(view.projection(Erasures.name, key_of(entry.inc, entry.seq)))


def _by_another(home: Home, identity: Identity, target: Target) -> Target | None:
    """Give what another person has asked for."""
    names = []
    for name, proposal in target.proposed.items():
        try:
            require_another(home, identity, acted(proposal.by, proposal.auth), "")
        except GateError:
            continue
        names.append(name)
    return Target(target.entry, tuple(names), target.seen) if names else None


def _not_proposed(target: Target) -> Target | None:
    names = tuple(name for name in target.names if name not in target.proposed)
    return Target(target.entry, names, target.seen) if names else None


def _refuse_same(home: Home, identity: Identity, targets: Sequence[Target]) -> None:
    proposal = next(iter(targets[0].proposed.values()))
    refused = f"has asked for it (entry {proposal.seq}); another person must agree"
    require_another(home, identity, acted(proposal.by, proposal.auth), refused)


def _propose(home: Home, identity: Identity, targets: Sequence[Target], reason: str) -> Erased:
    def drafts(target: Target) -> list[Draft]:
        body = RedactProposed(entry=target.entry.seq, names=target.names, reason=reason)
        return [Draft(identity.actor(), body, inc=target.entry.inc)]

    first = _record(home, targets, drafts)
    blobs = sum(len(target.names) for target in targets)
    return Erased(done=False, entries=len(targets), blobs=blobs, first=first)


def _apply(home: Home, identity: Identity, targets: Sequence[Target], reason: str, left: int) -> Erased:
    def drafts(target: Target) -> list[Draft]:
        commits = {ref.n: ref.commit for ref in target.entry.blobs}
        bodies = [
            RedactApplied(
                entry=target.entry.seq,
                name=name,
                commit=commits[name],
                proposal=target.seen.proposals[name].seq,
                reason=reason,
            )
            for name in target.names
        ]
        return [Draft(identity.actor(), body, inc=target.entry.inc) for body in bodies]

    first = _record(home, targets, drafts)
    blobs = sum(len(target.names) for target in targets)
    return Erased(done=True, entries=len(targets), blobs=blobs, first=first, left=left)


def _record(home: Home, targets: Sequence[Target], drafts: Callable[[Target], list[Draft]]) -> int:
    """Record what is to be said of each target; give the first entry."""
    first = 0
    for some in _batches(targets):
        entries = home.store.append(
            [draft for target in some for draft in drafts(target)],
            guard=lambda view, some=some: _unchanged(view, some),  # type: ignore[misc]  # bound for each
        )
        first = first or entries[0].seq
    return first


def _batches(targets: Iterable[Target]) -> Iterator[tuple[Target, ...]]:
    rest = iter(targets)
    while some := tuple(islice(rest, TOGETHER)):
        yield some


def _unchanged(view: View, targets: Sequence[Target]) -> None:
    for target in targets:
        if _erasure(view, target.entry) != target.seen:
            raise RefusedError(
                f"somebody has asked for, or done, an erasure of entry {target.entry.seq} meanwhile; look again"
            )
        refuse_needed(view, target.entry, target.names)


def refuse_needed(view: View, entry: LogEntry, names: Sequence[str]) -> None:
    """Refuse to erase what a run goes on from that has not ended.

    Raises:
        RefusedError: such a run needs it: its own, or one that takes it back or repeats it.
    """
    needed = sorted(NEEDED.intersection(names))
    if not entry.run or not needed:
        return
    follow_ups = FollowUps.decode(view.projection(FollowUpRuns.name, entry.run))
    for run in (entry.run, *follow_ups.undos, *follow_ups.retries):
        status = summary_in(view, run).status
        if status not in TERMINAL:
            raise RefusedError(
                f"{run} is {status} and still needs {', '.join(needed)} of entry {entry.seq}: erase it when"
                f" the run has ended; `mimrun status {run}` says what it waits for"
            )


def _refuse_needed_for_later(home: Home, targets: Sequence[Target]) -> None:
    """Refuse to erase what a run needs, or what is still to be taken back at its time."""
    whole = {target.entry.seq for target in targets}
    seen: set[str] = set()
    for target in targets:
        refuse_needed(home.store, target.entry, target.names)
        _refuse_way_back(home, target, whole)
        run = target.entry.run
        if run and run not in seen and NEEDED.intersection(target.names):
            seen.add(run)
            _refuse_scheduled(home, run, target.entry.seq)


def _refuse_way_back(home: Home, target: Target, also: Collection[int]) -> None:
    """Refuse to erase what a way back has done while it could be gone a second time.

    Arguments:
        also: entries of which everything is erased together with this.
    """
    if target.entry.kind is not Kind.PLAN_FROZEN or "plan" not in target.names:
        return
    for created in home.store.entries(run=target.entry.run, kinds={Kind.RUN_CREATED}):
        if not isinstance(created.body, RunCreated) or not created.body.undo_of:
            continue
        forward = find_run(home, created.body.undo_of).summary
        if forward.plan_seq not in also and not plan_erased(home, forward):
            raise RefusedError(
                f"the plan of {target.entry.run} says what of {forward.run} was taken back: erase the plan of"
                f" {forward.run} first (entry {forward.plan_seq}), or the whole incident"
            )


def _refuse_scheduled(home: Home, run: str, seq: int) -> None:
    for view in list_reverts(home, run):
        if view.status in OPEN:
            raise RefusedError(
                f"what {run} did is to be taken back at {view.revert.due_at}, which needs entry {seq}; take it"
                " back with `mimrun undo`, or let it stand with `mimrun reverts cancel`, then erase it"
            )
