"""The command line: one module for each noun, imported when its command is called."""

from __future__ import annotations

from mimrun.cli.door import main

__all__ = ["main"]
