"""The keyring of the operating system's user: Secret Service, KWallet, macOS Keychain, by `keyring`."""

from __future__ import annotations

from typing import Final

from mimrun.errors import SettingsError
from mimrun.secret.bounded import within
from mimrun.secret.value import Secret

PATIENCE_S: Final = 30.0
"""A locked keyring asks the person to unlock it."""


def from_keyring(service: str, username: str) -> Secret:
    """Fetch an entry of the keyring.

    Raises:
        SettingsError: there is no keyring here, it is locked, or it has no such entry.
    """
    try:
        value = within(PATIENCE_S, lambda: _ask(service, username))
    except TimeoutError:
        raise SettingsError(
            f"the keyring has not answered in {PATIENCE_S:.0f} s; unlock it, or name the secret in another way"
        ) from None
    if value is None:
        raise SettingsError(
            f"the keyring has no entry of {username} for {service}; `keyring set {service} {username}` makes one"
        )
    return Secret(value)


def keyring_name() -> str:
    """Name the keyring that is used on this machine, or "" where there is none.

    Raises:
        SettingsError: the library cannot be loaded.
    """
    try:
        import keyring  # noqa: PLC0415 - 85 ms that only who names a keyring pays
        from keyring.backends import fail  # noqa: PLC0415 - with it
    except ImportError as exc:
        raise SettingsError(f"the library `keyring` cannot be loaded: {exc}") from exc
    backend = keyring.get_keyring()
    return "" if isinstance(backend, fail.Keyring) else str(backend.name)


def _ask(service: str, username: str) -> str | None:
    if not keyring_name():
        raise SettingsError(
            "this machine has no keyring (a desktop session has one; a server usually has not); "
            "use file: or vault:, or set PYTHON_KEYRING_BACKEND"
        )
    import keyring  # noqa: PLC0415 - loaded by now

    try:
        return keyring.get_password(service, username)
    except Exception as exc:  # noqa: BLE001 - a backend may raise anything, and may quote what it has read
        raise SettingsError(f"the keyring has not given it out: {type(exc).__name__}") from None
