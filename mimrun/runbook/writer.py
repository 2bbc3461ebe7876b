"""The writer: what `{{ … }}`, `if`, `for` and `set` write into a text."""

from __future__ import annotations

from collections.abc import Iterable

from jinja2 import nodes
from pydantic import JsonValue

from mimrun.runbook.bounds import Budget, ExpressionError
from mimrun.runbook.evaluator import Evaluator, unsupported
from mimrun.runbook.filters import as_items
from mimrun.runbook.operators import text_of


class Writer:
    """Writes the text of one template.

    Arguments:
        evaluator: computes the expressions.
        budget: what it may cost; the evaluator's own.
    """

    def __init__(self, evaluator: Evaluator, budget: Budget) -> None:
        self._evaluator = evaluator
        self._budget = budget
        self._pieces: list[str] = []
        self._length = 0

    def write(self, body: Iterable[nodes.Node]) -> str:
        """Give the text that a template's statements write.

        Raises:
            UndefinedName: a name is not there.
            ExpressionError: a part has no value or no text, or the bounds are used up.
        """
        self._body(body)
        return "".join(self._pieces)

    def _body(self, body: Iterable[nodes.Node]) -> None:
        for node in body:
            self._budget.step()
            match node:
                case nodes.Output():
                    for part in node.nodes:
                        self._part(part)
                case nodes.If():
                    self._if(node)
                case nodes.For():
                    self._for(node)
                case nodes.Assign(target=nodes.Name(name=name)):
                    self._evaluator.scopes[-1][name] = self._evaluator.value(node.node)
                case _:
                    raise unsupported(node)

    def _part(self, part: nodes.Node) -> None:
        if isinstance(part, nodes.TemplateData):
            text = part.data
        else:
            text = text_of(self._evaluator.value(part), self._budget)
        self._length += len(text)
        self._budget.whole(self._length)
        self._pieces.append(text)

    def _if(self, node: nodes.If) -> None:
        branches = [(node.test, node.body), *((other.test, other.body) for other in node.elif_)]
        self._body(next((body for test, body in branches if self._evaluator.value(test)), node.else_))

    def _for(self, node: nodes.For) -> None:
        items = as_items(self._budget, self._evaluator.value(node.iter), "for")
        if node.test is not None:
            items = [item for item in items if self._passes(node.target, item, node.test)]
        if not items:
            self._body(node.else_)
        for number, item in enumerate(items):
            loop: dict[str, JsonValue] = {
                "index": number + 1,
                "index0": number,
                "first": number == 0,
                "last": number == len(items) - 1,
                "length": len(items),
            }
            self._evaluator.scopes.append({"loop": loop, **_bind(node.target, item)})
            self._body(node.body)
            self._evaluator.scopes.pop()

    def _passes(self, target: nodes.Node, item: JsonValue, test: nodes.Node) -> bool:
        self._evaluator.scopes.append(_bind(target, item))
        passes = bool(self._evaluator.value(test))
        self._evaluator.scopes.pop()
        return passes


def _bind(target: nodes.Node, item: JsonValue) -> dict[str, JsonValue]:
    if isinstance(target, nodes.Name):
        return {target.name: item}
    names = [name.name for name in getattr(target, "items", []) if isinstance(name, nodes.Name)]
    if not isinstance(item, list) or len(item) != len(names):
        raise ExpressionError(f"for: an item does not have {len(names)} parts")
    return dict(zip(names, item, strict=True))
