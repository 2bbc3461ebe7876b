"""Strings that want to be obeyed are read as text, on every page and from every field that anybody can fill."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote

import pytest
from builders.console import Browser, Element, read_html
from builders.hostile import STRINGS, Planted, fill, mark
from builders.runs import Bench

from mimrun.app.home import Home
from mimrun.app.shown.text import safe

CHUNK: Final = 10
CHUNKS: Final = [
    {number: STRINGS[number] for number in range(first, first + CHUNK)}
    for first in range(0, len(STRINGS), CHUNK)
]
_ELEMENTS = """
    html head meta title link script body header nav main aside footer section div p h1 h2 h3 h4 span small b strong
    code kbd pre samp br hr a ul ol li dl dt dd table thead tbody tr th td caption time progress details summary dialog
    form fieldset legend label input select option optgroup datalist textarea button noscript del ins em abbr
    figure figcaption output
"""
ELEMENTS: Final = frozenset(_ELEMENTS.split())
"""What pages are made of; everything else was put there by somebody else."""
LOCAL: Final = re.compile(r"/(?![/\\])|#|\?")
"""An address within this server."""
ADDRESSES: Final = (
    "href",
    "src",
    "action",
    "formaction",
    "hx-get",
    "hx-post",
    "hx-put",
    "hx-delete",
    "hx-patch",
)
TRIGGERS: Final = re.compile(
    r"(log|change|load|keyup|every \d+s|revealed|intersect|submit|click|input|toggle)[\w\s:.,\[\]=]*"
)
OUTSIDE: Final = "https://github.com/"


@dataclass
class Night:
    """A home with strings everywhere."""

    home: Home
    browser: Browser
    planted: list[Planted]
    known: dict[str, Element] = field(default_factory=dict)

    def page(self, path: str) -> Element:
        """Give a page; what was read once is not asked for again."""
        if path not in self.known:
            self.known[path] = self.browser.get(path)
        return self.known[path]

    def entries(self) -> Iterator[int]:
        """Give an entry of each kind for each string that it has, or that one of its blobs may have."""
        seen: set[tuple[str, str]] = set()
        for entry in self.home.store.entries():
            found = re.search(r"k\d\dk", entry.encode().decode())
            which = entry.kind.value, found[0] if found else ""
            if which not in seen and (found or entry.blobs):
                seen.add(which)
                yield entry.seq


@pytest.fixture(scope="module", params=CHUNKS, ids=[f"{min(chunk)}-{max(chunk)}" for chunk in CHUNKS])
def night(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    chunk: Mapping[int, str] = request.param
    folder: Path = tmp_path_factory.mktemp("hostile")
    bench = Bench(folder)
    planted = fill(bench, chunk)
    with bench.home() as home:
        yield Night(home, Browser(home, "billie"), planted)


def check_harmless(page: Element, where: str) -> None:
    """See that a page is made of our own elements, obeys nobody, and leads nowhere else."""
    for one in page.walk():
        if not one.tag:
            continue
        assert one.tag in ELEMENTS, f"{where}: <{one.tag} {one.attributes}>"
        if one.tag == "script":
            assert one.attributes["src"].startswith("/static/"), where
            assert not one.children, where
        if one.tag == "meta":
            assert one.attributes.get("http-equiv", "") in ("", "refresh"), where
            assert "url" not in one.attributes.get("content", "").lower(), where
        for name, value in one.attributes.items():
            assert re.fullmatch(r"[a-z][a-z-]*", name), f"{where}: {name} of <{one.tag}>"
            assert not name.startswith(("on", "hx-on", "data-hx")), f"{where}: {name} of <{one.tag}>"
            assert name != "style", f"{where}: <{one.tag} style={value}>"
            if name in ADDRESSES and value:
                assert LOCAL.match(value), f"{where}: {name}={value}"
            if name == "hx-trigger":
                assert TRIGGERS.fullmatch(value), f"{where}: {name}={value}"


def said_in(page: Element) -> str:
    """Give everything that a page says: its texts, and the values of its fields."""
    texts = [one.attributes.get("value", "") for one in page.walk()]
    pieces = [piece for one in page.walk() for piece in one.children if isinstance(piece, str)]
    return "\n".join([*texts, *pieces])


def is_said(text: str, page: Element) -> bool:
    """Say whether a text is read on a page as it was written, whatever its lines and blanks; also within JSON."""
    whole = " ".join(said_in(page).split())
    written = (safe(text), json.dumps(text, ensure_ascii=False)[1:-1])
    return any(" ".join(one.split()) in whole for one in written)


def test_there_are_eighty_of_them() -> None:
    assert len(set(STRINGS)) == 80


def test_no_page_obeys_what_is_on_record(night: Night) -> None:
    pages = {"/", "/incidents", "/incidents?shown=all", "/alerts", "/log", "/log?kind=step.", "/runbooks"}
    for one in night.planted:
        pages |= {*one.shown.values(), *one.pages, f"{one.pages[-1]}/review"}
    pages |= {f"/log/{seq}" for seq in night.entries()}
    for path in sorted(pages):
        check_harmless(night.page(path), path)


def test_every_field_is_shown_as_it_was_written(night: Night) -> None:
    for one in night.planted:
        for name, path in one.shown.items():
            page = night.page(path)
            assert is_said(one.text, page), f"{name} on {path}: {one.text!r}\n{page.text[:3000]}"


def test_what_is_asked_for_is_repeated_as_text(night: Night) -> None:
    for one in night.planted:
        asked = quote(one.text, safe="")
        for path in (
            f"/log?text={asked}",
            f"/log?actor={asked}",
            f"/log?run={asked}",
            f"/log?incident={asked}",
            f"/log?kind={asked}",
            f"/alerts?source={asked}",
            f"/incidents/{asked}",
            f"/incidents?shown={asked}",
            f"/{asked}",
            f"/runs/{asked}",
            f"/runs/{asked}/gate",
        ):
            answer = night.browser.ask(path)
            assert answer.status_code < 500, path
            check_harmless(read_html(answer.text), path)


def test_what_a_form_is_sent_with_is_repeated_as_text(night: Night) -> None:
    for one in night.planted:
        page = night.browser.post(
            "/incidents", 400, title=one.text, impact="nope", text=one.text, services=one.text
        )
        check_harmless(page, "/incidents")
        assert page.one("input", name="title").attributes["value"] == safe(one.text)
        incident = one.pages[-1]
        page = night.browser.post(f"{incident}/assign", 400, role=one.text, person="alex")
        check_harmless(page, incident)
        assert mark(0)[0] in page.one("div", role="alert").text


def test_what_was_done_is_said_as_text(night: Night) -> None:
    for one in night.planted:
        page = night.browser.post(f"{one.pages[-1]}/link", relation="record", to=f"t {one.text}")
        check_harmless(page, one.pages[-1])
        assert is_said(f"Linked with t {one.text}.", page)
