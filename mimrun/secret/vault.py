"""HashiCorp Vault and OpenBao: key-value stores of version 1 and 2, by `hvac`.

Where the server is and who asks is read from the environment, by the names that its own command line
uses; a name that begins with BAO_ wins over the same name with VAULT_.
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from mimrun.errors import SettingsError
from mimrun.secret.bounded import within
from mimrun.secret.reference import InEnvironment, InFile, InKeyring, InVault, parse_reference
from mimrun.secret.value import Secret

ANSWER_S: Final = 5.0
"""How long to wait for a connection, and for each answer."""

PATIENCE_S: Final = 10.0
"""How long one secret may take in all."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Server:
    """Where the server is, and who asks.

    Arguments:
        address: `https://HOST[:PORT]`; `http://` to this machine only.
        namespace: "" for the root.
        authorities: a file or folder with the authorities that may vouch for the server, or "" for those of
            the operating system.
        certificate: the client's own certificate and key, two files, or None.
        token: of whoever asks; None where `role` logs in.
        role: the AppRole's role id, or "".
        role_secret: the AppRole's secret id; None where `token` is given.
        login: where the AppRole method is mounted.
    """

    address: str
    namespace: str = ""
    authorities: str = ""
    certificate: tuple[str, str] | None = None
    token: Secret | None = field(default=None, repr=False)
    role: str = ""
    role_secret: Secret | None = field(default=None, repr=False)
    login: str = "approle"


def server_of(environ: Mapping[str, str], read: Callable[[str], Secret]) -> Server:
    """Read from the environment where the server is and who asks.

    Arguments:
        environ: `VAULT_ADDR`, `VAULT_NAMESPACE`, `VAULT_CACERT`, `VAULT_CAPATH`, `VAULT_CLIENT_CERT`,
            `VAULT_CLIENT_KEY`, `VAULT_TOKEN`, each also with `BAO_`; `MIMRUN_VAULT_ROLE_ID`,
            `MIMRUN_VAULT_SECRET_ID` (a reference) and `MIMRUN_VAULT_AUTH_MOUNT` for an AppRole. Without
            a token or an AppRole, the token is that of `vault login`, in `~/.vault-token`.
        read: fetches the secret that a reference names.

    Raises:
        SettingsError: there is no address, or one that would send the token in the clear, or no token.
    """

    def named(name: str) -> str:
        return environ.get(f"BAO_{name}") or environ.get(f"VAULT_{name}") or ""

    address = named("ADDR").rstrip("/")
    if not address:
        raise SettingsError("it is not known where the vault is; set VAULT_ADDR to its https:// address")
    _check_address(address)
    certificate = (named("CLIENT_CERT"), named("CLIENT_KEY"))
    server = Server(
        address=address,
        namespace=named("NAMESPACE"),
        authorities=named("CACERT") or named("CAPATH"),
        certificate=certificate if all(certificate) else None,
    )
    for name in (server.authorities, *(server.certificate or ())):
        if name and not Path(name).exists():
            raise SettingsError(f"{name} is not there; VAULT_CACERT and VAULT_CLIENT_* name files")
    return _with_login(server, named("TOKEN"), environ, read)


def from_vault(place: InVault, environ: Mapping[str, str], read: Callable[[str], Secret]) -> Secret:
    """Fetch a field of a secret, with the version that was read where the store has versions.

    Arguments:
        environ, read: as for `server_of`.

    Raises:
        SettingsError: the server is not reached, is sealed or refuses, or there is no such secret.
    """
    server = server_of(environ, read)
    try:
        return within(PATIENCE_S, lambda: _ask(server, place))
    except TimeoutError:
        raise SettingsError(f"{server.address} has not answered in {PATIENCE_S:.0f} s") from None


def vault_name(environ: Mapping[str, str], read: Callable[[str], Secret]) -> str:
    """Name the server that the environment leads to, and who asks it. Nothing is asked for.

    Raises:
        SettingsError: as for `server_of`.
    """
    server = server_of(environ, read)
    return f"{server.address}, by {'an AppRole' if server.role else 'a token'}"


def _check_address(address: str) -> None:
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise SettingsError("VAULT_ADDR is not an address; write https://HOST:PORT")
    if parts.scheme == "http" and not _is_here(parts.hostname):
        raise SettingsError(f"{address}: a token is not sent in the clear; write https:// in VAULT_ADDR")


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _with_login(
    server: Server, token: str, environ: Mapping[str, str], read: Callable[[str], Secret]
) -> Server:
    role, role_secret = environ.get("MIMRUN_VAULT_ROLE_ID"), environ.get("MIMRUN_VAULT_SECRET_ID")
    values = {name: getattr(server, name) for name in Server.__slots__}
    if token:
        return Server(**{**values, "token": _checked(token, "VAULT_TOKEN")})
    if role and role_secret:
        if not isinstance(parse_reference(role_secret), InEnvironment | InFile | InKeyring):
            raise SettingsError("MIMRUN_VAULT_SECRET_ID cannot lie in the vault that it opens")
        mount = environ.get("MIMRUN_VAULT_AUTH_MOUNT") or "approle"
        return Server(**{**values, "role": role, "role_secret": read(role_secret), "login": mount})
    if role or role_secret:
        raise SettingsError("an AppRole needs both MIMRUN_VAULT_ROLE_ID and MIMRUN_VAULT_SECRET_ID")
    file = Path(environ.get("HOME") or "~").expanduser() / ".vault-token"
    try:
        kept = file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        kept = ""
    if not kept:
        raise SettingsError(
            f"nobody is logged in to {server.address}; set VAULT_TOKEN, `vault login`, or give an AppRole"
        )
    return Server(**{**values, "token": _checked(kept, str(file))})


def _checked(token: str, where: str) -> Secret:
    # A library that is given a header it cannot send repeats it in its error.
    if not token.isascii() or not token.isprintable() or " " in token:
        raise SettingsError(f"{where} holds what no token can hold; `vault login` again")
    return Secret(token)


def _ask(server: Server, place: InVault) -> Secret:
    with _client(server) as client, _explained(server, place):
        mount, path, number = _mount_of(client, place)
        if number == 1:
            if place.version is not None:
                raise SettingsError(f"{mount} keeps no versions (KV version 1); leave out @{place.version}")
            data = client.secrets.kv.v1.read_secret(path, mount_point=mount)["data"]
            return _field(data, place, "")
        answer = client.secrets.kv.v2.read_secret_version(
            path, version=place.version, mount_point=mount, raise_on_deleted_version=True
        )["data"]
        return _field(answer["data"], place, str(answer["metadata"]["version"]))


@contextlib.contextmanager
def _client(server: Server) -> Iterator[Any]:
    """Give a client that is logged in, and take back what it logged in with.

    1. The server's certificate is checked, always; no variable turns that off.
    2. A redirect is not followed: it would carry the token to whoever is named there.
    3. A token that an AppRole was given is revoked as soon as the secret is read.
    """
    try:
        import hvac  # noqa: PLC0415 - 150 ms that only who names a vault pays
    except ImportError as exc:
        raise SettingsError(f"the library `hvac` cannot be loaded: {exc}") from exc
    client = hvac.Client(
        url=server.address,
        token=server.token.reveal() if server.token else "",
        namespace=server.namespace or None,
        verify=server.authorities or True,
        cert=server.certificate or (),
        timeout=ANSWER_S,
        allow_redirects=False,
    )
    try:
        if server.role_secret is not None:
            with _explained(server, None):
                client.auth.approle.login(
                    server.role, server.role_secret.reveal(), mount_point=server.login, use_token=True
                )
        yield client
    finally:
        if server.role_secret is not None and client.token:
            with contextlib.suppress(Exception):
                client.auth.token.revoke_self()
        client.adapter.close()


def _mount_of(client: Any, place: InVault) -> tuple[str, str, int]:
    """Ask which part of the path is the mount, and of which version, as `vault kv get` does."""
    found = client.adapter.get(f"/v1/sys/internal/ui/mounts/{place.path}")
    about = found["data"]
    mount = str(about["path"]).rstrip("/")
    if about["type"] not in ("kv", "generic"):
        raise SettingsError(f"{mount} holds no keys and values but {about['type']}")
    path = place.path.removeprefix(f"{mount}/")
    if path == place.path or not path:
        raise SettingsError(f"{mount} is the mount; name a secret in it: {mount}/PATH")
    return mount, path, 2 if (about.get("options") or {}).get("version") == "2" else 1


def _field(data: Mapping[str, object], place: InVault, version: str) -> Secret:
    value = data.get(place.field)
    if isinstance(value, bool) or not isinstance(value, str | int):
        what = "has no field" if place.field not in data else "has no text in"
        # The names of the fields are no secret to who may read them, and are still kept out of a log.
        raise SettingsError(f"it {what} {place.field!r}")
    return Secret(str(value), version)


@contextlib.contextmanager
def _explained(server: Server, place: InVault | None) -> Iterator[None]:
    """Say in our own words what went wrong: a library's may quote a header, and so a token."""
    import requests.exceptions as broken  # noqa: PLC0415 - it comes with hvac
    from hvac import exceptions as refusals  # noqa: PLC0415 - loaded by now

    at, ask = server.address, "request" if place else "AppRole"
    trust = "name its authority in VAULT_CACERT (VAULT_SKIP_VERIFY is not heeded)"
    explanations: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...] = (
        ((refusals.Forbidden, refusals.Unauthorized), _refused(at, place)),
        (refusals.InvalidPath, _not_there(at, place)),
        (refusals.VaultDown, f"{at} is sealed or not ready; unseal it, or name another in VAULT_ADDR"),
        (refusals.InvalidRequest, f"{at} has refused the {ask} (400)"),
        (refusals.VaultError, f"{at} has failed"),
        (broken.SSLError, f"the certificate of {at} cannot be trusted; {trust}"),
        (broken.Timeout, f"{at} has not answered in {ANSWER_S:.0f} s"),
        (broken.RequestException, f"{at} cannot be reached; is VAULT_ADDR right?"),
        # A redirect comes here too: it has no such answer.
        (
            (LookupError, TypeError, AttributeError, ValueError),
            f"{at} has not answered as an active vault does",
        ),
        (OSError, f"{at} cannot be asked"),
    )
    try:
        yield
    except SettingsError:
        raise
    except Exception as exc:
        why = next((why for kinds, why in explanations if isinstance(exc, kinds)), None)
        if why is None:
            raise
        raise SettingsError(f"{why} ({type(exc).__name__})") from None


def _refused(at: str, place: InVault | None) -> str:
    if place is None:
        return f"{at} does not accept the AppRole of MIMRUN_VAULT_ROLE_ID"
    return f"{at} refuses it (403): the token is wrong or over, or its policy does not allow to read this"


def _not_there(at: str, place: InVault | None) -> str:
    if place is None:
        return f"{at} has no login of that name; see MIMRUN_VAULT_AUTH_MOUNT"
    hint = ", or the version was deleted" if place.version is not None else ""
    if "/data/" in place.path:
        hint += "; the path is written without the API's data/"
    return f"{at} has nothing there{hint}"
