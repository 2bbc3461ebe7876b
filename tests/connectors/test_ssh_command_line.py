"""The line for the login shell, and the header that comes back: pure, and judged by real shells."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.ssh.command_line import LONGEST_LINE, Header, Obstacle, Remote, ending
from connectors.ssh.quoting import join

NONCE = "00ff00ff"
SHELLS = [
    [found, *rest]
    for name, *rest in (
        ["sh"],
        ["dash"],
        ["bash"],
        ["bash", "--posix"],
        ["zsh"],
        ["ksh"],
        ["mksh"],
        ["busybox", "sh"],
    )
    if (found := shutil.which(name))
]
WORDS = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20), max_size=5)


def run(shell: list[str], remote: Remote, stdin: bytes = b"") -> tuple[int, bytes, Header]:
    """Run a line as sshd does: by `-c` of the login shell."""
    done = subprocess.run(
        [*shell, "-c", remote.line(NONCE)],
        input=remote.preamble() + stdin,
        stdout=subprocess.PIPE,
        timeout=20,
        check=False,
        start_new_session=True,
    )
    header = Header(NONCE)
    own = header.feed(done.stdout)
    header.finish()
    return done.returncode, own, header


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: Path(shell[0]).name + "".join(shell[1:]))
def test_every_shell_hands_over_every_argument(shell: list[str]) -> None:
    @settings(max_examples=25)
    @given(words=WORDS)
    def check(words: list[str]) -> None:
        script = 'for w; do printf "%s\\0" "$w"; done'
        status, own, header = run(shell, Remote(["/bin/sh", "-c", script, "sh", *words]))
        assert (status, header.started) == (0, True)
        assert own == b"".join(word.encode() + b"\0" for word in words)

    check()


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: Path(shell[0]).name + "".join(shell[1:]))
def test_every_shell_reports_obstacles_and_its_own_process_id(shell: list[str], tmp_path: Path) -> None:
    for remote, obstacle in (
        (Remote(["true"], chdir="/no/such"), Obstacle.CHDIR),
        (Remote(["no-such-program"]), Obstacle.COMMAND),
        (Remote(["/etc/passwd"]), Obstacle.COMMAND),
        (Remote(["./tool"], chdir=str(tmp_path)), Obstacle.COMMAND),
        (Remote(["true"], creates="/etc"), Obstacle.CREATES),
        (Remote(["true"], removes="/no/such"), Obstacle.REMOVES),
    ):
        status, own, header = run(shell, remote)
        assert (header.obstacle, header.started, own, status) == (obstacle, False, b"", 0)
    _, own, header = run(shell, Remote(["sh", "-c", "echo $$"]))
    assert header.groups == [int(own)]


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: Path(shell[0]).name + "".join(shell[1:]))
def test_every_shell_reads_the_environment_before_the_input(shell: list[str]) -> None:
    values = {"A": "", "B": " two  words \\", "C": "one\n\n three\n", "D": "$x'`\""}
    remote = Remote(["sh", "-c", 'printf "%s|" "$A" "$B" "$C" "$D"; cat'], environment=values)
    status, own, _ = run(shell, remote, b"the rest")
    assert (status, own.decode()) == (0, "|".join(values.values()) + "|the rest")


def test_a_command_whose_reader_has_gone_never_begins(tmp_path: Path) -> None:
    note = tmp_path / "note"
    for shell in SHELLS:
        reading, writing = os.pipe()
        os.close(reading)
        line = Remote(["touch", str(note)]).line(NONCE)
        with subprocess.Popen(
            [*shell, "-c", line],
            stdin=subprocess.DEVNULL,
            stdout=writing,
            stderr=subprocess.DEVNULL,
            restore_signals=True,
        ) as child:
            os.close(writing)
            assert child.wait(10) != 0
        assert not note.exists(), shell


def test_words_that_cannot_be_sent_are_refused() -> None:
    for remote, word in (
        (Remote([]), "no program"),
        (Remote(["a\0"]), "NUL"),
        (Remote(["-x"]), "option"),
        (Remote(["a"], environment={"A B": ""}), "environment variable"),
        (Remote(["a"], environment={"A": "\0"}), "NUL"),
        (Remote(["a"], become="-u"), "user"),
        (Remote(["a", "x" * LONGEST_LINE]), "upload"),
    ):
        with pytest.raises(ValueError, match=word):
            remote.line(NONCE)


def test_a_header_cut_anywhere_is_read_and_noise_is_kept_apart() -> None:
    text = b"Welcome!\nmimrun-other run 5\nmimrun-00ff00ff via 41\nmimrun-00ff00ff run 42\nown\nmimrun-00ff00ff run 7\n"
    for size in range(1, len(text) + 1):
        header = Header(NONCE)
        own = b"".join(header.feed(text[at : at + size]) for at in range(0, len(text), size))
        assert own == b"own\nmimrun-00ff00ff run 7\n"
        assert header.groups == [41, 42]
        assert header.noise == b"Welcome!\nmimrun-other run 5\n"


@given(st.binary(max_size=200))
def test_whatever_a_host_says_the_header_does_not_break(text: bytes) -> None:
    header = Header(NONCE)
    own = header.feed(text) + header.feed(b"\nmimrun-" + NONCE.encode() + b" " + text)
    header.finish()
    assert len(own) + len(header.noise) <= 2 * len(text) + 60


def test_nonsense_in_a_header_starts_nothing() -> None:
    for line in (b"run", b"run x", b"run -1", b"run 1", b"run 0", b"no", b"no such", b"via 5"):
        header = Header(NONCE)
        header.feed(b"mimrun-00ff00ff " + line + b"\nrest")
        assert not header.complete


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: Path(shell[0]).name + "".join(shell[1:]))
def test_ending_proves_that_a_group_is_gone(shell: list[str]) -> None:
    for trap, sign in (("", "TERM"), ("trap '' TERM; ", "KILL")):
        script = f"{trap}echo up; sleep 300 & sleep 300; sleep 300"
        with subprocess.Popen(["sh", "-c", script], start_new_session=True, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"up\n"
            said = subprocess.run(
                [*shell, "-c", ending([child.pid])], capture_output=True, text=True, timeout=20, check=True
            )
            assert said.stdout == f"gone {sign}\n"
            assert child.wait(5) == -getattr(signal, f"SIG{sign}")


def test_joined_words_are_quoted_one_by_one() -> None:
    assert join(["a", "b c", "it's", ""]) == "'a' 'b c' 'it'\\''s' ''"
