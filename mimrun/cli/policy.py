"""`mimrun policy`: what must be there before something is changed, and why a gate is closed."""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mimrun.app.explaining import Explanation, Wanted, explain_plan, explain_run, terms_words
from mimrun.app.home import open_home
from mimrun.app.identity import identify
from mimrun.app.incident.view import incident_name
from mimrun.app.plans import prepare_plan
from mimrun.app.policy_draft import doubts_about, write_draft
from mimrun.app.rules import compare_versions, list_versions
from mimrun.canonical import Json
from mimrun.cli.options import (
    AsOption,
    HomeOption,
    InputsArgument,
    InventoryOption,
    JsonOption,
    group,
    settings_of,
)
from mimrun.cli.terminal import console, print_json, safe, safe_line
from mimrun.errors import InputError
from mimrun.gate.policy import PRIORITIES, Policy, Situation, terms
from mimrun.gate.policy_file import load_policy
from mimrun.runbook.duration import format_duration
from mimrun.runbook.launch import RiskRow, launch_gate

_RISKS: Final[tuple[RiskRow, ...]] = ("read_only", "low", "medium", "high")
_STYLE: Final = {
    "gate": "bold",
    "rule": "dim",
    "asks": "",
    "stands": "",
    "missing": "yellow",
    "open": "cyan",
    "note": "dim",
}

MaybeRunArgument: TypeAlias = Annotated[
    str | None,
    typer.Argument(metavar="RUN", show_default=False, help="A run's name, the beginning of it, or `latest`."),
]
RunbookOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--runbook",
        metavar="RUNBOOK",
        show_default=False,
        help="Explain a runbook before it is launched; its inputs follow.",
    ),
]
UnderIncidentOption: TypeAlias = Annotated[
    str | None,
    typer.Option("--incident", metavar="INC", show_default=False, help="With --runbook: where it belongs."),
]
FileArgument: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="FILE",
        help="people, policy, incidents, changes, allowed_signers, notices, or calendars/NAME.",
    ),
]


def init(home: HomeOption = None) -> None:
    """Write mimrun's own default into policy.yaml, to be changed from there. One that is there stays."""
    file = write_draft(settings_of(home))
    typer.echo(f"{file}: plans that change something have a gate in front from now on")
    typer.echo(
        "next: `mimrun policy lint` says which roles nobody has, `mimrun policy show` prints the matrix"
    )


def lint(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Check policy and calendars: what is wrong, roles that nobody has, and gates that nobody could open.

    It ends with 2 where the file is wrong, and with 1 where something is doubtful.
    """
    settings = settings_of(home)
    with open_home(settings) as opened:
        found = doubts_about(opened)
    if as_json:
        shown: list[Json] = [
            {"file": p.file, "line": p.line, "message": p.message, "hint": p.hint} for p in found
        ]
        print_json({"policy": settings.policy.exists(), "problems": shown})
    else:
        if not settings.policy.exists():
            typer.echo(f"{settings.policy} is not there: only the gates that runbooks write count")
        for problem in found:
            typer.echo(safe(str(problem)))
        if not found and settings.policy.exists():
            typer.echo(f"{settings.policy} is sound, and every role in it is somebody's")
    if found:
        raise typer.Exit(1)


def show(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Print the policy in force: what each risk asks for at each priority, and what a freeze adds."""
    settings = settings_of(home)
    policy = load_policy(settings.policy)
    if as_json:
        shown = policy.model_dump(mode="json", exclude={"lines"}) if policy else None
        print_json({"file": str(settings.policy), "policy": shown})
        return
    if policy is None:
        typer.echo(f"{settings.policy} is not there: only the gates that runbooks write count.")
        typer.echo("This is what `mimrun policy init` would write:")
    _print_matrix(console(), policy or Policy())


def explain(
    run: MaybeRunArgument = None,
    inputs: InputsArgument = None,
    *,
    runbook: RunbookOption = None,
    incident: UnderIncidentOption = None,
    inventories: InventoryOption = None,
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say in words why a gate is closed: which rule that comes from, what would open it, and who could."""
    if (run is None or (inputs and runbook is None)) and runbook is None:
        raise InputError(
            "say which run: `mimrun policy explain RUN`; or a plan: `--runbook RUNBOOK INPUT=VALUE`"
        )
    with open_home(settings_of(home)) as opened:
        if runbook is not None:
            given = ([run] if run else []) + (inputs or [])
            plan = prepare_plan(opened, runbook, given, inventories or [])
            name = incident_name(opened, incident) if incident else ""
            wanted = Wanted(identify(opened.people(), claimed), name)
            found = explain_plan(opened, plan, wanted)
        else:
            found = explain_run(opened, run or "latest")
    if as_json:
        print_json(found.as_json())
    else:
        print_explanation(console(), found)


def history(
    file: Annotated[
        str | None, typer.Argument(metavar="FILE", show_default=False, help="Only this rules file.")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the versions of the rules that decisions followed: people, policy, calendars, and the rest."""
    with open_home(settings_of(home)) as opened:
        versions = list_versions(opened, file or "")
    if as_json:
        print_json([version.as_json() for version in versions])
        return
    if not versions:
        typer.echo("no rules are on record yet: they are recorded when somebody decides by them")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("FILE", "VERSION", "SINCE (UTC)", "FIRST USED BY", "ENTRY", "DIGEST"):
        table.add_column(head, overflow="fold")
    for one in versions:
        digest = "taken away" if one.gone else one.digest.removeprefix("sha256:")[:12]
        when = one.at[:19].replace("T", " ")
        table.add_row(safe_line(one.file), str(one.number), when, safe_line(one.by), str(one.seq), digest)
    console().print(table)


def diff(
    file: FileArgument,
    first: Annotated[
        int | None, typer.Argument(metavar="FROM", show_default=False, help="A version; 0 is an empty file.")
    ] = None,
    second: Annotated[
        int | None,
        typer.Argument(metavar="TO", show_default=False, help="A version; the last where left out."),
    ] = None,
    home: HomeOption = None,
) -> None:
    """Show what changed between two versions of a rules file; the last two where none are named."""
    with open_home(settings_of(home)) as opened:
        lines = compare_versions(opened, file, first, second)
    out = console()
    for line in lines:
        style = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "")
        out.print(Text(safe(line), style))
    if not lines:
        typer.echo("nothing differs")


def print_explanation(out: Console, found: Explanation) -> None:
    """Print why a gate stands as it does."""
    if found.run:
        out.print(Text(found.run, "bold"))
    last = ""
    for line in found.lines:
        head = line.about if line.about != last else ""
        last = line.about
        out.print(Text(f"  {head:<8}", "bold").append(safe(line.text), _STYLE[line.about]))


def print_outlook(out: Console, found: Explanation) -> None:
    """Print behind a plan how its first gate would stand."""
    out.print(Text("Allowed now?", "bold"))
    print_explanation(out, found)
    out.print()


def _print_matrix(out: Console, policy: Policy) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for head in ("RISK", "PRIORITY", "ASKS FOR", "IN A FREEZE", "WHERE"):
        table.add_column(head, overflow="fold")
    for risk in _RISKS:
        if risk == "read_only":
            table.add_row(Text(risk, "bold"), "any", "nothing", "nothing", "")
            continue
        for column, names in _columns(policy, risk).items():
            priority = None if column == "undeclared" else column
            now = terms(policy, Situation(risk, priority), launch_gate())  # type: ignore[arg-type]  # a column
            then = terms(policy, Situation(risk, priority, frozen=True), launch_gate())  # type: ignore[arg-type]
            rule, cell = policy.matrix.row(risk).cell(priority)  # type: ignore[arg-type]
            instead = "; or a standard change" if cell.pre_authorised else ""
            line = policy.lines.get(f"matrix.{risk}.{rule}", 0)
            place = f"line {line}" if line else "default"
            asks, frozen = terms_words(now, brief=True) + instead, terms_words(then, brief=True)
            table.add_row(Text(risk, "bold"), names, asks, frozen, place)
    out.print(table)
    late = f"{format_duration(policy.expires)}, then {policy.on_timeout}"
    out.print(Text(f"\n  a gate waits: {late}", "dim"))
    out.print(Text(f"  excluded: {', '.join(sorted(policy.excluded))}", "dim"))
    out.print(Text(f"  says how urgent an incident is: {' or '.join(policy.prioritize)}", "dim"))
    out.print(Text(f"  break-glass: {policy.break_glass.how.replace('_', ' ')}", "dim"))
    out.print(Text(f"  alerts may launch: {', '.join(policy.triggers.launch) or 'nothing'}", "dim"))


def _columns(policy: Policy, risk: RiskRow) -> dict[str, str]:
    """Give one column of those that share a cell, with the names of all of them."""
    if risk == "read_only":
        return {}
    by_cell: dict[str, list[str]] = {}
    for column in (*PRIORITIES, "undeclared"):
        priority = None if column == "undeclared" else column
        rule, _ = policy.matrix.row(risk).cell(priority)  # type: ignore[arg-type]  # a column
        by_cell.setdefault(rule, []).append(column)
    return {columns[0]: ", ".join(columns) for columns in by_cell.values()}


COMMANDS = {
    "policy": group(
        "policy",
        "Show and check what must be there before something is changed, and say why a gate is closed.",
        {
            "init": (init, "mimrun policy init"),
            "lint": (lint, "mimrun policy lint"),
            "show": (show, "mimrun policy show"),
            "explain": (explain, "mimrun policy explain run-7k2q"),
            "history": (history, "mimrun policy history policy"),
            "diff": (diff, "mimrun policy diff policy 1 2"),
        },
    )
}
