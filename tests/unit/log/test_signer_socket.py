"""A signer in another process: who may ask it, what it reads, and how long anybody waits for it."""

from __future__ import annotations

import json
import os
import pwd
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mimrun.errors import RefusedError, SettingsError
from mimrun.log.merkle import Frontier, Tree, leaf_hash
from mimrun.log.proof.key import open_request
from mimrun.log.proof.note import read_note, read_vkey
from mimrun.log.proof.signer import FileSigner, begin_key
from mimrun.log.proof.signer_server import Allowed, Peer, SignerServer
from mimrun.log.proof.signer_socket import MAX_LINE, SocketSigner

ORIGIN = "example.org/incidents"
LEAVES = [leaf_hash(str(n).encode()) for n in range(50)]
TREE = Tree(LEAVES)


class Running:
    """A server in a thread, and what it reported."""

    def __init__(self, folder: Path, allowed: Allowed) -> None:
        self.path, self.said = folder / "signer.sock", list[str]()
        self.files = FileSigner(folder / "keys", ORIGIN)
        self.server = SignerServer(self.files, ORIGIN, self.path, allowed, self.said.append)
        self.thread = threading.Thread(target=self.server.serve)
        self.thread.start()

    def client(self, **options: float) -> SocketSigner:
        return SocketSigner(str(self.path), ORIGIN, **options)  # type: ignore[arg-type]

    def stop(self) -> None:
        self.server.stop()
        self.thread.join(20)
        assert not self.thread.is_alive()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    running: list[Running] = []

    def begin(*allowed: str) -> Running:
        running.append(Running(tmp_path, Allowed.of(allowed or [str(os.getuid())])))
        return running[-1]

    yield begin
    for one in running:
        one.stop()


def test_signer_behind_a_socket_signs_as_one_in_the_home(start: Callable[..., Running]) -> None:
    one = start()
    client = one.client()
    assert client.vkeys == ()
    body = begin_key(client, size=1)
    assert (client.vkey, client.signed_size()) == (body.vkey, 0)
    note = client.sign(20, TREE.root(20), iter(LEAVES[:20]))
    assert [s.key.vkey for s in read_note(note).signed([read_vkey(body.vkey)])] == [body.vkey]
    assert client.signed_size() == 20
    assert client.signed_trees() == {body.keyid: (20, TREE.root(20).hex())}
    assert client.sign(21, TREE.root(21), LEAVES[20:21])
    new = client.add_key()
    client.drop_key(read_vkey(body.vkey).keyid)
    assert client.vkeys == (new,)
    assert open_request(client.request(read_vkey(new).keyid, 5)).key.vkey == new


def test_refusal_comes_over_the_socket_in_its_own_words(start: Callable[..., Running]) -> None:
    client = start().client()
    begin_key(client)
    client.sign(20, TREE.root(20), LEAVES[:20])
    with pytest.raises(RefusedError, match="has signed a log of 20 entries, and this one has 19"):
        client.sign(19, TREE.root(19), [])
    with pytest.raises(RefusedError, match="does not go on from the 20"):
        client.sign(21, TREE.root(22), LEAVES[20:21])
    with pytest.raises(RefusedError, match="is made where the signer runs"):
        client.add_key(anew=True)
    with pytest.raises(RefusedError, match="the only key"):
        client.drop_key(read_vkey(client.vkey).keyid)


def test_signer_of_another_log_says_so(start: Callable[..., Running]) -> None:
    one = start()
    with pytest.raises(RefusedError, match=r"signs the log 'example.org/incidents', not 'example.org/other'"):
        SocketSigner(str(one.path), "example.org/other").signed_size()


def test_hundred_thousand_leaves_go_over_in_pieces(start: Callable[..., Running]) -> None:
    client = start().client(patience=30.0)
    begin_key(client)
    leaves = [n.to_bytes(32, "big") for n in range(100_000)]
    assert client.sign(len(leaves), Frontier().extend(leaves).root(), leaves)


def test_whoever_is_not_allowed_gets_nothing(start: Callable[..., Running]) -> None:
    one = start("54321")
    with pytest.raises(RefusedError, match=f"user {os.getuid()} may not ask this signer"):
        one.client().signed_size()
    with pytest.raises(RefusedError, match="may not ask"):
        one.client().sign(40_000, bytes(32), [bytes(32)] * 40_000)
    assert any(f"of user {os.getuid()} may not ask" in line for line in one.said)
    assert not list((one.path.parent / "keys").glob("*.pem"))


def test_users_and_groups_are_read_by_name_and_number() -> None:
    name = pwd.getpwuid(os.getuid()).pw_name
    allowed = Allowed.of([name, "4711", "@4712"])
    assert allowed.lets(Peer(1, os.getuid(), frozenset()))
    assert allowed.lets(Peer(1, 4711, frozenset()))
    assert allowed.lets(Peer(1, 1, frozenset({4712})))
    assert not allowed.lets(Peer(1, 1, frozenset({4711})))
    for wrong in ("nobody-of-this-name", "@nobody-of-this-name"):
        with pytest.raises(SettingsError, match="no such user or group"):
            Allowed.of([wrong])


@pytest.mark.parametrize(
    "question",
    [
        b"nonsense\n",
        b"[]\n",
        b"{}\n",
        b'{"do": "everything", "origin": "example.org/incidents"}\n',
        b'{"do": "sign", "origin": "example.org/incidents"}\n',
        b'{"do": "sign", "origin": "example.org/incidents", "size": "x", "root": "00"}\n',
        b'{"do": "sign", "origin": "example.org/incidents", "size": 1, "root": 5}\n',
        b'{"do": "sign", "origin": "example.org/incidents", "size": -1, "root": "' + b"00" * 32 + b'"}\n',
        b'{"do": "sign", "origin": "example.org/incidents", "size": 1e999, "root": "' + b"00" * 32 + b'"}\n',
        b'{"leaves": "AAAA"}\n',
        b'{"leaves": 5}\n',
        b"x" * (MAX_LINE + 10) + b"\n",
        b'{"a":' * 2000 + b"1" + b"}" * 2000 + b"\n",
    ],
    ids=range(13),
)
def test_hostile_question_is_answered_and_harms_nobody(
    start: Callable[..., Running], question: bytes
) -> None:
    one = start()
    begin_key(one.client())
    with socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(10)
        raw.connect(str(one.path))
        raw.sendall(question)
        answer = raw.makefile("rb").readline()
    assert "error" in json.loads(answer)
    assert one.client().sign(5, TREE.root(5), LEAVES[:5])


def test_lines_held_open_do_not_stop_the_signer(start: Callable[..., Running]) -> None:
    one = start()
    begin_key(one.client())
    held = [socket.socket(socket.AF_UNIX) for _ in range(10)]
    try:
        for raw in held:
            raw.connect(str(one.path))
            raw.sendall(b'{"do"')
        assert one.client().sign(5, TREE.root(5), LEAVES[:5])
    finally:
        for raw in held:
            raw.close()


def test_signer_that_is_not_there_is_asked_again_after_a_while_only(tmp_path: Path) -> None:
    now = [100.0]
    path = tmp_path / "signer.sock"
    client = SocketSigner(str(path), ORIGIN, rest=15, clock=lambda: now[0])
    with pytest.raises(SettingsError, match=r"does not answer: .*No such file.*; is `mimrun signer` running"):
        client.signed_size()
    one = Running(tmp_path, Allowed.of([str(os.getuid())]))
    try:
        now[0] += 14
        with pytest.raises(SettingsError, match="does not answer"):
            client.signed_size()
        now[0] += 2
        assert client.signed_size() == 0
    finally:
        one.stop()


def test_signer_that_says_nothing_is_waited_for_a_short_time(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(tmp_path / "deaf.sock"))
        deaf.listen(1)
        began = time.monotonic()
        with pytest.raises(SettingsError, match="does not answer"):
            SocketSigner(str(tmp_path / "deaf.sock"), ORIGIN, patience=0.3).signed_size()
        assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({}, "is no signer"),
        ({"note": 5}, "is no signer"),
        ({"note": "nonsense"}, "gave is no checkpoint"),
        ({"note": "other"}, "checkpoint of another tree"),
        ({"error": "refused"}, "and not why"),
    ],
    ids=range(5),
)
def test_answer_that_no_signer_gives_is_not_believed(
    tmp_path: Path, answer: dict[str, object], why: str
) -> None:
    if answer.get("note") == "other":
        other = FileSigner(tmp_path / "keys", ORIGIN)
        begin_key(other)
        answer = {"note": other.sign(5, TREE.root(5), LEAVES[:5])}
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s.sock"))
        server.listen(1)

        def serve() -> None:
            connection, _ = server.accept()
            with connection, connection.makefile("rwb") as lines:
                while b'"do"' not in lines.readline():
                    pass
                lines.write(json.dumps(answer).encode() + b"\n")

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises((SettingsError, RefusedError), match=why):
            SocketSigner(str(tmp_path / "s.sock"), ORIGIN).sign(6, TREE.root(6), LEAVES[:6])
        thread.join()


def test_socket_of_a_dead_signer_is_taken_over_and_that_of_a_living_one_is_not(
    start: Callable[..., Running], tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "signer.sock"))
    one = start()
    assert one.client().signed_size() == 0
    with pytest.raises(SettingsError, match="another signer is listening there already"):
        Running(tmp_path, Allowed.of([]))
    one.stop()
    assert not one.path.exists()
    one.path.write_text("a file of somebody's")
    with pytest.raises(SettingsError, match="no socket"):
        Running(tmp_path, Allowed.of([]))


_ASK = """
import os
from mimrun.log.proof.signer_socket import SocketSigner
os.setgroups([]); os.setgid({uid}); os.setuid({uid})
one = SocketSigner({path!r}, {origin!r}, patience=20)
try:
    print(one.add_key() if not one.vkeys else one.sign(5, bytes.fromhex({root!r}), {leaves!r}))
except Exception as exc:
    print(type(exc).__name__, exc)
try:
    print(open({key!r}).read())
except OSError as exc:
    print("key:", exc.strerror)
"""


@pytest.mark.root
def test_other_user_gets_signatures_and_never_the_key() -> None:
    """Two real users of this machine: one may ask, the other may not, and neither can read the key."""
    with tempfile.TemporaryDirectory(prefix="mimrun-signer-") as name:
        Path(name).chmod(0o755)
        one = Running(Path(name), Allowed.of(["64001"]))
        try:
            _hold_between_users(one)
        finally:
            one.stop()


def _hold_between_users(one: Running) -> None:
    vkey = begin_key(one.files).vkey
    (key,) = (one.path.parent / "keys").glob("*.pem")

    def ask(uid: int) -> str:
        program = _ASK.format(
            uid=uid,
            path=str(one.path),
            origin=ORIGIN,
            root=TREE.root(5).hex(),
            leaves=LEAVES[:5],
            key=str(key),
        )
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    signed = ask(64001)
    note, _, rest = signed.partition("key: ")
    assert rest.strip() == "Permission denied"
    assert read_note(note.rstrip("\n") + "\n").signed([read_vkey(vkey)])
    refused = ask(64002)
    assert "RefusedError user 64002 may not ask this signer" in refused
    assert "key: Permission denied" in refused
    assert "PRIVATE KEY" not in signed + refused
