"""`mimrun inventory`: which hosts there are, and which a pattern means."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from mimrun.app.inventories import read_inventory
from mimrun.canonical import Json
from mimrun.cli.options import InventoryOption, JsonOption, group, settings_of
from mimrun.cli.terminal import console, print_json, safe_line


def hosts(
    pattern: Annotated[
        str, typer.Argument(help="A host pattern, as in Ansible: 'web:&zone_a:!frozen'.")
    ] = "all",
    inventories: InventoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the hosts that a pattern means, in inventory order."""
    inventory = read_inventory(settings_of(None), inventories or [])
    found = inventory.select(pattern, strict=True)
    if as_json:
        print_json(list(found))
        return
    for host in found:
        typer.echo(safe_line(host))


def show(
    pattern: Annotated[str, typer.Argument(help="Only these hosts.")] = "all",
    inventories: InventoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show hosts with their groups and merged variables."""
    inventory = read_inventory(settings_of(None), inventories or [])
    found = inventory.select(pattern, strict=True)
    if as_json:
        shown: dict[str, Json] = {
            host: {"groups": list(inventory.groups_of(host)), "vars": inventory.vars(host)} for host in found
        }
        print_json(shown)
        return
    out = console()
    for host in found:
        out.print(Text(safe_line(host), "bold").append(f"  {', '.join(inventory.groups_of(host))}", "dim"))
        for name, value in sorted(inventory.vars(host).items()):
            out.print(Text(f"    {safe_line(name)}: ", "cyan").append(safe_line(str(value))))


COMMANDS = {
    "inventory": group(
        "inventory",
        "Show the inventory, and the hosts of a pattern.",
        {
            "hosts": (hosts, "mimrun inventory hosts -i prod.ini 'web:&zone_a:!frozen' --json"),
            "show": (show, "mimrun inventory show -i prod.ini db1"),
        },
    )
}
