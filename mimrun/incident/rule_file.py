"""Files of rules: read strictly, with every problem at its line and column.

rules:
  - name: orders-primary-down
    title: The primary of a pair is down
    match:
      source: prod-alertmanager
      severity: [critical, high]
      labels: {alertname: PostgresPrimaryDown, cluster: {regex: "[a-z]+"}}
    for: 2m
    group_by: [cluster]
    action: propose
    runbook: postgres-failover
    inputs: {cluster: {label: cluster}, max_lag_bytes: 1048576}
    incident: {impact: high, urgency: high, services: [orders]}

`limits.yaml` beside them says how much rules may do by themselves: `limits: {runs_per_hour: 20}`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Final, TypeVar

from pydantic import ValidationError

from mimrun.canonical import Json
from mimrun.errors import Problem, SettingsError
from mimrun.incident.rule import FIELDS, Given, Rule, Words
from mimrun.incident.storm import Limits
from mimrun.runbook.document import Document, ValuePath
from mimrun.runbook.model import Part
from mimrun.runbook.suggestion import suggest
from mimrun.runbook.wording import problems_of

LIMITS_FILE: Final = "limits.yaml"
SUFFIXES: Final = (".yaml", ".yml")
MOST: Final = 500
"""So many rules one file may have."""
MAX_NAME: Final = 180
"""Characters of the name of a file."""

ModelT = TypeVar("ModelT", bound=Part)


def rule_files(folder: Path) -> list[Path]:
    """Give the files of rules in a folder, sorted by name; the limits are not among them.

    Raises:
        OSError: the folder is there and cannot be read.
    """
    if not folder.exists():
        return []
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix in SUFFIXES and not path.name.startswith(".") and path.name != LIMITS_FILE
    )


def is_nameable(name: str) -> bool:
    """Say whether the log can name a file so: a line of Unicode that is not too long."""
    return name.isprintable() and len(name) <= MAX_NAME


def parse_rules(document: Document) -> tuple[Rule, ...]:
    """Make the rules of a document.

    Raises:
        SettingsError: it is not a file of rules; every problem is named with its place.
    """
    return _Reader(document).rules()


def parse_limits(document: Document) -> Limits:
    """Make the limits of a document.

    Raises:
        SettingsError: it does not say limits; every problem is named with its place.
    """
    reader = _Reader(document)
    top = reader.top("limits")
    limits = reader.model(Limits, ("limits",), top if top is not None else {})
    if reader.problems or limits is None:
        raise SettingsError(problems=set(reader.problems))
    return limits


class _Reader:
    """Reads a file of rules, and collects everything that is wrong with it."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.problems: list[Problem] = []

    def rules(self) -> tuple[Rule, ...]:
        listed, found = self.top("rules"), list[Rule]()
        if not isinstance(listed, list):
            if not self.problems:
                self._wrong(("rules",), "must be a list of rules", "begin each with `- name: …`")
            listed = []
        if len(listed) > MOST:
            self._wrong(("rules",), f"has {len(listed)} rules; {MOST} is the most in one file", "split it")
        for number, value in enumerate(listed[:MOST]):
            rule = self.model(Rule, ("rules", number), value)
            if rule is not None:
                found.append(rule)
                self._check(("rules", number), rule, found)
        if self.problems:
            raise SettingsError(problems=set(self.problems))
        return tuple(found)

    def top(self, key: str) -> Json:
        """Give what stands under the one key that the file may have."""
        top = self.document.value
        if not isinstance(top, dict) or key not in top:
            self._wrong((), f"the key '{key}' is missing", f"the file has one key: `{key}:`")
        for other in top if isinstance(top, dict) else ():
            if other != key:
                self._wrong((other,), f"unknown key {other!r}", suggest(other, [key]), at_key=True)
        return top.get(key) if isinstance(top, dict) else None

    def model(self, kind: type[ModelT], where: ValuePath, value: Json) -> ModelT | None:
        """Read a part; None where something is wrong with it."""
        if not isinstance(value, Mapping):
            self._wrong(where, "must be a mapping of keys")
            return None
        try:
            # As JSON, because there strictness means what a person expects: no text becomes a number.
            return kind.model_validate_json(json.dumps(value), strict=True)
        except ValidationError as exc:
            self.problems += problems_of(exc, self.document, where, kind)
            return None

    def _check(self, where: ValuePath, rule: Rule, before: list[Rule]) -> None:
        """Find what is well written and cannot be meant."""
        if any(other.name == rule.name for other in before[:-1]):
            self._wrong((*where, "name"), f"there are two rules called {rule.name!r}")
        for place, message, hint in (*_runbook(rule), *_inputs(rule), *_facets(rule), *_matches(rule)):
            self._wrong((*where, *place), message, hint, at_key=bool(place) and place[-1] == "runbook")

    def _wrong(self, where: ValuePath, message: str, hint: str = "", *, at_key: bool = False) -> None:
        self.problems.append(self.document.problem(where, message, hint, at_key=at_key))


Found = tuple[ValuePath, str, str]


def _runbook(rule: Rule) -> Iterator[Found]:
    if rule.action == "notify":
        for key in ("runbook", "inputs", "inventory"):
            if getattr(rule, key):
                hint = "write `action: propose` or `action: launch`"
                yield (key,), f"{key}: a rule that only notifies executes nothing", hint
    elif not rule.runbook:
        yield (), f"a rule that is to {rule.action} needs a runbook", "write `runbook: NAME`"
    match = rule.match
    if rule.action == "launch" and match.status == "info":
        yield ("action",), "what only tells something launches nothing", "write `action: propose`"
    if rule.action == "launch" and not (match.labels or match.service or match.source):
        hint = "name labels, a service or a source in `match`"
        yield (), "a rule that launches does not heed every alert there is", hint


def _inputs(rule: Rule) -> Iterator[Found]:
    for name, given in rule.inputs.items():
        where: ValuePath = ("inputs", name)
        if (given.label is None) == ("value" not in given.model_fields_set or given.value is None):
            yield where, f"{name}: is neither a value nor a label", "write {label: NAME}, or a value"
        elif given.label is not None and not _is_one(rule, given):
            hint = f"add {given.label} to `group_by`, or match one value of it"
            yield where, f"alerts of one group may have different values of {given.label!r}", hint


def _is_one(rule: Rule, given: Given) -> bool:
    """Say whether all alerts of a group have the same value of a label."""
    words = rule.match.labels.get(given.label or "", Words())
    return given.label in rule.group_by or (words.regex is None and len(words.one_of) == 1)


def _facets(rule: Rule) -> Iterator[Found]:
    named: list[tuple[ValuePath, str]] = [
        (("group_by", number), facet) for number, facet in enumerate(rule.group_by)
    ]
    named += [
        (("count", "distinct_by", number), facet)
        for number, facet in enumerate(rule.count.distinct_by if rule.count else ())
    ]
    named += [(("inputs", name, "label"), given.label or "") for name, given in rule.inputs.items()]
    for where, facet in named:
        field = facet.removeprefix("alert.")
        if field != facet and field not in FIELDS:
            hint = suggest(field, FIELDS)
            yield where, f"an alert has no field {field!r} that says which one it is", hint
    for number, facet in enumerate(rule.group_by):
        if facet in rule.group_by[:number]:
            yield ("group_by", number), f"{facet} is here twice", ""


def _matches(rule: Rule) -> Iterator[Found]:
    match = rule.match
    words: list[tuple[ValuePath, Words | None]] = [
        (("match", "labels", name), one) for name, one in match.labels.items()
    ]
    words += [(("match", "service"), match.service), (("match", "source"), match.source)]
    for where, one in words:
        if one is not None and not one.one_of and one.regex is None:
            yield where, "nothing fits this", 'write a value, a list of values, or {regex: "…"}'
    value = rule.value
    if value is not None:
        lows = [Decimal(one) for one in (value.above, value.at_least) if one is not None]
        highs = [Decimal(one) for one in (value.below, value.at_most) if one is not None]
        if not lows and not highs:
            yield ("value",), "says no number", "write above, at_least, below or at_most"
        elif lows and highs and max(lows) > min(highs):
            yield ("value",), f"no number is above {max(lows)} and below {min(highs)}", ""
