"""The evaluator: walks what Jinja2's parser read, and computes it.

Jinja2 gives the grammar. Its compiler, which turns a template into Python, is never used: the ways out of
that sandbox were found again and again (CVE-2016-10745, 2019-10906, 2024-56326, 2025-27516), and its memory
and time have no bound. Here a node that has no branch below cannot happen, values are JSON, and every
step is paid for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, Final, TypeVar

from jinja2 import nodes
from pydantic import JsonValue

from mimrun.runbook.bounds import Budget, ExpressionError, UndefinedName
from mimrun.runbook.filters import FILTERS, as_items, attribute
from mimrun.runbook.operators import (
    Maybe,
    Missing,
    binary,
    call_method,
    compare,
    kind_of,
    part_of,
    text_of,
)
from mimrun.runbook.predicate import PREDICATES
from mimrun.runbook.suggestion import suggest

Result = TypeVar("Result")

SPECIAL_FILTERS: Final = frozenset({"default", "d", "map", "select", "reject", "selectattr", "rejectattr"})
SPECIAL_TESTS: Final = frozenset({"defined", "undefined"})
FUNCTIONS: Final = frozenset({"range"})

_BINARY: Final[Mapping[type[nodes.Node], str]] = {
    nodes.Add: "+",
    nodes.Sub: "-",
    nodes.Mul: "*",
    nodes.Div: "/",
    nodes.FloorDiv: "//",
    nodes.Mod: "%",
    nodes.Pow: "**",
}


class Evaluator:
    """Computes the nodes of one template or expression.

    Arguments:
        variables: what the names stand for.
        budget: what it may cost.
    """

    def __init__(self, variables: Mapping[str, JsonValue], budget: Budget) -> None:
        self._variables = variables
        self._budget = budget
        self.scopes: list[dict[str, JsonValue]] = [{}]
        """Names that `for` and `set` made, the innermost last."""

    def value(self, node: nodes.Node) -> JsonValue:
        """Give the value of an expression.

        Raises:
            UndefinedName: it names something that is not there.
            ExpressionError: it has no value, or the bounds are used up.
        """
        found = self._maybe(node)
        if isinstance(found, Missing):
            raise UndefinedName(
                found.message, suggest(found.name, found.known) if found.name else "", found.name
            )
        return found

    def _maybe(self, node: nodes.Node) -> Maybe:
        self._budget.step()
        compute = self._NODES.get(type(node))
        if compute is None:
            raise unsupported(node)
        return compute(self, node)

    def _name(self, node: nodes.Name) -> Maybe:
        for scope in reversed(self.scopes):
            if node.name in scope:
                return scope[node.name]
        if node.name in self._variables:
            return self._variables[node.name]
        return Missing(f"{node.name!r} is undefined", node.name, frozenset(self._variables))

    def _const(self, node: nodes.Const) -> Maybe:
        value = node.value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return self._budget.number(value)
        if value is None or isinstance(value, bool | str):
            return value
        raise unsupported(node)

    def _getattr(self, node: nodes.Getattr) -> Maybe:
        whole = self._maybe(node.node)
        if isinstance(whole, Missing):
            return whole
        return part_of(whole, node.attr, self._budget, source_of(node.node))

    def _getitem(self, node: nodes.Getitem) -> Maybe:
        whole = self._maybe(node.node)
        if isinstance(whole, Missing):
            return whole
        if isinstance(node.arg, nodes.Slice):
            return self._slice(whole, node.arg)
        return part_of(whole, self.value(node.arg), self._budget, source_of(node.node))

    def _slice(self, whole: JsonValue, node: nodes.Slice) -> JsonValue:
        if not isinstance(whole, str | list):
            raise ExpressionError(f"{kind_of(whole)} cannot be cut")
        start, stop, step = (self._bound(part) for part in (node.start, node.stop, node.step))
        if step == 0:
            raise ExpressionError("the step of a cut is not 0")
        piece = whole[start:stop:step]
        if isinstance(piece, str):
            self._budget.text(len(piece))
        else:
            self._budget.items(len(piece))
        return piece

    def _bound(self, node: nodes.Expr | None) -> int | None:
        value = None if node is None else self.value(node)
        if value is not None and not isinstance(value, int):
            raise ExpressionError(f"the bounds of a cut are integers, not {kind_of(value)}")
        return value

    def _list(self, node: nodes.List | nodes.Tuple) -> Maybe:
        return [self.value(item) for item in node.items]

    def _dict(self, node: nodes.Dict) -> Maybe:
        made: dict[str, JsonValue] = {}
        for pair in node.items:
            key = self.value(pair.key)
            if not isinstance(key, str):
                raise ExpressionError(f"a key must be a text, not {kind_of(key)}")
            made[key] = self.value(pair.value)
        return made

    def _binary(self, node: nodes.BinExpr) -> Maybe:
        return binary(_BINARY[type(node)], self.value(node.left), self.value(node.right), self._budget)

    def _and(self, node: nodes.And) -> Maybe:
        return self.value(node.left) and self.value(node.right)

    def _or(self, node: nodes.Or) -> Maybe:
        return self.value(node.left) or self.value(node.right)

    def _not(self, node: nodes.Not) -> Maybe:
        return not self.value(node.node)

    def _sign(self, node: nodes.Neg | nodes.Pos) -> Maybe:
        number = self.value(node.node)
        if not isinstance(number, int | float):
            raise ExpressionError(f"{kind_of(number)} has no sign")
        return -number if isinstance(node, nodes.Neg) else number

    def _compare(self, node: nodes.Compare) -> Maybe:
        left = self.value(node.expr)
        for operand in node.ops:
            right = self.value(operand.expr)
            if not compare(operand.op, left, right, self._budget):
                return False
            left = right
        return True

    def _choose(self, node: nodes.CondExpr) -> Maybe:
        if self.value(node.test):
            return self._maybe(node.expr1)
        if node.expr2 is None:
            raise ExpressionError("`a if b` has no value where b is false", "write `a if b else c`")
        return self._maybe(node.expr2)

    def _concat(self, node: nodes.Concat) -> Maybe:
        texts = [text_of(self.value(part), self._budget) for part in node.nodes]
        self._budget.text(sum(map(len, texts)))
        return "".join(texts)

    def _filter(self, node: nodes.Filter) -> Maybe:
        if node.node is None:
            raise unsupported(node)
        args, kwargs = self._arguments(node)
        if node.name in ("default", "d"):
            return self._default(node.node, args, kwargs)
        value = self.value(node.node)
        if node.name == "map":
            return self._map(value, args, kwargs)
        if node.name in SPECIAL_FILTERS:
            return self._select(node.name, value, args)
        return self._apply(node.name, value, args, kwargs)

    def _default(self, node: nodes.Node, args: list[JsonValue], kwargs: dict[str, JsonValue]) -> JsonValue:
        given = dict(zip(("default_value", "boolean"), args, strict=False)) | kwargs
        value = self._maybe(node)
        if isinstance(value, Missing) or (given.get("boolean") and not value):
            return given.get("default_value", "")
        return value

    def _apply(
        self, name: str, value: JsonValue, args: list[JsonValue], kwargs: dict[str, JsonValue]
    ) -> JsonValue:
        apply = FILTERS.get(name)
        if apply is None:
            raise ExpressionError(f"no filter {name!r}", suggest(name, FILTERS.keys() | SPECIAL_FILTERS))
        return self._checked(f"filter {name}", lambda: apply(self._budget, value, *args, **kwargs))

    def _map(self, value: JsonValue, args: list[JsonValue], kwargs: dict[str, JsonValue]) -> JsonValue:
        items = as_items(self._budget, value, "map")
        path = kwargs.get("attribute")
        if isinstance(path, str) and not args:
            strict = "default" not in kwargs
            return [attribute(item, path, kwargs.get("default"), strict=strict) for item in items]
        if not args or not isinstance(args[0], str):
            raise ExpressionError(
                "map needs a filter or an attribute", "write `| map('upper')` or `| map(attribute='name')`"
            )
        name, rest = args[0], args[1:]
        return [self._apply(name, item, rest, kwargs) for item in items]

    def _select(self, name: str, value: JsonValue, args: list[JsonValue]) -> JsonValue:
        wanted = name.startswith("select")
        items = as_items(self._budget, value, name)
        subjects: list[JsonValue] = items
        if name.endswith("attr"):
            if not args or not isinstance(args[0], str):
                raise ExpressionError(f"{name} needs the name of an attribute")
            path = args.pop(0)
            # As in Jinja2: an item without the attribute is one for which the test is false.
            subjects = [attribute(item, str(path), strict=False) for item in items]
        if not args:
            return [item for item, subject in zip(items, subjects, strict=True) if bool(subject) is wanted]
        test, *rest = args
        return [
            item
            for item, subject in zip(items, subjects, strict=True)
            if self._holds(str(test), subject, rest, {}) is wanted
        ]

    def _test(self, node: nodes.Test) -> Maybe:
        if node.name in SPECIAL_TESTS:
            return isinstance(self._maybe(node.node), Missing) is (node.name == "undefined")
        args, kwargs = self._arguments(node)
        return self._holds(node.name, self.value(node.node), args, kwargs)

    def _holds(
        self, name: str, value: JsonValue, args: list[JsonValue], kwargs: dict[str, JsonValue]
    ) -> bool:
        if name in SPECIAL_TESTS:
            return (value is None) is (name == "undefined")
        test = PREDICATES.get(name)
        if test is None:
            raise ExpressionError(f"no test {name!r}", suggest(name, PREDICATES.keys() | SPECIAL_TESTS))
        return self._checked(f"test {name}", lambda: test(self._budget, value, *args, **kwargs))

    def _checked(self, what: str, compute: Callable[[], Result]) -> Result:
        """Call a filter or test, and turn arguments that do not fit into a complaint."""
        try:
            return compute()
        except (TypeError, ValueError, AttributeError, OverflowError) as exc:
            detail = str(exc).partition("() ")[2] or str(exc)
            raise ExpressionError(f"{what}: its arguments do not fit: {detail}") from exc

    def _call(self, node: nodes.Call) -> Maybe:
        args, kwargs = self._arguments(node)
        if isinstance(node.node, nodes.Getattr):
            whole = self.value(node.node.node)
            return call_method(whole, node.node.attr, args, kwargs, self._budget)
        if isinstance(node.node, nodes.Name) and node.node.name == "range":
            return self._range(args)
        raise ExpressionError(
            f"{source_of(node.node)} cannot be called",
            "there are no lookups and no functions but range: use inputs and filters",
        )

    def _range(self, args: list[JsonValue]) -> JsonValue:
        numbers = [arg for arg in args if isinstance(arg, int)]
        if len(numbers) != len(args) or not 1 <= len(args) <= 3 or (len(numbers) == 3 and numbers[2] == 0):
            raise ExpressionError("range takes one to three integers, the step not 0")
        found = range(*numbers)
        try:
            self._budget.items(len(found))
        except OverflowError as exc:
            raise ExpressionError("range is too long") from exc
        return list(found)

    def _arguments(
        self, node: nodes.Call | nodes.Filter | nodes.Test
    ) -> tuple[list[JsonValue], dict[str, JsonValue]]:
        if node.dyn_args is not None or node.dyn_kwargs is not None:
            raise ExpressionError("* and ** are not known here", "write the arguments out")
        args = [self.value(arg) for arg in node.args]
        return args, {str(pair.key): self.value(pair.value) for pair in node.kwargs}

    _NODES: ClassVar[Mapping[type[nodes.Node], Callable[..., Maybe]]] = {
        nodes.Name: _name,
        nodes.Const: _const,
        nodes.Getattr: _getattr,
        nodes.Getitem: _getitem,
        nodes.List: _list,
        nodes.Tuple: _list,
        nodes.Dict: _dict,
        nodes.And: _and,
        nodes.Or: _or,
        nodes.Not: _not,
        nodes.Neg: _sign,
        nodes.Pos: _sign,
        nodes.Compare: _compare,
        nodes.CondExpr: _choose,
        nodes.Concat: _concat,
        nodes.Filter: _filter,
        nodes.Test: _test,
        nodes.Call: _call,
        **dict.fromkeys(_BINARY, _binary),
    }


def unsupported(node: nodes.Node) -> ExpressionError:
    """Give the complaint about a piece of Jinja2 that the language does not have."""
    word = type(node).__name__.lower()
    return ExpressionError(
        f"{word!r} is not part of the language",
        "there are {{ … }}, if, for and set",
        getattr(node, "lineno", 1),
    )


def source_of(node: nodes.Node) -> str:
    """Give a short form of an expression, for messages."""
    match node:
        case nodes.Name():
            return str(node.name)
        case nodes.Getattr():
            return f"{source_of(node.node)}.{node.attr}"
        case nodes.Getitem(arg=nodes.Const(value=value)):
            return f"{source_of(node.node)}[{value!r}]"
        case _:
            return "the value"
