from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import JsonValue

from mimrun.errors import PlanError
from mimrun.runbook.inputs import check_input, complete_inputs, parse_inputs
from mimrun.runbook.loader import load_runbook
from mimrun.runbook.model import Input, InputType, Runbook

EVERYTHING = Path(__file__).parents[2] / "cases" / "sound" / "everything.yaml"


@pytest.fixture
def runbook() -> Runbook:
    return load_runbook(EVERYTHING).runbook


def test_defaults_fill_in_what_is_not_given(runbook: Runbook) -> None:
    assert complete_inputs(runbook, {}) == {
        "service": "nginx",
        "times": 3,
        "loud": False,
        "grace": "1m30s",
        "words": ["one", "two"],
        "note": None,
    }


def test_words_of_a_command_line_get_the_types_of_the_inputs(runbook: Runbook, tmp_path: Path) -> None:
    file = tmp_path / "inputs.yaml"
    file.write_text("loud: true\ntimes: 9\n")
    given = parse_inputs(
        runbook, [f"@{file}", "times=4", 'words:=["x"]', "grace=2m", "service=haproxy", "note=a=b"]
    )
    assert given.problems == ()
    assert given.values == {
        "loud": True,
        "times": 4,
        "words": ["x"],
        "grace": "2m",
        "service": "haproxy",
        "note": "a=b",
    }
    assert parse_inputs(runbook, ["words=a, b,,", "loud=no"]).values == {"words": ["a", "b"], "loud": False}


def test_every_wrong_word_is_named(runbook: Runbook, tmp_path: Path) -> None:
    given = parse_inputs(
        runbook, ["times=x", "loud=perhaps", "nonsense", "words:=[", f"@{tmp_path / 'none'}"]
    )
    said = "\n".join(map(str, given.problems))
    for words in (
        "must be an integer",
        "must be true or false",
        "name=value",
        "is not JSON",
        "cannot be read",
    ):
        assert words in said


def test_every_wrong_value_is_named(runbook: Runbook) -> None:
    given: dict[str, JsonValue] = {
        "service": "apache",
        "times": 10,
        "words": ["A"],
        "grace": "soon",
        "lod": True,
    }
    with pytest.raises(PlanError) as caught:
        complete_inputs(runbook, given)
    said = str(caught.value)
    for words in (
        "'apache' is not one of nginx",
        "at most 9",
        "does not fit the pattern",
        "'soon' is not",
        "'loud'?",
    ):
        assert words in said


def test_a_missing_input_says_how_to_give_it() -> None:
    runbook = load_runbook(EVERYTHING.parent / "postgres-failover.yaml").runbook
    with pytest.raises(PlanError) as caught:
        complete_inputs(runbook, {})
    assert [str(p) for p in caught.value.problems] == [
        "inputs: cluster is missing; give cluster=<string>: Name of the pair",
        "inputs: password is missing; give password=env:NAME: The password of the promoting role",
    ]


def problems(runbook: Runbook, *words: str) -> list[str]:
    with pytest.raises(PlanError) as caught:
        complete_inputs(runbook, parse_inputs(runbook, words))
    return [str(problem).removeprefix("inputs: ") for problem in caught.value.problems]


def test_words_that_cannot_be_read_hide_no_other_mistake(runbook: Runbook) -> None:
    said = problems(runbook, "times=0", "lod=yes", "zz", "loud=perhaps", "service=apache")
    assert len(said) == 5
    for words in (
        "'zz' is not an input",
        "times: 0 must be",
        "no input 'lod'",
        "loud: 'perhaps'",
        "'apache'",
    ):
        assert any(words in line for line in said), said


@pytest.mark.parametrize("word", ["cluster", "cluster:=[", "cluster=\udcff"])
def test_an_input_whose_word_cannot_be_read_is_not_also_missing(word: str) -> None:
    runbook = load_runbook(EVERYTHING.parent / "postgres-failover.yaml").runbook
    said = problems(runbook, word, "password=env:PW")
    assert len(said) == 1, said
    assert "is missing" not in said[0]


def test_a_file_that_cannot_be_read_leaves_open_what_is_missing(tmp_path: Path) -> None:
    runbook = load_runbook(EVERYTHING.parent / "postgres-failover.yaml").runbook
    said = problems(runbook, f"@{tmp_path / 'none'}", "clutser=alpha")
    assert len(said) == 2, said
    assert not any("is missing" in line for line in said)


@pytest.mark.parametrize("word", ["note=\udcff", "words=a,\udcff", 'note:="\\ud800"'])
def test_a_value_that_is_not_utf8_is_named(runbook: Runbook, word: str) -> None:
    (said,) = problems(runbook, word)
    assert said.startswith(f"{word[: word.index('=')].rstrip(':')}: is not UTF-8"), said


def test_what_is_shown_of_a_word_that_is_not_utf8_can_be_printed(runbook: Runbook) -> None:
    for line in problems(
        runbook, "\udcff", "\udcff=1", "times=\udcff", "@\udcff", "x\udcff:=[", "grace=\udcff"
    ):
        assert line.encode()


def test_a_reference_to_a_secret_is_utf8() -> None:
    with pytest.raises(ValueError, match="is not UTF-8"):
        check_input(Input(type=InputType.SECRET), "file:/\udcff")


@pytest.mark.parametrize("reference", ["env:PW", "file:/run/secret", {"secret": "env:PW"}])
def test_a_secret_is_a_reference(reference: JsonValue) -> None:
    text = reference if isinstance(reference, str) else "env:PW"
    assert check_input(Input(type=InputType.SECRET), reference) == {"secret": text}


def test_a_secret_given_as_a_value_is_refused_and_not_shown() -> None:
    with pytest.raises(ValueError, match="never given as a value") as caught:
        check_input(Input(type=InputType.SECRET), "hunter2")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "value"),
    [
        (Input(type=InputType.STRING), 5),
        (Input(type=InputType.STRING), "a\0b"),
        (Input(type=InputType.STRING, pattern="a+"), "ab"),
        (Input(type=InputType.STRING, pattern="a+"), "a\n"),
        (Input(type=InputType.STRING, pattern="(a+)+"), "a" * 60_000 + "b"),
        (Input(type=InputType.STRING, pattern="(?=a)a"), "a"),
        (Input(type=InputType.INTEGER), True),
        (Input(type=InputType.INTEGER), 2**53),
        (Input(type=InputType.INTEGER), "5"),
        (Input(type=InputType.BOOLEAN), "true"),
        (Input(type=InputType.DURATION), "5 minutes"),
        (Input(type=InputType.DURATION), True),
        (Input(type=InputType.LIST), "a"),
        (Input(type=InputType.LIST), [5]),
        (Input(type=InputType.LIST, minimum=2), ["a"]),
        (Input(type=InputType.LIST, maximum=1), ["a", "b"]),
    ],
)
def test_a_value_of_another_type_or_out_of_bounds_is_refused(spec: Input, value: JsonValue) -> None:
    with pytest.raises(ValueError, match=r"."):
        check_input(spec, value)
