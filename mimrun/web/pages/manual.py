"""Manual steps: taken up, put down, handed over, ticked, signed with evidence, confirmed by a second person."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any, Final

from fastapi import Request
from fastapi.responses import HTMLResponse, Response

from mimrun.app import manual_steps
from mimrun.app.attachments import take_attachments
from mimrun.app.going_on import carry_on
from mimrun.app.home import Home
from mimrun.app.manual_steps import Attestation, PendingManual, pending_manual
from mimrun.app.masking import masker_of
from mimrun.app.runs import find_run
from mimrun.errors import InputError
from mimrun.runbook.duration import parse_duration
from mimrun.web.acting import Acting, Who
from mimrun.web.form import Form, Given
from mimrun.web.page import see
from mimrun.web.pages.run import show_run
from mimrun.web.route import does, new_router

router: Final = new_router()
_ITEM: Final = re.compile(r"[1-9][0-9]{0,3}")


@router.post("/runs/{run}/manual/claim")
@does("claim")
def claim(request: Request, who: Acting, run: str, form: Form) -> Response:
    """Say that one does the step."""
    pending = manual_steps.claim(who.home, run, who.identity, form.text("reason"))
    return _back(request, pending, "It is yours.")


@router.post("/runs/{run}/manual/release")
@does("release")
def release(request: Request, who: Acting, run: str, form: Form) -> Response:
    """Say that one does not do the step any more."""
    pending = manual_steps.release(who.home, run, who.identity, form.text("reason"))
    return _back(request, pending, "It is free; somebody else can take it up.")


@router.post("/runs/{run}/manual/hand-over")
@does("hand-over")
def hand_over(request: Request, who: Acting, run: str, form: Form) -> Response:
    """Hand the step to somebody else."""
    to, reason = form.needed("to", "say to whom"), form.needed("reason", "say what they have to know")
    pending = manual_steps.hand_over(who.home, run, who.identity, to, reason)
    return _back(request, pending, f"It is {pending.state.holder}'s; their time begins when they take it up.")


@router.post("/runs/{run}/manual/check")
@does("check")
def check(request: Request, who: Acting, run: str, form: Form) -> Response:
    """Save what is ticked on the checklist: each item that is different is an entry of its own."""
    pending = pending_manual(who.home, run)
    different = _tick(who, pending, form)
    given = _typed(form)
    if any(given.values()):
        return show_run(request, who, find_run(who.home, run), attest_given=given, attest_saved=True)
    return _back(request, pending, "Saved." if different else "Nothing was different.")


@router.post("/runs/{run}/manual/attest")
@does("attest")
def attest(request: Request, who: Acting, run: str, form: Form) -> Response:
    """Sign that the step is done, or cannot be; what is ticked beside it is saved with it, as somebody who signs expects."""
    pending = pending_manual(who.home, run)
    if form.has("ticks"):
        _tick(who, pending, form)
    try:
        word = _attestation(who.home, form)
        node = manual_steps.attest(who.home, run, who.identity, {}, word)
    except InputError as exc:
        return _again(request, who, pending, form, exc)
    if node.second and not word.failed:
        return _back(request, pending, f"Signed. Another person ({node.second}) confirms it now.")
    held_up = carry_on(who.home, pending.run, request.app.state.start)
    return see(request, f"/runs/{pending.run}", f"Signed. {held_up or 'The run goes on.'}")


@router.post("/runs/{run}/manual/confirm")
@does("confirm")
def confirm(request: Request, who: Acting, run: str) -> Response:
    """Sign, as a second person, that what was attested is so."""
    pending = manual_steps.confirm(who.home, run, who.identity)
    held_up = carry_on(who.home, pending.run, request.app.state.start)
    return see(request, f"/runs/{pending.run}", f"Confirmed. {held_up or 'The run goes on.'}")


@router.post("/runs/{run}/manual/dispute")
@does("dispute")
def dispute(request: Request, who: Acting, run: str, form: Form) -> Response:
    """Say, as a second person, that what was attested is not so."""
    reason = form.needed("reason", "say what is not as it was attested")
    pending = manual_steps.dispute(who.home, run, who.identity, reason)
    return _back(request, pending, "Disputed; it is to be done again.")


def _tick(who: Who, pending: PendingManual, form: Given) -> bool:
    """Have the checklist on record be the one that was sent, and say whether it was another."""
    ticked = {int(number) for number in form.below("item.") if _ITEM.fullmatch(number)}
    known = range(1, len(pending.state.checklist) + 1)
    if not ticked.issubset(known):
        raise InputError(f"'{pending.node.name}' has {len(known)} items on its checklist")
    different = [number for number in known if (number in ticked) != (number in pending.state.ticked)]
    for number in different:
        manual_steps.check(who.home, pending.run, who.identity, number, done=number in ticked)
    return bool(different)


def _typed(form: Given) -> dict[str, str]:
    """Give what was typed as evidence, for the form that is shown again."""
    return {**form.below("ev."), "active:": form.text("active"), "reason:": form.text("reason")}


def _attestation(home: Home, form: Given) -> Attestation:
    outcome = form.text("outcome")
    if outcome not in ("done", "failed"):
        raise InputError("say whether it is done or cannot be done")
    return Attestation(
        # What was left empty was not given: the step says what it needs.
        evidence={name: value for name, value in form.below("ev.").items() if value.strip()},
        files=take_attachments(form.files_below("ev."), masker_of(home.settings)),
        failed=outcome == "failed",
        reason=form.text("reason"),
        active=_span(form.text("active")),
    )


def _span(text: str) -> timedelta | None:
    if not text:
        return None
    try:
        return timedelta(milliseconds=parse_duration(text))
    except ValueError as exc:
        raise InputError(f"how long it took, {text!r}: {exc}") from exc


def _again(
    request: Request, who: Who, pending: PendingManual, form: Given, problem: InputError
) -> HTMLResponse:
    """Show the step again with what was typed, and what is wrong with it."""
    wrong: dict[str, Any] = {"attest_wrong": str(problem).splitlines(), "attest_given": _typed(form)}
    return show_run(request, who, pending.view, status=400, **wrong)


def _back(request: Request, pending: PendingManual, told: str) -> Response:
    return see(request, f"/runs/{pending.run}#manual", told)
