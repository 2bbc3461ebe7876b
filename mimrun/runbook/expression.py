"""Expressions and templates: the only place where text of a runbook turns into values.

Only text that the loader read from a digest-pinned runbook is ever parsed. Values, wherever they come from,
are JSON that is looked at and copied, and never parsed: braces in the output of a host are braces.

A text that is one whole `{{ expression }}` has the expression's value, with its type. Every other text with
braces has a text. `when`, `until` and `expect` are bare expressions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Final, TypeVar

from jinja2 import Environment, TemplateSyntaxError, nodes
from jinja2.parser import Parser
from pydantic import JsonValue

from mimrun.runbook.bounds import Budget, ExpressionError, UndefinedName
from mimrun.runbook.evaluator import FUNCTIONS, SPECIAL_FILTERS, SPECIAL_TESTS, Evaluator, unsupported
from mimrun.runbook.filters import FILTERS
from mimrun.runbook.habit import WORD_HABITS
from mimrun.runbook.operators import kind_of
from mimrun.runbook.pattern_check import check_patterns
from mimrun.runbook.predicate import PREDICATES
from mimrun.runbook.suggestion import suggest
from mimrun.runbook.writer import Writer

__all__ = [
    "ExpressionError",
    "UndefinedName",
    "check_expression",
    "check_template",
    "evaluate",
    "expression_names",
    "expressions_of",
    "has_template",
    "leading_names",
    "names",
    "names_of",
    "optional_names",
    "render",
    "truth",
    "whole_expression",
]

MAX_TEMPLATE: Final = 64 * 1024
"""Characters in a text with braces."""

MAX_NESTING: Final = 100
"""Levels of a syntax tree: operators, filters and dots behind one another count too."""

Tree = TypeVar("Tree", bound=nodes.Node)

_SYNTAX: Final = Environment(keep_trailing_newline=True, autoescape=False)  # noqa: S701 - it only parses
_BRACES: Final = re.compile(r"\{[{%#]")
_STATEMENTS: Final = (nodes.Output, nodes.If, nodes.For, nodes.Assign)


def has_template(value: JsonValue) -> bool:
    """Say whether any text in a value has braces."""
    return any(_BRACES.search(text) for text in _texts(value))


def names(value: JsonValue) -> frozenset[str]:
    """Give the names that the templates in a value need from outside.

    Raises:
        ExpressionError: a text is not a template.
    """
    found: set[str] = set()
    for text in _texts(value):
        if _BRACES.search(text):
            found |= _template_names(text)
    return frozenset(found)


@lru_cache(maxsize=4096)
def expression_names(expression: str) -> frozenset[str]:
    """Give the names that a bare expression needs from outside.

    Raises:
        ExpressionError: it is not an expression.
    """
    return frozenset(_free_names(_parse_expression(expression), frozenset()))


@lru_cache(maxsize=4096)
def optional_names(text: str, *, bare: bool = False) -> frozenset[str]:
    """Give the names that a text asks for with `default` or `is defined`, and so can do without.

    Arguments:
        text: a template, or a bare expression where `bare` is set.

    Raises:
        ExpressionError: it cannot be read.
    """
    if not bare and not _BRACES.search(text):
        return frozenset()
    root = _parse_expression(text) if bare else _parse_template(text)
    found: set[str] = set()
    for node in _walk(root):
        asks = isinstance(node, nodes.Filter) and node.name in ("default", "d")
        asks = asks or (isinstance(node, nodes.Test) and node.name in SPECIAL_TESTS)
        if asks and isinstance(node, nodes.Filter | nodes.Test) and node.node is not None:
            found |= _free_names(node.node, frozenset())
    return frozenset(found)


def render(value: JsonValue, variables: Mapping[str, JsonValue]) -> JsonValue:
    """Fill in the templates of a JSON value. Keys of mappings are not templates.

    Arguments:
        value: text that the loader read, alone or in lists and mappings.
        variables: what the names stand for; never parsed.

    Returns:
        the value without templates.

    Raises:
        UndefinedName: a name is not among the variables.
        ExpressionError: a template cannot be read, has no value, or costs too much.
    """
    return _render(value, variables, Budget())


def evaluate(expression: str, variables: Mapping[str, JsonValue]) -> JsonValue:
    """Give the value of a bare expression.

    Raises:
        UndefinedName: a name is not among the variables.
        ExpressionError: it cannot be read, has no value, or costs too much.
    """
    node = _parse_expression(expression)
    return _guarded(expression, lambda: Evaluator(variables, Budget()).value(node))


def truth(expression: str, variables: Mapping[str, JsonValue]) -> bool:
    """Give the value of a condition, which must be true or false and nothing that is like it.

    Raises:
        UndefinedName: a name is not among the variables.
        ExpressionError: it cannot be read, has no value, or its value is not a boolean.
    """
    value = evaluate(expression, variables)
    if isinstance(value, bool):
        return value
    raise ExpressionError(
        f"`{_short(expression)}` is {kind_of(value)}, and a condition must be true or false",
        "compare it (`> 0`, `!= ''`), test it (`is defined`, `| length > 0`) or convert it (`| bool`)",
    )


def check_template(text: str) -> None:
    """Find out whether a text can be read as a template, with words that the language has.

    Raises:
        ExpressionError: it cannot.
    """
    if _BRACES.search(text):
        _check_words(_parse_template(text))


def check_expression(expression: str) -> None:
    """Find out whether a bare expression can be read, with words that the language has.

    Raises:
        ExpressionError: it cannot.
    """
    _check_words(_parse_expression(expression))


def _render(value: JsonValue, variables: Mapping[str, JsonValue], budget: Budget) -> JsonValue:
    match value:
        case str():
            return _render_text(value, variables, budget) if _BRACES.search(value) else value
        case dict():
            return {key: _render(part, variables, budget) for key, part in value.items()}
        case list():
            return [_render(part, variables, budget) for part in value]
        case _:
            return value


def _render_text(text: str, variables: Mapping[str, JsonValue], budget: Budget) -> JsonValue:
    template = _parse_template(text)
    evaluator = Evaluator(variables, budget)
    whole = whole_expression(text)
    if whole is not None:
        return _guarded(text, lambda: evaluator.value(whole))
    return _guarded(text, lambda: Writer(evaluator, budget).write(template.body))


def whole_expression(text: str) -> nodes.Expr | None:
    """Give the expression of a text that is nothing but one `{{ expression }}`; else None.

    Raises:
        ExpressionError: the text is not a template.
    """
    match _parse_template(text).body:
        case [nodes.Output(nodes=[nodes.Expr() as only])] if not isinstance(only, nodes.TemplateData):
            return only
        case _:
            return None


def expressions_of(text: str) -> list[nodes.Expr]:
    """Give every `{{ expression }}` of a template.

    Raises:
        ExpressionError: the text is not a template.
    """
    found: list[nodes.Expr] = []
    for node in _walk(_parse_template(text)):
        if isinstance(node, nodes.Output):
            found += [part for part in node.nodes if not isinstance(part, nodes.TemplateData)]
    return found


def names_of(node: nodes.Node) -> frozenset[str]:
    """Give the names that a piece of a template needs."""
    return frozenset(_free_names(node, frozenset()))


@lru_cache(maxsize=4096)
def leading_names(text: str) -> frozenset[str]:
    """Give the names that the beginning of a text comes from; empty where it begins with fixed text.

    Raises:
        ExpressionError: the text is not a template.
    """
    if not _BRACES.search(text):
        return frozenset()
    body = _parse_template(text).body
    match body:
        case [nodes.Output(nodes=[nodes.TemplateData(), *_]), *_] | []:
            return frozenset()
        case [nodes.Output(nodes=[first, *_]), *_]:
            return frozenset(_free_names(first, frozenset()))
        case _:
            return names(text)


def _guarded(text: str, compute: Callable[[], JsonValue]) -> JsonValue:
    try:
        return compute()
    except RecursionError as exc:
        raise ExpressionError(f"`{_short(text)}` is nested too deeply") from exc


@lru_cache(maxsize=4096)
def _parse_template(text: str) -> nodes.Template:
    if len(text) > MAX_TEMPLATE:
        raise ExpressionError(f"a text with templates has at most {MAX_TEMPLATE} characters")
    try:
        return _shallow(_SYNTAX.parse(text), text)
    except TemplateSyntaxError as exc:
        raise _syntax(exc, text, bare=False) from exc
    except (RecursionError, ValueError) as exc:
        raise ExpressionError(
            f"`{_short(text)}` cannot be read: nested too deeply, or a number too long"
        ) from exc


@lru_cache(maxsize=4096)
def _parse_expression(text: str) -> nodes.Expr:
    try:
        parser = Parser(_SYNTAX, text, state="variable")
        node = parser.parse_expression()
        if not parser.stream.eos:
            raise TemplateSyntaxError(f"{str(parser.stream.current)!r} is left over", 1)
    except TemplateSyntaxError as exc:
        raise _syntax(exc, text, bare=True) from exc
    except (RecursionError, ValueError) as exc:
        raise ExpressionError(
            f"`{_short(text)}` cannot be read: nested too deeply, or a number too long"
        ) from exc
    return _shallow(node, text)


def _shallow(root: Tree, text: str) -> Tree:
    """Refuse what is nested so deeply that walking it could use up the stack."""
    waiting: list[tuple[nodes.Node, int]] = [(root, 1)]
    while waiting:
        node, depth = waiting.pop()
        if depth > MAX_NESTING:
            raise ExpressionError(f"`{_short(text)}` is nested deeper than {MAX_NESTING}")
        waiting += ((child, depth + 1) for child in node.iter_child_nodes())
    return root


def _syntax(exc: TemplateSyntaxError, text: str, *, bare: bool) -> ExpressionError:
    hint = ""
    if bare and text.lstrip().startswith("{{"):
        hint = "a bare expression has no braces: write what is between them"
    elif "block tag" in str(exc.message) or "unknown tag" in str(exc.message):
        hint = "there are {{ … }}, if, for and set"
    elif re.search(r"(?<![=!<>])=(?!=)", text):
        hint = "equality is written =="
    elif "&&" in text or "||" in text:
        hint = "write `and`, `or`"
    message = (exc.message or "cannot be read").rstrip(".")
    return ExpressionError(f"`{_short(text)}`: {message[0].lower()}{message[1:]}", hint, exc.lineno)


@lru_cache(maxsize=4096)
def _template_names(text: str) -> frozenset[str]:
    return frozenset(_names_of_body(_parse_template(text).body, frozenset()))


def _names_of_body(body: Iterable[nodes.Node], bound: frozenset[str]) -> set[str]:
    found: set[str] = set()
    for node in body:
        match node:
            case nodes.For():
                inner = bound | {"loop"} | {name.name for name in _targets(node.target)}
                found |= _free_names(node.iter, bound)
                found |= _free_names(node.test, inner) if node.test is not None else set()
                found |= _names_of_body(node.body, inner) | _names_of_body(node.else_, bound)
            case nodes.If():
                found |= _free_names(node.test, bound)
                found |= _names_of_body([*node.body, *node.elif_, *node.else_], bound)
            case nodes.Assign():
                found |= _free_names(node.node, bound)
                bound |= {name.name for name in _targets(node.target)}
            case _:
                found |= _free_names(node, bound)
    return found


def _free_names(node: nodes.Node, bound: frozenset[str]) -> set[str]:
    if isinstance(node, nodes.Call) and isinstance(node.node, nodes.Name) and node.node.name in FUNCTIONS:
        parts = [*node.args, *node.kwargs]
        return set().union(*(_free_names(part, bound) for part in parts))
    found = {name.name for name in _walk(node) if isinstance(name, nodes.Name)}
    called = {
        call.node.name
        for call in _walk(node)
        if isinstance(call, nodes.Call) and isinstance(call.node, nodes.Name)
    }
    return found - bound - (called & FUNCTIONS)


def _targets(target: nodes.Node) -> list[nodes.Name]:
    return [node for node in _walk(target) if isinstance(node, nodes.Name)]


def _walk(node: nodes.Node) -> Iterator[nodes.Node]:
    yield node
    for child in node.iter_child_nodes():
        yield from _walk(child)


def _check_words(root: nodes.Node) -> None:
    """Refuse statements, filters, tests, functions and methods that the language does not have."""
    for node in _walk(root):
        match node:
            case nodes.Filter() if node.node is not None:
                _check_word("filter", node.name, FILTERS.keys() | SPECIAL_FILTERS, node)
                check_patterns(node)
            case nodes.Test():
                _check_word("test", node.name, PREDICATES.keys() | SPECIAL_TESTS, node)
                check_patterns(node)
            case nodes.Call(node=nodes.Name(name=name)):
                _check_word("function", name, FUNCTIONS, node)
            case nodes.Assign() if not isinstance(node.target, nodes.Name):
                raise ExpressionError("set takes one name", line=node.lineno)
            case nodes.Stmt() if not isinstance(node, _STATEMENTS):
                raise unsupported(node)
            case nodes.Filter():
                raise unsupported(node)


def _check_word(kind: str, word: str, known: Iterable[str], node: nodes.Node) -> None:
    if word in set(known):
        return
    raise ExpressionError(f"no {kind} {word!r}", WORD_HABITS.get(word) or suggest(word, known), node.lineno)


def _texts(value: JsonValue) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for part in value.values():
                yield from _texts(part)
        case list():
            for part in value:
                yield from _texts(part)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 80 else line[:77] + "..."
