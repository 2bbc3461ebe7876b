"""The log on the command line: readable, honest about every flipped byte, and safe to print."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from builders.commands import GATE, Desk, mark

from mimrun import canonical
from mimrun.log.merkle import leaf_hash

ESCAPES = {
    "title": "\\033]0;owned\\007",
    "red": "\\033[31m",
    "c1": "\\302\\233\\063\\061m",
    "bidi": "\\342\\200\\256evil",
    "back": "\\b\\b\\b",
    "return": "line\\rover",
}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def entries(desk: Desk) -> list[dict[str, object]]:
    return [json.loads(line) for line in desk("log", "show", "--json").out.splitlines()]


@pytest.mark.parametrize("where", ["start", "middle", "end"])
def test_one_flipped_byte_is_found_at_its_entry(desk: Desk, where: str) -> None:
    desk.run(desk.runbook(mark("one") + mark("two")))
    assert desk("log", "verify").code == 0
    count = len(entries(desk))
    seq = {"start": 2, "middle": count // 2, "end": count}[where]
    with closing(sqlite3.connect(desk.home / "log.db")) as db, db:
        for (name,) in db.execute("select name from sqlite_schema where type = 'trigger'").fetchall():
            db.execute(f"drop trigger {name}")
        (data,) = db.execute("select data from entry where seq = ?", (seq,)).fetchone()
        at = len(data) // 2
        flipped = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        db.execute("update entry set data = ? where seq = ?", (flipped, seq))
    said = desk("log", "verify")
    assert said.code == 6
    assert f"entry {seq}" in said.out
    assert "Traceback" not in said.err
    as_json = desk("log", "verify", "--json")
    assert as_json.code == 6
    assert as_json.json["ok"] is False


def test_a_flipped_byte_in_a_bundle_is_found_without_the_log(desk: Desk) -> None:
    desk.run(desk.runbook(mark("one")))
    assert desk("log", "export", "all", "-o", "all.mimlog").code == 0
    bundle = desk.folder / "all.mimlog"
    assert desk("log", "verify", "all.mimlog", "--home", "/nonexistent").code == 0
    data = bytearray(bundle.read_bytes())
    at = data.index(b"step.intent")
    data[at] ^= 1
    bundle.write_bytes(data)
    assert desk("log", "verify", "all.mimlog").code == 6


def test_an_export_is_never_written_over_and_is_on_record(desk: Desk) -> None:
    desk.run(desk.runbook(mark("one")))
    incident = desk.status()["incident"]
    assert desk("log", "export", incident).code == 0
    assert (desk.folder / f"{incident}.mimlog").exists()
    again = desk("log", "export", incident)
    assert again.code == 2
    # What closing the log adds is the heads for its checkpoint.
    assert [entry["kind"] for entry in entries(desk)][-2:] == ["export.made", "log.heads"]


def test_what_a_target_says_never_reaches_the_terminal_as_a_command(desk: Desk) -> None:
    words = "".join(ESCAPES.values())
    desk.write("say", f"printf '{words}'\n")
    say = f"  - {{name: Say, local.command: {{argv: [printf, '{words}']}}, register: said}}\n"
    fail = "  - {name: Fail, local.shell: {cmd: 'sh say >&2; exit 3'}}\n"
    ran = desk.run(desk.runbook(say + fail))
    assert ran.code == 1, ran.err
    shown = [
        ran,
        desk("status"),
        desk("log", "show", "--blobs"),
        desk("log", "show", "--blobs", "--json"),
        desk("log", "show", "--json"),
        desk("status", "--json"),
        desk("runs"),
    ]
    for said in shown:
        text = said.out + said.err
        for character in ("\x1b", "\x07", "\x9b", "\u202e", "\b", "\r"):
            assert character not in text, (character, text)
    assert "\\u001b]0;owned" in shown[2].out, "it is shown as what it is"
    assert json.loads(shown[3].out.splitlines()[0])


def test_names_from_the_inventory_and_the_runbook_are_safe_to_print(desk: Desk) -> None:
    book = desk.runbook('  - {name: "Evil \\e[31m\\u202ename", local.command: {argv: ["true"]}}\n')
    for said in (desk("plan", book), desk.run(book), desk("status"), desk("log", "show"), desk("runs")):
        assert "\x1b" not in said.out + said.err
        assert "\u202e" not in said.out + said.err


def test_the_timeline_is_a_line_for_each_entry_with_time_kind_actor_and_place(desk: Desk) -> None:
    desk.run(desk.runbook(mark("one") + GATE))
    lines = desk("log", "show", "latest", COLUMNS="999").out.splitlines()
    told = entries(desk)
    run = [entry for entry in told if entry["run"]]
    assert len(lines) == len(run)
    for line, entry in zip(lines, run, strict=True):
        assert line.split()[0] == str(entry["seq"])
        assert str(entry["kind"]) in line
    assert desk("log", "show", "--after", str(told[-2]["seq"]), COLUMNS="999").out.count("\n") == 1


@pytest.mark.parametrize(("columns", "width"), [("", 80), ("60", 60), ("120", 120)])
def test_the_timeline_is_sentences_that_are_folded_to_the_width_without_colour_in_a_pipe(
    desk: Desk, columns: str, width: int
) -> None:
    reason = "customers of the second shop see yesterday's prices, and only they, since the release of noon"
    desk.run(desk.runbook(mark("one")))
    assert desk("did", reason, "--at", "15m ago").code == 0
    shown = desk("log", "show", COLUMNS=columns, NO_COLOR="").out
    assert "\x1b" not in shown
    lines = shown.splitlines()
    assert max(map(len, lines)) <= width
    began = [number for number, line in enumerate(lines) if line[:6].strip().isdigit()]
    assert len(began) == len(entries(desk)) < len(lines)
    # What goes on stands under where it began, or under the number where there is no room.
    indent = 28 if width >= 72 else 8
    assert {len(line) - len(line.lstrip()) for n, line in enumerate(lines) if n not in began} == {indent}
    text = " ".join(shown.split())
    assert f"manual.reported by responder: {reason}; done at" in text
    assert "entered 15 min later" in text
    assert "step.outcome by" in text
    for odd in ("None", "=''", "{'", "[]", "()", "=True"):
        assert odd not in text


def test_an_entry_with_a_body_that_cannot_be_is_shown_as_unreadable_and_named(desk: Desk) -> None:
    desk.run(desk.runbook(mark("one")))
    told = entries(desk)
    value = next(entry for entry in told if entry["kind"] == "run.ended")
    with closing(sqlite3.connect(desk.home / "log.db")) as db, db:
        size, leaf = db.execute("select size, leaf from head").fetchone()
        iseq, iprev = db.execute("select iseq, leaf from incident_head").fetchone()
        seq = size + 1
        value |= {
            "seq": seq,
            "prev": leaf,
            "iseq": iseq + 1,
            "iprev": iprev,
            "ts": told[-1]["ts"],
            "blobs": [],
        }
        value["body"]["recap"]["ok"] = "many\x1b[31m"  # type: ignore[index]
        data = canonical.encode(value)  # type: ignore[arg-type]
        row = (seq, data, leaf_hash(data), value["kind"], value["inc"], value["run"])
        db.execute("insert into entry values (?, ?, ?, ?, ?, ?)", row)
    for words in (["log", "show"], ["log", "show", "--blobs"], ["log", "show", "--json"]):
        shown = desk(*words)
        assert (shown.code, "Traceback" in shown.err) == (6, False), shown.err
        assert "recap.ok: input should be a valid integer" in shown.out
        assert "\x1b" not in shown.out
    assert json.loads(desk("log", "show", "--json").out.splitlines()[-1])["seq"] == seq
    assert desk("log", "show", "--after", str(size)).out.split()[:2] == [str(seq), "unreadable:"]
    checked = desk("log", "verify")
    assert (checked.code, f"entry {seq}: its body is not one of run.ended: recap.ok" in checked.out) == (
        6,
        True,
    )


def test_a_state_that_was_changed_in_the_file_is_found_and_put_right_by_a_rebuild(desk: Desk) -> None:
    assert desk.run(desk.runbook(mark("one"))).code == 0
    with closing(sqlite3.connect(desk.home / "log.db")) as db, db:
        changed = db.execute(
            "update projection set state = cast(replace(cast(state as text), 'succeeded', 'cancelled') as blob)"
            " where instr(state, cast('\"succeeded\"' as blob))"
        )
        assert changed.rowcount > 0
    assert "cancelled" in desk("runs").out
    plain = desk("log", "verify")
    assert plain.code == 0
    assert "mimrun log verify --states" in plain.out
    said = desk("log", "verify", "--states")
    assert said.code == 6
    assert 'status is "cancelled" and would be "succeeded"' in said.out
    told = desk("log", "verify", "--states", "--json")
    assert told.code == 6
    (other,) = told.json["states"]["others"]
    assert (other["projection"], other["wrong"]) == ("runs/3", "differs")
    assert "cancelled" in desk("runs").out
    said = desk("log", "rebuild")
    assert (said.code, said.out) == (6, "states differed and were replaced\n")
    assert "succeeded" in desk("runs").out
    assert desk("log", "rebuild").code == 0
    assert "states are what the first" in desk("log", "verify", "--states").out
    assert desk("log", "verify", "--states", "some.mimlog").code == 2


def test_a_home_that_is_no_log_is_said_to_be_none(desk: Desk, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "log.db").write_bytes(b"not a database at all, but long enough to look at" * 100)
    for words in (("runs",), ("log", "verify"), ("status",)):
        said = desk(*words, "--home", str(other))
        assert said.code == 6, said.err
        assert "Traceback" not in said.err
