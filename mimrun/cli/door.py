"""The door: finds the command, and turns what goes wrong into a sentence and an exit code."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from mimrun import __version__
from mimrun.cli.commands import BY_NAME, SECTIONS
from mimrun.errors import InputError, MimrunError

EXIT_CODES: Final = """\
  0  done                          4  in doubt: a person must say what happened
  1  the run failed                5  refused: not allowed, or held by another process
  2  bad input, nothing was done   6  the log cannot be written, or is not intact
  3  waits for a person            7  cancelled          130  interrupted"""

_EXAMPLES: Final = """\
  mimrun demo
  mimrun plan postgres-failover -i inventory.yaml cluster=orders
  mimrun run postgres-failover -i inventory.yaml cluster=orders
  mimrun approve latest --as alex"""


class Front(TyperGroup):
    """Lists commands from the table, and imports a command's module only when it is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Give every command's name."""
        return list(BY_NAME)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import a command."""
        known = BY_NAME.get(cmd_name)
        if known is None:
            return None
        return importlib.import_module(f"mimrun.cli.{known.module}").COMMANDS[cmd_name]

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command, or say which one was probably meant."""
        if args and args[0] not in BY_NAME and not args[0].startswith("-"):
            close = difflib.get_close_matches(args[0], BY_NAME, n=1)
            hint = f"did you mean {close[0]!r}?" if close else "see `mimrun --help`"
            ctx.fail(f"no command {args[0]!r}; {hint}")
        return super().resolve_command(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the front page: the table, section by section, without waking anything slow."""
        self.format_usage(ctx, formatter)
        formatter.write_paragraph()
        formatter.write_text(front.__doc__ or "")
        for title, commands in SECTIONS:
            with formatter.section(title):
                formatter.write_dl([(command.name, command.help) for command in commands])
        with formatter.section("Options"):
            formatter.write_dl([r for p in self.get_params(ctx) if (r := p.get_help_record(ctx)) is not None])
        for title, text in (("Examples", _EXAMPLES), ("Exit codes", EXIT_CODES)):
            formatter.write_paragraph()
            formatter.write(f"{title}:\n{text}\n")


app = typer.Typer(
    cls=Front,
    name="mimrun",
    rich_markup_mode=None,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mimrun {__version__}")
        raise typer.Exit


def _sign_in_with(token_file: str | None) -> None:
    if token_file is not None:
        # Settings are read from the environment alone, and what is said here wins over it.
        os.environ.pop("MIMRUN_TOKEN", None)
        os.environ["MIMRUN_TOKEN_FILE"] = token_file


@app.callback()
def front(
    version: Annotated[
        bool,
        typer.Option("-V", "--version", callback=_print_version, is_eager=True, help="Print the version."),
    ] = False,
    token_file: Annotated[
        str | None,
        typer.Option(
            "--token-file",
            metavar="FILE",
            callback=_sign_in_with,
            show_default=False,
            help="Sign in with the token in this file; also $MIMRUN_TOKEN_FILE, or $MIMRUN_TOKEN itself.",
        ),
    ] = None,
) -> None:
    """Run versioned runbooks during a major incident: planned, gated, recorded, provable."""


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(run_command(sys.argv[1:]))


def run_command(args: Sequence[str]) -> int:
    """Run one command and give its exit code. Anything mimrun can explain is explained in words."""
    as_json = "--json" in args
    try:
        try:
            # Whoever wants JSON gets it also for words that the parser itself refuses.
            done = typer.main.get_command(app).main(
                args=list(args), prog_name="mimrun", standalone_mode=not as_json
            )
        finally:
            sys.stdout.flush()
        return done if isinstance(done, int) else 0
    except SystemExit as exc:
        return exc.code if isinstance(exc.code, int) else int(exc.code is not None)
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        return 130
    except MimrunError as exc:
        _explain(exc, as_json=as_json)
        return exc.exit_code
    except BrokenPipeError:
        # Whoever read our output has gone; there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as exc:
        said = getattr(exc, "format_message", None)  # typer has no public name for its usage errors
        if said is None:
            raise
        _explain(InputError(said()), as_json=as_json)
        return InputError.exit_code


def _explain(error: MimrunError, *, as_json: bool) -> None:
    from mimrun.cli.terminal import explain  # noqa: PLC0415 - rich is woken only when something went wrong

    explain(error, as_json=as_json)
