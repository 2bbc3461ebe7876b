"""Known secrets: what must not get into the record by hand, as far as this machine can tell.

Known are the secrets that mimrun's own settings and the variables of the inventory name or hold. Those in the
environment and in files are looked at, since that costs nothing; a vault or keyring is only asked where a
person names the reference.
"""

from __future__ import annotations

import contextlib
import os
import re
import urllib.parse
from collections.abc import Iterable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Final

from mimrun.canonical import Json
from mimrun.errors import SettingsError
from mimrun.runbook.inventory import Inventory
from mimrun.secret import REFERENCE, Masker, Secret, read_secret
from mimrun.settings import Settings

_TELLING: Final = re.compile(
    r"(^|_)(pass(word|wd|phrase)?|secret|token|api_?key|private_key)$", re.IGNORECASE
)
"""Names of variables whose value is a secret itself."""
_IN_FILE: Final = re.compile(r"(pass(word|wd|phrase)?|secret|token)_file$", re.IGNORECASE)
"""Names of variables whose value is the path of a file with a secret."""
_OF_ENVIRONMENT: Final = re.compile(r"_env$", re.IGNORECASE)
"""Names of variables whose value is the name of a variable of the environment."""


def known_secrets(
    settings: Settings, inventory: Inventory | None = None, named: Iterable[str] = ()
) -> Masker:
    """Give a masker that knows every secret at hand.

    Arguments:
        inventory: whose variables are looked through.
        named: references of more secrets; these are fetched from wherever they are.

    Raises:
        SettingsError: one of `named` cannot be fetched.
    """
    masker = Masker(read_secret(reference) for reference in named)
    if settings.token is not None:
        masker.learn(settings.token)
    references, values = set(_of_settings(settings)), set(_of_store(settings))
    for host in inventory.hosts if inventory is not None else ():
        for name, value in _texts("", inventory.vars(host)) if inventory is not None else ():
            if REFERENCE.fullmatch(value):
                references.add(value)
            elif _OF_ENVIRONMENT.search(name):
                references.add(f"env:{value}")
            elif _IN_FILE.search(name):
                references.add(f"file:{value}")
            elif _TELLING.search(name):
                values.add(value)
    masker.learn(*(Secret(value) for value in values if value))
    for reference in sorted(references):
        # What cannot be read here cannot be shown from here.
        with contextlib.suppress(SettingsError, OSError, RuntimeError, ValueError):
            if _is_at_hand(reference):
                masker.learn(read_secret(reference))
    return masker


def _of_settings(settings: Settings) -> Iterator[str]:
    for field in fields(settings):
        value = getattr(settings, field.name)
        if isinstance(value, str) and REFERENCE.fullmatch(value):
            yield value


def _of_store(settings: Settings) -> Iterator[str]:
    """The password in the address of a database, as it stands there and as it is meant."""
    with contextlib.suppress(ValueError):
        password = urllib.parse.urlsplit(settings.store).password
        if password:
            yield password
            yield urllib.parse.unquote(password)


def _texts(name: str, value: Json) -> Iterator[tuple[str, str]]:
    """Give each text in a variable, with the name it stands under."""
    match value:
        case str():
            yield name, value
        case dict():
            for key, item in value.items():
                yield from _texts(key, item)
        case list() | tuple():
            for item in value:
                yield from _texts(name, item)
        case _:
            return


def _is_at_hand(reference: str) -> bool:
    kind, _, place = reference.partition(":")
    # A pipe can be read once only, and that is for whoever logs in with it.
    return (kind == "env" and place in os.environ) or (kind == "file" and Path(place).expanduser().is_file())
