"""Reading: from a reference to the secret it names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, assert_never

from mimrun.errors import SettingsError
from mimrun.secret import vault
from mimrun.secret.keyrings import from_keyring
from mimrun.secret.reference import InEnvironment, InFile, InKeyring, InVault, Place, parse_reference
from mimrun.secret.value import Secret

MAX_LINE: Final = 64 * 1024
"""Bytes of a file's first line."""


def read_secret(reference: str) -> Secret:
    """Fetch the secret that a reference names.

    Arguments:
        reference: `env:NAME` for an environment variable, `file:PATH` for the first line of a file,
            `keyring:SERVICE/USERNAME` for an entry of the user's keyring, `vault:MOUNT/PATH#FIELD` for a
            field in HashiCorp Vault or OpenBao, with `@VERSION` behind it for that version.

    Raises:
        SettingsError: the reference is not one of these, names nothing, or names an empty value; or its
            store does not give it out. The message never shows the value.
    """
    place = parse_reference(reference)
    try:
        secret = _fetch(place)
    except SettingsError as exc:
        raise SettingsError(f"secret {reference!r}: {exc}") from exc.__cause__
    if not secret.reveal():
        raise SettingsError(f"secret {reference!r}: it is empty")
    return secret


def vault_name() -> str:
    """Name the vault that the environment leads to, and who asks it, without asking it.

    Raises:
        SettingsError: it is not known, or nobody is logged in.
    """
    return vault.vault_name(os.environ, read_secret)


def _fetch(place: Place) -> Secret:
    match place:
        case InEnvironment(name):
            return _from_environment(name)
        case InFile(path):
            return _from_file(path)
        case InKeyring(service, username):
            return from_keyring(service, username)
        case InVault():
            return vault.from_vault(place, os.environ, read_secret)
        case _:
            assert_never(place)


def _from_environment(name: str) -> Secret:
    value = os.environ.get(name)
    if value is None:
        raise SettingsError(f"the environment has no variable {name}")
    return Secret(value)


def _from_file(path: str) -> Secret:
    try:
        with Path(path).expanduser().open("rb") as file:
            line = file.readline(MAX_LINE + 1)
        if len(line) > MAX_LINE:
            raise SettingsError(f"its first line is longer than {MAX_LINE} bytes")
        return Secret(line.decode("utf-8").removesuffix("\n").removesuffix("\r"))
    except (OSError, UnicodeDecodeError, RuntimeError, ValueError) as exc:
        raise SettingsError(_reason(exc)) from exc


def _reason(exc: Exception) -> str:
    # A decoding error would quote the content.
    return "it is not UTF-8 text" if isinstance(exc, UnicodeDecodeError) else str(exc)
