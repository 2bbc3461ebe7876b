"""One word for both: who allows a gate allows the change that mimrun made in its own register for just that gate.

Only where nothing else is allowed by it: the record is in the register, mimrun made it for this run, and it bears the
very digest that the person looked at. A record of another system is decided there.
"""

from __future__ import annotations

from typing import Literal

from mimrun.app.change.records import BLACKOUT, conflicts_of, find_change
from mimrun.app.change.register import decide_change
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
    link = change_of(home.store, run)
    if link.system != REGISTER or not link.key:
        return ""
    view = find_change(home, link.ref)
    content = view.text()
    if (content.run, content.digest) != (run, digest):
        return ""
    # Whether a calendar is closed is asked at the gate itself, where a freeze approver answers for it.
    despite = all(conflict.type == BLACKOUT for conflict in conflicts_of(home, view))
    try:
        decide_change(home, link.ref, identity, decision, reason=reason, despite=despite)
    except (
        RefusedError
    ):  # they have not the role for it, or its time is in conflict: somebody else answers for it
        return ""
    return link.ref
