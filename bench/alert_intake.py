"""How long it takes until an alert is accepted, which is until it is on disk, while so many come in a second.

    python bench/alert_intake.py [--seconds 10] [--rate 500] [--connections 32] [--folder .]

Deliveries are due at fixed moments, whatever became of those before, and each one's time counts from when it was due:
first given to the intake by threads, then sent to a real `mimrun serve` over HTTP, from another process. One in five
has come before. Last: how long the answer takes for those who may not send alerts, by what is wrong with them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from mimrun.app.alert.intake import Intake
from mimrun.app.alert.view import list_alerts
from mimrun.app.home import lay_home, open_home
from mimrun.log.moment import utc_now
from mimrun.settings import Settings

TOKEN = "a-token-for-measuring-0123456789"
SOURCES = "sources:\n  monitor: {{kind: alertmanager, token: 'file:{token}'}}\n  pager: {{kind: pagerduty, secrets: 'file:{token}'}}\n"
TARGET_MS = 50


def delivery(number: int) -> bytes:
    """Give one delivery; each fifth is the one before it once more."""
    number -= number % 5 == 4
    alert = {
        "status": "firing",
        "labels": {
            "alertname": "ErrorRateHigh",
            "env": "prod",
            "service": f"s{number}",
            "severity": "critical",
            "job": "app",
        },
        "annotations": {
            "summary": f"error ratio of s{number} is 20%",
            "runbook_url": "https://wiki.example.org/x",
        },
        "startsAt": "2026-11-21T22:52:24.18Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus:9090/graph?g0.expr=app_error_ratio+%3E+0.05&g0.tab=1",
        "fingerprint": f"{number:016x}",
    }
    body = {
        "version": "4",
        "status": "firing",
        "receiver": "mimrun",
        "groupKey": "{}:{}",
        "truncatedAlerts": 0,
        "alerts": [alert],
    }
    return json.dumps(body).encode()


def due(rate: float, seconds: float, begun: float) -> Iterator[tuple[int, float]]:
    """Give the number of each delivery, and when it is due."""
    for number in range(int(rate * seconds)):
        yield number, begun + number / rate


def home_in(folder: Path) -> Settings:
    settings = Settings(home=folder / "home")
    lay_home(settings)
    token = settings.home / "token"
    token.write_text(TOKEN)
    settings.alerts.write_text(SOURCES.format(token=token))
    return settings


def by_threads(settings: Settings, rate: float, seconds: float, threads: int) -> list[float]:
    headers = {"content-type": "application/json", "authorization": f"Bearer {TOKEN}"}
    times: list[float] = []
    with open_home(settings) as home:
        intake = Intake(home)
        intake.receive("alertmanager", delivery(10**9), headers, utc_now())
        queue, lock = due(rate, seconds, time.perf_counter() + 0.1), threading.Lock()

        def work() -> None:
            while True:
                with lock:
                    number, at = next(queue, (-1, 0.0))
                if number < 0:
                    return
                time.sleep(max(0.0, at - time.perf_counter()))
                intake.receive("alertmanager", delivery(number), headers, utc_now())
                times.append(time.perf_counter() - at)

        workers = [threading.Thread(target=work) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        check(len(list_alerts(home, limit=None)), int(rate * seconds) * 4 // 5 + 1)
    return times


def check(found: int, wanted: int) -> None:
    if found != wanted:
        sys.exit(f"{found} alerts are in the log, and {wanted} should be")


class Line:
    """A connection that is kept, over which one delivery goes after the other."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter | None = None

    async def post(self, path: str, body: bytes, token: str) -> int:
        if self.reader is None or self.writer is None:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {token}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self.writer.write(head.encode() + body)
        answer = await self.reader.readuntil(b"\r\n\r\n")
        length = next(line for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await self.reader.readexactly(int(length.split(b":")[1]))
        return int(answer.split(b" ", 2)[1])


async def over_http(port: int, rate: float, seconds: float, connections: int) -> list[float]:
    times: list[float] = []
    queue = due(rate, seconds, time.perf_counter() + 0.2)

    async def work() -> None:
        line = Line(port)
        for number, at in queue:
            await asyncio.sleep(max(0.0, at - time.perf_counter()))
            status = await line.post("/alerts/alertmanager", delivery(number), TOKEN)
            times.append(time.perf_counter() - at)
            if status != 200:
                sys.exit(f"the server answered {status}")

    await asyncio.gather(*(work() for _ in range(connections)))
    return times


async def strangers(port: int, tries: int) -> dict[str, list[float]]:
    """Ask in turn as several who may not send alerts; give the seconds that each answer took."""
    asked = {
        "wrong token": ("/alerts/alertmanager", "wrong"),
        "unknown source": ("/alerts/alertmanager?source=nobody", TOKEN),
        "unknown kind": ("/alerts/nonsense", TOKEN),
        "kind without a source": ("/alerts/grafana", TOKEN),
        "no signature": ("/alerts/pagerduty", TOKEN),
    }
    line, body = Line(port), delivery(0)
    times: dict[str, list[float]] = {name: [] for name in asked}
    for _ in range(tries):
        for name, (path, token) in asked.items():
            begun = time.perf_counter()
            if await line.post(path, body, token) != 401:
                sys.exit(f"{name}: was not refused")
            times[name].append(time.perf_counter() - begun)
    return times


def with_server(settings: Settings, measure: Callable[[int], object]) -> object:
    words = ["-m", "mimrun.cli", "serve", "--port", "0", "--no-worker", "--no-engine", "--json"]
    entry = [sys.executable, "-c", "import sys; from mimrun.cli import main; sys.exit(main())", *words[2:]]
    environ = {**os.environ, "MIMRUN_HOME": str(settings.home)}
    with subprocess.Popen(entry, env=environ, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            facts = json.loads(server.stdout.readline())
            return measure(int(facts["url"].rpartition(":")[2]))
        finally:
            server.terminate()
            server.wait()


def shown(name: str, times: list[float]) -> None:
    ms = sorted(second * 1000 for second in times)
    p99 = ms[int(len(ms) * 0.99)]
    print(
        f"{name:34}{len(ms):8}{statistics.median(ms):9.2f}{p99:9.2f}{ms[-1]:9.2f}   {'' if p99 <= TARGET_MS else 'MISSED'}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rate", type=float, default=500)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--folder", type=Path, default=Path())
    given = parser.parse_args()
    print(f"{os.cpu_count()} CPUs; target: p99 within {TARGET_MS} ms at 500/s\n")
    print(f"{'':34}{'alerts':>8}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}")
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        settings = home_in(Path(folder))
        shown(
            f"the intake, {given.rate:g}/s",
            by_threads(settings, given.rate, given.seconds, given.connections),
        )
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        settings = home_in(Path(folder))

        def measure(port: int) -> None:
            asyncio.run(over_http(port, 50, 1, 4))
            times = asyncio.run(over_http(port, given.rate, given.seconds, given.connections))
            shown(f"`mimrun serve` over HTTP, {given.rate:g}/s", times)
            answers = asyncio.run(strangers(port, 200))
            print(
                "\nrefused, median ms: "
                + ", ".join(f"{n} {statistics.median(t) * 1000:.2f}" for n, t in answers.items())
            )

        with_server(settings, measure)
        with open_home(settings) as home:
            check(len(list_alerts(home, limit=None)), int(given.rate * given.seconds) * 4 // 5)


if __name__ == "__main__":
    main()
