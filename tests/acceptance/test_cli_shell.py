"""A person's shell on a real host, at a real terminal: all of it on the record, or no session."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from builders.commands import Desk, mark, until
from builders.pty import Screen
from builders.wire import Wire

from mimrun.lab import leftover
from mimrun.lab.sshd import SshdHosts

pytestmark = pytest.mark.needs("sshd")

SECRET = "correct-horse-battery-9"


@pytest.fixture(scope="module")
def hosts() -> Iterator[SshdHosts]:
    folder = Path(tempfile.mkdtemp(prefix="mimrun-shell-"))
    folder.chmod(0o711)
    try:
        with SshdHosts(folder / "sshd", ["db1"], net="127.0.71") as hosts:
            yield hosts
    finally:
        leftover.stop_all(folder)
        shutil.rmtree(folder, ignore_errors=True)


class Office(Desk):
    """A desk with an inventory of one real host."""

    def __init__(self, folder: Path, hosts: SshdHosts) -> None:
        super().__init__(folder)
        self.env |= {"TERM": "xterm-256color", "DB_PHRASE": SECRET}
        host = hosts.host("db1")
        self.variables: dict[str, Any] = {
            "ansible_host": host.address,
            "ansible_port": host.port,
            "ansible_user": host.user,
            "ansible_ssh_private_key_file": str(host.key_path),
            "ssh_known_hosts": str(host.known_hosts_path),
            "ssh_key_passphrase": "env:DB_PHRASE",
        }
        self.inventory()
        self.run(self.runbook(mark("one")))

    def inventory(self, **variables: Any) -> None:
        hosts = {
            "db1": self.variables | variables,
            "away": self.variables | {"ansible_port": 1},
        }
        self.write("hosts.json", json.dumps({"all": {"hosts": hosts}}))
        self.env["MIMRUN_INVENTORY"] = str(self.folder / "hosts.json")

    def sit(self, *words: str, columns: int = 100) -> Screen:
        """Sit down at a terminal and ask for a shell."""
        argv = self.cold("shell", *(words or ("db1",)))
        return Screen(argv, cwd=self.folder, env=self.env, columns=columns)

    def entries(self, kind: str = "shell.") -> list[dict[str, Any]]:
        lines = self("log", "show", "--json", "--blobs").out.splitlines()
        found = [json.loads(line) for line in lines]
        return [
            {**one["entry"], "texts": one["blobs"]} for one in found if one["entry"]["kind"].startswith(kind)
        ]

    def recorded(self) -> str:
        """What is on record of all sessions, as it was shown."""
        lines = [line for one in self.entries("shell.recorded") for line in one["texts"]["cast"].splitlines()]
        return "".join(event[2] for event in map(json.loads, lines) if event[1] == "o")

    def cast(self) -> tuple[dict[str, Any], list[list[Any]]]:
        """The last session as a file."""
        opened = self.entries("shell.opened")[-1]
        file = self.folder / f"{opened['seq']}.cast"
        said = self("log", "cast", str(opened["seq"]), "-o", str(file))
        assert said.code == 0, said.err
        head, *events = [json.loads(line) for line in file.read_text().splitlines()]
        return head, events


@pytest.fixture
def office(tmp_path: Path, hosts: SshdHosts) -> Office:
    return Office(tmp_path, hosts)


def settle_in(screen: Screen) -> None:
    """Wait until the shell answers; from here on the prompt is short."""
    screen.see("recording: db1")
    screen.write("PS1='$ '; export HISTFILE=/dev/null; echo rea''dy\r")
    screen.see("ready")


def test_a_session_is_on_record_from_before_it_begins_to_its_exit_status(office: Office) -> None:
    with office.sit("db1", "--reason", "the failover hangs", "--run", "latest") as screen:
        settle_in(screen)
        assert screen.modes_now() != screen.modes
        screen.write("stty size\r")
        screen.see("30 100")
        screen.resize(132, 43)
        screen.write("sleep 0.2; stty size\r")
        screen.see("43 132")
        screen.write("read -s -p 'pass''word: ' x\r")
        screen.see("password: ")
        screen.write("never-shown-0815\r")
        screen.write("echo len ${#x}; exit 7\r")
        screen.see("len 16")
        assert screen.end() == 7
        screen.see("ended with 7")
        assert screen.modes_now() == screen.modes, "the terminal is as it was"
    opened, *pieces, closed = office.entries()
    run = office.status()
    assert (opened["kind"], opened["inc"], opened["run"]) == ("shell.opened", run["incident"], run["run"])
    assert (opened["target"], opened["actor"]["id"]) == ("db1", "responder")
    body = opened["body"]
    assert (body["columns"], body["rows"], body["reason"]) == (100, 30, "the failover hangs")
    assert body["host_key"].startswith("ssh-ed25519 SHA256:")
    assert body["account"] == office.variables["ansible_user"]
    assert [one["body"]["part"] for one in pieces] == list(range(1, len(pieces) + 1))
    assert (closed["body"]["ended"], closed["body"]["status"]) == ("exit", 7)
    assert "never-shown-0815" not in office.recorded(), "what is not shown is not recorded"
    head, events = office.cast()
    assert (head["version"], head["width"], head["height"]) == (2, 100, 30)
    assert [int(n) for n in next(text for _, code, text in events if code == "r").split("x")] == [132, 43]
    shown = "".join(text for _, code, text in events if code == "o")
    assert "ready" in shown
    assert "len 16" in shown
    times = [at for at, _, _ in events]
    assert times == sorted(times)
    assert closed["body"]["dur_ms"] >= times[-1] * 1000
    assert office("log", "verify").code == 0
    assert office("log", "rebuild").out.startswith("every state is the same")
    assert not list((office.home / "lock").glob("shell-*"))


def test_a_known_secret_is_masked_also_across_pieces_and_is_nowhere_on_disk(office: Office) -> None:
    with office.sit() as screen:
        settle_in(screen)
        screen.write("printf 'it is correct-horse'; sleep 2.6; printf -- '-battery-9, '; echo do''ne\r")
        screen.see(f"it is {SECRET}, done")  # the person sees what the host says
        screen.write(
            "for c in c o r r e c t - h o r s e - b a t t e r y - 9; do printf %s $c; sleep 0.02; done; exit\r"
        )
        screen.see(SECRET)
        assert screen.end() == 0
    recorded = office.recorded()
    assert "it is *****, done" in recorded
    assert recorded.count("*****") == 2
    assert SECRET not in recorded
    for path in office.home.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path


LONG = "wachtmeister-Ümlaut-0815-4711-behind-the-edge-of-the-row"


@pytest.mark.parametrize("secret", [SECRET, LONG])
def test_a_secret_is_masked_however_a_real_line_editor_draws_it(office: Office, secret: str) -> None:
    office.env["ANOTHER"] = secret
    head, tail = secret[: len(secret) // 2], secret[len(secret) // 2 :]
    with office.sit("db1", "--mask", "env:ANOTHER", columns=20) as screen:
        screen.see("recording: db1")
        screen.write("export LC_ALL=C.UTF-8 HISTFILE=/dev/null; exec bash --norc\r")
        screen.write("bind 'set enable-bracketed-paste on'; PS1='$ '; cl''ear; echo rea''dy\r")
        screen.see("ready")
        for key in f": {secret}":  # one by one, as a person does: bash wraps it by itself
            screen.write(key)
            until_echoed(screen)
        screen.write("; echo ty''ped\r")
        screen.see("typed")
        for key in (
            *f": {head}",
            *"oops",
            *"\x7f" * 7,
            *head[-3:],
            *tail,
        ):  # a slip, and more taken back than that
            screen.write(key)
            until_echoed(screen)
        screen.write("; echo slip''ped\r")
        screen.see("slipped")
        screen.write(f"printf '\\e[1;31m%s\\e[0m\\e[K%s\\n' '{head}' '{tail}'; echo colou''red\r")
        screen.see("coloured")
        screen.write(
            "\x10\x10\x10\x01: again; \x05; echo re''called\r"
        )  # from the history, with a word before it
        screen.see("recalled")
        screen.write("exit\r")
        screen.write("exit\r")
        assert screen.end() == 0
    recorded = office.recorded()
    for shown in (recorded, re.sub(r" \r|\r\n|\x1b\[[0-9;?]*[a-zA-Z]", "", recorded)):
        assert secret not in shown
    line_editing = recorded[recorded.index("ready") :]
    for part in (secret[2:8], secret[-8:-2], secret[12:18]):
        assert part not in line_editing.partition("printf")[0], line_editing
    for path in office.home.rglob("*"):
        assert not path.is_file() or secret.encode() not in path.read_bytes(), path


def until_echoed(screen: Screen) -> None:
    """Let the host answer a key before the next one."""
    was = len(screen.shown)
    end = time.monotonic() + 1
    while len(screen.shown) == was and time.monotonic() < end:
        time.sleep(0.002)


def test_a_line_that_may_become_a_secret_is_on_record_before_it_is_done(office: Office) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        with office.sit() as screen:
            settle_in(screen)
            screen.write(f"touch {folder}/corroded\r")
            until((Path(folder) / "corroded").exists, "it is done")
            screen.kill()
            screen.end()
        assert f"touch {folder}/corroded" in office.recorded()


def test_a_secret_can_be_named_for_one_session(office: Office) -> None:
    office.env["ANOTHER"] = "swordfish-2026"
    with office.sit("db1", "--mask", "env:ANOTHER", "--reason", "try swordfish-2026") as screen:
        settle_in(screen)
        screen.write("echo sword'fish'-2026; exit\r")
        screen.see("swordfish-2026")
        assert screen.end() == 0
    assert "swordfish-2026" not in json.dumps(office.entries())
    with office.sit("db1", "--mask", "env:NOT_SET") as screen:
        screen.see("NOT_SET")
        assert screen.end() == 2


def test_what_was_seen_is_on_record_though_mimrun_is_killed(office: Office) -> None:
    with office.sit() as screen:
        settle_in(screen)
        screen.write("echo $$ >pid_of_$PPID; echo se''en; sleep 600\r")
        screen.see("seen")
        until(lambda: "seen" in office.recorded(), "it is on record by itself, without another key")
        screen.kill()
        assert screen.end() == -signal.SIGKILL
    opened = office.entries("shell.opened")[0]
    assert not office.entries("shell.closed")
    doctor = office("doctor")
    assert f"shell {opened['seq']}" in doctor.out
    assert "broke off without an end" in doctor.out
    assert f"mimrun shell --settle {opened['seq']}" in doctor.out
    assert f"shell {opened['seq']}: responder on db1" in office("status").out
    _, events = office.cast()
    assert "seen" in "".join(text for _, _, text in events)
    assert office("shell", "--settle", str(opened["seq"]), "--as", "alex").code == 0
    closed = office.entries("shell.closed")[0]
    assert (closed["body"]["ended"], closed["actor"]["id"]) == ("lost", "alex")
    assert f"shell {opened['seq']}" not in office("doctor").out
    assert office("shell", "--settle", str(opened["seq"])).code == 2


def test_a_command_line_is_on_record_before_it_is_done(office: Office) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        with office.sit() as screen:
            settle_in(screen)
            for name in ("one", "two", "three"):
                screen.write(f"touch {folder}/{name}\r")  # all at once, faster than anybody types
                until(lambda name=name: (Path(folder) / name).exists(), name)  # type: ignore[misc]
            screen.kill()
            screen.end()
    assert all(f"touch {folder}/{name}" in office.recorded() for name in ("one", "two", "three"))


def test_many_lines_that_are_pasted_arrive_whole(office: Office) -> None:
    lines = [f"line {n} of many" for n in range(400)]
    with office.sit() as screen:
        settle_in(screen)
        screen.write("echo be''gun; cat >/dev/null; echo r''ead\r")
        screen.see("begun")
        for at in range(0, 400, 40):
            screen.write("\r".join(lines[at : at + 40]) + "\r")
        screen.write("\x04")
        screen.see("line 399 of many")
        screen.see("read")
        screen.write("exit\r")
        assert screen.end() == 0
    recorded = office.recorded()
    assert all(line in recorded for line in lines)


def test_a_session_that_broke_off_is_ended_on_record_before_the_next_begins(office: Office) -> None:
    with office.sit() as first:
        settle_in(first)
        doctor = office("doctor")
        assert "open now" in doctor.out
        assert office("shell", "--settle", str(office.entries("shell.opened")[0]["seq"])).code == 5
        first.kill()
        first.end()
    with office.sit() as second:
        settle_in(second)
        second.write("exit\r")
        assert second.end() == 0
    assert [one["body"]["ended"] for one in office.entries("shell.closed")] == ["lost", "exit"]


def test_a_line_that_is_cut_ends_the_session_and_keeps_what_was_seen(
    office: Office, hosts: SshdHosts
) -> None:
    host = hosts.host("db1")
    with Wire((host.address, host.port)) as wire:
        key = (hosts.folder / "db1" / "host_key.pub").read_text()
        known = office.write("known", f"[127.0.0.1]:{wire.port} {key}")
        office.inventory(ansible_host="127.0.0.1", ansible_port=wire.port, ssh_known_hosts=str(known))
        with office.sit() as screen:
            settle_in(screen)
            screen.write("echo be''fore\r")
            screen.see("before")
            wire.cut()
            assert screen.end() == 255
            screen.see("was lost")
            assert screen.modes_now() == screen.modes
    assert "before" in office.recorded()
    closed = office.entries("shell.closed")[0]["body"]
    assert (closed["ended"], closed["reason"]) == ("lost", "the connection was lost")


def test_a_log_that_cannot_be_written_ends_the_session_before_the_next_line_is_done(office: Office) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        with office.sit() as screen:
            settle_in(screen)
            screen.write(f"touch {folder}/first; echo o''k\r")
            screen.see("ok")
            break_log(office)
            screen.write(f"touch {folder}/second\r")
            assert screen.end() == 6
            screen.see("the session is ended: the log cannot be written")
            assert screen.modes_now() == screen.modes
        assert [path.name for path in Path(folder).iterdir()] == ["first"]
        mend_log(office)
    assert "broke off" in office("doctor").out
    assert office("log", "verify").code == 0


def test_output_that_cannot_be_recorded_ends_the_session_without_a_key(office: Office) -> None:
    with office.sit() as screen:
        settle_in(screen)
        screen.write("sleep 1; echo la''te\r")
        screen.see("\n")
        until(
            lambda: "sleep 1" in office.recorded() or office.entries("shell.recorded"),
            "the line is on record",
        )
        break_log(office)
        assert screen.end() == 6
        screen.see("the log cannot be written")


def test_no_session_begins_that_cannot_be_recorded(office: Office) -> None:
    break_log(office)
    with office.sit() as screen:
        assert screen.end() == 6
    mend_log(office)
    assert not office.entries()
    assert b"recording" not in screen.shown


def break_log(office: Office) -> None:
    with contextlib.closing(sqlite3.connect(office.home / "log.db")) as db, db:
        db.execute(
            "create trigger broken before insert on entry begin select raise(abort, 'the disk is gone'); end"
        )


def mend_log(office: Office) -> None:
    with contextlib.closing(sqlite3.connect(office.home / "log.db")) as db, db:
        db.execute("drop trigger broken")


def test_hostile_output_is_kept_as_it_was_and_never_reaches_a_reader_of_the_log(office: Office) -> None:
    evil = "\x1b]0;owned\x07\x1b[31m\u202eevil\x9b1m\b\b"
    script = office.folder / "evil"
    script.write_text(evil)
    with office.sit("db1", "--reason", evil) as screen:
        settle_in(screen)
        octal = "".join(f"\\{byte:03o}" for byte in evil.encode())
        screen.write(f"printf 'A{octal}Z\\n'; printf 'not utf8 \\377\\n'; exit\r")
        assert screen.end() == 0
    _, events = office.cast()
    shown = "".join(text for _, _, text in events)
    assert f"A{evil}Z" in shown
    assert "not utf8 \ufffd" in shown
    for said in (
        office("log", "show", "--blobs"),
        office("log", "show", "--blobs", "--json"),
        office("status"),
    ):
        for character in ("\x1b", "\x07", "\x9b", "\u202e", "\b"):
            assert character not in said.out + said.err


def test_a_person_leaves_by_a_tilde_or_by_closing_the_window(office: Office) -> None:
    with office.sit() as screen:
        settle_in(screen)
        screen.write("sleep 600\r")
        screen.write("~.")
        assert screen.end() == 130
    with office.sit() as screen:
        settle_in(screen)
        screen.kill(signal.SIGTERM)
        assert screen.end() == 130
        assert screen.modes_now() == screen.modes
    with office.sit() as screen:
        settle_in(screen)
        screen.hang_up()
        assert screen.end() in (130, -signal.SIGHUP)
    ends = [(one["body"]["ended"], one["body"]["reason"]) for one in office.entries("shell.closed")]
    assert ends[:2] == [("left", "by ~."), ("left", "ended by SIGTERM")]
    assert ends[2][0] == "left"


def test_much_output_is_recorded_in_bounded_pieces(office: Office) -> None:
    with office.sit() as screen:
        settle_in(screen)
        screen.write("seq 1 60000; echo fi''n; exit\r")
        screen.see("fin")
        assert screen.end() == 0
    pieces = office.entries("shell.recorded")
    assert len(pieces) > 4
    assert all(len(piece["texts"]["cast"]) < 256 * 1024 for piece in pieces)
    assert "".join(f"{n}\r\n" for n in range(1, 60001)) in office.recorded()


def test_what_a_person_should_know_is_said_before_the_session(office: Office) -> None:
    book = office.runbook(
        "  - {name: Look, ssh.command: {argv: ['true']}, hosts: db1}\n"
        "  - {name: Wait, gate: {approvals: [{role: change_manager}], expires: 30m}}\n"
        "  - {name: Change, ssh.command: {argv: [touch, /nowhere/x]}, hosts: db1}\n",
        name="holds",
        more="hosts: all\n",
    )
    assert office.run(book, "-i", str(office.folder / "hosts.json")).code == 3
    run = office.status()["run"]
    assert office("kill-switch", "pull", "--reason", "look first").code == 0
    with office.sit() as screen:
        screen.see("the kill switch is pulled")
        screen.see(f"host/db1 is held by {run}")
        settle_in(screen)
        screen.write("exit\r")
        assert screen.end() == 0


def test_what_is_no_session_is_refused_with_the_way_that_is(office: Office, hosts: SshdHosts) -> None:
    no_terminal = office("shell", "db1")
    assert no_terminal.code == 2
    assert "ssh.command" in no_terminal.err
    for words, code, why in (
        (("db1", "--", "uptime"), 2, "ssh.command"),
        (("db1", "uptime"), 2, "ssh.command"),
        (("db2",), 2, "no host 'db2'"),
        (("away",), 1, "Connection refused"),
        (("db1", "--incident", "INC-NONE"), 2, "has no incident"),
        (("db1", "--as", "nobody"), 2, "nobody"),
    ):
        with office.sit(*words) as screen:
            assert screen.end() == code, (words, screen.shown)
            screen.see(why)
    office.inventory(ssh_known_hosts=str(office.write("known", "# nobody\n")))
    with office.sit() as screen:
        assert screen.end() == 5
        screen.see("does not trust")
    assert not office.entries(), "nothing began, so nothing is on record"


def test_a_cast_plays_where_a_player_is_installed(office: Office) -> None:
    with office.sit() as screen:
        settle_in(screen)
        screen.write("exit\r")
        assert screen.end() == 0
    office.cast()
    (file,) = office.folder.glob("*.cast")
    again = office("log", "cast", file.stem, "-o", str(file))
    assert again.code == 2, "never written over"
    assert office("log", "cast", "1", "-o", "none").code == 2
    player = shutil.which("asciinema")
    if player is not None:
        told = subprocess.run([player, "cat", str(file)], capture_output=True, check=False, timeout=20)
        assert told.returncode == 0, told.stderr
        assert b"ready" in told.stdout
