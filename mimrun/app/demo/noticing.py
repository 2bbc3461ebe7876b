"""The demo's third scene: the trouble is noticed, an alert comes in, and a rule proposes what can be done about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mimrun.app.alert.view import AlertView, list_alerts
from mimrun.app.demo.alarm import RULE, Alarm
from mimrun.app.demo.report import Moment
from mimrun.app.demo.run import Narrator
from mimrun.app.home import Home
from mimrun.app.rule.proposals import ProposalView, list_proposals
from mimrun.errors import LabError
from mimrun.lab import patience
from mimrun.log.moment import read_moment

ALERTED_S: Final = 30.0
"""Seconds that the alert may take; it takes one, and more on a machine that has much else to do."""
PROPOSED_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Noticed:
    """How the trouble came to mimrun.

    Arguments:
        alert: what came in.
        proposal: what the rule proposes.
    """

    alert: AlertView
    proposal: ProposalView

    def moments(self) -> Sequence[Moment]:
        """Give the lines of the timeline."""
        made = self.proposal.said
        return (
            Moment(self.alert.at, "the alert arrives", self.alert.seq),
            Moment(read_moment(made.made_at), f"the rule proposes {made.runbook}", made.made),
        )


def notice(home: Home, narrator: Narrator, alarm: Alarm, died_at: datetime, before: int) -> Noticed:
    """Wait until the alert is in the log and the rule has proposed something, and tell of both.

    Arguments:
        before: how many entries the log had when the primary died.

    Raises:
        LabError: nothing came.
    """
    narrator.scene("A threshold is crossed, and a rule proposes what can be done")
    alarm.ring(home.clock())
    with narrator.busy("waiting for the alert"):
        alert = _alert(home, before)
    after = (alert.at - died_at).total_seconds()
    told = (
        "Prometheus asks four times a second what the client goes through; Alertmanager posts what is beyond the"
        f" threshold. {after:.1f} s after the primary died it was in mimrun's log"
        if alarm.watched
        else "Prometheus and Alertmanager are not installed here (`make packages` installs them). What Alertmanager would"
        f" have posted, this demo posts in the same form, from the client's own notes. It was in the log after {after:.1f} s"
    )
    narrator.tell(f"{told}, as entry {alert.seq}: {alert.said.title}.")
    with narrator.busy("waiting for the rule"):
        proposal = _proposal(home, before)
    made = (read_moment(proposal.said.made_at) - alert.at).total_seconds()
    narrator.tell(
        f"{made:.1f} s later the rule {RULE} had opened the incident {proposal.incident} and proposed"
        f" {proposal.runbook}@{proposal.version}, with the label `cluster` of the alert as its input. Nothing runs by"
        f" itself: the plan is rendered, and waits for a person. It stands at {alarm.server.url} as well."
    )
    return Noticed(alert, proposal)


def await_end(home: Home, noticed: Noticed, seconds: float) -> AlertView | None:
    """Wait until the alert is over; gives what said so, or None where nothing did in time."""
    about = noticed.alert.said

    def over() -> list[AlertView]:
        later = list_alerts(home, after=noticed.alert.seq, limit=None)
        return [
            one for one in later if (one.said.fingerprint, one.said.status) == (about.fingerprint, "resolved")
        ]

    return over()[0] if patience.came_true(lambda: bool(over()), seconds=seconds) else None


def _alert(home: Home, before: int) -> AlertView:
    def firing() -> list[AlertView]:
        return [one for one in list_alerts(home, after=before) if one.said.status == "firing"]

    if not patience.came_true(lambda: bool(firing()), seconds=ALERTED_S):
        raise LabError(f"no alert came within {ALERTED_S:g} s, though the client's writes fail")
    return firing()[0]


def _proposal(home: Home, before: int) -> ProposalView:
    def new() -> list[ProposalView]:
        return [one for one in list_proposals(home) if one.said.made > before and one.rule == RULE]

    if not patience.came_true(lambda: bool(new()), seconds=PROPOSED_S):
        raise LabError(
            f"the rule {RULE} proposed nothing within {PROPOSED_S:g} s; see {home.settings.program_log}"
        )
    return new()[-1]
