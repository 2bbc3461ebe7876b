"""What keeps an incident from being closed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mimrun.app.breakglass.glass import list_glasses
from mimrun.app.home import Home
from mimrun.incident.assessment_file import load_table
from mimrun.incident.incident import Incident, incident_in
from mimrun.incident.proposal import Proposal, Proposals
from mimrun.log.kinds import Kind
from mimrun.run.record.summary import RunSummaries, RunSummary
from mimrun.run.record.transitions import TERMINAL
from mimrun.run.shell import Shell, Shells

UNRESOLVED: Final = "it is not resolved"
"""How the sentence begins about an incident in which service is not back yet."""


def blocks_closing(home: Home, incident: str) -> tuple[str, ...]:
    """Give everything that must be done before an incident may be closed, a sentence each; nothing where it may."""
    state = incident_in(home.store, incident)
    return (
        *_unresolved(state),
        *_runs(home, state),
        *_glasses(home, state),
        *_shells(home, state),
        *_proposals(home, state),
        *_parts(home, state),
        *_review(home, state),
    )


def _unresolved(state: Incident) -> Iterator[str]:
    if state.status == "open":
        yield f"{UNRESOLVED} (`mimrun incident resolve {state.name} fixed`)"


def _runs(home: Home, state: Incident) -> Iterator[str]:
    created = home.store.entries(inc=state.name, kinds={Kind.RUN_CREATED})
    for run in dict.fromkeys(entry.run for entry in created):
        summary = RunSummary.decode(home.store.projection(RunSummaries.name, run))
        if summary.run and summary.status not in TERMINAL:
            yield f"{run} is not over: it is {summary.status.value} (`mimrun status {run}`)"


def _glasses(home: Home, state: Incident) -> Iterator[str]:
    for view in list_glasses(home):
        if view.glass.incident == state.name and view.glass.opened:
            yield (
                f"{view.glass.run} went past its gates, and {view.glass.change} is {view.state}: complete it and have"
                f" it reviewed (`mimrun change show {view.glass.change}`)"
            )


def _shells(home: Home, state: Incident) -> Iterator[str]:
    for _, data in home.store.projections(Shells.name):
        shell = Shell.model_validate_json(data)
        if shell.incident == state.name and shell.open:
            yield (
                f"the end of {shell.by}'s shell on {shell.target} is not on record (`mimrun shell --settle {shell.seq}`)"
            )


def _proposals(home: Home, state: Incident) -> Iterator[str]:
    for _, data in home.store.projections(Proposals.name):
        one = Proposal.decode(data)
        if one.incident == state.name and one.standing(home.clock()) == "open":
            yield (
                f"{one.name} waits for somebody to launch it: {one.title} (`mimrun proposal show {one.name}`,"
                f" `mimrun proposal dismiss {one.name}`)"
            )


def _parts(home: Home, state: Incident) -> Iterator[str]:
    for name in state.children:
        if incident_in(home.store, name).status != "closed":
            yield f"{name} is part of it, and is not closed (`mimrun incident show {name}`)"


def _review(home: Home, state: Incident) -> Iterator[str]:
    if state.severity in load_table(home.settings.incidents).review and not state.reviewed:
        yield f"it is {state.severity}, and its review is not published (`mimrun review publish {state.name}`)"
