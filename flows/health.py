"""The question for the health of an API that somebody else serves."""

from __future__ import annotations

import httpx
from prefect.client.orchestration import get_client


def healthy() -> bool:
    """Ask the API that Prefect's settings name whether it is well."""
    try:
        with get_client(httpx_settings={"timeout": 2.0}, sync_client=True) as client:
            return client.api_healthcheck() is None
    except (httpx.HTTPError, OSError, RuntimeError):
        return False
