"""A signer behind a Unix socket: how it is asked, and the side that asks.

JSON, a line for each question and each answer; leaf hashes go before the question in lines of their own. Both sides
bound what they read and how long they wait: the one that asks holds up the log meanwhile.
"""

from __future__ import annotations

import base64
import json
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from mimrun.errors import MimrunError, RefusedError, SettingsError, TamperError
from mimrun.log.merkle import HASH_SIZE
from mimrun.log.proof.note import Checkpoint, read_note

if TYPE_CHECKING:
    from collections.abc import Iterator

Value = TypeVar("Value")

MAX_LINE: Final = 512 * 1024
"""Bytes of a question or an answer."""
LEAVES_A_LINE: Final = 8_192
MAX_LEAVES: Final = 4_000_000
"""Leaf hashes of one question: 128 MB."""
PATIENCE_S: Final = 3.0
"""How long a signature is waited for."""
REST_S: Final = 15.0
"""How long a signer that did not answer is not asked again."""


class Lines:
    """JSON values over a connected socket, a line each, bounded in length and time.

    Arguments:
        connection: closed by whoever opened it.
        patience: seconds until a value is there, or is sent.
        clock: seconds that only grow.
    """

    def __init__(
        self, connection: socket.socket, patience: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._connection, self._patience, self._clock = connection, patience, clock
        self._rest = bytearray()

    def send(self, value: dict[str, Any]) -> None:
        """Send a value.

        Raises:
            OSError: it could not be sent in time.
        """
        self._connection.settimeout(self._patience)
        self._connection.sendall(json.dumps(value).encode() + b"\n")

    def receive(self) -> dict[str, Any] | None:
        """Receive a value; None where the other side has hung up.

        Raises:
            OSError: none came in time.
            ValueError: what came is too long, or is no JSON object.
        """
        end = self._clock() + self._patience
        while b"\n" not in self._rest:
            left = end - self._clock()
            if left <= 0:
                raise TimeoutError("no answer in time")
            self._connection.settimeout(left)
            part = self._connection.recv(65536)
            if not part:
                return None
            self._rest += part
            if len(self._rest) > MAX_LINE:
                raise ValueError(f"a line of more than {MAX_LINE} bytes")
        line, _, rest = self._rest.partition(b"\n")
        self._rest = rest
        try:
            value = json.loads(line)
        except RecursionError as exc:
            raise ValueError("too many brackets") from exc
        if not isinstance(value, dict):
            raise ValueError("no JSON object")
        return value


class SocketSigner:
    """The signer that another process is, often of another user; a `KeyKeeper`.

    After a failure it is not asked for a while: the log must not wait for it again and again.

    Arguments:
        path: of the socket.
        origin: the log that is signed.
        patience: seconds that an answer may take.
        rest: seconds without a question after a failure.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        path: str,
        origin: str,
        *,
        patience: float = PATIENCE_S,
        rest: float = REST_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path, self._origin, self._patience, self._rest = path, origin, patience, rest
        self._clock = clock
        self._failed: tuple[float, str] | None = None

    @property
    def vkeys(self) -> tuple[str, ...]:
        """The keys that it signs with; see `Signer`."""
        return tuple(self._ask({"do": "state"}, "vkeys", list))

    @property
    def vkey(self) -> str:
        """The newest of its keys; see `Signer`."""
        keys = self.vkeys
        if not keys:
            raise SettingsError(f"the signer at {self._path} has no key; make one with `mimrun key rotate`")
        return keys[-1]

    def signed_size(self) -> int:
        """Up to which size all of its keys have signed; see `Signer`."""
        return self._ask({"do": "state"}, "size", int)

    def sign(self, size: int, root: bytes, leaves: Iterable[bytes]) -> str:
        """Have a tree signed; see `Signer`."""
        given = leaves if isinstance(leaves, Sequence) else list(leaves)
        if len(given) > MAX_LEAVES:
            raise RefusedError(
                f"{len(given)} entries at once are too many for the signer; {MAX_LEAVES} is the most"
            )
        note = self._ask({"do": "sign", "size": size, "root": root.hex()}, "note", str, given)
        # What is stored as a checkpoint of this tree must be one, whatever answers there.
        try:
            text = read_note(note).text
        except TamperError as exc:
            raise SettingsError(f"what the signer at {self._path} gave is no checkpoint: {exc}") from exc
        if text != Checkpoint(self._origin, size, root).text():
            raise SettingsError(f"the signer at {self._path} gave a checkpoint of another tree")
        return note

    def add_key(self, *, anew: bool = False) -> str:
        """Have a further key made; see `KeyKeeper`."""
        return self._ask({"do": "add_key", "anew": anew}, "vkey", str)

    def signed_trees(self) -> dict[str, tuple[int, str]]:
        """The largest tree that each key has signed; see `KeyKeeper`."""
        said = self._ask({"do": "state"}, "trees", dict)
        try:
            return {str(keyid): (int(size), str(root)) for keyid, (size, root) in said.items()}
        except (ValueError, TypeError) as exc:
            raise SettingsError(f"what answers at {self._path} is no signer: {str(said)[:100]}") from exc

    def drop_key(self, keyid: str) -> None:
        """Have a key deleted; see `KeyKeeper`."""
        self._ask({"do": "drop_key", "keyid": keyid}, "dropped", str)

    def request(self, keyid: str, from_size: int) -> str:
        """Have a key ask for its certificate; see `KeyKeeper`."""
        return self._ask({"do": "request", "keyid": keyid, "from_size": from_size}, "note", str)

    def _ask(
        self, question: dict[str, Any], wanted: str, kind: type[Value], leaves: Sequence[bytes] = ()
    ) -> Value:
        """Ask, and give what is wanted of the answer.

        Raises:
            RefusedError: the signer says no.
            SettingsError: it does not answer, or not as a signer does.
        """
        if self._failed and self._clock() - self._failed[0] < self._rest:
            raise SettingsError(self._failed[1])
        try:
            with self._connected() as lines:
                # Where the other side hangs up in the middle, it has said why.
                with suppress(BrokenPipeError, ConnectionResetError):
                    for start in range(0, len(leaves), LEAVES_A_LINE):
                        part = b"".join(leaves[start : start + LEAVES_A_LINE])
                        lines.send({"leaves": base64.b64encode(part).decode()})
                    lines.send({**question, "origin": self._origin})
                answer = lines.receive()
            if answer is None:
                raise ValueError("it hung up")
        except (OSError, ValueError) as exc:
            message = f"the signer at {self._path} does not answer: {exc}; is `mimrun signer` running?"
            self._failed = (self._clock(), message)
            raise SettingsError(message) from exc
        self._failed = None
        if "error" in answer:
            raise _error(answer)
        value = answer.get(wanted)
        if not isinstance(value, kind):
            raise SettingsError(f"what answers at {self._path} is no signer: {str(answer)[:100]}")
        return value

    @contextmanager
    def _connected(self) -> Iterator[Lines]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(self._patience)
            connection.connect(self._path)
            yield Lines(connection, self._patience, self._clock)


def read_leaves(text: object) -> list[bytes]:
    """Read the leaf hashes of a line.

    Raises:
        ValueError: it holds none.
    """
    data = base64.b64decode(str(text), validate=True)
    if len(data) % HASH_SIZE:
        raise ValueError(f"{len(data)} bytes are no leaf hashes")
    return [data[i : i + HASH_SIZE] for i in range(0, len(data), HASH_SIZE)]


def _error(answer: dict[str, Any]) -> MimrunError:
    kind = RefusedError if answer["error"] == "refused" else SettingsError
    return kind(str(answer.get("message", "the signer says no, and not why"))[:1000])
