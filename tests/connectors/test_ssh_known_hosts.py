"""The known_hosts file is read as OpenSSH reads it; ssh-keygen is the judge."""

from __future__ import annotations

import base64
import os
import subprocess
from pathlib import Path

import pytest

from connectors.ssh.known_hosts import fingerprint, load_known_hosts, parse_known_hosts
from mimrun.connector import Refused

KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ"
OTHER = "AAAAC3NzaC1lZDI1NTE5AAAAIA7/QEXn9OIeZJdD7y3aLq454yWBdwLWbieU1ebz9/cu"
ED = "ssh-ed25519"


def blob(text: str = KEY) -> bytes:
    return base64.b64decode(text)


def accepts(text: str, host: str, port: int = 22, key: str = KEY) -> bool:
    try:
        parse_known_hosts(text, "f").verify(host, port, ED, blob(key))
    except Refused:
        return False
    return True


@pytest.mark.parametrize(
    ("names", "host", "port", "trusted"),
    [
        ("web1", "web1", 22, True),
        ("web1", "WEB1", 22, True),
        ("Web1", "web1", 22, True),
        ("web1,10.0.0.1", "10.0.0.1", 22, True),
        ("web1", "web1", 2222, False),
        ("[web1]:2222", "web1", 2222, True),
        ("[web1]:2222", "web1", 22, False),
        ("[::1]:2222", "::1", 2222, True),
        ("*.example.com", "a.example.com", 22, True),
        ("*.example.com,!b.example.com", "b.example.com", 22, False),
        ("!b.example.com,*.example.com", "a.example.com", 22, True),
        ("web?", "web1", 22, True),
        ("web?", "web10", 22, False),
        ("[web*]:2222", "web1", 2222, True),
        ("[w]eb1", "web1", 22, False),
        ("*", "[x]", 22, True),
    ],
)
def test_names_match_as_in_openssh(names: str, host: str, port: int, trusted: bool) -> None:
    assert accepts(f"{names} {ED} {KEY} comment\n", host, port) is trusted


def test_hashed_names_match(tmp_path: Path) -> None:
    known = tmp_path / "known"
    known.write_text(f"web1 {ED} {KEY}\n[web2]:2222 {ED} {KEY}\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(known)], check=True, capture_output=True)
    text = known.read_text()
    assert "web1" not in text
    assert accepts(text, "web1")
    assert accepts(text, "web2", 2222)
    assert not accepts(text, "web2")


def test_fingerprint_is_the_one_of_ssh_keygen(tmp_path: Path) -> None:
    public = tmp_path / "k.pub"
    public.write_text(f"{ED} {KEY} x\n")
    shown = subprocess.run(["ssh-keygen", "-lf", str(public)], capture_output=True, text=True, check=True)
    assert fingerprint(blob()) == shown.stdout.split()[1]


def test_another_key_of_the_same_type_means_changed() -> None:
    with pytest.raises(Refused, match=r"has changed: f:2 trusts .*ssh-keygen -R"):
        parse_known_hosts(f"\nweb1 {ED} {OTHER}\n", "f").verify("web1", 22, ED, blob())


def test_two_keys_for_a_host_are_both_good() -> None:
    assert accepts(f"web1 {ED} {OTHER}\nweb1 {ED} {KEY}\n", "web1")


def test_only_another_type_means_unknown() -> None:
    with pytest.raises(Refused, match="only ssh-rsa"):
        parse_known_hosts("web1 ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAAQ==\n", "f").verify(
            "web1", 22, ED, blob()
        )


def test_revoked_beats_listed_wherever_it_stands() -> None:
    for text in (f"@revoked web1 {ED} {KEY}\nweb1 {ED} {KEY}\n", f"web1 {ED} {KEY}\n@revoked * {ED} {KEY}\n"):
        with pytest.raises(Refused, match="revoked key"):
            parse_known_hosts(text, "f").verify("web1", 22, ED, blob())


def test_a_revoked_line_that_cannot_be_read_closes_the_file() -> None:
    with pytest.raises(Refused, match="f:2"):
        parse_known_hosts(f"web1 {ED} {KEY}\n@revoked web1 {ED} %%%\n", "f")


def test_certificate_authorities_are_named_as_not_supported() -> None:
    with pytest.raises(Refused, match="host certificates are not supported"):
        parse_known_hosts(f"@cert-authority * {ED} {OTHER}\n", "f").verify("web1", 22, ED, blob())
    assert not accepts(f"@cert-authority * {ED} {KEY}\n", "web1")


def test_broken_lines_trust_nobody_and_are_named() -> None:
    text = f"web1 {ED}\nweb1 {ED} !!!!\nweb1 ssh-rsa {KEY}\n@odd web1 {ED} {KEY}\n# web1 {ED} {KEY}\n"
    with pytest.raises(Refused, match="line 1, 2, 3, 4 of the file cannot be read"):
        parse_known_hosts(text, "f").verify("web1", 22, ED, blob())


def test_the_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    known = tmp_path / "known"
    known.write_text(f"web1 {ED} {OTHER}\n")
    first = load_known_hosts(known)
    assert load_known_hosts(known) is first
    known.write_text(f"web1 {ED} {KEY}\n")
    os.utime(known, ns=(1, 1))
    load_known_hosts(known).verify("web1", 22, ED, blob())


def test_the_server_is_asked_for_trusted_types_first() -> None:
    known = parse_known_hosts(f"web1 ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAAQ==\nweb1 {ED} {KEY}\n", "f")
    assert known.key_types("web1", 22) == ("ssh-rsa", ED)
