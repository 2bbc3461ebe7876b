"""Anchors without anybody asking: workers, and the engine with Prefect."""

from __future__ import annotations

import json
import signal
import time
from base64 import b64encode
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from builders.commands import Desk, mark, until

from flows.environment import Rooms, password
from flows.launcher import PrefectLauncher


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    assert desk.run(desk.runbook(mark("one"))).code == 0
    (desk.home / "anchors.yaml").write_text(f"anchors:\n  - {{name: disk, file: {tmp_path}/kept}}\n")
    yield desk
    desk("down")


def kept(desk: Desk) -> int:
    file = desk.folder / "kept"
    return file.read_text().count("\n— mimrun ") if file.exists() else 0


def tried(desk: Desk) -> list[dict[str, Any]]:
    lines = desk("log", "show", "--json").out.splitlines()
    return [entry for line in lines if (entry := json.loads(line))["kind"] == "log.anchored"]


def test_workers_anchor_what_is_new_once_and_an_idle_log_not_again(desk: Desk) -> None:
    workers = [desk.begin("worker", "--json", MIMRUN_ANCHOR_EVERY="1") for _ in range(2)]
    try:
        until(lambda: kept(desk) == 1)
        assert desk("note", "something").code == 0
        until(lambda: kept(desk) == 2)
        # Long enough for both to have looked again.
        end = time.monotonic() + 8
        while time.monotonic() < end:
            assert kept(desk) == 2
            time.sleep(0.2)
    finally:
        for worker in workers:
            worker.signal(signal.SIGTERM)
        assert [worker.wait().code for worker in workers] == [0, 0]
    assert [(entry["actor"]["id"], entry["body"]["done"]) for entry in tried(desk)] == [("anchors", True)] * 2
    log = [json.loads(line) for line in (desk.home / "program.log").read_text().splitlines()]
    assert [line["anchor"] for line in log if line["event"] == "anchored"] == ["disk", "disk"]


def test_a_worker_for_cron_anchors_and_0_leaves_it_to_people(desk: Desk) -> None:
    assert desk("worker", "--once", MIMRUN_ANCHOR_EVERY="0").code == 0
    assert kept(desk) == 0
    assert desk("worker", "--once").code == 0
    assert kept(desk) == 1
    assert desk("worker", "--once").code == 0
    assert kept(desk) == 1


def test_a_file_of_anchors_that_is_wrong_keeps_a_worker_from_nothing(desk: Desk) -> None:
    (desk.home / "anchors.yaml").write_text("anchors: 3\n")
    assert desk("worker", "--once").code == 0
    log = [json.loads(line) for line in (desk.home / "program.log").read_text().splitlines()]
    (said,) = [line["reason"] for line in log if line["event"] == "anchor_failed"]
    assert "anchors.yaml:1" in said
    checks = {check["name"]: check for check in desk("doctor", "--json").json}
    assert (checks["anchors"]["ok"], "anchors.yaml:1" in checks["anchors"]["found"]) == (False, True)


@pytest.mark.needs("prefect")
def test_the_engine_anchors_and_prefect_shows_it(desk: Desk) -> None:
    up = desk("up", MIMRUN_ANCHOR_EVERY="1")
    assert up.code == 0, up.err
    until(lambda: kept(desk) >= 1)
    assert desk("note", "something").code == 0
    until(lambda: kept(desk) >= 2)
    address = PrefectLauncher(desk.home).status().api_url
    until(lambda: any(run["state"]["name"] == "Completed" for run in _flow_runs(desk, address)))
    assert all("disk has" in run["state"]["message"] for run in _flow_runs(desk, address) if run["end_time"])
    assert desk("down").code == 0


def _flow_runs(desk: Desk, address: str) -> list[dict[str, Any]]:
    place = urlsplit(address)
    connection = HTTPConnection(place.hostname or "", place.port, timeout=30)
    try:
        secret = b64encode(password(Rooms(desk.home)).encode()).decode()
        body = json.dumps({"flows": {"name": {"any_": ["anchor-log"]}}})
        headers = {"Authorization": f"Basic {secret}", "Content-Type": "application/json"}
        connection.request("POST", "/api/flow_runs/filter", body, headers)
        found: list[dict[str, Any]] = json.loads(connection.getresponse().read())
        return found
    finally:
        connection.close()
