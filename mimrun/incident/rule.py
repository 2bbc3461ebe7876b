"""Rules: which alerts ask for something, how long and how often they must come, and what is to be done then.

Deciding is pure: a rule takes an alert and says whether it heeds it, and which group the alert belongs to. What an
alert says is data. It is compared with what the rule says, and may become the value of an input, which the runbook's
own types check; it is never a template, a pattern, or the name of anything.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import BeforeValidator, Field, JsonValue

from mimrun.incident.alert import Alert, Auth, Severity
from mimrun.log.kinds import AlertReceived, Grade
from mimrun.runbook.bounds import ExpressionError
from mimrun.runbook.duration import Duration
from mimrun.runbook.model import Identifier, Part, Slug, Title
from mimrun.runbook.regex import compile_pattern, fits

Action: TypeAlias = Literal["notify", "propose", "launch"]
"""What a rule is for: people are told; a plan waits for one of them; or a plan is executed."""
Concurrency: TypeAlias = Literal["queue", "skip"]
"""What becomes of an episode while a run of the rule is under way: it waits for its end, or is left to people."""
Facet: TypeAlias = Annotated[str, Field(min_length=1, max_length=200)]
"""The name of a label; or `alert.service`, `alert.source`, `alert.fingerprint`, which are no labels."""

FIELDS: Final = ("source", "service", "fingerprint")
"""What of an alert itself can be grouped by, with `alert.` in front."""
ALL: Final = "all"
"""The one group of a rule that groups by nothing."""
TRUSTED: Final[Mapping[Auth, int]] = {"none": 0, "person": 1, "token": 2, "signature": 3}
"""How well it is known who sent an alert, the best last."""
GROUP_LENGTH: Final = 200
_NUMBER_LENGTH: Final = 40
_ENDLESS: Final = {"+Inf": Decimal("Infinity"), "-Inf": Decimal("-Infinity")}
"""What is more, or less, than every number, as Prometheus and Grafana write it."""
_PLAIN: Final = frozenset("._:/@%+~-")
_AS_BAD: Final = frozenset({"high", "critical"})
"""An alert that does not say how bad it is, is as bad as these."""


def read_number(text: str) -> Decimal | None:
    """Read a number as a monitoring system writes it; None where it is none, or not a finite one."""
    given = text.strip()
    if len(given) > _NUMBER_LENGTH or not fits(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d{1,3})?", given):
        return None
    return Decimal(given)


def read_measure(text: str) -> Decimal | None:
    """Read what was measured: a number, or what is beyond every number; None where it is neither."""
    return _ENDLESS.get(text.strip()) or read_number(text)


def _number(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str) and read_number(value) is None:
        raise ValueError(f'{value!r} is no number; write one, such as 5 or "0.95"')
    return value


Number: TypeAlias = Annotated[
    str,
    BeforeValidator(_number),
    Field(json_schema_extra={"type": ["string", "integer"], "examples": [5, "0.95"]}),
]
"""A decimal number, written in quotes where it has a fraction. It is compared exactly."""


def _several(value: object) -> object:
    """Read a list, or one of what may stand in it; strictly, what was read before is no list any more."""
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


def _words(value: object) -> object:
    """Read what words may be: one, several, or a pattern."""
    if isinstance(value, str | list):
        return {"one_of": _several(value)}
    return value


def _pattern(value: object) -> object:
    if isinstance(value, str):
        try:
            compile_pattern(value)
        except ExpressionError as exc:
            raise ValueError(exc.message) from exc
    return value


class Words(Part):
    """Which texts fit: those that are listed, and those that a pattern fits from beginning to end."""

    one_of: Annotated[tuple[str, ...], BeforeValidator(_several)] = Field(
        (), max_length=200, description="Exactly one of these."
    )
    regex: Annotated[str | None, BeforeValidator(_pattern)] = Field(
        None, description="A regular expression (RE2) for the whole text."
    )

    def fit(self, text: str) -> bool:
        """Say whether a text fits."""
        return text in self.one_of or (self.regex is not None and fits(self.regex, text))


OneOf: TypeAlias = Annotated[Words, BeforeValidator(_words)]


class Match(Part):
    """Which alerts a rule heeds: those that all of this fits."""

    labels: dict[Facet, OneOf] = Field({}, description="By name: one value, a list of values, or `regex`.")
    severity: Annotated[tuple[Severity, ...], BeforeValidator(_several)] = Field(
        (), description="How bad it is; an alert that does not say it counts as high and as critical."
    )
    service: OneOf | None = Field(None, description="What is affected: one value, a list, or `regex`.")
    source: OneOf | None = Field(None, description="A source of alerts.yaml, or several.")
    status: Literal["firing", "info"] = Field(
        "firing", description="info: what only tells something, and is never resolved; it launches nothing."
    )
    auth: Auth = Field(
        "none", description="How well it must be known who sent it: none, person, token, signature."
    )


class Threshold(Part):
    """What was measured must lie here; a value that is no number does not."""

    above: Number | None = Field(None, description="More than this.")
    at_least: Number | None = Field(None, description="This, or more.")
    below: Number | None = Field(None, description="Less than this.")
    at_most: Number | None = Field(None, description="This, or less.")

    def holds(self, value: str) -> bool:
        """Say whether a value, as the alert has it, lies here."""
        number = read_measure(value)
        return number is not None and all(
            (
                self.above is None or number > Decimal(self.above),
                self.at_least is None or number >= Decimal(self.at_least),
                self.below is None or number < Decimal(self.below),
                self.at_most is None or number <= Decimal(self.at_most),
            )
        )


class Count(Part):
    """So many alerts must come, within so long."""

    at_least: int = Field(ge=2, le=10_000, description="So many.")
    within: Duration = Field(gt=0, description="In a time of this length.")
    distinct_by: tuple[Facet, ...] = Field(
        (), description="Alerts count once for each value of these labels; without it each one counts."
    )


class Given(Part):
    """Where an input comes from: a label of the alert, or a value that the rule writes itself."""

    label: Facet | None = Field(None, description="The label that has the value; the rule must group by it.")
    value: JsonValue = Field(None, description="The value.")


def _given(value: object) -> object:
    return value if isinstance(value, dict) else {"value": value}


class Opens(Part):
    """The incident that a rule opens, unless one of the same group is open."""

    title: Title | None = Field(None, description="What it is called; as the rule where left out.")
    impact: Grade = Field("unknown", description="How much is affected: high, medium, low or unknown.")
    urgency: Grade = Field("unknown", description="How soon it must be mended: high, medium, low or unknown.")
    services: tuple[str, ...] = Field((), max_length=50, description="Names of the services affected.")
    flags: tuple[str, ...] = Field((), max_length=20, description="What else is known of it.")


class Rule(Part):
    """One rule of a file in `rules/`.

    Arguments:
        for_: how long it must go on, in milliseconds, as the other times here.
    """

    name: Slug = Field(description="How it is called; no two rules have the same name.")
    title: Title = Field(description="What it is about, in a line.")
    enabled: bool = Field(True, description="false: it heeds nothing.")
    match: Match = Field(Match(), description="Which alerts it heeds; all of this must fit.")
    value: Threshold | None = Field(None, description="What the alert's value must be.")
    for_: Duration = Field(0, alias="for", description="So long it must go on without a break.")
    count: Count | None = Field(None, description="So many alerts must come, within so long.")
    group_by: tuple[Facet, ...] = Field(
        (), max_length=10, description="Labels; alerts with the same values are one episode."
    )
    ends_after: Duration = Field(
        24 * 3_600_000,
        gt=0,
        description="An alert that nobody resolves counts as over when it has not come for so long.",
    )
    cool_down: Duration | None = Field(
        None,
        description="So long after an episode the next one of the group waits; the limits' where left out.",
    )
    concurrency: Concurrency = Field(
        "queue", description="While a run of the group or of a resource is under way: queue or skip."
    )
    action: Action = Field(description="notify, propose or launch.")
    runbook: str = Field("", max_length=200, description="A runbook's name, or name@version.")
    inputs: dict[Identifier, Annotated[Given, BeforeValidator(_given)]] = Field(
        {}, description="By name: a value, or {label: NAME}."
    )
    inventory: tuple[str, ...] = Field(
        (), max_length=10, description="Inventories, by their path from mimrun's home; else the usual one."
    )
    expires: Duration = Field(3_600_000, gt=0, description="How long what it proposes can be taken.")
    incident: Opens | None = Field(None, description="The incident that it opens.")

    def may_heed(self, said: AlertReceived | Alert) -> bool:
        """Say whether it may heed an alert, by what stands in the log's entry; its labels have the last word."""
        match = self.match
        if not self.enabled or said.status != match.status or TRUSTED[said.auth] < TRUSTED[match.auth]:
            return False
        bad = said.severity in match.severity or (
            said.severity == "unknown" and not _AS_BAD.isdisjoint(match.severity)
        )
        return (
            (bad or not match.severity)
            and (match.service is None or match.service.fit(said.service))
            and (match.source is None or match.source.fit(said.source))
        )

    def heeds(self, alert: Alert) -> bool:
        """Say whether it heeds an alert that `may_heed` lets through: labels and value."""
        labels = self.match.labels
        if not all(words.fit(alert.labels.get(name, "")) for name, words in labels.items()):
            return False
        return self.value is None or self.value.holds(alert.value)

    def facets(self, alert: Alert) -> dict[str, str]:
        """Give what an alert says of everything that the rule groups by."""
        return {name: facet_of(alert, name) for name in self.group_by}

    @property
    def opens(self) -> Opens | None:
        """The incident that it opens; None where it only tells people and names none."""
        return Opens() if self.incident is None and self.action != "notify" else self.incident


def facet_of(alert: Alert, name: str) -> str:
    """Give what an alert says of one thing; "" where it says nothing of it."""
    field = name.removeprefix("alert.")
    if field != name and field in FIELDS:
        found: str = getattr(alert, field)
        return found
    return alert.labels.get(name, "")


def group_name(facets: Mapping[str, str]) -> str:
    """Name a group by what its alerts have in common: `cluster=orders, env=prod`. No two groups have one name.

    Whatever could be taken for a part of the name, or hide in it, is written as JSON has it.
    """
    name = ", ".join(f"{_quoted(key)}={_quoted(value)}" for key, value in facets.items()) or ALL
    if len(name) <= GROUP_LENGTH:
        return name
    mark = hashlib.sha256(name.encode()).hexdigest()[:24]
    return f"{name[: GROUP_LENGTH - len(mark) - 2]}… {mark}"


def _quoted(text: str) -> str:
    plain = bool(text) and all(char.isalnum() or char in _PLAIN for char in text)
    return text if plain else json.dumps(text)
