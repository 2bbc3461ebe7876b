"""What is sent to the target's login shell: one line, built so that afterwards we know what became of it.

The line first makes sure that the command can start, then prints its process id, then becomes the command:

    cd -- '/srv' || say "no chdir"; command -v 'prog' || say "no command"; echo run <pid>; exec 'prog' 'a b'

So one line of the answer, the header, tells three things at no cost: whether the command was started at
all (if not, provably nothing has happened), under which process group it can be ended, and where its own
output begins. A shell whose reader has gone cannot print the header, so a command whose channel was given
up before it began never begins.

With a claim (`claim`) the shell stays beside the command, to record how it ended.

With `become` the same line runs in `/bin/sh` under `sudo -n`. Values of environment variables travel on
standard input, before the command's own, as a command line is seen by every user and by sudo's log.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from connectors.ssh import claim as guard
from connectors.ssh.quoting import join, quote

LONGEST_LINE: Final = 120_000
"""Bytes; Linux takes at most 131072 in one argument, and the line is one argument of the login shell."""
LONGEST_NOISE: Final = 64 * 1024
"""Bytes that a login shell's own start-up files may print before the header."""

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Obstacle(StrEnum):
    """Why a command was not started."""

    CHDIR = "chdir"  #: the folder is not there or may not be entered
    COMMAND = "command"  #: there is no such program, or it may not be run
    CREATES = "creates"  #: what it creates is there already
    REMOVES = "removes"  #: what it removes is not there
    CLAIM_FOLDER = guard.FOLDER  #: the folder for claims is not the account's own, or cannot be made
    CLAIM_LINUX = guard.LINUX  #: the host does not tell under which boot it runs
    CLAIM_TAKEN = guard.TAKEN  #: the attempt has been begun before, or a probe has voided it
    CLAIM_FULL = guard.FULL  #: the claim cannot be written


@dataclass(frozen=True, slots=True)
class Remote:
    """Something to run on a target.

    Arguments:
        argv: the program and its arguments; what is run takes the place of the shell.
        chdir: the folder to run in, or "".
        creates: a path; where it exists nothing is run.
        removes: a path; where it does not exist nothing is run.
        become: the user to run as, or None.
        environment: variables for the command.
        claim: what has to be taken before it starts, and keeps how it ended; or None.
    """

    argv: Sequence[str]
    chdir: str = ""
    creates: str = ""
    removes: str = ""
    become: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    claim: guard.Claim | None = None

    def line(self, nonce: str) -> bytes:
        """Give the line for the login shell.

        Arguments:
            nonce: a fresh random word that marks the header.

        Raises:
            ValueError: something in it cannot be sent; says what.
        """
        _check_words(self)
        script = self._script(nonce)
        if self.become is not None:
            sudo = ["sudo", "-n", "-H", "-u", self.become, "--", "/bin/sh", "-c", script]
            script = f"echo {_mark(nonce)} via $$ || exit 1; exec {join(sudo)}"
        line = script.encode()
        if len(line) > LONGEST_LINE:
            raise ValueError(
                f"the command is {len(line)} bytes long and {LONGEST_LINE} can be sent; "
                "give long values on standard input or upload a file"
            )
        return line

    def preamble(self) -> bytes:
        """Give what goes to standard input before the command's own: the environment's values."""
        return "".join(f"{value}\n" for value in self.environment.values()).encode()

    def _script(self, nonce: str) -> str:
        def refuse(obstacle: str) -> str:
            return f"{{ echo {_mark(nonce)} no {obstacle}; exit 0; }}"

        def unless(test: str, obstacle: Obstacle) -> str:
            return f"{test} || {refuse(obstacle)}"

        parts = [_read_variable(name, value) for name, value in self.environment.items()]
        if self.chdir:
            parts.append(unless(f"cd -- {quote(self.chdir)} 2>/dev/null", Obstacle.CHDIR))
        if self.creates:
            path = quote(self.creates)
            parts.append(unless(f"{{ [ ! -e {path} ] && [ ! -L {path} ]; }}", Obstacle.CREATES))
        if self.removes:
            path = quote(self.removes)
            parts.append(unless(f"{{ [ -e {path} ] || [ -L {path} ]; }}", Obstacle.REMOVES))
        program = quote(self.argv[0])
        there = (
            f"{{ [ -x {program} ] && [ ! -d {program} ]; }}"
            if "/" in self.argv[0]
            else f"command -v {program} >/dev/null 2>&1"
        )
        parts.append(unless(there, Obstacle.COMMAND))
        announce = f"echo {_mark(nonce)} run $$"
        if self.claim is None:
            parts += [f"{announce} || exit 1", f"exec {join(self.argv)}"]
        else:
            parts += guard.take(self.claim, refuse) + guard.begin(self.claim, announce, join(self.argv))
        return "; ".join(parts)


@dataclass(slots=True)
class Header:
    """Reads the header out of the beginning of the answer.

    Arguments:
        nonce: the one that the line was built with.
    """

    nonce: str
    groups: list[int] = field(default_factory=list)
    """Process groups under which the command runs, as far as they are known: sudo's, then its own."""
    obstacle: Obstacle | None = None
    complete: bool = False
    """Whether the header has been read: the command was started, or `obstacle` says why not."""
    noise: bytes = b""
    """What the login shell printed before the header."""
    _pending: bytes = b""

    @property
    def started(self) -> bool:
        """Whether the command took the shell's place."""
        return self.complete and self.obstacle is None

    def feed(self, piece: bytes) -> bytes:
        """Take the next bytes of standard output and give those that are the command's own."""
        if self.complete:
            return piece
        self._pending += piece
        mark = f"{_mark(self.nonce)} ".encode()
        while True:
            start = self._pending.find(mark)
            end = self._pending.find(b"\n", start)
            if start < 0 or end < 0:
                self._pending = self._pending[-LONGEST_NOISE:]
                return b""
            self.noise += self._pending[:start]
            line, rest = self._pending[start + len(mark) : end], self._pending[end + 1 :]
            self._pending = rest
            if self._read(line):
                self._pending = b""
                return rest

    def finish(self) -> None:
        """Say that no more will come: what was read without a header is noise."""
        self.noise, self._pending = self.noise + self._pending, b""

    def _read(self, line: bytes) -> bool:
        """Take one line of the header; True where it was the last."""
        word, _, value = line.decode("ascii", "replace").strip().partition(" ")
        if word in ("via", "run") and value.isdigit() and int(value) > 1:
            self.groups.append(int(value))
            self.complete = word == "run"
        elif word == "no" and value in {str(obstacle) for obstacle in Obstacle}:
            self.obstacle = Obstacle(value)
            self.complete = True
        return self.complete


def ending(groups: Sequence[int]) -> str:
    """Give the shell text that ends process groups and proves it.

    It sends TERM, then after a second KILL, and prints `gone TERM` or `gone KILL` when every group is gone,
    else `alive`. A group counts as gone only where the kernel says that there is no such process, or where
    all that is left of it are dead processes that nobody has collected yet; "not permitted" means that it
    lives. (busybox complains of `--` and goes on, dash needs it; so the words decide, not the
    exit code.) What has left its group (a daemon, `setsid`) is not reached.
    """
    names = " ".join(str(group) for group in groups)
    return f"""G="{names}"; n=0
look() {{ LC_ALL=C kill -s 0 -- "-$1" 2>&1; }}
dead() {{
  [ $n -gt 4 ] || return 1
  case $(look "$1") in *ermitted*) return 1 ;; esac
  all=$(ps -A -o pgid= -o stat= 2>/dev/null || ps -o pgid,stat) || return 1
  case $(echo "$all" | while read -r g s; do
    [ "$g" != "$1" ] || case $s in Z*) echo dead ;; *) echo live ;; esac
  done) in *live*) return 1 ;; *dead*) ;; *) return 1 ;; esac
}}
gone() {{
  for g in $G; do
    case $(look "$g") in *"o such process"*) ;; *) dead "$g" || return 1 ;; esac
  done
}}
for s in TERM KILL; do
  for g in $G; do kill -s $s -- "-$g" 2>/dev/null; done
  n=0
  while [ $n -lt 20 ]; do
    if gone; then echo gone $s; exit 0; fi
    sleep 0.05 2>/dev/null || sleep 1
    n=$((n+1))
  done
done
echo alive"""


def _mark(nonce: str) -> str:
    return f"mimrun-{nonce}"


def _check_words(remote: Remote) -> None:
    words = [*remote.argv, remote.chdir, remote.creates, remote.removes, remote.become or ""]
    words += [*remote.environment, *remote.environment.values()]
    if any("\0" in word for word in words):
        raise ValueError("a NUL character cannot be part of a command")
    if not remote.argv or not remote.argv[0]:
        raise ValueError("there is no program to run")
    if remote.argv[0].startswith("-"):
        raise ValueError(f"{remote.argv[0]!r} would be taken for an option, not for a program")
    for name in remote.environment:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not the name of an environment variable")
    if remote.become is not None and not re.fullmatch(r"[^-\s:][^\s:]*", remote.become):
        raise ValueError(f"{remote.become!r} is not the name of a user")


def _read_variable(name: str, value: str) -> str:
    """Shell text that reads one variable from as many lines of standard input as it has."""
    first = f"IFS= read -r {name}"
    more = [f'IFS= read -r mimrun_line && {name}="${name}\n$mimrun_line"' for _ in range(value.count("\n"))]
    return " && ".join([first, *more, f"export {name}"])
