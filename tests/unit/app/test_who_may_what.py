"""Every person, every verb, every object: who may, by the one table of `tests/cases/who-may-what.yaml`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from builders.who_may import TRIES, WHO, again

from mimrun.errors import MimrunError
from mimrun.gate.role import AUDITOR, ROLES

TABLE: dict[str, dict[str, list[str]]] = yaml.safe_load(
    (Path(__file__).parents[2] / "cases" / "who-may-what.yaml").read_text()
)
KNOWN = {role for role in ROLES if role != AUDITOR}
ROWS = [(verb, thing) for verb, things in TABLE.items() for thing in things]


def may(verb: str, thing: str) -> set[str]:
    """Give everybody who may, by the table."""
    found: set[str] = set()
    for word in TABLE[verb][thing]:
        found |= set(WHO) if word == "everybody" else KNOWN if word == "known" else {word}
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    """Homes that were set up already, by verb and object."""
    return {}


@pytest.mark.parametrize(("verb", "thing"), ROWS, ids=[f"{verb}: {thing}" for verb, thing in ROWS])
def test_only_those_of_the_table_may(verb: str, thing: str, tmp_path: Path) -> None:
    """A cell for each person: what they try, in a copy of the same home each, works or is refused without a trace."""
    set_up, attempt = TRIES[verb, thing]
    original = tmp_path / "original"
    original.mkdir()
    set_up(original)
    did: set[str] = set()
    for who, identity in WHO.items():
        folder = tmp_path / who
        shutil.copytree(original, folder, symlinks=True)
        bench = again(folder)
        with bench.home() as home:
            before = home.store.head().size
            try:
                attempt(home, identity)
            except MimrunError:
                assert home.store.head().size == before, f"{who} was refused, and left something in the log"
            else:
                did.add(who)
        shutil.rmtree(folder)
    assert did == may(verb, thing)


def test_the_table_has_every_verb_and_object_that_is_tried_and_no_other_person() -> None:
    named = {word for verb, thing in ROWS for word in TABLE[verb][thing]}
    assert named <= {*WHO, "everybody", "known"}
    assert {(verb, thing) for verb, thing in ROWS} <= set(TRIES)
    assert {verb for verb, _ in TRIES} == set(TABLE)
