"""Which kind of entry is which class and activity of OCSF 1.8.0."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Final

from mimrun.log.kinds import Kind

OTHER: Final = 99
"""The activity for which OCSF has no word of its own; `activity_name` is then the kind."""


class Class(Enum):
    """The classes in use: number, caption, and number and caption of the category."""

    INCIDENT = (2005, "Incident Finding", 2, "Findings")
    ENTITY = (3004, "Entity Management", 3, "Identity & Access Management")
    REMEDIATION = (7001, "Remediation Activity", 7, "Remediation")
    SSH = (4007, "SSH Activity", 4, "Network Activity")
    LOG = (1008, "Event Log Activity", 1, "System Activity")

    @property
    def uid(self) -> int:
        """The number of the class."""
        return self.value[0]

    @property
    def caption(self) -> str:
        """What OCSF calls it."""
        return self.value[1]

    @property
    def category(self) -> tuple[int, str]:
        """Number and caption of the category it is in."""
        return self.value[2], self.value[3]


@dataclass(frozen=True, slots=True)
class Activity:
    """What OCSF says was done.

    Arguments:
        cls: the class.
        id: the activity's number in that class.
        name: what OCSF calls it.
    """

    cls: Class
    id: int = OTHER
    name: str = "Other"


def _entity(id_: int, name: str) -> Activity:
    return Activity(Class.ENTITY, id_, name)


_DONE: Final = Activity(Class.REMEDIATION)
_CREATE, _UPDATE = _entity(1, "Create"), _entity(3, "Update")
_ACTIVATE, _DEACTIVATE = _entity(10, "Activate"), _entity(11, "Deactivate")

ACTIVITIES: Final[Mapping[Kind, Activity]] = MappingProxyType(
    {
        # The log itself.
        Kind.LOG_GENESIS: Activity(Class.LOG, 6, "Start"),
        Kind.LOG_KEY: _ACTIVATE,
        Kind.LOG_KEY_RETIRED: _DEACTIVATE,
        Kind.LOG_HEADS: Activity(Class.LOG),
        Kind.LOG_ANCHORED: Activity(Class.LOG, 4, "Archive"),
        Kind.LOG_ACCEPTED: Activity(Class.LOG),
        Kind.LOG_MOVED: Activity(Class.LOG),
        Kind.EXPORT_MADE: Activity(Class.LOG, 3, "Export"),
        Kind.REDACT_PROPOSED: Activity(Class.LOG),
        Kind.REDACT_APPLIED: Activity(Class.LOG, 2, "Delete"),
        # Incidents.
        Kind.INCIDENT_OPENED: Activity(Class.INCIDENT, 1, "Create"),
        Kind.INCIDENT_NOTE: Activity(Class.INCIDENT, 2, "Update"),
        Kind.INCIDENT_ATTACHED: Activity(Class.INCIDENT, 2, "Update"),
        Kind.INCIDENT_PRIORITIZED: Activity(Class.INCIDENT, 2, "Update"),
        Kind.INCIDENT_ASSESSED: Activity(Class.INCIDENT, 2, "Update"),
        Kind.INCIDENT_ASSIGNED: Activity(Class.INCIDENT, 2, "Update"),
        Kind.INCIDENT_STAGED: Activity(Class.INCIDENT, 2, "Update"),
        Kind.INCIDENT_RESOLVED: Activity(Class.INCIDENT, 2, "Update"),
        Kind.INCIDENT_CLOSED: Activity(Class.INCIDENT, 3, "Close"),
        Kind.INCIDENT_REOPENED: Activity(Class.INCIDENT, 2, "Update"),
        Kind.INCIDENT_TIMED: Activity(Class.INCIDENT, 2, "Update"),
        Kind.INCIDENT_LINKED: Activity(Class.INCIDENT, 2, "Update"),
        Kind.REVIEW_ITEM_OPENED: Activity(Class.INCIDENT, 2, "Update"),
        Kind.REVIEW_ITEM_CLOSED: Activity(Class.INCIDENT, 2, "Update"),
        Kind.REVIEW_PUBLISHED: Activity(Class.INCIDENT, 2, "Update"),
        # What made something begin.
        Kind.ALERT_RECEIVED: Activity(Class.INCIDENT),
        Kind.RULE_FIRED: Activity(Class.INCIDENT),
        Kind.RULE_ENDED: Activity(Class.INCIDENT),
        Kind.PROPOSAL_MADE: _CREATE,
        Kind.PROPOSAL_TAKEN: _ACTIVATE,
        Kind.PROPOSAL_DISMISSED: _DEACTIVATE,
        Kind.STORM_BEGAN: _ACTIVATE,
        Kind.STORM_ENDED: _DEACTIVATE,
        # What people ask for and decide.
        Kind.PLAN_FROZEN: _CREATE,
        Kind.RUN_CREATED: _CREATE,
        Kind.RUN_PAUSE_REQUESTED: _entity(12, "Suspend"),
        Kind.RUN_RESUME_REQUESTED: _entity(13, "Resume"),
        Kind.RUN_CANCEL_REQUESTED: _DEACTIVATE,
        Kind.RUN_ABORT_REQUESTED: _DEACTIVATE,
        Kind.GATE_REQUESTED: _CREATE,
        Kind.GATE_DECIDED: _UPDATE,
        Kind.GATE_OPENED: _ACTIVATE,
        Kind.GATE_CLOSED: _DEACTIVATE,
        Kind.GATE_ESCALATED: _UPDATE,
        Kind.CHANGE_OPENED: _CREATE,
        Kind.CHANGE_EDITED: _UPDATE,
        Kind.CHANGE_MOVED: _UPDATE,
        Kind.CHANGE_DECIDED: _UPDATE,
        Kind.CHANGE_LINKED: _UPDATE,
        Kind.CHANGE_READ: _entity(2, "Read"),
        Kind.CHANGE_WRITING: _UPDATE,
        Kind.CHANGE_WRITTEN: _UPDATE,
        Kind.BREAKGLASS_ASKED: _CREATE,
        Kind.BREAKGLASS_AGREED: _UPDATE,
        Kind.BREAKGLASS_OPENED: _ACTIVATE,
        Kind.BREAKGLASS_PACKED: _CREATE,
        Kind.BREAKGLASS_UNPACKED: _ACTIVATE,
        Kind.BREAKGLASS_MERGED: _UPDATE,
        Kind.RULES_RECORDED: _UPDATE,
        Kind.TOKEN_CREATED: _CREATE,
        Kind.TOKEN_REVOKED: _DEACTIVATE,
        Kind.PASSWORD_CHANGED: _UPDATE,
        Kind.SESSION_OPENED: _ACTIVATE,
        Kind.SESSION_ENDED: _DEACTIVATE,
        Kind.LOCK_TAKEN: _ACTIVATE,
        Kind.LOCK_RELEASE_PROPOSED: _UPDATE,
        Kind.LOCK_RELEASED: _DEACTIVATE,
        Kind.KILLSWITCH_PULLED: _ACTIVATE,
        Kind.KILLSWITCH_LIFT_AGREED: _UPDATE,
        Kind.BREAKER_CLOSED: _entity(8, "Enable"),
        # What is done.
        Kind.RUN_STARTED: _DONE,
        Kind.RUN_MODE: _DONE,
        Kind.RUN_WAITING: _DONE,
        Kind.RUN_ENDED: _DONE,
        Kind.STEP_STARTED: _DONE,
        Kind.STEP_INTENT: _DONE,
        Kind.STEP_OUTCOME: _DONE,
        Kind.STEP_PROBED: _DONE,
        Kind.STEP_EVIDENCE: _DONE,
        Kind.STEP_IN_DOUBT: _DONE,
        Kind.STEP_RESOLUTION_PROPOSED: _DONE,
        Kind.STEP_RESOLVED: _DONE,
        Kind.STEP_SKIPPED: _DONE,
        Kind.STEP_VERIFIED: _DONE,
        Kind.STEP_FINISHED: _DONE,
        Kind.STEP_CAPTURED: _DONE,
        Kind.STEP_COMPARED: _DONE,
        Kind.STEP_REVERT_SCHEDULED: _DONE,
        Kind.STEP_REVERT_CANCELLED: _DONE,
        Kind.LOOP_EXPANDED: _DONE,
        Kind.MANUAL_REQUESTED: _DONE,
        Kind.MANUAL_CLAIMED: _DONE,
        Kind.MANUAL_RELEASED: _DONE,
        Kind.MANUAL_HANDED_OVER: _DONE,
        Kind.MANUAL_CHECKED: _DONE,
        Kind.MANUAL_ATTESTED: _DONE,
        Kind.MANUAL_CONFIRMED: _DONE,
        Kind.MANUAL_DISPUTED: _DONE,
        Kind.MANUAL_REPORTED: _DONE,
        Kind.NOTICE_SENDING: _DONE,
        Kind.NOTICE_SENT: _DONE,
        Kind.GUARD_TRIPPED: _DONE,
        # Sessions by hand.
        Kind.SHELL_OPENED: Activity(Class.SSH, 1, "Open"),
        Kind.SHELL_RECORDED: Activity(Class.SSH, 6, "Traffic"),
        Kind.SHELL_CLOSED: Activity(Class.SSH, 2, "Close"),
    }
)
"""Every kind has its line; a test holds that."""
