"""Ending a storm: a person says that rules may launch again."""

from __future__ import annotations

from typing import Final

from mimrun.app.home import Home
from mimrun.app.identity import Identity
from mimrun.app.masking import masking
from mimrun.app.persons import require_known
from mimrun.errors import InputError, RefusedError
from mimrun.incident.storm import Budget, budget_in
from mimrun.log.entry import Draft
from mimrun.log.kinds import StormEnded
from mimrun.log.store import View

RESUMERS: Final = frozenset({"responder", "change_manager", "major_incident_manager"})
"""Roles that may say so; one of them is enough."""


def resume_rules(home: Home, identity: Identity, reason: str) -> Budget:
    """Let rules launch again; what burns and was held back fires now, within the limits. Gives how it stood.

    Raises:
        RefusedError: there is no storm.
        GateError: the person is not known, or has none of the roles.
        InputError: there is no reason.
        StoreError: the log cannot be written.
    """
    if not reason.strip():
        raise InputError("say why rules may launch again, with --reason: it is what a reviewer will read")
    require_known(home, identity, "let rules launch again", roles=RESUMERS)
    was = budget_in(home.store)
    if not was.storm:
        raise RefusedError("there is no storm: rules launch what they may")

    def same(view: View) -> None:
        if budget_in(view).storm != was.storm:
            raise RefusedError("somebody else ended this storm while you decided; look again")

    body = StormEnded(reason=masking(home)(reason))
    home.store.append([Draft(identity.actor(), body, inc=was.incident)], guard=same)
    return was
