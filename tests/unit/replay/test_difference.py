"""When what a step was given then is the same as what it would be given now."""

from __future__ import annotations

import pytest

from mimrun.replay.difference import same_value


@pytest.mark.parametrize(
    ("was", "now"),
    [
        (8080, "8080"),
        (30_000, "30s"),
        ("*****(vault:db#password@7)", "*****(vault:db#password@then)"),
        ("*****", "*****(env:TOKEN@then)"),
        ("Bearer *****", "Bearer *****(env:TOKEN@then)"),
        (["psql", "*****(env:A@1)"], ["psql", "*****(env:A@then)"]),
        ({"port": 5432, "password": "*****(env:A@1)"}, {"port": "5432", "password": "*****(env:A@then)"}),
    ],
)
def test_another_form_of_a_value_is_the_same_value(was: object, now: object) -> None:
    assert same_value(was, now)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ("*****(vault:db#password@7)", "*****(vault:db#other@then)"),
        ("*****(env:A@1)", "hunter2"),
        ("drop *****(env:A@1)", "keep *****(env:A@then)"),
        ("*****", 7),
        (["a"], ["a", "b"]),
        ({"a": 1}, {"b": 1}),
    ],
)
def test_another_secret_is_another_value(was: object, now: object) -> None:
    assert not same_value(was, now)  # type: ignore[arg-type]
