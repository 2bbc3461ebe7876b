"""The incident log: read in order, and verified."""

from __future__ import annotations

from itertools import islice
from typing import Annotated, Any, Final, Literal

from fastapi import HTTPException, Path, Query, Request
from pydantic import Field, JsonValue

from mimrun.app.records import select_entries
from mimrun.app.server.verifying import Verification, Verifying
from mimrun.errors import LogError, TamperError
from mimrun.log.chain import Unreadable
from mimrun.log.entry import LogEntry
from mimrun.web.acting import Acting
from mimrun.web.api.finding import incident_named, run_named
from mimrun.web.api.model import LARGEST, PREFIX, After, Limit, Page, Shown
from mimrun.web.route import does, new_router

router: Final = new_router(f"{PREFIX}/log", shown=True)


class Actor(Shown):
    """Who caused an entry."""

    kind: Literal["person", "worker", "system"]
    id: str
    via: str
    auth: str


class Blob(Shown):
    """Long or personal content: what the entry says about it."""

    n: str
    commit: str
    len: int
    cls: str


class Entry(Shown):
    """An entry as it is on record, with exactly these keys."""

    v: int
    log: str
    seq: int = Field(ge=1, le=LARGEST)
    ts: str
    inc: str
    iseq: int
    iprev: str
    kind: str
    actor: Actor
    run: str
    step: str
    target: str
    attempt: int
    epoch: int
    body: dict[str, JsonValue]
    blobs: list[Blob]
    prev: str


class Missing(Shown):
    """An entry that is not what was recorded."""

    seq: int = Field(ge=0, le=LARGEST)
    unreadable: str


class Head(Shown):
    """The end of the log."""

    log: str
    size: int = Field(ge=0, le=LARGEST)
    root: str = Field(
        description="Merkle root over all entries; noted elsewhere with the size, it proves them later."
    )
    checkpoint: str = Field(description="The newest signed note of the log; empty where it is not signed.")


class Flaw(Shown):
    """One thing that is wrong."""

    seq: int
    check: str
    detail: str


class Verified(Shown):
    """How far verifying the log is, and what it found."""

    state: Literal["never", "running", "done", "failed"]
    checked: int = Field(description="Entries that were checked.")
    began_at: str
    ended_at: str
    ok: bool | None = Field(description="null while it is not done.")
    size: int | None
    root: str | None
    flaws: list[Flaw]
    more_flaws: int
    proven: list[str]
    not_proven: list[str]
    failed: str


@router.get("", response_model=Page[Entry | Missing])
@does("log show")
def entries(
    who: Acting,
    after: After = 0,
    limit: Limit = 100,
    run: Annotated[str, Query(max_length=63)] = "",
    incident: Annotated[str, Query(max_length=63)] = "",
) -> dict[str, Any]:
    """Give entries in order. Their blobs are not among them."""
    if run:
        run = run_named(who.home, run).summary.run
    if incident:
        incident = incident_named(who.home, incident).name
    found = list(islice(select_entries(who.home, run=run, incident=incident, after=after), limit + 1))
    rest = found[limit - 1].seq if len(found) > limit else None
    return {"items": [_shown(entry) for entry in found[:limit]], "next": rest}


@router.get("/head", response_model=Head)
@does("log show")
def head(who: Acting) -> dict[str, Any]:
    """Give the end of the log."""
    store = who.home.store
    now, note = store.head(), store.latest_checkpoint()
    return {
        "log": store.log,
        "size": now.size,
        "root": now.root,
        "checkpoint": note.note if note is not None else "",
    }


@router.get("/verification", response_model=Verified)
@does("log verify")
def verification(request: Request, who: Acting) -> dict[str, Any]:  # noqa: ARG001 - whoever looks has signed in
    """Say how far verifying the log is, and what the last one found."""
    verifying: Verifying = request.app.state.verifying
    return _verified(verifying.look())


@router.post("/verification", response_model=Verified, status_code=202)
@does("log verify")
def verify(request: Request, who: Acting) -> dict[str, Any]:  # noqa: ARG001 - as above
    """Verify the whole log, beside everything else: each entry, its chain and tree, signatures and blobs."""
    verifying: Verifying = request.app.state.verifying
    return _verified(verifying.start())


@router.get("/{seq}", response_model=Entry)
@does("log show")
def entry(who: Acting, seq: Annotated[int, Path(ge=1, le=LARGEST)]) -> dict[str, Any]:
    """Give one entry."""
    try:
        return who.home.store.entry(seq).as_json()
    except TamperError:
        raise
    except LogError as exc:
        raise HTTPException(404, f"the log has no entry {seq}") from exc


def _shown(entry: LogEntry | Unreadable) -> dict[str, Any]:
    if isinstance(entry, Unreadable):
        return {"seq": entry.seq, "unreadable": entry.why}
    return entry.as_json()


def _verified(now: Verification) -> dict[str, Any]:
    report = now.report
    return {
        "state": now.state,
        "checked": now.checked,
        "began_at": now.began_at,
        "ended_at": now.ended_at,
        "ok": report.ok if report is not None else None,
        "size": report.size if report is not None else None,
        "root": report.root if report is not None else None,
        "flaws": [{"seq": f.seq, "check": f.check, "detail": f.detail} for f in report.flaws]
        if report
        else [],
        "more_flaws": report.more if report is not None else 0,
        "proven": list(report.findings.proven) if report is not None else [],
        "not_proven": list(report.findings.not_proven) if report is not None else [],
        "failed": now.failed,
    }
