"""Waiting with an end."""

from __future__ import annotations

import pytest

from mimrun.errors import LabError
from mimrun.lab import patience


def test_what_is_true_already_is_not_waited_for() -> None:
    assert patience.came_true(lambda: True, seconds=0)


def test_what_does_not_come_is_said_with_its_reason() -> None:
    with pytest.raises(LabError, match=r"after 0\.05 s nothing came: the log says no"):
        patience.wait_until(
            lambda: False, seconds=0.05, what="nothing came", why=lambda: " the log says no\n"
        )


def test_no_reason_leaves_no_colon() -> None:
    with pytest.raises(LabError, match=r"nothing came$"):
        patience.wait_until(lambda: False, seconds=0.0, what="nothing came")
