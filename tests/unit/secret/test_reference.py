"""References: how a secret is named, and what is said to who wrote it wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimrun.errors import SettingsError
from mimrun.secret import REFERENCE, is_of_this_process, parse_reference, suggest_reference
from mimrun.secret.reference import InEnvironment, InFile, InKeyring, InVault


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("env:PORTAL_TOKEN", InEnvironment("PORTAL_TOKEN")),
        ("file:/run/secrets/portal token", InFile("/run/secrets/portal token")),
        ("keyring:portal/mimrun", InKeyring("portal", "mimrun")),
        ("keyring:https://portal/v1/mimrun", InKeyring("https://portal/v1", "mimrun")),
        ("vault:secret/portal#token", InVault("secret/portal", "token")),
        ("vault:team/kv/db/main#pass word", InVault("team/kv/db/main", "pass word")),
        ("vault:secret/portal#token@12", InVault("secret/portal", "token", 12)),
        ("vault:secret/portal#me@host", InVault("secret/portal", "me@host")),
    ],
)
def test_a_reference_is_read(text: str, place: object) -> None:
    assert parse_reference(text) == place


@pytest.mark.parametrize(
    "text",
    [
        "env:1X",
        "env:A-B",
        "file:",
        "keyring:portal",
        "keyring:portal/",
        "keyring:a\n/b",
        "vault:secret#token",
        "vault:secret/portal",
        "vault:secret/portal#",
        "vault:secret/../sys/raw#token",
        "vault:secret/.#token",
        "vault:/secret/portal#token",
        "vault:secret//portal#token",
        "vault:secret/portal?version=1#token",
        "vault:secret/%2e%2e/x#token",
        "vault:secret/portal#token\n",
        "Env:X",
        "plain",
        "",
    ],
)
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="write env:NAME, file:PATH"):
        parse_reference(text)


def test_a_version_that_begins_with_a_zero_is_part_of_the_name_of_a_field() -> None:
    assert parse_reference("vault:secret/portal#token@0") == InVault("secret/portal", "token@0")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("valut:secret/x#y", "did you mean vault:MOUNT/PATH#FIELD?"),
        ("ENV:X", "did you mean env:NAME?"),
        ("keyrings:a/b", "did you mean keyring:SERVICE/USERNAME?"),
        ("vault:secret/x", "the field is missing: write vault:MOUNT/PATH#FIELD"),
        ("env:a-b", "write it as env:NAME"),
        ("hunter2", ""),
        ("p4ss:word", ""),
    ],
)
def test_a_hint_says_what_was_meant(text: str, hint: str) -> None:
    assert suggest_reference(text) == hint


@given(st.text(max_size=30))
def test_nothing_of_a_value_given_by_mistake_is_repeated(value: str) -> None:
    text = f"q-{value}-q"
    if REFERENCE.fullmatch(text):
        return
    with pytest.raises(SettingsError) as caught:
        parse_reference(text)
    assert text not in str(caught.value)


@given(st.text(max_size=40), st.sampled_from(["env:", "file:", "keyring:", "vault:", ""]))
def test_every_text_is_a_reference_or_is_refused(text: str, kind: str) -> None:
    if REFERENCE.fullmatch(kind + text):
        parse_reference(kind + text)
    else:
        with pytest.raises(SettingsError):
            parse_reference(kind + text)


def test_only_a_file_is_the_same_for_every_process_of_a_user() -> None:
    assert [
        text for text in ("env:X", "file:/x", "keyring:a/b", "vault:a/b#c") if not is_of_this_process(text)
    ] == ["file:/x"]
