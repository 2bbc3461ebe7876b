"""Every account keeps what it last saw of a log: an old copy, another log, and none at all are refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from builders.commands import Desk, mark


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = Desk(tmp_path)
    desk.env["MIMRUN_SEEN"] = str(tmp_path / "seen")
    return desk


def put_aside(desk: Desk, name: str) -> Path:
    """Copy the log as a backup does."""
    folder = desk.folder / name
    folder.mkdir()
    for file in desk.home.glob("log.db*"):
        shutil.copy(file, folder)
    return folder


def put_back(desk: Desk, folder: Path) -> None:
    for file in desk.home.glob("log.db*"):
        file.unlink()
    for file in folder.iterdir():
        shutil.copy(file, desk.home)


def kinds(desk: Desk) -> list[str]:
    return [json.loads(line)["kind"] for line in desk("log", "show", "--json").out.splitlines()]


def signed_to(desk: Desk) -> str:
    checks = {check["name"]: check["found"] for check in desk("doctor", "--json").json}
    return str(checks["checkpoints"])


def test_an_old_copy_is_refused_until_somebody_accepts_it(desk: Desk) -> None:
    book = desk.runbook(mark("one"))
    assert desk.run(book).code == 0
    backup = put_aside(desk, "backup")
    before = desk.size()
    assert desk.run(book).code == 0
    size = desk.size()
    put_back(desk, backup)

    for words in (
        ["runs"],
        ["log", "show"],
        ["status"],
        ["run", "--direct", "--yes", book],
        ["log", "verify"],
    ):
        said = desk(*words)
        assert said.code == 6, words
        assert f"with {size} entries; it has {before} entries now" in said.err, words
        assert f"entries {before + 1} to {size} are not there any more" in said.err
        assert "mimrun log accept" in said.err
    assert desk.marks() == ["one", "one"], "nothing was run on a log that is not right"

    assert desk("log", "accept", "--reason", " ").code == 2
    accepted = desk("log", "accept", "--reason", "the disk failed; the backup of 02:00")
    assert accepted.code == 0, accepted.err
    assert f"with {size} entries" in accepted.out
    assert f"entries {before + 1} to {size} are not there any more" in accepted.out
    assert "mimrun key rotate --anew" in accepted.out
    assert desk("log", "accept", "--reason", "again").out.startswith("nothing to accept")
    assert "log.accepted" in kinds(desk)
    assert desk.run(book).code == 0
    assert desk("log", "verify").code == 0


def test_after_a_restore_a_new_key_signs_what_the_old_one_refuses(desk: Desk) -> None:
    book = desk.runbook(mark("one"))
    assert desk.run(book).code == 0
    backup = put_aside(desk, "backup")
    assert desk.run(book).code == 0
    put_back(desk, backup)
    assert desk("log", "accept", "--reason", "a drill").code == 0
    assert desk("key", "rotate", "--anew", "--reason", "a drill").code == 0
    assert desk.run(book).code == 0
    assert ", 0 since" in signed_to(desk)
    # Whoever can write the log could have done the same; so this is said, until a root key vouches for the key.
    flaws = desk("log", "verify", "--json").json["flaws"]
    assert ["vouches for it" in flaw["detail"] for flaw in flaws] == [True]


def test_a_key_that_was_put_back_with_the_log_signs_no_second_history(desk: Desk) -> None:
    book = desk.runbook(mark("one"))
    assert desk.run(book).code == 0
    backup, keys = put_aside(desk, "backup"), desk.home / "signer"
    shutil.copytree(keys, desk.folder / "keys")
    assert desk.run(book).code == 0
    put_back(desk, backup)
    shutil.rmtree(keys)
    shutil.copytree(desk.folder / "keys", keys)

    said = desk("log", "accept", "--reason", "the whole home was put back")
    assert said.code == 5, said.out + said.err
    assert "second history" in said.err
    assert desk("runs").code == 6, "nothing was accepted"
    keys.rename(desk.folder / "old-keys")
    assert desk("log", "accept", "--reason", "the whole home was put back").code == 0
    rotated = desk("key", "rotate", "--anew", "--reason", "the whole home was put back")
    assert rotated.code == 0, rotated.err
    assert desk.run(book).code == 0
    assert "signed by" in signed_to(desk)


def test_an_old_copy_that_another_account_worked_on_is_refused_as_another_history(desk: Desk) -> None:
    book = desk.runbook(mark("one"))
    assert desk.run(book).code == 0
    backup = put_aside(desk, "backup")
    assert desk.run(book).code == 0
    size = desk.size()
    put_back(desk, backup)
    other = str(desk.folder / "seen-by-another")
    for _ in range(3):
        assert desk.run(book, MIMRUN_SEEN=other).code == 0
    assert desk("runs", MIMRUN_SEEN=other).code == 0
    said = desk("runs")
    assert said.code == 6
    assert f"entry {size} is not the one that was seen" in said.err


def test_another_log_in_the_place_and_none_at_all_are_refused(desk: Desk, tmp_path: Path) -> None:
    book = desk.runbook(mark("one"))
    assert desk.run(book).code == 0
    size = desk.size()
    mine = put_aside(desk, "mine")
    (tmp_path / "other").mkdir()
    other = Desk(tmp_path / "other")
    put_back(desk, put_aside(other, "theirs"))
    shutil.copy(other.home / "blob.key", desk.home)
    said = desk("runs")
    assert said.code == 6
    assert f"with {size} entries; it is another log from its first entry on" in said.err

    for file in desk.home.glob("log.db*"):
        file.unlink()
    gone = desk.run(book)
    assert gone.code == 6
    assert f"it had {size} entries" in gone.err
    assert not (desk.home / "log.db").exists()
    begun = desk("init", "--no-prefect")
    assert begun.code == 0
    assert f"it had {size} entries; keep its backup" in begun.out
    assert desk("runs").code == 0
    assert desk("log", "verify").code == 0

    # What is put back is a log that was seen here, whole; but another one was here since, and so was its key.
    put_back(desk, mine)
    refused = desk("note", "a word")
    assert (refused.code, "it is another log from its first entry on" in refused.err) == (6, True), (
        refused.err
    )
    refused = desk("log", "accept", "--reason", "the first one was found again")
    assert (refused.code, "is not the one of the log" in refused.err) == (6, True), refused.err


def test_a_log_that_was_put_back_in_the_place_of_another_is_accepted_with_what_it_lost(desk: Desk) -> None:
    book = desk.runbook(mark("one"))
    assert desk.run(book).code == 0
    old = put_aside(desk, "old")
    key = shutil.copy(desk.home / "blob.key", desk.folder / "key")
    assert desk.run(book).code == 0
    size = desk.size()
    for file in desk.home.glob("log.db*"):
        file.unlink()
    (desk.home / "blob.key").unlink()
    assert desk("init", "--no-prefect").code == 0
    assert desk("runs").code == 0
    put_back(desk, old)
    shutil.copy(key, desk.home / "blob.key")
    assert desk("runs").code == 6
    accepted = desk("log", "accept", "--reason", "the first one was found again")
    assert accepted.code == 0, accepted.err
    assert "it is another log from its first entry on" in accepted.out
    assert f"of this log itself, {size} entries were seen" in accepted.out
    assert desk("runs").code == 0


def test_the_doctor_says_how_far_the_log_is_signed_and_why_not_further(desk: Desk) -> None:
    assert desk.run(desk.runbook(mark("one"))).code == 0
    assert "entries signed by mimrun+" in signed_to(desk)
    assert ", 0 since" in signed_to(desk)
    (memory,) = (desk.home / "signer").glob("*.json")
    memory.rename(desk.folder / "memory")
    assert desk.run(desk.runbook(mark("two"), version="1.0.1")).code == 0, (
        "the log goes on without its signer"
    )
    checks = {check["name"]: check for check in desk("doctor", "--json").json}
    assert checks["signer"]["ok"] is False
    assert memory.name in checks["signer"]["found"]
    (desk.folder / "memory").rename(memory)
    assert desk.run(desk.runbook(mark("three"), version="1.0.2")).code == 0
    assert "signer" not in {check["name"] for check in desk("doctor", "--json").json}
    assert ", 0 since" in signed_to(desk)


def test_a_folder_that_cannot_be_written_stops_nobody(desk: Desk) -> None:
    (desk.folder / "file").write_text("")
    blocked = str(desk.folder / "file" / "seen")
    assert desk.run(desk.runbook(mark("one")), MIMRUN_SEEN=blocked).code == 0
    assert desk.marks() == ["one"]
    checks = {check["name"]: check for check in desk("doctor", "--json", MIMRUN_SEEN=blocked).json}
    assert "MIMRUN_SEEN" in checks["seen logs"]["found"]
