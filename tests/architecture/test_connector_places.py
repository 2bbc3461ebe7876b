"""A connector has three places: its module with an entry point, its test, and its reference page."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from mimrun.catalog import installed_catalog
from mimrun.connector import Action, AnyConnector

ROOT = Path(__file__).resolve().parents[2]
GROUPS: dict[str, dict[str, str]] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"][
    "entry-points"
]
POINTS = GROUPS["mimrun.connectors"]
SYSTEMS = GROUPS.get("mimrun.change_systems", {})
CHANGE = ROOT / "connectors" / "change"
"""The adapters of change systems are no connectors: they act on no target, and stand on a port of their own."""
SHARED = {"web", "fields"}
"""What those adapters have in common."""


def modules(folder: Path) -> set[str]:
    """Name the connectors in a folder: modules, and packages of modules."""
    files = {p.stem for p in folder.glob("*.py") if p.stem != "__init__"}
    return files | {p.parent.name for p in folder.glob("*/__init__.py")}


def undescribed(action: type[Action]) -> list[str]:
    """Name what of an action has no words for the reference page."""
    fields = [name for name, field in action.model_fields.items() if not field.description]
    return fields + ([] if action.__dict__.get("__doc__") else ["docstring"])


def test_every_module_is_an_entry_point_and_every_entry_point_a_module() -> None:
    assert modules(ROOT / "connectors") - {CHANGE.name} == set(POINTS)


def test_every_adapter_of_a_change_system_is_an_entry_point_and_has_a_test() -> None:
    assert {point.split(":")[0].rsplit(".", 1)[-1] for point in SYSTEMS.values()} == modules(CHANGE) - SHARED
    for point in SYSTEMS.values():
        module = point.split(":")[0].rsplit(".", 1)[-1]
        assert any((ROOT / "tests" / "connectors" / "change").glob(f"test_{module}*.py"))


@pytest.mark.parametrize("name", sorted(POINTS))
def test_every_connector_has_a_test_and_a_reference_page(name: str) -> None:
    tests = ROOT / "tests" / "connectors"
    assert (tests / f"test_{name}.py").is_file() or any((tests / name).glob("test_*.py"))
    assert (ROOT / "docs" / "reference" / "connectors" / f"{name}.md").is_file()


@pytest.mark.parametrize("name", sorted(POINTS))
def test_every_connector_is_called_what_its_entry_point_says(name: str) -> None:
    connector: type[AnyConnector] = installed_catalog().connector(name)
    assert connector.name == name
    assert connector.actions
    assert len({action.verb for action in connector.actions}) == len(connector.actions)
    assert not {action.verb: words for action in connector.actions if (words := undescribed(action))}


def test_an_action_without_words_is_found(tmp_path: Path) -> None:
    class Silent(Action):
        verb = "hush"
        volume: int = 0

    assert undescribed(Silent) == ["volume", "docstring"]
    (tmp_path / "one.py").touch()
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "__init__.py").touch()
    (tmp_path / "__init__.py").touch()
    assert modules(tmp_path) == {"one", "two"}
