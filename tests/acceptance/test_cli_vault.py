"""A secret in a vault, from the command line to real targets: it is nowhere on disk, in no form."""

from __future__ import annotations

import html
import http.server
import json
import shlex
import shutil
import tempfile
import threading
import urllib.parse
from base64 import b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from builders.commands import Desk, Said, mark
from builders.vault import ROOT_TOKEN, Vault, running_vault

from mimrun.lab.sshd import SshdHosts, SshHost

pytestmark = pytest.mark.needs("openbao")

SECRET = "hunter2-Zq8/v+Kx&'\"<9>"
MORE = "inputs:\n  token: {type: secret}\n"
READS = 'path "secret/data/data" { capabilities = ["read"] }'


def forms(value: str) -> set[bytes]:
    """Give what must be nowhere, made by other means than the masker's."""
    raw, wide = value.encode(), value.encode("utf-16-le")
    texts = {
        value,
        json.dumps(value)[1:-1],
        json.dumps(json.dumps(value)[1:-1])[1:-1],
        urllib.parse.quote(value),
        urllib.parse.quote(value, safe=""),
        urllib.parse.quote_plus(value),
        html.escape(value),
        shlex.quote(value),
        raw.hex(),
        raw.hex().upper(),
    }
    packed = {b64encode(b"x" * n + data)[4:-4] for n in range(3) for data in (raw, wide)}
    return {text.encode() for text in texts} | packed | {wide}


def leaks(desk: Desk, *said: Said, values: tuple[str, ...] = (SECRET, ROOT_TOKEN)) -> list[str]:
    """Where a value is to be found: every byte below the desk's folder, and what commands said."""
    needles = {form for value in values for form in forms(value)}
    files = [path for path in desk.folder.rglob("*") if path.is_file() and "vault" not in path.parts]
    assert any(path.name == "log.db" for path in files)
    found = [str(path) for path in files if any(needle in path.read_bytes() for needle in needles)]
    words = [word for one in said for word in (one.out, one.err)]
    return found + [word for word in words if any(needle in word.encode() for needle in needles)]


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vault]:
    with running_vault(tmp_path_factory.mktemp("vault")) as running:
        running.write("data", token=SECRET)
        yield running


@pytest.fixture
def desk(tmp_path: Path, vault: Vault) -> Desk:
    made = Desk(tmp_path)
    made.env |= vault.environ(vault.token(READS))
    return made


class _Echo(BaseHTTPRequestHandler):
    """Says everything back that it was told, in several forms."""

    heard: list[bytes] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.heard.append(body)
        value = json.loads(body)["token"]
        answer = json.dumps({"again": value, "packed": b64encode(body).decode(), "page": html.escape(value)})
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(answer.encode())

    def log_message(self, *words: object) -> None:
        """Say nothing."""


@pytest.fixture
def echo() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Echo)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    _Echo.heard.clear()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def inventory(desk: Desk, host: SshHost) -> str:
    variables = {
        "ansible_host": host.address,
        "ansible_port": host.port,
        "ansible_user": host.user,
        "ansible_ssh_private_key_file": host.key_path,
        "ssh_known_hosts": host.known_hosts_path,
    }
    line = " ".join(f"{name}={value}" for name, value in variables.items())
    return str(desk.write("hosts.ini", f"[web]\n{host.name} {line}\n"))


SAYS = """printf '%s\\n' "$0"; printf %s "$0" | base64 -w0; printf %s "$0" | od -An -tx1 -v | tr -d ' \\n'; printf %q "$0"
echo "$0" >&2"""


@pytest.fixture
def web1() -> Iterator[SshHost]:
    folder = Path(tempfile.mkdtemp(prefix="mimrun-sshd-"))
    folder.chmod(0o711)
    with SshdHosts(folder / "hosts", ["web1"]) as hosts:
        yield hosts.host("web1")
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.needs("sshd", "ssh")
def test_a_secret_of_a_vault_reaches_its_targets_and_no_disk(desk: Desk, echo: str, web1: SshHost) -> None:
    argv = json.dumps(["bash", "-c", SAYS, "{{ token }}"])
    send = json.dumps({"url": f"{echo}/x", "method": "POST", "json": {"token": "{{ token }}"}})
    steps = (
        f"  - {{name: Here, hosts: localhost, local.command: {{argv: {argv}}}, register: here}}\n"
        f"  - {{name: There, hosts: web, ssh.command: {{argv: {argv}}}}}\n"
        f"  - {{name: By HTTP, hosts: localhost, http.request: {send}}}\n"
        "  - {name: Again, hosts: localhost, local.shell: {cmd: 'echo {{ here.stdout | quote }} >> marks'}}\n"
    )
    book = desk.runbook(steps, more="hosts: web\n" + MORE)
    words = [book, "token=vault:secret/data#token", "-i", inventory(desk, web1)]
    planned = desk("plan", *words)
    ran = desk.run(*words)
    assert ran.code == 0, ran.out + ran.err
    assert json.loads(_Echo.heard[0])["token"] == SECRET, "the service has got it"
    shown = [
        desk(*command)
        for command in (
            ("log", "show", "--blobs"),
            ("log", "show", "--blobs", "--json"),
            ("status", "--json"),
            ("log", "export", "all", "-o", str(desk.folder / "all.mimlog")),
        )
    ]
    assert shown[0].out.count("*****") >= 8
    assert "*****(vault:secret/data#token@1)" in shown[1].out, "which version was used"
    assert "*****(vault:secret/data#token)" in planned.out
    assert leaks(desk, planned, ran, *shown) == []


def test_a_vault_that_refuses_stops_the_run_before_anything_is_done(desk: Desk, vault: Vault) -> None:
    book = desk.runbook(
        mark("x") + "  - {name: Use, local.command: {argv: [echo, '{{ token }}']}}\n", more=MORE
    )
    wrong = desk.run(book, "token=vault:secret/data#token", VAULT_TOKEN="s.wrong-token")
    absent = desk.run(book, "token=vault:secret/data#tokken")
    away = desk.run(book, "token=vault:secret/data#token", VAULT_ADDR="https://127.0.0.1:1")
    mistyped = desk.run(book, "token=valut:secret/data#token")
    for said, why in (
        (wrong, "the token is wrong or over"),
        (absent, "no field 'tokken'"),
        (away, "cannot be reached"),
        (mistyped, "did you mean vault:MOUNT/PATH#FIELD?"),
    ):
        assert said.code == 2
        assert why in said.err
    assert desk.marks() == []
    assert leaks(desk, wrong, absent, away, mistyped, values=(SECRET, ROOT_TOKEN, "s.wrong-token")) == []


def test_a_vault_that_goes_away_in_the_middle_stops_the_step_that_needs_it_clean(
    desk: Desk, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with running_vault(tmp_path_factory.mktemp("vault")) as own:
        own.write("data", token=SECRET)
        leave = (
            f"  - {{name: Seal, local.command: {{argv: [curl, -sS, -X, PUT, -H, 'X-Vault-Token: {ROOT_TOKEN}',"
            f" --cacert, '{own.authority}', '{own.address}/v1/sys/seal']}}}}\n"
        )
        steps = (
            mark("x") + leave + "  - {name: Use, local.shell: {cmd: 'echo {{ token | quote }} >> marks'}}\n"
        )
        book = desk.runbook(steps, more=MORE)
        ran = desk.run(book, "token=vault:secret/data#token", **own.environ())
    assert ran.code == 1, ran.err
    assert "is sealed" in ran.out + ran.err
    assert desk.marks() == ["x"]
    assert leaks(desk, ran, values=(SECRET,)) == []
