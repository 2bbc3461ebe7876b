"""The log: searched, looked at entry by entry, verified."""

from __future__ import annotations

from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import HTTPException, Path, Query, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import BaseModel, Field, StringConstraints

from mimrun.app.attachments import kept_attachment
from mimrun.app.entry_facts import entry_facts
from mimrun.app.incident.sentence import Words
from mimrun.app.incident.view import list_incidents
from mimrun.app.searching import PAGE, Found, Sought, search_log
from mimrun.app.server.verifying import Verifying
from mimrun.errors import InputError, LogError, TamperError
from mimrun.log.kinds import Kind
from mimrun.web.acting import Acting, Who
from mimrun.web.download import attached
from mimrun.web.page import see, show
from mimrun.web.pages.log_export import WAYS
from mimrun.web.route import does, new_router

router: Final = new_router()
LARGEST: Final = 2**53 - 1
Words_ = Annotated[str, StringConstraints(max_length=200, strip_whitespace=True)]
Seq = Annotated[int, Path(ge=1, le=LARGEST)]
_GROUPS: Final = sorted({f"{kind.value.partition('.')[0]}." for kind in Kind})
_LISTED: Final = 200


class Asked(BaseModel):
    """What somebody looks for, as the form sends it; what is empty is all the same."""

    text: Words_ = ""
    run: Words_ = ""
    incident: Words_ = ""
    kind: Words_ = ""
    actor: Words_ = ""
    before: int = Field(0, ge=0, le=LARGEST)


@router.get("/log")
@does("log show")
def log(request: Request, who: Acting, wanted: Annotated[Asked, Query()]) -> HTMLResponse:
    """Search the log."""
    asked: dict[str, str] = wanted.model_dump(exclude={"before"})
    before, incident = wanted.before, wanted.incident
    try:
        found, wrong, status = search_log(who.home, Sought(**asked, before=before)), "", 200
    except InputError as exc:
        found, wrong, status = Found((), 0, 0), str(exc), 400
    narrowed = {name: value for name, value in asked.items() if value}
    return show(
        request,
        who,
        "log.html",
        status=status,
        found=found,
        wrong=wrong,
        asked=asked,
        narrowed=bool(narrowed),
        older=f"/log?{urlencode({**narrowed, 'before': found.before})}" if found.before else "",
        newest=f"/log?{urlencode(narrowed)}" if before else "",
        here=f"/log?{urlencode(narrowed)}",
        page_size=PAGE,
        kinds=[("", "any"), *((one, f"{one}*") for one in _GROUPS), *((k.value, k.value) for k in Kind)],
        size=who.seen,
        **_exports(who, incident),
    )


@router.get("/log/verify")
@does("log verify")
def verification(request: Request, who: Acting) -> HTMLResponse:
    """Show how far verifying is, and what the last one found."""
    verifying: Verifying = request.app.state.verifying
    head = who.home.store.head()
    return show(request, who, "log_verify.html", now_=verifying.look(), size=head.size)


@router.post("/log/verify")
@does("log verify")
def verify(request: Request, who: Acting) -> Response:  # noqa: ARG001 - whoever wants it has signed in
    """Verify the whole log, beside everything else."""
    verifying: Verifying = request.app.state.verifying
    verifying.start()
    return see(request, "/log/verify")


@router.get("/log/{seq:int}")
@does("log show")
def entry(request: Request, who: Acting, seq: Seq) -> HTMLResponse:
    """Show an entry, with what proves it."""
    try:
        facts = entry_facts(who.home, seq)
    except TamperError:
        raise
    except LogError as exc:
        raise HTTPException(404, str(exc)) from exc
    return show(
        request,
        who,
        "log_entry.html",
        facts=facts,
        entry=facts.entry,
        sentence=Words(who.home).of(facts.entry),
    )


@router.get("/log/{seq:int}/file")
@does("log attachment")
def attachment(who: Acting, seq: Seq) -> Response:
    """Give an attached file out again, as it was attached."""
    kept = kept_attachment(who.home.store, seq)
    return Response(
        kept.content,
        media_type="application/octet-stream",
        headers={"content-disposition": attached(kept.body.name)},
    )


def _exports(who: Who, incident: str) -> dict[str, Any]:
    """Give what can be exported, and how."""
    every = [one for one in list_incidents(who.home, alerts=False) if not one.is_pack][:_LISTED]
    names = [("all", "the whole log"), *((one.name, f"{one.name}: {one.title}") for one in every)]
    known = any(name == incident for name, _ in names)
    return {
        "incidents": names if known or not incident else [(incident, incident), *names],
        "chosen": incident or "all",
        "ways": [(name, way.said) for name, way in WAYS.items()],
    }
