"""Notes, work by hand and attachments on the command line: on the record, with who, when and where."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from builders.commands import GATE, Desk, mark
from builders.pty import Screen

SECRET = "correct-horse-battery-9"


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = Desk(tmp_path)
    desk.run(desk.runbook(mark("one")))
    return desk


def entries(desk: Desk, kind: str) -> list[dict[str, Any]]:
    lines = desk("log", "show", "--json", "--blobs").out.splitlines()
    return [told for line in lines if (told := json.loads(line))["entry"]["kind"] == kind]


def test_a_note_belongs_to_the_incident_of_the_newest_run_and_that_is_said(desk: Desk) -> None:
    incident = desk.status()["incident"]
    said = desk("note", "the errors", "began at noon")
    assert said.code == 0, said.err
    assert f"{incident}, the incident of the newest run" in said.out
    (told,) = entries(desk, "incident.note")
    assert told["entry"]["inc"] == incident
    assert told["entry"]["run"] == ""
    assert told["entry"]["actor"]["id"] == "responder"
    assert told["entry"]["body"] == {}, "free text is in the blob"
    assert told["blobs"] == {"text": "the errors began at noon"}
    assert "the errors began at noon" in desk("log", "show", COLUMNS="999").out


def test_a_note_can_name_its_run_or_incident_and_come_from_a_pipe(desk: Desk) -> None:
    first = desk.status()
    desk.run(desk.runbook(mark("two"), name="other"))
    assert desk("note", "-", "--run", first["run"], stdin="line 1\nline 2\n").code == 0
    as_json = desk("note", "x", "--incident", first["incident"], "--json").json
    assert (as_json["incident"], as_json["assumed"]) == (first["incident"], False)
    told = entries(desk, "incident.note")
    assert [one["entry"]["inc"] for one in told] == [first["incident"]] * 2
    assert told[0]["entry"]["run"] == first["run"]
    assert told[0]["blobs"]["text"] == "line 1\nline 2"


def test_where_there_is_no_incident_it_is_said_how_to_get_one(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    before = desk.size()
    for words in (("note", "x"), ("did", "x"), ("attach", "file")):
        desk.write("file", "x")
        said = desk(*words)
        assert said.code == 2
        assert "mimrun run RUNBOOK" in said.err
    assert desk.size() == before


def test_bad_words_change_nothing(desk: Desk) -> None:
    before = desk.size()
    desk.write("file", "x")
    for words, why in (
        (("note",), "say what"),
        (("note", "  "), "nothing to write down"),
        (("note", "x", "--incident", "INC-NONE"), "has no incident"),
        (("note", "x", "--run", "run-none"), "no run"),
        (("note", "x", "--incident", "INC-NONE", "--run", "latest"), "has no incident"),
        (("note", "x", "--attach", "none"), "cannot be read"),
        (("note", "x", "--as", "nobody"), "nobody"),
        (("did", "x", "--at", "2099-01-01T10:00"), "from now"),
        (("did", "x", "--at", "noon"), "is not a moment"),
        (("attach", "file", "none"), "cannot be read"),
    ):
        said = desk(*words)
        assert (said.code, why in said.err) == (2, True), (words, said)
        assert "Traceback" not in said.err
    assert desk("note", "-", stdin="\ud800".encode("utf-8", "surrogatepass").decode("latin-1")).code == 0
    # The note, and the heads for the checkpoint that closing the log makes.
    assert desk.size() == before + 2


def test_what_was_done_by_hand_keeps_when_it_was_done_and_when_that_was_said(desk: Desk) -> None:
    said = desk("did", "restarted the switch by hand", "--at", "14m ago", "--target", "sw1", "--json")
    assert said.code == 0, said.err
    assert "no inventory" in said.json["warnings"][0]
    (told,) = entries(desk, "manual.reported")
    entry = told["entry"]
    assert entry["target"] == "sw1"
    assert entry["body"]["title"] == "restarted the switch by hand"
    done, entered = datetime.fromisoformat(entry["body"]["at"]), datetime.fromisoformat(entry["ts"])
    assert timedelta(minutes=14) <= entered - done < timedelta(minutes=15)
    assert said.json["at"] == entry["body"]["at"]
    (line,) = [
        line for line in desk("log", "show", COLUMNS="999").out.splitlines() if "manual.reported" in line
    ]
    assert "entered 14 min later" in line
    assert entry["body"]["at"][:19].replace("T", " ") in line
    assert entry["ts"][:19].replace("T", " ") in line


def test_the_moment_is_read_on_the_callers_clock_and_said_back_in_full(desk: Desk) -> None:
    words = desk.cold("did", "x", "--at", "2026-01-05T10:42")  # a process learns its zone when it starts
    env = {**desk.env, "TZ": "Europe/Berlin"}
    said = subprocess.run(words, env=env, cwd=desk.folder, capture_output=True, text=True, check=True)
    assert "Mon 2026-01-05 10:42:00 CET (+01:00), 09:42:00 UTC" in said.stdout
    assert entries(desk, "manual.reported")[0]["entry"]["body"]["at"] == "2026-01-05T09:42:00.000000Z"


def test_a_long_report_is_whole_in_its_blob(desk: Desk) -> None:
    text = "swapped the cable\nfirst the left one, " + "then another one, " * 20
    assert desk("did", "-", stdin=text).code == 0
    (told,) = entries(desk, "manual.reported")
    assert told["entry"]["body"]["title"] == "swapped the cable"
    assert told["blobs"]["text"] == text.strip()


def test_a_host_is_looked_up_where_there_is_an_inventory(desk: Desk) -> None:
    desk.write("hosts.ini", "[switch]\nsw1\nsw2\n")
    unknown = desk("did", "x", "--target", "sv1", "-i", "hosts.ini")
    assert unknown.code == 2
    assert "sw1" in unknown.err
    known = desk("did", "x", "--target", "sw1", MIMRUN_INVENTORY=str(desk.folder / "hosts.ini"))
    assert (known.code, known.err) == (0, "")


def test_an_attachment_comes_back_byte_for_byte(desk: Desk) -> None:
    content = bytes(range(256)) * 100
    (desk.folder / "shot.bin").write_bytes(content)
    desk.write("words.txt", "what the log said\n")
    said = desk("attach", "shot.bin", "words.txt", "--note", "before the restart", "--json")
    assert said.code == 0, said.err
    first, second = said.json["attachments"]
    assert first["digest"] == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert (second["media_type"], second["size"]) == ("text/plain", 18)
    back = desk("log", "attachment", str(first["entry"]), "-o", "back.bin")
    assert back.code == 0, back.err
    assert (desk.folder / "back.bin").read_bytes() == content
    assert (desk.folder / "back.bin").stat().st_mode & 0o077 == 0
    assert desk("log", "attachment", str(first["entry"]), "-o", "back.bin").code == 2, "never written over"
    shown = desk("log", "show", "--blobs")
    assert "shot.bin" in shown.out
    assert "before the restart" in shown.out
    assert desk("log", "verify").code == 0
    assert desk("log", "attachment", "1", "-o", "none").code == 2
    assert desk("log", "attachment", "9999", "-o", "none").code == 2


def test_where_only_the_digest_is_kept_the_file_is_not(desk: Desk) -> None:
    desk.write("core.dump", "MEMORY-OF-A-PROCESS" * 10)
    said = desk("attach", "core.dump", "--digest-only", "--json")
    (entry,) = said.json["attachments"]
    assert entry["kept"] is False
    back = desk("log", "attachment", str(entry["entry"]), "-o", "x")
    assert back.code == 2
    assert entry["digest"] in back.err
    assert not any(b"MEMORY-OF-A-PROCESS" in path.read_bytes() for path in files_of(desk.home))


def test_a_note_can_bring_files_along_all_or_nothing(desk: Desk) -> None:
    desk.write("a", "1")
    before = desk.size()
    assert desk("note", "see", "--attach", "a", "--attach", "none").code == 2
    assert desk.size() == before
    assert desk("note", "see", "--attach", "a", "--run", "latest").code == 0
    told = entries(desk, "incident.attached")
    assert told[0]["entry"]["run"] == desk.status()["run"]


def test_known_secrets_are_masked_in_words_and_refused_in_files(desk: Desk) -> None:
    desk.write("hosts.ini", "db1 ssh_key_passphrase=env:DB_PHRASE\n")
    desk.write("conf", f"password = {SECRET}\n")
    given = {"MIMRUN_INVENTORY": str(desk.folder / "hosts.ini"), "DB_PHRASE": SECRET}
    noted = desk("note", f"the password was {SECRET}, I changed it", **given)
    assert noted.code == 0
    assert "masked" in noted.err
    assert desk("did", f"tried {SECRET}", **given).code == 0
    refused = desk("attach", "conf", **given)
    assert refused.code == 5
    assert SECRET not in refused.err + refused.out
    assert not any(SECRET.encode() in path.read_bytes() for path in files_of(desk.home))
    assert entries(desk, "incident.note")[0]["blobs"]["text"] == "the password was *****, I changed it"
    assert desk("attach", "conf", "--force", **given).code == 0


def test_hostile_words_and_names_are_shown_as_what_they_are(desk: Desk) -> None:
    (desk.folder / "evil\x1b[31m\u202e.txt").write_text("x")
    assert desk("note", "red \x1b[31m alert \u202e \x07").code == 0
    assert desk("did", "bell \x07\x9b1m", "--target", "h").code == 0
    attached = desk("attach", "evil\x1b[31m\u202e.txt")
    assert attached.code == 0
    for said in (attached, desk("log", "show", "--blobs"), desk("log", "show", "--json", "--blobs")):
        for character in ("\x1b", "\x07", "\x9b", "\u202e"):
            assert character not in said.out + said.err


def test_a_note_on_a_waiting_run_stands_in_nobodys_way(desk: Desk) -> None:
    book = desk.runbook(mark("two") + GATE + mark("three"), name="gated")
    assert desk.run(book).code == 3
    digest = next(iter(desk.status()["gates"].values()))["digest"]
    assert desk("note", "looks good to me", "--run", "latest").code == 0
    assert desk("approve", "latest", "--digest", digest, "--as", "alex").code == 0
    assert desk("resume", "latest", "--direct").code == 0
    assert desk("log", "rebuild").out.startswith("every state is the same")


def test_a_person_at_a_terminal_writes_in_their_editor(desk: Desk) -> None:
    editor = desk.write("editor", '#!/bin/sh\nsed -i "1s/.*/written at length/" "$1"\n')
    editor.chmod(0o755)
    with Screen(desk.cold("note"), cwd=desk.folder, env={**desk.env, "EDITOR": str(editor)}) as screen:
        screen.see("noted by responder")
        assert screen.end() == 0
    assert entries(desk, "incident.note")[0]["blobs"]["text"] == "written at length"
    with Screen(desk.cold("note"), cwd=desk.folder, env={**desk.env, "EDITOR": "false"}) as screen:
        screen.see("ended with 1")
        assert screen.end() == 2
    with Screen(desk.cold("note"), cwd=desk.folder, env={**desk.env, "EDITOR": "", "VISUAL": ""}) as screen:
        screen.see("set EDITOR")
        assert screen.end() == 2


def test_nothing_is_recorded_where_the_log_cannot_be_written(desk: Desk) -> None:
    if os.geteuid() == 0:
        # Root may write anything; a log that is gone cannot be written by anybody.
        (desk.home / "log.db").rename(desk.home / "elsewhere")
    else:
        (desk.home / "log.db").chmod(0o400)
    begun = time.monotonic()
    said = desk("note", "x")
    assert said.code in (2, 6)
    assert time.monotonic() - begun < 30


def files_of(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
