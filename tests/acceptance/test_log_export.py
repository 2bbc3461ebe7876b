"""The log's ways out, from the command line: files, pipes, streams, and a real syslog server."""

from __future__ import annotations

import csv
import json
import signal
import socket
import sqlite3
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from builders.commands import Desk, mark, until

from mimrun.canonical import digest_bytes
from mimrun.cli.log_export import Way
from mimrun.lab.loopback import free_ports
from mimrun.log.export.format import Format

LINES = ("jsonl", "csv", "ocsf", "cloudevents", "syslog")
NASTY = (
    "  - {name: Say it, local.command: {argv: [printf, '\\033[2Jred\\r\\n\\377\\000 \\342\\200\\256bidi']}}\n"
)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    made = Desk(tmp_path)
    assert made.run(made.runbook(NASTY + mark("x"))).code == 0
    return made


def entries(desk: Desk) -> list[dict[str, object]]:
    return [json.loads(line) for line in desk("log", "show", "--json").out.splitlines()]


def test_every_format_can_be_asked_for() -> None:
    assert {one.value for one in Way} - {"bundle"} == {one.value for one in Format} == set(LINES)


@pytest.mark.parametrize("format_", LINES)
def test_a_file_holds_every_entry_and_its_digest_is_recorded(desk: Desk, format_: str) -> None:
    before = entries(desk)
    file = desk.folder / f"out.{format_}"
    said = desk("log", "export", "all", "--format", format_, "-o", str(file), "--json")
    assert said.code == 0, said.err
    data = file.read_bytes()
    assert said.json == {"file": str(file), "entries": len(before), "digest": digest_bytes(data)}
    assert len(data.splitlines()) == len(before) + (format_ == "csv")
    assert file.stat().st_mode & 0o777 == 0o600
    (made,) = [entry for entry in entries(desk) if entry["kind"] == "export.made"]
    assert made["body"] == {"entries": len(before), "digest": digest_bytes(data), "format": format_}
    again = desk("log", "export", "all", "--format", format_, "-o", str(file))
    assert again.code == 2
    assert "exists" in again.err
    assert file.read_bytes() == data


def test_the_lines_of_a_whole_log_can_be_verified(desk: Desk) -> None:
    file = desk.folder / "all.jsonl"
    assert desk("log", "export", "all", "--format", "jsonl", "-o", str(file)).code == 0
    assert desk("log", "verify", str(file)).code == 0
    file.write_bytes(file.read_bytes().replace(b'"risk":"low"', b'"risk":"loW"'))
    assert desk("log", "verify", str(file)).code == 6


def test_standard_output_takes_lines_of_one_incident_behind_a_number(desk: Desk) -> None:
    (inc,) = {entry["inc"] for entry in entries(desk)} - {""}
    ids = [entry["seq"] for entry in entries(desk) if entry["inc"] == inc]
    said = desk("log", "export", str(inc), "--format", "ocsf", "--after", str(ids[2]))
    assert said.code == 0, said.err
    assert [json.loads(line)["metadata"]["sequence"] for line in said.out.splitlines()] == ids[3:]


def test_blobs_come_with_json_lines_alone(desk: Desk) -> None:
    said = desk("log", "export", "all", "--format", "jsonl", "--blobs", "-o", "-")
    found = [json.loads(line) for line in said.out.split("\n") if line]
    texts = [blob["text"] for each in found for blob in each["blobs"].values()]
    assert any("\\u202ebidi" in text for text in texts), "what it said is JSON of its own"
    assert len(said.out.strip("\n").split("\n")) == len(found)
    refused = desk("log", "export", "all", "--format", "csv", "--blobs")
    assert refused.code == 2
    assert "no place for output and texts" in refused.err


def test_a_blob_that_is_gone_without_a_word_lets_nothing_out(desk: Desk) -> None:
    with sqlite3.connect(desk.home / "log.db") as db:
        triggers = "select name from sqlite_master where type = 'trigger' and tbl_name = 'blob'"
        for (name,) in db.execute(triggers).fetchall():
            db.execute(f"drop trigger {name}")
        db.execute("delete from blob")
    db.close()
    file = desk.folder / "out.jsonl"
    said = desk("log", "export", "all", "--format", "jsonl", "--blobs", "-o", str(file))
    assert said.code == 6
    assert "is missing, and nobody erased it" in said.err
    assert not file.exists()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--format", "csv", "--octets"), "--octets is for syslog"),
        (("--follow",), "are for lines"),
        (("--format", "ocsf", "--follow", "-o", "x"), "writes to standard output"),
        (("--format", "ocsf", "--json"), "--json tells of a file"),
    ],
)
def test_what_does_not_go_together_is_refused(desk: Desk, words: tuple[str, ...], why: str) -> None:
    said = desk("log", "export", "all", *words)
    assert said.code == 2
    assert why in said.err + said.out


def test_an_incident_that_is_not_there_leaves_no_file_and_no_record(desk: Desk) -> None:
    before = desk.size()
    said = desk("log", "export", "INC-NOT", "--format", "csv", "-o", str(desk.folder / "x.csv"))
    assert said.code == 2
    assert "no incident" in said.err
    assert not (desk.folder / "x.csv").exists()
    assert desk.size() == before


def test_a_stream_gives_new_entries_as_they_come_and_ends_well_with_ctrl_c(desk: Desk) -> None:
    before = desk.size()
    running = desk.begin("log", "export", "all", "--format", "cloudevents", "--follow")
    seen = [json.loads(running.out.readline()) for _ in range(before)]
    assert desk.run(desk.runbook(mark("later"), name="later")).code == 0
    ended = False
    while not ended:
        seen.append(json.loads(running.out.readline()))
        ended = seen[-1]["type"] == "org.mimrun.run.ended"
    running.signal(signal.SIGINT)
    said = running.wait()
    assert said.code == 0, said.err
    seen += [json.loads(line) for line in said.out.splitlines()]
    assert [int(event["sequence"]) for event in seen] == list(range(1, len(seen) + 1))
    assert "export.made" not in {entry["kind"] for entry in entries(desk)}


@dataclass(frozen=True)
class Server:
    port: int
    file: Path

    def received(self) -> list[dict[str, str]]:
        return [json.loads(line) for line in self.file.read_text("utf-8").split("\n") if line]


CONFIGURATION = """\
global(workDirectory="{folder}" maxMessageSize="64k")
module(load="imtcp")
input(type="imtcp" port="{port}" address="127.0.0.1")
template(name="all" type="list" option.jsonf="on") {{
  property(outname="pri" name="pri" format="jsonf")
  property(outname="msgid" name="msgid" format="jsonf")
  property(outname="host" name="hostname" format="jsonf")
  property(outname="app" name="app-name" format="jsonf")
  property(outname="time" name="timereported" dateFormat="rfc3339" format="jsonf")
  property(outname="data" name="structured-data" format="jsonf")
  property(outname="text" name="msg" format="jsonf")
}}
action(type="omfile" file="{folder}/received" template="all")
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    folder = tmp_path / "rsyslog"
    folder.mkdir()
    (port,) = free_ports(["127.0.0.1"])
    conf = folder / "rsyslog.conf"
    conf.write_text(CONFIGURATION.format(folder=folder, port=port))
    (folder / "received").touch()
    words = ["/usr/sbin/rsyslogd", "-n", "-f", str(conf), "-i", str(folder / "pid")]
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen(words, stdout=said, stderr=said)
    try:

        def listens() -> bool:
            with socket.socket() as line:
                return line.connect_ex(("127.0.0.1", port)) == 0

        until(listens, (folder / "said").read_text())
        yield Server(port, folder / "received")
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.needs("rsyslog")
@pytest.mark.parametrize("octets", [False, True], ids=["lines", "octets"])
def test_a_real_syslog_server_takes_every_entry_whole(desk: Desk, server: Server, octets: bool) -> None:
    wanted = entries(desk)
    file = desk.folder / "out.syslog"
    words = ["--octets"] if octets else []
    assert desk("log", "export", "all", "--format", "syslog", "-o", str(file), *words).code == 0
    with socket.create_connection(("127.0.0.1", server.port)) as line:
        line.sendall(file.read_bytes())
    until(lambda: len(server.received()) >= len(wanted), "messages at the server")
    received = server.received()
    assert [message["msgid"] for message in received] == [entry["kind"] for entry in wanted]
    for message, entry in zip(received, wanted, strict=True):
        assert (message["app"], message["host"], int(message["pri"]) // 8) == ("mimrun", "mimrun", 13)
        assert f'seq="{entry["seq"]}"' in message["data"]
        assert message["time"].startswith(str(entry["ts"])[:19])
        assert message["text"].endswith("}")
        assert message["text"].isprintable() or message["text"].startswith("\ufeff")


def test_a_spreadsheet_gets_rows_of_the_same_width(desk: Desk) -> None:
    said = desk("log", "export", "all", "--format", "csv")
    table = list(csv.reader(said.out.splitlines(), strict=True))
    assert {len(row) for row in table} == {len(table[0])}
