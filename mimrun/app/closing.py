"""What keeps an incident from being closed."""

from __future__ import annotations

from mimrun.app.breakglass.glass import list_glasses
from mimrun.app.home import Home


def blocks_closing(home: Home, incident: str) -> tuple[str, ...]:
    """Give everything that must be done before an incident may be closed, a sentence each; nothing where it may."""
    return tuple(
        f"{view.glass.run} went past its gates, and {view.glass.change} is {view.state}: complete it and have it"
        f" reviewed (`mimrun change show {view.glass.change}`)"
        for view in list_glasses(home)
        if view.glass.incident == incident and view.glass.opened
    )
