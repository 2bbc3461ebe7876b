from __future__ import annotations

import os
from pathlib import Path

import pytest

from mimrun.app.home import lay_home, open_home, people_reader
from mimrun.app.identity import identify
from mimrun.errors import RefusedError, SettingsError
from mimrun.settings import Settings

PEOPLE = "people:\n  alex: {roles: [change_manager]}\n"


def test_a_home_is_laid_once_and_left_alone_then(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "deep" / "home")
    made = lay_home(settings)
    assert [line.split()[0] for line in made] == ["home", "people", "incident", "key", "key"]
    assert settings.home.stat().st_mode & 0o777 == 0o700
    settings.people.write_text(PEOPLE)
    assert lay_home(settings) == []
    assert settings.people.read_text() == PEOPLE


@pytest.mark.parametrize(
    "account", ["root", "Anna", "j.doe", "DOM\\user", "0day", "ÄÖ", 'a"b', "a'b", "uid-1000", "x" * 80]
)
def test_whoever_begins_is_known_under_any_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, account: str
) -> None:
    monkeypatch.setattr("mimrun.app.home.operating_system_user", lambda: account)
    monkeypatch.setattr("mimrun.app.identity.operating_system_user", lambda: account)
    settings = Settings(home=tmp_path / "home")
    lay_home(settings)
    with open_home(settings) as home:
        identity = identify(home.people(), None)
    assert identity.person.roles == {"responder"}
    assert identity.person.name == account


def test_a_place_where_no_home_can_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="choose another with --home"):
        lay_home(Settings(home=tmp_path / "file" / "home"))


def test_a_home_that_was_never_laid_is_not_opened(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="mimrun init"), open_home(Settings(home=tmp_path)):
        pass


def test_people_are_read_again_when_their_file_has_changed(tmp_path: Path) -> None:
    file = tmp_path / "people.yaml"
    read = people_reader(file)
    assert not read().knows("alex")
    file.write_text(PEOPLE)
    first = read()
    assert first.person("alex").roles == {"change_manager"}
    assert read() is first
    file.write_text(PEOPLE.replace("change_manager", "responder_now"))
    assert read().person("alex").roles == {"responder_now"}
    file.unlink()
    assert not read().knows("alex")


def test_a_people_file_that_broke_meanwhile_refuses_instead_of_remembering(tmp_path: Path) -> None:
    file = tmp_path / "people.yaml"
    file.write_text(PEOPLE)
    read = people_reader(file)
    read()
    file.write_text("people: [")
    with pytest.raises(RefusedError, match="nobody's vote can be judged"):
        read()
    file.write_text(PEOPLE)
    os.utime(file, ns=(1, 1))
    assert read().knows("alex")
