from __future__ import annotations

import os
import pwd

import pytest

from mimrun.app.home import operating_system_user
from mimrun.app.identity import identify
from mimrun.errors import SettingsError
from mimrun.gate.people import People, Person

ACCOUNT = pwd.getpwuid(os.getuid()).pw_name


def people(*accounts: str) -> People:
    alex = Person("alex", "Alex", frozenset({"change_manager"}), frozenset(accounts))
    return People({"alex": alex, "billie": Person("billie", "Billie")})


def test_the_kernel_says_who_it_is_and_not_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("USER", "LOGNAME", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "alex")
    assert operating_system_user() == ACCOUNT
    assert identify(people(), None).person.id == ACCOUNT


def test_an_account_is_its_persons() -> None:
    identity = identify(people(ACCOUNT), None)
    assert (identity.person.id, identity.auth) == ("alex", "os-user")


def test_naming_oneself_is_no_claim() -> None:
    assert identify(people(ACCOUNT), "alex").auth == "os-user"


def test_a_claim_is_recorded_with_the_account_it_was_made_from() -> None:
    identity = identify(people(), "alex")
    assert (identity.person.id, identity.auth) == ("alex", f"claimed:{ACCOUNT}")
    assert identity.actor().auth == f"claimed:{ACCOUNT}"


def test_nobody_can_claim_to_be_somebody_unknown() -> None:
    with pytest.raises(SettingsError, match=r"--as alx: .*did you mean 'alex'\?"):
        identify(people(), "alx")
