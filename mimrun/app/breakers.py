"""Breakers as people see them: which runbooks failed lately, and letting one be launched again."""

from __future__ import annotations

from mimrun.app.home import Home
from mimrun.app.identity import Identity
from mimrun.app.persons import require_known
from mimrun.errors import InputError, RefusedError
from mimrun.log.entry import Draft
from mimrun.log.kinds import BreakerClosed
from mimrun.log.store import View
from mimrun.run.record.breaker import Breaker, Breakers, breaker_in, failing


def list_breakers(home: Home) -> dict[str, Breaker]:
    """Give the runbooks that failed lately, with the runs that did."""
    return failing(home.store.projections(Breakers.name))


def close_breaker(home: Home, identity: Identity, runbook: str, reason: str) -> Breaker:
    """Let a runbook be launched again; gives how it stood.

    Raises:
        RefusedError: its breaker is not open.
        GateError: the person is not known.
        InputError: there is no reason.
    """
    if not reason.strip():
        raise InputError("say what you found, with --reason: it is what a reviewer will read")
    require_known(home, identity, "close a breaker")
    was = breaker_in(home.store, runbook)
    if not was.open:
        names = ", ".join(name for name, one in list_breakers(home).items() if one.open) or "none"
        raise RefusedError(f"the breaker of {runbook!r} is not open; open are: {names}")
    body = BreakerClosed(runbook=runbook, reason=reason)
    home.store.append([Draft(identity.actor(), body)], guard=lambda view: _unchanged(view, runbook, was))
    return was


def _unchanged(view: View, runbook: str, seen: Breaker) -> None:
    if breaker_in(view, runbook) != seen:
        raise RefusedError(f"another run of {runbook} has ended while you decided; look again")
