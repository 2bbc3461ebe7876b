"""The claim guard, judged by real shells: who may begin, what is on record, and whom a folder is trusted to."""

from __future__ import annotations

import os
import resource
import secrets
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.ssh import claim as guard
from connectors.ssh.claim import Claim, Record, ask, read
from connectors.ssh.command_line import Header, Obstacle, Remote, ending

from .conftest import wait_until

NONCE = "00ff00ff"
WORDS = (
    ["sh"],
    ["dash"],
    ["bash"],
    ["bash", "--posix"],
    ["zsh"],
    ["ksh"],
    ["ksh93"],
    ["mksh"],
    ["busybox", "sh"],
)
SHELLS = [[found, *rest] for name, *rest in WORDS if (found := shutil.which(name))]
every_shell = pytest.mark.parametrize("shell", SHELLS, ids=lambda s: Path(s[0]).name + "".join(s[1:]))


@pytest.fixture
def place() -> Iterator[str]:
    """A folder like /var/tmp: everybody may write in it, nobody may take another's away."""
    folder = tempfile.mkdtemp(prefix="mimrun-place-")
    Path(folder).chmod(0o1777)
    yield folder
    shutil.rmtree(folder)


def a_claim(place: str, attempt: int = 1, *, note: str = "-", sweep: bool = False) -> Claim:
    return Claim("me", secrets.token_hex(8), attempt, note, sweep=sweep, place=place)


def begin(shell: list[str], claim: Claim, *argv: str) -> subprocess.Popen[bytes]:
    line = Remote(argv, claim=claim).line(NONCE)
    return subprocess.Popen(
        [*shell, "-c", line],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def end(child: subprocess.Popen[bytes]) -> tuple[int, bytes, bytes, Header]:
    with child:
        out, err = child.communicate(timeout=20)
    header = Header(NONCE)
    own = header.feed(out)
    header.finish()
    return child.returncode, own, err, header


def run(shell: list[str], claim: Claim, *argv: str) -> tuple[int, bytes, bytes, Header]:
    return end(begin(shell, claim, *argv))


def look(claim: Claim, wait: int = 0, shell: list[str] | None = None) -> Record:
    argv = ask(claim, wait)
    argv = [*shell, *argv[1:]] if shell else argv
    said = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True)
    assert said.stderr == ""
    return read(said.stdout)


@every_shell
def test_a_command_under_a_claim_runs_as_without_and_leaves_how_it_ended(
    shell: list[str], place: str
) -> None:
    claim = a_claim(place, sweep=True)
    text = 'printf "%s " "$@"; echo "$MIMRUN_CLAIM"; echo err >&2; exit 3'
    words = ("", "a b", "it's", "$HOME", "-n")
    status, own, err, header = run(shell, claim, "sh", "-c", text, "sh", *words)
    assert (status, err, header.started) == (3, b"err\n", True)
    assert own.decode() == "".join(f"{word} " for word in words) + claim.name + "\n"
    found = look(claim, shell=shell)
    assert (found.state, found.status, found.pid) == ("ended", 3, header.groups[0])
    assert stat.S_IMODE(Path(claim.folder).stat().st_mode) == 0o700
    assert found.up is not None
    assert 0 < found.up <= time.clock_gettime(time.CLOCK_BOOTTIME)


@every_shell
def test_a_program_is_never_a_word_of_the_shell(shell: list[str], place: str) -> None:
    for argv, expected in ((("echo", "-n", "x"), b"x"), (("true",), b""), (("kill", "-0", "1"), b"")):
        status, own, _, header = run(shell, a_claim(place), *argv)
        assert (own, header.started) == (expected, True)
        assert status in (0, 1)


@every_shell
def test_of_two_that_take_a_claim_one_begins(shell: list[str], place: str) -> None:
    claim, note = a_claim(place), Path(place) / "note"
    argv = ("sh", "-c", f"echo x >>{note}")
    with ThreadPoolExecutor(8) as pool:
        ends = list(pool.map(lambda _: run(shell, claim, *argv), range(8)))
    assert note.read_text() == "x\n"
    assert sorted(str(header.obstacle) for *_, header in ends) == ["None"] + ["claim-taken"] * 7


@every_shell
def test_a_probe_that_comes_first_keeps_the_late_request_from_starting(shell: list[str], place: str) -> None:
    claim, note = a_claim(place), Path(place) / "note"
    assert look(claim, shell=shell).state == "void"
    assert run(shell, claim, "touch", str(note))[3].obstacle is Obstacle.CLAIM_TAKEN
    assert not note.exists()
    assert look(claim, shell=shell).state == "void"
    other = Claim(claim.account, claim.key, 2, place=place)
    assert run(shell, other, "touch", str(note))[3].started, "another attempt is another claim"


@every_shell
def test_a_command_that_a_signal_ends_says_so_on_record_and_nothing_else(
    shell: list[str], place: str
) -> None:
    claim = a_claim(place)
    assert run(shell, claim, "sh", "-c", "kill -9 $$")[:3] == (137, b"", b"")
    assert look(claim).status == 137


@every_shell
def test_a_running_command_is_seen_and_waited_for(shell: list[str], place: str) -> None:
    claim, go = a_claim(place), Path(place) / "go"
    child = begin(shell, claim, "sh", "-c", f"while [ ! -e {go} ]; do sleep 0.02; done; exit 4")
    assert wait_until(lambda: Path(claim.path).exists())
    found = look(claim, shell=shell)
    assert (found.state, found.pid) == ("running", child.pid)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(look, claim, 20, shell)
        go.touch()
        assert (asked.result().state, asked.result().status) == ("ended", 4)
    assert end(child)[0] == 4


@every_shell
def test_what_is_ended_by_term_records_its_end_and_what_is_killed_does_not(
    shell: list[str], place: str
) -> None:
    for trap, state in (("", "ended"), ("trap '' TERM; ", "broken_off")):
        claim = a_claim(place)
        child = begin(shell, claim, "sh", "-c", f"{trap}echo up; sleep 300; sleep 300")
        assert child.stdout is not None
        while child.stdout.readline() != b"up\n":
            pass
        said = subprocess.run(
            [*shell, "-c", ending([child.pid])], capture_output=True, timeout=20, check=True
        )
        assert said.stdout.startswith(b"gone")
        end(child)
        found = look(claim, shell=shell)
        assert (found.state, found.status) == (state, 143 if state == "ended" else 0)


@pytest.mark.skipif(not shutil.which("setsid"), reason="setsid is not installed here")
def test_what_left_its_process_group_is_found_and_named(place: str) -> None:
    claim = a_claim(place)
    child = begin(["sh"], claim, "sh", "-c", "setsid sleep 300 >/dev/null 2>&1 & echo up; exec sleep 301")
    assert child.stdout is not None
    while child.stdout.readline() != b"up\n":
        pass
    assert wait_until(lambda: len(look(claim).left) == 2)
    os.killpg(child.pid, signal.SIGKILL)
    end(child)
    found = look(claim)
    assert found.state == "broken_off"
    (left,) = found.left
    assert left.endswith(" (sleep)")
    os.kill(int(left.split()[0]), signal.SIGKILL)


@every_shell
def test_a_command_that_finds_nobody_to_tell_leaves_that_on_record(shell: list[str], place: str) -> None:
    claim, note = a_claim(place), Path(place) / "note"
    reading, writing = os.pipe()
    os.close(reading)
    line = Remote(["touch", str(note)], claim=claim).line(NONCE)
    with subprocess.Popen(
        [*shell, "-c", line],
        stdin=subprocess.DEVNULL,
        stdout=writing,
        stderr=subprocess.DEVNULL,
        restore_signals=True,
    ) as child:
        os.close(writing)
        assert child.wait(10) != 0
    assert not note.exists()
    assert look(claim, shell=shell).state == "not_begun"


def foreign(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    os.chown(folder, 65534, 65534)


def linked(folder: Path) -> None:
    (folder.parent / "elsewhere").mkdir(mode=0o700)
    folder.symlink_to(folder.parent / "elsewhere")


@pytest.mark.parametrize("make", [foreign, linked, Path.touch])
def test_nothing_runs_by_a_folder_that_somebody_else_made(place: str, make: object) -> None:
    if make is foreign and os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    assert callable(make)
    claim, note = a_claim(place), Path(place) / "note"
    make(Path(claim.folder))
    for shell in SHELLS:
        status, _, _, header = run(shell, claim, "touch", str(note))
        assert (status, header.obstacle) == (0, Obstacle.CLAIM_FOLDER), shell
    assert not note.exists()
    assert look(claim).state in ("folder", "unwritable")


def test_a_folder_that_others_may_write_in_proves_nothing(place: str) -> None:
    claim = a_claim(place)
    Path(claim.folder).mkdir()
    Path(claim.folder).chmod(0o770)
    assert look(claim).state == "folder"


def test_a_place_whose_folders_can_be_taken_away_is_not_used(place: str) -> None:
    Path(place).chmod(0o777)
    claim = a_claim(place)
    assert run(["sh"], claim, "true")[3].obstacle is Obstacle.CLAIM_FOLDER
    assert look(claim).state == "folder"


@every_shell
def test_without_room_for_a_claim_nothing_runs_and_nothing_is_left(shell: list[str], place: str) -> None:
    """A file-size limit of zero fails the write as a full disk does: the file can be made, not filled."""
    claim, note = a_claim(place), Path(place) / "note"
    assert run(shell, a_claim(place), "true")[3].started
    line = Remote(["touch", str(note)], claim=claim).line(NONCE)
    done = subprocess.run(
        [*shell, "-c", line],
        capture_output=True,
        timeout=20,
        check=False,
        restore_signals=False,  # Python ignores the signal that would end the shell
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)),
    )
    header = Header(NONCE)
    header.feed(done.stdout)
    assert header.obstacle is Obstacle.CLAIM_FULL
    assert not note.exists()
    assert not Path(claim.path).exists()


@pytest.mark.parametrize("text", ["", "run", "run 4711", "nonsense\n", "void"])
def test_a_claim_that_was_not_written_to_its_end_proves_nothing(place: str, text: str) -> None:
    claim = a_claim(place)
    assert run(["sh"], a_claim(place), "true")[3].started
    Path(claim.path).write_text(text)
    assert look(claim).state == "unreadable"


def test_an_end_that_was_not_written_to_its_end_is_none(place: str) -> None:
    claim = a_claim(place)
    run(["sh"], claim, "sh", "-c", "exit 12")
    whole = Path(claim.path).read_text()
    for size in range(len(whole.splitlines()[0]) + 1, len(whole)):
        Path(claim.path).write_text(whole[:size])
        assert look(claim).state == "broken_off"


def test_a_claim_of_another_boot_began_and_has_no_end(place: str) -> None:
    claim = a_claim(place)
    run(["sh"], claim, "true")
    Path(claim.path).write_text(f"run {os.getpid()} 00000000-0000-0000-0000-000000000000 -\n")
    found = look(claim, wait=5)
    assert (found.state, found.rebooted) == ("broken_off", True)


def test_a_number_that_was_given_to_another_process_is_not_taken_for_the_command(place: str) -> None:
    claim = a_claim(place)
    run(["sh"], claim, "true")
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    Path(claim.path).write_text(f"run {os.getpid()} {boot} -\n")
    assert look(claim, wait=5).state == "broken_off"


def test_old_claims_are_removed_and_young_ones_kept(place: str) -> None:
    old, young = a_claim(place), a_claim(place)
    for claim in (old, young):
        run(["sh"], claim, "true")
    ago = time.time() - (guard.KEPT_DAYS + 2) * 86400
    os.utime(old.path, (ago, ago))
    run(["sh"], a_claim(place), "true")
    assert Path(old.path).exists(), "a command does not pay for it"
    run(["sh"], a_claim(place, sweep=True), "true")
    assert wait_until(lambda: not Path(old.path).exists())
    assert Path(young.path).exists()
    os.utime(young.path, (ago, ago))
    look(a_claim(place))
    assert not Path(young.path).exists()


def test_a_note_is_kept_with_the_claim(place: str) -> None:
    claim = a_claim(place, note="before-1")
    run(["sh"], claim, "true")
    assert look(claim).note == "before-1"
    with pytest.raises(ValueError, match="cannot be kept"):
        a_claim(place, note="two words")


def test_names_of_accounts_and_keys_stay_within_the_folder() -> None:
    odd = Claim("../x y", "run/1/x/0", 3)
    assert odd.folder == "/var/tmp/mimrun-claims-..=2f=x=20=y"
    assert "/" not in odd.name
    assert odd.name.endswith("-3")
    assert Claim("a", "k" * 26, 1).name == "k" * 26 + "-1"


@given(st.text(max_size=300))
def test_whatever_a_host_says_of_a_claim_is_read_or_unreadable(said: str) -> None:
    assert isinstance(read(said).state, str)
    assert read("state ended\n" + said).state in ("ended", "unreadable")
