"""paramiko, imported without `invoke`, which it needs for `Match exec` of ssh_config alone and which takes 70 ms.

Every module of this connector takes paramiko's names from here, so that it is imported in this one way; and
only when the first connection is opened.
"""

from __future__ import annotations

import importlib
import logging
import sys


def _import_paramiko() -> None:
    """Import paramiko with `invoke` out of sight, and leave everything else as it was."""
    if "paramiko" in sys.modules:
        return
    absent = object()
    kept = sys.modules.get("invoke", absent)
    sys.modules["invoke"] = None  # type: ignore[assignment]
    try:
        importlib.import_module("paramiko")
    finally:
        if kept is absent:
            del sys.modules["invoke"]
        else:
            sys.modules["invoke"] = kept  # type: ignore[assignment]


_import_paramiko()

from paramiko import (  # noqa: E402 - it must not be imported before
    Agent,
    AuthenticationException,
    BadAuthenticationType,
    Channel,
    Message,
    PKey,
    SSHException,
    Transport,
    common,
)
from paramiko.auth_handler import AuthHandler  # noqa: E402
from paramiko.packet import NeedRekeyException, Packetizer  # noqa: E402
from paramiko.pkey import UnknownKeyType  # noqa: E402
from paramiko.ssh_exception import IncompatiblePeer  # noqa: E402

__all__ = [
    "Agent",
    "AuthHandler",
    "AuthenticationException",
    "BadAuthenticationType",
    "Channel",
    "IncompatiblePeer",
    "Message",
    "NeedRekeyException",
    "PKey",
    "Packetizer",
    "SSHException",
    "Transport",
    "UnknownKeyType",
    "common",
]

logging.getLogger("paramiko").addHandler(logging.NullHandler())
# Its thread logs a traceback for every expected failure; failures reach our caller as exceptions.
logging.getLogger("paramiko").setLevel(logging.CRITICAL)
