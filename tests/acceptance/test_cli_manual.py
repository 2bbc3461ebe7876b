"""Manual steps through the real command line: claimed, handed over, ticked, attested, confirmed, printed."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from builders.commands import Desk, mark

STEP = """\
  - name: Tell the desk
    manual:
      role: service_desk
      instructions: Post the workaround to the portal.
      checklist: [Draft is read by another, Text is online]
      second_person: change_manager
      remind: 15m
      evidence:
        link: {type: url}
        shot: {type: file, required: false}
"""


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = Desk(tmp_path)
    people = desk.home / "people.yaml"
    people.write_text(people.read_text() + "  casey: {roles: [service_desk]}\n")
    return desk


@pytest.fixture
def waiting(desk: Desk) -> Desk:
    assert desk.run(desk.runbook(mark("one") + STEP + mark("two"))).code == 3
    return desk


def asks(desk: Desk) -> Any:
    return desk.status()["asks"]


def entries(desk: Desk, kind: str) -> list[Any]:
    lines = map(json.loads, desk("log", "show", "--json").out.splitlines())
    return [entry for entry in lines if entry["kind"] == kind]


def test_a_step_is_claimed_ticked_attested_and_confirmed_by_another(waiting: Desk) -> None:
    assert "nobody has taken it up" in waiting("status").out
    assert waiting("claim", "latest", "--as", "alex").code == 0
    status = waiting("status").out
    assert "alex does it since" in status
    assert "[ ] 1 Draft is read by another" in status
    early = waiting("attest", "latest", "--as", "alex", "-e", "link=https://p.example.org/1")
    assert early.code == 2
    assert "item 1 is not ticked: Draft is read by another" in early.err
    for item in ("1", "2"):
        assert waiting("check", "latest", item, "--as", "alex").code == 0
    assert waiting("check", "latest", "2", "--as", "alex", "--undo").code == 0
    assert [one["done"] for one in asks(waiting)["checklist"]] == [True, False]
    assert waiting("check", "latest", "2", "--as", "alex").code == 0
    said = waiting(
        "attest", "latest", "--as", "alex", "-e", "link=https://p.example.org/1", "--active", "12m"
    )
    assert said.code == 0, said.err
    assert "mimrun confirm" in said.out
    assert waiting("resume", "--direct").code == 3
    assert waiting.marks() == ["one"]
    same = waiting("confirm", "latest", "--as", "alex")
    assert same.code == 5
    assert "a second person has to" in same.err
    assert waiting("confirm", "latest", "--as", "casey").code == 5, "casey is no change manager"
    assert waiting("confirm", "latest", "--as", "billie").code == 0
    assert waiting("resume", "--direct").code == 0
    assert waiting.marks() == ["one", "two"]
    assert entries(waiting, "manual.attested")[0]["body"]["active_ms"] == 12 * 60_000


def test_what_somebody_else_does_is_theirs_until_it_is_handed_over_or_taken_with_a_reason(
    waiting: Desk,
) -> None:
    assert waiting("claim", "latest", "--as", "alex").code == 0
    for words in (
        ("check", "latest", "1"),
        ("attest", "latest", "-e", "link=https://p.example.org"),
        ("release",),
    ):
        said = waiting(*words, "--as", "casey")
        assert said.code == 5, words
        assert "alex does 'Tell the desk'" in said.err
    assert waiting("claim", "latest", "--as", "casey").code == 5
    assert waiting("claim", "latest", "--as", "billie", "--reason", "x").code == 5, "without the role"
    assert waiting("claim", "latest", "--as", "casey", "--reason", "alex is asleep").code == 0
    assert asks(waiting)["holder"] == "casey"
    assert waiting("hand-over", "latest", "--as", "casey", "--to", "alex").code == 2, "without a reason"
    assert waiting("hand-over", "latest", "--as", "casey", "--to", "billie", "--reason", "x").code == 5
    assert (
        waiting("hand-over", "latest", "--as", "casey", "--to", "alex", "--reason", "end of shift").code == 0
    )
    assert "handed to alex" in waiting("status").out
    assert waiting("release", "latest", "--as", "alex").code == 0
    assert asks(waiting)["holder"] == ""
    assert waiting("release", "latest", "--as", "alex").code == 5


def test_another_account_of_who_attested_does_not_confirm(waiting: Desk) -> None:
    people = waiting.home / "people.yaml"
    people.write_text(people.read_text().replace("alex: {", "alex: {accounts: [alex-adm], "))
    for item in ("1", "2"):
        assert waiting("check", "latest", item, "--as", "alex").code == 0
    assert waiting("attest", "latest", "--as", "alex", "-e", "link=https://p.example.org").code == 0
    assert waiting("confirm", "latest", "--as", "alex-adm").code == 5


def test_a_disputed_step_is_done_again(waiting: Desk) -> None:
    for item in ("1", "2"):
        assert waiting("check", "latest", item, "--as", "alex").code == 0
    words = ("attest", "latest", "--as", "alex", "-e", "link=https://p.example.org")
    assert waiting(*words).code == 0
    assert waiting("dispute", "latest", "--as", "billie").code == 2, "without a reason"
    assert waiting("dispute", "latest", "--as", "billie", "--reason", "the link goes nowhere").code == 0
    assert "disputed: the link goes nowhere" in waiting("status").out
    assert waiting("confirm", "latest", "--as", "billie").code == 5
    assert waiting(*words).code == 0
    assert waiting("confirm", "latest", "--as", "billie").code == 0
    assert waiting("resume", "--direct").code == 0


def test_a_step_that_cannot_be_done_fails_like_any_other_and_is_rescued(desk: Desk) -> None:
    block = (
        "  - name: Try\n    block:\n      - name: By hand\n        manual: {instructions: Do it}\n"
        "    rescue:\n      - {name: Rescue, local.shell: {cmd: 'echo rescued >> marks'}}\n"
    )
    assert desk.run(desk.runbook(block + mark("two"))).code == 3
    assert desk("attest", "latest", "--as", "alex", "--failed").code == 2, "without a reason"
    assert desk("attest", "latest", "--as", "alex", "--failed", "--reason", "no portal").code == 0
    assert desk("resume", "--direct").code == 0
    assert desk.marks() == ["rescued", "two"]
    assert (
        desk.run(desk.runbook("  - {name: By hand, manual: {instructions: Do it}}\n", name="other")).code == 3
    )
    assert desk("attest", "latest", "--as", "alex", "--failed", "--reason", "no portal").code == 0
    assert desk("resume", "--direct").code == 1
    assert "no portal" in desk("status").out


def test_a_file_is_kept_with_its_digest_or_only_its_digest(waiting: Desk, tmp_path: Path) -> None:
    (tmp_path / "shot.png").write_bytes(b"\x89PNG\r\n\x1a\n1234")
    for item in ("1", "2"):
        waiting("check", "latest", item, "--as", "alex")
    words = ("attest", "latest", "--as", "alex", "-e", "link=https://p.example.org")
    assert waiting(*words, "-e", "shot=shot.png").code == 2, "a file is given as one"
    assert waiting(*words, "--file", "link=shot.png").code == 2
    assert waiting(*words, "--file", "shot=nowhere.png").code == 2
    said = waiting(*words, "--file", "shot=shot.png")
    assert said.code == 0, said.err
    attached = entries(waiting, "incident.attached")[0]
    assert attached["body"]["media_type"] == "image/png"
    assert attached["step"] == "2"
    out = tmp_path / "again.png"
    assert waiting("log", "attachment", str(attached["seq"]), "-o", str(out)).code == 0
    assert out.read_bytes() == (tmp_path / "shot.png").read_bytes()
    waiting("dispute", "latest", "--as", "billie", "--reason", "wrong picture")
    assert waiting(*words, "--file", "shot=shot.png", "--digest-only").code == 0
    assert [one["body"]["kept"] for one in entries(waiting, "incident.attached")] == [True, False]


def test_the_card_has_what_a_person_would_type(waiting: Desk) -> None:
    card = waiting("card", "latest")
    assert card.code == 0, card.err
    assert "> Post the workaround to the portal." in card.out
    assert "- [ ] 1 Draft is read by another" in card.out
    assert "sh -c 'echo two >> marks'" in card.out
    assert "echo one" not in card.out, "what is done is not on it"
    assert "Confirmed by another person (change_manager)" in card.out
    waiting("cancel", "latest", "--reason", "enough")
    assert waiting("card", "latest").code == 5


def test_no_secret_is_on_the_card(desk: Desk) -> None:
    book = desk.runbook(
        "  - {name: By hand, manual: {instructions: Do it}}\n"
        "  - {name: Log in, local.command: {argv: [echo, '{{ token }}']}}\n",
        more="inputs:\n  token: {type: secret}\n",
    )
    said = desk.run(book, "token=env:TOKEN", TOKEN="hush-hush-hush")
    assert said.code == 3, said.err
    card = desk("card", "latest", TOKEN="hush-hush-hush").out
    assert "hush" not in card
    assert "not known when this was printed: token" in card


def test_the_commands_of_a_card_do_what_the_step_does(desk: Desk, tmp_path: Path) -> None:
    step = '  - {name: Write, local.command: {argv: [sh, -c, "printf \'%s\' \\"a  b\\" > typed"]}}\n'
    assert desk.run(desk.runbook("  - {name: By hand, manual: {instructions: Do it}}\n" + step)).code == 3
    card = desk("card", "latest").out
    lines = card.split("```sh\n")[1].split("```")[0]
    subprocess.run(lines, shell=True, cwd=tmp_path, check=True, timeout=30)
    assert (tmp_path / "typed").read_text() == "a  b"


def test_the_words_of_a_checklist_are_no_templates(desk: Desk) -> None:
    bad = desk.runbook(
        "  - {name: By hand, manual: {instructions: Do it, checklist: ['look at {{ host }}']}}\n"
    )
    said = desk("runbook", "lint", bad)
    assert said.code == 2, said.out
    assert "checklist" in said.out + said.err
