"""The log's keys at the command line: shown, certified with an offline root key, changed, retired, stolen."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from builders.commands import Desk, mark, until
from builders.pty import Screen

from mimrun.log.proof.note import read_checkpoint, read_note, read_vkey

EVERYTHING = ("show", "root", "request", "certify", "install", "rotate", "retire", "trust")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def keys(desk: Desk, code: int = 0, **env: str) -> Any:
    said = desk("key", "show", "--json", **env)
    assert said.code == code, said.err
    return said.json


def entries(desk: Desk, *kinds: str) -> list[dict[str, Any]]:
    lines = desk("log", "show", "--json").out.splitlines()
    return [one for one in map(json.loads, lines) if one["kind"] in kinds]


def ceremony(desk: Desk, *, new: bool = False, name: str = "root.pem") -> str:
    """Certify the newest key with a root key that is made where there is none; gives its vkey."""
    root = desk.folder / name
    if not root.exists():
        assert desk("key", "root", "--out", name, "--name", "example.org/root", "--no-passphrase").code == 0
    asked = desk("key", "request", *(["--new"] if new else []))
    assert asked.code == 0, asked.err
    desk.write("request", asked.out)
    certified = desk("key", "certify", "--root", name, "--yes", "request", MIMRUN_HOME="/nonexistent")
    assert certified.code == 0, certified.err
    desk.write("certificate", certified.out)
    return root.read_text().splitlines()[0].removeprefix("vkey ")


def test_fresh_home_signs_checkpoints_without_any_ceremony(desk: Desk) -> None:
    desk.run(desk.runbook(mark("one")))
    view = keys(desk)
    (key,) = view["keys"]
    assert (key["signs_here"], key["to_size"], key["certified"]) == (True, None, False)
    assert view["checkpoint"]["signers"] == [key["keyid"]]
    assert view["checkpoint"]["size"] == view["size"]
    shown = desk("key", "show")
    assert shown.code == 0
    assert "the first key is believed on first use" in shown.out
    assert key["vkey"] in shown.out
    (pem,) = (desk.home / "signer").glob("*.pem")
    assert pem.stat().st_mode & 0o077 == 0


def test_key_that_a_root_key_certified_offline_is_believed_once_it_is_pinned(desk: Desk) -> None:
    desk.run(desk.runbook(mark("one")))
    assert desk("key", "root", "--out", "root.pem", "--no-passphrase").code == 0
    vkey = (desk.folder / "root.pem").read_text().splitlines()[0].removeprefix("vkey ")
    early = desk("key", "trust", vkey)
    assert early.code == 5
    assert "has certified no key in use" in early.err
    assert ceremony(desk) == vkey
    installed = desk("key", "install", "certificate")
    assert installed.code == 0, installed.err
    assert "nobody here heeds the certificate: `mimrun key trust VKEY`" in installed.out
    assert desk("key", "trust", "root.pem").code == 0
    view = keys(desk)
    (key,) = view["keys"]
    assert view["root_key"] == vkey
    assert key["certified"]
    assert key["certified_by"] == "mimrun-root+" + read_vkey(vkey).keyid
    assert not view["checkpoint"]["fault"]
    assert [one["body"]["certified_by"] for one in entries(desk, "log.key")] == ["", read_vkey(vkey).keyid]
    # From here on a new key needs the root key's word.
    refused = desk("key", "rotate")
    assert refused.code == 5
    assert "must certify a new key: give it with --root, or do it apart" in refused.err
    assert desk("key", "rotate", "--root", "root.pem").code == 0
    assert [one["certified"] for one in keys(desk)["keys"]] == [True, True]
    # Or apart, where the root key never comes near.
    ceremony(desk, new=True)
    again = desk("key", "install", "certificate")
    assert (again.code, "mimrun key trust" in again.out) == (0, False)
    old, new = (one["keyid"] for one in keys(desk)["keys"] if one["to_size"] is None)
    assert desk("key", "retire", old, "--reason", "the new one is here").code == 0
    last = keys(desk)
    assert [one["keyid"] for one in last["keys"] if one["signs_here"]] == [new]
    assert not last["checkpoint"]["fault"]


def test_change_of_keys_is_signed_by_both_and_on_record(desk: Desk) -> None:
    desk.run(desk.runbook(mark("one")))
    (old,) = keys(desk)["keys"]
    said = desk("key", "rotate", "--reason", "once a quarter", "--json")
    assert said.code == 0, said.err
    came = said.json
    assert came["retired"] == [old["keyid"]]
    view = keys(desk)
    first, second = view["keys"]
    assert (first["to_size"], first["signs_here"]) == (came["size"], False)
    assert (second["keyid"], second["to_size"], second["signs_here"]) == (came["keyid"], None, True)
    assert second["from_size"] <= came["size"]
    assert entries(desk, "log.key_retired")[0]["body"] == {
        "keyid": old["keyid"],
        "reason": "once a quarter",
        "to_size": came["size"],
    }
    desk.run(desk.runbook(mark("two"), version="1.0.1"))
    assert keys(desk)["checkpoint"]["signers"] == [second["keyid"]]
    assert [path.stem for path in (desk.home / "signer").glob("*.pem")] == [second["keyid"]]
    assert desk("log", "verify").code == 0


def test_change_of_keys_that_broke_off_is_taken_up(desk: Desk) -> None:
    """A key that was made and never announced is the one that the next try announces."""
    desk.run(desk.runbook(mark("one")))
    assert desk("key", "request", "--new").code == 0
    waiting = keys(desk)["unannounced"]
    assert len(waiting) == 1
    assert (
        f"key {waiting[0]} is not in the log yet: what it signs counts for nothing" in desk("key", "show").out
    )
    desk.run(desk.runbook(mark("two"), version="1.0.1"))
    assert not keys(desk)["checkpoint"]["fault"]
    assert desk("key", "rotate", "--json").json["keyid"] == waiting[0]


def test_only_key_is_changed_and_not_retired(desk: Desk) -> None:
    (key,) = keys(desk)["keys"]
    alone = desk("key", "retire", key["keyid"], "--reason", "stolen")
    assert alone.code == 5
    assert "the only key of the log; change it with `mimrun key rotate`" in alone.err
    assert desk("key", "retire", key["keyid"]).code == 2
    assert desk("key", "retire", "00000000", "--reason", "x").code == 2
    assert desk("key", "rotate").code == 0
    again = desk("key", "retire", key["keyid"], "--reason", "stolen")
    assert again.code == 5
    assert "was retired at size" in again.err


def test_somebody_unknown_changes_no_key(desk: Desk) -> None:
    (desk.home / "people.yaml").write_text("people:\n  alex: {roles: [responder], accounts: [somebody]}\n")
    before = keys(desk)
    for words in (("rotate",), ("retire", before["keys"][0]["keyid"], "--reason", "x")):
        said = desk("key", *words)
        assert said.code == 5
        assert "is not known: to change the log's keys" in said.err
    assert keys(desk) == before


@pytest.mark.parametrize(
    "change", [("from", "0\n\n—"), ("root", ""), ("other", "")], ids=["text", "root", "log"]
)
def test_certificate_that_is_not_for_this_is_refused(
    desk: Desk, tmp_path: Path, change: tuple[str, str]
) -> None:
    ceremony(desk)
    assert desk("key", "install", "certificate").code == 0
    assert desk("key", "trust", "root.pem").code == 0
    match change[0]:
        case "from":
            lines = (desk.folder / "certificate").read_text().split("\n")
            desk.write("certificate", "\n".join([*lines[:2], "1", *lines[3:]]))
            code, why = 5, "is not of the pinned root key"
        case "root":
            ceremony(desk, name="other.pem")
            code, why = 5, "is not of the pinned root key"
        case _:
            (tmp_path / "other").mkdir()
            other = Desk(tmp_path / "other")
            other("key", "request")
            ceremony(other)
            (desk.folder / "certificate").write_text((other.folder / "certificate").read_text())
            code, why = 5, ""
    said = desk("key", "install", "certificate")
    assert said.code == code, said.err
    assert why in said.err
    assert len(entries(desk, "log.key")) == 2


def test_changed_request_is_not_certified(desk: Desk) -> None:
    ceremony(desk)
    asked = (desk.folder / "request").read_text()
    desk.write("request", asked.replace("\n2\n", "\n1\n"))
    said = desk("key", "certify", "--root", "root.pem", "--yes", "request")
    assert said.code == 2
    assert "signature of key" in said.err
    assert not said.out
    assert desk("key", "certify", "--root", "root.pem", "--yes", "nothing").code == 2


def test_root_key_certifies_where_there_is_nothing_but_two_files(desk: Desk, tmp_path: Path) -> None:
    """Sealed with a passphrase, asked at a terminal; the person sees what is certified, and says no or yes."""
    desk.write("request", desk("key", "request").out)
    (key,) = keys(desk)["keys"]
    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "TERM": "dumb", "LC_ALL": "C.UTF-8"}

    def at_terminal(*words: str, answers: list[tuple[str, str]]) -> tuple[int, str]:
        with Screen(desk.cold(*words), cwd=desk.folder, env=env) as screen:
            for shown, typed in answers:
                screen.see(shown)
                screen.write(typed + "\r")
            return screen.end(), screen.shown.decode()

    said = [("Passphrase for the root key: ", "correct horse"), ("again: ", "correct horse")]
    assert at_terminal("key", "root", "--out", "root.pem", answers=said)[0] == 0
    assert "ENCRYPTED" in (desk.folder / "root.pem").read_text()
    code, shown = at_terminal("key", "certify", "--root", "root.pem", "request", answers=[("[y/N]: ", "n")])
    assert code == 5
    assert key["vkey"].split("+")[1] in shown
    code, shown = at_terminal(
        "key",
        "certify",
        "--root",
        "root.pem",
        "request",
        answers=[("[y/N]: ", "y"), ("root.pem: ", "correct horse")],
    )
    assert code == 0
    assert "mimrun/log-key/v1" in shown
    assert "correct horse" not in shown
    wrong = at_terminal(
        "key", "certify", "--root", "root.pem", "-y", "request", answers=[("root.pem: ", "mule")]
    )
    assert wrong[0] == 2
    assert "wrong passphrase" in wrong[1]
    short = at_terminal("key", "root", "--out", "short.pem", answers=[("root key: ", "short")])
    assert short[0] == 2


def test_restored_backup_is_signed_again_with_a_key_that_begins_anew(desk: Desk) -> None:
    """The old key has signed a longer log, and no other than that one goes on under it."""
    desk.run(desk.runbook(mark("one")))
    with_wal = {path.name: path.read_bytes() for path in desk.home.glob("log.db*")}
    desk.run(desk.runbook(mark("two"), version="1.0.1"))
    longer = keys(desk)["size"]
    for path in desk.home.glob("log.db*"):
        path.unlink()
    for name, data in with_wal.items():
        (desk.home / name).write_bytes(data)
    accepted = desk("log", "accept", "--reason", "the disk broke")
    assert accepted.code == 0, accepted.err
    (old,) = keys(desk)["keys"]
    said = desk("key", "rotate", "--anew", "--reason", "the disk broke", "--json")
    assert said.code == 0, said.err
    assert (said.json["retired"], said.json["size"]) == ([old["keyid"]], 0)
    desk.run(desk.runbook(mark("three"), version="1.0.2"))
    view = keys(desk)
    assert view["checkpoint"]["signers"] == [said.json["keyid"]]
    assert view["size"] != longer


def test_restored_backup_is_not_left_to_a_key_that_has_signed_what_was_lost(desk: Desk) -> None:
    """The key of a change that the backup knows nothing of waits here, and signs the lost log only."""
    desk.run(desk.runbook(mark("one")))
    backup = {path.name: path.read_bytes() for path in desk.home.glob("log.db*")}
    lost = desk("key", "rotate", "--json").json["keyid"]
    for path in desk.home.glob("log.db*"):
        path.unlink()
    for name, data in backup.items():
        (desk.home / name).write_bytes(data)
    assert desk("log", "accept", "--reason", "the disk broke").code == 0
    # The log may have become longer than the lost one meanwhile.
    desk.run(desk.runbook(mark("two"), version="1.0.1"))
    desk.run(desk.runbook(mark("three"), version="1.0.2"))
    said = desk("key", "rotate", "--anew", "--reason", "the disk broke", "--json")
    assert said.code == 0, said.err
    new = said.json["keyid"]
    assert new != lost
    desk.run(desk.runbook(mark("four"), version="1.0.3"))
    view = keys(desk)
    assert (view["checkpoint"]["signers"], view["checkpoint"]["size"]) == ([new], view["size"])
    assert [path.stem for path in (desk.home / "signer").glob("*.pem")] == [new]
    verified = desk("log", "verify", "--json")
    assert verified.json["signed"] == view["size"], verified.out


def test_another_process_signs_and_the_home_has_no_key(desk: Desk, tmp_path: Path) -> None:
    """A signer behind a socket: the log is made, signed and its key changed without a key in the home."""
    home, path = tmp_path / "apart", tmp_path / "s.sock"
    with _signer(desk, path, str(os.getuid())) as log:
        env = {"MIMRUN_HOME": str(home), "MIMRUN_SIGNER": f"unix:{path}"}
        made = desk("init", "--no-prefect", **env)
        assert made.code == 0, made.err
        (home / "people.yaml").write_text((desk.home / "people.yaml").read_text())
        desk.run(desk.runbook(mark("one")), **env)
        view = keys(desk, **env)
        (key,) = view["keys"]
        assert (view["signer"], key["signs_here"]) == (f"unix:{path}", True)
        assert view["checkpoint"]["signers"] == [key["keyid"]]
        assert not list(home.rglob("*.pem"))
        assert desk("key", "rotate", **env).code == 0
        anew = desk("key", "rotate", "--anew", **env)
        assert anew.code == 5
        assert "made where the signer runs" in anew.err
        assert log()
    # It is gone: runs go on, and `key show` says that nobody signs.
    later = desk.run(desk.runbook(mark("two"), version="1.0.1"), **env)
    assert later.code == 0, later.err
    view = keys(desk, **env)
    assert "does not answer" in view["fault"]
    assert view["checkpoint"]["size"] < view["size"]


def test_signer_says_what_it_needs(desk: Desk) -> None:
    said = desk("signer")
    assert said.code == 2
    assert "--socket PATH" in said.err
    unknown = desk("signer", "--socket", "s.sock", "--allow", "nobody-of-this-name")
    assert unknown.code == 2
    assert "no such user or group" in unknown.err


class _signer:  # noqa: N801 - reads as what it is in a `with`
    """A real `mimrun signer`, for as long as the `with` lasts; gives what it has said."""

    def __init__(self, desk: Desk, path: Path, allow: str) -> None:
        words = desk.cold(
            "signer", "--folder", str(path.parent / "keys"), "--socket", str(path), "--allow", allow
        )
        self.process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=desk.env)
        self.path = path

    def __enter__(self) -> Callable[[], bool]:
        until(self.path.exists, "the signer listens")
        return lambda: self.process.poll() is None

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(30) == 0
        assert self.process.stderr is not None
        with self.process.stderr:
            assert "signing the log mimrun" in self.process.stderr.read()
        assert not self.path.exists()


def test_every_command_shows_how_it_is_used(desk: Desk) -> None:
    for word in EVERYTHING:
        said = desk("key", word, "--help")
        assert said.code == 0
        assert "Example" in said.out


def test_stored_checkpoint_is_the_note_that_the_page_describes(desk: Desk) -> None:
    desk.run(desk.runbook(mark("one")))
    view = keys(desk)
    with closing(sqlite3.connect(desk.home / "log.db")) as db:
        size, note = db.execute("select size, note from checkpoint order by size desc").fetchone()
    read = read_note(note)
    assert read.signed([read_vkey(view["keys"][0]["vkey"])])
    checkpoint = read_checkpoint(read.text)
    assert (checkpoint.origin, checkpoint.size) == ("mimrun", size)
    assert checkpoint.root.hex() == view["checkpoint"]["root"]
