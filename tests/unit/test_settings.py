"""mimrun's own settings: who wins, and what is refused."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from mimrun.errors import SettingsError
from mimrun.settings import ENGINE_PATIENCE_MS, load_settings

EVERYTHING = {
    "HOME": "/home/alex",
    "XDG_STATE_HOME": "/state",
    "MIMRUN_HOME": "/var/lib/mimrun",
    "MIMRUN_INVENTORY": "/etc/mimrun/prod.ini",
}


@pytest.mark.parametrize(
    ("environ", "given", "home"),
    [
        (EVERYTHING, Path("/given"), "/given"),
        (EVERYTHING, None, "/var/lib/mimrun"),
        (EVERYTHING | {"MIMRUN_HOME": ""}, None, "/state/mimrun"),
        ({"HOME": "/home/alex"}, None, "/home/alex/.local/state/mimrun"),
        ({"HOME": "/home/alex", "XDG_STATE_HOME": "relative"}, None, "/home/alex/.local/state/mimrun"),
        ({"HOME": "/home/alex", "MIMRUN_HOME": "~/incidents"}, None, "/home/alex/incidents"),
    ],
)
def test_home_is_the_option_then_the_environment_then_the_usual_place(
    environ: dict[str, str], given: Path | None, home: str
) -> None:
    assert load_settings(environ, home=given).home == Path(home)


def test_a_relative_home_is_taken_from_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_settings({}, home=Path("here")).home == tmp_path / "here"


def test_without_any_home_the_person_is_told_what_to_set() -> None:
    with pytest.raises(SettingsError, match=r"give --home or set MIMRUN_HOME"):
        load_settings({})


def test_inventory_given_on_the_command_line_wins() -> None:
    assert load_settings(EVERYTHING).inventory == Path("/etc/mimrun/prod.ini")
    assert load_settings(EVERYTHING, inventory=Path("lab.ini")).inventory == Path("lab.ini")
    assert load_settings({"HOME": "/home/alex"}).inventory is None


def test_everything_mimrun_keeps_lies_in_its_home() -> None:
    settings = load_settings({}, home=Path("/m"))
    assert settings.log == Path("/m/log.db")
    assert settings.people == Path("/m/people.yaml")
    assert settings.locks == Path("/m/lock")
    assert settings.prefect == Path("/m/prefect")
    assert settings.engine == Path("/m/engine.sock")
    assert settings.program_log == Path("/m/program.log")


def test_patience_is_given_in_seconds() -> None:
    assert load_settings(EVERYTHING).engine_patience_ms == ENGINE_PATIENCE_MS
    assert load_settings(EVERYTHING | {"MIMRUN_ENGINE_PATIENCE": "0"}).engine_patience_ms == 0
    assert load_settings(EVERYTHING | {"MIMRUN_ENGINE_PATIENCE": "12"}).engine_patience_ms == 12_000


def test_log_level_is_a_word_in_either_case() -> None:
    assert load_settings(EVERYTHING).log_level == "info"
    assert load_settings(EVERYTHING | {"MIMRUN_LOG_LEVEL": "DEBUG"}).log_level == "debug"


def test_origin_names_the_log() -> None:
    assert load_settings(EVERYTHING).origin == "mimrun"
    assert (
        load_settings(EVERYTHING | {"MIMRUN_ORIGIN": "example.org/incidents"}).origin
        == "example.org/incidents"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MIMRUN_ENGINE_PATIENCE", "5s"),
        ("MIMRUN_ENGINE_PATIENCE", "-1"),
        ("MIMRUN_ENGINE_PATIENCE", "1000"),
        ("MIMRUN_ENGINE_PATIENCE", "٣"),
        ("MIMRUN_ORIGIN", "two words"),
        ("MIMRUN_ORIGIN", "log+key"),
        ("MIMRUN_ORIGIN", "x" * 101),
        ("MIMRUN_ORIGIN", "line\nbreak"),
        ("MIMRUN_INVENTORY", "a\0b"),
        ("MIMRUN_LOG_LEVEL", "loud"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        load_settings(EVERYTHING | {name: value})


def test_settings_cannot_be_changed_on_the_way() -> None:
    settings = load_settings(EVERYTHING)
    with pytest.raises(FrozenInstanceError):
        settings.home = Path("/elsewhere")
