"""`ssh.command`, `ssh.shell` and `ssh.script` on a real sshd: what arrives, and what each end means."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from connectors.ssh import Command, Script, Shell, Ssh
from mimrun.connector import Difference, Effect, Failed, Ok, Output, Secret, Unknown
from mimrun.secret import Masker

from .conftest import SshLab, make_call

pytestmark = pytest.mark.needs("sshd")

HOSTILE = [
    "", " ", "-n", "--", "a b", "'", "''", "'\\''", '"', "$HOME", "$(id)", "`id`", "\\", "\\n", "\n", "\t",
    "*", "?", "[a-z]", "~", "~root", "=ls", "!!", "!x", "a;b", "a|b", "a&b", "&&", ">x", "<x", "#x", "{a,b}",
    "%s", "\x01\x02\x7f", "\r\n", "é", "日本", "🚒", "A=b", "mimrun-00 run 1", "\x1b[31m",
]  # fmt: skip


def data(outcome: object) -> dict[str, object]:
    assert isinstance(outcome, Ok | Failed | Unknown), outcome
    return dict(outcome.data)


@pytest.fixture
def ssh(lab: SshLab) -> Ssh:
    return lab.ssh()


def test_command_answers_with_its_code_and_output(ssh: Ssh) -> None:
    outcome = ssh.perform(Command(argv=("sh", "-c", "echo out; echo; echo err >&2; exit 0")), make_call())
    assert outcome == Ok(
        changed=True, data={"rc": 0, "stdout": "out", "stdout_lines": ["out"], "stderr": "err"}
    )


def test_a_command_that_only_looks_says_that_nothing_changed(ssh: Ssh) -> None:
    outcome = ssh.perform(Command(argv=("true",), changed=False), make_call())
    assert outcome == Ok(changed=False, data={"rc": 0, "stdout": "", "stdout_lines": [], "stderr": ""})


def test_another_exit_code_is_a_failure_that_may_have_changed_something(ssh: Ssh) -> None:
    outcome = ssh.perform(Shell(cmd="echo half done; echo it broke >&2; exit 3"), make_call())
    assert isinstance(outcome, Failed)
    assert not outcome.clean
    assert outcome.reason == "exit code 3: it broke"
    assert outcome.data == {
        "rc": 3, "stdout": "half done", "stdout_lines": ["half done"], "stderr": "it broke"
    }  # fmt: skip


def test_exit_codes_that_the_author_names_are_success(ssh: Ssh) -> None:
    outcome = ssh.perform(Command(argv=("sh", "-c", "exit 3"), ok_codes=(0, 3)), make_call())
    assert isinstance(outcome, Ok)
    assert outcome.data["rc"] == 3


@pytest.mark.parametrize("program", ["no-such-program", "/no/such/program", "/etc", "/etc/passwd"])
def test_command_not_found_is_proven_to_have_done_nothing(ssh: Ssh, program: str) -> None:
    outcome = ssh.perform(Command(argv=(program, "x")), make_call())
    assert isinstance(outcome, Failed)
    assert outcome.clean
    assert outcome.reason.endswith(f"command not found: {program}")
    assert outcome.data["rc"] == 127


def test_a_program_that_itself_ends_with_127_is_not_called_clean(ssh: Ssh) -> None:
    outcome = ssh.perform(Command(argv=("sh", "-c", "exit 127")), make_call())
    assert isinstance(outcome, Failed)
    assert not outcome.clean


def test_a_command_that_a_signal_ends_says_which(ssh: Ssh) -> None:
    outcome = ssh.perform(Shell(cmd="kill -9 $$"), make_call())
    assert isinstance(outcome, Failed)
    assert not outcome.clean
    assert (outcome.reason, outcome.data["rc"], outcome.data["signal"]) == (
        "ended by signal KILL", 137, "KILL"
    )  # fmt: skip


def test_chdir_sets_the_folder_and_a_missing_one_is_a_clean_failure(ssh: Ssh) -> None:
    assert data(ssh.perform(Command(argv=("pwd",), chdir="/usr/bin/.."), make_call()))["stdout"] == "/usr"
    outcome = ssh.perform(Command(argv=("pwd",), chdir="/no/such"), make_call())
    assert isinstance(outcome, Failed)
    assert outcome.clean
    assert "/no/such" in outcome.reason


def test_creates_and_removes_skip_what_is_done_already(ssh: Ssh, open_folder: Path) -> None:
    flag = open_folder / "it's there"
    create = Command(argv=("touch", str(flag)), creates=str(flag))
    remove = Command(argv=("rm", str(flag)), removes=str(flag))
    assert ssh.check(create, make_call()).changes is None
    assert ssh.check(remove, make_call()).changes is False
    for action, changed in (
        (remove, False),
        (create, True),
        (create, False),
        (remove, True),
        (remove, False),
    ):
        outcome = ssh.perform(action, make_call())
        assert isinstance(outcome, Ok)
        assert outcome.changed is changed, action
    assert not flag.exists()
    assert "exist" in str(data(ssh.perform(remove, make_call()))["skipped"])


def test_check_runs_nothing(ssh: Ssh, open_folder: Path) -> None:
    action = Command(argv=("touch", str(open_folder / "x")))
    difference = ssh.check(action, make_call())
    assert isinstance(difference, Difference)
    assert difference.changes is None
    assert "touch" in difference.detail
    looks = ssh.check(Command(argv=("touch", str(open_folder / "x")), changed=False), make_call())
    assert (looks.changes, looks.detail) == (False, "would run; it is said to change nothing")
    assert not list(open_folder.iterdir())


def test_standard_input_arrives_and_is_empty_otherwise(ssh: Ssh) -> None:
    assert data(ssh.perform(Command(argv=("cat",), stdin="a\nb"), make_call()))["stdout"] == "a\nb"
    assert data(ssh.perform(Command(argv=("cat",)), make_call()))["stdout"] == ""


def test_input_and_output_bigger_than_every_buffer_do_not_block_each_other(ssh: Ssh) -> None:
    text = "0123456789abcde\n" * 400_000
    call = make_call(60)
    outcome = ssh.perform(Command(argv=("cat",), stdin=text), call)
    assert isinstance(outcome, Ok), outcome
    assert call.output.stdout.size == len(text)


def test_a_command_that_does_not_read_its_input_still_ends(ssh: Ssh) -> None:
    assert isinstance(ssh.perform(Command(argv=("true",), stdin="x" * 5_000_000), make_call()), Ok)


def test_environment_arrives_whatever_it_holds_and_is_in_no_command_line(ssh: Ssh) -> None:
    values = {"PLAIN": "x", "LINES": "a\n\n b\n", "ODD": "$(id) ' \" \\ `", "EMPTY": ""}
    script = 'for n in PLAIN LINES ODD EMPTY; do eval "printf %s \\"\\$$n\\""; printf "|"; done; cat'
    outcome = ssh.perform(Shell(cmd=script, stdin="rest"), make_call(environment=values))
    assert data(outcome)["stdout"] == "|".join([*values.values(), "rest"])
    shown = ssh.perform(
        Shell(cmd="tr '\\0' ' ' </proc/$$/cmdline"), make_call(environment={"S": "hidden-value"})
    )
    assert "hidden-value" not in str(shown)


def test_secrets_are_masked_wherever_the_host_says_them(ssh: Ssh) -> None:
    output = Output(Masker([Secret("s3cret-value")]))
    cmd = "echo s3cret-value; echo s3cret-value >&2; exit 4"
    outcome = ssh.perform(Shell(cmd=cmd), make_call(output=output))
    assert "s3cret-value" not in str(outcome)
    assert data(outcome)["stdout"] == "*****"


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    words=st.lists(
        st.one_of(
            st.sampled_from(HOSTILE),
            st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30),
        ),
        max_size=6,
    )
)
@example(words=HOSTILE)
def test_every_argument_arrives_byte_for_byte(ssh: Ssh, words: list[str]) -> None:
    program = ("sh", "-c", 'for w; do printf %s "$w" | od -An -v -tx1 | tr -d " \\n"; echo; done', "sh")
    outcome = ssh.perform(Command(argv=(*program, *words)), make_call())
    assert isinstance(outcome, Ok), outcome
    received = str(outcome.data["stdout"]).split("\n") if words else []
    received += [""] * (len(words) - len(received))  # line ends at the end are cut off
    assert received == [word.encode().hex() for word in words]


def test_shell_text_may_begin_like_an_option(ssh: Ssh) -> None:
    assert data(ssh.perform(Shell(cmd="-x 2>/dev/null; echo after"), make_call()))["stdout"] == "after"


def test_a_command_too_long_for_one_line_is_refused_before_anything_is_sent(ssh: Ssh) -> None:
    outcome = ssh.perform(Command(argv=("true", "x" * 200_000)), make_call())
    assert isinstance(outcome, Failed)
    assert outcome.clean
    assert "upload a file" in outcome.reason
    assert isinstance(ssh.perform(Command(argv=("true", "x" * 100_000)), make_call()), Ok)


def test_script_runs_with_its_arguments_and_is_removed(ssh: Ssh, tmp_path: Path) -> None:
    script = tmp_path / "job.sh"
    script.write_text('#!/bin/sh\necho "$0"; for a; do echo "<$a>"; done; cat; exit 5\n')
    action = Script(src=str(script), args=("a b", "c'd"), stdin="in", ok_codes=(5,))
    outcome = ssh.perform(action, make_call())
    assert isinstance(outcome, Ok), outcome
    copied, *rest = str(outcome.data["stdout"]).split("\n")
    assert rest == ["<a b>", "<c'd>", "in"]
    assert not Path(copied).exists()


def test_script_runs_in_the_interpreter_that_is_named(ssh: Ssh, tmp_path: Path) -> None:
    script = tmp_path / "job"
    script.write_text("echo $BASH_VERSION")
    outcome = ssh.perform(Script(src=str(script), executable="/bin/bash"), make_call())
    assert str(data(outcome)["stdout"]).startswith("5.")


def test_script_with_another_content_is_refused(ssh: Ssh, tmp_path: Path) -> None:
    script = tmp_path / "job"
    script.write_text("#!/bin/sh\n")
    for action in (Script(src=str(script), sha256="0" * 64), Script(src=str(tmp_path / "absent"))):
        outcome = ssh.perform(action, make_call())
        assert isinstance(outcome, Failed)
        assert outcome.clean


def test_wrong_arguments_are_refused_by_the_model() -> None:
    for wrong in (
        {"argv": []},
        {"argv": ["a\0b"]},
        {"argv": [""]},
        {"argv": ["-x"]},
        {"argv": ["a"], "chdri": "/"},
    ):
        with pytest.raises(ValidationError):
            Command.model_validate(wrong)


def test_effects_are_declared() -> None:
    effects = {action.verb: action.effect for action in Ssh.actions}
    assert effects == {
        "command": Effect.PROBE, "shell": Effect.PROBE, "script": Effect.PROBE, "service": Effect.PROBE,
        "upload": Effect.IDEMPOTENT, "download": Effect.IDEMPOTENT,
    }  # fmt: skip


def test_summary_shows_the_command_as_one_would_type_it() -> None:
    action = Command(argv=("systemctl", "restart", "a b"), chdir="/srv")
    assert action.summary() == "systemctl restart 'a b'  (chdir='/srv')"


def test_importing_the_connector_does_not_import_paramiko() -> None:
    code = "import sys, connectors.ssh; print('paramiko' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
