"""What comes next in an incident: the commands, for somebody who has never done this."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mimrun.app.home import Home
from mimrun.app.incident.proof import find_proof
from mimrun.app.incident.view import IncidentView
from mimrun.app.rule.proposals import list_proposals
from mimrun.cli.terminal import safe_line
from mimrun.run.record.transitions import RunStatus

_SHOWN = 3
"""So many proposals are named; in a storm there may be a hundred."""
_ASKS = {
    RunStatus.WAITING: "it waits",
    RunStatus.IN_DOUBT: "it is not known what became of a step",
}


def next_steps(home: Home, one: IncidentView, blocks: Sequence[str]) -> Iterator[str]:
    """Give the commands that come next: what waits for people first, then the stages.

    Arguments:
        blocks: what keeps it from being closed.
    """
    state, name = one.state, one.name
    if one.is_pack or state.status == "closed":
        return
    yield from _waits(home, one)
    if not state.assessed:
        yield f"mimrun incident assess {name} --impact high --urgency high"
    elif not one.declared.seq and state.priority and state.status == "open":
        yield f"mimrun incident priority {name} {state.priority} --reason …   (whoever may)"
    if state.status == "resolved":
        yield f"mimrun incident close {name}" if not blocks else f"mimrun review {name}"
        return
    yield from _stages(home, one)


def _waits(home: Home, one: IncidentView) -> Iterator[str]:
    """Give what people are waited for, the oldest first."""
    mine = [p for p in list_proposals(home) if p.incident == one.name and p.state == "open"][::-1]
    for proposal in mine[:_SHOWN]:
        about = f" for {proposal.said.group}" if proposal.said.group else ""
        rule = safe_line(f"the rule {proposal.rule} proposes it{about}: {proposal.title}", 200)
        yield f"mimrun proposal take {proposal.name}   ({rule})"
    if len(mine) > _SHOWN:
        yield f"mimrun proposal list   ({len(mine) - _SHOWN} more of this incident)"
    for run in reversed(one.runs):
        if run.status in _ASKS:
            why = safe_line(f"{_ASKS[run.status]}{f': {run.reason}' if run.reason else ''}", 200)
            yield f"mimrun status {run.run}   ({why})"


def _stages(home: Home, one: IncidentView) -> Iterator[str]:
    name, stage = one.name, one.state.stage
    if stage not in ("identification", "containment"):
        yield f"mimrun incident resolve {name} fixed"
    elif find_proof(home, name) is not None:
        yield f"mimrun incident stage {name} resolution   (a step has shown that it is contained)"
    elif stage == "containment":
        yield f"mimrun incident stage {name} resolution   (once a step has shown that it is contained)"
    else:
        yield f"mimrun run RUNBOOK --incident {name}"
        yield f"mimrun incident stage {name} containment"
