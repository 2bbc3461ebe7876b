"""What lint says of runbooks that another one includes: their errors, where they are, and by which way they came in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from mimrun.errors import RunbookError
from mimrun.runbook.finding import Finding, Level
from mimrun.runbook.lint_include import MAX_DEPTH, Includes, reference_of
from mimrun.runbook.loader import LoadedRunbook
from mimrun.runbook.model import IncludeStep
from mimrun.runbook.tree import walk_steps

Lint = Callable[[LoadedRunbook], list[Finding]]


def lint_included(loaded: LoadedRunbook, includes: Includes, lint: Lint) -> list[Finding]:
    """Give the errors of everything that a runbook includes, by whatever way, each once.

    A plan of the outer runbook would be refused for each of them. What an included runbook may regret is its
    own matter.

    Arguments:
        loaded: the outer runbook.
        includes: gives the others, by `name@version`.
        lint: finds what is wrong with one of them alone.

    Returns:
        findings at their own place, with the chain of includes that leads there.
    """
    seen: set[str] = set()
    return list(_inside(loaded, (reference_of(loaded.runbook),), seen, includes, lint))


def _inside(
    loaded: LoadedRunbook, chain: tuple[str, ...], seen: set[str], includes: Includes, lint: Lint
) -> Iterator[Finding]:
    for _, step in walk_steps(loaded.runbook.steps):
        reference = step.include.runbook if isinstance(step, IncludeStep) else ""
        if not reference or reference in seen or reference in chain or len(chain) > MAX_DEPTH:
            continue
        seen.add(reference)
        via = (*chain, reference)
        try:
            inner = includes(reference)
        except RunbookError as exc:
            yield from (Finding(problem, Level.ERROR, via) for problem in exc.problems)
            continue
        yield from (replace(one, via=via) for one in lint(inner) if one.level is Level.ERROR)
        yield from _inside(inner, via, seen, includes, lint)
