"""Every command needs one scope of the table; no command that signs somebody in is outside of it."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

from mimrun.app.sign_in import scope_wanted
from mimrun.cli.commands import BY_NAME
from mimrun.cli.options import command, group
from mimrun.gate.scope import VERBS


def all_verbs() -> set[str]:
    found = set()
    for name, one in BY_NAME.items():
        made = import_module(f"mimrun.cli.{one.module}").COMMANDS[name]
        found |= {" ".join(words) for words in verbs_of(made, name)}
    return found


def verbs_of(made: Any, *words: str) -> Iterator[tuple[str, ...]]:
    """Give the verbs of a command: of several that are one verb together, that one."""
    subs = getattr(made, "commands", None)
    if not subs or " ".join(words) in VERBS:
        yield words
        return
    for sub, inner in subs.items():
        yield from verbs_of(inner, *words, sub)


def test_every_command_has_its_scope_and_every_row_its_command() -> None:
    assert all_verbs() == set(VERBS)


def test_a_command_says_which_verb_it_is() -> None:
    said: list[str] = []
    alone = command("approve", lambda: said.append(scope_wanted()))
    several = group(
        "kill-switch", "", {"pull": (lambda: said.append(scope_wanted()), ""), "show": (lambda: None, "")}
    )
    alone.main(args=[], standalone_mode=False)
    several.main(args=["pull"], standalone_mode=False)
    assert said == ["approve", "stop"]
    assert scope_wanted() == ""


def test_a_command_of_several_may_be_meant_where_none_is_named() -> None:
    said: list[str] = []

    def show(what: str) -> None:
        said.append(f"show {what} {scope_wanted()}")

    several = group(
        "review",
        "",
        {"show": (show, ""), "publish": (lambda: said.append(f"publish {scope_wanted()}"), "")},
        groups={"item": ("", {"add": (lambda what: said.append(f"add {what} {scope_wanted()}"), "")})},
        default="show",
    )
    for args in (["INC-1"], ["show", "INC-1"], ["publish"], ["item", "add", "x"]):
        several.main(args=args, standalone_mode=False)
    assert said == ["show INC-1 read", "show INC-1 read", "publish record", "add x record"]
