"""The catalog: what is installed, imported when it is needed, and a word of help where a name is wrong."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint

import pytest

from mimrun.catalog import GROUP, Catalog, installed_catalog
from mimrun.connector import Action, Call, Connector, Effect, Ok, Outcome, Settings
from mimrun.errors import InputError


class Promote(Action):
    """Promote."""

    verb = "promote"
    effect = Effect.PROBE


class Rewind(Action):
    """Rewind."""

    verb = "rewind"
    effect = Effect.ONCE


class Database(Connector[Settings, Action]):
    """A database."""

    name = "database"
    settings_type = Settings
    actions = (Promote, Rewind)

    def open(self) -> None:
        pass

    def close(self) -> None:
        pass

    def _perform(self, action: Action, call: Call) -> Outcome:
        return Ok(changed=False)


CATALOG = Catalog({"database": Database})


def point(name: str, value: str) -> EntryPoint:
    return EntryPoint(name, value, GROUP)


def test_an_action_is_found_by_its_full_name() -> None:
    assert CATALOG.action("database.promote") is Promote
    assert CATALOG.connector("database") is Database
    assert CATALOG.names == ("database",)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("database.promotee", "no action 'database.promotee'; did you mean 'database.promote'?"),
        ("database.zzz", "no action 'database.zzz'; there are: database.promote, database.rewind"),
        ("database", "no action 'database'; there are: database.promote, database.rewind"),
        ("databse.promote", "no connector 'databse'; did you mean 'database'?"),
        ("zzz.promote", "no connector 'zzz'; there are: database"),
        ("", "no connector ''; there are: database"),
    ],
)
def test_a_wrong_name_is_answered_with_the_right_one(name: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        CATALOG.action(name)
    assert str(caught.value) == message


def test_a_connector_is_imported_when_it_is_first_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    catalog = Catalog({"database": Database}, {"late": point("late", "colorsys:rgb_to_hsv")})
    assert catalog.names == ("database", "late")
    catalog.action("database.promote")
    assert "colorsys" not in sys.modules
    assert catalog.connector("late") is sys.modules["colorsys"].rgb_to_hsv
    assert catalog.connector("late") is catalog.connector("late")


@pytest.mark.parametrize("value", ["not_a_module_of_this_name:X", "colorsys:NotThere"])
def test_a_connector_that_cannot_be_imported_is_named(value: str) -> None:
    with pytest.raises(InputError, match=rf"connector 'broken' is installed but {value} cannot be imported"):
        Catalog(installed={"broken": point("broken", value)}).action("broken.verb")


def test_the_installed_catalog_is_what_the_entry_points_name() -> None:
    assert {"http", "local", "postgres", "ssh", "wait"} <= set(installed_catalog().names)
