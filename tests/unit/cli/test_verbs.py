"""Every command needs one scope of the table; no command that signs somebody in is outside of it."""

from __future__ import annotations

from importlib import import_module

from mimrun.app.sign_in import scope_wanted
from mimrun.cli.commands import BY_NAME
from mimrun.cli.options import command, group
from mimrun.gate.scope import VERBS


def all_verbs() -> set[str]:
    found = set()
    for name, one in BY_NAME.items():
        made = import_module(f"mimrun.cli.{one.module}").COMMANDS[name]
        subs = getattr(made, "commands", None)
        found |= {f"{name} {sub}" for sub in subs} if subs else {name}
    return found


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
