"""Keys: how a target recognises a request that it has seen before."""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache

from mimrun.run.record.state import CellKey


@lru_cache(maxsize=1024)
def idempotency_key(run: str, cell: CellKey) -> str:
    """Name a cell of a run: 26 characters, the same for every attempt, different for every other cell."""
    parts = ("mimrun/idem/v1", run, cell.step, cell.target, str(cell.iteration))
    return base64.b32encode(hashlib.sha256("\0".join(parts).encode()).digest()).decode()[:26].lower()
