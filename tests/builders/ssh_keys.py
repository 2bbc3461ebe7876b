"""Real SSH keys, a real agent, and the files that say whose keys they are."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def make_key(folder: Path, name: str, kind: str = "ed25519", passphrase: str = "") -> Path:
    """Make a key pair; gives the file of the private one."""
    file = folder / name
    _run("ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", f"{name}@desk", "-f", str(file))
    return file


def public(key: Path) -> str:
    """The type and the base64 of a public key, without its comment."""
    words = key.with_name(f"{key.name}.pub").read_text().split()
    return f"{words[0]} {words[1]}"


def signer(person: str, key: Path, options: str = 'namespaces="approval@mimrun"') -> str:
    """A line of a file of signers."""
    return f"{person} {options} {public(key)}\n" if options else f"{person} {public(key)}\n"


def certify(authority: Path, key: Path, *names: str, valid: str = "always:forever") -> Path:
    """Certify a key for some principals; gives the certificate."""
    _run(
        "ssh-keygen",
        "-q",
        "-s",
        str(authority),
        "-I",
        "test",
        "-n",
        ",".join(names),
        "-V",
        valid,
        f"{key}.pub",
    )
    return key.with_name(f"{key.name}-cert.pub")


@contextmanager
def agent(folder: Path, *keys: Path) -> Iterator[str]:
    """Run a real agent that holds some keys; gives its socket."""
    socket = folder / "agent.sock"
    said = _run("ssh-agent", "-a", str(socket), "-s")
    pid = int(said.split("SSH_AGENT_PID=")[1].split(";")[0])
    try:
        for key in keys:
            _run("ssh-add", "-q", str(key), env={"SSH_AUTH_SOCK": str(socket)})
        yield str(socket)
    finally:
        os.kill(pid, signal.SIGTERM)


def _run(*words: str, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        words, env={**os.environ, **(env or {})}, capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
