"""One word for both: who allows a gate allows the change that mimrun made in its own register for just that gate.

Only where nothing else is allowed by it: the record is in the register, mimrun made it for this run, and it bears the
very digest that the person looked at. A record of another system is decided there.
"""

from __future__ import annotations

from typing import Literal

from mimrun.app.change.records import BLACKOUT, RegisterView, conflicts_of, find_change
from mimrun.app.change.register import decide_change, withdraw_approval
from mimrun.app.home import Home
from mimrun.app.identity import Identity
from mimrun.errors import RefusedError
from mimrun.gate.change import REGISTER
from mimrun.gate.change_link import change_of


def decide_made_change(
    home: Home,
    run: str,
    identity: Identity,
    decision: Literal["approved", "rejected"],
    *,
    digest: str,
    reason: str,
) -> str:
    """Record a person's word at a gate also for the change that was made for it.

    Returns:
        the change; "" where there is none, or where this person's word does not decide it. Then the gate says what
        is missing.
    """
    view = _made_for(home, run, digest)
    if view is None:
        return ""
    # Whether a calendar is closed is asked at the gate itself, where a freeze approver answers for it.
    despite = all(conflict.type == BLACKOUT for conflict in conflicts_of(home, view))
    try:
        decide_change(home, view.was.ref, identity, decision, reason=reason, despite=despite)
    except (
        RefusedError
    ):  # they have not the role for it, or its time is in conflict: somebody else answers for it
        return ""
    return view.was.ref


def withdraw_from_made_change(home: Home, run: str, identity: Identity, *, digest: str, reason: str) -> None:
    """Take a person's word back also from the change that was made for the gate, before the gate's own is taken back.

    Raises:
        RefusedError: work under it has begun.
    """
    view = _made_for(home, run, digest)
    if view is None or not any(
        said.person == identity.person.id and said.decision == "approved" for said in view.was.said
    ):
        return
    withdraw_approval(home, view.was.ref, identity, reason)


def _made_for(home: Home, run: str, digest: str) -> RegisterView | None:
    """Give the change that mimrun made in its own register for this run and these very steps; None where there is none."""
    link = change_of(home.store, run)
    if link.system != REGISTER or not link.key:
        return None
    view = find_change(home, link.ref)
    content = view.text()
    return view if (content.run, content.digest) == (run, digest) else None
