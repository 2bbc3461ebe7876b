"""What people do to a run: stop it, let it go on, settle a doubt, write something down."""

from __future__ import annotations

from typing import Final, get_args

from fastapi import Request
from fastapi.responses import Response

from mimrun.app.going_on import carry_on_from_doubt, end_if_idle, resume_run
from mimrun.app.manual_work import find_place, write_note
from mimrun.app.masking import masking
from mimrun.app.resolving import Resolution, Word, settle
from mimrun.app.runs import find_run
from mimrun.app.stopping import request_stop
from mimrun.errors import InputError
from mimrun.run.record.wish import Level
from mimrun.web.acting import Acting, Who
from mimrun.web.form import Form, Given
from mimrun.web.page import see
from mimrun.web.route import does, new_router

router: Final = new_router()

_TOLD: Final = {
    Level.PAUSE: "Pause is asked for; what is under way finishes first.",
    Level.CANCEL: "Cancel is asked for; what is under way is being ended where its connector can.",
    Level.ABORT: "Abort is asked for; what is under way is left as it is.",
}


@router.post("/runs/{run}/pause")
@does("pause")
def pause(request: Request, who: Acting, run: str, form: Form) -> Response:
    """Let a run rest."""
    return _stop(request, who, run, form, Level.PAUSE)


@router.post("/runs/{run}/cancel")
@does("cancel")
def cancel(request: Request, who: Acting, run: str, form: Form) -> Response:
    """End a run."""
    return _stop(request, who, run, form, Level.CANCEL)


@router.post("/runs/{run}/abort")
@does("abort")
def abort(request: Request, who: Acting, run: str, form: Form) -> Response:
    """Stop a run now."""
    return _stop(request, who, run, form, Level.ABORT)


def _stop(request: Request, who: Who, run: str, form: Given, level: Level) -> Response:
    asked = request_stop(who.home, run, who.identity, level, form.text("reason"))
    name = asked.view.summary.run
    held_up = end_if_idle(who.home, name, level, request.app.state.start)
    return see(request, f"/runs/{name}", " ".join(filter(None, (_TOLD[level], held_up))))


@router.post("/runs/{run}/resume")
@does("resume")
def resume(request: Request, who: Acting, run: str) -> Response:
    """Go on with a run where the log ends."""
    name = find_run(who.home, run).summary.run
    resume_run(who.home, name, who.identity, request.app.state.start)
    return see(request, f"/runs/{name}", "It goes on where the log ends.")


@router.post("/runs/{run}/resolve")
@does("resolve")
def resolve(request: Request, who: Acting, run: str, form: Form) -> Response:
    """Say what became of a step that is in doubt, and how one knows."""
    said = next((one for one in get_args(Resolution) if one == form.text("resolution")), None)
    if said is None:
        raise InputError("say what became of it: it happened, it did not happen, leave it out, or give up")
    name = find_run(who.home, run).summary.run
    evidence = form.texts.get("evidence", "").encode()
    word = Word(said, form.needed("reason", "say how you know"), evidence)
    place = (form.text("step"), form.texts.get("target", ""))
    settled = settle(who.home, name, who.identity, place, word)
    if settled.proposed:
        told = "Proposed. The risk is high: it counts when another person says the same."
        return see(request, f"/runs/{name}#doubts", told)
    left, held_up = carry_on_from_doubt(who.home, name, request.app.state.start)
    told = f"Settled; {left} more in doubt." if left else held_up or "Settled; it goes on."
    return see(request, f"/runs/{name}", told)


@router.post("/runs/{run}/note")
@does("note")
def note(request: Request, who: Acting, run: str, form: Form) -> Response:
    """Write something down about a run."""
    name = find_run(who.home, run).summary.run
    text = masking(who.home)(form.needed("text", "write some words"))
    write_note(who.home, who.identity, find_place(who.home, None, name), text)
    return see(request, f"/runs/{name}#notes", "Noted.")
