"""Locks as people see them: who holds what, why it is kept, and taking one from a run that cannot end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from mimrun.app.home import Home
from mimrun.app.identity import Identity
from mimrun.app.masking import masking
from mimrun.app.persons import require_another, require_known
from mimrun.app.runs import RunView, find_run
from mimrun.errors import InputError, LeaseError, LockError, RefusedError
from mimrun.log.entry import Draft
from mimrun.log.kinds import Body, LockReleased, LockReleaseProposed
from mimrun.log.store import View
from mimrun.run.hold.lock import Holding, Locks, held_by, holding_in
from mimrun.runbook.model import Risk

UNLOCKERS: Final = frozenset({"responder", "change_manager"})
"""Roles that may take a lock from a run."""


@dataclass(frozen=True, slots=True)
class LockView:
    """One resource that a run holds.

    Arguments:
        why: why the run keeps it.
        next: what to type about it.
    """

    resource: str
    holding: Holding
    run: RunView
    why: str
    next: str

    def as_json(self) -> dict[str, JsonValue]:
        """The lock for `--json`."""
        summary = self.run.summary
        return {
            "resource": self.resource,
            "run": summary.run,
            "title": summary.title,
            "incident": summary.incident,
            "launched_by": summary.launched_by,
            "generation": self.holding.generation,
            "since": self.holding.at,
            "status": self.run.status,
            "why": self.why,
            "next": self.next,
            "release_proposed_by": self.holding.proposed,
        }


def list_locks(home: Home) -> list[LockView]:
    """Give every lock that is held, by resource."""
    held = held_by(home.store.projections(Locks.name))
    runs = {holding.holder: find_run(home, holding.holder) for holding in held.values()}
    return [_view(resource, holding, runs[holding.holder]) for resource, holding in sorted(held.items())]


def unlock(home: Home, identity: Identity, resource: str, reason: str, *, force: bool = False) -> bool:
    """Take a lock from the run that holds it. That run begins no further change on it.

    The steps, in order:

    1. The person is known, has a role that may, and says why.
    2. The resource is held.
    3. No process executes the holder, unless somebody insists: cancelling it is the better way.
    4. Where the holder's risk is high, a first person proposes and a second one does it.
    5. It is recorded in the holder's own history. Its generation makes the log refuse the next change of
       a worker that slept through this.

    Arguments:
        force: also while a process executes the holder.

    Returns:
        True where the lock is free now; False where a second person has to agree.

    Raises:
        LockError: nobody holds it.
        LeaseError: a process executes the holder.
        GateError: the person may not, or may not be the second one.
        InputError: there is no reason.
    """
    if not reason.strip():
        raise InputError("say why, with --reason: it is what a reviewer will read")
    reason = masking(home)(reason)
    require_known(home, identity, "take a lock from a run", roles=UNLOCKERS)
    holding = holding_in(home.store, resource)
    if not holding.holder:
        held = ", ".join(held_by(home.store.projections(Locks.name))) or "nothing"
        raise LockError(f"nobody holds {resource!r}; held is: {held}")
    view = find_run(home, holding.holder)
    if view.held and not force:
        raise LeaseError(
            f"{holding.holder} is being executed and may be changing {resource} now; end it with"
            f" `mimrun cancel {holding.holder}`, or insist with --force"
        )
    proposes = view.summary.risk == Risk.HIGH and not holding.proposed
    body: Body = (
        LockReleaseProposed(resource=resource, generation=holding.generation, reason=reason)
        if proposes
        else LockReleased(resource=resource, generation=holding.generation, reason=reason)
    )
    draft = Draft(identity.actor(), body, inc=view.summary.incident, run=holding.holder)
    if view.summary.risk == Risk.HIGH:
        refused = "has proposed it; at high risk another person must do it"
        require_another(home, identity, holding.proposed_by, refused)
    home.store.append([draft], guard=lambda log: _unchanged(log, resource, holding))
    return not proposes


def _unchanged(view: View, resource: str, seen: Holding) -> None:
    if holding_in(view, resource) != seen:
        raise RefusedError(f"{resource} changed hands while you decided; look again with `mimrun locks`")


def _view(resource: str, holding: Holding, run: RunView) -> LockView:
    why, next_ = _why(run)
    if holding.proposed:
        next_ = f"{holding.proposed} proposed to take it: a second person with mimrun unlock {resource}"
    return LockView(resource, holding, run, why, next_)


def _why(view: RunView) -> tuple[str, str]:
    name, at = view.summary.run, view.summary.waits_at
    look = f"mimrun status {name}"
    match view.status:
        case "running":
            return "the run is at work", f"mimrun status {name} --follow"
        case "interrupted":
            return "its worker is gone, and may have left something half done", f"mimrun resume {name}"
        case "in_doubt":
            return f"a person must say what became of step {at}", look
        case "waiting" if view.summary.waits_on == "pause":
            return "the run is paused", f"mimrun resume {name}   or   mimrun cancel {name}"
        case "waiting":
            return f"the run waits ({view.summary.waits_on}{' ' + at if at else ''})", look
        case _:
            return f"the run is {view.status}", look
