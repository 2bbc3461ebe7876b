"""The log in the formats of other programs: from an entry to bytes, purely. Nothing here sends anything."""

from __future__ import annotations
