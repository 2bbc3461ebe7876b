"""Pattern check: regular expressions that the author wrote out are looked at before anything runs."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from jinja2 import nodes

from mimrun.runbook.bounds import ExpressionError
from mimrun.runbook.regex import compile_pattern

_FILTERS: Final = ("regex_search", "regex_replace")
_TESTS: Final = ("match", "search")
_EATEN: Final = re.compile(r"[\x01-\x07]")
r"""What a text of a template makes of `\1`: a control character."""
_REFERENCE: Final = re.compile(r"\\(?:(\d+)|g<(\w+)>)")


def check_patterns(node: nodes.Filter | nodes.Test) -> None:
    """Refuse a pattern that cannot be used, and references to groups that it does not have.

    Raises:
        ExpressionError: at the first of them.
    """
    if node.name not in (_FILTERS if isinstance(node, nodes.Filter) else _TESTS):
        return
    texts = [arg.value if isinstance(arg, nodes.Const) else None for arg in node.args]
    if not texts or not isinstance(texts[0], str):
        return
    try:
        pattern = compile_pattern(texts[0])
    except ExpressionError as exc:
        raise ExpressionError(exc.message, exc.hint, node.lineno) from exc
    for text in texts[1:]:
        if isinstance(text, str):
            _check_references(text, pattern.groups, pattern.groupindex.keys(), node.lineno)


def _check_references(text: str, groups: int, named: Collection[str], line: int) -> None:
    eaten = _EATEN.search(text)
    if eaten:
        number = ord(eaten[0])
        message = f"'\\{number}' in a text of a template is a control character, and no group"
        raise ExpressionError(
            message, f"write '\\\\{number}'; in double quotes of YAML '\\\\\\\\{number}'", line
        )
    for number, name in _REFERENCE.findall(text):
        known = int(number) <= groups if number else name.isdecimal() or name in named
        if not known:
            raise ExpressionError(f"the pattern has no group {number or name!r}", "count its brackets", line)
