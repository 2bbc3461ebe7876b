"""`ssh.upload` and `ssh.download`: all or nothing, only where it differs, attributes as asked for."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from pathlib import Path

import pytest
from pydantic import ValidationError

from connectors.ssh import Download, Shell, Ssh, Upload
from mimrun.connector import Call, Failed, Finding, Ok, Outcome, Unknown

from .conftest import SshLab, make_call, wait_until

pytestmark = pytest.mark.needs("sshd")

ODD = 'it\'s a "name" $x\n*'


@pytest.fixture
def ssh(lab: SshLab) -> Ssh:
    return lab.ssh()


def ok(outcome: Outcome) -> Ok:
    assert isinstance(outcome, Ok), outcome
    return outcome


def failed(outcome: Outcome) -> Failed:
    assert isinstance(outcome, Failed), outcome
    return outcome


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def test_upload_writes_once_and_then_finds_it_there(ssh: Ssh, open_folder: Path) -> None:
    dest = open_folder / "app.conf"
    action = Upload(dest=str(dest), content="port = 1\n")
    first, second = ok(ssh.perform(action, make_call())), ok(ssh.perform(action, make_call()))
    assert (first.changed, second.changed) == (True, False)
    assert dest.read_text() == "port = 1\n"
    assert mode(dest) == 0o644
    assert first.data["digest"] == "sha256:" + hashlib.sha256(b"port = 1\n").hexdigest()
    assert first.data["before"] == {"kind": "absent"}
    assert second.data["digest"] == first.data["digest"]


def test_upload_of_a_file_keeps_every_byte(ssh: Ssh, open_folder: Path, tmp_path: Path) -> None:
    source = tmp_path / "blob"
    source.write_bytes(os.urandom(5_000_000) + b"\n\0\r\n")
    dest = open_folder / ODD
    ok(ssh.perform(Upload(dest=str(dest), src=str(source)), make_call(60)))
    assert dest.read_bytes() == source.read_bytes()
    assert [path.name for path in open_folder.iterdir()] == [ODD], "nothing else is left"


def test_an_empty_file_can_be_uploaded(ssh: Ssh, open_folder: Path) -> None:
    ok(ssh.perform(Upload(dest=str(open_folder / "empty"), content=""), make_call()))
    assert (open_folder / "empty").read_bytes() == b""


def test_mode_is_kept_unless_it_is_asked_for(ssh: Ssh, open_folder: Path) -> None:
    dest = open_folder / "f"
    ok(ssh.perform(Upload(dest=str(dest), content="1", mode="0640"), make_call()))
    ok(ssh.perform(Upload(dest=str(dest), content="2"), make_call()))
    assert (dest.read_text(), mode(dest)) == ("2", 0o640)
    outcome = ok(ssh.perform(Upload(dest=str(dest), content="2", mode="0600"), make_call()))
    assert outcome.changed
    assert mode(dest) == 0o600
    assert not ok(ssh.perform(Upload(dest=str(dest), content="2", mode="600"), make_call())).changed


def test_owner_that_may_not_be_given_is_a_clean_failure(ssh: Ssh, open_folder: Path) -> None:
    if ssh.settings.user == "root":
        pytest.skip("root may give files away")
    outcome = failed(ssh.perform(Upload(dest=str(open_folder / "f"), content="1", owner="root"), make_call()))
    assert outcome.clean
    assert not list(open_folder.iterdir())


@pytest.mark.parametrize("dest", ["/no/such/folder/f", "/etc", "/dev/null"])
def test_places_that_cannot_be_written_are_clean_failures(ssh: Ssh, dest: str) -> None:
    outcome = failed(ssh.perform(Upload(dest=dest, content="x"), make_call()))
    assert outcome.clean
    assert dest in outcome.reason


def test_source_that_is_missing_or_different_is_refused(ssh: Ssh, open_folder: Path, tmp_path: Path) -> None:
    source = tmp_path / "s"
    source.write_text("x")
    dest = str(open_folder / "f")
    absent = Upload(dest=dest, src=str(tmp_path / "absent"))
    other = Upload(dest=dest, src=str(source), sha256="0" * 64)
    for action in (absent, other):
        assert failed(ssh.perform(action, make_call())).clean
    assert not list(open_folder.iterdir())


def test_an_upload_that_is_cut_leaves_the_old_file(ssh: Ssh, open_folder: Path, tmp_path: Path) -> None:
    dest = open_folder / "f"
    dest.write_text("old")
    stop = threading.Event()
    source = tmp_path / "big"
    source.write_bytes(b"x" * 100_000_000)
    outcomes: list[Outcome] = []
    call: Call = make_call(60, stop=stop)
    action = Upload(dest=str(dest), src=str(source))
    thread = threading.Thread(target=lambda: outcomes.append(ssh.perform(action, call)))
    thread.start()
    wait_until(lambda: any(path.name.startswith(".mimrun-") for path in open_folder.iterdir()), 20)
    stop.set()
    thread.join(30)
    assert isinstance(outcomes[0], Unknown), outcomes
    assert dest.read_bytes() == b"old"
    assert wait_until(lambda: [path.name for path in open_folder.iterdir()] == ["f"]), "no leftover"


def test_check_shows_the_difference_and_changes_nothing(ssh: Ssh, open_folder: Path) -> None:
    dest = open_folder / "f"
    action = Upload(dest=str(dest), content="a\nB\n", mode="0644")
    assert ssh.check(action, make_call()).changes is True
    assert not dest.exists()
    dest.write_text("a\nb\n")
    dest.chmod(0o644)
    difference = ssh.check(action, make_call())
    assert difference.changes is True
    assert "-b\n+B" in difference.detail
    dest.write_text("a\nB\n")
    assert ssh.check(action, make_call()).changes is False
    dest.chmod(0o600)
    if ssh.settings.user == "root" or os.geteuid() != 0:
        assert "mode 0600 would become 0644" in ssh.check(action, make_call()).detail


def test_check_counts_the_bytes_of_what_would_be_created(ssh: Ssh, open_folder: Path, tmp_path: Path) -> None:
    dest, source = open_folder / "f", tmp_path / "s"
    source.write_text("seven..")
    for action, size in (
        (Upload(dest=str(dest), content="five!"), 5),
        (Upload(dest=str(dest), src=str(source)), 7),
        (Upload(dest=str(dest), content=""), 0),
    ):
        found = ssh.check(action, make_call())
        assert (found.changes, found.fails) == (True, False)
        assert found.detail == f"{dest} would be created: {size} bytes"


@pytest.mark.parametrize("dest", ["/no/such/folder/f", "/etc", "/dev/null"])
def test_check_says_that_an_upload_would_fail(ssh: Ssh, dest: str) -> None:
    found = ssh.check(Upload(dest=dest, content="x"), make_call())
    assert (found.changes, found.fails) == (None, True)
    assert f"{dest} cannot be written" in found.detail


def test_check_says_that_a_download_would_fail(ssh: Ssh, open_folder: Path, tmp_path: Path) -> None:
    (open_folder / "f").write_text("12345678")
    (open_folder / "f").chmod(0o644)
    dest = str(tmp_path / "got")
    for action, word in (
        (Download(src="/no/such", dest=dest), "no such file"),
        (Download(src=str(open_folder / "f"), dest=dest, max_bytes=7), "8 bytes"),
    ):
        found = ssh.check(action, make_call())
        assert (found.changes, found.fails) == (None, True)
        assert word in found.detail


def test_check_of_a_host_that_cannot_be_reached_says_that_it_would_fail(lab: SshLab) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    found = lab.ssh(ansible_host="127.0.0.1", ansible_port=port).check(
        Upload(dest="/tmp/f", content="x"), make_call()
    )
    assert (found.changes, found.fails) == (None, True)
    assert "refused" in found.detail


def test_probe_tells_by_digest(ssh: Ssh, open_folder: Path) -> None:
    dest = open_folder / "f"
    action = Upload(dest=str(dest), content="new")
    assert ssh.probe(action, make_call()).finding is Finding.NOT_APPLIED
    ok(ssh.perform(action, make_call()))
    assert ssh.probe(action, make_call()).finding is Finding.APPLIED
    ok(ssh.perform(Shell(cmd=f"echo other >{dest}"), make_call()))
    assert ssh.probe(action, make_call()).finding is Finding.NOT_APPLIED


def test_probe_does_not_know_while_an_upload_is_under_way(ssh: Ssh, open_folder: Path) -> None:
    dest = str(open_folder / "f")
    begun = open_folder / f".mimrun-{hashlib.sha256(dest.encode()).hexdigest()[:12]}.abcdef"
    begun.touch()
    assert ssh.probe(Upload(dest=dest, content="x"), make_call()).finding is Finding.UNKNOWN


def test_download_fetches_once_and_then_finds_it_there(ssh: Ssh, open_folder: Path, tmp_path: Path) -> None:
    source, dest = open_folder / ODD, tmp_path / "got"
    source.write_bytes(os.urandom(3_000_000))
    source.chmod(0o644)
    action = Download(src=str(source), dest=str(dest))
    assert ssh.check(action, make_call()).changes is True
    assert ok(ssh.perform(action, make_call())).changed
    assert dest.read_bytes() == source.read_bytes()
    assert not ok(ssh.perform(action, make_call())).changed
    assert ssh.check(action, make_call()).changes is False
    assert [path.name for path in tmp_path.iterdir()] == ["got"]


def test_download_is_bounded(ssh: Ssh, open_folder: Path, tmp_path: Path) -> None:
    (open_folder / "f").write_text("12345678")
    action = Download(src=str(open_folder / "f"), dest=str(tmp_path / "got"), max_bytes=7)
    outcome = failed(ssh.perform(action, make_call()))
    assert outcome.clean
    assert "8 bytes" in outcome.reason
    assert not list(tmp_path.iterdir())


def test_download_of_what_is_no_file_is_a_clean_failure(ssh: Ssh, tmp_path: Path) -> None:
    for src, word in (("/no/such", "no such file"), ("/etc", "folder"), ("/dev/zero", "neither")):
        outcome = failed(ssh.perform(Download(src=src, dest=str(tmp_path / "got")), make_call()))
        assert outcome.clean
        assert word in outcome.reason


def test_download_into_a_missing_folder_is_a_clean_failure(ssh: Ssh, tmp_path: Path) -> None:
    action = Download(src="/etc/passwd", dest=str(tmp_path / "no" / "such"))
    found = ssh.check(action, make_call())
    assert (found.changes, found.fails) == (None, True)
    assert f"there is no folder {tmp_path / 'no'}" in found.detail
    assert failed(ssh.perform(action, make_call())).clean


def test_wrong_arguments_are_refused_by_the_model() -> None:
    for wrong in (
        {"dest": "relative", "content": "x"},
        {"dest": "/folder/", "content": "x"},
        {"dest": "/f"},
        {"dest": "/f", "content": "x", "src": "y"},
        {"dest": "/f", "content": "x", "mode": 644},
        {"dest": "/f", "content": "x", "owner": "-R"},
    ):
        with pytest.raises(ValidationError):
            Upload.model_validate(wrong)
