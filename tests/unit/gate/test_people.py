from __future__ import annotations

from pathlib import Path

import pytest

from mimrun.errors import SettingsError
from mimrun.gate.people import acted
from mimrun.gate.people_file import load_people, parse_people
from mimrun.runbook.document import read_document


def parse(text: str):
    return parse_people(read_document(text, "people.yaml", error=SettingsError))


def test_a_person_is_found_by_id_and_by_any_account() -> None:
    people = parse("people:\n  alex: {roles: [responder], accounts: [aromero, aromero-adm]}\n")
    assert people.person("alex") == people.person("aromero") == people.person("aromero-adm")


def test_an_unknown_person_is_refused_with_a_suggestion() -> None:
    people = parse("people:\n  alex: {roles: [responder]}\n")
    with pytest.raises(SettingsError, match=r"nobody is known as 'alx'; did you mean 'alex'\?"):
        people.person("alx")


def test_one_account_belongs_to_one_person() -> None:
    with pytest.raises(SettingsError, match="account 'root' belongs to 'alex' already"):
        parse("people:\n  alex: {accounts: [root]}\n  billie: {accounts: [root]}\n")


def test_an_account_may_not_be_somebody_elses_id() -> None:
    with pytest.raises(SettingsError, match="belongs to 'alex' already"):
        parse("people:\n  alex: {}\n  billie: {accounts: [alex]}\n")


def test_every_problem_is_said_at_once_with_its_place() -> None:
    with pytest.raises(SettingsError) as caught:
        parse("people:\n  Alex: {role: [x]}\n  billie: {roles: Change}\nteam: {}\n")
    text = str(caught.value)
    assert "people.yaml:2:" in text
    assert "did you mean 'roles'?" in text
    assert "people.yaml:3:" in text
    assert "roles is a list of names" in text
    assert "unknown key 'team'" in text


def test_no_file_means_that_nobody_is_known(tmp_path: Path) -> None:
    assert load_people(tmp_path / "people.yaml").by_id == {}


def test_a_file_that_is_not_a_people_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "people.yaml"
    path.write_text("- alex\n")
    with pytest.raises(SettingsError, match="a key 'people'"):
        load_people(path)


FILE = "people:\n  alex: {accounts: [al]}\n  billie: {accounts: [bi]}\n  casey: {}\n"
WORDS = [
    ("alex", "os-user"),
    ("al", "os-user"),
    ("alex", "claimed:bi"),
    ("billie", "os-user"),
    ("billie", "claimed:al"),
    ("casey", "claimed:al"),
    ("casey", "claimed:ops"),
    ("alex", "claimed:ops"),
    ("dana", "os-user"),
]


TWO = {(0, 3), (0, 6), (1, 3), (1, 6), (2, 6), (3, 5), (3, 6), (3, 7), (4, 6)}


@pytest.mark.parametrize(("text", "two"), [(FILE, TWO), (f"{FILE}shared: [ops]\n", TWO | {(6, 7)})])
def test_two_words_are_those_of_two_people_in_whatever_order_they_were_said(
    text: str, two: set[tuple[int, int]]
) -> None:
    people = parse(text)
    hands = [people.behind(acted(*word)) for word in WORDS]
    found = {(a, b) for a in range(9) for b in range(9) if hands[a].isdisjoint(hands[b])}
    assert found == {(b, a) for a, b in found}
    assert {(a, b) for a, b in found if a < b} == two | {(n, 8) for n in range(8)}


def test_shared_is_a_list_of_accounts() -> None:
    assert parse("people: {}\nshared: [ops]\n").shared == {"ops"}
    with pytest.raises(SettingsError, match=r"people.yaml:2:.*shared is a list of names"):
        parse("people: {}\nshared: ops\n")
