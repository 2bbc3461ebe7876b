"""The demo's console: where it is, and how its people sign in there."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from mimrun.app.demo.stage import CHANGE_MANAGER, RESPONDER, SERVICE_DESK
from mimrun.app.home import Home
from mimrun.app.identity import identify
from mimrun.app.server.password_file import Kept
from mimrun.app.server.passwords import Passwords, keep
from mimrun.secret import Secret

PEOPLE: Final = (RESPONDER, CHANGE_MANAGER, SERVICE_DESK)
_LETTERS: Final = "abcdefghijkmnpqrstuvwxyz23456789"


@dataclass(frozen=True, slots=True)
class ConsoleDoor:
    """How to get into the console.

    Arguments:
        url: where it is.
        password: of each of the demo's people.
    """

    url: str
    password: Secret

    def as_json(self) -> dict[str, JsonValue]:
        """The door for `--json`."""
        return {"url": self.url, "people": list(PEOPLE), "password": self.password.reveal()}


def open_console(home: Home, url: str) -> ConsoleDoor:
    """Let the demo's people sign in at the console, all with one password that is made for this demo.

    Whoever sits at this keyboard plays all three, here as at the command line.
    """
    password = Secret("-".join("".join(secrets.choice(_LETTERS) for _ in range(4)) for _ in range(3)))
    actor, kept = identify(home.people(), None).actor(), Kept(hash=Passwords().hash(password))
    for person in PEOPLE:
        keep(home, actor, person, kept)
    return ConsoleDoor(url, password)
