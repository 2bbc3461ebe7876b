"""How bad an incident is: from impact and urgency to priority and severity, by one table.

Pure: the table and what somebody says come in, priority and severity come out. What is not known counts as bad until
somebody knows better.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, get_args

from pydantic import Field

from mimrun.errors import InputError
from mimrun.gate.priority import Priority
from mimrun.incident.incident import Severity
from mimrun.log.kinds import Grade
from mimrun.runbook.model import Identifier, Part
from mimrun.runbook.suggestion import suggest

GRADES: Final[tuple[Grade, ...]] = get_args(Grade)
SEVERITIES: Final[tuple[Severity, ...]] = get_args(Severity)

FLAGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "security": "somebody attacks, or has got in",
        "data_breach": "data went where it must not",
        "safety": "people may come to harm",
        "regulatory": "somebody outside must be told in time",
        "restricted": "not everybody may read it",
        "no_users": "nobody who uses the service notices",
        "drill": "it is an exercise, and counts in no figure",
    }
)
"""Every flag that mimrun knows by itself, and what it says."""

ROLES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "major_incident_manager": "leads the incident",
        "technical_lead": "leads the work on the cause",
        "communications_lead": "tells business, customers and the public",
        "service_desk": "takes reports, and tells users",
        "change_manager": "sees to changes and their approval",
        "problem_manager": "takes over for the cause when service is back",
        "scribe": "writes down what is said and done",
        "executive_sponsor": "decides what concerns the business as a whole",
        "external_consultant": "helps from outside",
    }
)
"""The roles that somebody can have in an incident, and what each is for."""


class Row(Part):
    """The priorities for one impact, by urgency."""

    high: Priority
    medium: Priority
    low: Priority
    unknown: Priority

    def at(self, urgency: Grade) -> Priority:
        """Give the priority at an urgency."""
        found: Priority = getattr(self, urgency)
        return found


class Matrix(Part):
    """Impact → urgency → priority. What is written replaces the row of that impact."""

    high: Row = Row(high="P1", medium="P2", low="P3", unknown="P2")
    medium: Row = Row(high="P2", medium="P3", low="P4", unknown="P3")
    low: Row = Row(high="P3", medium="P4", low="P5", unknown="P4")
    unknown: Row = Row(high="P2", medium="P3", low="P4", unknown="P2")

    def row(self, impact: Grade) -> Row:
        """Give the row of an impact."""
        found: Row = getattr(self, impact)
        return found


class SeverityRule(Part):
    """When an incident is of a severity. The first rule that fits holds; where none does it is SEV4.

    Arguments:
        priority: one of these; any where left out.
        critical: true: one of the critical services is affected.
        flags: one of these is set; any where left out.
        without: none of these is set.
    """

    severity: Severity = Field(description="What it then is.")
    priority: tuple[Priority, ...] = Field(
        (), description="At one of these priorities; at any where left out."
    )
    critical: bool = Field(False, description="Only where one of the critical services is affected.")
    flags: tuple[str, ...] = Field((), description="Only where one of these flags is set.")
    without: tuple[str, ...] = Field((), description="Only where none of these flags is set.")

    def fits(self, priority: Priority, flags: Collection[str], *, critical: bool) -> bool:
        """Say whether an incident is what this rule is about."""
        return (
            (not self.priority or priority in self.priority)
            and (critical or not self.critical)
            and (not self.flags or any(flag in flags for flag in self.flags))
            and not any(flag in flags for flag in self.without)
        )

    @property
    def always(self) -> bool:
        """Say whether it is about every incident."""
        return not (self.priority or self.critical or self.flags or self.without)

    @property
    def words(self) -> str:
        """The rule for a person."""
        parts = [" or ".join(self.priority) or "any priority"]
        parts += ["a critical service is affected"] if self.critical else []
        parts += [f"with {' or '.join(self.flags)}"] if self.flags else []
        parts += [f"without {' or '.join(self.without)}"] if self.without else []
        return ", ".join(parts)


DEFAULT_SEVERITY: Final = (
    SeverityRule(severity="SEV1", priority=("P1",), critical=True),
    SeverityRule(severity="SEV1", priority=("P1",), flags=("security", "data_breach", "safety")),
    SeverityRule(severity="SEV2", priority=("P1",)),
    SeverityRule(severity="SEV2", priority=("P2",), critical=True),
    SeverityRule(severity="SEV3", priority=("P2", "P3"), without=("no_users",)),
)


class IncidentTable(Part):
    """Everything that `incidents.yaml` says; what it leaves out is as here.

    Arguments:
        file: where it stands; "" for mimrun's own.
    """

    matrix: Matrix = Matrix()
    severity: tuple[SeverityRule, ...] = Field(
        DEFAULT_SEVERITY, description="The first rule that fits holds; where none does it is SEV4."
    )
    critical_services: tuple[str, ...] = Field(
        (), description="Services whose loss makes an incident more severe."
    )
    flags: dict[Identifier, str] = Field({}, description="Flags of your own, and what each says.")
    roles: dict[Identifier, str] = Field(
        {}, description="Roles in an incident besides mimrun's own, and what each is for."
    )
    close: tuple[Identifier, ...] = Field(
        (), description="Who may close an incident, by role; everybody in the people file where left out."
    )
    review: tuple[Severity, ...] = Field(
        ("SEV1", "SEV2"),
        description="An incident of these severities is not closed before its review is published.",
    )
    file: str = ""

    @property
    def every_flag(self) -> dict[str, str]:
        """Every flag that may be set, and what it says."""
        return {**FLAGS, **self.flags}

    @property
    def every_role(self) -> dict[str, str]:
        """Every role that there is in an incident, and what it is for."""
        return {**ROLES, **self.roles}


@dataclass(frozen=True, slots=True)
class Assessment:
    """What the table makes of an incident.

    Arguments:
        why: which rule the severity comes from, for a person.
    """

    priority: Priority
    severity: Severity
    why: str


def assess(
    table: IncidentTable,
    impact: Grade,
    urgency: Grade,
    services: Collection[str] = (),
    flags: Collection[str] = (),
) -> Assessment:
    """Say how bad an incident is. The first rule for the severity that fits holds; where none does it is SEV4."""
    priority = table.matrix.row(impact).at(urgency)
    critical = not set(services).isdisjoint(table.critical_services)
    for rule in table.severity:
        if rule.fits(priority, flags, critical=critical):
            return Assessment(priority, rule.severity, rule.words)
    return Assessment(priority, "SEV4", "no rule says more")


def read_grade(text: str, what: str) -> Grade:
    """Read how much is affected, or how soon it must be mended, as a person types it.

    Arguments:
        what: of the two, for the message.

    Raises:
        InputError: it is no grade.
    """
    found = next((grade for grade in GRADES if grade == text.lower()), None)
    if found is None:
        raise InputError(f"{text!r} is no {what}; {suggest(text, GRADES)}")
    return found


def check_flags(table: IncidentTable, flags: Collection[str]) -> None:
    """See that flags are known.

    Raises:
        InputError: one is not; says which was meant.
    """
    for flag in flags:
        if flag not in table.every_flag:
            raise InputError(f"there is no flag {flag!r}; {suggest(flag, table.every_flag)}")


def check_role(table: IncidentTable, role: str) -> None:
    """See that somebody can have a role in an incident.

    Raises:
        InputError: there is no such role; says which was meant.
    """
    if role not in table.every_role:
        raise InputError(f"there is no role {role!r} in an incident; {suggest(role, table.every_role)}")
