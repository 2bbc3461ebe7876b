"""Rules over every store: whoever heeds the same alerts, each episode has one run, and the states can be folded anew."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from builders.log_places import Place
from builders.rules import Alarm, an_alert, count, episodes, firings, outcomes, send
from builders.runs import Bench

from mimrun.app.home import PROJECTORS, Home
from mimrun.app.rule.heeding import Heeding
from mimrun.app.rule.proposals import list_proposals
from mimrun.app.runs import list_runs
from mimrun.catalog import installed_catalog
from mimrun.log.kinds import Kind
from mimrun.log.proof.verify import verify

HOSTILE = ["orders", "a,b=c", 'x"; drop table entry', "nul \x00 in it", "\u202egnp", "ü" * 300, ""]


@pytest.fixture
def alarm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Alarm:
    alarm = Alarm(Bench(tmp_path))
    monkeypatch.setenv("MIMRUN_RUNBOOKS", str(alarm.library))
    alarm.rules("limits: {runs_per_hour: 100, runs_per_runbook: 100}\n", "limits.yaml")
    return alarm


def test_whatever_a_group_is_called_it_has_a_state_of_its_own(place: Place, alarm: Alarm) -> None:
    alarm.rule(action="notify", runbook="", inputs="")
    store = place.open(projectors=PROJECTORS)
    try:
        home = Home(alarm.settings, store, installed_catalog())
        for number, text in enumerate(HOSTILE):
            send(home, an_alert(str(number), labels={"alertname": "Down", "cluster": text}))
        heeding = Heeding(home)
        heeding.look()
        assert len(firings(home)) == len(episodes(home)) == len(HOSTILE)
        for number, text in enumerate(HOSTILE):
            send(home, an_alert(str(number), "resolved", labels={"alertname": "Down", "cluster": text}))
        heeding.look()
        assert count(home, Kind.RULE_ENDED) == len(HOSTILE)
        assert store.rebuild()
        assert verify(store).ok
    finally:
        store.close()


def test_of_several_who_heed_each_episode_has_one_run(place: Place, alarm: Alarm) -> None:
    alarm.rule()
    names = [f"c{number}" for number in range(6)]
    first = place.open(projectors=PROJECTORS)
    stores = [place.open(projectors=PROJECTORS) for _ in range(2)]
    try:
        home = Home(alarm.settings, first, installed_catalog())
        for name in names:
            labels = {"alertname": "Down", "cluster": name}
            send(home, an_alert(name, labels=labels), an_alert(f"{name}-b", labels=labels))
        threads = [
            threading.Thread(target=Heeding(Home(alarm.settings, store, installed_catalog())).look)
            for store in stores
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        Heeding(home).look()
        assert sorted(outcomes(home)) == [(f"cluster={name}", "launched") for name in names]
        assert len(list_runs(home)) == len(names)
        assert not list_proposals(home)
        assert first.rebuild()
    finally:
        for store in (*stores, first):
            store.close()
