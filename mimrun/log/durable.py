"""Making names of files durable: a file that was synchronised may still lose its name with the power."""

from __future__ import annotations

import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Make what was created, renamed or deleted in a folder outlast a power cut.

    Raises:
        OSError: it cannot be opened, or the disk failed.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
