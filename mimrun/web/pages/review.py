"""The review of an incident: read, taken away as a file, published; and what is to be done after it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from fastapi import Request
from fastapi.responses import HTMLResponse, PlainTextResponse, Response

from mimrun.app.home import Home
from mimrun.app.identity import Identity
from mimrun.app.review.blocks import Facts, Prose, Table, sections_of
from mimrun.app.review.html import as_html
from mimrun.app.review.items import add_item, close_item
from mimrun.app.review.making import make_review
from mimrun.app.review.markdown import as_markdown
from mimrun.app.review.publishing import publish_review
from mimrun.errors import GateError, InputError, RefusedError
from mimrun.web.acting import Acting, Who
from mimrun.web.errors import status_of
from mimrun.web.form import Form, Given
from mimrun.web.page import see, show
from mimrun.web.route import does, new_router

router: Final = new_router()
_APART: Final = frozenset({"Action items"})
"""Sections that the page shows in a way of its own."""


@router.get("/incidents/{incident}/review")
@does("review show")
def review(request: Request, who: Acting, incident: str) -> HTMLResponse:
    """Show the review of an incident."""
    return _page(request, who, incident)


@router.get("/incidents/{incident}/review.html")
@does("review show")
def review_as_html(who: Acting, incident: str) -> Response:
    """Give the review as a file of its own."""
    made = make_review(who.home, incident)
    return HTMLResponse(as_html(made), headers=_file(f"review-{made.incident.name}.html"))


@router.get("/incidents/{incident}/review.md")
@does("review show")
def review_as_markdown(who: Acting, incident: str) -> Response:
    """Give the review as Markdown."""
    made = make_review(who.home, incident)
    headers = _file(f"review-{made.incident.name}.md")
    return PlainTextResponse(as_markdown(made), media_type="text/markdown", headers=headers)


@router.post("/incidents/{incident}/review")
@does("review publish")
def publish(request: Request, who: Acting, incident: str) -> Response:
    """Record the review as it is now."""

    def act(home: Home, identity: Identity) -> str:
        _, entry = publish_review(home, identity, incident)
        return f"The review is published: entry {entry.seq} of the log."

    return _act(request, who, incident, act, Given({}))


@router.post("/incidents/{incident}/review/items")
@does("review item add")
def add(request: Request, who: Acting, incident: str, form: Form) -> Response:
    """Agree upon an action item."""

    def act(home: Home, identity: Identity) -> str:
        owner, due, text = (form.text(name) for name in ("owner", "due", "text"))
        title = form.needed("title", "say in a line what is to be done")
        item = add_item(home, identity, incident, title, owner=owner, due=due, text=text)
        return f"{item.item} is on record."

    return _act(request, who, incident, act, form)


@router.post("/incidents/{incident}/review/items/{item}/done")
@does("review item done")
def done(request: Request, who: Acting, incident: str, item: str, form: Form) -> Response:
    """Say that an action item is done."""
    return _close(request, who, (incident, item), "done", form)


@router.post("/incidents/{incident}/review/items/{item}/drop")
@does("review item drop")
def drop(request: Request, who: Acting, incident: str, item: str, form: Form) -> Response:
    """Say that an action item is not going to be done, and why."""
    return _close(request, who, (incident, item), "dropped", form)


def _close(
    request: Request, who: Who, about: tuple[str, str], outcome: Literal["done", "dropped"], form: Given
) -> Response:
    incident, item = about

    def act(home: Home, identity: Identity) -> str:
        closed = close_item(home, identity, incident, item, outcome, reason=form.text("reason"))
        return f"{closed.item} is {closed.state}."

    return _act(request, who, incident, act, form)


def _act(
    request: Request, who: Who, incident: str, act: Callable[[Home, Identity], str], form: Given
) -> Response:
    """Do something about the review, and show it again: with what was done, or with why it was not."""
    try:
        told = act(who.home, who.identity)
    except (InputError, RefusedError, GateError) as exc:
        return _page(request, who, incident, status=status_of(exc), wrong=str(exc), form=form)
    return see(request, f"/incidents/{make_review(who.home, incident).incident.name}/review", told)


def _page(
    request: Request,
    who: Who,
    incident: str,
    *,
    status: int = 200,
    wrong: str = "",
    form: Given | None = None,
) -> HTMLResponse:
    made = make_review(who.home, incident)
    people = who.home.people().by_id.values()
    return show(
        request,
        who,
        "review.html",
        status=status,
        review=made,
        view=made.incident,
        sections=[section for section in sections_of(made) if section.title not in _APART],
        kind_of=_kind_of,
        today=who.home.clock().date(),
        owners=[(one.id, one.name) for one in people if one.active],
        wrong=wrong,
        form=form or Given({}),
    )


def _kind_of(block: Facts | Prose | Table) -> str:
    return type(block).__name__.lower()


def _file(name: str) -> dict[str, str]:
    """Give the headers of a file to keep. It has styles of its own, which a page of ours may not have."""
    return {"content-disposition": f'attachment; filename="{name}"'}
