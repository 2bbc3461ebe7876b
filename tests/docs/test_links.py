"""What a page points at is there: pages and headings, files, tests."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from builders.markdown import anchors, blocks, inline, links, rows, section

TEST = re.compile(r"(?:(?P<file>tests/[\w/]*test_\w+\.py)(?:::)?)?(?P<name>test_\w+)?(?:\[.*\])?")
PLACES = (
    "mimrun/",
    "connectors/",
    "flows/",
    "deploy/",
    "docs/",
    "tests/",
    "runbooks/",
    "bench/",
    "requirements/",
)
# Names of formats, and the rooms whose place the import contract keeps.
KEPT = (
    "mimrun/1",
    "mimrun/log-key/v1",
    "mimrun/log-key-request/v1",
    "mimrun/incident",
    "mimrun/replay",
    "mimrun/web",
)


def dead_links(name: str, page: str, root: Path) -> Iterator[str]:
    """Name the relative links that lead nowhere."""
    for link in links(page):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (root / name).parent / path if path else root / name
        if not target.exists():
            yield f"{name}: {link}"
        elif anchor and anchor not in anchors(target.read_text("utf-8")):
            yield f"{name}: {link} has no such heading"


def functions(root: Path) -> dict[str, set[str]]:
    """Give the names of the tests, by file."""
    return {
        str(path.relative_to(root)): {
            node.name
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
        }
        for path in (root / "tests").rglob("test_*.py")
    }


def dead_tests(page: str, known: dict[str, set[str]]) -> list[str]:
    """Name the tests that a page cites and that are not there."""
    everywhere = set().union(*known.values())
    dead = []
    for text in inline(page):
        found = TEST.fullmatch(text)
        if found is None or not text:
            continue
        there = known.get(found["file"], set()) if found["file"] else everywhere
        if (found["file"] and found["file"] not in known) or (found["name"] and found["name"] not in there):
            dead.append(text)
    return dead


def dead_paths(page: str, root: Path) -> list[str]:
    """Name the files that a page names and that are not there; a place may be kept for a room to come."""
    named = [text for text in inline(page) if text.startswith(PLACES) and re.fullmatch(r"[\w./-]+", text)]
    return [text for text in named if not (root / text).exists() and text not in KEPT]


def test_every_relative_link_leads_somewhere(pages: dict[str, str], root: Path) -> None:
    assert not [dead for name, page in pages.items() for dead in dead_links(name, page, root)]


def test_every_test_that_a_page_cites_is_there(pages: dict[str, str], root: Path) -> None:
    known = functions(root)
    assert not {name: dead for name, page in pages.items() if (dead := dead_tests(page, known))}


def test_every_file_that_a_page_names_is_there(pages: dict[str, str], root: Path) -> None:
    # A changelog tells of what was there once; a decision of what was there then.
    told = {n: p for n, p in pages.items() if n != "CHANGELOG.md" and not n.startswith("docs/adr/")}
    assert not {name: dead for name, page in told.items() if (dead := dead_paths(page, root))}


def test_every_page_is_reached_from_the_readme(pages: dict[str, str], root: Path) -> None:
    seen, ahead = set[str](), ["README.md"]
    while ahead:
        name = ahead.pop()
        if name in seen or name not in pages:
            continue
        seen.add(name)
        for link in links(pages[name]):
            path = (root / name).parent / link.partition("#")[0]
            if not re.match(r"[a-z]+:", link) and path.exists():
                ahead.append(str(path.resolve().relative_to(root)))
    assert not [name for name in pages if name not in seen and not name.startswith("tests/")]


def test_these_checks_find_what_they_look_for(tmp_path: Path) -> None:
    page = (
        "# One `two` (three)\n[a](b.md) [c](#one-two-three) [d](#four) [e](https://x.y/z) `[f](g.md)`\n"
        "`test_links` `test_gone` `tests/test_x.py` `mimrun/gone.py` `mimrun/*.py`\n"
        "```sh\nmimrun runs\n[h](i.md)\n```\n| A | B |\n|---|---|\n| 1 | `x` \\| 2 |\n## Sub\ntext\n"
    )
    (tmp_path / "p.md").write_text(page)
    assert list(dead_links("p.md", page, tmp_path)) == ["p.md: b.md", "p.md: #four has no such heading"]
    assert dead_tests(page, {"tests/a.py": {"test_links"}}) == ["test_gone", "tests/test_x.py"]
    assert dead_paths(page, tmp_path) == ["tests/test_x.py", "mimrun/gone.py"]
    assert [block.info for block in blocks(page)] == ["sh"]
    assert list(rows(page)) == [["1", r"`x` \| 2"]]
    assert section(page, "Sub") == "text\n"
