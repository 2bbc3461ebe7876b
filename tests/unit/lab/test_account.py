"""Which user the parts run as."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mimrun.errors import LabError
from mimrun.lab import account


def test_an_unknown_user_is_named() -> None:
    with pytest.raises(LabError, match="has no user 'no-such-user'"):
        account.find("no-such-user")


def test_a_user_without_a_shell_may_not_log_in() -> None:
    assert not account.Account("x", 5, 5, "/usr/sbin/nologin").may_log_in()
    assert not account.Account("x", 5, 5, "/no/such/shell").may_log_in()
    assert account.Account("x", 5, 5, "/bin/sh").may_log_in()


def test_who_is_the_account_already_changes_nothing() -> None:
    me = account.current()
    assert me.identity() == {}
    other = account.Account("other", me.uid + 1, 7, "/bin/sh")
    assert other.identity() == {"user": me.uid + 1, "group": 7, "extra_groups": []}


@pytest.mark.needs("root")
@pytest.mark.parametrize("caller", ["", "root", "no-such-user"])
def test_root_never_runs_the_parts(caller: str) -> None:
    chosen = account.ordinary({"SUDO_USER": caller} if caller else {})
    assert chosen.uid != 0
    assert chosen.name in account.CANDIDATES


@pytest.mark.needs("root")
def test_who_called_sudo_runs_the_parts() -> None:
    assert account.ordinary({"SUDO_USER": "daemon"}).name == "daemon"


def test_an_ordinary_user_runs_the_parts_as_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = account.find("nobody")
    monkeypatch.setattr(os, "geteuid", lambda: nobody.uid)
    assert account.ordinary({"SUDO_USER": "daemon"}) == nobody
    assert nobody.identity() == {}


def test_a_closed_folder_on_the_way_is_named(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    (closed / "inner").mkdir(parents=True)
    closed.chmod(0o700)
    stranger = account.Account("stranger", os.geteuid() + 4321, os.getegid() + 4321, "/bin/sh")
    with pytest.raises(LabError, match=f"user stranger cannot enter {closed}"):
        account.require_way(closed / "inner", stranger)
