"""Plans that are asked for at the server, by people and programs that have not the account it runs under.

At the command line whoever names a file or a variable reads it with an account of their own. Here it would be read with
the server's, so that what is asked for names neither: a runbook is one of the library, the inventory is the server's or one in its home, an
input is a value, and a secret is one that the runbook names itself or that the server's settings let people name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from pydantic import JsonValue

from mimrun.app.home import Home
from mimrun.app.plans import prepare_plan
from mimrun.app.runbooks import load_named
from mimrun.errors import InputError, RefusedError
from mimrun.runbook.loader import LoadedRunbook
from mimrun.runbook.model import InputType
from mimrun.runbook.plan import Plan
from mimrun.settings import Settings

_REFERENCE: Final = re.compile(r"[a-z][a-z0-9-]{0,62}(@[0-9A-Za-z.+-]{1,32})?")
_INPUT: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


def plan_at_server(
    home: Home, runbook: str, inputs: Mapping[str, JsonValue], *, typed: bool = False, inventory: str = ""
) -> Plan:
    """Make the plan of a runbook of the library.

    Arguments:
        runbook: its name, or name@version.
        inputs: by name.
        typed: the values are text, as somebody typed them into a form; else JSON with the type of the input. Of what
            somebody typed, "" leaves an input out.
        inventory: one of `inventories_at_server`; "" for the server's own.

    Raises:
        InputError: runbook or inputs are wrong; every problem is named.
        RefusedError: a secret is named that may not be named here.
    """
    loaded = named_at_server(runbook)
    if typed:
        inputs = {name: value for name, value in inputs.items() if value != ""}
    _check_secrets(home, loaded, inputs)
    words = [_word(name, value, typed=typed) for name, value in inputs.items()]
    # A version that was found is asked for by its number: a newer one may be put into the library at this moment.
    pinned = f"{loaded.runbook.name}@{loaded.runbook.version}"
    return prepare_plan(home, pinned, words, _inventories(home.settings, inventory))


def inventories_at_server(settings: Settings) -> list[tuple[str, str]]:
    """Give what can be chosen as an inventory, each with what it is called: the server's own, and those in the home."""
    own = settings.inventory.name if settings.inventory is not None else "this machine only"
    return [("", own), *((path.name, path.name) for path in _in_home(settings))]


def _inventories(settings: Settings, name: str) -> list[Path]:
    if not name:
        return []
    found = [path for path in _in_home(settings) if path.name == name]
    if not found:
        known = ", ".join(path.name for path in _in_home(settings)) or "none"
        raise InputError(
            f"no inventory {name[:100]!r} can be chosen here; {settings.inventories} has: {known}"
        )
    return found


def _in_home(settings: Settings) -> list[Path]:
    try:
        return sorted(path for path in settings.inventories.iterdir() if not path.name.startswith("."))
    except OSError:
        return []


def named_at_server(reference: str) -> LoadedRunbook:
    """Give a runbook of the library by its name, or name@version; never by a path.

    Raises:
        InputError: that is no name, there is none, or it cannot be read.
    """
    if not _REFERENCE.fullmatch(reference):
        raise InputError(f"{reference[:100]!r} is no name of a runbook: name, or name@version")
    return load_named(reference)


def _word(name: str, value: JsonValue, *, typed: bool) -> str:
    if not _INPUT.fullmatch(name):
        raise InputError(f"{name[:100]!r} is no name of an input")
    if typed and isinstance(value, str):
        return f"{name}={value}"
    return f"{name}:={json.dumps(value)}"


def _check_secrets(home: Home, loaded: LoadedRunbook, inputs: Mapping[str, JsonValue]) -> None:
    for name, reference in _named_secrets(loaded, inputs):
        if not any(_fits(allowed, reference) for allowed in home.settings.server_secrets):
            raise RefusedError(
                f"the secret {name} cannot be chosen here: it would be read with the server's rights. Leave it out where"
                " the runbook names one itself, launch it at the command line, or let people name it with"
                " MIMRUN_SERVER_SECRETS"
            )


def _named_secrets(loaded: LoadedRunbook, inputs: Mapping[str, JsonValue]) -> Iterator[tuple[str, str]]:
    for name, spec in loaded.runbook.inputs.items():
        value = inputs.get(name)
        if spec.type is InputType.SECRET and value is not None and value != spec.default:
            yield name, value if isinstance(value, str) else ""


def _fits(allowed: str, reference: str) -> bool:
    """Say whether a reference is one that is let; with a star at its end, one that begins so and goes no way back."""
    if allowed.endswith("*"):
        return reference.startswith(allowed[:-1]) and "/../" not in f"{reference}/"
    return reference == allowed
