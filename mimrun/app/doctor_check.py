"""One thing that the doctor looked at."""

from __future__ import annotations

from dataclasses import dataclass, field

from pydantic import JsonValue


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Arguments:
        ok: True for fine, False for missing, None for worth knowing.
        found: what is there.
        cure: what to type where it is not fine, or "".
    """

    name: str
    found: str
    cure: str = ""
    ok: bool | None = field(kw_only=True)

    def as_json(self) -> dict[str, JsonValue]:
        """The check for `--json`."""
        return {"name": self.name, "ok": self.ok, "found": self.found, "cure": self.cure}
