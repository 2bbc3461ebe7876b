"""Allowances: how many of something may fail, or be touched, as a number or as a percentage.

This is the one place where mimrun counts: the planner and a run ask here, so that what was approved and
what stops a run are the same. The rule is:

- `2` allows two, whatever it is counted over.
- `"10%"` allows that share of what it is counted over, rounded down: of 50 hosts 5, of 9 hosts none.
- What is allowed may be reached; only more than that is too much. With `"10%"` of 50 hosts the fifth
  failure changes nothing and the sixth stops the run.
"""

from __future__ import annotations

import re
from typing import Annotated, Final, TypeAlias

from pydantic import BeforeValidator, WithJsonSchema

_PERCENT: Final = re.compile(r"(100|[1-9]?[0-9])%")
_PERCENT_SCHEMA: Final = {"type": "string", "pattern": "^(100|[1-9]?[0-9])%$", "examples": ["10%"]}
_MOST: Final = 1_000_000


def allowed(rule: int | str, of: int) -> int:
    """Give how many a rule allows.

    Arguments:
        rule: a number, or a percentage such as "10%".
        of: what a percentage is counted over: the hosts of the run, of the step, of the group.
    """
    return rule if isinstance(rule, int) else of * _percent(rule) // 100


def exceeded(failed: int, allowed: int) -> bool:
    """Say whether more have failed than are allowed; just as many are not too many."""
    return failed > allowed


def read_allowance(given: object) -> int | str:
    """Read a rule as an author writes it.

    Raises:
        ValueError: it is no number from 0 on, and no percentage from 0% to 100%.
    """
    if isinstance(given, int) and not isinstance(given, bool) and 0 <= given <= _MOST:
        return given
    if isinstance(given, str) and _PERCENT.fullmatch(given):
        return given
    raise ValueError(f'{given!r} is neither a number from 0 on nor a percentage; write 2 or "10%"')


def read_share(given: object) -> str:
    """Read a rule that must be a percentage.

    Raises:
        ValueError: it is none from 0% to 100%.
    """
    if isinstance(given, str) and _PERCENT.fullmatch(given):
        return given
    raise ValueError(f'{given!r} is not a percentage; write "10%"')


def read_size(given: object) -> int | str:
    """Read the size of a batch, which is at least one host.

    Raises:
        ValueError: it is no number from 1 on, and no percentage from 1% to 100%.
    """
    try:
        size = read_allowance(given)
    except ValueError:
        size = 0
    if size in (0, "0%"):
        raise ValueError(f'{given!r} is not the size of a batch; write 1, "20%" or [1, 5, "20%"]')
    return size


def size_of(rule: int | str, of: int) -> int:
    """Give how many hosts a batch has: a percentage is rounded down, and one host is the least."""
    return max(allowed(rule, of), 1)


def _percent(rule: str) -> int:
    return int(rule.removesuffix("%"))


def _schema(least: int) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [{"type": "integer", "minimum": least}, _PERCENT_SCHEMA]})


Allowance: TypeAlias = Annotated[int | str, BeforeValidator(read_allowance), _schema(0)]
"""How many may fail: `2`, or `"10%"`."""
Share: TypeAlias = Annotated[str, BeforeValidator(read_share), WithJsonSchema(_PERCENT_SCHEMA)]
"""A percentage."""
Size: TypeAlias = Annotated[int | str, BeforeValidator(read_size), _schema(1)]
"""How many hosts a batch has: `1`, or `"20%"`."""
