"""Rules by the command line, with a real worker: from an alert to a run, a proposal, a storm, and back."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from builders.commands import Desk, Running, until
from builders.rules import READING, WRITING

from mimrun.app.alert.intake import Intake
from mimrun.app.home import open_home
from mimrun.log.moment import utc_now
from mimrun.settings import Settings

TOKEN = "a-token-for-tests-0123456789"
RULES = """\
rules:
  - name: cluster-down
    title: A cluster is down
    match: {{labels: {{alertname: Down}}, auth: {auth}}}
    group_by: [cluster]
    cool_down: 0s
    action: {action}
    runbook: {runbook}
    inputs: {{cluster: {{label: cluster}}}}
    incident: {{impact: high, urgency: high}}
"""


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = Desk(tmp_path)
    desk.write("look@1.0.0.yaml", READING.format(name="look", version="1.0.0", more=""))
    desk.write("write@1.0.0.yaml", WRITING.format(name="write", version="1.0.0", risk="low", more=""))
    token = desk.home / "prom.token"
    token.write_text(f"{TOKEN}\n")
    token.chmod(0o600)
    source = f"{{kind: alertmanager, token: 'file:{token}', may_launch: true}}"
    (desk.home / "alerts.yaml").write_text(f"sources: {{prom: {source}}}\n")
    (desk.home / "rules").mkdir()
    return desk


def rules(desk: Desk, *, action: str = "launch", runbook: str = "look", auth: str = "token") -> None:
    draft = desk.home / "draft.yaml"
    draft.write_text(RULES.format(action=action, runbook=runbook, auth=auth))
    draft.replace(desk.home / "rules" / "test.yaml")


def body(cluster: str = "orders", status: str = "firing", at: str = "2026-11-22T02:00:00Z") -> bytes:
    alert = {
        "status": status,
        "labels": {"alertname": "Down", "cluster": cluster, "severity": "critical"},
        "annotations": {"summary": f"{cluster} is down"},
        "startsAt": at,
        "endsAt": "2026-11-22T03:00:00Z" if status == "resolved" else "0001-01-01T00:00:00Z",
        "generatorURL": "",
        "fingerprint": f"fp-{cluster}",
    }
    return json.dumps({"version": "4", "groupKey": "g", "alerts": [alert]}).encode()


def receive(desk: Desk, *bodies: bytes) -> None:
    """Take alerts in, as the server does."""
    headers = {"content-type": "application/json", "authorization": f"Bearer {TOKEN}"}
    with open_home(Settings(home=desk.home)) as home:
        intake = Intake(home)
        for one in bodies:
            intake.receive("alertmanager", one, headers, utc_now(), source="prom")


def entries(desk: Desk) -> list[dict[str, Any]]:
    return [json.loads(line) for line in desk("log", "show", "--json").out.splitlines()]


def begin_worker(desk: Desk) -> Running:
    worker = desk.begin("worker", "--json")
    log = desk.home / "program.log"
    until(lambda: log.exists() and f'"pid": {worker.pid}' in log.read_text())
    return worker


def stop(worker: Running) -> None:
    worker.signal(signal.SIGTERM)
    said = worker.wait()
    assert (said.code, said.err) == (0, "")


def test_an_alert_is_heeded_at_once_and_its_run_is_executed_by_the_worker(desk: Desk) -> None:
    rules(desk)
    worker = begin_worker(desk)
    try:
        receive(desk, body("first"))
        until(lambda: desk("runs", "--json").json, "a run of the first alert")
        receive(desk, body("second"))
        until(lambda: [run["status"] for run in desk("runs", "--json").json] == ["succeeded"] * 2)
    finally:
        stop(worker)
    found = entries(desk)
    (alert,) = [e for e in found if e["kind"] == "alert.received" and "second" in e["body"]["title"]]
    (fired,) = [e for e in found if e["kind"] == "rule.fired" and e["body"]["group"] == "cluster=second"]
    (started,) = [e for e in found if e["kind"] == "run.started" and e["run"] == fired["run"]]
    assert seconds(alert, fired) < 1.0, "much less on a machine that does nothing else"
    assert seconds(fired, started) < 2.0
    (run, _) = desk("runs", "--json").json
    assert (run["launched_by"], run["mode"]) == ("rule:cluster-down", "direct")
    shown = desk("incident", "show", run["incident"], "--json").json
    assert shown["title"] == "A cluster is down (cluster=second)"


def seconds(first: dict[str, Any], second: dict[str, Any]) -> float:
    def read(entry: dict[str, Any]) -> float:
        clock = entry["ts"][11:-1]
        hours, minutes, rest = clock.split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(rest)

    return (read(second) - read(first)) % 86_400


def test_a_proposal_is_shown_taken_and_followed(desk: Desk) -> None:
    rules(desk, action="propose", runbook="write")
    receive(desk, body())
    assert desk("worker", "--once").code == 0
    listed = desk("proposal", "list")
    assert "write@1.0.0" in listed.out
    assert "cluster=orders" in listed.out
    (view,) = desk("proposal", "list", "--json").json
    shown = desk("proposal", "show", view["proposal"])
    assert "the rule cluster-down proposes it for cluster=orders" in shown.out
    assert ">> marks" in shown.out
    assert view["digest"].removeprefix("sha256:")[:10] in shown.out
    assert desk("proposal", "show", view["proposal"], "--json").json["plan"]["inputs"] == {
        "cluster": "orders"
    }
    next_in_incident = f"next: mimrun proposal take {view['proposal']}   (the rule cluster-down proposes it for cluster=orders:"
    assert next_in_incident in desk("incident", "show", "latest").out
    unasked = desk("proposal", "take", view["proposal"], "--direct")
    assert (unasked.code, desk.marks()) == (2, [])
    taken = desk("proposal", "take", view["proposal"], "--direct", "--yes")
    assert taken.code == 0, taken.err
    assert desk.marks() == ["orders"]
    assert desk.status()["launched_by"] == "responder"
    assert desk.status()["incident"] == view["incident"]
    again = desk("proposal", "take", view["proposal"], "--direct", "--yes")
    assert again.code == 5
    assert "responder took" in again.err
    assert ">> marks" not in again.out, (
        "nobody reads a plan, and says yes to it, that cannot be launched any more"
    )
    assert desk("proposal", "list").out == "nothing is proposed\n"
    assert "taken" in desk("proposal", "list", "--all").out


def test_a_proposal_is_dismissed_with_a_reason(desk: Desk) -> None:
    rules(desk, action="propose", runbook="write")
    receive(desk, body())
    desk("worker", "--once")
    refused = desk("proposal", "dismiss", "latest")
    assert refused.code == 2
    assert "say why it is not launched, with --reason" in refused.err
    assert desk("proposal", "dismiss", "latest", "--reason", "a drill").code == 0
    assert desk("proposal", "take", "latest", "--yes").code == 5
    assert desk.marks() == []


def test_what_a_person_hands_in_launches_nothing(desk: Desk) -> None:
    rules(desk, auth="none")
    desk.write("alert.json", body().decode())
    assert desk("alert", "send", "alert.json", "--kind", "alertmanager").code == 0
    desk("worker", "--once")
    assert desk("runs", "--json").json == []
    (view,) = desk("proposal", "list", "--json").json
    assert view["reason"] == "nobody has proven that prom sent it (person)"


def test_a_pre_approved_change_is_launched_and_done_once(desk: Desk) -> None:
    rules(desk, runbook="write")
    added = desk(
        "change", "standard", "add", "write", "--hosts", "all", "--until", "+30d", "--reason", "weekly"
    )
    assert added.code == 0, added.err
    assert desk("change", "approve", "CHG-1", "--as", "alex").code == 0
    receive(desk, body(), body(), body(status="resolved"), body(at="2026-11-22T02:30:00Z"))
    for _ in range(3):
        desk("worker", "--once")
    assert desk.marks() == ["orders"]
    (run,) = desk("runs", "--json").json
    assert (run["status"], run["launched_by"]) == ("succeeded", "rule:cluster-down")


def test_rules_are_listed_shown_and_checked(desk: Desk) -> None:
    assert desk("rule", "list").out.startswith("no rule is in force")
    rules(desk)
    assert desk("rule", "lint").out == "the rules are in order\n"
    receive(desk, body())
    desk("worker", "--once")
    listed = desk("rule", "list")
    assert "cluster-down  launch  look     1 burning  launched" in " ".join(listed.out.split("\n")).replace(
        "\t", " "
    )
    shown = desk("rule", "show", "cluster-down")
    assert "alertname is Down; sent with at least a token" in shown.out
    assert "launched  cluster=orders  (goes on)" in shown.out
    (rule,) = desk("rule", "list", "--json").json["rules"]
    assert rule["episodes"][0]["outcome"] == "launched"
    (desk.home / "rules" / "test.yaml").write_text("rules:\n  - {name: x, title: X, action: lunch}\n")
    broken = desk("rule", "lint")
    assert broken.code == 2
    assert "test.yaml:2:33: action: 'lunch' is not one of" in broken.out
    assert json.loads(desk("rule", "lint", "--json").out)[0]["line"] == 2
    listed = desk("rule", "list")
    assert listed.out.startswith("refused: ")
    assert "cluster-down" in listed.out, "what was good last stays in force"
    assert "rules" in desk("doctor").out


def test_rules_are_tried_on_the_past_and_launch_nothing(desk: Desk) -> None:
    rules(desk)
    lines = [body(), body(), body("Bad Name"), body(status="resolved")]
    desk.write("alerts.jsonl", "\n".join(line.decode() for line in lines))
    size = desk.size()
    said = desk("rule", "test", "--against", "alerts.jsonl")
    assert said.code == 0, said.err
    assert "launched  cluster-down  cluster=orders  alerts 1" in said.out
    assert "cluster: 'Bad Name' does not fit the pattern" in said.out
    assert "its alerts were resolved" in said.out
    assert said.out.splitlines()[-1] == "1 launched, 1 failed"
    found = desk("rule", "test", "--against", "alerts.jsonl", "--json").json
    first = found[0]
    assert (first["what"], first["group"], first["inputs"]) == (
        "launched",
        "cluster=orders",
        {"cluster": "orders"},
    )
    assert (desk.size(), desk("runs", "--json").json) == (size, [])
    # What the log has can be tried, and what a list of it says, with the labels that the log has.
    receive(desk, body())
    assert "1 launched" in desk("rule", "test").out
    listed = desk("alert", "list", "--json").json
    assert "1 launched" in desk("rule", "test", "--against", "-", stdin=json.dumps(listed)).out
    shown = desk("alert", "show", str(listed[0]["seq"]), "--json").out
    assert "1 launched" in desk("rule", "test", "--against", "-", stdin=shown).out
    other = RULES.format(action="notify", runbook="look", auth="token")
    other = other.replace("    runbook: look\n    inputs: {cluster: {label: cluster}}\n", "")
    desk.write("draft.yaml", other)
    assert "1 notified" in desk("rule", "test", "draft.yaml").out
    for words, text in [
        ("not json\n", "alerts.jsonl:1: is not JSON"),
        ('{"a": 1}\n', "nobody knows what it is"),
    ]:
        desk.write("alerts.jsonl", words)
        wrong = desk("rule", "test", "--against", "alerts.jsonl")
        assert wrong.code == 2
        assert text in wrong.err


def test_alerts_that_were_listed_say_the_same_where_another_log_is(desk: Desk) -> None:
    rules(desk)
    receive(desk, body())
    listed = desk("alert", "list", "--json").json
    for kept in listed:
        kept["seq"] += 1000  # as it is on any machine that has not this log
    assert "1 launched" in desk("rule", "test", "--against", "-", stdin=json.dumps(listed)).out
    for kept in listed:
        del kept["labels"]
    wrong = desk("rule", "test", "--against", "-", stdin=json.dumps(listed))
    assert wrong.code == 2
    assert "it has no labels, nor has this log; `mimrun alert list --json` prints them" in wrong.err


def test_a_storm_is_shown_and_ended_by_somebody_who_may(desk: Desk) -> None:
    rules(desk)
    receive(desk, *[body(f"c{number}") for number in range(7)])
    desk("worker", "--once")
    listed = desk("rule", "list")
    assert "STORM since" in listed.out
    assert "3 runs of look were launched within the hour; 3 may be" in listed.out
    storm = desk("rule", "list", "--json").json["storm"]
    assert len(desk("proposal", "list", "--json").json) == 4
    shown = desk("incident", "show", storm["incident"]).out
    assert shown.count("next: mimrun proposal take") == 3
    assert "next: mimrun proposal list   (1 more of this incident)" in shown
    assert desk("rule", "resume").code == 2
    ended = desk("rule", "resume", "--reason", "the network is back")
    assert ended.code == 0, ended.err
    assert storm["incident"] in ended.out
    assert desk("rule", "resume", "--reason", "again").code == 5
    receive(desk, body("c9"))
    desk("worker", "--once")
    assert desk("runs", "--json").json[0]["launched_by"] == "rule:cluster-down"
    assert len(desk("runs", "--json").json) == 4


def test_while_the_kill_switch_is_pulled_nothing_fires(desk: Desk) -> None:
    rules(desk)
    desk("kill-switch", "pull", "--reason", "stop")
    receive(desk, body(), body("billing"))
    worker = begin_worker(desk)
    try:
        until(lambda: sum(e["kind"] == "rule.fired" for e in entries(desk)) == 2)
        assert {e["body"]["outcome"] for e in entries(desk) if e["kind"] == "rule.fired"} == {"held"}
        receive(desk, body("billing", "resolved"))
        until(lambda: any(e["kind"] == "rule.ended" for e in entries(desk)))
        desk("kill-switch", "lift", "--reason", "go on")
        desk("kill-switch", "lift", "--reason", "go on", "--as", "alex")
        until(lambda: [run["status"] for run in desk("runs", "--json").json] == ["succeeded"])
        time.sleep(0.5)
    finally:
        stop(worker)
    fired = [e["body"] for e in entries(desk) if e["kind"] == "rule.fired"]
    assert [(body["group"], body["outcome"]) for body in fired[2:]] == [("cluster=orders", "launched")]
