"""The file of trusted host keys, read as OpenSSH reads it (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT").

Plain, hashed, wildcard and negated names, `[host]:port` and `@revoked` are understood. A `@cert-authority`
line is remembered only to say that host certificates are not supported. What cannot be read is never
trusted: a broken `@revoked` line closes the whole file.
"""

from __future__ import annotations

import base64
import binascii
import fnmatch
import hashlib
import hmac
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mimrun.connector import Refused

DEFAULT_PORT: Final = 22
_HASHED: Final = re.compile(r"^\|1\|([A-Za-z0-9+/=]+)\|([A-Za-z0-9+/=]+)$")


@dataclass(frozen=True, slots=True)
class HostKey:
    """One line of the file.

    Arguments:
        line: 1-based line number.
        names: the comma-separated patterns, or one hashed name.
        kind: the key type, such as `ssh-ed25519`.
        blob: the public key as it goes over the wire.
        marker: "", "@revoked" or "@cert-authority".
    """

    line: int
    names: tuple[str, ...]
    kind: str
    blob: bytes
    marker: str = ""

    def matches(self, name: str) -> bool:
        """Say whether this line is about a host (`name` or `[name]:port`)."""
        if len(self.names) == 1 and (hashed := _HASHED.match(self.names[0])):
            return _same_hash(name, salt=hashed[1], digest=hashed[2])
        if any(_fits(name, pattern[1:]) for pattern in self.names if pattern.startswith("!")):
            return False
        return any(_fits(name, pattern) for pattern in self.names if not pattern.startswith("!"))

    @property
    def is_plain(self) -> bool:
        """Whether the names can be looked up by text: not hashed, no wildcards, nothing negated."""
        return not any(set("*?!|") & set(name) for name in self.names)


@dataclass(frozen=True)
class KnownHosts:
    """A parsed file.

    Arguments:
        path: for messages.
        plain: lines whose names can be looked up directly.
        others: lines that must be matched one by one.
        broken: numbers of lines that could not be read.
    """

    path: str
    plain: dict[str, list[HostKey]] = field(default_factory=dict)
    others: list[HostKey] = field(default_factory=list)
    broken: list[int] = field(default_factory=list)

    def about(self, host: str, port: int) -> tuple[HostKey, ...]:
        """Give all lines about a host, in the order of the file."""
        name = known_name(host, port)
        found = [*self.plain.get(name, ()), *(entry for entry in self.others if entry.matches(name))]
        return tuple(sorted(found, key=lambda entry: entry.line))

    def key_types(self, host: str, port: int) -> tuple[str, ...]:
        """Give the key types that are trusted for a host; the server is asked for these first."""
        return tuple(dict.fromkeys(entry.kind for entry in self.about(host, port) if not entry.marker))

    def verify(self, host: str, port: int, kind: str, blob: bytes) -> None:
        """Accept the key that a host shows, or refuse.

        1. A revoked key is refused, whatever else the file says.
        2. A key that the file holds for this host is accepted.
        3. A key that differs from the one the file holds is refused as changed.
        4. Any other key is refused as unknown.

        Raises:
            Refused: with the fingerprint, the line and what to do.
        """
        entries = self.about(host, port)
        shown = f"{kind} {fingerprint(blob)}"
        name = known_name(host, port)
        for entry in entries:
            if entry.marker == "@revoked" and entry.blob == blob:
                raise Refused(
                    f"{name}: the host shows a revoked key ({shown}; {self.path}:{entry.line}); "
                    "do not use this host until its owner has given it a new key"
                )
        trusted = [entry for entry in entries if not entry.marker]
        if any(entry.blob == blob for entry in trusted):
            return
        for entry in trusted:
            if entry.kind == kind:
                raise Refused(
                    f"{name}: the host key has changed: {self.path}:{entry.line} trusts {entry.kind} "
                    f"{fingerprint(entry.blob)}, the host shows {shown}; somebody may stand in between; if the "
                    f"host was rebuilt, check the fingerprint on its console and then replace that line "
                    f"(ssh-keygen -R '{name}' -f {self.path})"
                )
        raise Refused(self._unknown(name, shown, entries))

    def _unknown(self, name: str, shown: str, entries: tuple[HostKey, ...]) -> str:
        notes = [f"{name}: the host shows {shown}, which {self.path} does not trust"]
        if kinds := [entry.kind for entry in entries if not entry.marker]:
            notes.append(f"the file has only {', '.join(dict.fromkeys(kinds))} for it")
        if any(entry.marker == "@cert-authority" for entry in entries):
            notes.append("host certificates are not supported; the host's own key must be listed")
        if self.broken:
            notes.append(f"line {', '.join(map(str, self.broken[:5]))} of the file cannot be read")
        notes.append(
            "compare the fingerprint with `ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub` on the host's console, "
            "then add the key to the file"
        )
        return "; ".join(notes)


def known_name(host: str, port: int) -> str:
    """Give the name under which the file lists a host: `host`, or `[host]:port` for another port."""
    host = host.lower()
    return host if port == DEFAULT_PORT else f"[{host}]:{port}"


def fingerprint(blob: bytes) -> str:
    """Give a key's fingerprint as `ssh-keygen -l` prints it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def parse_known_hosts(text: str, path: str) -> KnownHosts:
    """Read the text of a known_hosts file.

    Arguments:
        text: the whole file.
        path: for messages.

    Raises:
        Refused: a line that begins with `@revoked` cannot be read, so a revoked key could slip through.
    """
    known = KnownHosts(path)
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        entry = _parse_line(number, words)
        if entry is None:
            if words[0] == "@revoked":
                raise Refused(f"{path}:{number}: a @revoked line that cannot be read; mend or remove it")
            known.broken.append(number)
        elif entry.is_plain:
            for name in entry.names:
                known.plain.setdefault(name.lower(), []).append(entry)
        else:
            known.others.append(entry)
    return known


_cache: dict[str, tuple[tuple[int, int, int], KnownHosts]] = {}
_cache_lock = threading.Lock()


def load_known_hosts(path: Path) -> KnownHosts:
    """Read a file, once per process for as long as it does not change. Safe from many threads.

    Raises:
        Refused: the file is missing or cannot be read.
    """
    try:
        stat = path.stat()
        version = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        with _cache_lock:
            kept = _cache.get(str(path))
            if kept is None or kept[0] != version:
                kept = (version, parse_known_hosts(path.read_text("utf-8", "replace"), str(path)))
                _cache[str(path)] = kept
        return kept[1]
    except FileNotFoundError as exc:
        raise Refused(
            f"{path}: there is no such known_hosts file, so no host can be trusted; "
            "name one in the variable ssh_known_hosts"
        ) from exc
    except OSError as exc:
        raise Refused(f"{path}: the known_hosts file cannot be read: {exc.strerror}") from exc


def _parse_line(number: int, words: list[str]) -> HostKey | None:
    marker = words[0] if words[0].startswith("@") else ""
    rest = words[1:] if marker else words
    if marker not in ("", "@revoked", "@cert-authority") or len(rest) < 3:
        return None
    names, kind, encoded = rest[0], rest[1], rest[2]
    try:
        blob = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        return None
    if next(_strings(blob), b"") != kind.encode():
        return None
    return HostKey(number, tuple(name for name in names.split(",") if name), kind, blob, marker)


def _strings(blob: bytes) -> Iterator[bytes]:
    """The length-prefixed strings of a key blob (RFC 4251, section 5)."""
    at = 0
    while at + 4 <= len(blob):
        size = int.from_bytes(blob[at : at + 4], "big")
        yield blob[at + 4 : at + 4 + size]
        at += 4 + size


def _fits(name: str, pattern: str) -> bool:
    # Only * and ? are wild in known_hosts; fnmatch's character classes are escaped.
    return fnmatch.fnmatchcase(name, pattern.lower().replace("[", "[[]"))


def _same_hash(name: str, *, salt: str, digest: str) -> bool:
    try:
        expected = base64.b64decode(digest)
        actual = hmac.digest(base64.b64decode(salt), name.encode(), "sha1")
    except binascii.Error:
        return False
    return hmac.compare_digest(actual, expected)
