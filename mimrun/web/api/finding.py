"""Finding what a path names: by its whole name, and nothing that only begins so."""

from __future__ import annotations

from fastapi import HTTPException

from mimrun.app.home import Home
from mimrun.app.incident.view import IncidentView, find_incident
from mimrun.app.rule.proposals import ProposalView, find_proposal
from mimrun.app.runs import RunView, find_run
from mimrun.errors import InputError


def run_named(home: Home, name: str) -> RunView:
    """Give a run.

    Raises:
        HTTPException: 404: there is none of this name.
    """
    try:
        view = find_run(home, name)
    except InputError:
        view = None
    if view is None or view.summary.run != name:
        raise HTTPException(404, f"there is no run {name[:100]!r}")
    return view


def incident_named(home: Home, name: str) -> IncidentView:
    """Give an incident.

    Raises:
        HTTPException: 404: there is none of this name.
    """
    try:
        view = find_incident(home, name)
    except InputError:
        view = None
    if view is None or view.name != name:
        raise HTTPException(404, f"there is no incident {name[:100]!r}")
    return view


def proposal_named(home: Home, name: str) -> ProposalView:
    """Give a proposal.

    Raises:
        HTTPException: 404: there is none of this name.
    """
    try:
        view = find_proposal(home, name)
    except InputError:
        view = None
    if view is None or view.name != name:
        raise HTTPException(404, f"there is no proposal {name[:100]!r}")
    return view
