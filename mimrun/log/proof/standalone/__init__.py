"""The stand-alone verifier: written in parts, handed out as one file that needs nothing but Python."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Final

PARTS: Final = ("signature", "form", "entries", "contents", "bundle", "approvals", "main")
_OWN: Final = re.compile(r"^from mimrun\.[^\n]* import (?:\([^)]*\)|[^\n]*)\n", re.MULTILINE)
_FUTURE: Final = "from __future__ import annotations\n"


def verifier() -> str:
    """Give the whole program: the parts one behind the other, without what they import from each other."""
    first, *rest = (files(__name__).joinpath(f"{part}.py").read_text("utf-8") for part in PARTS)
    return _OWN.sub("", first) + "".join("\n\n" + _OWN.sub("", part).replace(_FUTURE, "", 1) for part in rest)
