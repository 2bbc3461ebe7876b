"""Real monitoring: what the client goes through becomes an alert, and the alert gets through."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from builders.answering import Answer, Answering, Asked, answering

from mimrun.errors import LabError
from mimrun.lab import leftover, loopback, patience, process
from mimrun.lab.alertmanager import Alertmanager
from mimrun.lab.exporter import Exporter
from mimrun.lab.failover import FailoverLab
from mimrun.lab.monitoring import ALERT, MonitoringLab
from mimrun.lab.writer import Failure, Write, note
from mimrun.secret import Secret

pytestmark = pytest.mark.needs("prometheus")
TOKEN = "let-the-lab-in"


class Client:
    """Notes of a client that a test makes well or ill: ten a second, as the real one writes them."""

    def __init__(self, path: Path) -> None:
        self.path, self.well = path, True
        self._end = threading.Event()
        path.write_text("")
        self._thread = threading.Thread(target=self._write)
        self._thread.start()

    def stop(self) -> None:
        self._end.set()
        self._thread.join()

    def _write(self) -> None:
        number = 0
        with self.path.open("a", buffering=1) as file:
            while not self._end.wait(0.1):
                number += 1
                now = time.monotonic()
                file.write(note(Write(number, now, now, 1) if self.well else Failure(number, now, "gone")))


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    client = Client(tmp_path / "writes.jsonl")
    yield client
    client.stop()


class Inbox:
    """Where alerts are posted to; answers as a test says."""

    def __init__(self) -> None:
        self.refuse = 0
        self.at: list[float] = []

    def answer(self, _asked: Asked) -> Answer:
        self.at.append(time.monotonic())
        if self.refuse:
            self.refuse -= 1
            return Answer(503, body=b"not now")
        return Answer(200)


def alerts_of(server: Answering) -> list[dict[str, Any]]:
    return [alert for asked in server.seen for alert in asked.json["alerts"]]  # type: ignore[index,call-overload]


def states(server: Answering) -> list[str]:
    return [alert["status"] for alert in alerts_of(server)]


def came(check: Callable[[], bool], seconds: float = 20) -> bool:
    return patience.came_true(check, seconds=seconds)


def test_a_threshold_that_is_crossed_is_posted_once_and_resolved_once(
    lab_folder: Path, client: Client
) -> None:
    inbox = Inbox()
    with (
        answering(inbox.answer) as server,
        MonitoringLab(
            lab_folder / "crossed",
            client.path,
            f"{server.url}/alerts/alertmanager",
            token=Secret(TOKEN),
            net="127.0.51",
        ) as lab,
    ):
        assert lab.prometheus.value("client_error_ratio") == 0.0
        client.well = False
        assert came(lambda: states(server) == ["firing"])
        (asked,) = server.seen
        assert (asked.path, asked.headers["Authorization"]) == ("/alerts/alertmanager", f"Bearer {TOKEN}")
        (alert,) = alerts_of(server)
        assert alert["labels"] == {
            "alertname": ALERT,
            "cluster": "demo",
            "instance": f"{lab.exporter.host}:{lab.exporter.port}",
            "job": "client",
            "priority": "P1",
            "service": "orders",
            "severity": "critical",
            "site": "lab",
        }
        assert 0.5 < float(alert["annotations"]["value"]) <= 1
        assert alert["generatorURL"].startswith(lab.prometheus.url)
        assert [one["state"] for one in lab.prometheus.alerts()] == ["firing"]
        client.well = True
        assert came(lambda: states(server) == ["firing", "resolved"])
        first, last = alerts_of(server)
        assert first["fingerprint"] == last["fingerprint"]
        assert first["startsAt"] == last["startsAt"] < last["endsAt"]


def test_a_receiver_that_cannot_take_it_gets_it_again(lab_folder: Path, client: Client) -> None:
    inbox = Inbox()
    inbox.refuse = 3
    with (
        answering(inbox.answer) as server,
        MonitoringLab(lab_folder / "again", client.path, server.url, net="127.0.52"),
    ):
        client.well = False
        assert came(lambda: len(inbox.at) == 4)
        assert states(server) == ["firing"] * 4, "the same alert, until somebody has it"
        assert len({asked.body for asked in server.seen}) == 1


@pytest.mark.needs("postgres", "sshd")
def test_the_death_of_a_real_primary_is_told_and_its_return_too(lab_folder: Path) -> None:
    with (
        answering(Inbox().answer) as server,
        FailoverLab(lab_folder / "real", net="127.0.53", cluster="shop") as lab,
        MonitoringLab(
            lab_folder / "real" / "monitoring",
            lab.writer.notes_path,
            server.url,
            cluster="shop",
            net="127.0.53",
        ) as watch,
    ):
        lab.kill_primary()
        assert came(lambda: states(server) == ["firing"])
        (alert,) = alerts_of(server)
        assert (alert["labels"]["alertname"], alert["labels"]["cluster"]) == (ALERT, "shop")
        silence = watch.prometheus.value("client_seconds_without_acknowledgement")
        assert silence is not None
        assert silence > 0
        lab.pair.primary.control("pg-fence")
        lab.pair.standby.sql("select pg_promote(true, 30)")
        if lab.proxy is not None:
            lab.proxy.command(f"enable server postgres/{lab.pair.standby.name}")
        assert came(lambda: states(server)[-1] == "resolved")
        assert watch.prometheus.value('client_writes_total{result="refused"}')


def test_what_is_silenced_is_not_told(lab_folder: Path, client: Client) -> None:
    inbox = Inbox()
    with (
        answering(inbox.answer) as server,
        MonitoringLab(lab_folder / "silent", client.path, server.url, net="127.0.54") as lab,
    ):
        assert lab.alertmanager.silence(ALERT, why="a test")
        client.well = False
        assert came(lambda: [a["status"]["state"] for a in lab.alertmanager.alerts()] == ["suppressed"])
        assert inbox.at == []


def test_it_listens_on_loopback_only_and_writes_in_its_own_folder(lab_folder: Path, client: Client) -> None:
    folder = lab_folder / "own"
    with MonitoringLab(
        folder, client.path, "http://127.0.0.1:9/", token=Secret(TOKEN), net="127.0.55"
    ) as lab:
        parts = [lab.alertmanager, lab.prometheus, lab.exporter]
        pids = {one.pid for one in process.marked(folder)}
        assert len(pids) == 3
        shown = subprocess.run(
            ["ss", "-Hltnp"], capture_output=True, text=True, check=True, timeout=20
        ).stdout.splitlines()
        ours = [line.split()[3] for line in shown if any(f"pid={pid}," in line for pid in pids)]
        assert sorted(ours) == sorted(f"{part.host}:{part.port}" for part in parts)
        token = folder / "alertmanager" / "token"
        assert token.stat().st_mode & 0o777 == 0o600
        assert TOKEN not in (folder / "alertmanager" / "alertmanager.yml").read_text()
    assert leftover.find_all(folder) == []
    assert not any(loopback.accepts(part.host, part.port) for part in parts)


def test_what_cannot_start_says_why_and_leaves_nothing(lab_folder: Path) -> None:
    broken = Alertmanager(lab_folder / "broken", "no address", net="127.0.56")
    with pytest.raises(LabError, match=r"(?s)alertmanager ended with 1 at once: .*unsupported scheme"):
        broken.start()
    with socket.create_server(("127.0.56.122", 0)) as taken:
        exporter = Exporter(lab_folder / "taken", lab_folder / "none", net="127.0.56")
        exporter.port = taken.getsockname()[1]
        with pytest.raises(LabError, match=r"(?s)exporter ended with 1 at once: .*Address already in use"):
            exporter.start()
    assert leftover.find_all(lab_folder) == []
