"""mimrun's own register of changes over both stores: numbers without gaps, edits without loss, whoever is quicker."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from builders.log_places import Place

from mimrun.app.change.records import find_change, list_changes
from mimrun.app.change.register import Opening, decide_change, edit_change, open_change, submit_change
from mimrun.app.home import PROJECTORS, Home
from mimrun.app.identity import Identity
from mimrun.catalog import Catalog
from mimrun.change_system import ChangeState
from mimrun.errors import RefusedError
from mimrun.gate.people import Person
from mimrun.gate.register import Content
from mimrun.settings import Settings

TEXT = Content(
    type="emergency",
    title="Promote",
    risk="high",
    justification="j",
    implementation="i",
    targets=("db1",),
    window_start="2026-01-01T00:00:00.000000Z",
    window_end="2027-01-01T00:00:00.000000Z",
)


def who(name: str) -> Identity:
    return Identity(Person(name, name), "os-user")


@pytest.fixture
def home(place: Place, tmp_path: Path) -> Iterator[Home]:
    people = "".join(f"  p{n}: {{roles: [change_manager]}}\n" for n in range(20))
    (tmp_path / "people.yaml").write_text(f"people:\n{people}")
    with place.open(projectors=PROJECTORS) as store:
        yield Home(Settings(home=tmp_path), store, Catalog({}))


def test_many_who_open_changes_at_once_get_a_number_each(home: Home) -> None:
    with ThreadPoolExecutor(8) as pool:
        refs = list(pool.map(lambda n: open_change(home, who(f"p{n % 20}").actor(), TEXT), range(24)))
    assert sorted(refs, key=lambda ref: int(ref[4:])) == [f"CHG-{n}" for n in range(1, 25)]
    assert home.store.rebuild()


def test_one_key_makes_one_record_however_many_ask(home: Home) -> None:
    how = Opening(key="run-1 gate 3")
    with ThreadPoolExecutor(8) as pool:
        refs = set(pool.map(lambda _: open_change(home, who("p1").actor(), TEXT, how), range(16)))
    assert len(refs) == 1
    assert len(list_changes(home)) == 1


def test_an_approval_and_an_edit_at_once_never_leave_the_edited_text_approved(home: Home) -> None:
    for number in range(12):
        ref = open_change(home, who("p0").actor(), TEXT)
        submit_change(home, ref, who("p0"))
        other = TEXT.model_copy(update={"implementation": f"something else {number}"})
        with ThreadPoolExecutor(2) as pool:
            tasks = [
                pool.submit(decide_change, home, ref, who("p1"), "approved", despite=True),
                pool.submit(edit_change, home, ref, who("p2"), other),
            ]
            for task in tasks:
                error = task.exception()
                assert error is None or isinstance(error, RefusedError), error
        view = find_change(home, ref)
        approved = any(one.decision == "approved" for one in view.was.said)
        edited = view.text().implementation != TEXT.implementation
        assert not (approved and edited)
        assert (view.was.state is ChangeState.SCHEDULED) == approved


def test_many_approvals_by_one_person_count_once(home: Home) -> None:
    ref = open_change(home, who("p0").actor(), TEXT)
    submit_change(home, ref, who("p0"))

    def approve(_: int) -> None:
        with suppress(RefusedError):
            decide_change(home, ref, who("p1"), "approved")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(approve, range(16)))
    was = find_change(home, ref).was
    assert [one.person for one in was.said] == ["p1"]
    assert was.state is ChangeState.SCHEDULED
