"""Chromium for tests: pages as people have them before them, watched for whatever a page must not do.

    def test_the_list_is_readable(light: Page) -> None:
        light.goto(server.url)
        shoot(light, "now")
        axe(light)

A page that writes an error to its console, breaks its own content security policy, throws, or asks another
machine for anything fails its test at the end, unless the test said that it would: `forgive(page, "404")`.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    Response,
    sync_playwright,
)

ROOT = Path(__file__).resolve().parents[2]
SCREENSHOTS = ROOT / "screenshots"
"""Ignored by git: to be looked at."""
PATIENCE_MS = 15_000
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
"""The tags of axe-core for everything up to level AA."""


@dataclass(frozen=True, slots=True)
class Look:
    """How somebody has a page before them."""

    name: str
    width: int
    height: int
    scheme: Literal["light", "dark"] = "light"
    touch: bool = False


LIGHT = Look("light", 1280, 800)
DARK = Look("dark", 1280, 800, "dark")
PHONE = Look("phone", 390, 844, touch=True)
PHONE_DARK = Look("phone-dark", 390, 844, "dark", touch=True)


class OpenPage(Protocol):
    """Opens a page for somebody: in a window of their own, with cookies of their own."""

    def __call__(self, look: Look = LIGHT, *, javascript: bool = True, **more: Any) -> Page:
        """Open it; `more` is Playwright's, such as `base_url`."""


@dataclass(slots=True)
class Visit:
    """What came of one person's pages."""

    look: Look
    problems: list[str] = field(default_factory=list)
    forgiven: list[str] = field(default_factory=list)

    def left(self) -> list[str]:
        return [one for one in self.problems if not any(re.search(what, one) for what in self.forgiven)]


_VISITS: WeakKeyDictionary[BrowserContext, Visit] = WeakKeyDictionary()


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start Debian's Chromium, which can reach this machine and nothing else."""
    path = shutil.which("chromium")
    assert path is not None, "mark the test with needs('chromium')"
    args = ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"]
    # Its sandbox does not work for root; the pages are our own.
    args += ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=args)
        try:
            yield browser
        finally:
            browser.close()


def visit(browser: Browser, look: Look, *, javascript: bool = True, **more: Any) -> BrowserContext:
    """Give a person windows of their own: cookies, size, light or dark; `more` is Playwright's."""
    context = browser.new_context(
        viewport={"width": look.width, "height": look.height},
        color_scheme=look.scheme,
        is_mobile=look.touch,
        has_touch=look.touch,
        device_scale_factor=2 if look.touch else 1,
        reduced_motion="reduce",
        java_script_enabled=javascript,
        locale="en-GB",
        timezone_id="UTC",
        **more,
    )
    context.set_default_timeout(PATIENCE_MS)
    found = _VISITS[context] = Visit(look)
    context.on("console", lambda message: _heard(found, message))
    context.on("weberror", lambda error: found.problems.append(f"thrown: {error.error}"))
    context.on("request", lambda request: _asked(found, request))
    context.on("response", lambda response: _answered(found, response))
    return context


def forgive(page: Page, *patterns: str) -> None:
    """Say what of the page's problems belongs to the test, as regular expressions."""
    _VISITS[page.context].forgiven.extend(patterns)


def problems(context: BrowserContext) -> list[str]:
    """Give what the pages did that they must not, and that nobody forgave."""
    return _VISITS[context].left()


def shoot(page: Page, name: str, *, whole: bool = True) -> Path:
    """Take a picture: `screenshots/NAME-LOOK.png`; of the whole page, or of what fits the window."""
    look = _VISITS[page.context].look
    path = SCREENSHOTS / f"{name}-{look.name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    if whole:
        # In a window as high as the page: what is fixed to an end of the window is at that end of the picture.
        height = page.evaluate("document.documentElement.scrollHeight")
        page.set_viewport_size({"width": look.width, "height": min(max(height, look.height), 16_000)})
    page.screenshot(path=path, animations="disabled", caret="hide")
    if whole:
        page.set_viewport_size({"width": look.width, "height": look.height})
    return path


def axe(page: Page, *, without: Mapping[str, str] | None = None) -> None:
    """Have axe-core look: it must find nothing up to level AA.

    `without` names rules that are not asked, each with why.
    """
    options: dict[str, Any] = {
        "runOnly": {"type": "tag", "values": RULES},
        "rules": {rule: {"enabled": False} for rule in without or {}},
        "resultTypes": ["violations"],
    }
    found = Axe().run(page, options=options)
    faults = [
        f"{one['id']} ({one['impact']}): {one['help']}\n"
        + "\n".join(f"    {node['target']}: {node['html'][:160]}\n{_why(node)}" for node in one["nodes"][:6])
        for one in found.response["violations"]
    ]
    assert not faults, f"{page.url}, {_VISITS[page.context].look.name}:\n" + "\n".join(faults)


def fits(page: Page) -> None:
    """Nothing of the page lies beside the window: nobody has to scroll sideways."""
    wide = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert wide[0] <= wide[1], f"{page.url} is {wide[0]} wide on a window of {wide[1]}"


def _why(node: Mapping[str, Any]) -> str:
    checks = [check["message"] for kind in ("any", "all", "none") for check in node[kind]]
    return "\n".join(f"        {message}" for message in checks)


def _heard(found: Visit, message: ConsoleMessage) -> None:
    if message.type in ("error", "warning"):
        policy = "content security policy" in message.text.lower()
        kind = "policy broken" if policy else f"console {message.type}"
        found.problems.append(f"{kind}: {message.text} ({message.location['url']})")


def _asked(found: Visit, request: Request) -> None:
    url = urlsplit(request.url)
    if url.scheme in ("http", "https", "ws", "wss") and url.hostname not in ("127.0.0.1", "localhost"):
        found.problems.append(f"asked another machine: {request.url[:200]}")


def _answered(found: Visit, response: Response) -> None:
    if response.status >= 500:
        found.problems.append(f"answered {response.status}: {response.url}")
