"""Who signs the log of this home: keys in the home, or a process of another user."""

from __future__ import annotations

from mimrun.errors import SettingsError
from mimrun.log.proof.key import VerifyingKey, read_vkey
from mimrun.log.proof.signer import FileSigner, KeyKeeper, Signer
from mimrun.log.proof.signer_socket import SocketSigner
from mimrun.settings import Settings


def key_keeper(settings: Settings, origin: str) -> KeyKeeper:
    """Give who keeps the keys that sign here; it may have none yet.

    Arguments:
        origin: the log that is signed.
    """
    if settings.signer:
        return SocketSigner(settings.signer.removeprefix("unix:"), origin)
    return FileSigner(settings.signer_folder, origin)


def open_signer(settings: Settings, origin: str) -> Signer | None:
    """Give who signs the log from here; None where nobody does, which is no fault: another machine may.

    Arguments:
        origin: the log that is signed.
    """
    if not settings.signer and not any(settings.signer_folder.glob("*.pem")):
        return None
    return key_keeper(settings, origin)


def pinned_root(settings: Settings) -> VerifyingKey | None:
    """Give the root key that is pinned in this home, or None.

    Raises:
        SettingsError: the file is there and holds no key: nothing is believed until it is mended.
    """
    try:
        return read_vkey(settings.root_key.read_text("ascii").strip())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as exc:
        raise SettingsError(f"{settings.root_key}: the pinned root key cannot be read: {exc}") from exc
