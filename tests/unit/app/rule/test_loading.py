"""Which rules are in force: the good ones, also while a file is broken, in every process, and loudly."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from builders.rules import Alarm, an_alert, count, firings, outcomes, send
from builders.runs import RESPONDER

from mimrun.app.doctor_rules import examine_rules
from mimrun.app.home import Home
from mimrun.app.notice.event import NoticeEvent, notice_of
from mimrun.app.rule.heeding import Heeding
from mimrun.app.rule.linting import lint_files, lint_home
from mimrun.app.rule.loading import RulesReader
from mimrun.app.rule.timer import say_refused
from mimrun.app.rule.view import find_rule, list_rules
from mimrun.app.rules import list_versions, note_rules
from mimrun.errors import InputError
from mimrun.log.kinds import Kind

BROKEN = "rules:\n  - {name: down, title: It is down, action: notfy}\n"


def names(home: Home) -> list[str]:
    """Give what a process finds that begins now."""
    reader = RulesReader(home)
    reader.changed()
    return [rule.name for rule in reader.now.rules]


def open_files() -> int:
    """Count the files that this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def settle(reader: RulesReader) -> bool:
    """Look until a file that was just written counts as written."""
    reader.changed()
    return reader.changed()


def test_a_broken_file_leaves_in_force_what_was_good_of_it(alarm: Alarm) -> None:
    alarm.rule(name="one")
    alarm.rule(name="two", file="other.yaml")
    with alarm.home() as home:
        reader = RulesReader(home)
        assert reader.changed()
        alarm.rules(BROKEN)
        assert settle(reader)
        assert sorted(rule.name for rule in reader.now.rules) == ["one", "two"]
        assert reader.now.behind == ("rules/test.yaml",)
        assert "'notfy' is not one of 'notify', 'propose' or 'launch'" in str(reader.now.problems[0])
        # Also a process that begins while the file is broken has it from the log.
        assert sorted(names(home)) == ["one", "two"]
        alarm.rule(name="three")
        assert settle(reader)
        assert sorted(rule.name for rule in reader.now.rules) == ["three", "two"]
        assert not reader.now.problems


@pytest.mark.parametrize("name", [b"\xff\xfe.yaml", b"a\nb.yaml", b"x" * 220 + b".yaml", b"folder.yaml/"])
def test_what_cannot_be_a_file_of_rules_is_refused_and_silences_no_other(alarm: Alarm, name: bytes) -> None:
    alarm.rule()
    path = os.path.join(os.fsencode(alarm.settings.rules), name)  # noqa: PTH118 - no name that Path would take
    if name.endswith(b"/"):
        os.mkdir(path)  # noqa: PTH102 - likewise
    else:
        with open(path, "w") as file:  # noqa: PTH123 - likewise
            file.write((alarm.settings.rules / "test.yaml").read_text().replace("down", "other"))
    before = open_files()
    with alarm.home() as home:
        send(home, an_alert())
        heeding = Heeding(home)
        heeding.look()
        assert outcomes(home) == [("cluster=orders", "launched")]
        say_refused(home, heeding.rules)
        assert count(home, Kind.GUARD_TRIPPED) == 1
        assert len(lint_home(alarm.settings)) >= 1
        note_rules(home, RESPONDER.actor())
        assert names(home) == ["down"]
    assert open_files() == before


def test_limits_that_nobody_could_ever_read_let_nothing_be_launched(alarm: Alarm) -> None:
    alarm.rule()
    alarm.rules("limits: {runs_per_hour: O}\n", "limits.yaml")
    with alarm.home() as home:
        send(home, an_alert("1"))
        Heeding(home).look()
        alarm.rules("limits: {runs_per_hour: 5}\n", "limits.yaml")
        send(home, an_alert("2", labels={"alertname": "Down", "cluster": "billing"}))
        Heeding(home).look()
        alarm.rules("limits: {runs_per_hour: O}\n", "limits.yaml")
        send(home, an_alert("3", labels={"alertname": "Down", "cluster": "search"}))
        Heeding(home).look()
        assert [fired.outcome for fired in firings(home)] == ["proposed", "launched", "launched"]
        assert "limits.yaml cannot be read" in firings(home)[0].reason


def test_what_was_never_good_is_never_in_force_even_if_somebody_recorded_it(alarm: Alarm) -> None:
    alarm.rule(name="one", runbook="lokk")
    with alarm.home() as home:
        # Whoever decides about something puts on record what the files said then, good or not.
        note_rules(home, RESPONDER.actor())
        assert names(home) == []
        assert [version.file for version in list_versions(home)] == ["people", "alerts", "rules/test.yaml"]


def test_a_rule_whose_runbook_is_gone_stays_and_fails_when_it_fires(alarm: Alarm) -> None:
    alarm.rule()
    with alarm.home() as home:
        assert names(home) == ["down"]
        (alarm.library / "look@1.0.0.yaml").unlink()
        heeding = Heeding(home)
        send(home, an_alert())
        heeding.look()
        assert [(fired.outcome, fired.reason) for fired in firings(home)] == [
            ("failed", "no runbook 'look'; the library is empty")
        ]
        assert heeding.rules.behind == ("rules/test.yaml",)


def test_a_file_that_is_taken_away_takes_its_rules_with_it(alarm: Alarm) -> None:
    path = alarm.rule(name="one")
    alarm.rule(name="two", file="other.yaml")
    with alarm.home() as home:
        assert sorted(names(home)) == ["one", "two"]
        path.unlink()
        assert names(home) == ["two"]


def test_one_name_counts_once_and_the_first_file_wins(alarm: Alarm) -> None:
    alarm.rule(name="one", file="a.yaml", title="first")
    alarm.rule(name="one", file="b.yaml", title="second")
    with alarm.home() as home:
        found = list_rules(home)
        assert [view.rule.title for view in found.rules] == ["first"]
        assert "there is a rule 'one' in a.yaml already" in str(found.now.problems[0])


def test_broken_limits_leave_in_force_what_was_good_of_them(alarm: Alarm) -> None:
    alarm.rules("limits: {runs_per_hour: 7}\n", "limits.yaml")
    with alarm.home() as home:
        reader = RulesReader(home)
        reader.changed()
        alarm.rules("limits: {runs_per_hour: many}\n", "limits.yaml")
        assert settle(reader)
        assert (reader.now.limits.runs_per_hour, reader.now.behind) == (7, ("rules/limits.yaml",))
        other = RulesReader(home)
        other.changed()
        assert other.now.limits.runs_per_hour == 7


def test_a_file_that_somebody_is_writing_is_left_alone_until_it_is_written(alarm: Alarm) -> None:
    alarm.rule(name="one")
    with alarm.home() as home:
        reader = RulesReader(home)
        reader.changed()
        path = alarm.settings.rules / "test.yaml"
        path.write_text("rules:\n")
        assert not reader.changed()
        path.write_text(path.read_text() + "  - {name: two, title: Two, action: notify}\n")
        assert not reader.changed()
        assert reader.changed()
        assert [rule.name for rule in reader.now.rules] == ["two"]


def test_it_is_said_loudly_and_once(alarm: Alarm) -> None:
    alarm.rule(name="one")
    with alarm.home() as home:
        reader = RulesReader(home)
        reader.changed()
        alarm.rules(BROKEN)
        settle(reader)
        for _ in range(3):
            say_refused(home, reader.now)
        assert count(home, Kind.GUARD_TRIPPED) == 1
        (entry,) = home.store.entries(kinds={Kind.GUARD_TRIPPED})
        notice = notice_of(entry)
        assert notice is not None
        assert notice.event is NoticeEvent.RULES_REFUSED
        assert notice.facts["reason"].startswith("rules/test.yaml: line 2, column")
        events = [json.loads(line)["event"] for line in alarm.settings.program_log.read_text().splitlines()]
        assert "rules_refused" in events
        checks = [check for check in examine_rules(alarm.settings) if check.name == "rules"]
        assert checks[0].ok is False
        assert "notfy" in checks[0].found
        # Mended and broken anew, it is said anew.
        alarm.rule(name="one", title="Mended")
        settle(reader)
        alarm.rules(BROKEN)
        settle(reader)
        say_refused(home, reader.now)
        assert count(home, Kind.GUARD_TRIPPED) == 2


def test_a_rule_that_is_added_heeds_what_burns_already_and_one_that_changes_does_nothing_twice(
    alarm: Alarm,
) -> None:
    with alarm.home() as home:
        heeding = Heeding(home)
        send(home, an_alert())
        assert heeding.look() == 0
        alarm.rule()
        reader = Heeding(home)
        assert reader.look() == 1
        alarm.rule(title="Another title")
        assert Heeding(home).look() == 0
        assert outcomes(home) == [("cluster=orders", "launched")]
        digests = {fired.rules for fired in firings(home)}
        assert digests <= {version.digest for version in list_versions(home, "rules/test.yaml")}


def test_looking_at_rules_records_nothing(alarm: Alarm) -> None:
    alarm.rule()
    with alarm.home() as home:
        size = home.store.head().size
        assert find_rule(home, "down").rule.name == "down"
        with pytest.raises(InputError, match="no rule 'dwn' is in force; did you mean 'down'"):
            find_rule(home, "dwn")
        assert home.store.head().size == size


@pytest.mark.parametrize(
    ("given", "level", "words"),
    [
        ({"runbook": "lokk"}, "error", "no runbook 'lokk'; did you mean 'look'?"),
        ({"runbook": "look@9.0.0"}, "error", "no version '9.0.0' of the runbook 'look'; there is 1.0.0"),
        (
            {"inputs": "{clustr: {label: cluster}}"},
            "error",
            "look has no input 'clustr'; did you mean 'cluster'?",
        ),
        ({"inputs": "{}"}, "error", "look needs the input 'cluster'"),
        ({"inputs": "{cluster: 5}"}, "error", "cluster: 5 must be a text"),
        ({"inputs": "{cluster: Orders}"}, "error", "'Orders' does not fit the pattern"),
        ({"inputs": "{cluster: {label: 5}}"}, "error", "label: 5 must be a text"),
        (
            {"inputs": "{cluster: {lable: cluster}}"},
            "error",
            "unknown key 'lable' in cluster; did you mean 'label'?",
        ),
        ({"group_by": "[]"}, "error", "alerts of one group may have different values of 'cluster'"),
        (
            {"match": "{labels: {cluster: [orders, Bad One]}}"},
            "error",
            "cluster may be 'Bad One', and 'Bad One' does not fit the pattern",
        ),
        ({"inventory": "[hosts.ini]"}, "error", "the inventory hosts.ini is not there"),
        ({"incident": "{flags: [nobody]}"}, "error", "there is no flag 'nobody'"),
        ({"match": "{source: proom}"}, "warning", "alerts.yaml has no source 'proom'; did you mean 'prom'?"),
        (
            {"match": "{source: quiet, auth: token}"},
            "warning",
            "quiet may not launch anything by alerts.yaml",
        ),
        ({}, "warning", "it heeds alerts of which nobody knows who sent them"),
    ],
)
def test_lint_finds_what_would_fail_with_its_place(
    alarm: Alarm, given: dict[str, str], level: str, words: str
) -> None:
    path = alarm.rule(**given)
    found = [one for one in lint_home(alarm.settings) if words in str(one)]
    assert found, [str(one) for one in lint_home(alarm.settings)]
    assert found[0].level == level
    assert found[0].problem.file == str(path)
    assert found[0].problem.line > 0
    assert [str(one) for one in lint_files(alarm.settings, [path])] == [
        str(one) for one in lint_home(alarm.settings)
    ]


def test_secrets_and_lists_do_not_come_from_labels(alarm: Alarm, tmp_path: Path) -> None:
    alarm.runbook(
        "look", version="2.0.0", more="  word: {type: secret}\n  names: {type: list, default: []}\n"
    )
    alarm.rule(inputs="{cluster: {label: cluster}, word: {label: cluster}, names: {label: cluster}}")
    said = [str(one) for one in lint_home(alarm.settings)]
    assert any(
        "word is a secret in look, and a label would let alerts choose which secret is read" in s
        for s in said
    )
    assert any("names is a list in look, and a label has one value" in s for s in said)


def test_an_input_that_anything_may_be_is_warned_of(alarm: Alarm) -> None:
    alarm.runbook("look", version="2.0.0", more="  note: {type: string}\n")
    alarm.rule(inputs="{cluster: {label: cluster}, note: {label: cluster}}")
    assert any("alerts may write anything into 'note'" in str(one) for one in lint_home(alarm.settings))
