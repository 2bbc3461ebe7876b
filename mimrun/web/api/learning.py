"""Learning from what was: a run told again, and the review of an incident."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import Query
from pydantic import Field, JsonValue

from mimrun.app.review.making import make_review
from mimrun.app.review.markdown import as_markdown
from mimrun.web.acting import Acting
from mimrun.web.api.finding import incident_named, run_named
from mimrun.web.api.model import MOST, PREFIX, Shown
from mimrun.web.route import does, new_router
from mimrun.web.view.replay import narration_kept

router: Final = new_router(PREFIX, shown=True)


class ReplayRow(Shown):
    """A line of the board of a run."""

    path: str
    name: str
    kind: str
    depth: int
    targets: list[str]


class Frame(Shown):
    """One moment of a run: one entry of its log."""

    offset_ms: int
    at: str
    seq: int
    kind: str
    step: str
    target: str
    status: str
    text: str = Field(description="A sentence. It may quote a target: it is text and nothing else.")
    who: str
    via: str
    changes: list[list[JsonValue]] = Field(description="What it changes on the board: where, and to what.")


class Replay(Shown):
    """A run, told again."""

    run: str
    incident: str
    title: str
    status: str
    reason: str
    length_ms: int
    recap: dict[str, int]
    missing: list[str] = Field(description="What cannot be told any more, and why.")
    rows: list[ReplayRow]
    count: int = Field(description="So many frames there are.")
    after: int
    board: dict[str, dict[str, str]] = Field(
        description="The board as it is in front of the first frame: step, host, word."
    )
    frames: list[Frame]


class Review(Shown):
    """The review of an incident as it stands now."""

    incident: str
    review: dict[str, JsonValue] = Field(description="As `mimrun review show --json` has it.")
    markdown: str


@router.get("/runs/{run}/replay", response_model=Replay)
@does("status")
def replay(
    who: Acting,
    run: str,
    after: Annotated[
        int, Query(ge=0, le=10_000_000, description="So many frames are left out in front.")
    ] = 0,
    limit: Annotated[int, Query(ge=1, le=MOST, description="So many frames at most.")] = 200,
) -> dict[str, Any]:
    """Tell a run again, frame by frame, with what each entry changed on the board."""
    told = narration_kept(who.home, run_named(who.home, run).summary.run)
    return told.as_json(after=after, limit=limit)


@router.get("/incidents/{incident}/review", response_model=Review)
@does("review show")
def review(who: Acting, incident: str) -> dict[str, Any]:
    """Give the review of an incident: timeline with its gaps, figures by their formulas, decisions, action items."""
    name = incident_named(who.home, incident).name
    made = make_review(who.home, name)
    return {"incident": name, "review": made.as_json(), "markdown": as_markdown(made)}
