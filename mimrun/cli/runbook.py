"""`mimrun runbook` and `mimrun schema`: the library, and the language."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer
from pydantic import JsonValue
from rich.table import Table
from rich.text import Text

from mimrun.app.inventories import read_inventory
from mimrun.app.runbooks import language_schema, lint_all, load_named, whole_library
from mimrun.cli.options import InventoryOption, JsonOption, RunbookArgument, command, group, settings_of
from mimrun.cli.terminal import console, print_json, safe, safe_line
from mimrun.runbook.finding import Finding, Level
from mimrun.runbook.loader import LoadedRunbook


def list_(as_json: JsonOption = False) -> None:
    """List the runbooks of the library: $MIMRUN_RUNBOOKS, or ./runbooks and those installed."""
    library = whole_library()
    if as_json:
        print_json([_summary(loaded) for loaded in library.runbooks])
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("STAGE", "NAME", "VERSION", "RISK", "TITLE"):
        table.add_column(head, overflow="fold")
    for loaded in library.runbooks:
        book = loaded.runbook
        table.add_row(
            book.stage, Text(book.name, "bold cyan"), book.version, book.risk, safe_line(book.title)
        )
    console().print(table)
    for problems in library.broken.values():
        console(stderr=True).print(Text(f"cannot be read: {safe(str(problems[0]))}", "red"))


def show(runbook: RunbookArgument, as_json: JsonOption = False) -> None:
    """Show a runbook: what it is for, its inputs, and its text."""
    loaded = load_named(runbook)
    if as_json:
        print_json({**_summary(loaded), "source": loaded.source.decode()})
        return
    out, book = console(), loaded.runbook
    out.print(Text(f"{book.name}@{book.version}  ", "bold").append(safe_line(book.title)))
    out.print(
        Text(f"{book.stage}, risk {book.risk}, owner {safe_line(book.owner)}, {loaded.digest[:19]}", "dim")
    )
    if book.description:
        out.print(Text(safe(book.description)))
    for name, spec in book.inputs.items():
        default = "" if spec.default is None else f", default {spec.default}"
        need = "required" if spec.required and spec.default is None else f"optional{default}"
        line = Text(f"  {name}", "cyan").append(f"  {spec.type}, {need}", "dim")
        out.print(line.append(f"  {safe_line(spec.help)}"))
    out.print()
    out.print(Text(safe(loaded.source.decode())))


def lint(
    runbooks: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUNBOOK", help="Names, files or folders; else the library."),
    ] = None,
    inventories: InventoryOption = None,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as errors.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Find what would fail at run time. Ends with 2 when there is an error."""
    inventory = read_inventory(settings_of(None), inventories) if inventories else None
    findings = lint_all(runbooks or [], inventory, datetime.now(UTC).date())
    errors = [finding for finding in findings if strict or finding.level is Level.ERROR]
    if as_json:
        print_json([_finding(finding) for finding in findings])
    else:
        out = console()
        for finding in findings:
            style = "bold red" if finding.level is Level.ERROR else "yellow"
            problem = finding.problem
            where = ":".join([problem.file, *(str(n) for n in (problem.line, problem.column) if n)])
            line = Text(f"{safe(where)}: ", "bold").append(f"{finding.level}: ", style)
            line.append(safe(problem.message))
            for more in (problem.hint, finding.way):
                line.append(f"\n    {safe(more)}" if more else "", style="cyan")
            out.print(line)
        counted = f"{_count(len(errors), 'error')}, {_count(len(findings) - len(errors), 'warning')}"
        out.print(Text(counted, "red" if errors else "green"))
    if errors:
        raise typer.Exit(2)


def schema() -> None:
    """Print the JSON Schema of the runbook language, with the actions that are installed here.

    Point your editor's YAML language server at it and runbooks complete as you type.
    """
    print_json(language_schema())


def _summary(loaded: LoadedRunbook) -> dict[str, JsonValue]:
    book = loaded.runbook
    inputs: dict[str, JsonValue] = {name: spec.model_dump(mode="json") for name, spec in book.inputs.items()}
    return {
        "name": book.name,
        "version": book.version,
        "title": book.title,
        "stage": book.stage.value,
        "risk": book.risk.value,
        "owner": book.owner,
        "digest": loaded.digest,
        "file": loaded.file,
        "inputs": inputs,
    }


def _finding(finding: Finding) -> JsonValue:
    problem = finding.problem
    return {
        "level": finding.level.value,
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "message": problem.message,
        "hint": problem.hint,
        "included_as": [*finding.via],
    }


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


COMMANDS = {
    "runbook": group(
        "runbook",
        "List, show and lint runbooks.",
        {
            "list": (list_, "mimrun runbook list --json"),
            "show": (show, "mimrun runbook show postgres-failover"),
            "lint": (lint, "mimrun runbook lint runbooks/ -i inventory.yaml"),
        },
    ),
    "schema": command("schema", schema, "mimrun schema > runbook.schema.json"),
}
