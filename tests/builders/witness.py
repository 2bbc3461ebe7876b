"""A witness as C2SP tlog-witness describes it, complete, on a real socket: it remembers, checks, and signs.

It knows nothing of mimrun's own proofs: the proof of consistency is checked by the text of RFC 6962 anew.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey


@dataclass
class Answer:
    """What is sent back."""

    status: int
    body: str = ""
    media_type: str = "text/plain; charset=utf-8"


class Bad(Exception):
    """The request is refused."""

    def __init__(self, status: int, body: str = "", media_type: str = "text/plain") -> None:
        super().__init__(body)
        self.answer = Answer(status, body, media_type)


@dataclass
class Witness:
    """A witness of its own, whose memory is a file.

    Arguments:
        memory: where it remembers each log.
        logs: by origin, the vkeys of the log's keys that it believes.
        name: what it signs as.
    """

    memory: Path
    logs: dict[str, list[str]] = field(default_factory=dict)
    name: str = "witness.example.org/w1"
    seed: bytes = bytes([4]) * 32
    requests: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def vkey(self) -> str:
        return f"{self.name}+{self.keyid.hex()}+{base64.b64encode(bytes([4]) + self.public).decode()}"

    @property
    def public(self) -> bytes:
        return Ed25519PrivateKey.from_private_bytes(self.seed).public_key().public_bytes_raw()

    @property
    def keyid(self) -> bytes:
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([4]) + self.public).digest()[:4]

    def known(self, origin: str) -> tuple[int, str]:
        """Give size and root of the last checkpoint that it signed."""
        found = json.loads(self.memory.read_text()) if self.memory.exists() else {}
        size, root = found.get(origin, (0, ""))
        return int(size), str(root)

    def add_checkpoint(self, body: str) -> Answer:
        """Do what the protocol says; one request at a time, so that looking and remembering are one."""
        self.requests.append(body)
        try:
            with self.lock:
                return Answer(200, self._add(body))
        except Bad as exc:
            return exc.answer

    def _add(self, body: str) -> str:
        head, gap, note = body.partition("\n\n")
        old_line, *proof_lines = head.split("\n")
        if not gap or not old_line.startswith("old ") or len(proof_lines) > 63:
            raise Bad(400, "no old size, or too long a proof")
        text, origin, size, root = self._checkpoint(note)
        old = int(old_line.removeprefix("old "))
        if str(old) != old_line.removeprefix("old ") or old > size:
            raise Bad(400, "the old size is larger")
        known, known_root = self.known(origin)
        if old != known or (old == size and known_root != root):
            raise Bad(409, f"{known}\n", "text/x.tlog.size")
        proof = [base64.b64decode(line, validate=True) for line in proof_lines]
        if old in (0, size):
            good = not proof
        else:
            good = consistent(proof, old, size, base64.b64decode(known_root), base64.b64decode(root))
        if not good:
            raise Bad(422, "the proof does not hold")
        self._remember(origin, size, root)
        return self.cosign(text)

    def _checkpoint(self, note: str) -> tuple[str, str, int, str]:
        text, gap, signatures = note.partition("\n\n")
        lines = text.split("\n")
        if not gap or len(lines) < 3:
            raise Bad(400, "no checkpoint")
        text += "\n"
        if lines[0] not in self.logs:
            raise Bad(404, "no such log")
        if not any(self._signed(text, line, lines[0]) for line in signatures.splitlines()):
            raise Bad(403, "no signature of a known key")
        return text, lines[0], int(lines[1]), lines[2]

    def _signed(self, text: str, line: str, origin: str) -> bool:
        for vkey in self.logs[origin]:
            name, keyid, key = vkey.split("+", 2)
            if not line.startswith(f"— {name} "):
                continue
            data = base64.b64decode(line.split(" ")[2])
            if data[:4].hex() != keyid:
                continue
            try:
                Ed25519PublicKey.from_public_bytes(base64.b64decode(key)[1:]).verify(data[4:], text.encode())
            except InvalidSignature:
                return False
            return True
        return False

    def _remember(self, origin: str, size: int, root: str) -> None:
        known = json.loads(self.memory.read_text()) if self.memory.exists() else {}
        draft = self.memory.with_suffix(".new")
        with draft.open("w") as file:
            json.dump({**known, origin: (size, root)}, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.memory)

    def cosign(self, text: str, moment: int | None = None) -> str:
        """Give a line with a signature on the text of a checkpoint."""
        moment = int(time.time()) if moment is None else moment
        message = f"cosignature/v1\ntime {moment}\n{text}".encode()
        signed = Ed25519PrivateKey.from_private_bytes(self.seed).sign(message)
        data = self.keyid + moment.to_bytes(8, "big") + signed
        return f"— {self.name} {base64.b64encode(data).decode()}\n"


def consistent(proof: list[bytes], first: int, second: int, first_root: bytes, second_root: bytes) -> bool:
    """Whether a proof is that of RFC 6962, section 2.1.2: computed downwards from the definition of SUBPROOF."""
    left = list(
        proof
    )  # the innermost first: what belongs to a level is taken from the end, before going down

    def below(m: int, n: int, *, whole: bool) -> tuple[bytes, bytes]:
        """Give the roots of the first m, and of all n leaves, of a subtree."""
        if m == n:
            value = first_root if whole else left.pop()
            return value, value
        k = 1 << ((n - 1).bit_length() - 1)
        beside = left.pop()
        if m <= k:
            old, new = below(m, k, whole=whole)
            return old, _node(new, beside)
        old, new = below(m - k, n - k, whole=False)
        return _node(beside, old), _node(beside, new)

    try:
        return below(first, second, whole=True) == (first_root, second_root) and not left
    except IndexError:
        return False


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


@contextmanager
def serving(witness: Witness) -> Iterator[str]:
    """Serve a witness on loopback; gives its submission prefix."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            answer = witness.add_checkpoint(body) if self.path == "/sub/add-checkpoint" else Answer(404)
            data = answer.body.encode()
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.media_type)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    with serving_with(Handler) as address:
        yield f"{address}/sub"


@contextmanager
def serving_with(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Serve HTTP on loopback with a handler; gives the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # whoever asked may be gone
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
