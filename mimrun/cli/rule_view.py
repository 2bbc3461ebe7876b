"""Rules on a terminal: what is in force, what it did, and what it would have done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mimrun.app.rule.backtest import Would
from mimrun.app.rule.view import RulesView, RuleView
from mimrun.cli.terminal import console, exact, safe, safe_line
from mimrun.incident.episode import Episode
from mimrun.incident.rule import Count, Match, Rule, Threshold, Words
from mimrun.runbook.duration import format_duration

_TONES: Final = {
    "launched": "green",
    "proposed": "cyan",
    "notified": "",
    "held": "yellow",
    "failed": "bold red",
    "storm": "bold red",
    "ended": "dim",
}
_SHOWN: Final = 20


def print_rules(found: RulesView) -> None:
    """Print what is in force, behind everything that somebody should hear of first."""
    out = console()
    _print_wrong(out, found)
    if not found.rules:
        out.print("no rule is in force; docs/how-to/let-alerts-launch.md says how one is written")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("RULE", "DOES", "RUNBOOK", "NOW", "LAST", "ABOUT"):
        table.add_column(head, overflow="fold")
    for one in found.rules:
        rule, last = one.rule, one.episodes[0] if one.episodes else None
        table.add_row(
            Text(rule.name, "bold" if rule.enabled else "dim"),
            rule.action if rule.enabled else f"{rule.action} (off)",
            safe_line(rule.runbook),
            f"{len(one.going_on)} burning" if one.going_on else "quiet",
            Text(f"{last.outcome} {_clock(last.fired_at)}", _TONES[last.outcome]) if last else "",
            safe_line(rule.title),
        )
    out.print(table)


def _print_wrong(out: Console, found: RulesView) -> None:
    for problem in found.now.problems:
        out.print(Text(f"refused: {safe_line(str(problem), 400)}", "bold red"))
    if found.now.behind:
        kept = f"what was good of {', '.join(found.now.behind)} last stays in force; `mimrun rule lint` says more"
        out.print(Text(safe_line(kept), "red"))
    if found.budget.storm:
        since = _clock(found.budget.since)
        out.print(Text(f"STORM since {since}: {safe_line(found.budget.reason)}", "bold red"))
        out.print(
            Text(
                f"  rules only propose, in {found.budget.incident}; `mimrun rule resume --reason …` ends it",
                "red",
            )
        )


def print_rule(found: RuleView) -> None:
    """Print one rule, in words, and what it did."""
    out, rule = console(), found.rule
    out.print(Text(rule.name, "bold").append(f"  {safe_line(rule.title)}", ""))
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for head, text in _facts(rule):
        table.add_row(head, safe_line(text, 500))
    table.add_row("digest", found.digest)
    out.print(table)
    if not found.episodes:
        out.print(Text("it has not fired yet", "dim"))
        return
    out.print(Text("Episodes", "bold"))
    for one in found.episodes[:_SHOWN]:
        _print_episode(out, one)
    if len(found.episodes) > _SHOWN:
        out.print(Text(f"  and {len(found.episodes) - _SHOWN} more groups", "dim"))


def _print_episode(out: Console, one: Episode) -> None:
    stands = "goes on" if one.goes_on else f"over {_clock(one.ended_at)}"
    line = Text(f"  {_clock(one.fired_at)}  ")
    line.append(one.outcome, _TONES[one.outcome]).append(f"  {safe_line(one.group)}  ({stands})")
    out.print(line)
    what = ", ".join(part for part in (one.incident, one.run, one.proposal) if part)
    for text in (what, one.reason):
        if text:
            out.print(Text(f"    {safe_line(text)}", "dim"))


def _facts(rule: Rule) -> Iterator[tuple[str, str]]:
    if not rule.enabled:
        yield "off", "it heeds nothing: `enabled: false`"
    yield "heeds", "; ".join(_heeded(rule.match)) or "every alert"
    if rule.value is not None:
        yield "value", _threshold(rule.value)
    if rule.count is not None:
        yield "count", _count(rule.count)
    if rule.for_:
        yield "for", format_duration(rule.for_)
    yield "groups by", ", ".join(rule.group_by) or "nothing: all alerts are one episode"
    yield "does", rule.action
    if rule.runbook:
        yield "runbook", rule.runbook
    for name, given in rule.inputs.items():
        yield f"  {name}", f"the label {given.label}" if given.label is not None else str(given.value)
    cool = "as limits.yaml says" if rule.cool_down is None else format_duration(rule.cool_down)
    yield "cools down", cool


def _heeded(match: Match) -> Iterator[str]:
    for name, words in match.labels.items():
        yield f"{exact(name)} {_words(words)}"
    if match.severity:
        yield f"severity {' or '.join(match.severity)}"
    if match.service is not None:
        yield f"service {_words(match.service)}"
    if match.source is not None:
        yield f"source {_words(match.source)}"
    if match.auth != "none":
        yield (
            f"sent with at least a {match.auth}"
            if match.auth != "person"
            else "handed in by a person at least"
        )


def _words(words: Words) -> str:
    either = " or ".join(exact(word) for word in words.one_of)
    fits = f"fits {words.regex}" if words.regex is not None else ""
    return " or ".join(part for part in (f"is {either}" if either else "", fits) if part)


def _threshold(value: Threshold) -> str:
    said = {"above": value.above, "at least": value.at_least, "below": value.below, "at most": value.at_most}
    return " and ".join(f"{word} {number}" for word, number in said.items() if number is not None)


def _count(count: Count) -> str:
    by = f", each with another {' and '.join(count.distinct_by)}" if count.distinct_by else ""
    return f"{count.at_least} within {format_duration(count.within)}{by}"


def print_would(found: Sequence[Would]) -> None:
    """Print what rules would have done, a line for each thing, and a line that sums it up."""
    out = console()
    for one in found:
        line = Text(f"{one.at:%Y-%m-%d %H:%M:%S}Z  ", "dim")
        line.append(f"{one.what:<9}", _TONES[one.what]).append(f" {one.rule}  {safe_line(one.group)}")
        if one.count:
            line.append(f"  {_alerts(one)}", "dim")
        out.print(line)
        given = ", ".join(f"{name}={exact(value)}" for name, value in one.inputs.items())
        for text in (given, one.reason):
            if text:
                out.print(Text(f"    {safe(text)}", "dim"))
    counts = {what: sum(one.what == what for one in found) for what in _TONES}
    fired = ", ".join(f"{number} {what}" for what, number in counts.items() if number and what != "ended")
    out.print(fired or "nothing would have fired")


def _alerts(one: Would) -> str:
    shown = ", ".join(str(number) for number in one.alerts[:5])
    more = f" and {one.count - 5} more" if one.count > 5 else ""
    return f"alerts {shown}{more}"


def _clock(at: str) -> str:
    return f"{at[:16].replace('T', ' ')}Z"
