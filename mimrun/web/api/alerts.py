"""Alerts: listed, and looked at. They come in by another door: `POST /alerts/KIND`."""

from __future__ import annotations

from itertools import islice
from typing import Annotated, Any, Final, Literal

from fastapi import HTTPException, Path
from pydantic import Field

from mimrun.app.alert.view import AlertView, read_alert
from mimrun.errors import InputError, LogError, TamperError
from mimrun.log.kinds import AlertReceived, Kind
from mimrun.web.acting import Acting
from mimrun.web.api.model import LARGEST, PREFIX, After, Limit, Page, Shown
from mimrun.web.route import does, new_router

router: Final = new_router(f"{PREFIX}/alerts", shown=True)
Seq = Annotated[int, Path(ge=1, le=LARGEST)]


class Alert(Shown):
    """An alert as a list shows it. What it says is a stranger's word: it is text and nothing else."""

    seq: int = Field(ge=1, le=LARGEST)
    at: str = Field(description="When it was recorded.")
    by: str
    source: str
    key: str
    fingerprint: str
    status: Literal["firing", "resolved", "acknowledged", "info"]
    severity: Literal["critical", "high", "warning", "info", "unknown"]
    title: str
    service: str
    value: str
    starts_at: str
    ends_at: str
    auth: str = Field(description="How it is known who sent it: signature, token, person, none.")
    raw_digest: str
    more: bool = Field(description="Its source left out others that belong to it.")


class AlertDetail(Alert):
    """An alert with its labels."""

    labels: dict[str, str]
    annotations: dict[str, str]
    url: str


@router.get("", response_model=Page[Alert])
@does("alert list")
def list_all(who: Acting, after: After = 0, limit: Limit = 100) -> dict[str, Any]:
    """List alerts in the order in which they came."""
    entries = who.home.store.entries(after=after, kinds={Kind.ALERT_RECEIVED})
    found = list(islice(entries, limit + 1))
    views = [AlertView(e.seq, e.ts, e.actor.id, e.body) for e in found if isinstance(e.body, AlertReceived)]
    rest = views[limit - 1].seq if len(found) > limit else None
    return {"items": [view.as_json() for view in views[:limit]], "next": rest}


@router.get("/{seq}", response_model=AlertDetail)
@does("alert show")
def show(who: Acting, seq: Seq) -> dict[str, Any]:
    """Show exactly what an alert said."""
    try:
        entry = who.home.store.entry(seq)
        alert = read_alert(who.home, entry)
    except TamperError:
        raise
    except (InputError, LogError) as exc:
        raise HTTPException(404, f"entry {seq} is no alert") from exc
    assert isinstance(entry.body, AlertReceived)
    shown = AlertView(entry.seq, entry.ts, entry.actor.id, entry.body).as_json()
    return {**shown, "labels": alert.labels, "annotations": alert.annotations, "url": alert.url}
