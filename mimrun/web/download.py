"""Files that people take away: named so that no browser shows them, or takes their name for anything else."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote

_PLAIN: Final = re.compile(r"[^A-Za-z0-9._-]")


def attached(name: str) -> str:
    """Give the header that has a browser keep what comes as a file of this name."""
    plain = _PLAIN.sub("_", name)[:100].strip(".") or "file"
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name[:200], safe='')}"
