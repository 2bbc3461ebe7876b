"""Private keys as files: a line that says which key it is, and the key in PEM (PKCS8), sealed or not.

The line makes a file enough to sign with: a PEM alone does not say as whom.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Final

from mimrun.errors import SettingsError
from mimrun.log.durable import sync_folder
from mimrun.log.proof.note import SigningKey, VerifyingKey, read_vkey

_HEAD: Final = "vkey "
_MAX_FILE: Final = 16 * 1024


def make_key(path: Path, name: str, passphrase: str = "") -> VerifyingKey:
    """Make a new private key in a new file that nobody else can read (mode 0600).

    Arguments:
        path: the file; it must not be there.
        name: who signs with it.
        passphrase: what the file is sealed with; "" leaves it open.

    Raises:
        SettingsError: the file is there already, or cannot be made.
        ValueError: the name is no name of a key.
    """
    key = SigningKey(name, secrets.token_bytes(32))
    public = key.verifying()
    data = f"{_HEAD}{public.vkey}\n".encode() + _pem(key, passphrase)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileExistsError as exc:
        raise SettingsError(
            f"{path} is there already; a key is never written over, name another file"
        ) from exc
    except OSError as exc:
        raise SettingsError(f"{path}: the key cannot be written: {exc.strerror}") from exc
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        sync_folder(path.parent)
    except OSError as exc:
        path.unlink(missing_ok=True)
        raise SettingsError(f"{path}: the key cannot be written: {exc.strerror}") from exc
    return public


def read_public(path: Path) -> VerifyingKey:
    """Read which key a file holds, without opening it.

    Raises:
        SettingsError: it is no file of a key.
    """
    return _split(path)[0]


def is_sealed(path: Path) -> bool:
    """Whether a passphrase is needed.

    Raises:
        SettingsError: it is no file of a key.
    """
    return b"ENCRYPTED PRIVATE KEY" in _split(path)[1]


def read_key(path: Path, passphrase: str = "") -> SigningKey:
    """Read a private key.

    Arguments:
        path: a file that `make_key` made.
        passphrase: what it is sealed with, or "".

    Raises:
        SettingsError: it is no file of a key, others can read it, the passphrase is wrong, or the key in it is not
            the one that it says.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 - slow to load
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415 - likewise

    # 1. nobody else could have read or changed it
    public, pem, mode = _split(path)
    if mode & 0o077:
        raise SettingsError(f"{path}: others may read this private key (mode {mode:04o}); set it to 0600")
    # 2. it opens
    try:
        private = load_pem_private_key(pem, passphrase.encode() or None)
    except (ValueError, TypeError) as exc:
        raise SettingsError(f"{path}: the private key cannot be read: wrong passphrase, or damaged") from exc
    # 3. it is the key that it says
    if not isinstance(private, Ed25519PrivateKey):
        raise SettingsError(f"{path}: this is no Ed25519 key")
    key = SigningKey(public.name, private.private_bytes_raw())
    if key.verifying() != public:
        raise SettingsError(f"{path}: the key in it is not {public}, as its first line says")
    return key


def _split(path: Path) -> tuple[VerifyingKey, bytes, int]:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode & 0o777
            data = file.read(_MAX_FILE)
    except OSError as exc:
        raise SettingsError(f"{path}: the key cannot be read: {exc.strerror}") from exc
    head, _, pem = data.partition(b"\n")
    try:
        line = head.decode("ascii")
        if not line.startswith(_HEAD):
            raise ValueError("its first line does not say which key it is")
        return read_vkey(line.removeprefix(_HEAD)), pem, mode
    except ValueError as exc:
        raise SettingsError(f"{path}: this is no private key that mimrun made: {exc}") from exc


def _pem(key: SigningKey, passphrase: str) -> bytes:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - slow to load
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 - likewise

    sealing: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        sealing = serialization.BestAvailableEncryption(passphrase.encode())
    private = Ed25519PrivateKey.from_private_bytes(key.seed)
    return private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, sealing)
