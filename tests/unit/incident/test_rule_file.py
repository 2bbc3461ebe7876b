from __future__ import annotations

from pathlib import Path

import pytest

from mimrun.errors import SettingsError
from mimrun.incident.rule import Rule
from mimrun.incident.rule_file import LIMITS_FILE, MOST, parse_limits, parse_rules, rule_files
from mimrun.incident.storm import Limits
from mimrun.runbook.document import read_document

GOOD = """\
rules:
  - name: orders-down
    title: Orders is down
    match:
      source: prom
      severity: [critical, high]
      service: {regex: "orders-.*"}
      auth: token
      labels: {alertname: Down, cluster: [orders, billing], instance: {regex: "db-[0-9]+"}}
    value: {at_least: 3, below: "9.5"}
    for: 2m
    count: {at_least: 3, within: 10m, distinct_by: [instance, alert.source]}
    group_by: [cluster, alert.service]
    ends_after: 6h
    cool_down: 1h
    concurrency: skip
    action: launch
    runbook: look@1.2.0
    inputs: {cluster: {label: cluster}, lag: 5, names: [a, b], on: true, service: {label: alert.service}}
    inventory: [inventory.yaml]
    expires: 30m
    incident: {title: Orders, impact: high, urgency: low, services: [orders], flags: [data]}
"""


def rules(text: str) -> tuple[Rule, ...]:
    return parse_rules(read_document(text, "r.yaml", error=SettingsError))


def refused(text: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        rules(text)
    return [str(problem) for problem in caught.value.problems]


def test_everything_that_a_rule_may_say_is_read() -> None:
    (rule,) = rules(GOOD)
    assert (rule.for_, rule.cool_down, rule.expires, rule.ends_after) == (
        120_000,
        3_600_000,
        1_800_000,
        21_600_000,
    )
    assert rule.match.labels["cluster"].one_of == ("orders", "billing")
    assert rule.inputs["names"].value == ["a", "b"]
    assert rule.opens is not None
    assert rule.opens.impact == "high"


@pytest.mark.parametrize(
    ("wrong", "right", "said"),
    [
        (
            "action: launch",
            "action: lunch",
            "r.yaml:17:13: action: 'lunch' is not one of 'notify', 'propose' or 'launch'; did you mean 'launch'?",
        ),
        ("for: 2m", "fro: 2m", "r.yaml:11:5: unknown key 'fro'; did you mean 'for'?"),
        ("for: 2m", "for: soon", "r.yaml:11:10: for: 'soon' is not a duration; write 30s, 5m or 1h30m"),
        ('below: "9.5"', "bellow: 9", "r.yaml:10:26: unknown key 'bellow' in value; did you mean 'below'?"),
        ('below: "9.5"', "below: 2", "r.yaml:10:12: no number is above 3 and below 2"),
        ("at_least: 3, within", "at_least: 1, within", "r.yaml:12:23: at_least: 1 must be at least 2"),
        (
            "concurrency: skip",
            "concurrency: replace",
            "r.yaml:16:18: concurrency: 'replace' is not one of 'queue' or 'skip'",
        ),
        (
            "auth: token",
            "auth: secret",
            "r.yaml:8:13: auth: 'secret' is not one of 'signature', 'token', 'person' or 'none'",
        ),
        (
            "alert.service]",
            "alert.servce]",
            "r.yaml:13:25: an alert has no field 'servce' that says which one it is; did you mean 'service'?",
        ),
        (
            "[cluster, alert.service]",
            "[cluster, cluster, alert.service]",
            "r.yaml:13:25: cluster is here twice",
        ),
        (
            '{regex: "orders-.*"}',
            '{regex: "(?=x)"}',
            "r.yaml:7:24: regex: the pattern '(?=x)' cannot be used: invalid perl operator: (?=",
        ),
        (
            '{regex: "orders-.*"}',
            "{}",
            'r.yaml:7:16: nothing fits this; write a value, a list of values, or {regex: "…"}',
        ),
        (
            "lag: 5",
            "lag: null",
            "r.yaml:19:46: lag: is neither a value nor a label; write {label: NAME}, or a value",
        ),
        (
            "impact: high",
            "impact: huge",
            "r.yaml:22:39: impact: 'huge' is not one of 'high', 'medium', 'low' or 'unknown'",
        ),
        (
            "name: orders-down",
            "name: Orders_Down",
            "r.yaml:2:11: name: 'Orders_Down' does not fit; write small letters, digits and single dashes, such as 'postgres-failover'",
        ),
        ("    action: launch\n", "", "r.yaml:2:5: the key 'action' is missing"),
        (
            "    runbook: look@1.2.0\n",
            "",
            "r.yaml:2:5: a rule that is to launch needs a runbook; write `runbook: NAME`",
        ),
        (
            "action: launch",
            "action: notify",
            "r.yaml:18:5: runbook: a rule that only notifies executes nothing; write `action: propose` or `action: launch`",
        ),
        ("rules:", "rulse:", "r.yaml:1:1: the key 'rules' is missing; the file has one key: `rules:`"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(wrong: str, right: str, said: str) -> None:
    assert wrong in GOOD
    assert said in refused(GOOD.replace(wrong, right, 1))


def test_everything_that_is_wrong_is_said_at_once() -> None:
    text = (
        GOOD.replace("action: launch", "action: lunch").replace("for: 2m", "for: soon")
        + "  - 5\n  - {name: x}\n"
    )
    said = refused(text)
    assert len(said) >= 5
    assert said == sorted(said, key=lambda line: int(line.split(":")[1]))


def test_a_rule_that_launches_does_not_heed_every_alert() -> None:
    text = "rules: [{name: a, title: A, action: launch, runbook: look, match: {severity: high}}]\n"
    assert "a rule that launches does not heed every alert there is" in refused(text)[0]


def test_what_only_tells_something_launches_nothing() -> None:
    said = refused(GOOD.replace("auth: token", "status: info", 1))
    assert "what only tells something launches nothing; write `action: propose`" in said[0]


def test_two_rules_of_one_name_are_refused() -> None:
    text = "rules:\n  - {name: a, title: A, action: notify}\n  - {name: a, title: B, action: notify}\n"
    assert refused(text) == ["r.yaml:3:12: there are two rules called 'a'"]


@pytest.mark.parametrize("text", ["", "[]", "rules: 5\n", "rules: {a: b}\n", "- rules\n"])
def test_what_is_no_file_of_rules_is_refused_in_words(text: str) -> None:
    assert refused(text)


def test_so_many_rules_one_file_may_have() -> None:
    text = "rules:\n" + "".join(f"  - {{name: r{n}, title: R, action: notify}}\n" for n in range(MOST + 1))
    assert f"has {MOST + 1} rules; {MOST} is the most in one file" in refused(text)[0]
    assert rules("rules: []\n") == ()


def test_limits_are_read_and_refused_like_rules() -> None:
    def limits(text: str) -> Limits:
        return parse_limits(read_document(text, "limits.yaml", error=SettingsError))

    assert limits("limits:\n") == Limits()
    assert limits("limits: {runs_per_hour: 5, cool_down: 1h}\n") == Limits(
        runs_per_hour=5,
        cool_down="1h",  # type: ignore[arg-type]  # as people write it
    )
    for text, said in [
        ("limits: {runs_an_hour: 5}\n", "unknown key 'runs_an_hour'; did you mean 'runs_per_hour'?"),
        ("limits: {runs_per_hour: 5000}\n", "5000 must be at most 100"),
        ("limits: {asks_per_hour: 0}\n", "0 must be at least 1"),
        ("limits: {cool_down: 3d}\n", "must be at most 86400000"),
        ("rules: []\n", "the key 'limits' is missing"),
    ]:
        with pytest.raises(SettingsError) as caught:
            limits(text)
        assert said in str(caught.value)


def test_files_are_those_with_rules_in_the_folder(tmp_path: Path) -> None:
    for name in ("b.yaml", "a.yml", ".hidden.yaml", "notes.txt", LIMITS_FILE):
        (tmp_path / name).touch()
    assert [path.name for path in rule_files(tmp_path)] == ["a.yml", "b.yaml"]
    assert rule_files(tmp_path / "gone") == []
