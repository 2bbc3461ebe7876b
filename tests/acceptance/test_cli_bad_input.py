"""Bad input: all of it is said at once, with its place; nothing is done, and nothing is recorded."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders.commands import Desk, Said, mark


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def refused(desk: Desk, *words: str) -> Said:
    """Try to run; the log must be as it was, and the same is said in JSON."""
    before = desk.size()
    said = desk("run", "--direct", "--yes", *words)
    assert said.code == 2, said.out + said.err
    assert desk.size() == before
    assert desk.marks() == []
    as_json = desk("run", "--direct", "--yes", "--json", *words)
    assert as_json.code == as_json.json["exit_code"] == 2
    planned = desk("plan", *words)
    assert planned.code == 2
    return said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["plan", "--json", "--inventry", "x"], "--inventry"),
        (["plan", "--json"], "Missing argument"),
        (["resolve", "latest", "--json"], "Missing argument"),
        (["aprove", "--json"], "did you mean 'approve'"),
        (["runs", "--json", "--limit", "many"], "Invalid value for '--limit'"),
        (["locks", "--json", "surplus"], "surplus"),
    ],
)
def test_words_that_make_no_command_are_refused_as_json_where_json_was_asked_for(
    desk: Desk, words: list[str], said: str
) -> None:
    refused = desk(*words)
    assert refused.code == 2, refused.err
    assert (refused.json["exit_code"], refused.json["kind"], refused.json["problems"]) == (
        2,
        "InputError",
        [],
    )
    assert said in refused.json["error"]
    assert refused.err == ""
    plain = desk(*(word for word in words if word != "--json"))
    assert (plain.code, plain.out) == (2, "")
    assert said in plain.err


def test_broken_yaml_is_named_by_line_and_column(desk: Desk) -> None:
    path = desk.write("broken.yaml", "schema: mimrun/1\nname: [\n")
    said = refused(desk, str(path))
    assert "broken.yaml:2:8: " in said.err


@pytest.mark.parametrize(
    "steps",
    [
        # What a runbook may look like at all, and what its words mean, are two readings.
        {
            "  - {name: One, local.command: {argv: [id]}, retires: 3}": "did you mean 'retries'",
            "  - {name: Two, local.command: {argv: [id]}, retries: many}": "must be an integer",
            "  - {local.command: {argv: [id]}}": "name",
        },
        {
            "  - {name: One, local.comand: {argv: [id]}}": "did you mean 'local.command'",
            "  - {name: Two, local.command: {argv: id}}": "argv",
            "  - {name: Three, local.copy: {dest: relative, content: x}}": "dest",
        },
    ],
    ids=["form", "meaning"],
)
def test_every_mistake_of_a_runbook_is_named_at_once(desk: Desk, steps: dict[str, str]) -> None:
    book = desk.runbook("\n".join(steps) + "\n")
    said = refused(desk, book)
    for line, words in enumerate(steps.values(), start=9):
        assert f"{Path(book).name}:{line}:" in said.err, said.err
        assert words in said.err
    assert "3 problems; nothing was done" in said.err


def test_an_undefined_variable_is_named_where_it_stands(desk: Desk) -> None:
    said = refused(desk, desk.runbook("  - {name: One, local.command: {argv: ['{{ nothing }}']}}\n"))
    assert "test@1.0.0.yaml:9:" in said.err
    assert "nothing" in said.err


def test_every_wrong_input_is_named_at_once(desk: Desk) -> None:
    inputs = "inputs:\n  count: {type: integer, maximum: 3}\n  word: {pattern: '[a-z]+'}\n  must: {}\n"
    book = desk.runbook(mark("x"), more=inputs)
    said = refused(desk, book, "count=9", "word=NO")
    for words in ("count", "at most 3", "word", "[a-z]+", "must"):
        assert words in said.err, said.err
    assert "3 problems" in said.err
    assert refused(desk, book, "conut=1").err.count("did you mean") == 1


def test_a_host_or_pattern_that_means_nothing_is_refused(desk: Desk) -> None:
    inventory = str(desk.write("hosts.ini", "[web]\nweb1\n[empty]\n"))
    for hosts in ("wbe", "web:&empty", "empty"):
        book = desk.runbook(mark("x"), name="hosted", more=f'hosts: "{hosts}"\n')
        said = refused(desk, book, "-i", inventory)
        assert "hosted@1.0.0.yaml:8:" in said.err, said.err
    assert "no hosts" in said.err or "empty" in said.err


def test_an_inventory_that_is_not_there_or_broken_is_refused(desk: Desk) -> None:
    book = desk.runbook(mark("x"))
    assert "nowhere.ini is not there" in refused(desk, book, "-i", "nowhere.ini").err
    broken = str(desk.write("broken.ini", "[web\nweb1\n"))
    assert "broken.ini:1" in refused(desk, book, "-i", broken).err


def test_a_version_that_ran_before_keeps_its_content(desk: Desk) -> None:
    assert desk.run(desk.runbook(mark("x"))).code == 0
    (desk.folder / "marks").unlink()
    said = refused(desk, desk.runbook(mark("y")))
    assert "test@1.0.0" in said.err
    assert "other content" in said.err
    assert desk.run(desk.runbook(mark("y"), version="1.0.1")).code == 0


def test_a_person_nobody_knows_is_refused(desk: Desk) -> None:
    said = desk("run", "--direct", "--yes", desk.runbook(mark("x")), "--as", "alxe")
    assert said.code == 2
    assert "did you mean 'alex'" in said.err
    assert desk.marks() == []


def test_a_broken_people_file_is_named_by_its_place(desk: Desk) -> None:
    (desk.home / "people.yaml").write_text("people:\n  alex: {rolles: [x]}\n")
    said = refused_by_people(desk)
    assert "people.yaml:2:" in said.err
    assert "roles" in said.err


def refused_by_people(desk: Desk) -> Said:
    said = desk("run", "--direct", "--yes", desk.runbook(mark("x")))
    assert said.code == 2
    assert desk.marks() == []
    return said


def test_a_word_that_is_not_an_input_is_refused(desk: Desk) -> None:
    assert "name=value" in refused(desk, desk.runbook(mark("x")), "word").err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("approve", "latest", "--as", "alex", "--digest", "short"), "too short"),
        (("approve", "latest", "--as", "alex"), "nobody is there to ask"),
        (("reject", "latest", "--as", "alex"), "a rejection needs a reason"),
        (("resolve", "latest", "1", "--applied"), "say how you know"),
        (("resolve", "latest", "1", "--applied", "--reason", "saw it"), "is not in doubt"),
        (("resolve", "latest", "1", "--applied", "--skip", "--reason", "x"), "exactly one of"),
        (("status", "run-0000"), "the last ones are"),
        (("log", "export", "INC-19990101-XXXX"), "INC-19990101-XXXX"),
        (("log", "show", "--incident", "INC-19990101-XXXX"), "has no incident"),
        (("cancel", "latest", "--reason", "\udcff"), None),
    ],
)
def test_a_decision_that_cannot_be_taken_changes_nothing(
    desk: Desk, words: tuple[str, ...], says: str | None
) -> None:
    gate = "  - {name: Agree, gate: {approvals: [{role: change_manager}]}}\n"
    assert desk.run(desk.runbook(gate + mark("x"))).code == 3
    before = desk.size()
    said = desk(*words)
    assert "Traceback" not in said.err
    if says is None:
        return
    assert said.code == 2, said.err
    assert says in said.err
    assert desk.size() == before


def test_evidence_is_checked_all_at_once(desk: Desk) -> None:
    book = desk.runbook(
        "  - name: Tell\n    manual:\n      instructions: Tell them\n"
        "      evidence: {link: {type: url}, count: {type: number}, sure: {type: boolean}}\n"
    )
    assert desk.run(book).code == 3
    before = desk.size()
    said = desk("attest", "latest", "-e", "link=ftp://x", "-e", "count=12345678901234567890", "-e", "lnik=1")
    assert said.code == 2
    for words in ("ftp://x", "at most 15 digits", "unknown evidence 'lnik'", "'sure' (boolean) is missing"):
        assert words in said.err, said.err
    assert desk.size() == before
    good = ("-e", "link=https://x.example.org", "-e", "count=3", "-e", "sure=true")
    assert desk("attest", "latest", *good).code == 0
    again = desk("attest", "latest", *good)
    assert again.code == 5
    assert "has attested it already" in again.err


def test_too_long_and_odd_reasons_are_kept_as_far_as_they_go(desk: Desk) -> None:
    gate = "  - {name: Agree, gate: {approvals: [{role: change_manager}]}}\n"
    assert desk.run(desk.runbook(gate + mark("x"))).code == 3
    said = desk("reject", "latest", "--as", "alex", "--reason", "n" * 5000 + "\x1b[31m")
    assert said.code == 0, said.err
    shown = desk("status").out
    assert "\x1b" not in shown
    assert desk("log", "verify").code == 0
