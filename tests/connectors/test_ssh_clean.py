"""Which places of the connector may say that nothing was done: all of them, each with the test that holds it.

`Refused` and `Unreachable` mean "failed, clean" wherever they are raised, and so does `clean=True`. A place that
is not in this table, or a test that is not there, is a mistake; any other exception leaves the outcome unknown.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.ssh import Command, Script, Service, Shell, Ssh, Upload, execution, systemd, transfer
from connectors.ssh.connection import Connection
from mimrun.connector import Action, Effect, Failed, Unknown

from .conftest import SshLab, make_call

FOLDER = Path(__file__).parents[2] / "connectors" / "ssh"

ALLOWED = {
    # Before anything was sent: no connection, no trust, no login, no channel.
    "connection.connect": "test_a_host_that_always_hangs_up_is_unreachable_in_time",
    "connection._greet": "test_names_and_addresses_that_lead_nowhere_are_unreachable",
    "connection._log_in": "test_a_key_that_the_host_does_not_know_is_refused",
    "connection.take_channel": "test_a_host_that_opens_no_channel_is_unreachable",
    "terminal._begun": "test_who_is_there_is_known_before_it_begins_and_nothing_was_asked",
    "terminal.begin": "test_a_login_without_a_terminal_is_refused",
    "connector._site": "test_an_action_without_a_connection_is_unreachable",
    "known_hosts.parse_known_hosts": "test_a_revoked_line_that_cannot_be_read_closes_the_file",
    "known_hosts.load_known_hosts": "test_missing_known_hosts_file_is_refused",
    "known_hosts.verify": "test_changed_host_key_is_refused_with_the_line",
    "identity.identities": "test_no_key_at_all_is_refused",
    "identity.load_key": "test_key_that_others_can_read_is_refused",
    "identity._read_key": "test_a_file_that_is_no_key_is_refused",
    # Before anything was sent: what cannot be sent, what cannot be read here.
    "running.run": "test_a_command_too_long_for_one_line_is_refused_before_anything_is_sent",
    "execution.read_local": "test_script_with_another_content_is_refused",
    "transfer._source": "test_source_that_is_missing_or_different_is_refused",
    # The host says that it did not start the command.
    "running._exited": "test_a_host_that_refuses_to_run_anything_did_nothing",
    "execution.ask": "test_without_a_rule_sudo_is_a_clean_failure",
    "execution.run_script": "test_a_script_that_cannot_be_copied_was_not_started",
    "execution._judge_start": "test_command_not_found_is_proven_to_have_done_nothing",
    "execution.judge_unstarted": "test_nothing_runs_where_no_claim_can_be_taken_and_the_way_out_is_named",
    # It was only looked at, so far.
    "systemd._show": "test_a_host_without_systemd_is_a_clean_failure",
    "systemd._require": "test_what_systemd_would_refuse_is_refused_before",
    "systemd.perform": "test_an_order_that_could_not_be_prepared_did_nothing",
    "transfer.look": "test_download_of_what_is_no_file_is_a_clean_failure",
    "transfer._look_first": "test_a_file_that_could_not_be_looked_at_was_not_touched",
    "transfer._require_file": "test_places_that_cannot_be_written_are_clean_failures",
    "transfer.download": "test_download_is_bounded",
    # The new file was not put in place: it lay beside it, and nothing was renamed.
    "transfer.upload": "test_places_that_cannot_be_written_are_clean_failures",
    "transfer._send": "test_owner_that_may_not_be_given_is_a_clean_failure",
}


def says_clean(node: ast.AST) -> bool:
    """Whether a node says that nothing was done, or may say it."""
    if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
        return isinstance(node.exc.func, ast.Name) and node.exc.func.id in ("Refused", "Unreachable")
    if isinstance(node, ast.keyword) and node.arg == "clean":
        return not (isinstance(node.value, ast.Constant) and node.value.value is False)
    return False


def places() -> Iterator[str]:
    for path in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef) and any(map(says_clean, ast.walk(node))):
                yield f"{path.stem}.{node.name}"


def test_every_place_that_may_say_clean_is_in_the_table() -> None:
    assert set(places()) == set(ALLOWED)


def test_every_place_that_may_say_clean_has_its_test() -> None:
    tests = "".join(path.read_text("utf-8") for path in Path(__file__).parent.glob("test_ssh*.py"))
    assert [name for name in ALLOWED.values() if f"def {name}(" not in tests] == []


@pytest.fixture
def ssh(lab: SshLab) -> Ssh:
    return lab.ssh()


ACTIONS: list[Action] = [
    Command(argv=("true",)),
    Shell(cmd="true"),
    Script(src=__file__, executable="/bin/true"),
    Upload(dest="/tmp/mimrun-never", content="x"),
    Service(unit="x", state="restarted"),
]


@pytest.mark.needs("sshd")
@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.verb)
@pytest.mark.parametrize("error", [ValueError, RuntimeError, OSError, KeyError, AssertionError, EOFError])
def test_an_exception_that_nobody_expects_leaves_the_outcome_unknown(
    ssh: Ssh, action: Action, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise error("surprise")

    for module in (execution, transfer):
        monkeypatch.setattr(module, "run", broken)
    for module in (execution, systemd):
        monkeypatch.setattr(module, "run_guarded", broken)
    monkeypatch.setattr(execution, "collect", broken)
    outcome = ssh.perform(action, make_call())
    assert isinstance(outcome, Unknown), outcome
    assert "surprise" in outcome.reason


@pytest.mark.needs("sshd")
def test_a_host_that_opens_no_channel_is_unreachable(lab: SshLab, ssh: Ssh) -> None:
    config = lab.hosts.folder / "two" / "sshd_config"
    kept = config.read_text()
    lab.hosts.stop_host("two")
    try:
        config.write_text(kept.replace("MaxSessions 200", "MaxSessions 0"))
        lab.hosts.start_host("two")
        outcome = lab.ssh("two").perform(Command(argv=("true",)), make_call(3))
        assert isinstance(outcome, Failed), outcome
        assert (outcome.clean, outcome.unreachable) == (True, True)
    finally:
        lab.hosts.stop_host("two")
        config.write_text(kept)
        lab.hosts.start_host("two")


@pytest.mark.needs("sshd")
def test_an_action_without_a_connection_is_unreachable(ssh: Ssh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh, "open", lambda: None)
    outcome = ssh.perform(Command(argv=("true",)), make_call())
    assert isinstance(outcome, Failed)
    assert (outcome.clean, outcome.unreachable) == (True, True)


@pytest.mark.needs("sshd")
def test_a_host_that_refuses_to_run_anything_did_nothing(ssh: Ssh, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that sshd knows and refuses stands for the one that a host refuses: the answer is the same."""
    ssh.open()
    connection = ssh._connection
    assert isinstance(connection, Connection)
    real = connection.transport.request_exec

    def refused(channel: object, line: bytes) -> None:
        sent = connection.transport._send_user_message

        def renamed(message: object) -> None:
            packet = message.asbytes()  # type: ignore[attr-defined]  # a paramiko message
            changed = type(message)(packet.replace(b"\x00\x00\x00\x04exec", b"\x00\x00\x00\x04fnrd"))
            sent(changed)

        monkeypatch.setattr(connection.transport, "_send_user_message", renamed)
        try:
            real(channel, line)  # type: ignore[arg-type]
        finally:
            monkeypatch.setattr(connection.transport, "_send_user_message", sent)

    monkeypatch.setattr(connection.transport, "request_exec", refused)
    outcome = ssh.perform(Command(argv=("true",)), make_call(5))
    assert isinstance(outcome, Failed), outcome
    assert outcome.clean
    assert "does not run commands for this login" in outcome.reason


@pytest.mark.needs("sshd")
def test_a_script_that_cannot_be_copied_was_not_started(
    lab: SshLab, ssh: Ssh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "job"
    script.write_text("#!/bin/sh\ntouch /tmp/mimrun-never\n")
    monkeypatch.setattr(execution, "_PLACE", "echo no room >&2; exit 22; #")
    outcome = ssh.perform(Script(src=str(script)), make_call())
    assert isinstance(outcome, Failed)
    assert outcome.clean
    assert "the script was not started: it cannot be copied: no room" in outcome.reason
    monkeypatch.setattr(execution, "_PLACE", "sleep 300; #")
    outcome = ssh.perform(Script(src=str(script)), make_call(0.5))
    assert isinstance(outcome, Failed)
    assert outcome.clean
    assert "copying it broke off" in outcome.reason


@pytest.mark.needs("sshd")
def test_a_file_that_could_not_be_looked_at_was_not_touched(
    ssh: Ssh, open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "_LOOK", "sleep 300; #")
    outcome = ssh.perform(Upload(dest=str(open_folder / "x"), content="x"), make_call(0.5))
    assert isinstance(outcome, Failed)
    assert outcome.clean
    assert "nothing was done" in outcome.reason
    assert not list(open_folder.iterdir())


@pytest.mark.needs("sshd")
def test_an_order_that_could_not_be_prepared_did_nothing(ssh: Ssh, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*_: object) -> systemd.Found:
        raise systemd.LostAnswer("timed out")

    monkeypatch.setattr(systemd, "_show", slow)
    for effect in (None, Effect.PROBE):
        outcome = ssh.perform(Service(unit="x", state="started"), make_call())
        assert isinstance(outcome, Failed), effect
        assert outcome.clean
        assert "nothing was done to x" in outcome.reason
