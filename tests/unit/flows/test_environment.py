from __future__ import annotations

import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import AliasChoices, BaseModel

from flows.environment import QUIET, SERVER_ONLY, Rooms, password, quiet_environment, server_environment
from mimrun.errors import SettingsError


def names(model: type[BaseModel]) -> Iterator[str]:
    """Every environment variable that a tree of Prefect's settings reads."""
    prefix = str(model.model_config.get("env_prefix", ""))
    for name, field in model.model_fields.items():
        kind: Any = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from names(kind)
            continue
        yield (prefix + name).upper()
        if isinstance(field.validation_alias, AliasChoices):
            yield from (str(choice).upper() for choice in field.validation_alias.choices)


@pytest.mark.needs("prefect")
def test_every_setting_that_keeps_prefect_quiet_is_one_that_prefect_knows() -> None:
    from prefect.settings import Settings  # noqa: PLC0415 - one second for this test alone

    known = set(names(Settings))
    wanted = {name for name in QUIET | SERVER_ONLY if name.startswith("PREFECT_")}
    assert wanted - known == set()


def test_a_users_prefect_settings_do_not_reach_an_incident(tmp_path: Path) -> None:
    users = {"PREFECT_PROFILE": "cloud", "PREFECT_TASKS_DEFAULT_RETRIES": "3", "PATH": "/bin"}
    made = quiet_environment(Rooms(tmp_path), users)
    assert "PREFECT_PROFILE" not in made
    assert made["PREFECT_TASKS_DEFAULT_RETRIES"] == "0"
    assert made["PREFECT_HOME"] == str(tmp_path / "prefect")
    assert made["PATH"] == "/bin"


def test_a_named_api_is_reached_as_the_user_says(tmp_path: Path) -> None:
    users = {
        "PREFECT_API_URL": "https://prefect.example/api",
        "PREFECT_API_AUTH_STRING": "a:b",
        "PREFECT_API_SSL_CERT_FILE": "/ca.pem",
        "PREFECT_API_DATABASE_CONNECTION_URL": "postgresql://elsewhere",
        "PREFECT_API_REQUEST_TIMEOUT": "600",
    }
    made = quiet_environment(Rooms(tmp_path), users)
    assert made["PREFECT_API_URL"] == "https://prefect.example/api"
    assert made["PREFECT_API_AUTH_STRING"] == "a:b"
    assert made["PREFECT_API_SSL_CERT_FILE"] == "/ca.pem"
    assert "PREFECT_API_DATABASE_CONNECTION_URL" not in made
    assert made["PREFECT_API_REQUEST_TIMEOUT"] == QUIET["PREFECT_API_REQUEST_TIMEOUT"]


def test_our_server_does_not_take_over_the_address_of_another(tmp_path: Path) -> None:
    rooms = Rooms(tmp_path / "home")
    rooms.make()
    made = server_environment(rooms, {"PREFECT_API_URL": "https://prefect.example/api"}, tmp_path)
    assert "PREFECT_API_URL" not in made
    assert str(rooms.database) in made["PREFECT_API_DATABASE_CONNECTION_URL"]


def test_the_password_is_made_once_and_readable_by_nobody_else(tmp_path: Path) -> None:
    rooms = Rooms(tmp_path / "home")
    rooms.make()
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(password(rooms))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert len(found[0]) > 40
    assert stat.S_IMODE(rooms.password.stat().st_mode) == 0o600
    assert stat.S_IMODE(rooms.home.stat().st_mode) == 0o700


def test_a_home_that_is_a_file_is_a_settings_error_with_a_next_step(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(SettingsError, match="--home"):
        Rooms(tmp_path / "home").make()
