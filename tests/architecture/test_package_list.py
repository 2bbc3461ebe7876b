"""The lists of Debian packages hold what the parts ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

from mimrun.lab import host_root


def listed(text: str) -> dict[str, list[str]]:
    """Read a list: each package with the services that come with it."""
    lines = [line.split("#")[0].split() for line in text.splitlines()]
    return {words[0]: words[1:] for words in lines if words}


def test_the_demo_installs_what_systemd_hosts_are_made_of(root: Path) -> None:
    demo = listed((root / "deploy" / "packages" / "demo.txt").read_text("utf-8"))
    assert set(host_root.NEEDED.values()) <= set(demo)


def test_servers_are_named_with_the_services_that_must_stay_off(root: Path) -> None:
    demo = listed((root / "deploy" / "packages" / "demo.txt").read_text("utf-8"))
    assert demo["openssh-server"] == ["ssh.service", "ssh.socket"]
    assert demo["haproxy"] == ["haproxy.service"]


@pytest.mark.parametrize("name", ["demo", "test"])
def test_lists_are_sorted_and_say_each_package_once(name: str, root: Path) -> None:
    text = (root / "deploy" / "packages" / f"{name}.txt").read_text("utf-8")
    packages = [line.split()[0] for line in text.splitlines() if line and not line.startswith("#")]
    assert packages == sorted(set(packages))
