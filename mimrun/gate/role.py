"""Roles of the process: what somebody is there for, as gates, manual steps and the policy name it.

The list is closed, so that a word that is written wrongly is noticed; roles of one's own are declared in the
people file. Whoever is on call for a team has the role `oncall_TEAM` for as long.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from mimrun.runbook.suggestion import suggest

ROLES: Final[Mapping[str, str]] = {
    "service_desk": "takes reports, tells users, does the manual steps of the service desk",
    "responder": "launches runbooks and sees them through; lifts the kill switch",
    "major_incident_manager": "leads the incident, and says how urgent it is",
    "technical_staff": "diagnoses and mends in a team",
    "change_manager": "allows changes",
    "problem_manager": "takes over for the cause when service is restored",
    "communications_lead": "tells business, customers and the public",
    "executive": "is told, and decides what concerns the business as a whole",
    "external_consultant": "helps for a time; must have an end, and has no other role for longer",
    "emergency_board": "allows emergency changes together with others",
    "freeze_approver": "allows a change while a calendar is closed",
    "auditor": "looks at everything and decides nothing",
    "administrator": "makes and revokes tokens of others",
}
"""Every role of the process, and what it is for."""

AUDITOR: Final = "auditor"
CONSULTANT: Final = "external_consultant"
ADMINISTRATOR: Final = "administrator"

DECIDING: Final = frozenset({"change_manager", "emergency_board", "freeze_approver"})
"""Roles that allow what others do; somebody from outside seldom has one."""

ONCALL: Final = "oncall_"
"""How the role begins that whoever is on call for a team has."""

SHAPE: Final = re.compile(r"[a-z][a-z0-9_]{0,59}")
"""What a role looks like, as runbooks may name it."""


def oncall_role(team: str) -> str:
    """Give the role of whoever is on call for a team: `oncall_database_oncall` for `database-oncall`."""
    return ONCALL + re.sub(r"[^a-z0-9]", "_", team)


def unknown_role(role: str, own: Collection[str], teams: Iterable[str]) -> str | None:
    """Say what somebody may have meant who wrote a role that there is not; None where there is.

    Arguments:
        own: the roles that the people file declares.
        teams: its teams, each with a role for whoever is on call.
    """
    known = {*ROLES, *own, *(oncall_role(team) for team in teams)}
    return None if role in known else suggest(role, known)


def effective(roles: Collection[str]) -> frozenset[str]:
    """Give the roles that somebody acts in: an auditor is nothing besides.

    Arguments:
        roles: those that count at the moment.
    """
    return frozenset({AUDITOR}) if AUDITOR in roles else frozenset(roles)
