"""A run: what it needs now, every step on every host as it happens, and what each of them said."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import Query, Request
from fastapi.responses import HTMLResponse

from mimrun.app.boards import board_of
from mimrun.app.breakglass.glass import glass_view
from mimrun.app.home import Home
from mimrun.app.reverts import OPEN, list_reverts
from mimrun.app.runs import RunView, find_run
from mimrun.app.shown.left_out import going_back, left_out
from mimrun.errors import BlobKeyError, InputError
from mimrun.gate.change_link import change_of
from mimrun.log.moment import read_moment
from mimrun.run.record.transitions import TERMINAL
from mimrun.runbook.node import PlannedAction
from mimrun.web.acting import Acting, Who
from mimrun.web.page import is_fragment, show
from mimrun.web.route import does, new_router
from mimrun.web.view.board import rows_of
from mimrun.web.view.cell import events_of, piece_of
from mimrun.web.view.hosts import Wanted
from mimrun.web.view.needs import asked_by, needs_of_run
from mimrun.web.view.notes import notes_of

router: Final = new_router()

StepPath: Final = Query(max_length=200)
Host: Final = Query(max_length=255)


@router.get("/runs/{run}")
@does("status")
def run_page(
    request: Request,
    who: Acting,
    run: str,
    *,
    open_: Annotated[str, Query(alias="open", max_length=200)] = "",
    host: Annotated[str, Host] = "",
) -> HTMLResponse:
    """Show a run."""
    return show_run(request, who, find_run(who.home, run), open_=open_, host=host)


def show_run(
    request: Request,
    who: Who,
    view: RunView,
    *,
    open_: str = "",
    host: str = "",
    status: int = 200,
    **more: Any,
) -> HTMLResponse:
    """Give the page of a run.

    Arguments:
        more: for the template, besides what it shows of the run: what was typed, and what is wrong with it.
    """
    live, about = _live(who, view, open_, host), _about(who.home, view)
    notes = notes_of(who.home, view.summary.run)
    return show(request, who, "run.html", status=status, notes=notes, **live, **about, **more)


@router.get("/runs/{run}/board")
@does("status")
def board(
    request: Request,
    who: Acting,
    run: str,
    *,
    open_: Annotated[str, Query(alias="open", max_length=200)] = "",
    host: Annotated[str, Host] = "",
    needs: Annotated[str, Query(max_length=32)] = "",
) -> HTMLResponse:
    """Give what moves of a run's page; what it needs only where that is not what is shown already."""
    view = find_run(who.home, run)
    live, about = _live(who, view, open_, host), _about(who.home, view)
    return show(request, who, "run_board.html", known=needs, **live, **about)


@router.get("/runs/{run}/cell")
@does("status")
def cell(
    request: Request,
    who: Acting,
    run: str,
    step: Annotated[str, StepPath],
    *,
    target: Annotated[str, Host] = "",
) -> HTMLResponse:
    """Show what a step did on a host."""
    view = find_run(who.home, run)
    with board_of(who.home, view.summary.run) as seen:
        node = seen.nodes.get(step)
        seqs = tuple(seen.entries.get((step, target), ()))
        name = node.name if node is not None else seen.names.get(step, "")
        looped = isinstance(node, PlannedAction) and node.loop is not None
    if node is None and not seqs:
        raise InputError(f"{view.summary.run} has no step {step!r} on {target!r}")
    events, earlier = events_of(who.home, seqs, looped=looped)
    said: dict[str, Any] = {"view": view, "step": step, "name": name, "target": target}
    return show(request, who, "cell.html", events=events, earlier=earlier, **said)


@router.get("/runs/{run}/output")
@does("status")
def output(
    request: Request,
    who: Acting,
    run: str,
    entry: Annotated[int, Query(ge=1, le=2**53)],
    *,
    name: Annotated[str, Query(max_length=200)] = "stdout",
    begin: Annotated[int, Query(alias="from", ge=0, le=2**30)] = 0,
) -> HTMLResponse:
    """Give one more piece of an output."""
    view = find_run(who.home, run)
    found = who.home.store.entry(entry) if entry <= who.home.store.head().size else None
    if found is None or found.run != view.summary.run:
        raise InputError(f"entry {entry} does not belong to {view.summary.run}")
    piece = piece_of(who.home, found, name, begin)
    template = "output_piece.html" if is_fragment(request) else "output.html"
    return show(request, who, template, view=view, piece=piece, step=found.step, target=found.target)


def _live(who: Who, view: RunView, open_: str, host: str) -> dict[str, Any]:
    """Give what changes while a run goes on."""
    home, now = who.home, who.home.clock()
    wanted = Wanted(view.summary.run, view.status, open_, host.strip())
    with board_of(home, view.summary.run) as seen:
        state, plan = seen.state, seen.plan
        asked = asked_by(home, seen)
        live = {
            "view": view,
            "summary": view.summary,
            "wanted": wanted,
            "parts": rows_of(seen, wanted, now),
            "recap": state.recap(),
            "missing": seen.missing,
            "worked": state.at_work(now).total_seconds(),
            "elapsed": _elapsed(view, now),
            "left": tuple(left_out(plan, state))
            if plan is not None and view.summary.status in TERMINAL
            else (),
            "back": tuple(going_back(plan, state)) if plan is not None else (),
            "changed": any(cell.changed for cell in state.cells.values()),
            "hosts": len(plan.targets) if plan is not None else 0,
        }
    return {**live, "needs": needs_of_run(home, who.identity, view, asked)}


def _elapsed(view: RunView, now: datetime) -> float:
    summary = view.summary
    end = read_moment(summary.ended_at) if summary.ended_at else now
    return (end - read_moment(summary.created_at)).total_seconds()


def _about(home: Home, view: RunView) -> dict[str, Any]:
    """Give what stands beside a run: where it belongs, what it holds, what comes of it later."""
    name = view.summary.run
    with board_of(home, name) as seen:
        plan, locks, gates = seen.plan, sorted(seen.state.locks), bool(seen.state.gates)
    try:
        reverts = [one for one in list_reverts(home, name) if one.status in OPEN]
    except BlobKeyError:
        reverts = []  # what was taken back stands in a blob; the page says that the key is missing
    return {
        "plan": plan,
        "locks": locks,
        "change": change_of(home.store, name),
        "glass": glass_view(home, name),
        "reverts": reverts,
        "was_asked": gates,
    }
