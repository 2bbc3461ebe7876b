"""Keeping secrets that are known here out of what people write: reasons, notes, evidence."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from mimrun.app.home import Home
from mimrun.app.incident.declaration import Declaration
from mimrun.app.inventories import read_inventory
from mimrun.app.known_secrets import known_secrets
from mimrun.errors import InputError
from mimrun.runbook.inventory import Inventory
from mimrun.secret import Masker
from mimrun.settings import Settings


def masking(home: Home) -> Callable[[str], str]:
    """Give a function that takes the secrets out of a text that settings and inventory name or hold.

    Where the inventory cannot be read, those of the settings are taken out: nobody's word waits for it.
    """
    return masker_of(home.settings).mask_text


def masker_of(settings: Settings) -> Masker:
    """Give what knows the secrets of settings and inventory; see `masking`."""
    inventory: Inventory | None = None
    with suppress(InputError):
        inventory = read_inventory(settings, [])
    return known_secrets(settings, inventory)


def masked(home: Home, said: Declaration) -> Declaration:
    """Give what somebody says of an incident without the secrets that are known here."""
    mask = masking(home)
    services = tuple(mask(service) for service in said.services)
    return replace(said, title=mask(said.title), services=services, text=mask(said.text))
