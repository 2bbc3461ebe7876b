"""changes.yaml: what it may say, and that everything wrong in it is named with its place."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest
from builders.paper_changes import Paper

from mimrun.app.change.file import WRITE_BACK, ChangesFile, load_changes, parse_changes
from mimrun.change_system import ChangeState
from mimrun.errors import SettingsError
from mimrun.runbook.document import read_document

GOOD = """\
new_records: desk
conflicts_within: 30m
run_url: "https://mimrun.example.org/runs/{run}"
write_back: [note, close]
systems:
  desk:
    adapter: paper
    url: "paper:"
    folder: /var/paper
    stale_after: 10s
    state_map: {waiting: authorize}
  other: {adapter: paper, url: "paper:", folder: /x, write_back: []}
"""


def parsed(text: str) -> ChangesFile:
    return parse_changes(read_document(text, "changes.yaml", error=SettingsError), {"paper": Paper})


def test_without_a_file_the_register_is_the_only_system(tmp_path: Path) -> None:
    file = load_changes(tmp_path / "changes.yaml", {})
    assert (list(file.systems), file.new_records) == (["register"], "register")
    assert file.systems["register"].write_back == WRITE_BACK
    assert "close" not in WRITE_BACK


def test_every_key_is_read() -> None:
    file = parsed(GOOD)
    desk = file.system("desk")
    assert (file.new_records, file.conflicts_within) == ("desk", timedelta(minutes=30))
    assert desk.stale_after == timedelta(seconds=10)
    assert desk.settings is not None
    assert desk.settings.state_map == {"waiting": ChangeState.AUTHORIZE}
    assert desk.write_back == ("note", "close")
    assert file.system("other").write_back == ()
    assert file.system("register").write_back == ("note", "close")


@pytest.mark.parametrize(
    ("old", "new", "place", "message"),
    [
        ("new_records: desk", "new_records: dsk", "1:14", "there is no system 'dsk'"),
        ("conflicts_within: 30m", "conflicts_within: soon", "2:19", "is not a duration"),
        ("conflicts_within: 30m", "conflicts_within: 1s", "2:19", "give 60s to"),
        ("runs/{run}", "runs", "3:10", "an address with {run}"),
        ("[note, close]", "[note, approve]", "4:13", "a list of what is written"),
        ("new_records: desk", "new_record: desk", "1:1", "unknown key 'new_record'"),
        ("adapter: paper\n    url", "adapter: papyrus\n    url", "7:14", "there is no adapter 'papyrus'"),
        ("adapter: paper\n    url", "addapter: paper\n    url", "7", "the key 'adapter' is missing"),
        ("    folder: /var/paper\n", "", "7:5", "folder"),
        ("stale_after: 10s", "stale_after: 2h", "10:18", "give 1s to 3600s"),
        ("{waiting: authorize}", "{waiting: authorise}", "11:26", "authorise"),
        ("  other:", "  register:", "12:3", "mimrun's own register"),
        ("  other:", "  Other:", "12:3", "must be lower case"),
        ('url: "paper:"\n    folder', "uurl: x\n    folder", "8", "uurl"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(old: str, new: str, place: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(SettingsError) as caught:
        parsed(GOOD.replace(old, new, 1))
    said = [str(problem) for problem in caught.value.problems]
    assert any(one.startswith(f"changes.yaml:{place}") and message in one for one in said), said


@pytest.mark.parametrize(
    ("misspelt", "meant"),
    [("stale_aftr", "stale_after"), ("write_bak", "write_back"), ("state_mpa", "state_map")],
)
def test_a_misspelt_key_is_compared_with_all_that_may_stand_there(misspelt: str, meant: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parsed(GOOD.replace("    stale_after: 10s", f"    {misspelt}: 10s", 1))
    said = [str(problem) for problem in caught.value.problems]
    assert any(f"unknown key '{misspelt}'" in one and f"did you mean {meant!r}" in one for one in said), said


@pytest.mark.parametrize("text", ["", "[]", "systems: []", "systems: {desk: paper}"])
def test_a_file_of_another_shape_is_refused(text: str) -> None:
    with pytest.raises(SettingsError):
        parsed(text)


def test_a_system_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(SettingsError, match=re.escape("did you mean 'desk'")):
        parsed(GOOD).system("dsk")
