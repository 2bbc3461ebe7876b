"""Secrets from a real server of the Vault protocol: what is read, and what is said when it is not."""

from __future__ import annotations

import http.server
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from builders.vault import ROOT_TOKEN, Vault, program, running_vault

from mimrun.errors import SettingsError
from mimrun.secret import read_secret, vault_name
from mimrun.secret import vault as client

pytestmark = pytest.mark.needs("openbao")

SECRET = "hunter2-Zq8/v+Kx"
READS_PORTAL = 'path "secret/data/portal" { capabilities = ["read"] }'


def refused(reference: str) -> str:
    """Read a secret that cannot be had; gives what is said, which never holds a value or a token."""
    with pytest.raises(SettingsError) as caught:
        read_secret(reference)
    said = str(caught.value)
    assert SECRET not in said
    assert ROOT_TOKEN not in said
    assert reference in said
    assert caught.value.__cause__ is None, "a library's own error may hold a header"
    return said


def test_a_field_is_read_with_its_version(asks: Vault) -> None:
    first = asks.write("versions", token="older")
    asks.write("versions", token=SECRET, port=5432)
    newest = read_secret("vault:secret/versions#token")
    assert (newest.reveal(), newest.version) == (SECRET, str(first + 1))
    pinned = read_secret(f"vault:secret/versions#token@{first}")
    assert (pinned.reveal(), pinned.version) == ("older", str(first))
    assert read_secret("vault:secret/versions#port").reveal() == "5432"


def test_a_store_of_version_1_has_no_versions(asks: Vault) -> None:
    asks.ask("POST", "sys/mounts/team/old", {"type": "kv", "options": {"version": "1"}})
    asks.ask("POST", "team/old/db/main", {"password": SECRET})
    secret = read_secret("vault:team/old/db/main#password")
    assert (secret.reveal(), secret.version) == (SECRET, "")
    assert "keeps no versions" in refused("vault:team/old/db/main#password@1")


def test_a_mount_may_have_several_words(asks: Vault) -> None:
    asks.ask("POST", "sys/mounts/team/kv", {"type": "kv", "options": {"version": "2"}})
    asks.ask("POST", "team/kv/data/db/main", {"data": {"password": SECRET}})
    assert read_secret("vault:team/kv/db/main#password").reveal() == SECRET
    assert "team/kv is the mount" in refused("vault:team/kv#password")


def test_a_token_that_may_read_just_this_is_enough(asks: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    asks.write("portal", token=SECRET)
    asks.write("other", token=SECRET)
    monkeypatch.setenv("VAULT_TOKEN", asks.token(READS_PORTAL))
    assert read_secret("vault:secret/portal#token").reveal() == SECRET
    assert "403" in refused("vault:secret/other#token")


@pytest.mark.parametrize(
    ("reference", "why"),
    [
        ("vault:secret/portal#tokken", "it has no field 'tokken'"),
        ("vault:secret/portal#flag", "it has no text in 'flag'"),
        ("vault:secret/portal#nested", "it has no text in 'nested'"),
        ("vault:secret/portal#empty", "it is empty"),
        ("vault:secret/nothing-here#token", "has nothing there"),
        ("vault:secret/data/portal#token", "written without the API's data/"),
        ("vault:secret/portal#token@99999", "or the version was deleted"),
        ("vault:not-mounted/portal#token", "(403)"),
        ("vault:sys/health#version", "holds no keys and values but system"),
    ],
)
def test_what_is_not_there_is_named(asks: Vault, reference: str, why: str) -> None:
    asks.write("portal", token=SECRET, flag=True, nested={"token": SECRET}, empty="")
    assert why in refused(reference)


def test_a_version_that_was_deleted_is_not_read(asks: Vault) -> None:
    version = asks.write("deleted", token=SECRET)
    asks.ask("POST", "secret/delete/deleted", {"versions": [version]})
    assert "has nothing there" in refused("vault:secret/deleted#token")
    assert "version was deleted" in refused(f"vault:secret/deleted#token@{version}")


def test_a_wrong_token_is_refused_and_not_repeated(asks: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_TOKEN", "s.wrong-token-123")
    said = refused("vault:secret/portal#token")
    assert "the token is wrong or over" in said
    assert "wrong-token" not in said


@pytest.mark.parametrize("token", ["two words", "line\nbreak", "käse"])
def test_a_token_that_no_header_can_hold_is_not_repeated(
    asks: Vault, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setenv("VAULT_TOKEN", token)
    said = refused("vault:secret/portal#token")
    assert "VAULT_TOKEN holds what no token can hold" in said
    assert token not in said


def test_the_token_of_vault_login_is_used(
    asks: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asks.write("portal", token=SECRET)
    monkeypatch.delenv("VAULT_TOKEN")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert "nobody is logged in" in refused("vault:secret/portal#token")
    (tmp_path / ".vault-token").write_text(ROOT_TOKEN + "\n")
    assert read_secret("vault:secret/portal#token").reveal() == SECRET


def test_names_of_openbao_win_over_those_of_vault(asks: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    asks.write("portal", token=SECRET)
    monkeypatch.setenv("VAULT_ADDR", "https://127.0.0.1:1")
    monkeypatch.setenv("BAO_ADDR", asks.address)
    assert read_secret("vault:secret/portal#token").reveal() == SECRET


def test_a_namespace_is_asked_for(asks: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    asks.ask("POST", "sys/namespaces/team-a", {})
    asks.ask("POST", "team-a/sys/mounts/kv", {"type": "kv", "options": {"version": "2"}})
    asks.ask("POST", "team-a/kv/data/portal", {"data": {"token": SECRET}})
    assert "(403)" in refused("vault:kv/portal#token")
    monkeypatch.setenv("VAULT_NAMESPACE", "team-a")
    assert read_secret("vault:kv/portal#token").reveal() == SECRET


def test_an_approle_logs_in_and_leaves_no_token_behind(
    asks: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asks.write("portal", token=SECRET)
    asks.ask("POST", "sys/auth/machines", {"type": "approle"})
    asks.ask("PUT", "sys/policies/acl/portal", {"policy": READS_PORTAL})
    asks.ask("POST", "auth/machines/role/mimrun", {"token_policies": ["portal"]})
    role = asks.ask("GET", "auth/machines/role/mimrun/role-id")["data"]["role_id"]
    secret_id = asks.ask("POST", "auth/machines/role/mimrun/secret-id", {})["data"]["secret_id"]
    (tmp_path / "secret-id").write_text(secret_id)
    monkeypatch.delenv("VAULT_TOKEN")
    monkeypatch.setenv("MIMRUN_VAULT_ROLE_ID", role)
    assert "both MIMRUN_VAULT_ROLE_ID" in refused("vault:secret/portal#token")
    monkeypatch.setenv("MIMRUN_VAULT_SECRET_ID", f"file:{tmp_path}/secret-id")
    assert "does not accept the AppRole" in refused("vault:secret/portal#token")
    monkeypatch.setenv("MIMRUN_VAULT_AUTH_MOUNT", "machines")
    before = len(asks.ask("LIST", "auth/token/accessors")["data"]["keys"])
    assert read_secret("vault:secret/portal#token").reveal() == SECRET
    assert len(asks.ask("LIST", "auth/token/accessors")["data"]["keys"]) == before
    (tmp_path / "secret-id").write_text("wrong")
    assert "AppRole" in refused("vault:secret/portal#token")
    monkeypatch.setenv("MIMRUN_VAULT_SECRET_ID", "vault:secret/portal#token")
    assert "cannot lie in the vault that it opens" in refused("vault:secret/portal#token")


def test_a_certificate_that_nobody_vouches_for_is_refused(
    asks: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAULT_SKIP_VERIFY", "true")
    monkeypatch.delenv("VAULT_CACERT")
    assert "VAULT_SKIP_VERIFY is not heeded" in refused("vault:secret/portal#token")
    other = tmp_path / "ca.pem"
    words = ["-nodes", "-newkey", "ed25519", "-keyout", str(tmp_path / "key"), "-subj", "/CN=other"]
    subprocess.run(["openssl", "req", "-x509", *words, "-out", str(other)], check=True, capture_output=True)
    monkeypatch.setenv("VAULT_CACERT", str(other))
    assert "cannot be trusted" in refused("vault:secret/portal#token")
    monkeypatch.setenv("VAULT_CACERT", str(tmp_path / "not-there"))
    assert "is not there" in refused("vault:secret/portal#token")


def test_a_token_is_not_sent_in_the_clear_but_to_this_machine(
    asks: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    asks.write("portal", token=SECRET)
    monkeypatch.setenv("VAULT_ADDR", asks.clear)
    assert read_secret("vault:secret/portal#token").reveal() == SECRET
    for address, why in (
        ("http://vault.example:8200", "not sent in the clear"),
        ("http://10.0.0.1:8200", "not sent in the clear"),
        ("vault.example:8200", "is not an address"),
        ("https://root:pw@vault.example", "is not an address"),
        ("", "set VAULT_ADDR"),
    ):
        monkeypatch.setenv("VAULT_ADDR", address)
        assert why in refused("vault:secret/portal#token")


def test_a_server_that_is_sealed_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running_vault(tmp_path) as own:
        own.ask("PUT", "sys/seal", {})
        for name, value in own.environ().items():
            monkeypatch.setenv(name, value)
        assert "is sealed" in refused("vault:secret/portal#token")


def test_a_server_that_is_not_there_is_said_to_be(asks: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    monkeypatch.setenv("VAULT_ADDR", f"https://127.0.0.1:{port}")
    assert "cannot be reached" in refused("vault:secret/portal#token")


def test_a_server_that_never_answers_is_not_waited_for(asks: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "ANSWER_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("VAULT_ADDR", f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert "has not answered" in refused("vault:secret/portal#token")


class _Redirecting(BaseHTTPRequestHandler):
    tokens: list[str | None] = []

    def do_GET(self) -> None:
        self.tokens.append(self.headers["X-Vault-Token"])
        self.send_response(307)
        self.send_header("Location", f"{os.environ['ELSEWHERE']}{self.path}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *words: object) -> None:
        """Say nothing."""


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_redirect_takes_the_token_nowhere(asks: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    asks.write("portal", token=SECRET)
    monkeypatch.setenv("ELSEWHERE", asks.clear)
    with serving(_Redirecting) as address:
        monkeypatch.setenv("VAULT_ADDR", address)
        assert "not answered as an active vault does" in refused("vault:secret/portal#token")
        assert _Redirecting.tokens == [ROOT_TOKEN]


def test_the_program_itself_reads_what_we_read(asks: Vault) -> None:
    """The judge: `bao kv get` of the same server."""
    asks.write("portal", token=SECRET)
    environ = {"HOME": "/nonexistent", **{n.replace("VAULT", "BAO"): v for n, v in asks.environ().items()}}
    said = subprocess.run(
        [program(), "kv", "get", "-field=token", "secret/portal"],
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout == read_secret("vault:secret/portal#token").reveal()


def test_the_doctor_names_the_vault_without_asking_it(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in vault.environ("s.anything").items():
        monkeypatch.setenv(name, value)
    assert vault_name() == f"{vault.address}, by a token"
    monkeypatch.delenv("VAULT_ADDR")
    with pytest.raises(SettingsError, match="set VAULT_ADDR"):
        vault_name()
