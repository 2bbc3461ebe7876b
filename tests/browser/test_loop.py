"""Playwright's loop ends with the browser: what other tests run in this process is not disturbed."""

from __future__ import annotations

import asyncio

from builders.browser import LIGHT, chromium, visit


def test_when_the_browser_is_gone_loops_run_as_ever() -> None:
    with chromium() as browser:
        visit(browser, LIGHT).new_page().goto("about:blank")
    assert asyncio.run(asyncio.sleep(0, "ran")) == "ran"
