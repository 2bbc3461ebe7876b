"""References: how a secret is named, so that its value stands nowhere.

A reference is data of the plan, and people see it. What is not a reference may be the secret itself, given
by mistake: it is refused and never repeated.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Final, TypeAlias

from mimrun.errors import SettingsError

SHAPES: Final = {
    "env": "env:NAME",
    "file": "file:PATH",
    "keyring": "keyring:SERVICE/USERNAME",
    "vault": "vault:MOUNT/PATH#FIELD",
}
"""How each kind of reference is written."""

ALLOWED: Final = "env:NAME, file:PATH, keyring:SERVICE/USERNAME or vault:MOUNT/PATH#FIELD"

_SEGMENT: Final = r"(?!\.{1,2}(?:/|\#))[^\s/#?%\x00-\x1f\x7f]+"
REFERENCE: Final = re.compile(
    r"env:(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|file:(?P<file>\S.*)"
    r"|keyring:(?P<service>[^\x00-\x1f\x7f]+)/(?P<username>[^/\x00-\x1f\x7f]+)"
    rf"|vault:(?P<path>{_SEGMENT}(?:/{_SEGMENT})+)\#(?P<field>[^#\x00-\x1f\x7f]+?)(?:@(?P<version>[1-9][0-9]{{0,9}}))?"
)
"""Every reference."""


@dataclass(frozen=True, slots=True)
class InEnvironment:
    """A variable of the environment."""

    name: str


@dataclass(frozen=True, slots=True)
class InFile:
    """The first line of a file."""

    path: str


@dataclass(frozen=True, slots=True)
class InKeyring:
    """An entry of the keyring of the operating system's user."""

    service: str
    username: str


@dataclass(frozen=True, slots=True)
class InVault:
    """A field of a secret in HashiCorp Vault or OpenBao.

    Arguments:
        path: with the mount in front and without the API's `data/`.
        version: the one that must be read, or None for the newest.
    """

    path: str
    field: str
    version: int | None = None


Place: TypeAlias = InEnvironment | InFile | InKeyring | InVault


def parse_reference(text: str) -> Place:
    """Read a reference.

    Raises:
        SettingsError: it is none; what was given is repeated only where it begins like one.
    """
    found = REFERENCE.fullmatch(text)
    if found is None:
        raise SettingsError(_wrong(text))
    match text.partition(":")[0]:
        case "env":
            return InEnvironment(found["name"])
        case "file":
            return InFile(found["file"])
        case "keyring":
            return InKeyring(found["service"], found["username"])
        case _:
            return InVault(found["path"], found["field"], int(found["version"]) if found["version"] else None)


def suggest_reference(text: str) -> str:
    """Say what a reference that cannot be read was meant to be, without repeating anything of it."""
    kind, colon, rest = text.partition(":")
    close = difflib.get_close_matches(kind.strip().lower(), SHAPES, n=1) if colon else []
    if not close:
        return ""
    if kind == "vault" and "#" not in rest:
        return f"the field is missing: write {SHAPES[kind]}"
    return f"did you mean {SHAPES[close[0]]}?" if close[0] != kind else f"write it as {SHAPES[kind]}"


def is_of_this_process(text: str) -> bool:
    """Say whether a reference means something only where this process is: its variables or its session.

    Another process of the same user reads the same files; it need not have the same environment.
    """
    return text.partition(":")[0] in ("env", "keyring", "vault")


def _wrong(text: str) -> str:
    shown = f"secret {text!r}: " if text.partition(":")[0] in SHAPES and ":" in text else ""
    hint = suggest_reference(text)
    return f"{shown}a secret is named and never given; write {ALLOWED}" + (f" ({hint})" if hint else "")
