"""Commands, shell lines and scripts on a host, and what their ends mean."""

from __future__ import annotations

import hashlib
import io
import secrets
import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, assert_never

from connectors.ssh.actions import Command, Execution, Script, Shell
from connectors.ssh.claim import Claim
from connectors.ssh.command_line import Obstacle, Remote
from connectors.ssh.connection import Connection
from connectors.ssh.running import Cut, Exited, Result, Task, collect, run
from mimrun.connector import (
    Call,
    ConnectorError,
    Difference,
    Effect,
    Failed,
    Json,
    LostAnswer,
    Ok,
    Outcome,
    Refused,
    Unknown,
)

SCRIPT_LIMIT: Final = 16 * 1024 * 1024
"""Bytes of a script."""
SHOWN: Final = 300
"""Characters of a host's own words in a reason."""

_NO_CLAIM: Final = {
    Obstacle.CLAIM_FOLDER: "it is not a folder of that account alone, or cannot be made",
    Obstacle.CLAIM_LINUX: "the host does not say under which boot it runs, as Linux does",
    Obstacle.CLAIM_FULL: "it cannot be written; the disk may be full or read-only",
}

_PLACE: Final = """umask 077; f=$(mktemp "${TMPDIR:-/tmp}/mimrun.XXXXXX") || exit 21
trap 'rm -f -- "$f"' EXIT; trap 'exit 29' HUP INT TERM
cat >"$f" || exit 22; s=$(sha256sum <"$f") || exit 23; [ "${s%% *}" = "$1" ] || exit 24
chmod 700 "$f" || exit 25; trap - EXIT; printf %s "$f" """
_RUN_PLACED: Final = 'f=$1; shift; "$@"; s=$?; rm -f -- "$f"; exit $s'


@dataclass(frozen=True, slots=True)
class Site:
    """Where, as whom and under which circumstances an action is done.

    Arguments:
        connection: the host.
        call: the attempt.
        become: the user to act as, or None for the login user.
    """

    connection: Connection
    call: Call
    become: str | None

    def ask(self, argv: Sequence[str], *, stdin: bytes = b"", limit: int = 64 * 1024) -> Answer:
        """Run a small command of our own.

        Raises:
            LostAnswer: it did not come to its end.
            Refused: it could not be started, for example as sudo said no.
            Unreachable: the host opens no channel.
        """
        remote = Remote(argv, become=self.become)
        task = Task(
            remote, nonce(), self.call.deadline, _unused, stdin=io.BytesIO(stdin), stop=self.call.stop
        )
        exited, out, err = collect(self.connection, task, limit)
        if not exited.header.started:
            raise Refused(not_started(self, exited, err))
        return Answer(exited.status, out, self.call.output.masker.mask_text(err))

    @property
    def where(self) -> str:
        """The host, for a person."""
        return self.connection.settings.where

    def claim(self, note: str = "-") -> Claim:
        """Give the claim of this attempt.

        Arguments:
            note: a word to keep with it.
        """
        call, account = self.call, self.become or self.connection.settings.user
        return Claim(account, call.key, call.attempt, note, sweep=self.connection.first_of("sweep"))


@dataclass(frozen=True, slots=True)
class Answer:
    """What a small command of our own said."""

    status: int
    stdout: bytes
    stderr: str


def nonce() -> str:
    """Give a fresh word that a target cannot foresee."""
    return secrets.token_hex(8)


def execute(site: Site, action: Command | Shell) -> Outcome:
    """Run a command or a line of shell, and judge its end."""
    return _judge(site, action, _run(site, action, argv_of(action)))


def run_script(site: Site, action: Script) -> Outcome:
    """Copy a script to the host, run it there, and remove it.

    Raises:
        Refused: the script cannot be read, or is not the one that was named; nothing has been done.
    """
    content = read_local(action.src, action.sha256, SCRIPT_LIMIT)
    try:
        digest = hashlib.sha256(content).hexdigest()
        placed = site.ask(["/bin/sh", "-c", _PLACE, "mimrun", digest], stdin=content)
    except LostAnswer as exc:
        return Failed(f"the script was not started: copying it broke off: {exc}", clean=True)
    if placed.status != 0:
        why = placed.stderr or f"exit code {placed.status}"
        return Failed(f"{site.where}: the script was not started: it cannot be copied: {why}", clean=True)
    path = placed.stdout.decode()
    command = [action.executable] * bool(action.executable) + [path, *action.args]
    result = _run(site, action, ["/bin/sh", "-c", _RUN_PLACED, "mimrun", path, *command])
    if isinstance(result, Cut) or not result.header.started:
        _remove(site, path)
    return _judge(site, action, result)


def predict(site: Site, action: Execution) -> Difference:
    """Say what `creates` and `removes` tell about a command; nothing else about it is known."""
    for path, wanted in ((action.creates, True), (action.removes, False)):
        if path:
            script = 'cd -- "$2" && { [ -e "$1" ] || [ -L "$1" ]; }'
            there = site.ask(["/bin/sh", "-c", script, "mimrun", path, action.chdir or "."]).status == 0
            if there is wanted:
                return Difference(
                    changes=False,
                    detail=f"nothing would be run: {path} {'exists' if wanted else 'does not exist'}",
                )
    if not action.changed:
        return Difference(changes=False, detail="would run; it is said to change nothing")
    return Difference(
        changes=None, detail=f"would run: {action.summary()}; what a command changes cannot be predicted"
    )


def read_local(src: str, sha256: str | None, limit: int) -> bytes:
    """Read a file of this machine.

    Raises:
        Refused: it cannot be read, is too big, or its content is not the one that was named.
    """
    path = Path(src).expanduser()
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as exc:
        raise Refused(f"{path}: {exc.strerror}") from exc
    if len(content) > limit:
        raise Refused(f"{path}: more than {limit} bytes")
    digest = hashlib.sha256(content).hexdigest()
    if sha256 is not None and digest != sha256:
        raise Refused(f"{path}: its content is sha256:{digest}, and sha256:{sha256} was asked for")
    return content


def not_started(site: Site, exited: Exited, stderr: str) -> str:
    """Say why a line did not get as far as starting its command."""
    header, mask = exited.header, site.call.output.masker.mask_text
    said = mask(header.noise.decode("utf-8", "replace") + "\n" + stderr).strip()[-SHOWN:]
    if site.become is not None and header.groups:
        return f"{site.where}: sudo to {site.become} was refused: {said or f'exit code {exited.status}'}"
    detail = said or f"exit code {exited.status}"
    return f"{site.where}: the login shell did not start the command: {detail}"


def argv_of(action: Command | Shell) -> Sequence[str]:
    """Give the program and its arguments."""
    if isinstance(action, Command):
        return action.argv
    # A shell would read a leading - or + as an option; a blank before it changes nothing else.
    cmd = f" {action.cmd}" if action.cmd.startswith(("-", "+")) else action.cmd
    return (action.executable, "-c", cmd)


def _run(site: Site, action: Execution, argv: Sequence[str]) -> Result:
    remote = Remote(
        argv,
        chdir=action.chdir,
        creates=action.creates,
        removes=action.removes,
        environment=site.call.environment,
    )
    return run_guarded(site, remote, stdin=action.stdin)


def run_guarded(site: Site, remote: Remote, *, stdin: str = "", note: str = "-") -> Result:
    """Run a command; where the plan counts on a probe, only under a claim.

    Arguments:
        remote: what; as whom and under which claim is filled in here.
        stdin: what it reads.
        note: a word to keep with the claim.

    Raises:
        Refused, Unreachable: as for `running.run`; nothing has been done.
    """
    call = site.call
    claim = site.claim(note) if call.effect is Effect.PROBE else None
    remote = replace(remote, become=site.become, claim=claim)
    reading = io.BytesIO(stdin.encode())
    task = Task(remote, nonce(), call.deadline, call.output.feed, stdin=reading, stop=call.stop)
    result = run(site.connection, task)
    call.output.finish()
    return result


def _judge(site: Site, action: Execution, result: Result) -> Outcome:
    match result:
        case Cut():
            return Unknown(result.reason, _data(site.call, None))
        case Exited():
            if not result.header.started:
                return _judge_start(site, action, result)
            return _judge_status(site.call, action, result)
    assert_never(result)


def _judge_start(site: Site, action: Execution, result: Exited) -> Outcome:
    """Judge a command that was provably not started."""
    match result.header.obstacle:
        case Obstacle.CREATES | Obstacle.REMOVES as obstacle:
            path = action.creates if obstacle is Obstacle.CREATES else action.removes
            why = f"{path} {'exists' if obstacle is Obstacle.CREATES else 'does not exist'}"
            return Ok(changed=False, data={**_data(site.call, 0), "skipped": why})
        case Obstacle.CHDIR:
            reason = f"{site.where}: the folder {action.chdir} is not there or may not be entered"
            return Failed(reason, clean=True, data=_data(site.call, 126))
        case Obstacle.COMMAND:
            program = argv_of(action)[0] if isinstance(action, Command | Shell) else "/bin/sh"
            reason = f"{site.where}: command not found: {program}"
            return Failed(reason, clean=True, data=_data(site.call, 127))
        case _:
            return judge_unstarted(site, result)


def judge_unstarted(site: Site, result: Exited) -> Outcome:
    """Judge a command that was provably not started by this request.

    That is clean, unless another request with the same key and attempt may have started it.
    """
    if result.header.obstacle is None:
        reason = not_started(site, result, site.call.output.stderr.text())
        return Failed(reason, clean=True, data=_data(site.call, result.status))
    claim = site.claim()
    if result.header.obstacle is Obstacle.CLAIM_TAKEN:
        return Unknown(
            f"{site.where}: not started by this request: attempt {claim.attempt} is claimed already in {claim.path}"
        )
    why = _NO_CLAIM.get(result.header.obstacle, f"{result.header.obstacle}")
    return Failed(
        f"{site.where}: nothing was run: no claim can be taken in {claim.folder}: {why}; see to that, or let the"
        " step say `effect: {class: once, reason: ...}`, which takes none",
        clean=True,
    )


def _judge_status(call: Call, action: Execution, result: Exited) -> Outcome:
    data = _data(call, result.status)
    if result.signal:
        return Failed(f"ended by signal {result.signal}", clean=False, data={**data, "signal": result.signal})
    if result.status in action.ok_codes:
        return Ok(changed=action.changed, data=data)
    lines = (call.output.stderr.text().strip() or call.output.stdout.text().strip()).splitlines()
    last = f": {lines[-1].strip()[:SHOWN]}" if lines else ""
    shown = exit_code(result.status) if call.effect is Effect.PROBE else f"exit code {result.status}"
    return Failed(f"{shown}{last}", clean=False, data=data)


def exit_code(status: int) -> str:
    """Name an exit status as a shell gives it, which adds 128 to the number of a signal."""
    try:
        name = signal.Signals(status - 128).name
    except ValueError:
        return f"exit code {status}"
    return f"exit code {status} ({name})"


def _data(call: Call, status: int | None) -> dict[str, Json]:
    """What later steps see, as Ansible names it; line ends at the end are cut off."""
    stdout = call.output.stdout.text().rstrip("\r\n")
    return {
        "rc": status,
        "stdout": stdout,
        "stdout_lines": list(stdout.splitlines()),
        "stderr": call.output.stderr.text().rstrip("\r\n"),
    }


def _remove(site: Site, path: str) -> None:
    """Remove a script that was not run to its end; where that fails it stays, readable by its user alone."""
    late = Call(site.call.key, site.call.deadline + 5)
    try:
        Site(site.connection, late, site.become).ask(["rm", "-f", "--", path])
    except ConnectorError:
        return


def _unused(stdout: bytes, stderr: bytes) -> None:
    """`collect` brings its own."""
