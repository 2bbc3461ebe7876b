"""The rules on the record: each content of a rules file that somebody decided by, once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from builders.runs import ALEX, RESPONDER, Bench

from mimrun.app.home import Home
from mimrun.app.rules import compare_versions, list_versions, note_rules
from mimrun.errors import InputError
from mimrun.log.kinds import Kind, RulesRecorded

ACTOR = RESPONDER.actor()


def recorded(home: Home) -> list[tuple[str, int]]:
    return [
        (entry.body.file, entry.body.size)
        for entry in home.store.entries(kinds={Kind.RULES_RECORDED})
        if isinstance(entry.body, RulesRecorded)
    ]


def write(file: Path, text: str, at: int = 1) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    os.utime(file, ns=(at, at))


def test_what_is_there_is_recorded_once_with_its_content(bench: Bench) -> None:
    write(bench.settings.policy, "signed: true\n")
    write(bench.settings.calendars / "a.yaml", "name: a\n")
    with bench.home() as home:
        before = home.store.head().size
        assert note_rules(home, ACTOR) == ["people", "policy", "calendars/a.yaml"]
        assert note_rules(home, ACTOR) == []
        assert note_rules(home, ALEX.actor()) == []
        assert home.store.head().size == before + 3
        entry = next(e for e in home.store.entries(kinds={Kind.RULES_RECORDED}) if e.body.file == "policy")  # type: ignore[union-attr]
        assert home.store.blob(entry, "content") == b"signed: true\n"
        assert entry.actor.id == "responder"


def test_a_change_is_recorded_and_a_touched_file_is_not(bench: Bench) -> None:
    with bench.home() as home:
        note_rules(home, ACTOR)
        text = bench.settings.people.read_text()
        write(bench.settings.people, text, at=5)
        assert note_rules(home, ACTOR) == []
        write(bench.settings.people, text + "  carol: {roles: [responder]}\n", at=6)
        assert note_rules(home, ACTOR) == ["people"]


def test_a_change_by_a_process_that_has_forgotten_is_found_by_the_log(bench: Bench) -> None:
    with bench.home() as home:
        note_rules(home, ACTOR)
    from mimrun.app import rules  # noqa: PLC0415 - what this process remembers is what is tested

    rules._digests.clear()
    with bench.home() as home:
        assert note_rules(home, ACTOR) == []
        write(bench.settings.policy, "signed: true\n")
        assert note_rules(home, ACTOR) == ["policy"]


def test_a_file_that_is_taken_away_is_recorded_as_gone(bench: Bench) -> None:
    calendar = bench.settings.calendars / "a.yaml"
    write(bench.settings.policy, "signed: true\n")
    write(calendar, "name: a\n")
    with bench.home() as home:
        note_rules(home, ACTOR)
        calendar.unlink()
        bench.settings.policy.unlink()
        assert note_rules(home, ACTOR) == ["policy", "calendars/a.yaml"]
        assert note_rules(home, ACTOR) == []
        assert recorded(home)[-2:] == [("policy", 0), ("calendars/a.yaml", 0)]
        assert list_versions(home, "policy")[-1].gone
        write(calendar, "name: a\n", at=9)
        assert note_rules(home, ACTOR) == ["calendars/a.yaml"]


def test_what_was_never_there_is_not_recorded(bench: Bench) -> None:
    with bench.home() as home:
        note_rules(home, ACTOR)
        assert [file for file, _ in recorded(home)] == ["people"]


def test_versions_are_numbered_and_compared(bench: Bench) -> None:
    with bench.home() as home:
        for number, text in enumerate(("expires: 10m\n", "expires: 20m\n", "expires: 20m\nsigned: true\n")):
            write(bench.settings.policy, text, at=number + 1)
            note_rules(home, ACTOR)
        found = list_versions(home, "policy")
        assert [(v.number, v.by) for v in found] == [(1, "responder"), (2, "responder"), (3, "responder")]
        assert {v.file for v in list_versions(home)} == {"people", "policy"}
        lines = compare_versions(home, "policy")
        assert lines[0].startswith("--- policy 2 (")
        assert [line for line in lines[2:] if line[0] in "+-"] == ["+signed: true"]
        assert [line for line in compare_versions(home, "policy", 1, 3)[2:] if line[0] in "+-"] == [
            "-expires: 10m",
            "+expires: 20m",
            "+signed: true",
        ]
        assert "+expires: 10m" in compare_versions(home, "policy", 0, 1)
        with pytest.raises(InputError, match="policy has no version 7; it has 1 to 3"):
            compare_versions(home, "policy", 7)
        with pytest.raises(
            InputError, match="nothing of 'polcy' is on record; on record are: people, policy"
        ):
            compare_versions(home, "polcy")
