"""What OpenSSH itself says of keys, certificates, dates and signatures that somebody made up."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from builders.ssh_keys import agent, certify, make_key, signer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mimrun.app.signed.approvals import choose_key
from mimrun.app.signed.openssh import (
    Key,
    agent_keys,
    is_signature_of,
    key_of,
    principals,
    read_file,
    sign,
    verify,
)
from mimrun.errors import GateError, InputError, RefusedError
from mimrun.gate.signature import LARGEST_FILE, key_in
from mimrun.settings import Settings

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
WORD = b'{"decision":"approved"}'


@pytest.fixture(autouse=True)
def nobodys_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setenv("SSH_ASKPASS", "/bin/false")
    monkeypatch.setenv("SSH_ASKPASS_REQUIRE", "force")


def signers(folder: Path, *lines: str) -> Path:
    file = folder / "allowed_signers"
    file.write_text("".join(lines))
    return file


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_every_usual_kind_of_key_signs_and_is_verified(tmp_path: Path, kind: str) -> None:
    key = make_key(tmp_path, "alex", kind)
    file = signers(tmp_path, signer("alex", key))
    signature = sign(WORD, key_of(key))
    assert principals(signature, file, NOW) == ["alex"]
    assert verify(WORD, signature, "alex", file, NOW).startswith("SHA256:")
    assert key_in(signature) == key_of(key).blob
    assert is_signature_of(WORD, signature)
    assert not is_signature_of(WORD + b" ", signature)


def test_another_message_person_key_or_purpose_is_refused(tmp_path: Path) -> None:
    alex, billie = make_key(tmp_path, "alex"), make_key(tmp_path, "billie")
    file = signers(tmp_path, signer("alex", alex), signer("billie", billie))
    signature = sign(WORD, key_of(alex))
    for message, person in ((WORD + b" ", "alex"), (WORD, "billie"), (WORD, "al*"), (WORD, "alex,billie")):
        with pytest.raises(GateError, match="OpenSSH does not accept"):
            verify(message, signature, person, file, NOW)
    elsewhere = signers(tmp_path, signer("alex", alex, 'namespaces="git"'))
    with pytest.raises(GateError, match="OpenSSH does not accept"):
        verify(WORD, signature, "alex", elsewhere, NOW)


def test_a_key_counts_only_between_its_dates(tmp_path: Path) -> None:
    alex = make_key(tmp_path, "alex")
    file = signers(tmp_path, signer("alex", alex, 'valid-after="20260101",valid-before="20260201"'))
    signature = sign(WORD, key_of(alex))
    verify(WORD, signature, "alex", file, datetime(2026, 1, 15, tzinfo=UTC))
    for at in (datetime(2025, 12, 31, tzinfo=UTC), NOW):
        assert principals(signature, file, at) == []
        with pytest.raises(GateError, match="OpenSSH does not accept"):
            verify(WORD, signature, "alex", file, at)


def test_dates_are_those_of_utc_wherever_the_machine_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    alex = make_key(tmp_path, "alex")
    file = signers(tmp_path, signer("alex", alex, 'valid-before="20261122100001"'))
    assert principals(sign(WORD, key_of(alex)), file, NOW) == ["alex"]


def test_a_certificate_counts_for_whom_it_names_while_it_is_valid(tmp_path: Path) -> None:
    authority, alex = make_key(tmp_path, "authority"), make_key(tmp_path, "alex")
    file = signers(tmp_path, signer("*", authority, 'cert-authority,namespaces="approval@mimrun"'))
    signature = sign(WORD, key_of(certify(authority, alex, "alex")))
    assert principals(signature, file, NOW) == ["alex"]
    verify(WORD, signature, "alex", file, NOW)
    with pytest.raises(GateError):
        verify(WORD, signature, "billie", file, NOW)
    over = sign(WORD, key_of(certify(authority, alex, "alex", valid="20250101:20250201")))
    assert principals(over, file, NOW) == []
    stranger = make_key(tmp_path, "stranger")
    forged = sign(WORD, key_of(certify(stranger, alex, "alex")))
    assert principals(forged, file, NOW) == []
    with pytest.raises(GateError):
        verify(WORD, forged, "alex", file, NOW)


def test_a_key_that_only_the_agent_has_signs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alex, billie = make_key(tmp_path, "alex"), make_key(tmp_path, "billie")
    file = signers(tmp_path, signer("alex", alex), signer("billie", billie))
    settings = Settings(home=tmp_path)
    with agent(tmp_path, billie, alex) as socket:
        monkeypatch.setenv("SSH_AUTH_SOCK", socket)
        alex.unlink()
        assert [key.where for key in agent_keys()] == [
            "the agent's key billie@desk",
            "the agent's key alex@desk",
        ]
        key = choose_key(None, "alex", settings)
        assert key.where == "the agent's key alex@desk"
        verify(WORD, sign(WORD, key), "alex", file, NOW)
        verify(WORD, sign(WORD, key_of(Path(f"{alex}.pub"))), "alex", file, NOW)
        with pytest.raises(InputError, match="holds 2 keys"):
            choose_key(None, "casey", settings)
    with pytest.raises(RefusedError, match="did not sign"):
        sign(WORD, key)


def test_without_an_agent_the_usual_file_signs(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    with pytest.raises(InputError, match="no key to sign with"):
        choose_key(None, "alex", settings)
    (tmp_path / ".ssh").mkdir()
    for name in ("id_rsa", "id_ed25519"):
        make_key(tmp_path / ".ssh", name, name[3:])
    assert choose_key(None, "", settings).file == tmp_path / ".ssh" / "id_ed25519"
    signers(tmp_path, signer("alex", tmp_path / ".ssh" / "id_rsa"))
    assert choose_key(None, "alex", settings).file == tmp_path / ".ssh" / "id_rsa"


def test_a_key_under_a_passphrase_that_nobody_types_does_not_sign(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="did not sign"):
        sign(WORD, key_of(make_key(tmp_path, "alex", passphrase="open sesame")))


def test_a_key_on_a_security_key_is_verified(tmp_path: Path) -> None:
    """OpenSSH verifies it without the device; a device is played by a key that does what one does."""
    device = Ed25519PrivateKey.generate()
    point = device.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    kind, application = b"sk-ssh-ed25519@openssh.com", b"ssh:"
    public = string(kind) + string(point) + string(application)
    signed = b"SSHSIG" + string(b"approval@mimrun") + string(b"") + string(b"sha512")
    signed += string(hashlib.sha512(WORD).digest())
    seal = b"\x01" + (7).to_bytes(4, "big")
    raw = device.sign(hashlib.sha256(application).digest() + seal + hashlib.sha256(signed).digest())
    blob = b"SSHSIG\0\0\0\x01" + string(public) + string(b"approval@mimrun") + string(b"") + string(b"sha512")
    blob += string(string(kind) + string(raw) + seal)
    lines = base64.encodebytes(blob).decode().strip()
    signature = f"-----BEGIN SSH SIGNATURE-----\n{lines}\n-----END SSH SIGNATURE-----\n"
    file = signers(tmp_path, f"alex {kind.decode()} {base64.b64encode(public).decode()}\n")
    assert principals(signature, file, NOW) == ["alex"]
    verify(WORD, signature, "alex", file, NOW)
    assert key_in(signature) == public


def string(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


@pytest.mark.parametrize(
    "junk", ["", "\0", "-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n", "\u20ac" * 99]
)
def test_what_is_no_signature_is_nobodys(tmp_path: Path, junk: str) -> None:
    file = signers(tmp_path, signer("alex", make_key(tmp_path, "alex")))
    assert principals(junk, file, NOW) == []
    assert not is_signature_of(WORD, junk)
    with pytest.raises(GateError):
        verify(WORD, junk, "alex", file, NOW)


def test_a_file_of_signers_must_be_there_and_be_one(tmp_path: Path) -> None:
    with pytest.raises(GateError, match="nobody's signature counts"):
        read_file(tmp_path / "none")
    huge = tmp_path / "huge"
    with huge.open("wb") as file:
        file.truncate(LARGEST_FILE + 1)
    with pytest.raises(InputError, match="no file of signers"):
        read_file(huge)
    with pytest.raises(InputError, match="cannot be read"):
        read_file(tmp_path)
    with pytest.raises(InputError, match="no such key"):
        key_of(tmp_path / "none")
    with pytest.raises(RefusedError, match="did not sign"):
        sign(WORD, Key("a file", huge))
