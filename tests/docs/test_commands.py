"""Every command that a page tells somebody to type exists, with these options; and every command is told of."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
from builders.markdown import commands

from mimrun.cli.commands import BY_NAME

FRONT = {"--help", "-h", "--version", "-V"}


def load(name: str) -> Any:
    """Give a command as Typer made it, without executing it."""
    return import_module(f"mimrun.cli.{BY_NAME[name].module}").COMMANDS[name]


def all_commands() -> Iterator[str]:
    """Give every command in full: `log show`."""
    for name in BY_NAME:
        subs = getattr(load(name), "commands", None)
        if not subs:
            yield name
            continue
        for sub, command in subs.items():
            inner = getattr(command, "commands", None)
            yield from [f"{name} {sub} {one}" for one in inner] if inner else [f"{name} {sub}"]


def fault(words: list[str]) -> str:
    """Say what of a command line does not exist, or nothing."""
    if not words or words[0] in FRONT:
        return ""
    if words[0] not in BY_NAME:
        return "" if words[0] == "..." or "|" in words[0] else f"no command {words[0]!r}"
    command, rest = load(words[0]), words[1:]
    subs = getattr(command, "commands", None)
    if subs:
        if not rest or rest[0] in FRONT or rest[0] == "...":
            return ""
        if rest[0] not in subs and getattr(command, "meant", ""):
            rest = [command.meant, *rest]
        if rest[0] not in subs:
            return "" if "|" in rest[0] else f"no command {words[0]} {rest[0]!r}"
        return fault_of(subs[rest[0]], rest[1:], words[0], rest[0])
    return fault_of(command, rest, words[0], "")


def fault_of(command: Any, rest: list[str], name: str, sub: str) -> str:
    """Say what of the words behind a command does not exist, or nothing."""
    inner = getattr(command, "commands", None)
    if inner:
        if not rest or rest[0] in FRONT or rest[0] in ("...", "COMMAND"):
            return ""
        if rest[0] not in inner:
            return "" if "|" in rest[0] else f"no command {name} {sub} {rest[0]!r}"
        command, rest = inner[rest[0]], rest[1:]
    known = {option for param in command.params for option in (*param.opts, *param.secondary_opts)} | FRONT
    given = [part for word in rest for part in word.split("|") if part.startswith("-") and part != "-"]
    unknown = [option for option in given if option.partition("=")[0] not in known]
    takes_words = any(not param.opts[0].startswith("-") for param in command.params)
    if unknown:
        return f"mimrun {name} has no option {unknown[0]}"
    return "" if takes_words or not rest or rest[0].startswith("-") else f"{name} takes no {rest[0]!r}"


def test_every_command_on_a_page_exists_with_its_options(pages: dict[str, str]) -> None:
    faults = {
        f"{name}: mimrun {' '.join(words)}": wrong
        for name, page in pages.items()
        for words in commands(page)
        if (wrong := fault(words))
    }
    assert not faults


@pytest.mark.parametrize("command", sorted(all_commands()))
def test_every_command_is_told_of(command: str, pages: dict[str, str]) -> None:
    wanted = command.split()
    assert any(words[: len(wanted)] == wanted for page in pages.values() for words in commands(page)), command


def test_what_does_not_exist_is_found() -> None:
    assert fault(["fly"]) == "no command 'fly'"
    assert fault(["log", "burn"]) == "no command log 'burn'"
    assert fault(["run", "x", "--quickly"]) == "mimrun run has no option --quickly"
    assert fault(["init", "home"]) == "init takes no 'home'"
    assert not fault(["run", "x", "-i", "y", "a=b", "--direct"])
    page = "`mimrun runs --json | head`\n```sh\nMIMRUN_HOME=/x mimrun log show \\\n  latest  # all\necho mimrun\n```\n"
    assert sorted(commands(page)) == [["log", "show", "latest"], ["runs", "--json"]]
