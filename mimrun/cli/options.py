"""The options that many commands share: one spelling, one meaning, one help text."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer
from typer.core import TyperGroup

from mimrun.app.sign_in import doing
from mimrun.settings import Settings, load_settings

HomeOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--home",
        metavar="DIR",
        show_default=False,
        help="mimrun's home folder, with the log. Default: $MIMRUN_HOME, else ~/.local/state/mimrun.",
    ),
]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
YesOption: TypeAlias = Annotated[bool, typer.Option("-y", "--yes", help="Do not ask; go.")]
AsOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--as",
        metavar="PERSON",
        show_default=False,
        help="Act as this person of people.yaml; the log records that it was only claimed.",
    ),
]
InventoryOption: TypeAlias = Annotated[
    list[Path] | None,
    typer.Option(
        "-i",
        "--inventory",
        metavar="PATH",
        show_default=False,
        help="An Ansible inventory: INI or YAML file, or a folder. May be given several times.",
    ),
]
RunArgument: TypeAlias = Annotated[
    str, typer.Argument(metavar="RUN", help="A run's name, the beginning of it, or `latest`.")
]
RunbookArgument: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="RUNBOOK",
        show_default=False,
        help="A runbook's name, name@version, or the path of its file.",
    ),
]
InputsArgument: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="INPUT=VALUE",
        show_default=False,
        help="Inputs: name=text, name:=JSON, or @file.yaml. A secret input is a reference, such as name=env:VAR.",
    ),
]


def settings_of(home: Path | None) -> Settings:
    """Read the settings from the option and the environment."""
    return load_settings(os.environ, home=home)


def command(name: str, function: Callable[..., None], *examples: str) -> Any:
    """Make a command of a function whose parameters are its options.

    Arguments:
        name: what a person types.
        examples: shown under the help, a line each.
    """
    epilog = "\n\n".join(["Examples:", *examples]) if examples else None
    one = typer.Typer(
        name=name,
        add_completion=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    one.command(name, epilog=epilog)(_said(name, function))
    return typer.main.get_command(one)


def _said(verb: str, function: Callable[..., None]) -> Callable[..., None]:
    """Make a command's function say which verb it is, for whoever asks what may be done."""

    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> None:
        with doing(verb):
            function(*args, **kwargs)

    return called


class _WithDefault(TyperGroup):
    """Commands of which one is meant where what comes first is the name of none."""

    meant = ""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command."""
        if self.meant and args and args[0] not in self.commands and not args[0].startswith("-"):
            args = [self.meant, *args]
        return super().resolve_command(ctx, args)


Commands: TypeAlias = Mapping[str, tuple[Callable[..., None], str]]
"""By name: a function, and an example."""


def group(
    name: str,
    help_: str,
    commands: Commands,
    *,
    groups: Mapping[str, tuple[str, Commands]] | None = None,
    default: str = "",
) -> Any:
    """Make a command with commands of its own.

    Arguments:
        name: what a person types.
        help_: what it is for.
        commands: its commands.
        groups: by name: what it is for, and its commands in turn.
        default: the command that is meant where what comes first is the name of none; it may be left away.
    """
    several = _several(name, help_, commands, groups or {})
    for sub, (inner_help, inner) in (groups or {}).items():
        several.add_typer(_several(f"{name} {sub}", inner_help, inner, {}), name=sub)
    made = typer.main.get_command(several)
    assert isinstance(made, _WithDefault)
    made.meant = default
    return made


def _several(
    name: str, help_: str, commands: Commands, groups: Mapping[str, tuple[str, Commands]]
) -> typer.Typer:
    examples = [example for _, example in commands.values()]
    examples += [example for _, inner in groups.values() for _, example in inner.values()]
    several = typer.Typer(
        name=name,
        cls=_WithDefault,
        help=help_,
        add_completion=False,
        rich_markup_mode=None,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
        epilog="\n\n".join(["Examples:", *examples]),
    )
    for sub, (function, example) in commands.items():
        several.command(sub, epilog=f"Example:\n\n{example}")(_said(f"{name} {sub}", function))
    return several
