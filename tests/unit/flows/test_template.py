from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.environment import Rooms
from flows.template import cache_folder, is_migrated, lay_template, prefect_version

pytestmark = pytest.mark.needs("prefect")


def test_a_home_gets_a_migrated_database_once(cache: Path, tmp_path: Path) -> None:
    rooms = Rooms(tmp_path / "home")
    assert lay_template(rooms.home, cache / "mimrun")
    assert is_migrated(rooms)
    connection = sqlite3.connect(rooms.database)
    try:
        tables = {
            name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")
        }
    finally:
        connection.close()
    assert {"flow_run", "task_run", "alembic_version"} <= tables
    assert not lay_template(rooms.home, cache / "mimrun"), "there is one already"


def test_the_template_is_one_file_without_a_write_ahead_log(cache: Path, tmp_path: Path) -> None:
    lay_template(tmp_path / "home", cache / "mimrun")
    kept = {path.name for path in (cache / "mimrun").glob("prefect-*.*")}
    assert f"prefect-{prefect_version()}.db" in kept
    assert not [name for name in kept if name.endswith(("-wal", "-shm"))]


def test_a_database_of_another_prefect_version_is_migrated_again(cache: Path, tmp_path: Path) -> None:
    rooms = Rooms(tmp_path / "home")
    lay_template(rooms.home, cache / "mimrun")
    rooms.schema.write_text("3.0.0\n")
    assert not is_migrated(rooms)


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({"XDG_CACHE_HOME": "/var/tmp/c"}, "/var/tmp/c/mimrun"),
        ({"XDG_CACHE_HOME": "relative"}, None),
        ({}, None),
    ],
)
def test_the_cache_is_where_the_desktop_keeps_caches(environ: dict[str, str], name: str | None) -> None:
    assert cache_folder(environ) == (Path(name) if name else Path.home() / ".cache" / "mimrun")


def test_importing_the_launcher_imports_nothing_heavy(run_python: Callable[[str], str]) -> None:
    heavy = "prefect fastapi sqlalchemy httpx pydantic subprocess importlib.metadata"
    code = f"import sys, flows.launcher; print([n for n in {heavy.split()} if n in sys.modules])"
    assert run_python(code) == "[]"
