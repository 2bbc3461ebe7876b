"""What browser tests stand on: Debian's Chromium, and people with a desk, a dark room, or a phone."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from builders.browser import DARK, LIGHT, PHONE, Look, OpenPage, chromium, problems, shoot, visit
from playwright.sync_api import Browser, BrowserContext, Page

FAILED = pytest.StashKey[bool]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test here needs Chromium."""
    for item in items:
        if "/browser/" in item.nodeid:
            item.add_marker(pytest.mark.needs("chromium"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember that a test has failed, so that its pages are kept as pictures."""
    report = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
    return report


# Playwright's loop counts as running in this thread as long as the browser is there, and other tests want to run
# loops of their own: a browser per module, not per session.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, for the tests of a module."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def open_page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[OpenPage]:
    """Open pages; at the end each must have behaved, and those of a failed test are kept as pictures."""
    contexts: list[BrowserContext] = []

    def open_one(look: Look = LIGHT, *, javascript: bool = True, **more: Any) -> Page:
        contexts.append(visit(browser, look, javascript=javascript, **more))
        return contexts[-1].new_page()

    yield open_one
    failed = request.node.stash.get(FAILED, False)
    found = []
    for number, context in enumerate(contexts):
        if failed:
            for page in context.pages:
                shoot(page, f"failed/{re.sub(r'[^a-z0-9_]+', '-', request.node.name.lower())}-{number}")
        found += problems(context)
        context.close()
    assert not found, "\n".join(found)


@pytest.fixture
def light(open_page: OpenPage) -> Page:
    """A page at a desk."""
    return open_page(LIGHT)


@pytest.fixture
def dark(open_page: OpenPage) -> Page:
    """A page at a desk, at night."""
    return open_page(DARK)


@pytest.fixture
def phone(open_page: OpenPage) -> Page:
    """A page on a phone."""
    return open_page(PHONE)
