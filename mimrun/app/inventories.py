"""Inventories: which hosts are known to whoever acts here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mimrun.errors import InventoryError, Problem
from mimrun.runbook.inventory import Inventory, load_inventory
from mimrun.settings import Settings


def read_inventory(settings: Settings, inventories: Sequence[Path]) -> Inventory:
    """Read the inventory that was given, or the one of the settings, or none.

    Raises:
        InventoryError: it cannot be read.
    """
    paths = list(inventories) or ([settings.inventory] if settings.inventory else [])
    missing = [path for path in paths if "," not in str(path) and not path.exists()]
    if missing:
        hint = "give an existing file or folder with -i"
        raise InventoryError(
            problems=[Problem("inventory", 0, 0, f"{path} is not there", hint) for path in missing]
        )
    return load_inventory(paths)
