"""What must not get into the record by hand: every secret that settings and inventory name or hold."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mimrun.app.known_secrets import known_secrets
from mimrun.errors import SettingsError
from mimrun.runbook.inventory import parse_inventory
from mimrun.settings import Settings

INVENTORY = """\
[web]
a ansible_ssh_private_key_file=/k ssh_key_passphrase=env:KEY_PHRASE http_token_env=API_TOKEN
b ansible_become_pass=plain-become-7 db='{{"password": "nested-pass-1", "user": "ordinary-name"}}'
c postgres_password_file={folder}/pgpass some_reference=file:{folder}/one other=file:{folder}/none pipe=file:{folder}/pipe colour=magenta-like
"""


def test_secrets_of_the_inventory_and_the_settings_are_masked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY_PHRASE", "phrase-of-the-key")
    monkeypatch.setenv("API_TOKEN", "token-of-the-api")
    monkeypatch.setenv("STORE_PASS", "password-of-the-store")
    (tmp_path / "one").write_text("first-line-secret\nmore\n")
    (tmp_path / "pgpass").write_text("password-in-a-file\n")
    os.mkfifo(tmp_path / "pipe")
    settings = Settings(
        home=tmp_path,
        store="postgresql://log:in%2Fthe%2Faddress@db/log",
        store_password="env:STORE_PASS",
    )
    masker = known_secrets(settings, parse_inventory(INVENTORY.format(folder=tmp_path)))
    for secret in (
        "phrase-of-the-key",
        "token-of-the-api",
        "password-of-the-store",
        "plain-become-7",
        "nested-pass-1",
        "first-line-secret",
        "password-in-a-file",
        "in/the/address",
        "in%2Fthe%2Faddress",
    ):
        assert masker.mask_text(f"<{secret}>") == "<*****>", secret
    assert masker.mask_text("ordinary-name magenta-like") == "ordinary-name magenta-like"


def test_a_secret_that_is_named_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAMED", "named-by-hand")
    settings = Settings(home=tmp_path)
    assert known_secrets(settings, named=["env:NAMED"]).mask_text("named-by-hand") == "*****"
    with pytest.raises(SettingsError, match="NOT_THERE"):
        known_secrets(settings, named=["env:NOT_THERE"])
