"""One program, from its start to its proven end."""

from __future__ import annotations

import os
import re
import selectors
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from connectors.local.actions import Program
from mimrun.connector import Call, Failed, Json, Ok, Outcome, Refused, Unknown

TICK: Final = 0.05
"""Seconds between two looks at the deadline and at a person's stop."""
LINGER: Final = 0.5
"""Seconds in which output may still come when the program has ended and something holds its pipes."""
GRACE: Final = 5.0
"""Seconds that processes get between SIGTERM and SIGKILL."""
INHERITED: Final = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "TZ", "TMPDIR")
"""What a program sees of mimrun's own environment; the rest may hold secrets of other steps."""
MARK: Final = "MIMRUN_ATTEMPT"
"""In the environment of everything an attempt starts, so that what left its group is found as well."""
USER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*\$?")


@dataclass(frozen=True, slots=True)
class Ended:
    """How an attempt's processes were ended.

    Arguments:
        left: those that could not be.
        strays: those that had left the group they were started in.
    """

    left: frozenset[int] = frozenset()
    strays: frozenset[int] = frozenset()


def become_words(call: Call) -> list[str]:
    """Give the sudo words that come first, after sudo itself said that it would let us.

    Raises:
        Refused: the user's name is not one, or sudo says no; nothing has been run.
    """
    if call.become is None:
        return []
    if not USER.fullmatch(call.become):
        raise Refused(f"become: {call.become!r} is not a user name")
    # Values go by the environment and never by the argument list, which every user can read.
    keep = [f"--preserve-env={','.join(call.environment)}"] if call.environment else []
    words = ["sudo", "-n", "-H", "-u", call.become, *keep, "--"]
    try:
        asked = subprocess.run([*words, "true"], capture_output=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise Refused(f"become: cannot run sudo: {exc}") from exc
    if asked.returncode:
        raise Refused(f"become: sudo refuses: {asked.stderr.decode(errors='replace').strip()}")
    return words


def run(argv: Sequence[str], action: Program, call: Call) -> Outcome:
    """Run a program, and end it with all it has started when it may not go on.

    Arguments:
        argv: the program and its arguments.
        action: its folder, its standard input, and what its exit codes mean.
        call: the attempt: deadline, stop, environment, and where the output goes.

    Raises:
        Refused: it cannot be started.
    """
    # 1. What has not begun can still be called off.
    if call.stop.is_set() or call.left() == 0:
        return Failed("called off before the program was started", clean=True)
    # 2. A session of its own, so that everything it starts can be ended with it.
    mark = f"{MARK}={call.key}.{call.attempt}.{uuid.uuid4().hex}"
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    environment = {**inherited, **call.environment, MARK: mark.partition("=")[2]}
    try:
        child = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=action.chdir or None,
            env=environment,
            start_new_session=True,
        )
    except (OSError, ValueError) as exc:
        raise Refused(f"cannot start {argv[0]!r}: {exc}") from exc
    # 3. Follow it to its end, or end it; in no case is it left to itself.
    try:
        why = _follow(child, action.stdin.encode("utf-8", "surrogateescape"), call)
        end = _end(child.pid, mark, call) if why else Ended()
    except BaseException:
        _end(child.pid, mark, call)
        raise
    finally:
        _drain(child, call)
        with suppress(subprocess.TimeoutExpired):  # what cannot be ended is not waited for either
            child.wait(TICK)
    return _outcome(child, action, why, end, call)


def _outcome(child: subprocess.Popen[bytes], action: Program, why: str, end: Ended, call: Call) -> Outcome:
    call.output.finish()
    said: dict[str, Json] = {"stdout": call.output.stdout.text(), "stderr": call.output.stderr.text()}
    if end.left:
        numbers = ", ".join(map(str, sorted(end.left)))
        return Unknown(f"{why}; processes {numbers} could not be ended", {"rc": None, **said})
    if why:
        more = f", also {len(end.strays)} that had left its group" if end.strays else ""
        return Unknown(f"{why}; every process it had started is proven ended{more}", {"rc": None, **said})
    rc = child.returncode
    if rc in action.ok_codes:
        return Ok(changed=action.changed, data={"rc": rc, **said})
    reason = f"ended by signal {-rc}" if rc < 0 else f"exit status {rc}"
    return Failed(reason, clean=False, data={"rc": rc, **said})


def _follow(child: subprocess.Popen[bytes], stdin: bytes, call: Call) -> str:
    """Feed and read until the program ends. Give "" then, else why it must be ended."""
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stderr is not None
    ended_at: float | None = None
    with selectors.DefaultSelector() as waiting:
        waiting.register(child.stdout, selectors.EVENT_READ, "stdout")
        waiting.register(child.stderr, selectors.EVENT_READ, "stderr")
        waiting.register(child.stdin, selectors.EVENT_WRITE, "stdin")
        while True:
            for key, _ in waiting.select(TICK) if waiting.get_map() else ():
                pipe = getattr(child, key.data)
                if pipe is child.stdin:
                    stdin, more = _give(key.fd, stdin)
                else:
                    more = _take(key.fd, key.data, call)
                if not more:
                    waiting.unregister(pipe)
                    _shut(pipe)
            if not waiting.get_map():
                with suppress(subprocess.TimeoutExpired):
                    child.wait(TICK)
            if child.poll() is not None:
                ended_at = ended_at or time.monotonic()
                reading = any(key.data != "stdin" for key in waiting.get_map().values())
                if not reading or time.monotonic() > ended_at + LINGER:
                    return ""
            elif call.stop.is_set():
                return "stopped by a person"
            elif call.left() == 0:
                return "not ended by its deadline"


def _give(fd: int, stdin: bytes) -> tuple[bytes, bool]:
    try:
        rest = stdin[os.write(fd, stdin[:512]) :]  # a writable pipe takes 512 bytes (POSIX PIPE_BUF)
    except BrokenPipeError:
        rest = b""
    return rest, bool(rest)


def _take(fd: int, stream: str, call: Call) -> bool:
    piece = os.read(fd, 65536)
    call.output.feed(**{stream: piece})
    return bool(piece)


def _drain(child: subprocess.Popen[bytes], call: Call) -> None:
    """Take what was said before the end, without waiting for more, and let the pipes go."""
    for stream, pipe in (("stdout", child.stdout), ("stderr", child.stderr)):
        if pipe is not None and not pipe.closed:
            os.set_blocking(pipe.fileno(), False)
            with suppress(BlockingIOError):
                while _take(pipe.fileno(), stream, call):
                    pass
    for pipe in (child.stdin, child.stdout, child.stderr):
        _shut(pipe)


def _shut(pipe: IO[bytes] | None) -> None:
    if pipe is not None:
        with suppress(OSError):  # stdin may still hold bytes for a program that is gone
            pipe.close()


def _end(leader: int, mark: str, call: Call) -> Ended:
    """End everything an attempt has started: SIGTERM, then SIGKILL.

    The leader is not reaped meanwhile, so its number cannot come to mean another process.
    """
    strays: set[int] = set()
    for number, patience in ((signal.SIGTERM, GRACE), (signal.SIGKILL, GRACE)):
        until = time.monotonic() + patience
        sent: set[int] = set()
        while time.monotonic() < until:
            groups = _family(leader, mark)
            if not groups:
                return Ended(strays=frozenset(strays))
            there = set(groups)
            strays |= {pid for pid, group in groups.items() if group != leader}
            # Once each for SIGTERM; again and again for SIGKILL, since a fork may just have got away.
            _signal(there - sent if number == signal.SIGTERM else there, number, call)
            sent |= there
            time.sleep(TICK)
    return Ended(frozenset(_family(leader, mark)), frozenset(strays))


def living(key: str) -> list[int]:
    """Give the living processes that carry the mark of any attempt with this key. Source: proc(5)."""
    mark = f"{MARK}={key}.".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if any(word.startswith(mark) for word in (folder / "environ").read_bytes().split(b"\0")):
                found.append(int(folder.name))
    return sorted(found)


def end(call: Call) -> str:
    """End every process of any attempt with a call's key, also of one whose worker is dead: SIGTERM, then SIGKILL.

    They are known by the mark in their environment, and by what they share with those: session and descent.

    Returns:
        what is proven of that. It is of this machine alone.
    """
    seen: set[int] = set()
    for number, patience in ((signal.SIGTERM, GRACE), (signal.SIGKILL, GRACE)):
        until = time.monotonic() + min(patience, max(call.left() - TICK, TICK))
        sent: set[int] = set()
        while time.monotonic() < until:
            there = _of_key(call.key)
            if not there:
                return _ended(seen, call)
            _signal(there - sent if number == signal.SIGTERM else there, number, call)
            sent |= there
            seen |= there
            time.sleep(TICK)
    left = ", ".join(map(str, sorted(_of_key(call.key))))
    return f"its processes {left} could not be ended" if left else _ended(seen, call)


def _ended(seen: set[int], call: Call) -> str:
    where = f"on this machine ({socket.gethostname()})"
    if seen:
        return f"its processes {', '.join(map(str, sorted(seen)))} are proven ended {where}"
    if call.become is not None and os.geteuid() != 0:
        return f"none of its processes is seen {where}, and those of {call.become} cannot be looked at"
    return f"none of its processes runs any more {where}"


def _of_key(key: str) -> set[int]:
    """Give the living processes of all attempts with a key."""
    stats = dict(_stats())
    found = {pid for pid in living(key) if pid in stats and pid != os.getpid()}
    sessions = {stats[pid][2] for pid in found}
    found |= {pid for pid, stat in stats.items() if stat[2] in sessions}
    while more := {pid for pid, stat in stats.items() if stat[0] in found} - found:
        found |= more
    return found - {os.getpid()}


def _stats() -> Iterator[tuple[int, tuple[int, int, int]]]:
    """Give parent, group and session of every process that is not a dead one. Source: proc(5)."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            # The name in brackets may hold brackets itself: count from the last one.
            stat = folder.joinpath("stat").read_text(errors="replace").rpartition(")")[2].split()
            if stat[0] not in "ZX":
                yield int(folder.name), (int(stat[1]), int(stat[2]), int(stat[3]))


def _signal(pids: set[int], number: int, call: Call) -> None:
    denied = []
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
        except PermissionError:
            denied.append(str(pid))
    if denied and call.become is not None:
        words = ["sudo", "-n", "-u", call.become, "--", "kill", "-s", str(number), *denied]
        with suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(words, capture_output=True, check=False, timeout=GRACE)


def _family(leader: int, mark: str) -> dict[int, int]:
    """Give the living processes of an attempt, with their groups: by group, session, descent or mark."""
    stats = dict(_stats())
    found = {pid for pid, (_, group, session) in stats.items() if leader in (pid, group, session)}
    found |= {pid for pid in stats.keys() - found if _marked(pid, mark)}
    while more := {pid for pid, stat in stats.items() if stat[0] in found} - found:
        found |= more
    return {pid: stats[pid][1] for pid in found}


def _marked(pid: int, mark: str) -> bool:
    try:
        return mark.encode() in Path("/proc", str(pid), "environ").read_bytes().split(b"\0")
    except OSError:
        return False
