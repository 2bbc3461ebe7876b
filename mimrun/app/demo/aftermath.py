"""The demo's end: the incident is contained and resolved, the run is told again, and a review is written."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mimrun.app.alert.view import AlertView
from mimrun.app.demo.alarm import Alarm
from mimrun.app.demo.noticing import Noticed, await_end
from mimrun.app.demo.run import DemoRun, Narrator
from mimrun.app.demo.stage import RESPONDER
from mimrun.app.home import Home
from mimrun.app.identity import identify
from mimrun.app.incident.view import find_incident
from mimrun.app.incident.working import move_stage, resolve, set_time
from mimrun.incident.incident import Incident
from mimrun.log.moment import read_moment

OVER_S: Final = 20.0
"""Seconds until the alert is told to be over; monitoring needs one or two."""
CAUSE: Final = "server_died"


@dataclass(frozen=True, slots=True)
class Settled:
    """How the incident ended.

    Arguments:
        over: what said that the alert is over, or None.
        incident: as it stands then.
    """

    over: AlertView | None
    incident: Incident

    @property
    def contained(self) -> bool:
        """Whether a verified step showed that it does not get worse."""
        return self.incident.verified > 0


def settle(
    run: DemoRun, narrator: Narrator, alarm: Alarm, noticed: Noticed, *, died_at: datetime, back_at: datetime
) -> Settled:
    """Have the responder say that the incident is contained and resolved, and tell what that stands on.

    Arguments:
        died_at: when the primary died.
        back_at: when the client was served again.
    """
    home, name = run.home, run.state.incident
    where = f"--home {home.settings.home}"
    alarm.calm(home.clock())
    narrator.scene("It is contained, the alert is over, and service is back")
    identity = identify(home.people(), None)
    narrator.command(RESPONDER, f"mimrun incident stage {name} resolution {where}")
    contained = move_stage(home, identity, name, "resolution")
    narrator.tell(
        f"Nobody has to be believed: entry {contained.verified} is a step of {run.name} that was verified after it had"
        f" changed something{_step_name(run, contained.verified)}."
    )
    with narrator.busy("waiting until the alert is over"):
        over = await_end(home, noticed, OVER_S)
    if over is not None:
        after = f"{(over.at - died_at).total_seconds():.1f} s"
        told = "Prometheus sees that the client writes again: " if alarm.watched else ""
        narrator.tell(f"{told}{after} after the primary died the alert is over (entry {over.seq}).")
    # What the log could not see by itself: when it began, and when the client was served again.
    set_time(home, identity, name, "started", died_at)
    narrator.command(RESPONDER, f"mimrun incident resolve {name} fixed --cause {CAUSE} --restored … {where}")
    incident = resolve(home, identity, name, "fixed", cause=CAUSE, restored_at=back_at)
    narrator.tell(f"The incident's clocks, from when it began: {_clocks(home, incident)}.")
    return Settled(over, incident)


def _step_name(run: DemoRun, seq: int) -> str:
    names = {node.path: node.name for node in run.plan.walk()}
    step = next((entry.step for entry in run.entries() if entry.seq == seq), "")
    return f": {names[step]}" if step in names else ""


def _clocks(home: Home, incident: Incident) -> str:
    """Say when each thing happened, counted from the beginning."""
    clocks = find_incident(home, incident.name).state.clocks
    begin = read_moment(clocks.started.at)
    said = []
    for name, clock in clocks.items():
        if clock and name not in ("started", "closed"):
            after = (read_moment(clock.at) - begin).total_seconds()
            said.append(f"{name} {after:.1f} s")
    return ", ".join(said)
