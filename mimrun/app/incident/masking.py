"""Keeping secrets that are known here out of what people write of an incident."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from mimrun.app.home import Home
from mimrun.app.incident.declaration import Declaration
from mimrun.app.known_secrets import known_secrets
from mimrun.app.plans import read_inventory
from mimrun.errors import InputError
from mimrun.runbook.inventory import Inventory


def masking(home: Home) -> Callable[[str], str]:
    """Give a function that takes the secrets out of a text that settings and inventory name or hold.

    Where the inventory cannot be read, those of the settings are taken out: an incident does not wait for it.
    """
    inventory: Inventory | None = None
    with suppress(InputError):
        inventory = read_inventory(home.settings, [])
    return known_secrets(home.settings, inventory).mask_text


def masked(home: Home, said: Declaration) -> Declaration:
    """Give what somebody says of an incident without the secrets that are known here."""
    mask = masking(home)
    services = tuple(mask(service) for service in said.services)
    return replace(said, title=mask(said.title), services=services, text=mask(said.text))
