"""OpenSSH signs and verifies: `ssh-keygen -Y`, with keys from files, from the agent, or on a security key.

mimrun has no cryptography of its own here. What is asked, and what is made of the answer, is all there is.
"""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from mimrun.errors import GateError, InputError, RefusedError
from mimrun.gate.signature import LARGEST_FILE, LONGEST, NAMESPACE

_PATIENCE_S: Final = 20.0
"""Seconds for what needs no person."""
_TOUCH_S: Final = 120.0
"""Seconds in which a person types a passphrase, or touches a security key."""
_USUAL: Final = ("id_ed25519", "id_ed25519_sk", "id_ecdsa", "id_ecdsa_sk", "id_rsa")
"""Where OpenSSH keeps keys of a person, the first choice first."""
_GOOD: Final = re.compile(r'Good "approval@mimrun" signature .* with (\S+) key (SHA256:[A-Za-z0-9+/]{43})\s*')
_LINE: Final = re.compile(r"(?:sk-)?(?:ssh|ecdsa)-[a-z0-9@.-]+ ([A-Za-z0-9+/=]+)(?: (.*))?")


@dataclass(frozen=True, slots=True)
class Key:
    """A key to sign with.

    Arguments:
        where: for people: "the agent's key alex@desk", "/home/alex/.ssh/id_ed25519".
        file: of the key; None for one that only the agent has.
        public: the line of its public key; "" where only the file is known.
    """

    where: str
    file: Path | None = None
    public: str = ""

    @property
    def blob(self) -> bytes:
        """The public key's bytes; b"" where they are not known."""
        match = _LINE.match(self.public)
        with suppress(ValueError):
            return base64.b64decode(match[1]) if match else b""
        return b""


def agent_keys() -> list[Key]:
    """Give the keys that the person's agent holds now; none where there is no agent."""
    if not os.environ.get("SSH_AUTH_SOCK") or shutil.which("ssh-add") is None:
        return []
    try:
        said = subprocess.run(
            ["ssh-add", "-L"],
            env=_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PATIENCE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    lines = said.stdout.decode("utf-8", "replace").splitlines() if said.returncode == 0 else []
    found = [(line, _LINE.fullmatch(line)) for line in lines]
    return [
        Key(f"the agent's key {match[2] or match[1][:16]}", public=line) for line, match in found if match
    ]


def usual_keys() -> list[Key]:
    """Give the keys that lie where OpenSSH looks for them."""
    folder = Path(os.environ.get("HOME", "/nonexistent")) / ".ssh"
    return [key_of(folder / name) for name in _USUAL if (folder / name).is_file()]


def key_of(file: Path) -> Key:
    """Give the key that a file holds: private, or public or a certificate where the agent has the private part.

    Raises:
        InputError: there is no such file.
    """
    if not file.is_file():
        raise InputError(f"{file}: there is no such key; name the file of an SSH key with --key")
    public = file if file.suffix == ".pub" else file.with_name(f"{file.name}.pub")
    line = ""
    with suppress(OSError, UnicodeDecodeError):
        line = public.read_text("utf-8").strip() if public.stat().st_size < LONGEST else ""
    return Key(str(file), file, line)


def sign(message: bytes, key: Key) -> str:
    """Sign for approvals, and for nothing else. A passphrase is asked for, and a security key flashes, if it has to.

    Returns:
        the signature, armoured.

    Raises:
        InputError: there is no ssh-keygen here.
        RefusedError: it did not sign; the message says why.
    """
    with _folder() as folder:
        file = key.file
        if file is None:
            file = folder / "key.pub"
            file.write_text(f"{key.public}\n", "utf-8")
        done = _ask(["-Y", "sign", "-q", "-n", NAMESPACE, "-f", str(file)], message, _TOUCH_S)
    signature = done.stdout.decode("ascii", "replace")
    if done.returncode or not signature:
        raise RefusedError(f"{key.where} did not sign: {_said(done)}; choose another key with --key")
    return signature


def principals(signature: str, signers: Path, at: datetime) -> list[str]:
    """Give for whom the key of a signature may sign at a moment; nobody where OpenSSH finds none.

    Raises:
        InputError: there is no ssh-keygen here, or it cannot read the file of signers.
    """
    with _folder() as folder:
        wanted = ["-Y", "find-principals", "-s", str(_written(folder, signature)), "-f", str(signers)]
        done = _ask([*wanted, f"-Overify-time={_moment(at)}"])
    return done.stdout.decode("utf-8", "replace").splitlines() if done.returncode == 0 else []


def verify(message: bytes, signature: str, person: str, signers: Path, at: datetime) -> str:
    """Have OpenSSH see that a signature is right, is for approvals, and that its key was the person's at a moment.

    Returns:
        the key's fingerprint, as OpenSSH says it: `SHA256:...`.

    Raises:
        GateError: it is not; the message is OpenSSH's.
        InputError: there is no ssh-keygen here.
    """
    with _folder() as folder:
        wanted = ["-Y", "verify", "-n", NAMESPACE, "-I", person, "-s", str(_written(folder, signature))]
        done = _ask([*wanted, "-f", str(signers), f"-Overify-time={_moment(at)}"], message)
    match = _GOOD.fullmatch(done.stdout.decode("utf-8", "replace"))
    if done.returncode or match is None:
        raise GateError(f"OpenSSH does not accept the signature for {person}: {_said(done)}")
    return match[2]


def is_signature_of(message: bytes, signature: str) -> bool:
    """Say whether a signature for approvals is one of the message, whoever's key it is."""
    with _folder() as folder:
        wanted = ["-Y", "check-novalidate", "-n", NAMESPACE, "-s", str(_written(folder, signature))]
        return _ask(wanted, message).returncode == 0


def read_file(path: Path) -> str:
    """Read a file of signers.

    Raises:
        GateError: there is none.
        InputError: it cannot be read, or is far too large.
    """
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise InputError(f"{path}: has more than {LARGEST_FILE} bytes, so it is no file of signers")
        return path.read_text("utf-8")
    except FileNotFoundError:
        raise GateError(
            f"{path} is not there, so nobody's signature counts; write a line for each person into it:"
            f' PERSON namespaces="{NAMESPACE}" and what stands in their .pub file'
        ) from None
    except (OSError, UnicodeDecodeError) as exc:
        raise InputError(f"{path}: cannot be read: {exc}") from exc


def _ask(
    options: Sequence[str], message: bytes = b"", patience: float = _PATIENCE_S
) -> subprocess.CompletedProcess[bytes]:
    """Ask ssh-keygen, in a language and a time zone of which we know how it speaks in them."""
    program = shutil.which("ssh-keygen")
    if program is None:
        raise InputError(
            "ssh-keygen is not on this machine, and it is what signs and verifies approvals: install OpenSSH's client"
            " (Debian: openssh-client), or decide without a signature where the gate allows it"
        )
    try:
        return subprocess.run(
            [program, *options],
            input=message,
            env=_environment(),
            capture_output=True,
            timeout=patience,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RefusedError(f"ssh-keygen did not answer within {patience:.0f} seconds; try again") from None


def _environment() -> dict[str, str]:
    kept = ("PATH", "HOME", "SSH_AUTH_SOCK", "SSH_ASKPASS", "SSH_ASKPASS_REQUIRE", "SSH_SK_PROVIDER")
    given = {
        name: os.environ[name]
        for name in (*kept, "DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY")
        if name in os.environ
    }
    return {**given, "LC_ALL": "C", "TZ": "UTC"}


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="mimrun-sign-") as folder:
        yield Path(folder)


def _written(folder: Path, signature: str) -> Path:
    file = folder / "signature"
    file.write_text(signature, "ascii", "replace")
    return file


def _moment(at: datetime) -> str:
    """Write a moment for OpenSSH, which reads it in the time zone that `_environment` sets."""
    return at.astimezone(UTC).strftime("%Y%m%d%H%M%S")


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    lines = (done.stderr or done.stdout).decode("utf-8", "replace").strip().splitlines()
    return "; ".join(line.strip().rstrip(".") for line in lines)[:300] or f"it ended with {done.returncode}"
