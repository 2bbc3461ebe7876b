"""mimrun's own settings: one frozen value, made once in `app` and handed down from there.

Options given on the command line win over the environment, the environment over what is usual. What a
runbook does is never a setting: it stands in the runbook, so that everyone approves and runs the same.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mimrun.errors import SettingsError
from mimrun.secret import SHAPES, Secret, parse_reference, read_secret

ENGINE_PATIENCE_MS: Final = 5_000
"""How long a run waits for Prefect after the go, before it starts directly."""

LOG_LEVELS: Final = ("debug", "info", "warning", "error")

ANCHOR_EVERY_MS: Final = 300_000
"""How long is waited between two checkpoints that are given to places outside."""

LEASE_TTL_MS: Final = 30_000
"""How long the lease of a run is good for without being renewed, where the log is in PostgreSQL."""

_SIGNER: Final = re.compile(r"unix:(/[^\x00-\x1f]{1,100})")
_STORE: Final = re.compile(r"postgres(?:ql)?://[^\s\x00-\x1f]+")
_ORIGIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,99}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where mimrun keeps its things, and what it uses when nobody says otherwise.

    Arguments:
        home: mimrun's own folder, absolute; it need not exist yet.
        inventory: the inventory to read when none is given, or None.
        origin: the name of this incident log; it stands in every checkpoint, and tells logs apart.
        engine_patience_ms: how long a run waits for Prefect after the go.
        lock_patience_ms: how long a run waits for locks that others hold; 0 refuses it.
        log_level: from which level on the program log is written.
        store: the address of the PostgreSQL database that the log is in; "" for a file in the home.
        store_password: the reference of the secret to log in with there, or "".
        signer: the address of the process that signs the log, `unix:/PATH`; "" for keys in the home.
        seen: the folder of what this account saw of logs, apart from all homes; None keeps it inside the home.
        blob_key: the reference of the secret that encrypts the log's blobs; "" for a file in the home.
        anchor_every_ms: how long is waited between two checkpoints for places outside; 0: they are given by hand.
        token: what signs in, instead of the account of the operating system; None where none was given.
        token_wrong: why that signs nobody in, or "".
        session: the file of whoever has signed in with `mimrun login`; None where there is no place for it.
        oidc_issuer: where people sign in, the address of an OpenID provider; "" where they do not.
        oidc_client: under which name mimrun is known there.
        oidc_ca_file: certificates to trust there instead of the system's, or "".
        server_secrets: references of secrets that people may name at the server; with a star at its end, how they begin.
        lease_ttl_ms: how long a lease in a database is good for without being renewed. No variable sets it.
    """

    home: Path
    inventory: Path | None = None
    origin: str = "mimrun"
    engine_patience_ms: int = ENGINE_PATIENCE_MS
    lock_patience_ms: int = 0
    log_level: str = "info"
    store: str = ""
    store_password: str = ""
    signer: str = ""
    seen: Path | None = None
    lease_ttl_ms: int = LEASE_TTL_MS
    blob_key: str = ""
    anchor_every_ms: int = ANCHOR_EVERY_MS
    token: Secret | None = None
    token_wrong: str = ""
    session: Path | None = None
    oidc_issuer: str = ""
    oidc_client: str = "mimrun"
    oidc_ca_file: str = ""
    server_secrets: tuple[str, ...] = ()

    @property
    def log(self) -> Path:
        """The incident log, where it is a file."""
        return self.home / "log.db"

    @property
    def blob_key_file(self) -> Path:
        """What the log's blobs are encrypted under, unless `blob_key` says that it is kept elsewhere."""
        return self.home / "blob.key"

    @property
    def program_log(self) -> Path:
        """What mimrun's own processes did."""
        return self.home / "program.log"

    @property
    def people(self) -> Path:
        """Who may do what."""
        return self.home / "people.yaml"

    @property
    def inventories(self) -> Path:
        """The folder of inventories that people at the server can choose from, besides its own."""
        return self.home / "inventories"

    @property
    def policy(self) -> Path:
        """What must be there before something may be done; without it only the gates that runbooks write count."""
        return self.home / "policy.yaml"

    @property
    def incidents(self) -> Path:
        """How priority and severity come of impact and urgency; without it mimrun's own table holds."""
        return self.home / "incidents.yaml"

    @property
    def calendars(self) -> Path:
        """The folder of the calendars that say when nothing may be changed."""
        return self.home / "calendars"

    @property
    def changes(self) -> Path:
        """Which change systems there are; without it mimrun's own register is the only one."""
        return self.home / "changes.yaml"

    @property
    def allowed_signers(self) -> Path:
        """Whose keys sign approvals, as OpenSSH's `allowed_signers` has it."""
        return self.home / "allowed_signers"

    @property
    def notices(self) -> Path:
        """Who is told what, and over which channel."""
        return self.home / "notices.yaml"

    @property
    def alerts(self) -> Path:
        """Which monitoring systems may send alerts; without it none may."""
        return self.home / "alerts.yaml"

    @property
    def rules(self) -> Path:
        """The folder of the rules that say what alerts lead to."""
        return self.home / "rules"

    @property
    def watches(self) -> Path:
        """Which queries are asked again and again, and when what they answer is an alert."""
        return self.home / "watches.yaml"

    @property
    def anchors(self) -> Path:
        """Which places outside are given the log's checkpoints."""
        return self.home / "anchors.yaml"

    @property
    def locks(self) -> Path:
        """The folder of the files that running processes hold locked."""
        return self.home / "lock"

    @property
    def signer_folder(self) -> Path:
        """The log's private keys and what each has signed, where no other process signs."""
        return self.home / "signer"

    @property
    def root_key(self) -> Path:
        """The public root key that is pinned here: what it did not certify does not sign the log."""
        return self.home / "root.vkey"

    @property
    def seen_folder(self) -> Path:
        """What was seen of logs; inside the home it is put back together with an old copy of it."""
        return self.seen or self.home / "seen"

    @property
    def kill_switch(self) -> Path:
        """The file that stops everything while it is there."""
        return self.home / "kill-switch"

    @property
    def prefect(self) -> Path:
        """Prefect's home, apart from the one that the person may have of their own."""
        return self.home / "prefect"

    @property
    def engine(self) -> Path:
        """The socket on which the local engine listens."""
        return self.home / "engine.sock"


def load_settings(
    environ: Mapping[str, str], home: Path | None = None, inventory: Path | None = None
) -> Settings:
    """Make the settings from what was given.

    Arguments:
        environ: the environment; read are MIMRUN_HOME, MIMRUN_INVENTORY, MIMRUN_ORIGIN,
            MIMRUN_ENGINE_PATIENCE and MIMRUN_LOCK_PATIENCE (seconds), MIMRUN_LOG_LEVEL, MIMRUN_STORE,
            MIMRUN_STORE_PASSWORD, MIMRUN_BLOB_KEY, MIMRUN_ANCHOR_EVERY, MIMRUN_SIGNER, MIMRUN_SEEN,
            MIMRUN_TOKEN, MIMRUN_TOKEN_FILE, MIMRUN_OIDC_ISSUER, MIMRUN_OIDC_CLIENT, MIMRUN_OIDC_CA_FILE,
            MIMRUN_SERVER_SECRETS,
            XDG_STATE_HOME and HOME.
        home: the option `--home`.
        inventory: the option `--inventory`.

    Raises:
        SettingsError: a value cannot be used; the message names the variable.
    """
    named, home = environ.get("MIMRUN_INVENTORY"), _home(environ, home)
    return Settings(
        home=home,
        inventory=inventory or (_path(environ, "MIMRUN_INVENTORY") if named else None),
        origin=_origin(environ.get("MIMRUN_ORIGIN", "")),
        engine_patience_ms=_patience(environ, "MIMRUN_ENGINE_PATIENCE", ENGINE_PATIENCE_MS),
        lock_patience_ms=_patience(environ, "MIMRUN_LOCK_PATIENCE", 0),
        log_level=_level(environ.get("MIMRUN_LOG_LEVEL", "")),
        store=_store(environ.get("MIMRUN_STORE", "")),
        store_password=environ.get("MIMRUN_STORE_PASSWORD", ""),
        blob_key=_blob_key(environ.get("MIMRUN_BLOB_KEY", "")),
        anchor_every_ms=_anchor_every(environ.get("MIMRUN_ANCHOR_EVERY", "")),
        signer=_signer(environ.get("MIMRUN_SIGNER", "")),
        seen=_seen(environ, home),
        token=_token(environ),
        token_wrong=_token_wrong(environ),
        session=_session(environ),
        oidc_issuer=environ.get("MIMRUN_OIDC_ISSUER", ""),
        oidc_client=environ.get("MIMRUN_OIDC_CLIENT", "") or "mimrun",
        oidc_ca_file=environ.get("MIMRUN_OIDC_CA_FILE", ""),
        server_secrets=_server_secrets(environ.get("MIMRUN_SERVER_SECRETS", "")),
    )


def _token(environ: Mapping[str, str]) -> Secret | None:
    """Read the token to sign in with, from the variable or from the first line of a file."""
    value, file = environ.get("MIMRUN_TOKEN", ""), environ.get("MIMRUN_TOKEN_FILE", "")
    if value and file:
        raise SettingsError("MIMRUN_TOKEN and MIMRUN_TOKEN_FILE are both set; take one away")
    return read_secret(f"file:{file}") if file else Secret(value) if value else None


def _token_wrong(environ: Mapping[str, str]) -> str:
    """Say why the token signs nobody in, whatever it is: it is empty, or others than its owner can get at its file.

    Whoever decides is told; it stops nothing that needs no signing in, such as the kill switch.
    """
    value, file = environ.get("MIMRUN_TOKEN", ""), environ.get("MIMRUN_TOKEN_FILE", "")
    if not value and not file:
        # Taken for "no token" it would make a program whose secret is missing the account that it runs as.
        empty = [name for name in ("MIMRUN_TOKEN", "MIMRUN_TOKEN_FILE") if name in environ]
        return f"{empty[0]} is set and empty; set it to a token, or unset it" if empty else ""
    if not file:
        return ""
    try:
        mode = Path(file).stat().st_mode & 0o777
    except OSError:
        return ""  # whoever reads it says so
    if not mode & 0o077:
        return ""
    cure = f"chmod 600 {shlex.quote(file)}, and make another token where somebody may have read this one"
    return f"others than its owner have rights to the token file {file} (mode {mode:04o}); {cure}"


def _session(environ: Mapping[str, str]) -> Path | None:
    """Say where it is kept who has signed in: for this account, whatever the home is."""
    state, user = environ.get("XDG_STATE_HOME", ""), environ.get("HOME", "")
    if state.startswith("/"):
        return Path(state) / "mimrun-session.json"
    return Path(user) / ".local" / "state" / "mimrun-session.json" if user.startswith("/") else None


def _seen(environ: Mapping[str, str], home: Path) -> Path | None:
    """Say where it is kept what was seen of logs: apart from every home, which may be put back as a whole.

    A home that keeps it itself has a folder for it: that of the demo, which is made anew at times.
    """
    if environ.get("MIMRUN_SEEN"):
        return _path(environ, "MIMRUN_SEEN").absolute()
    if (home / "seen").is_dir():
        return None
    state, user = environ.get("XDG_STATE_HOME", ""), environ.get("HOME", "")
    if state.startswith("/"):
        return Path(state) / "mimrun-seen"
    # A service may have no home of its own.
    return Path(user) / ".local" / "state" / "mimrun-seen" if user.startswith("/") else None


def _home(environ: Mapping[str, str], given: Path | None) -> Path:
    if given is not None:
        return given.absolute()
    if environ.get("MIMRUN_HOME"):
        return _path(environ, "MIMRUN_HOME").absolute()
    # A relative XDG_STATE_HOME is to be ignored (XDG Base Directory Specification, "Basics").
    state = environ.get("XDG_STATE_HOME", "")
    if state.startswith("/"):
        return Path(state) / "mimrun"
    user = environ.get("HOME", "")
    if not user.startswith("/"):
        raise SettingsError("no folder to keep the log in: HOME is not set; give --home or set MIMRUN_HOME")
    return Path(user) / ".local" / "state" / "mimrun"


def _path(environ: Mapping[str, str], name: str) -> Path:
    """Read a path; a leading `~/` is the home of this environment, not of the process."""
    value = environ[name]
    if "\0" in value:
        raise SettingsError(f"{name}: a path has no null byte; set it to an existing place")
    if value == "~" or value.startswith("~/"):
        user = environ.get("HOME", "")
        if not user:
            raise SettingsError(f"{name}={value}: HOME is not set; write the path in full")
        return Path(user) / value[2:]
    return Path(value)


def _origin(value: str) -> str:
    if not value:
        return "mimrun"
    if not _ORIGIN.fullmatch(value):
        raise SettingsError(
            f"MIMRUN_ORIGIN={value!r}: the name of a log is up to 100 letters, digits and . _ / -, "
            "such as example.org/incidents"
        )
    return value


def _patience(environ: Mapping[str, str], name: str, usual: int) -> int:
    value = environ.get(name, "")
    if not value:
        return usual
    if not re.fullmatch(r"[0-9]{1,3}", value):
        raise SettingsError(f"{name}={value!r}: give whole seconds, 0 to 999")
    return int(value) * 1000


def _anchor_every(value: str) -> int:
    if not value:
        return ANCHOR_EVERY_MS
    if not re.fullmatch(r"[0-9]{1,5}", value) or int(value) > 86_400:
        raise SettingsError(f"MIMRUN_ANCHOR_EVERY={value!r}: give whole seconds, 0 to 86400; 0 is never")
    return int(value) * 1000


def _store(value: str) -> str:
    if value and not _STORE.fullmatch(value):
        # The value may hold a password, so it is not repeated.
        raise SettingsError(
            "MIMRUN_STORE: give postgresql://USER@HOST:PORT/DATABASE, or leave it unset for a log in the home"
        )
    return value


def _signer(value: str) -> str:
    if value and not _SIGNER.fullmatch(value):
        raise SettingsError(
            f"MIMRUN_SIGNER={value!r}: give unix:/PATH of the socket of `mimrun signer`, or leave it unset for keys "
            "in the home"
        )
    return value


def _server_secrets(value: str) -> tuple[str, ...]:
    named = tuple(part.strip() for part in value.split(",") if part.strip())
    for part in named:
        if not part.startswith(tuple(f"{kind}:" for kind in SHAPES)) or part.rstrip("*").endswith(":"):
            raise SettingsError(
                f"MIMRUN_SERVER_SECRETS: {part!r}: give references of secrets, or how they begin with a star behind:"
                " vault:kv/incidents/*"
            )
    return named


def _blob_key(value: str) -> str:
    if value:
        try:
            parse_reference(value)
        except SettingsError as exc:
            raise SettingsError(f"MIMRUN_BLOB_KEY: {exc}") from exc
    return value


def _level(value: str) -> str:
    if not value:
        return "info"
    if value.lower() not in LOG_LEVELS:
        raise SettingsError(f"MIMRUN_LOG_LEVEL={value!r}: give one of {', '.join(LOG_LEVELS)}")
    return value.lower()
