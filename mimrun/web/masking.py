"""Masking: what people type at the console has the secrets taken out that are known here, before it is recorded."""

from __future__ import annotations

from mimrun.app.home import Home
from mimrun.app.known_secrets import known_secrets
from mimrun.app.plans import read_inventory
from mimrun.errors import InputError, SettingsError
from mimrun.runbook.inventory import Inventory
from mimrun.secret import Masker


def mask(home: Home, text: str) -> str:
    """Take the secrets that the settings and the inventory name out of a text."""
    return masker_of(home).mask_text(text) if text else text


def masker_of(home: Home) -> Masker:
    """Give what knows the secrets that are known here."""
    return known_secrets(home.settings, _inventory(home))


def _inventory(home: Home) -> Inventory | None:
    """Read the inventory; where that cannot be, what somebody writes in an incident is recorded all the same."""
    try:
        return read_inventory(home.settings, [])
    except (InputError, SettingsError):
        return None
