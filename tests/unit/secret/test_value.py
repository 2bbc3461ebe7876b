"""A secret does not show itself, however it is printed, packed or copied."""

from __future__ import annotations

import copy
import json
import pickle

import pytest

from mimrun.secret import MASK, Secret

CANARY = 'Tr0ub4dor & "3"/ä+\\n?'


def test_a_secret_does_not_show_itself() -> None:
    secret = Secret(CANARY)
    for shown in (repr(secret), str(secret), f"{secret}", "%s" % secret, repr([secret])):  # noqa: UP031 - this way too
        assert CANARY not in shown
        assert MASK in shown
    with pytest.raises(TypeError):
        json.dumps(secret)
    assert secret.reveal() == CANARY


def test_a_secret_cannot_be_pickled_to_a_file_by_accident() -> None:
    with pytest.raises(TypeError, match="secret"):
        pickle.dumps([Secret(CANARY)])


def test_a_copy_of_a_secret_is_the_secret() -> None:
    assert copy.deepcopy({"password": Secret(CANARY)}) == {"password": Secret(CANARY)}


def test_secrets_compare_by_value() -> None:
    assert Secret("one") == Secret("one")
    assert Secret("one") != Secret("two")
    assert Secret("one") != "one"
    assert len({Secret("one"), Secret("one")}) == 1
