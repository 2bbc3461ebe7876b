"""A process that brings a log up to date and says how far it is, so that it can be killed anywhere.

Usage: migrator.py PATH
"""

from __future__ import annotations

import sys
from pathlib import Path

from mimrun.log.blob_key import BlobKeyPlace
from mimrun.log.sqlite.migrate import migrate


def main(path: str) -> None:
    print("begun", flush=True)  # noqa: T201 - its parent reads this

    def told(done: int, of: int) -> None:
        print(done, of, flush=True)  # noqa: T201 - likewise

    migrate(Path(path), BlobKeyPlace.beside(Path(path)), told)
    print("done", flush=True)  # noqa: T201 - likewise


main(*sys.argv[1:])
