"""Files that people take away: named so that no browser shows them, or takes their name for anything else."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Final
from urllib.parse import quote

from fastapi.responses import FileResponse
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

_PLAIN: Final = re.compile(r"[^A-Za-z0-9._-]")


def attached(name: str) -> str:
    """Give the header that has a browser keep what comes as a file of this name."""
    plain = _PLAIN.sub("_", name)[:100].strip(".") or "file"
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name[:200], safe='')}"


class Passing(FileResponse):
    """A file that was made for whoever asks, and is gone with its folder once they have it, or do not take it.

    Arguments:
        file: the only one in a folder of its own.
        name: what it is to be called.
    """

    def __init__(self, file: Path, name: str) -> None:
        super().__init__(
            file, media_type="application/octet-stream", headers={"content-disposition": attached(name)}
        )
        self._folder = file.parent

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Give it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await run_in_threadpool(shutil.rmtree, self._folder, ignore_errors=True)
