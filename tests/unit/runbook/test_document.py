"""The strict YAML reader: what it gives, what it refuses, and where it says the fault is."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimrun.canonical import MAX_INTEGER
from mimrun.errors import InputError, InventoryError, RunbookError, SettingsError
from mimrun.runbook.document import (
    MAX_BYTES,
    MAX_DEPTH,
    MAX_NODES,
    MAX_PROBLEMS,
    load_document,
    read_document,
)
from mimrun.runbook.scalar import Schema
from mimrun.runbook.suggestion import suggest


def complaints(source: str | bytes, schema: Schema = Schema.CORE) -> list[tuple[int, int, str]]:
    with pytest.raises(RunbookError) as caught:
        read_document(source, "f.yaml", schema=schema)
    return [(p.line, p.column, f"{p.message}; {p.hint}") for p in caught.value.problems]


def only(source: str | bytes) -> tuple[int, int, str]:
    (found,) = complaints(source)
    return found


def test_values_and_their_places() -> None:
    document = read_document(
        "name: x\nsteps:\n  - ssh.command:\n      argv: [systemctl, restart]\n  - wait: 5\n", "f.yaml"
    )
    assert document.value == {
        "name": "x",
        "steps": [{"ssh.command": {"argv": ["systemctl", "restart"]}}, {"wait": 5}],
    }
    assert document.mark(("steps", 0, "ssh.command", "argv", 1)) == (4, 25)
    assert document.key_mark(("steps", 0, "ssh.command", "argv")) == (4, 7)
    assert document.mark(("steps", 1)) == (5, 5)
    assert document.mark(()) == (1, 1)


def test_place_of_what_is_missing_is_the_nearest_place_above() -> None:
    document = read_document("steps:\n  - a: 1\n", "f.yaml")
    assert document.mark(("steps", 0, "gone", 3)) == (2, 5)
    assert (
        str(document.problem(("steps", 0, "a"), "wrong", "right", at_key=True)) == "f.yaml:2:5: wrong; right"
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True), ("False", False), ("null", None), ("~", None), ("", None), ("17", 17), ("-3", -3),
        ("0", 0), ("0o17", 15), ("0x1f", 31), ("no", "no"), ("yes", "yes"), ("on", "on"), ("Off", "Off"),
        ("y", "y"), ("12:30:45", "12:30:45"), ("2027-03-01", "2027-03-01"), ("1_000", "1_000"),
        ("0b11", "0b11"), ("1.2.0", "1.2.0"), ("10.0.0.1", "10.0.0.1"), ("'017'", "017"), ('"1.5"', "1.5"),
        ("30m", "30m"), ("=", "="), ("--", "--"),
    ],
)  # fmt: skip
def test_plain_words_are_read_by_the_core_schema(text: str, value: object) -> None:
    read = read_document(f"a: {text}", "f.yaml").value
    assert read == {"a": value}
    assert isinstance(read, dict)
    assert type(read["a"]) is type(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", False), ("yes", True), ("On", True), ("017", 15), ("12:30:45", 45045), ("1_000", 1000),
        ("0b11", 3), ("1.5", 1.5), ("1e3", "1e3"), ("2027-03-01", "2027-03-01"), ("0o17", "0o17"),
        (str(2**70), 2**70),
    ],
)  # fmt: skip
def test_plain_words_of_an_inventory_are_read_as_ansible_reads_them(text: str, value: object) -> None:
    assert read_document(f"a: {text}", "f.yaml", schema=Schema.ANSIBLE).value == {"a": value}


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("017", "decimal or octal"), ("-08", "decimal or octal"), ("1.5", "fraction"), ("1e3", "fraction"),
        (".inf", "fraction"), (".NaN", "fraction"), ("5.", "fraction"), (str(MAX_INTEGER + 1), "2**53 - 1"),
        ("9" * 5000, "2**53 - 1"), ("!!int 3", "tag !!int"), ("!x 3", "tag !x"), ("! 3", "tag !"),
        ("!vault |\n  33", "vault"), ("&x 3", "anchor &x"), ("*x", "alias *x"),
    ],
)  # fmt: skip
def test_what_two_people_could_read_in_two_ways_is_refused(text: str, part: str) -> None:
    line, column, message = only(f"b: 1\na: {text}")
    assert (line, column) == (2, 4)
    assert part in message


@pytest.mark.parametrize("text", [".inf", ".nan", "9" * 400, "0b_", "0x_"])
def test_numbers_without_a_json_form_are_refused_in_inventories_too(text: str) -> None:
    ((line, column, _),) = complaints(f"a: {text}", Schema.ANSIBLE)
    assert (line, column) == (1, 4)


def test_duplicate_keys_are_refused_at_every_depth() -> None:
    assert only("a: 1\nb:\n  c: 1\n  d: {x: 1, x: 2}\n") == (
        4,
        13,
        "the key 'x' is here twice; the first is on line 4",
    )


@pytest.mark.parametrize("key", ["1", "true", "~", "", "[a]", "{a: 1}", "1.5", "*x"])
def test_a_key_is_text(key: str) -> None:
    assert complaints(f"? {key}\n: 1\n")


def test_keys_of_an_inventory_get_the_name_json_gives_them() -> None:
    read = read_document("vlans: {10: office, true: x, ~: y}", "f.yaml", schema=Schema.ANSIBLE)
    assert read.value == {"vlans": {"10": "office", "true": "x", "null": "y"}}
    assert "twice" in complaints("a: {10: x, '10': y}", Schema.ANSIBLE)[0][2]


def test_merge_keys_are_refused_and_a_quoted_one_is_a_key() -> None:
    assert "merge" in only("<<: {a: 1}")[2]
    assert read_document('"<<": 1', "f.yaml").value == {"<<": 1}


def test_an_unquoted_template_says_to_quote_it() -> None:
    assert "goes in quotes" in complaints("a: {{ x }}")[0][2]
    assert all("goes in quotes" in message for _, _, message in complaints("- {{ x }}/y"))


def test_tabs_are_explained() -> None:
    line, column, message = only("a:\n\t- b")
    assert (line, column) == (2, 1)
    assert "use spaces" in message


def test_every_problem_is_reported_at_once_and_in_order() -> None:
    found = complaints("a: 1.5\nb: &x 017\na: *x\nc: [1, 2")
    assert [line for line, _, _ in found] == [1, 2, 2, 3, 3, 4]


def test_values_below_a_refused_key_are_still_checked() -> None:
    found = complaints("1:\n  a: 1.5\n  b: {[x, 2.5]: [3.5]}\n")
    assert [(line, column) for line, column, _ in found] == [(1, 1), (2, 6), (3, 7), (3, 11), (3, 18)]


@pytest.mark.parametrize(
    ("source", "part"),
    [
        (b"a: \xff", "UTF-8"),
        ("a: é".encode("utf-16"), "UTF-8"),
        ("a: \x1b[31m", "U+001B"),
        ('a: "\\e[31m"', "U+001B"),
        ('a: "\\0"', "U+0000"),
        ("a: \x00", "U+0000"),
        ("a: x\u202ey", "U+202E"),
        ('a: "\\u2066"', "U+2066"),
        ("a: \ud800", "U+D800"),
        ("a: 1\n---\nb: 1", "second document"),
        ("%YAML 1.1\n---\na: 1", "directives"),
        ("a: 'x", "not closed"),
        ("a: b: c", "quote a value that contains ': '"),
        ("a: @x", "quote a value that begins"),
    ],
)
def test_hostile_or_broken_text_is_refused_with_the_reason(source: str | bytes, part: str) -> None:
    assert part in complaints(source)[-1][2]


def test_a_byte_order_mark_is_no_content() -> None:
    assert read_document(b"\xef\xbb\xbfa: 1", "f.yaml").value == {"a": 1}


def test_an_empty_document_is_none() -> None:
    assert read_document("# nothing\n", "f.yaml").value is None


def test_an_alias_bomb_is_not_expanded() -> None:
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))
    started = time.process_time()
    assert len(complaints(bomb)) == MAX_PROBLEMS
    assert time.process_time() - started < 2


def test_a_cycle_is_refused() -> None:
    assert [message.split(" is")[0] for _, _, message in complaints("&a [*a]")] == ["anchor &a", "alias *a"]


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
def test_depth_is_bounded(opening: str) -> None:
    assert "nested deeper" in complaints(opening * 20_000)[-1][2]


def test_the_deepest_allowed_document_is_read() -> None:
    assert read_document("[" * MAX_DEPTH + "]" * MAX_DEPTH, "f.yaml").value is not None
    assert "nested deeper" in only("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1))[2]


def test_the_number_of_values_is_bounded() -> None:
    assert read_document("[" + "1," * (MAX_NODES - 1) + "]", "f.yaml").value
    assert "more than 50000 values" in only("[" + "1," * MAX_NODES + "]")[2]


def test_the_size_is_bounded_in_bytes() -> None:
    assert read_document("#" * MAX_BYTES, "f.yaml").value is None
    assert "larger than" in only("#" * (MAX_BYTES + 1))[2]
    assert "larger than" in only("# " + "é" * (MAX_BYTES // 2))[2]


def test_the_list_of_problems_is_bounded() -> None:
    assert len(complaints("".join(f"- 1.{i}\n" for i in range(1000)))) == MAX_PROBLEMS


@pytest.mark.parametrize("error", [RunbookError, InventoryError, SettingsError])
def test_the_caller_says_which_error_is_raised(error: type[InputError]) -> None:
    with pytest.raises(error, match=r"people\.yaml:1:4: 1\.5"):
        read_document("a: 1.5", "people.yaml", error=error)


def test_a_file_is_read_and_named_as_given(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: 1\n")
    assert load_document(path).value == {"a": 1}
    path.write_text("a: 1.5\n")
    with pytest.raises(RunbookError, match=r"a\.yaml:1:4"):
        load_document(path)


def test_what_is_not_a_regular_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(RunbookError, match="not a regular file"):
            load_document(path)
    for path, part in (
        (tmp_path, "directory"),
        (tmp_path / "gone", "No such file"),
        (Path("a\0b"), "file name"),
    ):
        with pytest.raises(RunbookError, match=part):
            load_document(path)


PLAIN = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cf", "Cs", "Cn"]), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | PLAIN,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(PLAIN, inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_every_json_value_is_read_back_with_a_place_for_each_part(value: object) -> None:
    document = read_document(json.dumps(value, ensure_ascii=False), "f.json")
    assert document.value == value

    def check(part: object, path: tuple[str | int, ...]) -> None:
        assert path in document.marks
        if isinstance(part, dict):
            for key, inner in part.items():
                assert (*path, key) in document.keys
                check(inner, (*path, key))
        elif isinstance(part, list):
            for index, inner in enumerate(part):
                check(inner, (*path, index))

    check(value, ())


@given(st.text(max_size=60) | st.text("[]{}:,-?&*!|>'\"%@` \n\t#ab01.~<", max_size=40))
def test_any_text_is_read_or_refused_and_nothing_else(text: str) -> None:
    for schema in Schema:
        try:
            read_document(text, "f.yaml", schema=schema)
        except RunbookError as exc:
            assert exc.problems  # noqa: PT017 - either outcome is right; a refusal must explain itself


def test_a_suggestion_is_a_close_word_or_the_allowed_ones() -> None:
    assert suggest("registr", ["register", "retries"]) == "did you mean 'register'?"
    assert suggest("When", ["when", "loop"]) == "did you mean 'when'?"
    assert suggest("zzz", ["b", "a"]) == "allowed here: a, b"
    assert suggest("zzz", []) == ""
    assert suggest("zzz", [f"k{i:02}" for i in range(20)]).endswith("k14 and 5 more")
