"""Names of runs and incidents: short enough to say over the phone, random enough not to meet twice."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Final

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base 32: no letter that is mistaken for another or for a digit."""

PACK: Final = "PACK-"
"""How the names of sealed packs begin."""

Entropy = Callable[[int], bytes]
"""Gives so many random bytes."""


def new_run(entropy: Entropy = secrets.token_bytes) -> str:
    """Name a run: `run-7k2qd9xm`."""
    return f"run-{_word(8, entropy)}"


def new_incident(now: datetime, entropy: Entropy = secrets.token_bytes) -> str:
    """Name an incident: `INC-20261122-7K2Q`."""
    return f"INC-{now:%Y%m%d}-{_word(4, entropy).upper()}"


def new_proposal(entropy: Entropy = secrets.token_bytes) -> str:
    """Name a proposal: `prop-7k2qd9xm`."""
    return f"prop-{_word(8, entropy)}"


def new_pack(now: datetime, entropy: Entropy = secrets.token_bytes) -> str:
    """Name a sealed pack, which is an incident of its own in the log: `PACK-20261122-7K2Q`."""
    return f"{PACK}{now:%Y%m%d}-{_word(4, entropy).upper()}"


def new_opening(entropy: Entropy = secrets.token_bytes) -> str:
    """Name what one pack is opened as, of which others may be opened elsewhere: `7k2qd9xm`."""
    return _word(8, entropy)


def _word(length: int, entropy: Entropy) -> str:
    return "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in entropy(length))
