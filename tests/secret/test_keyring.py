"""Secrets from a keyring, by the library's own interface; the backend here keeps them in a file.

A machine without a desktop has no Secret Service: what is tested is everything but that service.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import keyring
import pytest
from keyrings.alt.file import PlaintextKeyring

from mimrun.errors import SettingsError
from mimrun.secret import keyring_name, keyrings, read_secret

SECRET = "hunter2-Zq8/v+Kx"


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[PlaintextKeyring]:
    before = keyring.get_keyring()
    used = PlaintextKeyring()
    used.file_path = str(tmp_path / "keyring.cfg")
    keyring.set_keyring(used)
    yield used
    keyring.set_keyring(before)


def test_an_entry_is_read(backend: PlaintextKeyring) -> None:
    keyring.set_password("https://portal/v1", "mimrun", SECRET)
    assert read_secret("keyring:https://portal/v1/mimrun").reveal() == SECRET
    assert "Plaintext" in keyring_name()


def test_an_entry_that_is_not_there_is_named_with_what_makes_it(backend: PlaintextKeyring) -> None:
    with pytest.raises(SettingsError, match="`keyring set portal mimrun` makes one"):
        read_secret("keyring:portal/mimrun")


def test_a_keyring_that_breaks_is_not_quoted(backend: PlaintextKeyring) -> None:
    class Breaking(PlaintextKeyring):
        def get_password(self, service: str, username: str) -> str | None:
            raise RuntimeError(f"cannot decode {SECRET}")

    keyring.set_keyring(Breaking())
    with pytest.raises(SettingsError, match="RuntimeError") as caught:
        read_secret("keyring:portal/mimrun")
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_keyring_that_waits_for_a_person_is_not_waited_for(
    backend: PlaintextKeyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlocked = threading.Event()

    class Locked(PlaintextKeyring):
        def get_password(self, service: str, username: str) -> str | None:
            unlocked.wait(20)
            return None

    keyring.set_keyring(Locked())
    monkeypatch.setattr(keyrings, "PATIENCE_S", 0.1)
    try:
        with pytest.raises(SettingsError, match="unlock it"):
            read_secret("keyring:portal/mimrun")
    finally:
        unlocked.set()


def test_a_machine_without_a_keyring_says_so() -> None:
    said = subprocess.run(
        [sys.executable, "-c", "from mimrun.secret import read_secret; read_secret('keyring:portal/mimrun')"],
        env={**os.environ, "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "this machine has no keyring" in said.stderr
