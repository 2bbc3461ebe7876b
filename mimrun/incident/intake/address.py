"""Addresses in alerts: kept for people to open, without what would let anybody else in."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from mimrun.secret import MASK

_TELLING: Final = re.compile(
    r"(?:^|[_.-])(?:pass(?:word|wd|phrase)?|secret|token|api_?key|key|sig|signature|auth|code|jwt|session)$",
    re.IGNORECASE,
)
"""Names of parameters whose value lets somebody in."""
_PAIR: Final = re.compile(r"([^&;=?#/]+)=([^&;#]*)")


def without_credentials(text: str) -> str:
    """Give a text; where it is an address, without user, password, and parameters that let somebody in."""
    if not text[:8].lower().startswith(("http://", "https://")):
        return text
    try:
        parts = urlsplit(text)
    except ValueError:
        return text if "@" not in text and "=" not in text else MASK
    host = parts.netloc.rpartition("@")[2]
    netloc = f"{MASK}@{host}" if "@" in parts.netloc else host
    return urlunsplit(
        parts._replace(netloc=netloc, query=_blank(parts.query), fragment=_blank(parts.fragment))
    )


def address(text: str) -> str:
    """Give an address that a page may link to, without credentials; "" for what is none."""
    return without_credentials(text) if text[:8].lower().startswith(("http://", "https://")) else ""


def _blank(query: str) -> str:
    def blank(pair: re.Match[str]) -> str:
        return f"{pair[1]}={MASK}" if _TELLING.search(pair[1]) else pair[0]

    return _PAIR.sub(blank, query)
