"""How long the console's pages take over a long incident: what the server needs, and when a browser shows something.

    python bench/console.py [--entries 10000] [--times 5] [--folder .]

An incident of so many entries, half of them steps of one run and half notes, is asked for over HTTP at a real
`mimrun serve`, page by page; then Chromium, where it is installed, loads the incident anew and says when it painted
first. Targets: a first paint within 1 s of a timeline of 10,000 entries.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mimrun.app.home import Home, lay_home, open_home, operating_system_user
from mimrun.app.identity import Identity
from mimrun.app.incident.declaring import Declaration, declare
from mimrun.app.server.sessions import open_session
from mimrun.gate.people import Person, SignedIn
from mimrun.log.entry import Actor, Blob, Draft
from mimrun.log.kinds import IncidentNote, StepFinished, StepIntent, StepOutcome, StepStarted
from mimrun.settings import Settings
from mimrun.web.form_key import COOKIE

TARGET_S = 1.0
PAGE = 500
ENTRY = "import sys; from mimrun.cli import main; sys.exit(main())"


def fill(home: Home, entries: int) -> str:
    """Record an incident of so many entries."""
    user = operating_system_user()
    incident = declare(
        home, Identity(Person(user, user), "os-user"), Declaration("Nobody can pay", "high", "high")
    )
    worker, person = Actor("worker", "bench", "engine", "lease"), Actor("person", user, "cli", "os-user")
    drafts: list[Draft] = []
    for number in range(max(entries - 2, 0) // 8):
        drafts += _step(worker, incident, number)
        drafts += [
            Draft(
                person,
                IncidentNote(),
                inc=incident,
                blobs=(Blob("text", f"note {number}.{each}".encode(), "text"),),
            )
            for each in range(4)
        ]
    for begin in range(0, len(drafts), PAGE):
        home.store.append(drafts[begin : begin + PAGE])
    return incident


def _step(worker: Actor, incident: str, number: int) -> list[Draft]:
    step, target = str(number % 200 + 1), f"web{number % 20:02}"
    digest = "sha256:" + "0" * 64
    bodies = (
        StepStarted(name=f"Step {step}", form="action", targets=(target,)),
        StepIntent(
            action="noop.do", effect="once", key="k", args_digest=digest, deadline_ms=1000, check_mode=False
        ),
        StepOutcome(
            status="ok",
            changed=True,
            clean=False,
            unreachable=False,
            reason="",
            dur_ms=12,
            intent=1,
        ),
        StepFinished(status="ok", reason=""),
    )
    return [Draft(worker, body, inc=incident, step=step, target=target) for body in bodies]


@contextmanager
def serving(home: Path) -> Iterator[str]:
    """Serve the home; gives where."""
    argv = [sys.executable, "-c", ENTRY, "serve", "--port", "0", "--json", "--no-engine", "--no-worker"]
    environment = {**os.environ, "MIMRUN_HOME": str(home)}
    with subprocess.Popen(
        argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield str(json.loads(process.stdout.readline())["url"])
        finally:
            process.terminate()


def asked(url: str, cookie: str) -> tuple[float, int]:
    """Ask for a page; gives seconds and bytes."""
    request = urllib.request.Request(url, headers={"Cookie": f"{COOKIE}={cookie}", "Accept": "text/html"})
    began = time.perf_counter()
    with urllib.request.urlopen(request) as answer:
        size = len(answer.read())
    return time.perf_counter() - began, size


def painted(url: str, path: str, cookie: str, times: int) -> list[float]:
    """Load a page in Chromium; gives the seconds from asking to the first paint with content in it."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - only where it is installed

    found = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for _ in range(times):
            context = browser.new_context(viewport={"width": 1280, "height": 800})
            context.add_cookies([{"name": COOKIE, "value": cookie, "url": url}])
            page = context.new_page()
            page.goto(url + path)
            paint = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0"
            while not (at := float(page.evaluate(paint))):
                page.wait_for_timeout(20)
            found.append(at / 1000)
            context.close()
        browser.close()
    return found


def told(name: str, seconds: Sequence[float], more: str = "") -> None:
    """Print a line of the table."""
    print(f"{name:<34} {statistics.median(seconds):>7.3f} s median {max(seconds):>7.3f} s worst  {more}")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--entries", type=int, default=10_000)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=None)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        settings = Settings(home=Path(folder) / "home")
        lay_home(settings)
        with open_home(settings) as home:
            incident = fill(home, given.entries)
            person = next(iter(home.people().by_id))
            cookie = open_session(home, SignedIn(person, "password")).reveal()
            count, size = sum(1 for _ in home.store.entries(inc=incident)), home.store.head().size
        print(
            f"an incident of {count} entries in a log of {size}; target: first paint within {TARGET_S:.0f} s"
        )
        with serving(settings.home) as url:
            base = f"/incidents/{incident}"
            paths = (
                "/",
                "/incidents",
                base,
                f"{base}?shown=all",
                f"{base}/timeline?after={size - 10}",
                "/log",
                "/log?text=note+7",
            )
            for path in paths:
                asked(url + path, cookie)
                answers = [asked(url + path, cookie) for _ in range(given.times)]
                told(
                    path.replace(incident, "INC"), [one for one, _ in answers], f"{answers[0][1] // 1000} kB"
                )
            if shutil.which("chromium"):
                told("first paint of INC", painted(url, base, cookie, given.times))
                told("first paint of INC?shown=all", painted(url, f"{base}?shown=all", cookie, given.times))
            else:
                print("no Chromium here: no first paint was measured")


if __name__ == "__main__":
    main()
