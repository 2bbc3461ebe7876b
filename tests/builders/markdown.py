"""Pages in Markdown, read as far as the tests of the documentation need it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(
    r"^(?P<indent> *)(?P<fence>`{3,})(?P<info>[^`\n]*)\n(?P<text>.*?)^ *(?P=fence) *$", re.M | re.S
)
_COMMENT = re.compile(r"<!--.*?-->", re.S)
_LINK = re.compile(r"(?<!!)\[(?:[^\[\]]|\[[^\]]*\])*\]\((?P<to>[^()\s]+(?:\([^)]*\))?)\)")
_INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.M)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block.

    Arguments:
        info: what stands behind the opening fence: `yaml first.yaml`.
        line: where its text begins, 1-based.
    """

    info: str
    text: str
    line: int


def blocks(page: str) -> list[Block]:
    """Give the fenced blocks of a page."""
    return [
        Block(
            found["info"].strip(),
            re.sub(rf"^{found['indent']}", "", found["text"], flags=re.M),
            page.count("\n", 0, found.start("text")) + 1,
        )
        for found in _FENCE.finditer(page)
    ]


def prose(page: str) -> str:
    """Give a page without its fenced blocks and comments."""
    return _COMMENT.sub("", _FENCE.sub("", page))


def links(page: str) -> list[str]:
    """Give where the links of a page lead."""
    text = re.sub(r"`[^`\n]*`", "", prose(page))
    return [found["to"] for found in _LINK.finditer(text)]


def inline(page: str) -> list[str]:
    """Give what is set as code within the text."""
    return _INLINE.findall(prose(page))


def anchors(page: str) -> set[str]:
    """Give the anchors of a page's headings, as GitHub makes them."""
    found: set[str] = set()
    for heading in _HEADING.findall(_FENCE.sub("", page)):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        number, unique = 0, slug
        while unique in found:
            number += 1
            unique = f"{slug}-{number}"
        found.add(unique)
    return found


def section(page: str, heading: str) -> str:
    """Give the text under a heading, up to the next one of the same depth or less."""
    found = re.search(rf"^(#+) {re.escape(heading)} *\n(.*?)(?=^#{{1,6}} |\Z)", page, re.M | re.S)
    if found is None:
        raise LookupError(f"no heading {heading!r}")
    return found[2]


def rows(page: str) -> Iterator[list[str]]:
    """Give the rows of all tables, without their heads."""
    lines = page.splitlines()
    for number, line in enumerate(lines):
        is_head = (
            number + 1 < len(lines) and set(lines[number + 1]) <= set("|-: ") and "-" in lines[number + 1]
        )
        if line.startswith("|") and not is_head and set(line) - set("|-: "):
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]


def commands(page: str) -> Iterator[list[str]]:
    """Give every `mimrun …` that a page tells somebody to type, as words."""
    for block in blocks(page):
        if block.info.split(" ")[0] in ("", "sh", "bash", "console", "text"):
            text = re.sub(r"\\\n\s*", " ", block.text)
            for line in text.splitlines():
                yield from _mimrun(line.strip().removeprefix("$ "))
    for text in inline(page):
        yield from _mimrun(text)


def _mimrun(line: str) -> Iterator[list[str]]:
    if not re.match(r"(?:[A-Z_]+=\S+ )*(?:\S*/)?mimrun(?: |$)", line):
        return
    try:
        words = shlex.split(line.replace("…", ""), comments=True)
    except ValueError:
        words = line.split()
    while "=" in words[0]:
        words = words[1:]
    ends = [n for n, word in enumerate(words) if word in ("|", ">", ">>", "&&", "||", ";", "&", "2>", "or")]
    yield words[1 : min(ends, default=len(words))]


def all_pages(root: Path) -> list[Path]:
    """Give every page of the project."""
    found = [*root.glob("*.md")]
    for folder in ("docs", "runbooks", "tests", "deploy", "bench"):
        found += root.glob(f"{folder}/**/*.md")
    return sorted(found)
