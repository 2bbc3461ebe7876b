"""The process that signs for others over a Unix socket, as a user that they are not.

Whoever takes over the account that writes the log then still has neither the keys nor what was signed: all they can do
is ask for signatures of trees that go on from it.
"""

from __future__ import annotations

import grp
import os
import pwd
import socket
import stat
import struct
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mimrun.errors import MimrunError, RefusedError, SettingsError
from mimrun.log.proof.signer import KeyKeeper
from mimrun.log.proof.signer_socket import MAX_LEAVES, Lines, read_leaves

MAX_CONNECTIONS: Final = 16
PATIENCE_S: Final = 10.0
"""How long a question may take to arrive."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end, by the kernel's word (SO_PEERCRED, unix(7)).

    Arguments:
        pid: of the process that connected.
        uid: of its user.
        gids: of all its user's groups.
    """

    pid: int
    uid: int
    gids: frozenset[int]


@dataclass(frozen=True, slots=True)
class Allowed:
    """Who may ask for signatures.

    Arguments:
        uids: of users.
        gids: of groups.
    """

    uids: frozenset[int]
    gids: frozenset[int] = frozenset()

    @classmethod
    def of(cls, names: Iterable[str]) -> Allowed:
        """Read users by name or number, and groups with an @ before it.

        Raises:
            SettingsError: there is no such user or group.
        """
        uids, gids = set(), set()
        for name in names:
            try:
                if name.startswith("@"):
                    gids.add(int(name[1:]) if name[1:].isdigit() else grp.getgrnam(name[1:]).gr_gid)
                else:
                    uids.add(int(name) if name.isdigit() else pwd.getpwnam(name).pw_uid)
            except KeyError as exc:
                raise SettingsError(f"--allow {name}: this machine has no such user or group") from exc
        return cls(frozenset(uids), frozenset(gids))

    def lets(self, peer: Peer) -> bool:
        """Whether this peer may ask."""
        return peer.uid in self.uids or not self.gids.isdisjoint(peer.gids)


class SignerServer:
    """Answers questions for signatures until it is told to stop.

    Arguments:
        keeper: who has the keys.
        origin: the log that is signed.
        path: the socket to listen on; made here, and removed at the end.
        allowed: who may ask.
        report: is told, in a line, what was refused.
    """

    def __init__(
        self, keeper: KeyKeeper, origin: str, path: Path, allowed: Allowed, report: Callable[[str], None]
    ) -> None:
        self._keeper, self._origin, self._path, self._allowed = keeper, origin, path, allowed
        self._report = report
        self._stop = threading.Event()
        self._room = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self._threads: set[threading.Thread] = set()
        self._listener = self._listen()

    def serve(self) -> None:
        """Answer until `stop`."""
        try:
            while not self._stop.is_set():
                try:
                    connection, _ = self._listener.accept()
                except TimeoutError:
                    continue
                except OSError as exc:
                    # No descriptors left, say. What is open now will close.
                    self._report(f"cannot take a question: {exc.strerror}")
                    self._stop.wait(0.5)
                    continue
                self._receive(connection)
        finally:
            self._listener.close()
            self._path.unlink(missing_ok=True)
            for thread in list(self._threads):
                thread.join(PATIENCE_S)

    def stop(self) -> None:
        """Take no further question, and let `serve` return. May be called from a signal's handler."""
        self._stop.set()

    def _listen(self) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            _clear(self._path)
            listener.bind(str(self._path))
            # Anybody may knock: who is let in is decided by who they are, not by the file's mode.
            self._path.chmod(0o666)
            listener.listen(MAX_CONNECTIONS)
            listener.settimeout(0.2)
        except (OSError, SettingsError) as exc:
            listener.close()
            if isinstance(exc, SettingsError):
                raise
            raise SettingsError(f"{self._path}: cannot listen here: {exc.strerror}") from exc
        return listener

    def _receive(self, connection: socket.socket) -> None:
        if not self._room.acquire(blocking=False):
            # Whoever asks will ask again; nobody may take the signer from the others by holding lines open.
            connection.close()
            return
        thread = threading.Thread(target=self._attend, args=(connection,), daemon=True)
        self._threads.add(thread)
        thread.start()

    def _attend(self, connection: socket.socket) -> None:
        try:
            with connection, suppress(OSError):
                self._converse(connection)
        finally:
            self._threads.discard(threading.current_thread())
            self._room.release()

    def _converse(self, connection: socket.socket) -> None:
        lines = Lines(connection, PATIENCE_S)
        # 1. who it is, by the kernel's word
        peer = peer_of(connection)
        # 2. whether they may ask
        if not self._allowed.lets(peer):
            self._report(f"refused: process {peer.pid} of user {peer.uid} may not ask for signatures")
            lines.send(
                {"error": "refused", "message": f"user {peer.uid} may not ask this signer; see its --allow"}
            )
            return
        # 3. what they ask, bounded
        leaves: list[bytes] = []
        while True:
            try:
                question = lines.receive()
                if question is None:
                    return
                if "leaves" in question:
                    leaves += read_leaves(question["leaves"])
                    if len(leaves) > MAX_LEAVES:
                        raise ValueError("too many leaves")
                    continue
                # 4. the answer
                answer = self._answer(question, leaves)
            except (ValueError, TypeError, KeyError) as exc:
                lines.send({"error": "input", "message": f"this is no question for a signer: {exc}"})
                return
            except MimrunError as exc:
                kind = "refused" if isinstance(exc, RefusedError) else "settings"
                self._report(f"{kind}: {exc}")
                answer = {"error": kind, "message": str(exc)}
            leaves = []
            lines.send(answer)

    def _answer(self, question: dict[str, Any], leaves: list[bytes]) -> dict[str, Any]:
        if question["origin"] != self._origin:
            raise RefusedError(
                f"this signer signs the log {self._origin!r}, not {str(question['origin'])[:200]!r}"
            )
        match question["do"]:
            case "state":
                keeper = self._keeper
                return {
                    "vkeys": keeper.vkeys,
                    "size": keeper.signed_size(),
                    "trees": keeper.signed_trees(),
                }
            case "sign":
                root = bytes.fromhex(question["root"])
                return {"note": self._keeper.sign(_whole(question["size"]), root, leaves)}
            case "request":
                return {"note": self._keeper.request(str(question["keyid"]), _whole(question["from_size"]))}
            case "add_key" if question["anew"]:
                # A key without a past signs any history: not for whoever can merely write the log.
                raise RefusedError(
                    "a key that begins anew is made where the signer runs: `mimrun signer --anew`"
                )
            case "add_key":
                return {"vkey": self._keeper.add_key()}
            case "drop_key":
                self._keeper.drop_key(str(question["keyid"]))
                return {"dropped": question["keyid"]}
            case other:
                raise ValueError(f"{str(other)[:40]!r} is nothing that a signer does")


def _whole(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r:.40} is no number of entries")
    return value


def peer_of(connection: socket.socket) -> Peer:
    """Give who is at the other end of a Unix socket."""
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, gid = struct.unpack("3i", data)
    gids = {gid}
    with suppress(KeyError):
        gids.update(os.getgrouplist(pwd.getpwuid(uid).pw_name, gid))
    return Peer(pid, uid, frozenset(gids))


def _clear(path: Path) -> None:
    """Remove the socket of a signer that is gone.

    Raises:
        SettingsError: one is listening there, or it is another kind of file.
    """
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise SettingsError(f"{path} is there already and no socket; name another one with --socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
    raise SettingsError(f"{path}: another signer is listening there already")
