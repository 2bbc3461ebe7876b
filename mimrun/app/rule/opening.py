"""The incident that a firing belongs to: one that is open for its group already, the storm's, or a new one."""

from __future__ import annotations

from mimrun.app.home import Home
from mimrun.app.incident.declaring import Declaration, opening_drafts
from mimrun.app.naming import new_incident
from mimrun.app.rule.drafts import RULES, rule_actor
from mimrun.errors import InputError, SettingsError
from mimrun.incident.assessment import IncidentTable
from mimrun.incident.assessment_file import load_table
from mimrun.incident.burning import Firing
from mimrun.incident.incident import incident_in
from mimrun.incident.rule import ALL, Opens
from mimrun.incident.storm import Budget
from mimrun.log.entry import Actor, Draft
from mimrun.log.field import TITLE_LENGTH, clean_text
from mimrun.log.kinds import IncidentLinked, StormBegan


def incident_for(home: Home, firing: Firing, budget: Budget) -> tuple[str, list[Draft]]:
    """Give the incident that a firing belongs to, and what opens it; "" where it belongs to none.

    1. In a storm it is the storm's.
    2. Else the one of the group's last episode, while that is open.
    3. Else the rule opens one, unless it only tells people and names none.
    """
    if budget.storm and is_open(home, budget.incident):
        return budget.incident, []
    if is_open(home, firing.seen.incident):
        return firing.seen.incident, []
    rule = firing.rule
    if rule.opens is None:
        return "", []
    name, title = new_incident(home.clock()), rule.opens.title or rule.title
    said = title if firing.group == ALL else f"{title} ({firing.group})"
    return name, _opening(home, rule_actor(rule.name), name, said, rule.opens)


def storm_drafts(home: Home, firing: Firing, budget: Budget, reason: str) -> tuple[str, list[Draft]]:
    """Give the parent incident of a storm, and what opens it: what rules opened lately becomes part of it.

    Arguments:
        budget: what rules have done lately.
        reason: why it is a storm.
    """
    now, parent = home.clock(), new_incident(home.clock())
    opens = firing.rule.opens or Opens()
    drafts = _opening(home, RULES, parent, "A storm of alerts: rules launch nothing", opens)
    drafts.append(Draft(RULES, StormBegan(incident=parent, reason=reason), inc=parent))
    children = dict.fromkeys(one.incident for one in budget.lately(now) if is_open(home, one.incident))
    for child in children:
        if not incident_in(home.store, child).parent:
            drafts.append(Draft(RULES, IncidentLinked(relation="parent", to=parent), inc=child))
            drafts.append(Draft(RULES, IncidentLinked(relation="child", to=child), inc=parent))
    return parent, drafts


def is_open(home: Home, incident: str) -> bool:
    """Say whether there is such an incident, and nobody has resolved it."""
    state = incident_in(home.store, incident) if incident else None
    return state is not None and bool(state.opened) and state.status == "open"


def _opening(home: Home, actor: Actor, name: str, title: str, opens: Opens) -> list[Draft]:
    line = clean_text(" ".join(title.split()), TITLE_LENGTH)
    said = Declaration(line, opens.impact, opens.urgency, opens.services, opens.flags)
    try:
        return opening_drafts(load_table(home.settings.incidents), actor, name, said)
    except (SettingsError, InputError):
        # Neither a table that cannot be read nor a flag that it does not know keeps an alert from its incident.
        plain = Declaration(line, opens.impact, opens.urgency, opens.services)
        return opening_drafts(IncidentTable(), actor, name, plain)
