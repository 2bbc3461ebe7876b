"""Decisions that people signed with keys of their own: OpenSSH checks them where it is; else plain Ed25519 keys."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from mimrun.log.proof.standalone.form import Bundle, write_canonical
from mimrun.log.proof.standalone.signature import is_signed

NAMESPACE = "approval@mimrun"
ARMOUR = re.compile(r"-----BEGIN SSH SIGNATURE-----\n([A-Za-z0-9+/=\n]+)\n-----END SSH SIGNATURE-----\n?")
PERSON = re.compile(r"[a-z][a-z0-9._-]{0,62}")


class Decision(NamedTuple):
    """What came of checking one: its entry, whose it is, `verified`, `foreign`, `wrong` or `unchecked`, and in words."""

    seq: int
    person: str
    state: str
    said: str


def check_decisions(bundle: Bundle, signers: str | None) -> list[Decision]:
    """Check every decision in a bundle that is signed, or says that it is.

    Arguments:
        bundle: it was checked already.
        signers: a file as of ALLOWED SIGNERS in ssh-keygen(1); None where nobody said whose keys count.
    """
    found = []
    for line in bundle.lines("entries.jsonl"):
        if b'"kind":"gate.decided"' in line:
            value = json.loads(line)
            blobs = {ref["n"]: bundle.read("blobs/" + ref["commit"]) for ref in value["blobs"]}
            if "signature" in blobs or value["actor"]["auth"].startswith("ssh-key:"):
                found.append(judge_decision(value, blobs, signers))
    return found


def judge_decision(value: dict[str, Any], blobs: dict[str, bytes | None], signers: str | None) -> Decision:
    """Check one: its statement is that of the entry, it is signed, and by a key that is the person's."""
    seq, person = value["seq"], value["actor"]["id"]
    if not {"statement", "signature"} <= set(blobs):
        return Decision(seq, person, "wrong", "it names a key, and has no signature")
    statement, signature = (blobs[name] for name in ("statement", "signature"))
    if statement is None or signature is None:
        return Decision(seq, person, "unchecked", "its statement and signature are not here")
    statement, text = statement[32:], signature[32:].decode("ascii", "replace")
    if not belongs(value, statement):
        return Decision(seq, person, "wrong", "its statement is about something else")
    try:
        parts = read_sealed(text)
    except ValueError as exc:
        return Decision(seq, person, "wrong", str(exc))
    if signers is None:
        return Decision(seq, person, "unchecked", "whose key it is, only --allowed-signers can tell")
    if not PERSON.fullmatch(person):
        return Decision(seq, person, "foreign", "it is no name of a person")
    keygen = shutil.which("ssh-keygen")
    return Decision(
        seq,
        person,
        *(
            by_openssh(keygen, value, statement, text, signers)
            if keygen
            else by_hand(value, statement, parts, signers)
        ),
    )


def belongs(value: dict[str, Any], statement: bytes) -> bool:
    """Whether a statement says what its entry says."""
    try:
        said = json.loads(statement)
        exact = isinstance(said, dict) and write_canonical(said) == statement
    except (ValueError, RecursionError):
        return False
    body = value["body"]
    names = ("log", "incident", "run", "gate", "decision", "segment", "purpose", "reason")
    told = (value["log"], value["inc"], value["run"], value["step"])
    told += tuple(body.get(name) for name in ("decision", "digest", "purpose", "reason"))
    same = exact and said.get("format") == "mimapproval/1" and tuple(said.get(name) for name in names) == told
    return same and said.get("person") in ("", value["actor"]["id"])


def read_sealed(text: str) -> list[bytes]:
    """Key, namespace, reserved, hash and signature (PROTOCOL.sshsig of OpenSSH). Raises ValueError where it is none."""
    match = ARMOUR.fullmatch(text)
    data = base64.b64decode(match[1].replace("\n", "")) if match else b""
    parts = strings(data[10:])
    if data[:10] != b"SSHSIG\0\0\0\x01" or len(parts) != 5:
        raise ValueError("it has no signature of OpenSSH's")
    if parts[1] != NAMESPACE.encode():
        raise ValueError("its signature is for something else")
    return parts


def strings(data: bytes) -> list[bytes]:
    """The strings that lie one behind the other (RFC 4251, section 5)."""
    found = []
    while len(data) >= 4 and int.from_bytes(data[:4], "big") <= len(data) - 4:
        end = 4 + int.from_bytes(data[:4], "big")
        found.append(data[4:end])
        data = data[end:]
    return found


def by_openssh(
    keygen: str, value: dict[str, Any], statement: bytes, signature: str, signers: str
) -> tuple[str, str]:
    """Have ssh-keygen check it, as of the moment at which it was recorded."""
    moment = re.sub(r"[^0-9]", "", value["ts"][:19])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "signature"
        file.write_text(signature, "ascii", "replace")
        person = value["actor"]["id"]
        words = [keygen, "-Y", "verify", "-n", NAMESPACE, "-I", person, "-s", str(file), "-f", signers]
        done = subprocess.run(
            [*words, "-Overify-time=" + moment],
            input=statement,
            env={"TZ": "UTC", "LC_ALL": "C", "PATH": "/usr/bin:/bin"},
            capture_output=True,
            check=False,
            timeout=60,
        )
    said = " ".join((done.stdout + b" " + done.stderr).decode("utf-8", "replace").split())
    if done.returncode:
        return "foreign", f"OpenSSH does not accept it: {said[:300]}"
    key = "SHA256:" + said.partition(" key SHA256:")[2][:43]
    if value["actor"]["auth"] != "ssh-key:" + key:
        return "wrong", f"{key} signed it, and the entry says {value['actor']['auth']}"
    return "verified", f"{value['body']['decision']} by {person}, signed with {key}"


def by_hand(value: dict[str, Any], statement: bytes, parts: list[bytes], signers: str) -> tuple[str, str]:
    """Check it without OpenSSH: a plain Ed25519 key on a line of its own, without dates."""
    key, _, reserved, name, sealed = parts
    inner, raw = strings(key), strings(sealed)
    if len(inner) != 2 or inner[0] != b"ssh-ed25519" or name not in (b"sha256", b"sha512"):
        return "unchecked", "only ssh-keygen can check this kind of key, and it is not here"
    hashed = hashlib.new(name.decode(), statement).digest()
    text = b"SSHSIG" + b"".join(
        len(part).to_bytes(4, "big") + part for part in (NAMESPACE.encode(), reserved, name, hashed)
    )
    if len(raw) != 2 or raw[0] != b"ssh-ed25519" or not is_signed(inner[1], text, raw[1]):
        return "wrong", "the signature is not one of its statement"
    print_ = "SHA256:" + base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")
    if value["actor"]["auth"] != "ssh-key:" + print_:
        return "wrong", f"{print_} signed it, and the entry says {value['actor']['auth']}"
    wanted = base64.b64encode(key).decode()
    for line in Path(signers).read_text("utf-8").splitlines():
        words = line.split()
        if words[:1] != [value["actor"]["id"]] or wanted not in words:
            continue
        if words[1] not in ("ssh-ed25519", f'namespaces="{NAMESPACE}"'):
            return "unchecked", "only ssh-keygen can read the options of its key's line, and it is not here"
        return "verified", f"{value['body']['decision']} by {value['actor']['id']}, signed with {print_}"
    return "foreign", f"the key {print_} is not on a line of {value['actor']['id']}"
