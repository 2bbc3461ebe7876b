"""Modules and functions stay small enough to be read in one go, and are named for what they hold."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

MODULE_LINES = 400
TEST_LINES = 700
FUNCTION_LINES = 40
POSITIONAL = 5
DRAWERS = {"utils", "util", "helpers", "helper", "common", "base", "manager", "service", "misc"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(source: str) -> Iterator[Function]:
    """Give every function and method of a module, nested ones too."""
    return (node for node in ast.walk(ast.parse(source)) if isinstance(node, Function))


def lines_of(function: Function) -> int:
    """Count the lines of a function without its decorators and its docstring."""
    first = function.body[0]
    is_prose = (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    )
    prose = (first.end_lineno or 0) - first.lineno + 1 if is_prose else 0
    return (function.end_lineno or 0) - function.lineno + 1 - prose


def long_functions(source: str) -> list[str]:
    """Name the functions that are too long."""
    return [f"{f.name}: {lines_of(f)} lines" for f in functions(source) if lines_of(f) > FUNCTION_LINES]


def wide_functions(source: str) -> list[str]:
    """Name the functions that take too much by position; an option of a command has a name anyway."""
    wide = []
    for function in functions(source):
        if any("command" in ast.unparse(d) or "callback" in ast.unparse(d) for d in function.decorator_list):
            continue
        names = [
            a.arg for a in (*function.args.posonlyargs, *function.args.args) if a.arg not in ("self", "cls")
        ]
        if len(names) > POSITIONAL:
            wide.append(f"{function.name}: {len(names)} positional parameters")
    return wide


def drawers(path: Path) -> set[str]:
    """Name the parts of a module's path that say nothing about what is inside."""
    return {part.removesuffix(".py") for part in path.parts} & DRAWERS


def test_modules_are_short(code: list[Path], tracked: list[Path], root: Path) -> None:
    tests = [p for p in tracked if p.suffix == ".py" and p.relative_to(root).parts[0] == "tests"]
    long = [
        f"{path.relative_to(root)}: {count} lines"
        for paths, most in ((code, MODULE_LINES), (tests, TEST_LINES))
        for path in paths
        if (count := len(path.read_text("utf-8").splitlines())) >= most
    ]
    assert not long, "\n".join(long)


def test_functions_are_short(code: list[Path], root: Path) -> None:
    assert code
    long = [f"{p.relative_to(root)}: {f}" for p in code for f in long_functions(p.read_text("utf-8"))]
    assert not long, "\n".join(long)


def test_functions_take_few_values_by_position(code: list[Path], root: Path) -> None:
    wide = [f"{p.relative_to(root)}: {f}" for p in code for f in wide_functions(p.read_text("utf-8"))]
    assert not wide, "\n".join(wide)


def test_modules_are_named_for_what_they_hold(tracked: list[Path], root: Path) -> None:
    paths = [p.relative_to(root) for p in tracked if p.suffix == ".py"]
    assert not [str(p) for p in paths if drawers(p)]


def test_these_checks_find_what_they_look_for() -> None:
    body = "    x = 1\n"
    assert long_functions("def f():\n" + body * FUNCTION_LINES) == ["f: 41 lines"]
    assert not long_functions(
        "def f():\n" + '    """' + "prose\n" * 9 + '    """\n' + body * (FUNCTION_LINES - 1)
    )
    assert wide_functions("class A:\n    def f(self, a, b, c, d, e, f): ...") == [
        "f: 6 positional parameters"
    ]
    assert not wide_functions("def f(a, b, c, d, e, *, f, g): ...")
    assert drawers(Path("mimrun/utils/text.py")) == {"utils"}
    assert drawers(Path("mimrun/run/manager.py")) == {"manager"}
    assert not drawers(Path("mimrun/run/baseline.py"))


@pytest.mark.parametrize("name", ["mimrun", "connectors", "flows"])
def test_the_installed_packages_are_looked_at(name: str, code: list[Path], root: Path) -> None:
    assert root / name / "__init__.py" in code
