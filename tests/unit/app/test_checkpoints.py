"""The place of a log, as what was seen there is kept by: the same for the same log, and another for every other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mimrun.app.checkpoints import place_of
from mimrun.settings import Settings

FRONT = "postgresql://mim@db.example.org/incidents"


def place(store: str) -> str:
    return place_of(replace(Settings(home=Path("/nowhere")), store=store))


@pytest.mark.parametrize(
    "query", ["", "?sslmode=verify-full", "?schema=mimrun", "?sslrootcert=/ca&schema=mimrun"]
)
def test_what_says_how_to_get_there_makes_no_other_place(query: str) -> None:
    assert place(FRONT + query) == FRONT


def test_a_schema_a_port_and_a_host_among_the_parameters_are_places_of_their_own() -> None:
    queries = ["", "?schema=prod", "?schema=test", "?port=5433", "?host=/run/a", "?host=/run/b", "?dbname=x"]
    assert len({place(FRONT + query) for query in queries}) == len(queries)
    assert place(FRONT + "?schema=prod&sslmode=require") == place(FRONT + "?sslmode=disable&schema=prod")
    assert place(FRONT + "?port=1&schema=prod") == place(FRONT + "?schema=prod&port=1")


def test_a_file_is_its_path_wherever_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert place_of(Settings(home=Path())) == str(tmp_path / "log.db")
