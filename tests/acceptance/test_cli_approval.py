"""Approvals that are signed with SSH keys: at the keyboard, and in messages, through the real command line."""

from __future__ import annotations

import json
import re
import subprocess
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from builders.commands import GATE, Desk, Said, mark
from builders.ssh_keys import agent, make_key, signer

END = "-----END MIMRUN APPROVAL-----"


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    folder = tmp_path / "keys"
    folder.mkdir()
    for name in ("alex", "billie", "casey", "responder"):
        make_key(folder, name)
    return folder


@pytest.fixture
def desk(tmp_path: Path, keys: Path) -> Desk:
    (tmp_path / "desk").mkdir()
    desk = Desk(tmp_path / "desk")
    lines = [signer(name, keys / name) for name in ("alex", "billie", "responder")]
    (desk.home / "allowed_signers").write_text("".join(lines))
    # Neither the agent nor the keys of whoever runs the tests.
    desk.env |= {"HOME": str(tmp_path), "SSH_AUTH_SOCK": ""}
    return desk


@pytest.fixture
def waiting(desk: Desk) -> Desk:
    assert desk.run(desk.runbook(mark("one") + GATE + mark("two"))).code == 3
    return desk


def elsewhere(tmp_path: Path) -> Desk:
    """A machine without a log, but for what `Desk` makes, which is taken away."""
    folder = tmp_path / "elsewhere"
    folder.mkdir(exist_ok=True)
    desk = Desk(folder)
    desk.env |= {"MIMRUN_HOME": str(folder / "none"), "HOME": str(folder), "SSH_AUTH_SOCK": ""}
    return desk


def request(desk: Desk) -> str:
    said = desk("approval", "request", "latest")
    assert said.code == 0, said.err
    return said.out


def signed(tmp_path: Path, message: str, key: Path, *words: str) -> Said:
    return elsewhere(tmp_path)("approval", "sign", "-", "--yes", "--key", str(key), *words, stdin=message)


def brought(desk: Desk, message: str) -> Said:
    return desk("approval", "import", "-", stdin=message)


def last_vote(desk: Desk) -> Any:
    lines = desk("log", "show", "--json").out.splitlines()
    return [entry for entry in map(json.loads, lines) if entry["kind"] == "gate.decided"][-1]


def test_an_approval_signed_at_the_keyboard_says_which_key_and_opens_the_gate(
    waiting: Desk, keys: Path
) -> None:
    said = waiting("approve", "latest", "--as", "alex", "--yes", "--sign", "--key", str(keys / "alex"))
    assert said.code == 0, said.err
    assert f"signing with {keys / 'alex'}" in said.err
    assert "the gate is open" in said.out
    vote = last_vote(waiting)
    assert re.fullmatch(r"ssh-key:SHA256:[A-Za-z0-9+/]{43}", vote["actor"]["auth"])
    assert {blob["n"] for blob in vote["blobs"]} == {"signature", "statement"}
    assert waiting("resume", "--direct").code == 0
    assert waiting.marks() == ["one", "two"]


def test_the_key_of_the_person_is_found_among_those_of_the_agent(
    waiting: Desk, keys: Path, tmp_path: Path
) -> None:
    with agent(tmp_path, keys / "casey", keys / "alex", keys / "billie") as socket:
        said = waiting("approve", "latest", "--as", "alex", "--yes", "--sign", SSH_AUTH_SOCK=socket)
    assert said.code == 0, said.err
    assert "signing with the agent's key alex@desk" in said.err


def test_a_key_of_somebody_else_signs_for_nobody(waiting: Desk, keys: Path) -> None:
    said = waiting("approve", "latest", "--as", "alex", "--yes", "--sign", "--key", str(keys / "billie"))
    assert said.code == 5
    assert "signed in the name of alex, and with a key of billie" in said.err
    said = waiting("approve", "latest", "--as", "alex", "--yes", "--sign", "--key", str(keys / "casey"))
    assert said.code == 5
    assert "gives to nobody" in said.err
    assert waiting("resume", "--direct").code == 3


def test_a_signed_rejection_ends_the_run(waiting: Desk, keys: Path) -> None:
    said = waiting(
        *("reject", "latest", "--as", "alex", "--reason", "not tonight"),
        "--sign",
        "--key",
        str(keys / "alex"),
    )
    assert said.code == 0, said.err
    assert waiting.status()["status"] == "failed"
    assert waiting.marks() == ["one"]


def test_an_approval_travels_as_a_message_and_counts_for_whose_key_it_is(
    waiting: Desk, keys: Path, tmp_path: Path
) -> None:
    message = request(waiting)
    assert "What runs when it opens:" in message
    assert "local.shell" in message
    answer = signed(tmp_path, message, keys / "alex")
    assert answer.code == 0, answer.err
    assert "What runs when it opens:" in answer.err
    assert "warning" not in answer.err
    said = brought(waiting, answer.out)
    assert said.code == 0, said.err
    assert "approved by alex as change_manager" in said.out
    vote = last_vote(waiting)
    assert (vote["actor"]["id"], vote["body"]["brought_by"]) == ("alex", "responder")
    assert waiting("resume", "--direct").code == 0


def quoted(text: str) -> str:
    return "".join(f"> > {line}\n" for line in text.splitlines())


def wrapped(text: str) -> str:
    return "\n".join(textwrap.fill(line, 29, break_long_words=True) for line in text.splitlines())


@pytest.mark.parametrize(
    "hurt",
    [
        quoted,
        wrapped,
        lambda text: quoted(wrapped(text)),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "".join(f"{line} \t \n" for line in text.splitlines()),
        lambda text: f"alex  10:04\nhere it is - thanks!\n\n{text}\n--\nsent from a phone",
        lambda text: text.replace("-----", "\u2014\u2013-"),
        lambda text: text.replace("\n", "\n\u200b").replace(">", "&gt;"),
        lambda text: "\ufeff" + text,
    ],
    ids=["quoted", "wrapped", "both", "crlf", "spaces", "around", "dashes", "invisible", "bom"],
)
def test_messages_survive_what_chats_and_mails_do_to_them(
    waiting: Desk, keys: Path, tmp_path: Path, hurt: Callable[[str], str]
) -> None:
    answer = signed(tmp_path, hurt(request(waiting)), keys / "alex")
    assert answer.code == 0, answer.err
    assert "warning" not in answer.err, answer.err
    said = brought(waiting, hurt(answer.out))
    assert said.code == 0, said.err


def test_what_is_shown_is_made_anew_and_an_altered_text_is_warned_of(
    waiting: Desk, keys: Path, tmp_path: Path
) -> None:
    message = request(waiting)
    lie = message.replace("echo two", "echo nothing")
    assert lie != message
    answer = signed(tmp_path, lie, keys / "alex")
    assert "warning: what is written in this message is not what would be signed" in answer.err
    assert "echo nothing" not in answer.err
    assert "echo two" in answer.err


def test_a_damaged_message_is_refused(waiting: Desk, keys: Path, tmp_path: Path) -> None:
    message = request(waiting)
    lines = message.splitlines()
    begin = next(n for n, line in enumerate(lines) if "BEGIN MIMRUN" in line)
    for broken in (
        "\n".join(lines[: begin + 1] + lines[begin + 2 :]),
        "\n".join(lines[:-1]),
        message.replace(lines[begin + 1][:10], lines[begin + 1][:10][::-1]),
    ):
        answer = signed(tmp_path, broken, keys / "alex")
        assert answer.code == 2, answer.out
        assert "copy all of it again" in answer.err
    assert "holds the other half" in brought(waiting, message).err
    assert brought(waiting, "approved, go ahead").code == 2


def test_an_approval_counts_once_however_often_it_is_brought(desk: Desk, keys: Path, tmp_path: Path) -> None:
    gate = "  - {name: Two agree, gate: {approvals: [{role: change_manager, count: 2}]}}\n"
    assert desk.run(desk.runbook(gate + mark("two"))).code == 3
    message = request(desk)
    first = signed(tmp_path, message, keys / "alex").out
    assert brought(desk, first).code == 0
    again = brought(desk, first)
    assert again.code == 5
    assert "was counted already" in again.err
    twice = brought(desk, signed(tmp_path, message, keys / "alex").out)
    assert twice.code == 5
    assert "one person counts once" in twice.err
    assert brought(desk, signed(tmp_path, message, keys / "billie").out).code == 0
    assert desk("resume", "--direct").code == 0


def test_an_approval_of_another_run_is_refused(waiting: Desk, keys: Path, tmp_path: Path) -> None:
    answer = signed(tmp_path, request(waiting), keys / "alex").out
    assert waiting("cancel", "latest", "--reason", "enough").code in (0, 7)
    said = brought(waiting, answer)
    assert said.code == 5
    assert "does not wait at gate 2 any more" in said.err
    book = waiting.runbook(mark("one") + GATE + mark("three"), version="1.0.1")
    assert waiting.run(book).code == 3
    assert brought(waiting, answer).code == 5


def test_an_approval_of_another_log_is_refused(waiting: Desk, keys: Path, tmp_path: Path) -> None:
    answer = signed(tmp_path, request(waiting), keys / "alex").out
    other = elsewhere(tmp_path)
    other.env["MIMRUN_HOME"] = str(other.home)
    (other.home / "allowed_signers").write_text((waiting.home / "allowed_signers").read_text())
    said = brought(other, answer)
    assert said.code == 5
    assert "which this log does not have" in said.err


def test_who_asked_for_the_run_cannot_sign_it_open(waiting: Desk, keys: Path, tmp_path: Path) -> None:
    people = waiting.home / "people.yaml"
    people.write_text(people.read_text().replace("[responder]", "[responder, change_manager]"))
    said = brought(waiting, signed(tmp_path, request(waiting), keys / "responder").out)
    assert said.code == 5
    assert "cannot approve it" in said.err


def test_an_answer_in_a_name_that_is_not_the_keys_is_refused(
    waiting: Desk, keys: Path, tmp_path: Path
) -> None:
    said = brought(waiting, signed(tmp_path, request(waiting), keys / "billie", "--as", "alex").out)
    assert said.code == 5
    assert "in the name of alex, and with a key of billie" in said.err


def test_without_ssh_keygen_it_is_said_what_is_missing(waiting: Desk, keys: Path) -> None:
    words = ("approve", "latest", "--as", "alex", "--yes", "--sign", "--key", str(keys / "alex"))
    said = waiting(*words, PATH="/nonexistent")
    assert said.code == 2
    assert "ssh-keygen is not on this machine" in said.err
    assert "openssh-client" in said.err


def test_without_allowed_signers_nobodys_signature_counts(waiting: Desk, keys: Path) -> None:
    (waiting.home / "allowed_signers").unlink()
    said = waiting("approve", "latest", "--as", "alex", "--yes", "--sign", "--key", str(keys / "alex"))
    assert said.code == 5
    assert "nobody's signature counts" in said.err


def test_openssh_alone_accepts_what_was_exported(waiting: Desk, keys: Path) -> None:
    assert (
        waiting("approve", "latest", "--as", "alex", "--yes", "--sign", "--key", str(keys / "alex")).code == 0
    )
    seq = str(last_vote(waiting)["seq"])
    pair = waiting.folder / "pair"
    said = waiting("approval", "export", seq, "-o", str(pair), "--json")
    assert said.code == 0, said.err
    command = said.json["check"]
    done = subprocess.run(
        command, shell=True, cwd=waiting.home, capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 0, done.stderr
    assert 'Good "approval@mimrun" signature for alex with ED25519 key SHA256:' in done.stdout
    (pair / "statement").write_text((pair / "statement").read_text().replace("approved", "rejected"))
    done = subprocess.run(command, shell=True, cwd=waiting.home, capture_output=True, check=False, timeout=30)
    assert done.returncode != 0
