"""The page of commands, from the table of commands and what each says of itself."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from typing import Any, Final

from mimrun.cli.commands import SECTIONS, Command
from mimrun.cli.door import EXIT_CODES

INTRODUCTION: Final = (
    "Every command has `--help` with examples. With `--json`, standard output holds JSON and nothing else; an"
    " error is a JSON\nobject, too. Colour is used on a terminal only, and never with `NO_COLOR`. A run is named"
    " in full, by the beginning of\nits name, or as `latest`. How inputs are written is on the page"
    " [runbook language](runbook-language.md); what the exit\ncodes mean in full is on the page"
    " [exit codes](exit-codes.md)."
)


def cli_parts() -> Iterator[str]:
    """Give the parts of the page, section by section."""
    yield INTRODUCTION
    yield f"```text\n{EXIT_CODES}\n```"
    for title, commands in SECTIONS:
        rows = [f"| [`mimrun {c.name}`](#mimrun-{c.name}) | {_cell(c.help)} |" for c in commands]
        yield f"## {title}\n\n| Command | What it is for |\n|---|---|\n" + "\n".join(rows)
        for command in commands:
            yield from _command(command)


def _command(command: Command) -> Iterator[str]:
    loaded = importlib.import_module(f"mimrun.cli.{command.module}").COMMANDS[command.name]
    subs = getattr(loaded, "commands", None)
    if not subs:
        yield _section(f"mimrun {command.name}", loaded, "###")
        return
    yield f"### mimrun {command.name}\n\n{_help(loaded)}"
    for name, sub in subs.items():
        inner = getattr(sub, "commands", None) or {"": sub}
        for word, one in inner.items():
            yield _section(f"mimrun {command.name} {name} {word}".rstrip(), one, "####")


def _section(name: str, command: Any, level: str) -> str:
    context = command.context_class(command, info_name=name)
    words = [word for word in command.collect_usage_pieces(context) if word != "[OPTIONS]"]
    usage = re.sub(r"[{}]", "", " ".join([name, *words]))
    parts = [f"{level} {name}", f"```text\n{usage}\n```", _help(command)]
    records = [record for param in command.params if (record := _record(param, context))]
    if records:
        parts.append("| | |\n|---|---|\n" + "\n".join(f"| `{_cell(n)}` | {_cell(h)} |" for n, h in records))
    examples = [line for line in (command.epilog or "").splitlines() if line.startswith("mimrun ")]
    if examples:
        parts.append("```sh\n" + "\n".join(examples) + "\n```")
    return "\n\n".join(parts)


def _record(param: Any, context: Any) -> tuple[str, str] | None:
    """Give how a parameter is written and what it means."""
    found: tuple[str, str] | None = param.get_help_record(context)
    if found is None:
        return None
    name, meaning = found
    # An argument's record ends with its type in angle brackets, which its meaning says better.
    return re.sub(r"\s*<[^<>]*>$", "", re.sub(r"\s+", " ", name).strip()), meaning


def _help(command: Any) -> str:
    """Give the help as paragraphs; a list of arguments is for those who read the code."""
    text = (command.help or "").strip()
    return "\n\n".join(re.sub(r"\s+", " ", part) for part in text.split("\n\n"))


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", r"\|").strip()
