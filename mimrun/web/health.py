"""Whether the server lives, and whether it is ready: for whatever watches over it. Says nothing of what it holds."""

from __future__ import annotations

from typing import Final

from fastapi import Request
from fastapi.responses import JSONResponse

from mimrun.app.server.readiness import Readiness
from mimrun.web.route import new_router, open_to_all

router: Final = new_router()


@router.get("/health")
@open_to_all
async def health() -> JSONResponse:
    """Say that the server lives."""
    return JSONResponse({"status": "alive"})


@router.get("/ready")
@open_to_all
def ready(request: Request) -> JSONResponse:
    """Say whether the server can do what it is there for: 503 where it cannot."""
    readiness: Readiness = request.app.state.readiness
    parts = readiness.look()
    well = all(part.ok for part in parts)
    # What is wrong in detail stands in the program log and in `mimrun doctor`: this answer is for everybody.
    body = {"ready": well, "parts": {part.name: "ok" if part.ok else "not ready" for part in parts}}
    return JSONResponse(body, 200 if well else 503)
