"""Secrets: values that must reach a target and nothing else.

A `Secret` does not show itself in `repr`, in JSON or in a format string. A `Masker` takes the known
secrets out of everything that is captured, before it is cut to size and before any sink sees it. A
reference names a secret; `read_secret` fetches it from where it is kept.
"""

from __future__ import annotations

from mimrun.secret.drawn_sieve import DrawnSieve
from mimrun.secret.form import SHORTEST
from mimrun.secret.keyrings import keyring_name
from mimrun.secret.masker import Masker, blank
from mimrun.secret.reading import read_secret, vault_name
from mimrun.secret.reference import (
    ALLOWED,
    REFERENCE,
    SHAPES,
    is_of_this_process,
    parse_reference,
    suggest_reference,
)
from mimrun.secret.value import MASK, Secret

__all__ = [
    "ALLOWED",
    "MASK",
    "REFERENCE",
    "SHAPES",
    "SHORTEST",
    "DrawnSieve",
    "Masker",
    "Secret",
    "blank",
    "is_of_this_process",
    "keyring_name",
    "parse_reference",
    "read_secret",
    "suggest_reference",
    "vault_name",
]
