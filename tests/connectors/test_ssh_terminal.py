"""A person's terminal on a real host: what it shows, its size, its end, and what each refusal says."""

from __future__ import annotations

import select
import subprocess

import pytest
from builders.wire import Wire

from mimrun.connector import Refused, Terminal, Unreachable, Window

from .conftest import SshLab, wait_until

pytestmark = pytest.mark.needs("sshd")

WINDOW = Window(90, 25, "xterm-256color")


def begun(lab: SshLab, **variables: object) -> Terminal:
    terminal = lab.ssh(**variables).open_terminal(WINDOW)  # type: ignore[arg-type]  # variables are JSON
    terminal.begin()
    return terminal


class Reader:
    """Everything that a terminal has shown."""

    def __init__(self, terminal: Terminal) -> None:
        self.terminal, self.shown = terminal, b""

    def shows(self, text: bytes) -> bool:
        return wait_until(lambda: text in self.read(), 15)

    def read(self) -> bytes:
        select.select([self.terminal], [], [], 0.05)
        self.shown += self.terminal.read()
        return self.shown

    def ends(self) -> bool:
        return wait_until(lambda: bool(self.read() is None) or self.terminal.over(), 15)


def write_all(terminal: Terminal, text: str) -> None:
    data = text.encode()

    def sent() -> bool:
        nonlocal data
        data = data[terminal.write(data) :]
        return not data

    assert wait_until(sent, 15)


def test_it_has_the_windows_size_and_kind_and_follows_a_change(lab: SshLab) -> None:
    terminal = begun(lab)
    reader = Reader(terminal)
    write_all(terminal, "stty size; echo kind=$TERM\r")
    assert reader.shows(b"25 90")
    assert reader.shows(b"kind=xterm-256color")
    terminal.resize(133, 44)
    write_all(terminal, "stty size\r")
    assert reader.shows(b"44 133")
    terminal.close()
    terminal.close()


@pytest.mark.parametrize(("line", "status"), [("exit 7", 7), ("exit", 0), ("kill -9 $$", 137)])
def test_its_status_is_that_of_the_shell(lab: SshLab, line: str, status: int) -> None:
    terminal = begun(lab)
    reader = Reader(terminal)
    write_all(terminal, f"true; echo la''st; {line}\r")
    assert reader.ends()
    assert b"last" in reader.shown
    assert terminal.status == status
    assert terminal.read() == b""
    assert terminal.write(b"more") == 0


def test_who_is_there_is_known_before_it_begins_and_nothing_was_asked(lab: SshLab) -> None:
    terminal = lab.ssh().open_terminal(WINDOW)
    peer, host = terminal.peer, lab.hosts.host("one")
    key = lab.hosts.folder / "one" / "host_key.pub"
    shown = subprocess.run(["ssh-keygen", "-lf", key], capture_output=True, text=True, check=True).stdout
    assert peer.identity == f"ssh-ed25519 {shown.split()[1]}"
    assert peer.account == host.user
    assert peer.address == f"[{host.address}]:{host.port}"
    for ask in (terminal.read, terminal.over, terminal.fileno):
        with pytest.raises(Unreachable, match="not begun"):
            ask()
    terminal.close()


def test_a_login_without_a_terminal_is_refused(lab: SshLab) -> None:
    allowed = lab.hosts.folder / "one" / "authorized_keys"
    before = allowed.read_text()
    try:
        allowed.write_text(f"no-pty {before}")
        terminal = lab.ssh().open_terminal(WINDOW)
        with pytest.raises(Refused, match="gives no terminal to"):
            terminal.begin()
    finally:
        allowed.write_text(before)


def test_a_lost_connection_is_over_without_a_status(lab: SshLab) -> None:
    host = lab.hosts.host("one")
    with Wire((host.address, host.port)) as wire:
        terminal = begun(lab, **via(lab, wire))
        write_all(terminal, "echo he''re\r")
        reader = Reader(terminal)
        assert reader.shows(b"here")
        wire.cut()
        assert reader.ends()
        assert terminal.status is None
        terminal.resize(10, 10)
        terminal.close()


def test_a_host_that_does_not_take_what_is_typed_does_not_hold_us_up(lab: SshLab) -> None:
    terminal = begun(lab)
    reader = Reader(terminal)
    write_all(terminal, "stty raw -echo; echo qui''et; sleep 600\r")
    assert reader.shows(b"quiet")
    taken = 0

    def full() -> bool:
        nonlocal taken
        sent = terminal.write(b"x" * 65536)
        taken += sent
        return not sent

    assert wait_until(full, 15)
    assert taken > 0
    terminal.close()


def via(lab: SshLab, wire: Wire) -> dict[str, object]:
    """The host's variables over a wire."""
    known = lab.hosts.folder / "known_by_wire"
    key = (lab.hosts.folder / "one" / "host_key.pub").read_text()
    known.write_text(f"[127.0.0.1]:{wire.port} {key}")
    return {"ansible_host": "127.0.0.1", "ansible_port": wire.port, "ssh_known_hosts": str(known)}
