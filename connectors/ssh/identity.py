"""Private keys to log in with: loaded once per process, shared by all connections."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from connectors.ssh.lean import Agent, PKey, SSHException, UnknownKeyType
from connectors.ssh.settings import SshSettings
from mimrun.connector import Refused, SettingsError, read_secret

DEFAULT_NAMES: Final = ("id_ed25519", "id_ecdsa", "id_rsa")

_cache: dict[str, tuple[tuple[int, int, int], PKey]] = {}
_cache_lock = threading.Lock()


def identities(settings: SshSettings) -> Iterator[PKey]:
    """Give the keys to try, in this order: the configured one alone; else the agent's, then ~/.ssh/id_*.

    Raises:
        Refused: the configured key cannot be used, or there is no key at all.
    """
    if settings.key_file is not None:
        yield load_key(settings.key_file, settings.ssh_key_passphrase)
        return
    found = False
    agent = Agent()
    try:
        for key in agent.get_keys():
            found = True
            yield key
    finally:
        agent.close()
    for name in DEFAULT_NAMES:
        path = Path("~/.ssh").expanduser() / name
        if path.exists():
            found = True
            yield load_key(path, settings.ssh_key_passphrase)
    if not found:
        raise Refused(
            f"{settings.where}: there is no key to log in with: set ansible_ssh_private_key_file, "
            "or start an SSH agent and set SSH_AUTH_SOCK"
        )


def load_key(path: Path, passphrase: str = "") -> PKey:
    """Load a private key, and its certificate `<path>-cert.pub` where there is one.

    An RSA key takes a tenth of a second to load, so each is loaded once. Safe from many threads.

    Arguments:
        path: the key file.
        passphrase: `env:NAME` or `file:PATH` of the passphrase, or "".

    Raises:
        Refused: the file is missing, open to others, encrypted without a usable passphrase, or not a key.
    """
    try:
        stat = path.stat()
    except OSError as exc:
        raise Refused(f"private key {path}: {exc.strerror}") from exc
    if stat.st_uid == os.getuid() and stat.st_mode & 0o077:
        raise Refused(
            f"private key {path}: mode {stat.st_mode & 0o777:04o} lets others read it; run: chmod 600 {path}"
        )
    version = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
    with _cache_lock:
        kept = _cache.get(str(path))
        if kept is None or kept[0] != version:
            kept = (version, _read_key(path, passphrase))
            _cache[str(path)] = kept
    return kept[1]


def _read_key(path: Path, passphrase: str) -> PKey:
    try:
        try:
            return PKey.from_path(path)
        except TypeError:
            # This is how the cryptography library says that the key is encrypted.
            if not passphrase:
                raise Refused(
                    f"private key {path}: it is encrypted; set ssh_key_passphrase to env:NAME or file:PATH, "
                    "or load it into an SSH agent and leave the key file out"
                ) from None
        secret = read_secret(passphrase).reveal().encode()
        return PKey.from_path(path, secret)  # type: ignore[arg-type]
    except SettingsError as exc:
        raise Refused(f"private key {path}: {exc}") from exc
    except UnknownKeyType as exc:
        raise Refused(f"private key {path}: its type is not supported; use ed25519, ecdsa or rsa") from exc
    except OSError as exc:
        raise Refused(f"private key {path}: {exc.strerror}") from exc
    except (ValueError, TypeError, SSHException) as exc:
        why = (
            "the passphrase is wrong, or it is not a private key" if passphrase else "it is not a private key"
        )
        raise Refused(f"private key {path}: {why}") from exc
