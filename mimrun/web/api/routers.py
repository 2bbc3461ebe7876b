"""Every router of the API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fastapi import APIRouter

from mimrun.web.api import (
    alerts,
    control,
    decisions,
    description,
    incidents,
    learning,
    log,
    manual,
    proposals,
    runbooks,
    runs,
)

ROUTERS: Final[Sequence[APIRouter]] = (
    description.router,
    runs.router,
    decisions.router,
    manual.router,
    incidents.router,
    learning.router,
    alerts.router,
    proposals.router,
    runbooks.router,
    log.router,
    control.router,
)
