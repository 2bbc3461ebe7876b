"""Reading a secret from this machine: a variable, or the first line of a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from mimrun.errors import SettingsError
from mimrun.secret import read_secret

CANARY = 'Tr0ub4dor & "3"/ä+\\n?'


def test_a_secret_is_read_from_the_environment_or_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_PASSWORD", CANARY)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "password").write_bytes(b"first line\r\nsecond line\n")
    assert read_secret("env:LAB_PASSWORD").reveal() == CANARY
    assert read_secret(f"file:{tmp_path}/password").reveal() == "first line"
    assert read_secret("file:~/password").reveal() == "first line"


@pytest.mark.parametrize(
    ("reference", "why"),
    [
        ("env:NOT_THERE", "no variable NOT_THERE"),
        ("env:EMPTY", "it is empty"),
        ("file:/not/there", "No such file"),
        ("file:~nobody-of-this-name/x", "home"),
        ("file:a\0b", "null"),
        ("hunter2", "write env:NAME, file:PATH, keyring:"),
        ("env:", "write env:NAME, file:PATH, keyring:"),
        ("vault:x", "write env:NAME, file:PATH, keyring:"),
        ("", "write env:NAME, file:PATH, keyring:"),
    ],
)
def test_a_reference_that_names_nothing_is_refused(
    reference: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOT_THERE", raising=False)
    monkeypatch.setenv("EMPTY", "")
    with pytest.raises(SettingsError, match=why):
        read_secret(reference)


def test_a_file_that_is_not_text_is_refused_without_quoting_it(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"hidden\xff")
    with pytest.raises(SettingsError, match="not UTF-8") as caught:
        read_secret(f"file:{tmp_path}/key")
    assert "hidden" not in str(caught.value)
    assert "0xff" not in str(caught.value)


def test_a_file_without_an_end_is_refused() -> None:
    with pytest.raises(SettingsError, match="longer than 65536"):
        read_secret("file:/dev/zero")


def test_what_may_be_the_secret_itself_is_not_repeated() -> None:
    with pytest.raises(SettingsError) as caught:
        read_secret("hunter2:Zq8")
    assert "hunter2" not in str(caught.value)
