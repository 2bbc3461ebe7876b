"""The machine that runs mimrun: real processes, real files."""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest

from connectors.local import Local
from connectors.local.actions import Command, Copy, LocalSettings, Script, Shell
from mimrun.connector import Call, Effect, Failed, Finding, Ok, Output, Secret, Unknown
from mimrun.secret import Masker

FOREVER = "trap '' TERM; echo $$; while :; do sleep 0.05; done"


def a_call(seconds: float = 20, **more: object) -> Call:
    return Call(**{"key": "run/1/local/0", "deadline": time.monotonic() + seconds, **more})


def local() -> Local:
    return Local(LocalSettings())


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def wait_for(path: Path) -> str:
    until = time.monotonic() + 10
    while time.monotonic() < until:
        if path.exists() and path.read_text().endswith("\n"):
            return path.read_text()
        time.sleep(0.01)
    raise AssertionError(f"{path} did not come")


def test_command_gets_its_arguments_as_they_are_written() -> None:
    call = a_call()
    outcome = local().perform(Command(argv=("printf", "%s|", "a b", "$HOME", "; id")), call)
    assert outcome == Ok(True, {"rc": 0, "stdout": "a b|$HOME|; id|", "stderr": ""})
    assert call.output.stdout.text() == "a b|$HOME|; id|"


def test_exit_status_is_a_failure_that_may_have_done_something() -> None:
    outcome = local().perform(Shell(cmd="echo half; echo why >&2; exit 3"), a_call())
    assert outcome == Failed(
        "exit status 3", clean=False, data={"rc": 3, "stdout": "half\n", "stderr": "why\n"}
    )


def test_other_exit_codes_may_mean_success_and_looking_is_no_change() -> None:
    looking = Shell(cmd="exit 1", ok_codes=(0, 1), changed=False)
    assert local().perform(looking, a_call()) == Ok(False, {"rc": 1, "stdout": "", "stderr": ""})
    assert local().check(looking, a_call()).changes is False
    assert looking.summary() == "exit 1  (ok_codes=[0, 1], changed=False)"


def test_other_interpreter_may_be_asked_for() -> None:
    assert (
        local().perform(Shell(cmd="echo $0", executable="/bin/bash"), a_call()).data["stdout"]
        == "/bin/bash\n"
    )
    script = Script(content="#!/nonexistent\nprint(1)", executable="python3")
    assert local().perform(script, a_call()).data["stdout"] == "1\n"


def test_signal_is_named() -> None:
    outcome = local().perform(Shell(cmd="kill -9 $$"), a_call())
    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.clean, outcome.data["rc"]) == ("ended by signal 9", False, -9)


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (("/nonexistent/program",), "No such file"),
        (("/etc/passwd",), "Permission denied"),
        (("true", "a\0b"), "null byte"),
    ],
)
def test_program_that_cannot_be_started_has_done_nothing(argv: tuple[str, ...], says: str) -> None:
    outcome = local().perform(Command(argv=argv), a_call())
    assert isinstance(outcome, Failed)
    assert outcome.clean
    assert says in outcome.reason


def test_missing_folder_has_done_nothing(tmp_path: Path) -> None:
    outcome = local().perform(Command(argv=("true",), chdir=str(tmp_path / "none")), a_call())
    assert isinstance(outcome, Failed)
    assert outcome.clean


def test_folder_and_standard_input_and_environment_are_used(tmp_path: Path) -> None:
    text = "x" * 200_000
    action = Shell(cmd='pwd; echo "$COLOUR"; wc -c', chdir=str(tmp_path), stdin=text)
    outcome = local().perform(action, a_call(environment={"COLOUR": "red"}))
    assert isinstance(outcome, Ok)
    assert str(outcome.data["stdout"]).split() == [str(tmp_path), "red", "200000"]


def test_program_that_reads_no_input_does_not_hang() -> None:
    assert isinstance(local().perform(Command(argv=("true",), stdin="x" * 500_000), a_call()), Ok)


def test_own_environment_is_not_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIMRUN_DB_PASSWORD", "hunter2-hunter2")
    outcome = local().perform(Command(argv=("env",)), a_call())
    assert isinstance(outcome, Ok)
    assert "hunter2" not in str(outcome.data)
    assert "PATH=" in str(outcome.data["stdout"])


def test_creates_and_removes_skip_the_program(tmp_path: Path) -> None:
    here, gone = str(tmp_path), str(tmp_path / "gone")
    for action in (Command(argv=("false",), creates=here), Shell(cmd="false", removes=gone)):
        outcome = local().perform(action, a_call())
        assert isinstance(outcome, Ok)
        assert not outcome.changed
        assert outcome.data["rc"] == 0
        assert local().check(action, a_call()).changes is False
    assert isinstance(local().perform(Command(argv=("false",), creates=gone), a_call()), Failed)
    assert local().check(Command(argv=("false",), creates=gone), a_call()).changes is None


def test_deadline_ends_the_whole_group_and_says_so(tmp_path: Path) -> None:
    pid_file = tmp_path / "pids"
    # A grandchild in a session of its own has left the group; only the mark tells whose it is.
    cmd = f"setsid sh -c 'echo $$; exec sleep 60' >>{pid_file} & sh -c 'echo $$; exec sleep 60' >>{pid_file} & sleep 60"
    outcome = local().perform(Shell(cmd=cmd), a_call(0.7))
    assert isinstance(outcome, Unknown)
    proof = "every process it had started is proven ended, also 1 that had left its group"
    assert outcome.reason == f"not ended by its deadline; {proof}"
    pids = [int(line) for line in pid_file.read_text().split()]
    assert len(pids) == 2
    assert not any(is_running(pid) for pid in pids)


def test_program_that_ignores_sigterm_is_killed_and_its_output_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.local.program.GRACE", 0.4)
    outcome = local().perform(Shell(cmd=FOREVER), a_call(0.3))
    assert isinstance(outcome, Unknown)
    assert "proven ended" in outcome.reason
    assert not is_running(int(str(outcome.data["stdout"])))


def test_stop_by_a_person_ends_it_at_once(tmp_path: Path) -> None:
    stop, pid_file = threading.Event(), tmp_path / "pid"
    threading.Thread(target=lambda: (wait_for(pid_file), stop.set())).start()
    begun = time.monotonic()
    outcome = local().perform(Shell(cmd=f"echo $$ >{pid_file}; sleep 60"), a_call(60, stop=stop))
    assert (
        outcome.reason.startswith("stopped by a person; every process")
        if isinstance(outcome, Unknown)
        else False
    )
    assert time.monotonic() - begun < 5
    assert not is_running(int(pid_file.read_text()))


def test_stop_before_the_start_has_done_nothing(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    for call in (a_call(stop=stop), a_call(-1)):
        outcome = local().perform(Shell(cmd=f"touch {tmp_path}/done"), call)
        assert isinstance(outcome, Failed)
        assert outcome.clean
    assert not (tmp_path / "done").exists()


def test_path_tells_that_a_program_was_done_or_leaves_it_in_doubt(tmp_path: Path) -> None:
    path, begun, stop = tmp_path / "made", tmp_path / "begun", threading.Event()
    making = Shell(cmd=f"echo $$ >{begun}; sleep 60; touch {path}", creates=str(path))
    assert (making.effect_class(), Shell(cmd="true").effect_class()) == (Effect.PROBE, Effect.ONCE)
    runner = threading.Thread(target=lambda: local().perform(making, a_call(stop=stop, key="k-creates")))
    runner.start()
    pid = wait_for(begun).strip()
    # 1. Begun, and at work: also when whoever began it is gone and another one asks.
    at_work = local().probe(making, a_call(key="k-creates"))
    assert at_work.finding is Finding.UNKNOWN
    assert at_work.reason.startswith("it still runs: processes ")
    assert pid in at_work.reason
    stop.set()
    runner.join()
    # 2. Ended half-way: nothing may say that it was not done.
    half_way = local().probe(making, a_call(key="k-creates"))
    assert (half_way.finding, "may have done a part" in half_way.reason) == (Finding.UNKNOWN, True)
    # 3. Done.
    path.touch()
    done = local().probe(making, a_call(key="k-creates"))
    assert (done.finding, done.data["rc"]) == (Finding.APPLIED, 0)
    removing = Shell(cmd="true", removes=str(tmp_path / "gone"))
    assert local().probe(removing, a_call(key="k-creates")).finding is Finding.APPLIED
    assert local().probe(Shell(cmd="true"), a_call()).finding is Finding.UNKNOWN


def killed_at_work(action: Shell, begun: Path, key: str) -> str:
    """Kill the process that runs an action, once the program is under way; give what it wrote down."""
    worker = os.fork()
    if worker == 0:
        try:
            local().perform(action, a_call(key=key))
        finally:
            os._exit(0)
    said = wait_for(begun)
    os.kill(worker, signal.SIGKILL)
    os.waitpid(worker, 0)
    return said


@pytest.mark.parametrize("deaf", ["", "trap '' TERM; "])
def test_what_a_dead_worker_has_left_is_ended_with_proof(tmp_path: Path, deaf: str) -> None:
    # One in the session, one that has left it and still carries the mark, and one that has neither name nor group.
    begun = tmp_path / "begun"
    loop = (deaf + "while :; do sleep 0.05; done").replace("'", '"')
    away, bare = (f"{how} sh -c '{loop}' & echo $! >>{begun}.part" for how in ("setsid", "env -i"))
    own = f"echo $$ >>{begun}.part; mv {begun}.part {begun}; sleep 60; sleep 60"
    action = Shell(cmd=f"{deaf}{away}\n{bare}\n{own}")
    key = f"k-{tmp_path}"
    pids = [int(word) for word in killed_at_work(action, begun, key).split()]
    assert all(map(is_running, pids))
    said = local().end(action, a_call(key="k-other"))
    assert said.startswith("none of its processes runs any more on this machine ("), said
    assert all(map(is_running, pids))
    said = local().end(action, a_call(key=key))
    assert "are proven ended on this machine (" in said
    assert all(str(pid) in said for pid in pids)
    assert not any(map(is_running, pids))


def test_a_file_without_a_folder_would_fail_and_does(tmp_path: Path) -> None:
    copy = Copy(content="x", dest=str(tmp_path / "no" / "x"))
    found = local().check(copy, a_call())
    assert (found.changes, found.fails) == (None, True)
    assert "there is no folder for" in found.detail
    outcome = local().perform(copy, a_call())
    assert isinstance(outcome, Failed)
    assert outcome.clean


def test_of_a_file_nothing_goes_on(tmp_path: Path) -> None:
    copy = Copy(content="x", dest=str(tmp_path / "x"))
    assert local().end(copy, a_call()) == "a file is written by mimrun itself: nothing of it goes on"


def test_daemon_that_keeps_the_pipes_does_not_hold_us_up(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    begun = time.monotonic()
    outcome = local().perform(Shell(cmd=f"sleep 60 & echo $! >{pid_file}; echo started"), a_call())
    assert isinstance(outcome, Ok)
    assert outcome.data["stdout"] == "started\n"
    assert time.monotonic() - begun < 5
    daemon = int(pid_file.read_text())
    assert is_running(daemon)  # what a finished command leaves behind on purpose is left alone
    os.kill(daemon, 9)


def test_secret_is_masked_in_the_answer() -> None:
    output = Output(Masker([Secret("correct-horse")]))
    outcome = local().perform(Command(argv=("echo", "correct-horse")), a_call(output=output))
    assert isinstance(outcome, Ok)
    assert outcome.data["stdout"] == "*****\n"


def test_script_runs_by_its_first_line_with_arguments(tmp_path: Path) -> None:
    python = Script(content="#!/usr/bin/env python3\nimport sys; print(sys.argv[1:])\n", args=("a b", "-c"))
    assert local().perform(python, a_call()).data["stdout"] == "['a b', '-c']\n"
    path = tmp_path / "x.sh"
    path.write_text('echo "by sh: $1"')
    assert local().perform(Script(src=str(path), args=("1",)), a_call()).data["stdout"] == "by sh: 1\n"


def test_script_that_is_not_the_pinned_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.sh"
    path.write_text(f"touch {tmp_path}/done")
    outcome = local().perform(Script(src=str(path), sha256="0" * 64), a_call())
    assert isinstance(outcome, Failed)
    assert outcome.clean
    assert not (tmp_path / "done").exists()
    pinned = hashlib.sha256(path.read_bytes()).hexdigest()
    assert isinstance(local().perform(Script(src=str(path), sha256=pinned), a_call()), Ok)


def test_copy_replaces_whole_and_keeps_the_mode(tmp_path: Path) -> None:
    dest = tmp_path / "motd"
    first = Copy(dest=str(dest), content="one\n", mode="0640")
    assert local().check(first, a_call()).detail == f"would create {dest}: 4 bytes, sha256 2c8b08da5ce6, 0640"
    outcome = local().perform(first, a_call())
    assert outcome == Ok(True, {"dest": str(dest), "sha256": hashlib.sha256(b"one\n").hexdigest(), "size": 4})
    assert local().perform(first, a_call()) == Ok(False, outcome.data)
    second = Copy(dest=str(dest), content="two\n")
    assert local().probe(second, a_call()).finding is Finding.NOT_APPLIED
    wanted = "4 bytes, sha256 2c8b08da5ce6, 0640 -> 4 bytes, sha256 27dd8ed44a83, 0640"
    assert local().check(second, a_call()).detail == f"would replace {dest}: {wanted}"
    assert local().perform(second, a_call()).changed
    assert local().probe(second, a_call()).finding is Finding.APPLIED
    assert (dest.read_text(), dest.stat().st_mode & 0o777) == ("two\n", 0o640)
    mode = local().check(Copy(dest=str(dest), content="two\n", mode="0600"), a_call())
    assert (mode.changes, mode.detail.startswith("would change the mode of")) == (True, True)
    assert [p.name for p in tmp_path.iterdir()] == ["motd"]


def test_copy_that_is_called_off_writes_nothing(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    outcome = local().perform(Copy(dest=str(tmp_path / "x"), content="x"), a_call(stop=stop))
    assert isinstance(outcome, Failed)
    assert outcome.clean
    local().check(Copy(dest=str(tmp_path / "x"), content="x"), a_call())
    assert list(tmp_path.iterdir()) == []


def test_copy_follows_a_link_and_leaves_it_one(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert isinstance(local().perform(Copy(dest=str(tmp_path / "link"), content="x"), a_call()), Ok)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "x"


def test_copy_without_its_folder_has_done_nothing(tmp_path: Path) -> None:
    outcome = local().perform(Copy(dest=str(tmp_path / "none" / "x"), content="x"), a_call())
    assert isinstance(outcome, Failed)
    assert outcome.clean


def test_copy_and_script_want_exactly_one_source() -> None:
    for fields in ({}, {"content": "x", "src": "/x"}):
        with pytest.raises(ValueError, match="give one of content and src"):
            Copy(dest="/x", **fields)
        with pytest.raises(ValueError, match="give one of content and src"):
            Script(**fields)


def test_effects_are_the_weakest_that_can_be_honoured() -> None:
    assert [a.effect for a in Local.actions] == [Effect.ONCE, Effect.ONCE, Effect.ONCE, Effect.IDEMPOTENT]


needs_sudo = pytest.mark.skipif(os.geteuid() != 0 or shutil.which("sudo") is None, reason="root and sudo")


@needs_sudo
def test_become_runs_as_the_user_with_the_environment() -> None:
    outcome = local().perform(
        Shell(cmd="id -un; echo $COLOUR"), a_call(become="nobody", environment={"COLOUR": "red"})
    )
    assert isinstance(outcome, Ok), outcome
    assert outcome.data["stdout"] == "nobody\nred\n"
    script = local().perform(Script(content="#!/bin/sh\nid -un\n"), a_call(become="nobody"))
    assert script.data["stdout"] == "nobody\n"


@needs_sudo
def test_become_is_ended_too() -> None:
    outcome = local().perform(Shell(cmd="echo $$; sleep 60"), a_call(0.5, become="nobody"))
    assert isinstance(outcome, Unknown)
    assert "proven ended" in outcome.reason
    assert not is_running(int(str(outcome.data["stdout"])))


@pytest.mark.parametrize("user", ["-u", "no such", "nobody-of-this-name"])
def test_become_a_user_that_is_none_has_done_nothing(user: str, tmp_path: Path) -> None:
    assert user not in {entry.pw_name for entry in pwd.getpwall()}
    outcome = local().perform(Shell(cmd=f"touch {tmp_path}/done"), a_call(become=user))
    assert isinstance(outcome, Failed)
    assert outcome.clean
    assert not (tmp_path / "done").exists()
