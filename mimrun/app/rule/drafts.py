"""What a rule has recorded: who it is, the plan that it proposes."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from mimrun import canonical
from mimrun.log.entry import Actor, Blob, Draft
from mimrun.log.kinds import ProposalMade
from mimrun.log.moment import write_moment
from mimrun.run.record.summary import BY_RULE
from mimrun.runbook.launch import row_of
from mimrun.runbook.plan import Plan

RULES: Final = Actor("system", "rules", "rules")
"""Who does what no rule does by itself: recording the rules in force, saying that there is a storm."""


def rule_actor(rule: str) -> Actor:
    """Give the actor of what a rule does: no person, and nobody's word at a gate."""
    return Actor("system", f"{BY_RULE}{rule}", "rules")


def proposal_draft(rule: str, proposal: str, plan: Plan, incident: str, until: datetime) -> Draft:
    """Give what records a proposal: the whole plan, as it will be launched.

    Arguments:
        proposal: its name.
        until: it cannot be taken after that.
    """
    body = ProposalMade(
        proposal=proposal,
        rule=rule,
        runbook=plan.runbook.name,
        version=plan.runbook.version,
        digest=plan.digest,
        title=plan.runbook.title,
        risk=row_of(plan),
        expires_at=write_moment(until),
    )
    blobs = [Blob("plan", plan.encode(), "plan")]
    if plan.sources:
        blobs.append(Blob("runbooks", canonical.encode(plan.sources), "plan"))
    return Draft(rule_actor(rule), body, inc=incident, blobs=tuple(blobs))
