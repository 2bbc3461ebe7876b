"""What executes runs for whoever asks through the API: whatever the site was given for it."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from fastapi import Depends, Request

from mimrun.app.going_on import Start


def starter_of(request: Request) -> Start:
    """Give what has a run executed, and comes back at once."""
    start: Start = request.app.state.start
    return start


Starter: TypeAlias = Annotated[Start, Depends(starter_of)]
"""An argument of a route: what has a run executed."""
