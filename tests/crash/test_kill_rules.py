"""`kill -9` around every append of whoever heeds alerts, and in the middle of a flood: one run for each episode."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
from builders.commands import Desk, Running, until
from builders.crash import appends_until_death, the
from builders.rules import READING, WRITING, Alarm, an_alert, count, firings, outcomes, send
from builders.runs import Bench

from mimrun.app.alert.intake import Intake
from mimrun.app.home import open_home
from mimrun.app.incident.view import list_incidents
from mimrun.app.rule.heeding import Heeding
from mimrun.app.rule.proposals import list_proposals
from mimrun.app.runs import list_runs
from mimrun.log.kinds import Kind
from mimrun.log.moment import utc_now
from mimrun.log.proof.verify import verify
from mimrun.settings import Settings

MOST = 60
TOKEN = "a-token-for-tests-0123456789"
RULES = """\
rules:
  - name: look
    title: Look
    match: {labels: {alertname: Look}, auth: token}
    group_by: [cluster]
    action: launch
    runbook: look
    inputs: {cluster: {label: cluster}}
  - name: write
    title: Write
    match: {labels: {alertname: Write}}
    group_by: [cluster]
    action: propose
    runbook: write
    inputs: {cluster: {label: cluster}}
  - name: tell
    title: Tell
    match: {labels: {alertname: Look, cluster: a}}
    action: notify
"""


def heed(alarm: Alarm) -> None:
    with alarm.home() as home:
        Heeding(home).look()


def laid(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Alarm:
    """Give a home where two runs are to be launched, one begins a storm, one plan is proposed, and one is told."""
    folder.mkdir()
    alarm = Alarm(Bench(folder))
    monkeypatch.setenv("MIMRUN_RUNBOOKS", str(alarm.library))
    alarm.runbook("write", form=WRITING)
    alarm.rules(RULES)
    alarm.rules("limits: {runs_per_runbook: 2}\n", "limits.yaml")
    with alarm.home() as home:
        for name, cluster in (("Look", "a"), ("Look", "b"), ("Write", "a"), ("Look", "c")):
            labels = {"alertname": name, "cluster": cluster}
            send(home, an_alert(f"{name}{cluster}", labels=labels))
        send(home, an_alert("Writea", "resolved", labels={}))
        send(home, an_alert("Writea2", labels={"alertname": "Write", "cluster": "a"}))
    return alarm


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_kill_around_every_append_fires_each_episode_once(
    memory: Path, before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = 0
    for at in range(1, MOST):
        alarm = laid(memory / str(at), monkeypatch)
        made = appends_until_death(partial(heed, alarm), the(at), before=before)
        killed += made is None
        heed(alarm)
        with alarm.home() as home:
            assert Counter((f.rule, f.group, f.outcome) for f in firings(home)) == {
                ("look", "cluster=a", "launched"): 1,
                ("tell", "all", "notified"): 1,
                ("look", "cluster=b", "launched"): 1,
                ("look", "cluster=c", "proposed"): 1,
                ("write", "cluster=a", "proposed"): 1,
            }
            runs = list_runs(home)
            assert sorted(run.summary.launched_by for run in runs) == ["rule:look", "rule:look"]
            assert len({run.summary.incident for run in runs}) == 2
            assert len(list_proposals(home)) == 2
            assert count(home, Kind.STORM_BEGAN) == 1
            # One for each run and the storm; the plan was proposed before it, or as part of it.
            assert len([one for one in list_incidents(home) if not one.is_pack]) in (3, 4)
            assert verify(home.store).ok
        if made is not None:
            break
    assert killed >= 6


def deliveries(alerts: int, groups: int, seed: int = 7) -> Iterator[bytes]:
    """Give what Alertmanager sends in a flood: every fifth delivery is one that has come before."""
    sent: list[bytes] = []
    chance = random.Random(seed)
    for first in range(0, alerts, 50):
        if sent and first // 50 % 5 == 4:
            yield chance.choice(sent)
            continue
        several = [
            {
                "status": "firing",
                "labels": {
                    "alertname": "Down",
                    "cluster": f"c{number % groups}",
                    "instance": str(number),
                    "severity": "critical",
                },
                "annotations": {},
                "startsAt": "2026-11-22T02:00:00Z",
                "endsAt": "0001-01-01T00:00:00Z",
                "generatorURL": "",
                "fingerprint": f"{number:016x}",
            }
            for number in range(first, first + 50)
        ]
        sent.append(json.dumps({"version": "4", "groupKey": "g", "alerts": several}).encode())
        yield sent[-1]


class Flood:
    """A desk with rules, workers that are killed, and a flood of alerts.

    Arguments:
        folder: empty.
        rules: the file of rules.
        limits: how much they may do.
    """

    def __init__(self, folder: Path, rules: str, limits: str) -> None:
        self.desk = Desk(folder)
        self.settings = Settings(home=self.desk.home)
        token = self.desk.home / "prom.token"
        token.write_text(f"{TOKEN}\n")
        token.chmod(0o600)
        self.settings.alerts.write_text(
            f"sources: {{prom: {{kind: alertmanager, token: 'file:{token}', may_launch: true}}}}\n"
        )
        self.settings.rules.mkdir()
        (self.settings.rules / "test.yaml").write_text(rules)
        (self.settings.rules / "limits.yaml").write_text(limits)
        (folder / "look@1.0.0.yaml").write_text(READING.format(name="look", version="1.0.0", more=""))
        self.workers: list[Running] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end(signal.SIGKILL)

    def begin(self, workers: int) -> None:
        """Start workers."""
        self.workers += [self.desk.begin("worker", "--json") for _ in range(workers)]

    def end(self, number: int) -> None:
        """End all workers with a signal."""
        for worker in self.workers:
            worker.signal(number)
        for worker in self.workers:
            worker.wait()
        self.workers = []

    def pour(self, alerts: int, groups: int, *, kills: int, workers: int = 2) -> tuple[int, int]:
        """Let alerts come, and kill all workers so many times meanwhile; gives how many came, and how many came twice."""
        bodies = list(deliveries(alerts, groups))
        deaths = {len(bodies) * (number + 1) // (kills + 1) for number in range(kills)}
        accepted = duplicates = 0
        self.begin(workers)
        with open_home(self.settings) as home:
            intake = Intake(home)
            headers = {"content-type": "application/json", "authorization": f"Bearer {TOKEN}"}
            for number, body in enumerate(bodies):
                if number in deaths:
                    self.end(signal.SIGKILL)
                    self.begin(workers)
                received = intake.receive("alertmanager", body, headers, utc_now(), source="prom")
                accepted, duplicates = accepted + received.accepted, duplicates + received.duplicates
        return accepted, duplicates


def one_run_for_each(flood: Flood, alerts: int, groups: int, *, kills: int) -> None:
    """Pour, wait until everything is heeded, and see that each episode has exactly one run."""
    accepted, duplicates = flood.pour(alerts, groups, kills=kills)
    assert duplicates >= accepted // 5
    with open_home(flood.settings) as home:
        until(
            lambda: len({fired.group for fired in firings(home)}) == groups,
            "every group has fired",
            patience=300,
        )
        until(
            lambda: all(run.status == "succeeded" for run in list_runs(home)),
            "the runs are over",
            patience=300,
        )
        time.sleep(1.0)  # whoever would do something twice has the time to
    flood.end(signal.SIGTERM)
    with open_home(flood.settings) as home:
        assert Counter(outcomes(home)) == {(f"cluster=c{number}", "launched"): 1 for number in range(groups)}
        runs = list_runs(home)
        assert len(runs) == groups
        assert len({run.summary.incident for run in runs}) == groups
        assert count(home, Kind.ALERT_RECEIVED) == accepted
        assert verify(home.store).ok


LAUNCH = """\
rules:
  - name: down
    title: A cluster is down
    match: {labels: {alertname: Down}, auth: token}
    group_by: [cluster]
    action: launch
    runbook: look
    inputs: {cluster: {label: cluster}}
"""
EACH = LAUNCH.replace("group_by: [cluster]", "group_by: [cluster, instance]")
ROOMY = "limits: {runs_per_hour: 100, runs_per_runbook: 100}\n"


def test_in_a_flood_with_two_workers_that_are_killed_each_episode_has_one_run(memory: Path) -> None:
    with Flood(memory, LAUNCH, ROOMY) as flood:
        one_run_for_each(flood, 1000, 8, kills=2)


@pytest.mark.heavy
@pytest.mark.timeout(1800)
def test_twenty_thousand_alerts_with_two_restarts_give_one_run_for_each_episode(memory: Path) -> None:
    with Flood(memory, LAUNCH, ROOMY) as flood:
        one_run_for_each(flood, 20_000, 90, kills=2)


def a_storm(flood: Flood, alerts: int) -> None:
    """Pour alerts that are an episode each; what comes of it is bounded, and nothing is forgotten."""
    accepted, _ = flood.pour(alerts, 50, kills=2, workers=1)
    pid = flood.workers[0].pid
    with open_home(flood.settings) as home:
        until(lambda: count(home, Kind.RULE_FIRED) == accepted, "every episode is on record", patience=900)
        counts = Counter(fired.outcome for fired in firings(home))
        assert counts["launched"] == 3
        assert counts["proposed"] <= 10
        assert counts["held"] == accepted - counts["launched"] - counts["proposed"]
        assert count(home, Kind.STORM_BEGAN) == 1
        assert len(list_incidents(home)) == 4
        assert len({fired.episode for fired in firings(home)}) == accepted
    megabytes = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    assert megabytes < 400, f"{accepted} episodes in {megabytes:.0f} MB"


STORMY = "limits: {asks_per_hour: 10}\n"


def test_a_flood_of_episodes_is_one_storm_and_its_memory_is_bounded(memory: Path) -> None:
    with Flood(memory, EACH, STORMY) as flood:
        a_storm(flood, 500)


@pytest.mark.heavy
@pytest.mark.timeout(1800)
def test_twenty_thousand_episodes_are_one_storm(memory: Path) -> None:
    with Flood(memory, EACH, STORMY) as flood:
        a_storm(flood, 20_000)
