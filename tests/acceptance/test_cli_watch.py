"""`mimrun watch` in a process of its own: from a real Prometheus to a proposal, and back when it is over."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from builders.answering import Answer, answering
from builders.commands import Desk, Running, until
from builders.prometheus_api import prometheus_api
from builders.rules import READING

from mimrun.lab import loopback
from mimrun.lab.prometheus import find

WATCHES = """\
source: watch
watches:
  - {{name: queue, address: "{address}", query: queue_length, above: 5, clear: 3, every: 1s, severity: critical, title: A queue grows}}
"""
RULES = """\
rules:
  - name: queue-grows
    title: A queue grows
    match: {source: watch, auth: token, labels: {alertname: queue}}
    group_by: [cluster]
    action: launch
    runbook: look
    inputs: {cluster: {label: cluster}}
"""


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = Desk(tmp_path)
    desk.write("look@1.0.0.yaml", READING.format(name="look", version="1.0.0", more=""))
    token = desk.home / "watch.token"
    token.write_text("a-token-for-tests-0123456789\n")
    token.chmod(0o600)
    source = f"{{kind: alertmanager, token: 'file:{token}', may_launch: true}}"
    (desk.home / "alerts.yaml").write_text(f"sources: {{watch: {source}}}\n")
    (desk.home / "rules").mkdir()
    (desk.home / "rules" / "queue.yaml").write_text(RULES)
    return desk


@contextmanager
def watching(desk: Desk) -> Iterator[Running]:
    running = desk.begin("watch", "--json")
    try:
        yield running
    finally:
        running.signal(signal.SIGTERM)
        said = running.wait()
        assert (said.code, said.err) == (0, "")


def statuses(desk: Desk) -> list[str]:
    return [one["status"] for one in reversed(desk("alert", "list", "--json").json)]


def test_a_query_is_watched_and_launches_what_its_rule_says(desk: Desk) -> None:
    with prometheus_api() as api:
        api.series = {"cluster=orders": "4"}
        (desk.home / "watches.yaml").write_text(WATCHES.format(address=api.address))
        checked = desk("watch", "--check")
        assert (checked.code, "cluster=orders: 4, is fine" in checked.out) == (0, True)
        assert desk("alert", "list", "--json").json == []
        with watching(desk):
            until(lambda: len(api.asked) > 2)
            assert statuses(desk) == []
            api.series["cluster=orders"] = "6"
            until(lambda: statuses(desk) == ["firing"])
            api.series["cluster=orders"] = "4"
            before = len(api.asked)
            until(lambda: len(api.asked) > before + 2)
            assert statuses(desk) == ["firing"], "between the two numbers nothing changes"
        # Another process goes on where this one ended.
        api.series["cluster=orders"] = "3"
        with watching(desk):
            until(lambda: statuses(desk) == ["firing", "resolved"])
        api.instead = Answer(401, body=b'{"error": "who are you"}')
        refused = desk("watch", "--check")
        assert (refused.code, "answered 401: who are you" in refused.out) == (1, True)
    assert desk("worker", "--once").code == 0
    assert desk("runs", "--json").json == [], "it was over before a worker looked"


def test_without_a_file_or_with_a_wrong_one_it_says_what_to_do(desk: Desk) -> None:
    said = desk("watch")
    assert said.code == 2
    assert "watches.yaml is not there; docs/how-to/watch-a-query.md says what goes into it" in said.err
    (desk.home / "watches.yaml").write_text(WATCHES.format(address="http://h").replace("above", "abvoe"))
    wrong = desk("watch", "--check")
    assert wrong.code == 2
    assert "unknown key 'abvoe'" in wrong.err
    assert "did you mean 'above'?" in wrong.err


@pytest.mark.needs("prometheus")
def test_a_real_prometheus_is_asked_and_its_answer_launches_a_runbook(desk: Desk, tmp_path: Path) -> None:
    length = ["1"]
    metric = 'queue_length{{cluster="orders"}} {}\n'
    with (
        answering(
            lambda _: Answer(body=metric.format(length[0]).encode(), headers={"Content-Type": "text/plain"})
        ) as exporter,
        prometheus(tmp_path / "prometheus", exporter.url.removeprefix("http://")) as address,
    ):
        (desk.home / "watches.yaml").write_text(WATCHES.format(address=address))
        until(lambda: "cluster=orders" in desk("watch", "--check").out, "Prometheus has asked its target")
        worker = desk.begin("worker", "--json")
        try:
            with watching(desk):
                length[0] = "9"
                until(lambda: [run["status"] for run in desk("runs", "--json").json] == ["succeeded"])
                length[0] = "2"
                until(lambda: statuses(desk) == ["firing", "resolved"])
                until(lambda: "rule.ended" in desk("log", "show", "--json").out)
        finally:
            worker.signal(signal.SIGTERM)
            assert worker.wait().code == 0
    (run,) = desk("runs", "--json").json
    assert run["launched_by"] == "rule:queue-grows"


@contextmanager
def prometheus(folder: Path, target: str) -> Iterator[str]:
    """Run the real thing, asking one target four times a second; gives its address."""
    folder.mkdir()
    (port,) = loopback.free_ports(["127.0.0.1"])
    settings = {
        "global": {"scrape_interval": "250ms", "scrape_timeout": "250ms"},
        "scrape_configs": [{"job_name": "queue", "static_configs": [{"targets": [target]}]}],
    }
    (folder / "prometheus.yml").write_text(json.dumps(settings))
    words = [find(), "--config.file=prometheus.yml", f"--web.listen-address=127.0.0.1:{port}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(words, cwd=folder, stdout=log, stderr=log)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)
