"""What a command of `mimrun change` says when it is done."""

from __future__ import annotations

from rich.text import Text

from mimrun.app.change.records import conflicts_of, find_change
from mimrun.app.home import Home
from mimrun.cli.change_view import change_json, print_change
from mimrun.cli.terminal import console, print_json, safe_line


def show_one(home: Home, ref: str, *, as_json: bool) -> None:
    """Show a change of the register."""
    view, now = find_change(home, ref), home.clock()
    found = conflicts_of(home, view)
    if as_json:
        print_json(change_json(view, found, now))
    else:
        print_change(console(), view, found, now)


def tell(home: Home, ref: str, what: str, *, as_json: bool) -> None:
    """Say what was done with a change, and how it stands now."""
    if as_json:
        show_one(home, ref, as_json=True)
        return
    was = find_change(home, ref).was
    console().print(Text(safe_line(f"{was.ref} {what}; it is in {was.state.value}"), "bold"))


def tell_elsewhere(system: str, ref: str, *, as_json: bool) -> None:
    """Say that a change was opened in another system."""
    if as_json:
        print_json({"change": f"{system}:{ref}"})
    else:
        console().print(Text(safe_line(f"{system}:{ref} opened; its approvers decide there"), "bold"))
