"""`mimrun rule`: what alerts lead to, by which rules, and trying rules on alerts of the past."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from mimrun.app.home import Home, open_home
from mimrun.app.identity import identify
from mimrun.app.rule.backtest import Recorded, Would, test_rules
from mimrun.app.rule.heeding import seq_before
from mimrun.app.rule.linting import lint_files, lint_home
from mimrun.app.rule.loading import examine_all, examine_file, examine_limits
from mimrun.app.rule.past import past_of_lines, past_of_log
from mimrun.app.rule.resuming import resume_rules
from mimrun.app.rule.view import find_rule, list_rules
from mimrun.app.runbooks import load_named
from mimrun.cli.options import AsOption, HomeOption, JsonOption, group, settings_of
from mimrun.cli.rule_view import print_rule, print_rules, print_would
from mimrun.cli.terminal import print_json, safe
from mimrun.errors import InputError, RunbookError
from mimrun.incident.rule import Rule
from mimrun.incident.rule_lint import wrong_label
from mimrun.incident.source_file import load_sources
from mimrun.incident.storm import Limits
from mimrun.log.moment import utc_now
from mimrun.runbook.document import read_bytes
from mimrun.runbook.duration import parse_duration
from mimrun.runbook.finding import Level
from mimrun.settings import Settings

RuleArgument: TypeAlias = Annotated[str, typer.Argument(metavar="RULE", help="The name of a rule in force.")]
FilesArgument: TypeAlias = Annotated[
    list[Path] | None,
    typer.Argument(metavar="FILE", show_default=False, help="Files of rules; without any, those in force."),
]
_USUAL_S = 7 * 24 * 3600


def list_(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the rules in force, what each is about just now, whether there is a storm, and which files are refused."""
    with open_home(settings_of(home)) as opened:
        found = list_rules(opened)
    if as_json:
        print_json(found.as_json())
    else:
        print_rules(found)


def show(rule: RuleArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show one rule: what it heeds, what it does, and the last episode of each of its groups."""
    with open_home(settings_of(home)) as opened:
        found = find_rule(opened, rule)
    if as_json:
        print_json(found.as_json())
    else:
        print_rule(found)


def lint(files: FilesArgument = None, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Check rules: keys, types, patterns, runbooks, inputs, sources. It ends with 2 where a file would be refused."""
    settings = settings_of(home)
    findings = lint_files(settings, files) if files else lint_home(settings)
    errors = sum(one.level is Level.ERROR for one in findings)
    if as_json:
        print_json(
            [
                {
                    "level": one.level.value,
                    "file": one.problem.file,
                    "line": one.problem.line,
                    "column": one.problem.column,
                    "message": one.problem.message,
                    "hint": one.problem.hint,
                }
                for one in findings
            ]
        )
    else:
        for one in findings:
            typer.echo(safe(str(one)))
        typer.echo(
            f"{errors} errors, {len(findings) - errors} warnings" if findings else "the rules are in order"
        )
    if errors:
        raise typer.Exit(2)


def try_(
    files: FilesArgument = None,
    *,
    against: Annotated[
        str,
        typer.Option(
            "--against",
            metavar="FILE",
            show_default=False,
            help="Alerts as JSON, a document on each line: as `alert list --json` prints them, or bodies of webhooks;"
            " - is standard input. Without it, the alerts of the log.",
        ),
    ] = "",
    since: Annotated[
        str, typer.Option("--since", metavar="DURATION", show_default="7d", help="Of the log: how far back.")
    ] = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what rules would have done about alerts of the past, and when. Nothing is launched, told or recorded.

    What only the day itself can tell is left out: whether policy and standard changes would have allowed a launch, and
    what else was under way.
    """
    settings = settings_of(home)
    if since and against:
        raise InputError("--since is for alerts of the log; --against names a file: give one of the two")
    if settings.store or settings.log.exists():
        with open_home(settings) as opened:
            found = _tried(settings, files, _past(settings, opened, against, since), opened)
    else:
        found = _tried(settings, files, _past(settings, None, against, since), None)
    if as_json:
        print_json([one.as_json() for one in found])
    else:
        print_would(found)


def resume(
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why they may launch again.")] = "",
    claimed: AsOption = None,
    home: HomeOption = None,
) -> None:
    """Say that a storm is over: rules launch again, and what was held back fires if it still burns."""
    with open_home(settings_of(home)) as opened:
        opened.require_key()
        was = resume_rules(opened, identify(opened.people(), claimed), reason)
    typer.echo(f"rules may launch again; the storm since {was.since[:16].replace('T', ' ')} UTC is over")
    typer.echo(f"its incident is open until somebody resolves it: mimrun incident show {was.incident}")


def _past(settings: Settings, home: Home | None, against: str, since: str) -> list[Recorded]:
    if against:
        sources = load_sources(settings.alerts)
        if against == "-":
            return past_of_lines(sys.stdin, "standard input", sources, home)
        try:
            with Path(against).open(encoding="utf-8", errors="replace") as opened:
                return past_of_lines(opened, against, sources, home)
        except OSError as exc:
            raise InputError(f"{against}: cannot be read: {exc.strerror}") from exc
    if home is None:
        raise InputError(f"{settings.home} has no log with alerts; name a file with --against")
    try:
        seconds = parse_duration(since) / 1000 if since else _USUAL_S
    except ValueError as exc:
        raise InputError(f"--since: {exc}") from exc
    return list(past_of_log(home, seq_before(home.store, home.clock() - timedelta(seconds=seconds))))


def _tried(
    settings: Settings, files: Sequence[Path] | None, alerts: list[Recorded], home: Home | None
) -> list[Would]:
    rules = [rule for path in files or () for rule in _rules_of(path)]
    if not files:
        known = list_rules(home).now.rules if home is not None else None
        rules = list(known) if known is not None else [r for f in examine_all(settings) for r in f.rules]
    trial = test_rules(
        rules,
        alerts,
        limits=examine_limits(settings)[0] or Limits(),
        launchable=load_sources(settings.alerts).launchable(),
        until=utc_now(),
        wrong=_wrong,
    )
    return list(trial)


def _rules_of(path: Path) -> tuple[Rule, ...]:
    file = examine_file(path.name, path, read_bytes(path, error=InputError))
    if file.errors:
        raise InputError(problems=file.errors)
    return file.rules


def _wrong(rule: Rule, inputs: Mapping[str, str]) -> str:
    """Say why the runbook of a rule would not take what labels give to it."""
    try:
        specs = load_named(rule.runbook).runbook.inputs if inputs else {}
    except RunbookError as exc:
        return str(exc)
    found = {name: wrong_label(name, specs[name], value) for name, value in inputs.items() if name in specs}
    return "; ".join(f"{name}: {why.removeprefix(f'{name}: ')}" for name, why in found.items() if why)


COMMANDS = {
    "rule": group(
        "rule",
        "What alerts lead to: list, check and try rules, and end a storm.",
        {
            "list": (list_, "mimrun rule list"),
            "show": (show, "mimrun rule show orders-primary-down"),
            "lint": (lint, "mimrun rule lint"),
            "test": (try_, "mimrun rule test --against alerts.jsonl"),
            "resume": (resume, "mimrun rule resume --reason 'the network is back'"),
        },
    )
}
