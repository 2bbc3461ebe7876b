"""The tree that is drawn at the top of mimrun/errors.py is the tree that is there."""

from __future__ import annotations

import inspect
import re

from mimrun import errors

NODE = re.compile(r"^(?P<lead>[ │├└─]*)(?P<name>[A-Z][A-Za-z]+)(?: +exit (?P<code>\d+))?(?:  |$)")


def drawn(text: str) -> dict[str, tuple[str, int | None]]:
    """Read a drawn tree: each name with its parent's name and the exit code beside it."""
    tree: dict[str, tuple[str, int | None]] = {}
    trail: list[tuple[int, str]] = []
    for line in text.splitlines():
        found = NODE.match(line)
        if not found or not line.startswith("    "):
            continue
        depth = len(found["lead"])
        trail = [(d, n) for d, n in trail if d < depth]
        tree[found["name"]] = (
            trail[-1][1] if trail else "Exception",
            int(found["code"]) if found["code"] else None,
        )
        trail.append((depth, found["name"]))
    return tree


def test_the_drawn_tree_is_the_real_one() -> None:
    classes = {
        name: cls
        for name, cls in inspect.getmembers(errors, inspect.isclass)
        if issubclass(cls, Exception) and cls.__module__ == errors.__name__
    }
    tree = drawn(errors.__doc__ or "")
    assert {name: cls.__bases__[0].__name__ for name, cls in classes.items()} == {
        n: p for n, (p, _) in tree.items()
    }


def test_exit_codes_are_those_drawn() -> None:
    for name, (_, code) in drawn(errors.__doc__ or "").items():
        if code is not None:
            assert getattr(errors, name).exit_code == code, name


def test_a_tree_is_read_as_it_is_drawn() -> None:
    text = "    Top       exit 1\n    ├── Left  exit 2  words\n    │   └── Leaf      words\n    └── Right\n"
    assert drawn(text) == {
        "Top": ("Exception", 1),
        "Left": ("Top", 2),
        "Leaf": ("Left", None),
        "Right": ("Top", None),
    }
